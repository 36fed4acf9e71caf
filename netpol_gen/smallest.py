"""The first few texts of each group in their order, out of many that are nearly all different.

Samples are such a column: hundreds of thousands of places (`file:line`), three of which an edge keeps. Sorting them, or
making Python strings of them, would cost more than all else that is asked of a table. UTF-8 orders texts as Python
does, so eight bytes at a time are compared as one number, among the entries that are equal up to there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from netpol_gen.codes import joined, picked

if TYPE_CHECKING:
    import pyarrow as pa

_STEP = 8
_KEEP = np.array([2**64 - 2 ** (8 * (_STEP - n)) for n in range(_STEP + 1)], dtype=np.uint64)
"""What of eight bytes belongs to a text that has so many left."""
_TOP = np.uint64(2**64 - 1)


def smallest(
    column: pa.ChunkedArray, rows: np.ndarray, group: np.ndarray, count: int, limit: int
) -> list[tuple[str, ...]]:
    """For each of `count` groups the `limit` smallest distinct texts of its rows, in order; null and empty are none.

    `rows` are rows of the column (string), `group` the group of each.
    """
    words = _Words(column)
    out: list[tuple[str, ...]] = [()] * count
    left = np.flatnonzero(words.end[rows] > words.start[rows])
    shared = words.shared(rows[left])
    value = words.eight(rows[left], shared)
    for _ in range(limit):
        if not len(left):
            break
        chosen = _first(words, rows, group, _Left(left, value), count, shared)
        one = np.full(count, -1, dtype=np.int64)
        one[group[chosen]] = chosen
        found = np.flatnonzero(one >= 0)
        for number, text in zip(found.tolist(), picked(column, rows[one[found]]), strict=True):
            out[number] += (text or "",)
        gone = np.zeros(len(rows), dtype=bool)
        gone[chosen] = True
        stay = ~gone[left]
        left, value = left[stay], value[stay]
    return out


class _Left(NamedTuple):
    """Entries that may be the smallest of their group, and the eight bytes to compare them by."""

    entries: np.ndarray
    value: np.ndarray


def _first(words: _Words, rows: np.ndarray, group: np.ndarray, of: _Left, count: int, offset: int) -> np.ndarray:
    """Those of the entries that have the smallest text of their group."""
    left: np.ndarray = of.entries
    value = of.value
    while True:
        least = np.full(count, _TOP, dtype=np.uint64)
        np.minimum.at(least, group[left], value)
        left = left[value == least[group[left]]]
        offset += _STEP
        length = words.length(rows[left])
        alone = len(left) == np.count_nonzero(np.bincount(group[left]))
        if alone or int(length.max()) <= offset:
            break
        value = words.eight(rows[left], offset)
    if alone:
        return left
    # Equal but for NUL characters at the end, which are not told from the end: the shorter is the smaller.
    shortest = np.full(count, 2**31)
    np.minimum.at(shortest, group[left], length)
    only: np.ndarray = left[length == shortest[group[left]]]
    return only


class _Words:
    """A column of texts as bytes."""

    def __init__(self, column: pa.ChunkedArray) -> None:
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
        offset, shortest = 0, int(self.length(rows).min()) if len(rows) else 0
        place, eight = self.start[rows], self._at.view(np.uint64)
        while offset + _STEP <= shortest:
            # In any order of bytes: nothing is asked but whether they are the same.
            value = eight[place + offset]
            if (value != value[0]).any():
                break
            offset += _STEP
        return offset
