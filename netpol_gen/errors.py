"""What can go wrong, and the exit code of each.

```
Exception
├── NetpolGenError                 everything a user can cause or meet
│   ├── InputError        exit 2   a file, record, manifest or field that cannot be used
│   │   ├── BadRecordsError        too many bad records for `--strict` or `--max-bad`
│   │   ├── NotAFlowLogError       a file that is no flow log at all
│   │   └── NotEditableError       a manifest that cannot be changed in place (`netpol_gen.emit.edit`)
│   ├── OptionError       exit 2   options that make no sense, alone or together
│   ├── CheckFailedError  exit 1   the check that was asked for found something
│   └── RemoteError       exit 3   a remote system said no or was unreachable
│       ├── ReadOnlyError          the credentials may read, and not do what was asked
│       └── RefusalError           a forge's answer was no (`netpol_gen.prbot.calls`)
└── InvariantError                 a bug of ours; never caught, so that it is seen
```

Messages are lower case and name the thing and the place: `flows.jsonl:17: port 70000 is not a port`.
Text that came from a log or a manifest passes through `printable` first, because it may hold terminal escapes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


def printable(text: object, limit: int = 120) -> str:
    """`text` on one line with control characters escaped and its length bounded, fit for a terminal."""
    # Format characters (Cf: bidirectional overrides, zero-width joiners) are not printable either.
    shown = "".join(c if c.isprintable() else _escaped(c) for c in str(text))
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


LONGEST_PATH = 50_000
"""Characters: more than a path has (4,096 bytes on Linux), each of them escaped."""
_LONGEST_NAME = 255
_LEAST_DETAIL = 24
_LINE = re.compile(r":\d+(?=: |$)")


def printable_path(path: object, limit: int = 120) -> str:
    """The same for a path, shortened at its beginning, between folders: the name of the file is always there."""
    shown = printable(path, LONGEST_PATH)
    if len(shown) <= limit:
        return shown
    folders, slash, name = shown.rpartition("/")
    if len(name) > max(limit, _LONGEST_NAME):
        return f"…{name[1 - _LONGEST_NAME :]}"
    if not slash:
        return name
    kept = f"/{folders}"[-max(limit - len(name) - 2, 1) :]
    return f"…{kept[kept.find('/') :] if '/' in kept else ''}/{name}"


def printable_place(place: object, limit: int = 120) -> str:
    """The same for `file:line: detail`: folders and the end of the detail are cut, file and line never."""
    shown = printable(place, 2 * LONGEST_PATH)
    if len(shown) <= limit:
        return shown
    path, line, detail = _parts(shown)
    room = limit - len(path.rpartition("/")[2]) - len(line) - 2
    # Both get half of the room at least, where they need it.
    told = min(len(detail), max(room // 2, _LEAST_DETAIL))
    where = printable_path(path, limit - len(line) - told) + line
    return where + printable(detail, max(limit - len(where), told)) if detail else where


def _parts(place: str) -> tuple[str, str, str]:
    """Path, `:line` and `: detail`. A name may have colons, too: where it does, the first line number ends it."""
    if found := _LINE.search(place):
        return place[: found.start()], found[0], place[found.end() :]
    path, colon, detail = place.partition(": ")
    return path, "", colon + detail


def utf8(name: str) -> str:
    r"""The name of a file as text that can be written: a byte that is no UTF-8 as `\xff`.

    Only of names with such bytes backslashes are doubled, so that no two of them are the same.
    """
    if not _LONE.search(name):
        return name
    return _LONE.sub(lambda found: _escaped(found[0]), name.replace("\\", "\\\\"))


_LONE = re.compile("[\\ud800-\\udfff]")


def _escaped(character: str) -> str:
    # As Python has bytes of file names that are no text.
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode()


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the input something was found.

    `line` and `document` count from 1; 0 means "not known". `field` is a path such as `spec.ingress[0].ports[1].port`.
    """

    path: str = ""
    line: int = 0
    document: int = 0
    field: str = ""

    def __str__(self) -> str:
        """`path:line: document 2: field`, leaving out what is not known."""
        head = printable_path(self.path or "-", 400)
        if self.line:
            head += f":{self.line}"
        if self.document:
            head += f": document {self.document}"
        if self.field:
            head += f": {printable(self.field)}"
        return head

    def at(self, field: str) -> Place:
        """The same place, one field further in."""
        if not self.field:
            joined = field
        elif field.startswith("["):
            joined = self.field + field
        else:
            joined = f"{self.field}.{field}"
        return Place(self.path, self.line, self.document, joined)


class NetpolGenError(Exception):
    """Everything that a user can cause or meet; `exit_code` is what the command returns."""

    exit_code: ClassVar[int] = 2


class InputError(NetpolGenError):
    """A file, record, manifest or field that cannot be used."""

    def __init__(self, problem: str, place: Place | None = None) -> None:
        """`problem` is a lower-case sentence; `place` says where."""
        self.problem = problem
        self.place = place
        super().__init__(f"{place}: {problem}" if place else problem)


class NotAFlowLogError(InputError):
    """A file that is no flow log at all; the message says what it looks like."""


class BadRecordsError(InputError):
    """Many bad records as one error, with counts and the first five places."""

    def __init__(self, problem: str, places: Sequence[str]) -> None:
        """`places` are the first few bad records, as `path:line: reason`."""
        self.places = tuple(places)
        super().__init__("\n".join([problem, *(f"  {printable_place(p, 400)}" for p in self.places[:5])]))


class OptionError(NetpolGenError):
    """Options that make no sense, alone or together."""


class CheckFailedError(NetpolGenError):
    """The check that was asked for found something."""

    exit_code: ClassVar[int] = 1


class RemoteError(NetpolGenError):
    """A remote system said no or was unreachable."""

    exit_code: ClassVar[int] = 3


class ReadOnlyError(RemoteError):
    """The credentials may read, and not do what was asked: a token as pull requests from forks get it."""


class InvariantError(AssertionError):
    """A bug of ours. Stands outside `NetpolGenError` and is never caught."""
