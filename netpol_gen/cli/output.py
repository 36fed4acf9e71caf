"""Writing data to a file or to stdout, messages to stderr."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from netpol_gen.errors import InputError, Place, printable_place


def say(text: str) -> None:
    """A message, to stderr."""
    sys.stderr.write(text if text.endswith("\n") else f"{text}\n")
    sys.stderr.flush()


def say_notes(notes: Iterable[str]) -> None:
    """What there is to know about the input, where no summary tells it."""
    for note in notes:
        say(f"about the input: {printable_place(note, 400)}")


def put(text: str, out: str) -> None:
    """Data, to stdout (`-`) or whole into a file: a reader never sees half of it.

    Raises:
        InputError: the file cannot be written.

    """
    if out == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    path = Path(out)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", Place(out)) from None
