"""From paths to line-aligned blocks of bytes, the same for every source.

`expand` turns what the user named (files, directories, globs, `-`) into `Input`s; `Input.head` is the first
decompressed bytes, for sniffing; `Input.parts` cuts an input into shares for several processes; `Stream` reads one:

    for block in Stream(item, part).blocks():   # complete lines, at most about BLOCK bytes, `block.line` counts from 1
        ...

Compression (gzip with several members, zstandard with several frames) is told by magic bytes, never by the name. Damage
to compressed data ends the blocks and is told in `Stream.damage`; a line longer than MAX_LINE comes as a block with
`too_long` set and only its beginning. Readers need not see to either: `Rows.blocks(stream)` counts both.
"""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

from netpol_gen.errors import InputError, Place, utf8
from netpol_gen.readers.inflate import Inflate, compression
from netpol_gen.readers.paths import identity, names, os_problem

BLOCK = 64 * 1024
"""About the size of a block: msgspec decodes blocks of 32 to 256 KiB fastest, and 8 MiB ones 1.6 times slower."""
MAX_LINE = 16 * 1024 * 1024
"""No flow record is longer; what is longer is read over in bounded memory."""
HEAD = 64 * 1024
PARQUET = b"PAR1"
"""How such a file begins and ends."""
MAX_WHOLE = 1024 * 1024 * 1024
"""Bytes of a Parquet file that are held in memory, where it cannot be read from its end."""
MIN_PART = 32 * 1024 * 1024
"""A share smaller than this is not worth a process."""

_LOOK = 4 * 1024
_FEED = 8 * 1024
"""Compressed bytes at a time: about a block, and little memory even where they stand for a thousand times as many."""
_UTF8_BOM = b"\xef\xbb\xbf"
_NEWLINE = ord("\n")


class Part(NamedTuple):
    """A share of one input.

    Plain files: the lines that start in `start <= offset < end`. Compressed ones: every `step`-th block, beginning with
    number `phase`; each share decompresses everything and parses its own blocks.
    """

    start: int = 0
    end: int | None = None
    phase: int = 0
    step: int = 1


WHOLE = Part()


class Block(NamedTuple):
    """Complete lines; the very last one of a file may lack its newline."""

    data: bytes
    line: int
    """Number of the first one, from 1, within the part (shares of a compressed file count from its beginning)."""
    lines: int
    """How many there are, blank ones too."""
    too_long: bool = False
    excess: int = 0
    """Bytes of `data` after these lines, which come again with the next block; only where a stream may leave them."""


def newlines(data: bytes) -> int:
    """How many newlines there are: eight times as fast as `bytes.count`, which looks at each byte by itself."""
    return len(data) - len(data.replace(b"\n", b""))


class View(NamedTuple):
    """Where the bytes of an input come from that are not those of a file: another input, and what is made of it."""

    item: Input
    unwrap: Callable[[Stream], Iterator[bytes]]


