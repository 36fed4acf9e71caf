"""Folding conntrack entries into conversations, in columns, in memory bounded by distinct conversations.

Entries are taken in batches; each batch is grouped by a sort over a hash of the row's identity, and batches are merged
the same way. Of a row's connections the smallest hashes are kept, as in `sketch`, each with the largest counters seen:
an entry that was dumped again and again, or told by NEW, UPDATE and DESTROY, is one connection.

Rows do not span hours, because addresses of pods are reused, nor times at which an address is known to change hands.
Entries that are told by their end alone are in rows of their own, for their packets may be older; `conntrack_late`
takes out of them what other rows know to be younger.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netpol_gen.flowtable import Reason
from netpol_gen.handovers import Handovers, earliest
from netpol_gen.model import Signal
from netpol_gen.readers.conntrack_addresses import LOOPBACK, MULTICAST, NOWHERE, Addresses
from netpol_gen.readers.conntrack_entries import COLUMNS, Entries
from netpol_gen.readers.conntrack_meaning import EPHEMERAL_FROM, LATE, UNKNOWN_CLIENT
from netpol_gen.readers.conntrack_times import NS, UNKNOWN_TIME
from netpol_gen.readers.conntrack_words import Int, Mask, Word
from netpol_gen.readers.rows import SKETCH, Window

HASH_BITS = 40
_HOUR_SHIFT, _PERIOD_BITS = 42, 21
_SPANS = (1 << _PERIOD_BITS) - 1
NO_HOUR = (1 << 21) - 1
"""After every hour of a time in nanoseconds."""
_HOUR = 3600 * NS
_BATCH = 1 << 18
"""Entries grouped at once."""
_PARTS = 8
"""Grouped batches that are merged at once."""
_SHARES = 8
_KEYS = ("client", "dialled", "server", "ports", "when")
_PROTOCOL_SHIFT, _UNDECIDED_SHIFT, _CLIENT_PORT_SHIFT, _LATE_SHIFT = 32, 34, 35, 51
_LATE_BITS = 6
"""The two signals of `LATE` behind the five of `_SAID`."""
NOT_LATE = (1 << _LATE_SHIFT) - 1
"""In `Conversations.ports`, what says nothing of lateness."""
_SAID = int(Signal.SYN | Signal.SYN_ACK | Signal.SERVER_DATA | Signal.CLIENT_DATA | Signal.RESET)
"""What the entries of one late row all say, so that it is true of each of its connections."""
SAME_SAID = ~(_SAID << _LATE_SHIFT)
"""In `Conversations.ports`, all but that."""
_MULTIPLIERS = tuple(
    np.uint64(m)
    for m in (
        0x9E3779B97F4A7C15,
        0xC2B2AE3D27D4EB4F,
        0x165667B19E3779F9,
        0xD6E8FEB86659FD93,
        0xFF51AFD7ED558CCD,
    )
)


@dataclass(slots=True)
class Conversations:
    """Rows as columns of one length, and their connections.

    `ports` packs dialled port, server port, protocol and, where the client is not known, the other port; where only the
    end is told, its signals as well. `when` packs the hour and the periods of the client's and of the server's address,
    in that order. `word` is `row << 40 | hash` of each connection kept, ascending, with its bytes and packets (-1 where
    not counted).
    """

    client: Int
    dialled: Int
    server: Int
    ports: Int
    when: Int
    first: Int
    last: Int
    records: Int
    signals: Int
    place: Int
    word: Word
    octets: Int
    packets: Int

    @property
    def dialled_port(self) -> Int:
        """The port as dialled."""
        return self.ports & 0xFFFF

    @property
    def server_port(self) -> Int:
        """The port that the server listens on."""
        return (self.ports >> 16) & 0xFFFF

    @property
    def protocol(self) -> Int:
        """Codes of `conntrack_meaning.L4`."""
        return (self.ports >> _PROTOCOL_SHIFT) & 3

    @property
    def decided(self) -> Mask:
        """Whether the client is known."""
        known: Mask = (self.ports >> _UNDECIDED_SHIFT) & 1 == 0
        return known

    @property
    def client_port(self) -> Int:
        """The other port, where the client is not known."""
        return (self.ports >> _CLIENT_PORT_SHIFT) & 0xFFFF

    @property
    def hour(self) -> Int:
        """Hours since the epoch, `NO_HOUR` where no time is told."""
        return self.when >> _HOUR_SHIFT

    @property
    def late(self) -> Mask:
        """Whether only ends are told."""
        late: Mask = self.ports > NOT_LATE
        return late


_VALUES = (
    ("first", np.minimum),
    ("last", np.maximum),
    ("records", np.add),
    ("signals", np.bitwise_or),
    ("place", np.minimum),
)


class Folder:
    """Takes entries, gives conversations, in shares: what belongs to one client and server is in one of them."""

    def __init__(self, addresses: Addresses, handovers: Handovers) -> None:
        """`addresses` are those of the entries' codes; `handovers` are times that no row may span."""
        self._addresses = addresses
        self._handovers = handovers
        codes = np.array([addresses.code(text.encode()) for text in handovers.addresses], dtype=np.int64)
        self._order = np.argsort(codes)
        """Of the addresses that change hands, by code."""
        self._codes = codes[self._order]
        self._entries: list[Entries] = []
        self._count = 0
        self._shares: list[list[Conversations]] = [[] for _ in range(_SHARES)]

    def add(self, entries: Entries, place: int) -> None:
        """Add entries; `place` is added to their line numbers."""
        if not len(entries.line):
            return
        entries.line = entries.line + place
        self._entries.append(entries)
        self._count += len(entries.line)
        if self._count >= _BATCH:
            self._group()

    def _group(self) -> None:
        joined = Entries(*(np.concatenate([getattr(e, name) for e in self._entries]) for name in COLUMNS))
        self._entries, self._count = [], 0
        share, periods = _share(joined), self._periods(joined)
        for number, parts in enumerate(self._shares):
            some = np.flatnonzero(share == number)
            if len(some):
                mine = Entries(*(getattr(joined, name)[some] for name in COLUMNS))
                parts.append(merge([_rows(mine, periods[some], self._addresses)]))
            if len(parts) >= _PARTS:
                # Share after share: merging takes several copies of what it merges.
                parts[:] = [merge(parts)]

    def _periods(self, e: Entries) -> Int:
        """The periods of both ends' addresses in the time in which each entry's packets were sent, packed."""
        out = np.zeros(len(e.line), dtype=np.int64)
        if not self._handovers:
            return out
        first = earliest(e.first, e.meaning)
        for codes in (e.client, e.server):
            at = np.searchsorted(self._codes, codes).clip(max=len(self._codes) - 1)
            which = np.where(self._codes[at] == codes, self._order[at], -1)
            period = self._handovers.number(which, first, e.last)
            # What spans comes last, and is what cannot be counted as well: too much in a row is ambiguous, not wrong.
            out = (out << _PERIOD_BITS) | np.where((period < 0) | (period > _SPANS), _SPANS, period)
        return out

    def finish(self) -> Iterator[Conversations]:
        """All conversations; the object is spent then."""
        if self._entries:
            self._group()
        while self._shares:
            parts = self._shares.pop()
            if parts:
                yield merge(parts) if len(parts) > 1 else parts[0]


