"""Lines as Arrow columns, without copying them one by one: what the engine's queries read."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from netpol_gen.readers.columns import array, column

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK = 1 << 20
"""Bytes; the engine wants larger pieces than a decoder of single records."""

_NEWLINE = 0x0A
_FOOTER = 64 * 1024
_TRAILER = 8
"""The length of a Parquet footer in bytes, and `PAR1`."""
_SPACES = re.compile(rb"[ \t\f\v]+")
_COMMENT = re.compile(rb"(?:^|[ \t])#.*", re.DOTALL)


def schema() -> pa.Schema:
    """`line` (text) and `place` (see `vpc.PLACE_BITS`)."""
    import pyarrow as pa  # noqa: PLC0415 - half a second that `--help` must not pay

    return pa.schema([("line", pa.string()), ("place", pa.int64())])


class Lines(NamedTuple):
    """Complete lines as bytes, with where each ends (at its newline)."""

    data: bytes
    ends: np.ndarray

    @classmethod
    def of(cls, data: bytes) -> Self:
        """The lines of a block, without carriage returns at their ends."""
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
        if not data.endswith(b"\n"):
            data += b"\n"
        data = utf8(data)
        return cls(data, np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == _NEWLINE))

    @property
    def blank(self) -> bool:
        """Whether a line is empty."""
        return bool(self.ends[0] == 0 or (np.diff(self.ends) == 1).any())

    def starts(self) -> np.ndarray:
        """Where each line starts."""
        out: np.ndarray = np.concatenate([[0], self.ends[:-1] + 1])
        return out


def batch(lines: Lines, place: int) -> pa.RecordBatch:
    """Lines, none of them empty, the first at `place`. The text is not copied: each line keeps its newline."""
    import pyarrow as pa  # noqa: PLC0415

    count = len(lines.ends)
    offsets = np.empty(count + 1, dtype=np.int32)
    offsets[0] = 0
    np.add(lines.ends, 1, out=offsets[1:], casting="unsafe")
    text = pa.Array.from_buffers(pa.string(), count, [None, pa.py_buffer(offsets), pa.py_buffer(lines.data)])
    return pa.RecordBatch.from_arrays(
        [text, array(np.arange(place, place + count), pa.int64())], names=["line", "place"]
    )


def listed(lines: Iterable[tuple[bytes, int]]) -> pa.RecordBatch:
    """Lines that were handled one by one, each with its place."""
    import pyarrow as pa  # noqa: PLC0415

    pairs = list(lines)
    texts = column([utf8(text).decode() for text, _ in pairs], pa.string())
    places = column([place for _, place in pairs], pa.int64())
    return pa.RecordBatch.from_arrays([texts, places], schema=schema())


def utf8(data: bytes) -> bytes:
    """The same bytes where they are UTF-8, else with U+FFFD in place of what is not."""
    return data if data.isascii() else data.decode("utf-8", "replace").encode()


def tidy(line: bytes) -> bytes:
    """One space between fields, none around them, no comment at the end."""
    if b"#" in line:
        line = _COMMENT.sub(b"", line)
    return _SPACES.sub(b" ", line.replace(b"\r", b" ")).strip(b" ")


def footer(head: bytes, path: str) -> bytes:
    """The end of a Parquet file, where the names of its columns are: looking there is quicker than parsing it.

    Of a footer that is longer than that the beginning, where the columns are, and the very end: what a writer keeps
    with a table comes after them, and may be megabytes. `head` is all of it where there is no `path`.
    """
    there = os.path.isfile(path)  # noqa: PTH113 - asked of each of hundreds of files
    with open(path, "rb", buffering=0) if there else io.BytesIO(head) as file:  # noqa: PTH123 - as above
        length = file.seek(0, io.SEEK_END)
        file.seek(max(0, length - _TRAILER))
        trailer = file.read(_TRAILER)
        # Of a whole file it is told how long its footer is.
        told = _TRAILER + int.from_bytes(trailer[:-4], "little") if trailer.endswith(b"PAR1") else _FOOTER
        if _FOOTER < told <= length:
            file.seek(length - told)
            return (file.read(_FOOTER - _TRAILER) + trailer).lower()
        size = min(told, _FOOTER)
        file.seek(max(0, length - size))
        return file.read(size).lower()


def arrow_file(head: bytes, path: str) -> pa.NativeFile:
    """A Parquet file as Arrow takes it, `head` where there is no `path`: Arrow takes some paths for URLs.

    Raises:
        OSError: it cannot be opened.

    """
    import pyarrow as pa  # noqa: PLC0415

    return pa.OSFile(os.fsencode(path)) if path else pa.BufferReader(head)