@dataclass(slots=True)
class Input:
    """One file, or standard input, opened for its head."""

    name: str
    """As the user may see it: text that can be written, whatever bytes are in the path."""
    path: str
    """Empty for standard input."""
    head: bytes = b""
    """The first bytes, decompressed; all of them for Parquet without `again`, because its end tells what it holds."""
    compression: str = ""
    size: int = 0
    """Bytes on disk; 0 where unknown."""
    source: BinaryIO | None = None
    """An input that can be read only once: standard input, pipes."""
    pending: bytes = field(default=b"", repr=False)
    """What was read of `source` for the head, as it came (compressed or not)."""
    damage: str = ""
    """What is wrong with compressed data at its very beginning (anywhere, where `head` is all)."""
    named: bool = True
    """Whether the user named this very file, perhaps among others."""
    sought: frozenset[str] = frozenset()
    """The directories and globs given in which it was found."""
    view: View | None = None
    """Set where this is what is inside another input (`envelopes`); all else is told of what is inside, too."""

    @property
    def again(self) -> str:
        """The path, where what lies there are the same bytes: for nothing read only once, compressed, or unwrapped."""
        return "" if self.source is not None or self.compression or self.view is not None else self.path

    def open(self) -> BinaryIO:
        """The raw bytes from the beginning; for a pipe, what is left after `pending`."""
        if self.source is not None:
            return self.source
        try:
            return open(self.path, "rb", buffering=0)  # noqa: PTH123 - the stream that asked closes it
        except OSError as error:
            raise InputError(os_problem(error), Place(self.name)) from error

    def parts(self, processes: int, *, lines: bool = True) -> tuple[Part, ...]:
        """Shares for up to `processes` processes; one share where the input is small, a pipe, or not made of lines."""
        if processes < 2 or self.source is not None or self.view is not None or not lines:
            return (WHOLE,)
        if self.compression:
            # A compressed byte stands for about ten; two readers of one file gain little beyond a factor of two.
            count = min(processes, 10 * self.size // MIN_PART, 4)
            return tuple(Part(phase=i, step=count) for i in range(count)) if count > 1 else (WHOLE,)
        count = min(processes, self.size // MIN_PART)
        if count < 2:
            return (WHOLE,)
        bounds = [self.size * i // count for i in range(count + 1)]
        return tuple(Part(bounds[i], bounds[i + 1]) for i in range(count))


def expand(paths: Sequence[str | os.PathLike[str]], stdin: BinaryIO | None = None) -> list[Input]:
    """The inputs that `paths` name, sorted by name, each file once, with their heads read.

    Directories are walked (hidden entries left out), globs expanded (`**` too), `-` is `stdin`.

    Raises:
        InputError: nothing there, or not readable.
        OptionError: an object-store URL, or `-` without a stream.

    """
    found: dict[str, tuple[int, int]] = {}
    named = set[tuple[int, int]]()
    sought: dict[tuple[int, int], set[str]] = {}
    standard = False
    for given in paths:
        text = os.fspath(given)
        if text == "-":
            standard = True
            continue
        files, searched = names(text)
        for name in files:
            found[name] = file = identity(name)
            if searched:
                sought.setdefault(file, set()).add(text)
            else:
                named.add(file)
    inputs, seen = [], set[tuple[int, int]]()
    for name in sorted(found):
        # The same file under two names (a link, a glob beside a path) is read once, under the first name.
        file = found[name]
        if file not in seen:
            seen.add(file)
            item = _open(name)
            if item.name != name and item.name in found:
                item.name += " (not UTF-8)"
            item.named, item.sought = file in named, frozenset(sought.get(file, ()))
            inputs.append(item)
    if standard:
        stream = stdin if stdin is not None else sys.stdin.buffer
        inputs.append(_peek(Input("-", "", source=stream), stream))
    return inputs


def _open(name: str) -> Input:
    item = Input(utf8(name), name)
    stream = item.open()
    try:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            # A pipe (`<(…)`) gives its bytes once: keep it open, as with standard input.
            item.source = stream
            return _peek(item, stream)
        item.size = status.st_size
        _peek(item, stream)
    except OSError as error:
        stream.close()
        raise InputError(os_problem(error), Place(name)) from error
    except InputError:
        stream.close()
        raise
    stream.close()
    return item


def _peek(item: Input, stream: BinaryIO) -> Input:
    item.pending = _fill(stream, _LOOK)
    # What a Parquet file holds is told at its end, and of hundreds of them heads take time.
    if item.source is not None or not item.pending.startswith(PARQUET):
        item.pending += _fill(stream, HEAD - len(item.pending))
    item.compression = compression(item.pending)
    item.head = item.pending
    if item.compression:
        inflate = Inflate(item.compression)
        item.head = _beginning(inflate.feed(item.pending))
        item.damage = inflate.damage
    if item.source is None:
        item.pending = b""
    if not item.again and item.head.startswith(PARQUET):
        _read_on(item)
    return item


def _read_on(item: Input) -> None:
    """All of a Parquet file as its head.

    Raises:
        InputError: it cannot be read, or is too large for that.

    """
    pieces: list[bytes] = []
    have = 0
    stream = Stream(item)
    for piece in stream.pieces():
        pieces.append(piece)
        have += len(piece)
        if have > MAX_WHOLE:
            raise InputError(
                f"a Parquet file of more than {MAX_WHOLE:,} bytes that is compressed or comes through a pipe: "
                "decompress it, save it to a file and name that",
                Place(item.name),
            )
    item.head = b"".join(pieces)
    item.damage = stream.damage
    if item.source is not None:
        item.pending, item.compression, item.source = item.head, "", io.BytesIO()


def _beginning(pieces: Iterator[bytes]) -> bytes:
    head: list[bytes] = []
    have = 0
    while have < HEAD and (piece := next(pieces, b"")):
        head.append(piece)
        have += len(piece)
    return b"".join(head)[:HEAD]


def _fill(stream: BinaryIO, size: int) -> bytes:
    """`size` bytes, or all there are: a pipe gives them in pieces."""
    pieces: list[bytes] = []
    while size > 0 and (piece := stream.read(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


class Stream:
    """One share of one input as blocks of complete lines. Read `blocks` once."""

    def __init__(
        self, item: Input, part: Part = WHOLE, *, block: int = BLOCK, max_line: int = MAX_LINE, ragged: bool = False
    ) -> None:
        """`block` and `max_line` are in bytes. `ragged` spares copies where the reader heeds `Block.excess`."""
        self.item = item
        self.name = item.name
        self.head = item.head
        """The beginning of the whole input, decompressed, whatever the part: for header lines."""
        self.part = part
        self.lines = 0
        """Newlines passed so far."""
        self.damage = ""
        self._block = block
        self._max_line = max_line
        self._ragged = ragged and not item.compression and item.source is None and item.view is None

    def blocks(self) -> Iterator[Block]:
        """Blocks of complete lines (the last line of all may lack its newline)."""
        part = self.part
        if part.step == 1:
            yield from self._cut()
            return
        # Every share cuts the same blocks, because the cuts depend on the decompressed bytes alone.
        for number, block in enumerate(self._cut()):
            if number % part.step == part.phase:
                yield block
        if part.phase:
            self.damage = ""  # the first share tells it

    def pieces(self) -> Iterator[bytes]:
        """The decompressed bytes of the share as they come, for formats that are not lines."""
        return self._pieces(ragged=False)

    def _pieces(self, *, ragged: bool) -> Iterator[bytes]:
        item = self.item
        if item.view is not None:
            inner = Stream(item.view.item)
            yield from item.view.unwrap(inner)
            self.damage = inner.damage
            return
        stream = item.open()
        try:
            if item.compression:
                yield from self._inflated(stream)
            elif item.source is not None:
                yield from _from(item.pending, stream, self._block)
            else:
                yield from _span(stream, self.part, self._block, ragged=ragged)
        except OSError as error:
            raise InputError(os_problem(error), Place(self.name)) from error
        finally:
            if item.path:
                stream.close()

    def _inflated(self, stream: BinaryIO) -> Iterator[bytes]:
        inflate = Inflate(self.item.compression)
        for data in _from(self.item.pending, stream, _FEED):
            for piece in inflate.feed(data):
                # What compresses a hundredfold comes in large pieces: cut to the size that is quick to decode.
                for at in range(0, len(piece), self._block):
                    yield piece[at : at + self._block] if len(piece) > self._block else piece
            if inflate.damage:
                break
        inflate.finish()
        self.damage = inflate.damage

    def _cut(self) -> Iterator[Block]:
        tail: list[bytes] = []
        have = 0
        skipping = False
        first = not self.part.start  # a mark at the head of a later share stands amid the lines of the file
        for raw in self._pieces(ragged=self._ragged):
            piece = raw.removeprefix(_UTF8_BOM) if first else raw
            first = False
            if self._ragged:
                at = piece.rfind(b"\n") + 1 or len(piece)
                if at >= self._block // 2 and not (have or skipping) and piece[at - 1] == _NEWLINE:
                    yield self._whole(piece, len(piece) - at)
                    continue
                piece = piece[:at]
            if skipping:
                at = piece.find(b"\n") + 1
                if not at:
                    continue
                self.lines += 1
                piece, skipping = piece[at:], False
            at = piece.rfind(b"\n") + 1
            if at == len(piece) and not have and at >= self._block // 2:
                yield self._whole(piece)
            elif at and have + at >= self._block // 2:
                yield self._whole(b"".join((*tail, memoryview(piece)[:at])))
                tail, have = ([piece[at:]], len(piece) - at) if at < len(piece) else ([], 0)
            else:
                tail.append(piece)
                have += len(piece)
            if have > self._max_line:
                # Complete lines first: only what follows the last newline can be too long.
                data = b"".join(tail)
                at = data.rfind(b"\n") + 1
                if at:
                    yield self._whole(data[:at])
                tail, have = [data[at:]], len(data) - at
                if have > self._max_line:
                    yield Block(data[at : at + 200], self.lines + 1, 1, too_long=True)
                    tail, have, skipping = [], 0, True
        if have:
            yield from self._last(b"".join(tail))

    def _whole(self, data: bytes, excess: int = 0) -> Block:
        line = self.lines + 1
        count = newlines(data)
        self.lines += count
        # What is in excess has no newline, and what it is in excess of ends with one.
        return Block(data, line, count if excess or data.endswith(b"\n") else count + 1, excess=excess)

    def _last(self, data: bytes) -> Iterator[Block]:
        if self.damage:
            # Half a line before the damage is part of the damage, and counted with it.
            data = data[: data.rfind(b"\n") + 1]
        if data:
            yield self._whole(data)


def _from(pending: bytes, stream: BinaryIO, size: int) -> Iterator[bytes]:
    if pending:
        yield pending
    while piece := stream.read(size):
        yield piece


def _span(stream: BinaryIO, part: Part, size: int, *, ragged: bool) -> Iterator[bytes]:
    """The bytes of the lines that start in the part; where `ragged`, what follows the last newline of a piece twice."""
    begin = _line_start(stream, part.start)
    end = None if part.end is None else _line_start(stream, part.end)
    stream.seek(begin)
    while end is None or begin < end:
        piece = stream.read(size if end is None else min(size, end - begin))
        if not piece:
            return
        # A piece that ends with a line is a block as it is; what is read of the next one is read again.
        at = piece.rfind(b"\n") + 1
        if at and at < len(piece):
            stream.seek(at - len(piece), os.SEEK_CUR)
            begin += at
            yield piece if ragged else piece[:at]
        else:
            begin += len(piece)
            yield piece


def _line_start(stream: BinaryIO, offset: int) -> int:
    """The first offset from `offset` on where a line starts."""
    if not offset:
        return 0
    at = offset - 1
    stream.seek(at)
    while piece := stream.read(BLOCK):
        found = piece.find(b"\n")
        if found >= 0:
            return at + found + 1
        at += len(piece)
    return at