def _share(e: Entries) -> Int:
    """The share of each entry: by client, server and port, so that all rows of one connection meet."""
    with np.errstate(over="ignore"):
        mixed = e.client.astype(np.uint64) * _MULTIPLIERS[0] ^ e.server.astype(np.uint64) * _MULTIPLIERS[1]
        mixed = _mix(mixed + ((e.server_port << 2) | e.protocol).astype(np.uint64) * _MULTIPLIERS[2])
    return (mixed % np.uint64(_SHARES)).astype(np.int64)


def _rows(e: Entries, periods: Int, addresses: Addresses) -> Conversations:
    """Each entry as a row of its own, with its connection."""
    plain = (e.server == e.dialled) & (e.server_port == e.dialled_port)
    # A server port that looks like a client's, from a low port, with no SYN to prove it: tracked from mid-stream.
    reversed_ = plain & (e.dialled_port >= EPHEMERAL_FROM) & (e.client_port < EPHEMERAL_FROM)
    reversed_ &= (e.meaning & int(Signal.SYN)) == 0
    undecided = ((e.meaning & UNKNOWN_CLIENT) != 0) | reversed_
    ports = e.dialled_port | (e.server_port << 16) | (e.protocol << _PROTOCOL_SHIFT)
    ports |= np.where(undecided, (np.int64(1) << _UNDECIDED_SHIFT) | (e.client_port << _CLIENT_PORT_SHIFT), 0)
    # At a time that is not told there is nothing to be late for.
    late, signals = e.meaning & LATE, e.meaning & (UNKNOWN_CLIENT - 1)
    if late.any():
        late[e.last == UNKNOWN_TIME] = 0
        signals = (signals & ~LATE) | late
        ports |= np.where(late != 0, ((late >> _LATE_BITS) | (signals & _SAID)) << _LATE_SHIFT, 0)
    count = len(e.line)
    # As the server sees it, the connection is the same at the client's node and at its own, whatever was translated.
    hashed = _mix(addresses.values(e.seen_as) * _MULTIPLIERS[1] + e.seen_port.astype(np.uint64))
    return Conversations(
        client=e.client,
        dialled=e.dialled,
        server=e.server,
        ports=ports,
        when=(np.where(e.last == UNKNOWN_TIME, NO_HOUR, e.last // _HOUR & NO_HOUR) << _HOUR_SHIFT) | periods,
        first=e.first,
        last=e.last,
        records=np.ones(count, dtype=np.int64),
        signals=signals,
        place=e.line,
        word=(np.arange(count, dtype=np.uint64) << np.uint64(HASH_BITS)) | (hashed >> np.uint64(64 - HASH_BITS)),
        octets=e.octets,
        packets=e.packets,
    )


def _mix(word: Word) -> Word:
    """The finishing step of splitmix64."""
    with np.errstate(over="ignore"):
        word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


def merge(parts: Sequence[Conversations]) -> Conversations:
    """One part from several: rows by identity, connections by hash."""
    keys = [_joined(parts, name) for name in _KEYS]
    order, starts = _grouped(keys)
    number = np.empty(len(order), dtype=np.uint64)
    number[order] = np.repeat(np.arange(len(starts), dtype=np.uint64), np.diff(np.append(starts, len(order))))
    columns = [key[order[starts]] for key in keys]
    for name, reduce in _VALUES:
        values = _joined(parts, name)[order]
        columns.append(reduce.reduceat(values, starts))
    merged: tuple[Any, ...] = (*columns, *_connections(parts, number))
    return Conversations(*merged)


def _joined(parts: Sequence[Conversations], name: str) -> NDArray[Any]:
    """One column of all parts. Of a single part, as each batch is at first, it needs no copy."""
    columns = [getattr(part, name) for part in parts]
    joined: NDArray[Any] = columns[0] if len(columns) == 1 else np.concatenate(columns)
    return joined


def _grouped(keys: Sequence[Int]) -> tuple[Int, Int]:
    """An order that brings equal keys together, and where each group begins."""
    with np.errstate(over="ignore"):
        mixed = keys[0].astype(np.uint64) * _MULTIPLIERS[0]
        for key, multiplier in zip(keys[1:], _MULTIPLIERS[1:], strict=True):
            mixed = (mixed ^ (mixed >> np.uint64(29))) * multiplier + key.astype(np.uint64)
    mixed = _mix(mixed)
    bits = np.uint64(len(mixed).bit_length())
    # Sorting values is three times as fast as sorting indices: the index takes the place of the hash's low bits.
    high = mixed >> bits
    packed = np.sort((high << bits) | np.arange(len(mixed), dtype=np.uint64))
    order = (packed & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)
    differs, apart = _differing(keys, order, high)
    if not apart:
        order = np.argsort(mixed)
        differs, apart = _differing(keys, order, mixed)
    if not apart:
        # Two keys with one hash, perhaps by intent: sort by the keys themselves.
        order = np.lexsort(keys)
        differs, _ = _differing(keys, order, mixed)
    return order, np.flatnonzero(np.concatenate([np.ones(min(len(order), 1), dtype=bool), differs]))


def _differing(keys: Sequence[Int], order: Int, hashed: Word) -> tuple[Mask, bool]:
    """Which neighbours have different keys, and whether their hashes differ as well."""
    differs = np.zeros(max(len(order) - 1, 0), dtype=bool)
    for key in keys:
        sorted_ = key[order]
        differs |= sorted_[1:] != sorted_[:-1]
    hashed = hashed[order]
    return differs, not (differs & (hashed[1:] == hashed[:-1])).any()


def _connections(parts: Sequence[Conversations], number: Word) -> tuple[Word, Int, Int]:
    """The connections of all parts under the new numbers of their rows, as many of each row as the sketch needs."""
    words, base = [], 0
    low = np.uint64((1 << HASH_BITS) - 1)
    for part in parts:
        row = number[base : base + len(part.client)][(part.word >> np.uint64(HASH_BITS)).astype(np.int64)]
        words.append((row << np.uint64(HASH_BITS)) | (part.word & low))
        base += len(part.client)
    word = np.concatenate(words)
    order = np.argsort(word)
    word = word[order]
    starts = np.flatnonzero(np.concatenate([[True], word[1:] != word[:-1]]))
    word = word[starts]
    keep = ranks(word) <= SKETCH
    # Counters of an entry only grow.
    octets, packets = (np.maximum.reduceat(_joined(parts, name)[order], starts)[keep] for name in ("octets", "packets"))
    return word[keep], octets, packets


def ranks(word: Word) -> Int:
    """The position of each connection among those of its row."""
    row = word >> np.uint64(HASH_BITS)
    starts = np.flatnonzero(np.concatenate([[True], row[1:] != row[:-1]]))
    return np.arange(len(row)) - np.repeat(starts, np.diff(np.append(starts, len(row))))


# --- entries that are no evidence -------------------------------------------------------------------------------------


def unfit(entries: Entries, addresses: Addresses, window: Window) -> Iterator[tuple[Reason, Mask]]:
    """Which entries are no evidence, and why; an entry may come up more than once."""
    ends = (entries.client, entries.dialled, entries.server)
    kinds = [addresses.kinds(codes) for codes in ends]
    for reason, kind in ((Reason.LOOPBACK, LOOPBACK), (Reason.NO_ENDPOINT, NOWHERE), (Reason.MULTICAST, MULTICAST)):
        yield reason, (kinds[0] == kind) | (kinds[1] == kind) | (kinds[2] == kind)
    yield Reason.BAD_FIELD, (entries.dialled_port == 0) | (entries.server_port == 0)
    if window:
        # What is alive now, at a time not told, is in no window and out of none: it stays.
        out = np.zeros(len(entries.line), dtype=bool)
        if window.since is not None:
            out |= entries.last < window.since
        if window.until is not None:
            out |= (entries.first >= window.until) & (entries.first != UNKNOWN_TIME)
        yield Reason.OUT_OF_WINDOW, out
