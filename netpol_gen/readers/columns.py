"""Arrow columns from Python lists and from numpy, through buffers made at their final size.

`pyarrow.array` would do, but its first call on a list imports pandas (half a second and 45 MB that a run may not need
otherwise), casts to timestamps load Arrow's compute kernels (40 MB), and its builders grow by doubling and copying.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from netpol_gen.codes import Texts, ordering, quick

if TYPE_CHECKING:
    import pyarrow as pa

_LIMIT = 1 << 31
"""Offsets of Arrow's `string` are 32 bits."""


def column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """One column: strings, whole numbers, timestamps (as whole numbers), lists of strings or whole numbers."""
    import pyarrow as pa  # noqa: PLC0415 - half a second that `--help` must not pay

    if pa.types.is_list(kind):
        offsets = _buffer(np.cumsum([0, *map(len, values)]), np.int32)
        inner = column(list(chain.from_iterable(values)), kind.value_type)
        return pa.Array.from_buffers(kind, len(values), [None, offsets], children=[inner])
    known = _known(values)
    if pa.types.is_string(kind):
        encoded = {value: value.encode() for value in set(values) if value is not None}
        pieces = [b"" if value is None else encoded[value] for value in values]
        ends = np.cumsum([0, *map(len, pieces)])
        if ends[-1] >= _LIMIT:
            return pa.array(values, kind)
        buffers = [known, _buffer(ends, np.int32), pa.py_buffer(b"".join(pieces))]
        return pa.Array.from_buffers(kind, len(values), buffers)
    width = np.int32 if pa.types.is_int32(kind) else np.int64
    numbers = np.array([0 if value is None else value for value in values], dtype=width)
    return pa.Array.from_buffers(kind, len(values), [known, _buffer(numbers, width)])


def array(values: np.ndarray, kind: pa.DataType, missing: np.ndarray | None = None) -> pa.Array:
    """Integers or timestamps from numpy, null where `missing`."""
    import pyarrow as pa  # noqa: PLC0415

    there = None
    if missing is not None and missing.any():
        there = pa.py_buffer(np.packbits(~missing, bitorder="little").tobytes())
    width = np.int32 if pa.types.is_int32(kind) else np.int64
    return pa.Array.from_buffers(kind, len(values), [there, _buffer(values, width)])


def chosen(texts: Sequence[str | None], codes: np.ndarray) -> pa.Array:
    """Texts by number."""
    import pyarrow as pa  # noqa: PLC0415

    return column(texts, pa.string()).take(array(codes, pa.int32()))


def written(said: Texts) -> pa.Array:
    """Texts that are numbers, as a column."""
    import pyarrow as pa  # noqa: PLC0415

    low, high = (int(said.codes.min()), int(said.codes.max())) if len(said.codes) else (-1, -1)
    if high < 0:
        return pa.nulls(len(said.codes), pa.string())
    if low == high:
        return pa.repeat(column(said.values[low : low + 1], pa.string())[0], len(said.codes))
    # Null stands behind the texts, where the number -1 leads to.
    return chosen([*said.values, None], said.codes if low >= 0 else said.codes % (len(said.values) + 1))


def sequence(*keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order of rows by integers, the first most significant, and whether each row is the same as the one before.

    Several of small range are one number, so that there are fewer to sort by.
    """
    packed: list[np.ndarray] = []
    size = wide = quick(len(keys[0]))
    for key in keys:
        low, high = (int(key.min()), int(key.max())) if len(key) else (0, 0)
        span = high - low + 1
        values = key - low if span < wide else key
        if size * span < wide:
            packed[-1] = packed[-1] * span + values
            size *= span
        else:
            packed.append(values)
            size = min(span, wide)
    # Nearly all rows differ in the first number, and a sort by one is several times as fast as one by several.
    order, ascending = ordering(packed[0])
    same = _repeated(ascending)
    if same.any():
        alike = np.flatnonzero(same | np.append(same[1:], False))
        rows = np.sort(order[alike])
        order[alike] = rows[np.lexsort([key[rows] for key in packed[::-1]])]
        for key in packed[1:]:
            same &= _repeated(key[order])
    return order, same


def _repeated(values: np.ndarray) -> np.ndarray:
    """Where a value is that of the entry before."""
    return np.append(np.zeros(1, dtype=bool), values[1:] == values[:-1])[: len(values)]


def _known(values: Sequence[Any]) -> pa.Buffer | None:
    """A bit for each value that is not None; nothing where all are known."""
    import pyarrow as pa  # noqa: PLC0415

    if None not in values:
        return None
    return pa.py_buffer(np.packbits([value is not None for value in values], bitorder="little").tobytes())


def _buffer(numbers: np.ndarray, width: type[np.int32 | np.int64]) -> pa.Buffer:
    import pyarrow as pa  # noqa: PLC0415

    return pa.py_buffer(np.ascontiguousarray(numbers, dtype=width))
