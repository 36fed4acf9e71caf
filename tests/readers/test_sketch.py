"""Counting distinct connections in bounded memory."""

from __future__ import annotations

from array import array
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netpol_gen.readers import sketch

SEEN = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 65535)), max_size=300)


def log(seen):
    return array("Q", [row << 36 | hour << 16 | port for row, hour, port in seen])


@given(seen=SEEN, cuts=st.lists(st.integers(0, 300), max_size=3))
def test_exact_up_to_64_and_whatever_the_order_and_the_pieces(seen, cuts):
    hashes, hours = sketch.fold(log(seen), None, None)
    bounds = [0, *sorted(cuts), 300]
    pieces_hashes = pieces_hours = None
    for low, high in pairwise(bounds):
        pieces_hashes, pieces_hours = sketch.fold(log(seen[::-1][low:high]), pieces_hashes, pieces_hours)
    assert np.array_equal(hashes, pieces_hashes)
    assert np.array_equal(hours, pieces_hours)
    for row, estimate in enumerate(sketch.estimates(hashes, 4)):
        exact = len({(hour, port) for number, hour, port in seen if number == row})
        assert estimate == exact if exact <= 64 else estimate > 64
    assert sketch.slices(hours, sketch.HOUR_BITS, 4) == [
        tuple(sorted({hour for number, hour, _ in seen if number == row})) for row in range(4)
    ]


@pytest.mark.parametrize("count", [65, 100, 1000, 20_000, 65_535])
def test_estimates_are_near(count):
    hashes, _ = sketch.fold(log([(0, 476_383, port) for port in range(count)]), None, None)
    assert len(hashes) == 65
    [estimate] = sketch.estimates(hashes, 1)
    assert 0.6 * count < estimate < 1.5 * count


def test_rows_without_connections_count_none():
    hashes, _ = sketch.fold(log([(1, 0, 1)]), None, None)
    assert sketch.estimates(hashes, 3) == [0, 1, 0]
    assert sketch.of_row(hashes, sketch.HASH_BITS, 0).tolist() == []
    assert len(sketch.of_row(hashes, sketch.HASH_BITS, 1)) == 1


def test_two_readers_of_one_connection_agree():
    a, _ = sketch.fold(log([(5, 7, 40000)]), None, None)
    b, _ = sketch.fold(log([(2, 7, 40000)]), None, None)
    moved = sketch.renumber(b, sketch.HASH_BITS, np.array([0, 0, 5]))
    assert np.array_equal(a, moved)


def test_holds():
    words = np.array([1, 5, 9], dtype=np.uint64)
    assert sketch.holds(words, np.array([0, 1, 9, 10], dtype=np.uint64)).tolist() == [False, True, True, False]
    assert sketch.holds(words[:0], words).tolist() == [False] * 3
