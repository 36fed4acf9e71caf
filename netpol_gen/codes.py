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
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

_HALF = 1 << 15
"""So many texts take a millisecond, much more than a thread does."""
_DENSE = 1 << 16
_PER_ROW = 4
"""A table of all possible numbers is quicker than sorting up to so many for each row."""
_BITS = 63
_MASK = 63
"""So many different items fit into one number, a bit for each."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ROOM = 16
"""Slots for each value: more are emptier, but do not stay in the cache."""
_MOST_SLOTS = 20


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
class Columns:
    """A flow table, with those columns of texts as numbers that its reader had so already."""

    table: pa.Table
    made: Mapping[str, Texts]

    def texts(self, *names: str) -> Texts:
        """Columns one after the other, with one set of codes."""
        if not all(name in self.made for name in names):
            return texts(*(self.table.column(name) for name in names))
        parts = [self.made[name] for name in names]
        if len(parts) == 1:
            return parts[0]
        values: dict[str, int] = {}
        codes = []
        for part in parts:
            meaning = [values.setdefault(text, len(values)) for text in part.values]
            codes.append(np.array([*meaning, -1], dtype=np.int64)[part.codes])
        return Texts(joined(codes), list(values))


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
    """One array of integers or timestamps as int64; it may be Arrow's own, which nobody may change."""
    if chunk.null_count == len(chunk):
        return np.full(len(chunk), missing, dtype=np.int64)
    width = np.int32 if chunk.type.bit_width == 32 else np.int64
    values = np.frombuffer(chunk.buffers()[1], dtype=width)[chunk.offset : chunk.offset + len(chunk)]
    if not chunk.null_count:
        return values.astype(np.int64, copy=False)
    values = values.astype(np.int64)
    values[~_known(chunk)] = missing
    return values


def known(column: pa.ChunkedArray) -> np.ndarray:
    """Where there is a value."""
    return joined([_known(chunk) for chunk in column.chunks], bool)


def _known(chunk: pa.Array) -> np.ndarray:
    bits = chunk.buffers()[0] if chunk.null_count else None
    if bits is None:
        return np.full(len(chunk), chunk.null_count == 0, dtype=bool)
    return _unpacked(bits, chunk)


def _unpacked(bits: pa.Buffer, chunk: pa.Array) -> np.ndarray:
    unpacked = np.unpackbits(np.frombuffer(bits, dtype=np.uint8), bitorder="little")
    return unpacked[chunk.offset : chunk.offset + len(chunk)].view(bool)


def true(column: pa.ChunkedArray) -> np.ndarray:
    """Where a column of booleans holds, which null does not."""
    # Asking Arrow for an array of numpy imports pandas.
    return joined([_unpacked(chunk.buffers()[1], chunk) & _known(chunk) for chunk in column.chunks], bool)


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
    rows = len(columns[0])
    key, size = np.zeros(rows, dtype=np.int64), 1
    for column in columns:
        low, high = (int(column.min()), int(column.max())) if rows else (0, 0)
        values, span = column.astype(np.int64, copy=False), high - low + 1
        if span == 1:
            continue
        if size * span > _dense(rows) and (span <= _dense(rows) or size * span > quick(rows)):
            # Without gaps, so that the product stays small: quickly done, or else the product might overflow.
            at, values = _numbered(values - low, span)
            low, span = 0, len(at)
        if size * span > quick(rows):
            at, key = _numbered(key, size)
            size = len(at)
        key = key * span + (values - low)
        size *= max(span, 1)
    return _numbered(key, size)


def _dense(rows: int) -> int:
    return max(_DENSE, _PER_ROW * rows)


def quick(rows: int) -> int:
    """Numbers from 0 up to this are quickly put in order (`ordering`), if there are so many."""
    return 1 << (_BITS - rows.bit_length())


