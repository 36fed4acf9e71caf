"""Sets of small integers as Python integers: member `i` is bit `i`. And partitions of such sets into cells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Bits = int
A = TypeVar("A")
B = TypeVar("B")
Cells = list[tuple[Bits, A]]
"""Disjoint, none empty, together everything: what holds for the members of each."""


def bits_of(members: Iterable[int]) -> Bits:
    """The set of these members."""
    out = 0
    for member in members:
        out |= 1 << member
    return out


def span(low: int, high: int) -> Bits:
    """All from `low` up to but not including `high`."""
    return ((1 << (high - low)) - 1) << low if high > low else 0


def mask(bits: Bits, size: int) -> npt.NDArray[np.bool_]:
    """Shape (size,): whether each of `0..size-1` is a member."""
    raw = np.frombuffer((bits & ((1 << size) - 1)).to_bytes((size + 7) // 8, "little"), dtype=np.uint8)
    return np.unpackbits(raw, count=size, bitorder="little").astype(np.bool_)


def members(bits: Bits) -> npt.NDArray[np.intp]:
    """Members in ascending order."""
    return np.flatnonzero(mask(bits, bits.bit_length()))


def refine(a: Cells[A], b: Cells[B]) -> Iterator[tuple[Bits, A, B]]:
    """The common refinement of two partitions."""
    for bits, x in a:
        left = bits
        for other, y in b:
            common = left & other
            if common:
                yield common, x, y
                left ^= common
                if not left:
                    break
