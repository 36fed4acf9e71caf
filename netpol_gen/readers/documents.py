"""JSON that is not one value per line: arrays, pretty-printed objects, objects one after another.

`elements(pieces)` finds where each element begins and ends without parsing it, so that files of any size are read in
bounded memory: top-level values, or the members of a top-level array. It gives each as one line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import NamedTuple

import msgspec
import numpy as np

from netpol_gen.readers.files import MAX_LINE

TOO_LONG = "too long"
"""The problem of an element that is not held in memory."""
CUT_OFF = "ends in the middle of a record"
_SHOWN = 200
"""Bytes of what is no element: enough to say what it is."""
_BLANK = b" \t\r\n,"
"""What may stand between elements."""


class Layout(Enum):
    """How JSON values lie in a file."""

    LINES = "lines"
    DOCUMENTS = "documents"


class Element(NamedTuple):
    """One value on one line, or (`problem`) what stood there instead. `line` is where it begins, from 1."""

    data: bytes
    line: int
    problem: str = ""


def layout(head: bytes) -> Layout:
    """How the values of a file with this beginning lie."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"["):
        # A log line may begin with a bracket as well: `[10.0.0.1] …`.
        return Layout.DOCUMENTS if text[1:].lstrip()[:1] in {b"{", b"[", b"]", b""} else Layout.LINES
    if not text.startswith(b"{"):
        return Layout.LINES
    first, newline, rest = text.partition(b"\n")
    if is_json(first):
        return Layout.LINES
    if newline and first.strip() == b"{":
        return Layout.DOCUMENTS
    # The first line is no value by itself: either it is cut off, and the next one starts afresh, or it goes on there.
    return Layout.DOCUMENTS if newline and rest[:1] in {b" ", b"\t", b'"'} else Layout.LINES


def is_json(data: bytes) -> bool:
    """Whether this is one JSON value."""
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def elements(pieces: Iterable[bytes], *, limit: int = MAX_LINE, kept: int = _SHOWN) -> Iterator[Element]:
    """The elements of a stream of JSON; what is between them and is not JSON punctuation comes as a problem.

    Of an element that is cut off come its first `kept` bytes.
    """
    splitter = _Splitter(limit, kept)
    for piece in pieces:
        yield from splitter.feed(piece)
    yield from splitter.finish()


class _Splitter:
    """Brackets outside strings, counted with numpy; only those near the top are looked at one by one."""

    def __init__(self, limit: int, kept: int) -> None:
        self.limit = limit
        self.kept = kept
        self.depth = 0
        self.in_string = False
        self.escaped = False
        self.base = 0
        """1 inside a top-level array, where elements are one deeper."""
        self.line = 1
        self.inside = False
        self.held: list[bytes] = []
        """The beginning of the element, or of the gap, that the last piece did not end."""
        self.held_size = 0
        self.held_line = 1
        self.overlong = False

    def feed(self, piece: bytes) -> Iterator[Element]:
        if not piece:
            return
        at, opens, before = self._brackets(piece)
        after = before + np.where(opens, 1, -1)
        # Opening at depth 0 or 1, or closing down to it: all else lies within an element.
        near = np.flatnonzero(np.where(opens, before, after) <= 1)
        start = 0
        for where, is_open, was in zip(at[near].tolist(), opens[near].tolist(), before[near].tolist(), strict=True):
            if self.inside:
                if not is_open and was - 1 == self.base:
                    yield from self._take(piece, start, where + 1)
                    start, self.inside = where + 1, False
            elif is_open and was == self.base:
                if was == 0 and piece[where : where + 1] == b"[":
                    yield from self._gap(piece, start, where)
                    start, self.base = where + 1, 1
                else:
                    yield from self._gap(piece, start, where)
                    start, self.inside = where, True
            elif not is_open and self.base and was == 1:
                yield from self._gap(piece, start, where)
                start, self.base = where + 1, 0
        yield from self._hold(piece[start:])

    def _brackets(self, piece: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where brackets outside strings are, whether they open, and the depth before each."""
        data = np.frombuffer(piece, dtype=np.uint8)
        quotes = self._quotes(piece, data)
        folded = data | 0x20  # [ and { differ in this bit alone, and so do ] and }
        at = np.flatnonzero((folded == ord("{")) | (folded == ord("}")))
        within = np.searchsorted(quotes, at) + self.in_string & 1
        at = at[within == 0]
        self.in_string = bool((len(quotes) + self.in_string) & 1)
        opens = folded[at] == ord("{")
        steps = np.where(opens, 1, -1)
        before = self.depth + np.cumsum(steps) - steps
        lowest = int((before + steps).min(initial=0))
        if lowest < 0:
            # More closing than opening: what was left of a damaged beginning. Count from the lowest point.
            before -= lowest
        self.depth = int(before[-1] + steps[-1]) if len(at) else self.depth
        return at, opens, before

    def _quotes(self, piece: bytes, data: np.ndarray) -> np.ndarray:
        """Where strings begin and end."""
        quotes = np.flatnonzero(data == ord('"'))
        if not self.escaped and b"\\" not in piece:
            return quotes
        kept = []
        for at in quotes.tolist():
            slashes = 0
            while slashes < at and piece[at - slashes - 1] == 0x5C:
                slashes += 1
            odd = slashes & 1
            if slashes == at and self.escaped:
                odd ^= 1
            if not odd:
                kept.append(at)
        trailing = len(piece) - len(piece.rstrip(b"\\"))
        self.escaped = bool((trailing & 1) ^ (self.escaped and trailing == len(piece)))
        return np.array(kept, dtype=np.intp)

    def _hold(self, rest: bytes) -> Iterator[Element]:
        if not self.held:
            self.held_line = self.line
        self.line += rest.count(b"\n")
        if self.overlong:
            return
        if not self.inside and not rest.strip(_BLANK):
            return
        self.held.append(rest)
        self.held_size += len(rest)
        if self.held_size > self.limit:
            yield Element(self.held[0][:_SHOWN], self.held_line, TOO_LONG)
            self.overlong, self.held, self.held_size = True, [], 0

    def _release(self, piece: bytes, start: int, end: int) -> tuple[bytes, int]:
        here = piece[start:end]
        line = self.held_line if self.held else self.line
        self.line += here.count(b"\n")
        data = b"".join((*self.held, here))
        self.held, self.held_size = [], 0
        return data, line

    def _take(self, piece: bytes, start: int, end: int) -> Iterator[Element]:
        data, line = self._release(piece, start, end)
        if self.overlong:
            self.overlong = False
        elif len(data) > self.limit:
            yield Element(data[:_SHOWN], line, TOO_LONG)
        else:
            # A newline within a JSON value is blank space: strings hold none.
            yield Element(data.replace(b"\r", b" ").replace(b"\n", b" ") if b"\n" in data else data, line)

    def _gap(self, piece: bytes, start: int, end: int) -> Iterator[Element]:
        data, line = self._release(piece, start, end)
        text = data.strip(_BLANK)
        if self.overlong:
            self.overlong = False
        elif text:
            skipped = data[: len(data) - len(data.lstrip(_BLANK))].count(b"\n")
            yield Element(text[:_SHOWN], line + skipped, "no JSON value")

    def finish(self) -> Iterator[Element]:
        data, line = self._release(b"", 0, 0)
        if self.inside and not self.overlong:
            yield Element(data[: self.kept], line, CUT_OFF)
        elif data.strip(_BLANK):
            yield Element(data.strip(_BLANK)[:_SHOWN], line, "no JSON value")