def _numbered(key: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """`numbered` for keys from 0 to `size`."""
    if size <= _dense(len(key)):
        at = np.full(size, -1, dtype=np.int64)
        at[key] = np.arange(len(key))
        there = np.flatnonzero(at >= 0)
        number = np.empty(size, dtype=np.int64)
        number[there] = np.arange(len(there))
        return at[there], number[key]
    return _sorted(key)


def _sorted(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`numbered` for one column of numbers of any range."""
    order, ascending = ordering(values)
    first = _first(ascending)
    number = np.empty(len(values), dtype=np.int64)
    number[order] = np.cumsum(first) - 1
    return order[first], number


def ordering(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows in the order of their numbers (int64), and the numbers in that order.

    Equal ones keep their order as long as numbers and rows have room side by side in 63 bits: then they are sorted
    together, which takes a third of the time of `argsort`.
    """
    rows = len(values)
    low, high = (int(values.min()), int(values.max())) if rows else (0, 0)
    bits = rows.bit_length()
    if high - low >= 1 << (_BITS - bits):
        order = np.argsort(values)
        return order, values[order]
    # Unsigned numbers may be larger than what int64 holds until the least is taken off.
    wide = values if values.dtype.itemsize == np.dtype(np.int64).itemsize else values.astype(np.int64)
    both = (wide - low).astype(np.int64, copy=False)
    both <<= bits
    both |= np.arange(rows)
    both.sort()
    order = both & ((1 << bits) - 1)
    both >>= bits
    return order, both.astype(wide.dtype, copy=False) + low


def _first(ascending: np.ndarray) -> np.ndarray:
    """Where a value differs from the one before."""
    return np.append(True, ascending[1:] != ascending[:-1]) if len(ascending) else np.empty(0, dtype=bool)


def distinct(values: np.ndarray) -> np.ndarray:
    """Distinct values, ascending.

    `numpy.unique` counts in a hash table first, several times as slow where most values differ, and imports numpy.ma.
    """
    ascending: np.ndarray = np.sort(values)
    return np.asarray(ascending[_first(ascending)])


def occurring(codes: np.ndarray, size: int) -> np.ndarray:
    """Which of the codes from 0 to `size` there are, ascending."""
    there = np.zeros(size, dtype=bool)
    there[codes] = True
    return np.flatnonzero(there)


def ranked(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct values, ascending, and for each value which of them it is (int64)."""
    at, number = _sorted(values)
    return values[at], number


def within(values: np.ndarray, ascending: np.ndarray) -> np.ndarray:
    """Which values (int64) are among others (int64) that are sorted and differ from each other."""
    if not len(ascending):
        return np.zeros(len(values), dtype=bool)
    # Each of the others has a slot of a table by its hash: one look into it instead of a dozen that a binary search
    # takes. Those that lost their slot to another are searched for among themselves.
    bits = min((_ROOM * len(ascending)).bit_length(), _MOST_SLOTS)
    held, here = np.zeros(1 << bits, dtype=np.int64), _slots(ascending, bits)
    held[here] = np.arange(len(ascending))
    lost = np.flatnonzero(held[here] != np.arange(len(ascending)))
    asked = _slots(values, bits)
    found: np.ndarray = ascending[held[asked]] == values
    if len(lost):
        shared = np.zeros(1 << bits, dtype=bool)
        shared[here[lost]] = True
        again, few = np.flatnonzero(shared[asked] & ~found), ascending[lost]
        at = np.searchsorted(few, values[again]).clip(max=len(few) - 1)
        found[again] = few[at] == values[again]
    return found


def _slots(values: np.ndarray, bits: int) -> np.ndarray:
    """Fibonacci hashing: the upper bits of a product that wraps round."""
    product: np.ndarray = np.ascontiguousarray(values).view(np.uint64) * _GOLDEN
    product >>= np.uint64(64 - bits)
    return product.view(np.int64)


def gathered(
    group: np.ndarray, codes: np.ndarray, values: Sequence[str], count: int, limit: int
) -> list[tuple[str, ...]]:
    """For each of `count` groups its distinct texts in order, so many at most. Entries are (group, code)."""
    used = occurring(codes, len(values)).tolist()
    ordered = sorted({values[code] for code in used})
    place = {text: i for i, text in enumerate(ordered)}
    rank = np.zeros(len(values), dtype=np.int64)
    rank[used] = [place[values[code]] for code in used]
    return sets(group, rank[codes], count, ordered, limit)


def sets(
    group: np.ndarray, items: np.ndarray, count: int, values: Sequence[Any], limit: int | None = None
) -> list[tuple[Any, ...]]:
    """For each of `count` groups the values of its distinct items (from 0 on), ascending, so many at most."""
    if len(values) <= _MASK:
        # A bit for each item: most groups have one of few sets then, and no entry is put in order.
        masks = np.zeros(count, dtype=np.int64)
        np.bitwise_or.at(masks, group, np.int64(1) << items)
        each, which = ranked(masks)
        owner, items = np.nonzero(each[:, None] >> np.arange(len(values)) & 1)
    else:
        # Many entries are the same: only what differs is put in order.
        example, _ = numbered(group, items)
        owner, items = group[example], items[example]
        which = np.arange(count)
    listed = [values[item] for item in items.tolist()]
    same: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    made: list[tuple[Any, ...]] = [()] * (int(which.max()) + 1 if count else 0)
    for number, start, end in spans(owner):
        found = tuple(listed[start:end][:limit])
        made[number] = same.setdefault(found, found)
    return [made[number] for number in which.tolist()]


def spans(ascending: np.ndarray) -> Iterable[tuple[int, int, int]]:
    """Each distinct value of a sorted array with where it begins and ends."""
    starts = np.flatnonzero(_first(ascending))
    ends = np.append(starts[1:], len(ascending)) if len(starts) else starts
    return zip(ascending[starts].tolist(), starts.tolist(), ends.tolist(), strict=True)
