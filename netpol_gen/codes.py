"""Columns of a flow table as numpy arrays: texts as codes, lists as spans, and combinations of both as one number.

What is asked of a table is asked of columns: rows are told apart by integers, and Python values are made once per
distinct one. Arrays are views of Arrow's buffers, because `to_numpy` imports pandas (half a second, 40 MB) on its first
call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from operator import methodcaller
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

_HALF = 1 << 15
"""So many texts take a millisecond, much more than a thread does."""
_DENSE = 1 << 16
_PER_ROW = 4
"""A table of all possible numbers is quicker than sorting up to so many for each row."""


@dataclass(frozen=True, slots=True)
class Texts:
    """Rows as codes (int64, -1 for null) into distinct texts, in no particular order."""

    codes: np.ndarray
    values: list[str]

    def there(self) -> np.ndarray:
        """Where there is a text that is not empty."""
        result: np.ndarray = np.array([*map(bool, self.values), False])[self.codes]
        return result

    def mapped(self, meaning: Mapping[str, int], missing: int) -> np.ndarray:
        """For each row the number that its text stands for, `missing` for null and for other texts."""
        table = np.array([*(meaning.get(value, missing) for value in self.values), missing], dtype=np.int64)
        result: np.ndarray = table[self.codes]
        return result


@dataclass(frozen=True, slots=True)
class Lists:
    """Rows as spans of one column of items: from `start` on, `length` of them (int64)."""

    start: np.ndarray
    length: np.ndarray
    items: list[pa.Array]

    def of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Every item of these rows: which of the rows has it, and where it is."""
        length = self.length[rows]
        if not length.any():
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        if (length == 1).all():
            return np.arange(len(rows)), self.start[rows]
        owner = np.repeat(np.arange(len(rows)), length)
        before = np.cumsum(length) - length
        at = np.arange(len(owner)) + np.repeat(self.start[rows] - before, length)
        return owner, at


def numbers(column: pa.ChunkedArray, missing: int = 0) -> np.ndarray:
    """Integers or timestamps as int64."""
    return joined([plain(chunk, missing) for chunk in column.chunks])


def plain(chunk: pa.Array, missing: int = 0) -> np.ndarray:
    """One array of integers or timestamps as int64."""
    if chunk.null_count == len(chunk):
        return np.full(len(chunk), missing, dtype=np.int64)
    width = np.int32 if chunk.type.bit_width == 32 else np.int64
    values = np.frombuffer(chunk.buffers()[1], dtype=width)[chunk.offset : chunk.offset + len(chunk)].astype(np.int64)
    if chunk.null_count:
        values[~_known(chunk)] = missing
    return values


def known(column: pa.ChunkedArray) -> np.ndarray:
    """Where there is a value."""
    return joined([_known(chunk) for chunk in column.chunks], bool)


def _known(chunk: pa.Array) -> np.ndarray:
    bits = chunk.buffers()[0] if chunk.null_count else None
    if bits is None:
        return np.full(len(chunk), chunk.null_count == 0, dtype=bool)
    unpacked = np.unpackbits(np.frombuffer(bits, dtype=np.uint8), bitorder="little")
    return unpacked[chunk.offset : chunk.offset + len(chunk)].astype(bool)


def texts(*columns: pa.ChunkedArray) -> Texts:
    """Columns one after the other, with one set of codes."""
    return coded([chunk for column in columns for chunk in column.chunks])


def coded(chunks: Sequence[pa.Array]) -> Texts:
    """Arrays of texts one after the other."""
    import pyarrow as pa  # noqa: PLC0415 - half a second that `--help` must not pay

    rows = sum(map(len, chunks))
    if sum(chunk.null_count for chunk in chunks) == rows:
        # Most columns of most tables: one number stands for all rows.
        return Texts(np.broadcast_to(np.int64(-1), rows), [])
    values: dict[str, int] = {}
    codes: list[np.ndarray] = []
    for found in _encoded(pa.chunked_array(chunks, pa.string())):
        # Arrow gives all chunks of one array the same dictionary.
        meaning = [values.setdefault(text, len(values)) for text in found.chunk(0).dictionary.to_pylist()]
        here = joined([plain(chunk.indices, -1) for chunk in found.chunks])
        codes.append(np.array([*meaning, -1], dtype=np.int64)[here] if codes else here)
    return Texts(joined(codes), list(values))


def _encoded(column: pa.ChunkedArray) -> list[pa.ChunkedArray]:
    """A column as dictionary arrays: a long one as two halves, made at the same time, as Arrow uses one core."""
    half = len(column) // 2
    if half < _HALF:
        return [column.dictionary_encode()]
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(methodcaller("dictionary_encode"), (column[:half], column[half:])))


def picked(column: pa.ChunkedArray, rows: np.ndarray) -> list[str | None]:
    """The texts of some rows."""
    found: list[str | None] = chosen(column, rows).to_pylist()
    return found


def chosen(column: pa.ChunkedArray, rows: np.ndarray) -> pa.ChunkedArray:
    """Some rows (int64) of a column."""
    import pyarrow as pa  # noqa: PLC0415

    return column.take(pa.Array.from_buffers(pa.int64(), len(rows), [None, pa.py_buffer(np.ascontiguousarray(rows))]))


