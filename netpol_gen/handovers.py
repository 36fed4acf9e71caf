"""When addresses change hands, for readers: what they fold into one row must not span such a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from netpol_gen.codes import ranked
from netpol_gen.model import OUTLIVES, UNKNOWN_TIME

Int64 = NDArray[np.int64]

SPANS = -1
"""The period of what begins in one and ends in another, and of an address that is not known to change hands."""
FIRST, LAST = -(2**62), 2**62
"""Before and after every time."""


def earliest(first: Int64, signals: Int64) -> Int64:
    """When the packets of each row can have been sent at the earliest: before its time where only an end is told."""
    out = first
    for signal, nanoseconds in OUTLIVES.items():
        late = (signals & int(signal)) != 0
        if late.any():
            out = np.where(late & (first != UNKNOWN_TIME), np.minimum(out, first - nanoseconds), out)
    return out


@dataclass(frozen=True, slots=True)
class Handovers:
    """Periods of addresses: between two neighbouring times an address has one holder, or none.

    Few addresses change hands while flows are recorded, and only those are here.
    """

    addresses: tuple[str, ...] = ()
    """Canonical text (IPv4-mapped IPv6 as IPv4), ascending, each with one time at least."""
    offsets: Int64 = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    """The times of address `i` are `times[offsets[i]:offsets[i + 1]]`."""
    times: Int64 = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """Nanoseconds since the epoch, ascending by address: from here on another holder, or nobody knows whom."""

    @classmethod
    def of(cls, changes: Mapping[str, Sequence[int]]) -> Handovers:
        """From the times by address."""
        kept = {address: sorted(set(times)) for address, times in sorted(changes.items()) if times}
        lengths = np.array([0, *map(len, kept.values())], dtype=np.int64)
        times = np.array([time for each in kept.values() for time in each], dtype=np.int64)
        return cls(tuple(kept), np.cumsum(lengths), times)

    def within(self, first: int, last: int) -> Handovers:
        """Those that matter to records from `first` to `last`: what changed before or after is all one to them."""
        kept = (self.times > first) & (self.times <= last)
        if kept.all():
            return self
        owner = np.repeat(np.arange(len(self.addresses)), np.diff(self.offsets))[kept]
        some, lengths = np.unique(owner, return_counts=True)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return Handovers(tuple(self.addresses[i] for i in some.tolist()), offsets, self.times[kept])

    def __bool__(self) -> bool:
        """Whether any address changes hands."""
        return bool(self.addresses)

    def periods(self) -> tuple[Int64, Int64, Int64, Int64]:
        """For an engine's join: index of the address, first time, first time that is no more its, and number.

        The periods of an address leave no time out.
        """
        lengths = np.diff(self.offsets)
        which = np.repeat(np.arange(len(self.addresses)), lengths + 1)
        number = np.arange(len(which)) - np.repeat(self.offsets[:-1] + np.arange(len(lengths)), lengths + 1)
        since, until = np.full(len(which), FIRST), np.full(len(which), LAST)
        since[number > 0] = self.times
        until[number < np.repeat(lengths, lengths + 1)] = self.times
        return which, since, until, number

    def number(self, which: Int64, first: Int64, last: Int64) -> Int64:
        """The period of `addresses[which[i]]` (-1: of none of these) that holds all from `first[i]` to `last[i]`."""
        out = np.full(len(which), SPANS)
        some = np.flatnonzero(which >= 0)
        if len(some) and len(self.times):
            asked = np.concatenate([which[some]] * 2)
            at, then = np.split(self._rank(asked, np.concatenate([first[some], last[some]])), 2)
            out[some] = np.where(at == then, at - self.offsets[which[some]], SPANS)
        return out

    def _rank(self, which: Int64, times: Int64) -> Int64:
        """How many of all times, address after address, lie before or at a time of an address."""
        moments, place = ranked(self.times)
        owner = np.repeat(np.arange(len(self.addresses)), np.diff(self.offsets))
        keys = owner * (len(moments) + 1) + place + 1
        rank = np.searchsorted(moments, times, side="right")
        found: Int64 = np.searchsorted(keys, which * (len(moments) + 1) + rank, side="right")
        return found
