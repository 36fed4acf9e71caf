"""The first few texts of each group in their order, out of many that are nearly all different.

Samples are such a column: hundreds of thousands of places (`file:line`), three of which an edge keeps. Sorting them, or
making Python strings of them, would cost more than all else that is asked of a table. UTF-8 orders texts as Python
does, so eight bytes at a time are compared as one number, among the entries that are equal up to there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from netpol_gen.codes import joined, picked, true

if TYPE_CHECKING:
    import pyarrow as pa

_STEP, _FEW = 8, 32
_KEEP = np.array([2**64 - 2 ** (8 * (_STEP - n)) for n in range(_STEP + 1)], dtype=np.uint64)
"""What of eight bytes belongs to a text that has so many left."""
_GONE = np.uint64(2**64 - 1)
"""No eight bytes of a text: UTF-8 has no such byte."""


def smallest(
    column: pa.ChunkedArray, rows: np.ndarray, group: np.ndarray, count: int, limit: int
) -> list[tuple[str, ...]]:
    """For each of `count` groups the `limit` smallest distinct texts of its rows, in order; null and empty are none.

    `rows` are rows of the column (string), `group` the group of each.
    """
    words = _Words(column)
    out: list[tuple[str, ...]] = [()] * count
    there = words.length(rows) > 0
    if not there.all():
        rows, group = rows[there], group[there]
    shared = words.shared(rows)
    value = words.eight(rows, shared)
    for _ in range(limit):
        chosen = _first(words, rows, group, value, count, shared)
        if not len(chosen):
            break
        one = np.full(count, -1, dtype=np.int64)
        one[group[chosen]] = rows[chosen]
        found = np.flatnonzero(one >= 0)
        for number, text in zip(found.tolist(), picked(column, one[found]), strict=True):
            out[number] += (text or "",)
        # Out of the way without a copy of all that is left.
        value[chosen] = _GONE
    return out


def _first(
    words: _Words, rows: np.ndarray, group: np.ndarray, value: np.ndarray, count: int, offset: int
) -> np.ndarray:
    """Those of the entries that have the smallest text of their group; `value` has eight bytes of it from `offset`."""
    left, here = np.arange(len(rows)), group
    while True:
        least = np.full(count, _GONE, dtype=np.uint64)
        np.minimum.at(least, here, value)
        least = least[here]
        stay = np.flatnonzero((value == least) & (least != _GONE))
        left, here = left[stay], here[stay]
        offset += _STEP
        length = words.length(rows[left])
        alone = len(left) == np.count_nonzero(np.bincount(here))
        if alone or int(length.max()) <= offset:
            break
        value = words.eight(rows[left], offset)
    if alone:
        return left
    # Equal but for NUL characters at the end, which are not told from the end: the shorter is the smaller.
    shortest = np.full(count, 2**31)
    np.minimum.at(shortest, here, length)
    only: np.ndarray = left[length == shortest[here]]
    return only


class _Words:
    """A column of texts as bytes."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        self._column = column
        starts, ends, data, base = [], [], [], 0
        for chunk in column.chunks:
            _, offsets, values = chunk.buffers()
            bounds = np.zeros(len(chunk) + 1, dtype=np.int64)
            if values is not None and len(chunk):
                bounds += np.frombuffer(offsets, dtype=np.int32)[chunk.offset : chunk.offset + len(chunk) + 1] + base
                data.append(np.frombuffer(values, dtype=np.uint8))
                base += len(data[-1])
            starts.append(bounds[:-1])
            ends.append(bounds[1:])
        self.start, self.end = joined(starts), joined(ends)
        if base < _STEP:
            data.append(np.zeros(_STEP, dtype=np.uint8))
        together = data[0] if len(data) == 1 else np.concatenate(data)
        # Eight bytes from any place on, as one big-endian number.
        size = len(together) - _STEP + 1
        self._bytes = together
        self._at = np.ndarray((size,), dtype=">u8", buffer=np.ascontiguousarray(together), strides=(1,))

    def length(self, rows: np.ndarray) -> np.ndarray:
        """How long texts are, in bytes."""
        result: np.ndarray = self.end[rows] - self.start[rows]
        return result

    def eight(self, rows: np.ndarray, offset: int) -> np.ndarray:
        """Eight bytes of each text from an offset on, with zeros after its end."""
        place, last = self.start[rows] + offset, len(self._at) - 1
        if len(rows) and int((self.end[rows] - place).min()) >= _STEP:
            # As nearly always: no text ends there.
            return np.asarray(self._at[place].astype(np.uint64))
        at = np.clip(place, 0, last)
        moved = self._at[at].astype(np.uint64) << (np.clip(place - at, 0, _STEP - 1) * 8).astype(np.uint64)
        result: np.ndarray = moved & _KEEP[np.clip(self.end[rows] - place, 0, _STEP)]
        return result

    def shared(self, rows: np.ndarray) -> int:
        """How many bytes all texts begin with alike, in steps of eight."""
        import pyarrow.compute as pc  # noqa: PLC0415 - half a second that `--help` must not pay

        if not len(rows):
            return 0
        # What a few have in common is what nearly always all have.
        few = sorted(self._text(row) for row in rows[:: max(1, len(rows) // _FEW)].tolist())
        least, most = few[0], few[-1]
        alike = next((i for i, both in enumerate(zip(least, most, strict=False)) if both[0] != both[1]), len(least))
        for length in range(alike // _STEP * _STEP, 0, -_STEP):
            if true(pc.starts_with(self._column, pattern=least[:length]))[rows].all():
                return length
        return 0

    def _text(self, row: int) -> bytes:
        return bytes(self._bytes[self.start[row] : self.end[row]])