def lists(column: pa.ChunkedArray) -> Lists:
    """A column of lists."""
    starts, lengths, items, base = [], [], [], 0
    for chunk in column.chunks:
        if not len(chunk):
            continue
        ends = np.frombuffer(chunk.buffers()[1], dtype=np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
        length = np.diff(ends).astype(np.int64)
        if chunk.null_count:
            length[~_known(chunk)] = 0
        starts.append(ends[:-1] + np.int64(base))
        lengths.append(length)
        items.append(chunk.values)
        base += len(chunk.values)
    return Lists(joined(starts), joined(lengths), items)


def joined(parts: Sequence[np.ndarray], kind: type[np.int64 | bool] = np.int64) -> np.ndarray:
    """Arrays one after the other; of none, an empty one."""
    return parts[0] if len(parts) == 1 else np.concatenate([*parts, np.empty(0, dtype=kind)])


def numbered(*columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number the distinct combinations of integers in ascending order.

    Returns a row that has it for each number, and for each row its number (int64).
    """
    key, size = np.zeros(len(columns[0]), dtype=np.int64), 1
    for column in columns:
        low, high = (int(column.min()), int(column.max())) if len(column) else (0, 0)
        values, span = column, high - low + 1
        if span == 1:
            continue
        if size * span > _dense(len(key)):
            # Both as numbers without gaps: their product cannot overflow then, and is often small.
            at, key = _numbered(key, size)
            size = len(at)
            at, values = _numbered(column.astype(np.int64) - low, span)
            low, span = 0, len(at)
        key = key * span + (values - low)
        size *= max(span, 1)
    return _numbered(key, size)


def _dense(rows: int) -> int:
    return max(_DENSE, _PER_ROW * rows)


def _numbered(key: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """`numbered` for keys from 0 to `size`."""
    if size <= _dense(len(key)):
        at = np.full(size, -1, dtype=np.int64)
        at[key] = np.arange(len(key))
        there = np.flatnonzero(at >= 0)
        number = np.empty(size, dtype=np.int64)
        number[there] = np.arange(len(there))
        return at[there], number[key]
    values, number = ranked(key)
    example = np.empty(len(values), dtype=np.int64)
    example[number] = np.arange(len(key))
    return example, number


def distinct(values: np.ndarray) -> np.ndarray:
    """Distinct values, ascending.

    `numpy.unique` counts in a hash table first, several times as slow where most values differ, and imports numpy.ma.
    """
    values = np.sort(values)
    return values[np.append(True, values[1:] != values[:-1])] if len(values) else values


def occurring(codes: np.ndarray, size: int) -> np.ndarray:
    """Which of the codes from 0 to `size` there are, ascending."""
    there = np.zeros(size, dtype=bool)
    there[codes] = True
    return np.flatnonzero(there)


def ranked(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct values, ascending, and for each value which of them it is (int64)."""
    order = np.argsort(values)
    ascending = values[order]
    first = np.append(True, ascending[1:] != ascending[:-1]) if len(values) else np.empty(0, dtype=bool)
    number = np.empty(len(values), dtype=np.int64)
    number[order] = np.cumsum(first) - 1
    return ascending[first], number


def within(values: np.ndarray, ascending: np.ndarray) -> np.ndarray:
    """Which values are among others that are sorted."""
    if not len(ascending):
        return np.zeros(len(values), dtype=bool)
    at = np.searchsorted(ascending, values).clip(max=len(ascending) - 1)
    result: np.ndarray = ascending[at] == values
    return result


def gathered(
    group: np.ndarray, codes: np.ndarray, values: Sequence[str], count: int, limit: int
) -> list[tuple[str, ...]]:
    """For each of `count` groups its distinct texts in order, so many at most. Entries are (group, code)."""
    out: list[tuple[str, ...]] = [()] * count
    if not len(group):
        return out
    # Many entries are the same: only what differs is put in order.
    example, _ = numbered(group, codes)
    group, codes = group[example], codes[example]
    used = occurring(codes, len(values)).tolist()
    ordered = sorted({values[code] for code in used})
    place = {text: i for i, text in enumerate(ordered)}
    rank = np.zeros(len(values), dtype=np.int64)
    rank[used] = [place[values[code]] for code in used]
    ranks = rank[codes]
    example, _ = numbered(group, ranks)
    names = [ordered[i] for i in ranks[example].tolist()]
    same: dict[tuple[str, ...], tuple[str, ...]] = {}
    for number, start, end in spans(group[example]):
        found = tuple(names[start : min(end, start + limit)])
        out[number] = same.setdefault(found, found)
    return out


def spans(ascending: np.ndarray) -> Iterable[tuple[int, int, int]]:
    """Each distinct value of a sorted array with where it begins and ends."""
    starts = np.flatnonzero(np.append(True, ascending[1:] != ascending[:-1])) if len(ascending) else np.empty(0, int)
    ends = np.append(starts[1:], len(ascending)) if len(starts) else starts
    return zip(ascending[starts].tolist(), starts.tolist(), ends.tolist(), strict=True)
