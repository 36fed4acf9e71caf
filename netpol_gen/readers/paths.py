"""From what the user names (files, directories, globs) to names of files."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import NamedTuple, NoReturn

from netpol_gen.errors import InputError, OptionError, Place, printable


class Names(NamedTuple):
    """Files by name; `sought` where they were found in a directory or by a glob, not named one by one."""

    files: list[str]
    sought: bool


def names(text: str) -> Names:
    """The files that one path names.

    Raises:
        InputError: nothing there, or a directory that cannot be read.
        OptionError: an object-store URL.

    """
    scheme, colon, _ = text.partition("://")
    if colon and scheme.isalnum():
        raise OptionError(f"{printable(text)}: object stores are not read; fetch the objects first and name the files")
    path = Path(text)
    try:
        if path.is_dir():
            return Names(_walk(path), sought=True)
        if path.exists():
            return Names([text], sought=False)
    except OSError as error:
        raise InputError(os_problem(error), Place(text)) from error
    if glob.has_magic(text):
        matched = sorted(glob.glob(text, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
        files = [name for match in matched for name in (_walk(Path(match)) if Path(match).is_dir() else [match])]
        if files:
            return Names(files, sought=True)
        raise InputError("no file matches", Place(text))
    raise InputError("no such file or directory", Place(text))


def identity(name: str) -> tuple[int, int]:
    """What is the same for all names of one file.

    Raises:
        InputError: it is gone.

    """
    try:
        status = os.stat(name)  # noqa: PTH116 - a name from os.walk
    except OSError as error:
        raise InputError(os_problem(error), Place(name)) from error
    return (status.st_dev, status.st_ino)


def os_problem(error: OSError) -> str:
    """What the system says, as the problem of an error of ours."""
    return (error.strerror or type(error).__name__).lower()


def _walk(directory: Path) -> list[str]:
    files: list[str] = []
    # What cannot be looked into may hold the flows that a policy needs: by itself, os.walk would pass over it.
    for where, directories, found in os.walk(directory, onerror=_unreadable):
        directories[:] = sorted(name for name in directories if not name.startswith("."))
        # One path for a directory of hundreds of files. What is in `.` has a name without it.
        folder = str(Path(where, "_")).removesuffix("_")
        files += [folder + name for name in sorted(found) if not name.startswith(".")]
    if not files:
        raise InputError("no files in this directory", Place(str(directory)))
    return files


def _unreadable(error: OSError) -> NoReturn:
    raise InputError(os_problem(error), Place(str(error.filename or "-"))) from error
