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


def put(data: str | bytes, out: str) -> None:
    """Data, to stdout (`-`) or whole into a file: a reader never sees half of it. Pipes and devices get it as it comes.

    Raises:
        InputError: the file cannot be written.

    """
    if out == "-" and isinstance(data, str):
        sys.stdout.write(data)
        sys.stdout.flush()
        return
    from netpol_gen.flowio import is_stream

    path = Path(out)
    content = data.encode() if isinstance(data, str) else data
    try:
        if is_stream(path):
            with path.open("ab") as stream:
                stream.write(content)
        else:
            _place(path, content)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", Place(out)) from None


def _place(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
