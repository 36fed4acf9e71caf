"""Distinct connections per row, in bounded memory and whatever the order.

Of each row the 65 smallest 40-bit hashes of (hour, client port) are kept. Up to 64 distinct connections that is a
count; beyond, the 65th smallest hash says how dense they lie (k minimum values; a standard error of one in eight).
Which hashes are smallest does not depend on order, files or processes, so neither does the estimate.
"""

from __future__ import annotations

from array import array

import numpy as np

from netpol_gen.codes import distinct
from netpol_gen.readers.rows import SKETCH

HASH_BITS = 40
HOUR_BITS = 20
_PORT_BITS = 16
_CONNECTION_BITS = HOUR_BITS + _PORT_BITS
_EMPTY = np.empty(0, dtype=np.uint64)

Words = np.ndarray


def mix(connections: Words) -> Words:
    """40-bit hashes of `hour << 16 | client port` (the finishing step of splitmix64)."""
    word = connections.astype(np.uint64)
    with np.errstate(over="ignore"):
        word += np.uint64(0x9E3779B97F4A7C15)
        word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        word ^= word >> np.uint64(31)
    return word >> np.uint64(64 - HASH_BITS)


def fold(log: array[int], hashes: Words | None, hours: Words | None) -> tuple[Words, Words]:
    """Add a log of `row << 36 | hour << 16 | client port` to sorted `row << 40 | hash` and `row << 20 | hour`."""
    # A copy: the log cannot shrink while an array looks into it.
    seen = distinct(np.array(log, dtype=np.uint64))
    in_hours = distinct(seen >> np.uint64(_PORT_BITS))
    row = seen >> np.uint64(_CONNECTION_BITS)
    hashed = row << np.uint64(HASH_BITS) | mix(seen & np.uint64((1 << _CONNECTION_BITS) - 1))
    return (
        smallest(np.concatenate([_EMPTY if hashes is None else hashes, hashed])),
        distinct(np.concatenate([_EMPTY if hours is None else hours, in_hours])),
    )


def smallest(words: Words) -> Words:
    """Sorted, distinct, and of each row only as many as the sketch needs."""
    words = distinct(words)
    row = words >> np.uint64(HASH_BITS)
    starts = np.flatnonzero(np.concatenate([[True], row[1:] != row[:-1]])) if len(row) else np.empty(0, dtype=np.intp)
    lengths = np.diff(np.append(starts, len(row)))
    rank = np.arange(len(row)) - np.repeat(starts, lengths)
    return words[rank <= SKETCH]


def renumber(words: Words, bits: int, rows: Words) -> Words:
    """The same values with row `i` as row `rows[i]`; unsorted."""
    low = np.uint64((1 << bits) - 1)
    return rows[(words >> np.uint64(bits)).astype(np.intp)].astype(np.uint64) << np.uint64(bits) | (words & low)


def estimates(hashes: Words, rows: int) -> list[int]:
    """Distinct connections of rows 0 to `rows - 1`."""
    row = (hashes >> np.uint64(HASH_BITS)).astype(np.intp)
    counts = np.bincount(row, minlength=rows).tolist()
    largest = np.zeros(rows, dtype=np.uint64)
    # Ascending, so that the last of each row stays.
    largest[row] = hashes & np.uint64((1 << HASH_BITS) - 1)
    return [
        count if count <= SKETCH else max(SKETCH + 1, round((count - 1) * (1 << HASH_BITS) / top))
        for count, top in zip(counts, largest.tolist(), strict=True)
    ]


def of_row(words: Words, bits: int, row: int) -> Words:
    """The values of one row, without the row number."""
    low, high = np.searchsorted(words, np.array([row << bits, (row + 1) << bits], dtype=np.uint64))
    return words[low:high] & np.uint64((1 << bits) - 1)


def holds(words: Words, wanted: Words) -> np.ndarray:
    """Which of `wanted` are among the sorted `words`."""
    if not len(words):
        return np.zeros(len(wanted), dtype=bool)
    return np.asarray(words[np.minimum(np.searchsorted(words, wanted), len(words) - 1)] == wanted)


def slices(words: Words, bits: int, rows: int) -> list[tuple[int, ...]]:
    """The values of rows 0 to `rows - 1`, without the row number."""
    bounds = np.searchsorted(words, np.arange(rows + 1, dtype=np.uint64) << np.uint64(bits)).tolist()
    values = (words & np.uint64((1 << bits) - 1)).tolist()
    return [tuple(values[bounds[i] : bounds[i + 1]]) for i in range(rows)]
