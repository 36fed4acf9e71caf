"""Connections that are told by their end alone, as far as it is not known when they were alive.

An entry outlives its last packet, so the time of its end says little of who held its addresses. Where an event or a
table has shown the connection before, that says when it was: what the end tells is added there, and to the time of that
row nothing. What is left are connections that began, and fell silent, before anything was recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from netpol_gen.codes import numbered
from netpol_gen.readers.conntrack_addresses import Addresses
from netpol_gen.readers.conntrack_meaning import LATE
from netpol_gen.readers.conntrack_rows import HASH_BITS, NO_HOUR, NOT_LATE, SAME_SAID, Conversations, merge
from netpol_gen.readers.conntrack_words import Int, Mask
from netpol_gen.readers.rows import SKETCH

_LOW = np.uint64((1 << HASH_BITS) - 1)
_OF_CONNECTIONS = ("word", "octets", "packets")


def settled(shares: Iterable[Conversations], addresses: Addresses) -> Iterator[Conversations]:
    """Shares of conversations, each with what its late rows have in common with others added to those."""
    for share in shares:
        yield _settle(share, addresses) if share.late.any() else share


def _settle(c: Conversations, addresses: Addresses) -> Conversations:
    late = c.late
    row = (c.word >> np.uint64(HASH_BITS)).astype(np.int64)
    plain = c.ports & NOT_LATE
    timed = (c.hour != NO_HOUR) & ~late
    # Which of a connection's rows is the latest, whatever order they were met in.
    rank = np.empty(len(late), dtype=np.int64)
    time = np.where(late, c.last, c.first)
    rank[np.lexsort((addresses.values(c.dialled), plain, c.when, late, time))] = np.arange(len(late))
    open_ = late[row]
    found = []
    # The row at the same node tells the connection as it was dialled; any other, that it is the same to the server.
    for keys in ((c.client, c.server, plain, c.dialled), (c.client, c.server, plain >> 16)):
        if timed.any() and open_.any():
            found.append(_known(c, keys, row, rank, np.where(open_, 1, np.where(timed[row], 0, -1))))
            open_[found[-1][0]] = False
    if found:
        _add(c, row, rank, *(np.concatenate(each) for each in zip(*found, strict=True)))
        c = _without(c, ~late | (c.records > 0), ~late[row] | open_ | ~_whole(c, row)[row])
    c.ports = c.ports & SAME_SAID
    return merge([c])


def _whole(c: Conversations, row: Int) -> Mask:
    """Rows all of whose connections are known."""
    whole: Mask = np.bincount(row, minlength=len(c.client)) <= SKETCH
    return whole


def _known(c: Conversations, keys: Sequence[Int], row: Int, rank: Int, kind: Int) -> tuple[Int, Int]:
    """Late connections (`kind` 1) that an earlier timely row (0) of equal keys has: their places, and that one's."""
    example, group = numbered(*keys)
    group = group[row]
    some = np.flatnonzero((np.bincount(group[kind == 1], minlength=len(example))[group] > 0) & (kind >= 0))
    of_hash, of_group = c.word[some] & _LOW, group[some]
    by = np.lexsort((rank[row[some]], of_hash, of_group))
    some, of_hash, of_group = some[by], of_hash[by], of_group[by]
    place = np.arange(len(some))
    begins = np.ones(len(some), dtype=bool)
    begins[1:] = (of_group[1:] != of_group[:-1]) | (of_hash[1:] != of_hash[:-1])
    begin = np.maximum.accumulate(np.where(begins, place, 0))
    before = np.maximum.accumulate(np.where(kind[some] == 0, place, -1))
    hits = np.flatnonzero((kind[some] == 1) & (before >= begin))
    return some[hits], some[before[hits]]


def _add(c: Conversations, row: Int, rank: Int, ends: Int, known: Int) -> None:
    """Add what ends tell to the connections that are known, and their records to the rows that have these."""
    np.maximum.at(c.octets, known, c.octets[ends])
    np.maximum.at(c.packets, known, c.packets[ends])
    of, to = row[ends], row[known]
    np.bitwise_or.at(c.signals, to, c.signals[of] & ~LATE)
    # Of a row with more connections than are kept, nobody can say how many records are theirs.
    whole = _whole(c, row)
    sure = whole[of]
    np.add.at(c.records, to[sure], 1)
    taken = np.bincount(of[sure], minlength=len(whole))
    c.records = c.records - taken
    # What was told again, of a row of which nothing is left, goes to the latest of the others.
    latest = np.full(len(whole), -1, dtype=np.int64)
    by = np.argsort(rank[to])
    latest[of[by]] = to[by]
    done = np.flatnonzero(whole & c.late & (taken == np.bincount(row, minlength=len(whole))))
    np.add.at(c.records, latest[done], c.records[done])
    c.records[done] = 0


def _without(c: Conversations, rows: Mask, connections: Mask) -> Conversations:
    """Some rows, and some of their connections."""
    number = np.cumsum(rows) - 1
    row = number[(c.word >> np.uint64(HASH_BITS)).astype(np.int64)].astype(np.uint64)
    word = (row << np.uint64(HASH_BITS)) | (c.word & _LOW)
    made: dict[str, Any] = {"word": word[connections]}
    for name in (each.name for each in fields(c)):
        if name not in made:
            made[name] = getattr(c, name)[connections if name in _OF_CONNECTIONS else rows]
    return Conversations(**made)
