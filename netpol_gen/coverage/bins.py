"""Time as sampling units: the window of observation cut into bins, and which edges were seen in how many of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]

HOUR_NS = 3_600_000_000_000
DAY = 24
FEW_DAYS = 3
"""Windows shorter than this are cut into hours, longer ones into days."""
MIN_BINS = 5
"""Fewer sampling units than this say nothing about what is missing."""


@dataclass(frozen=True, slots=True)
class Window:
    """The hours of observation, as hours since the epoch, `first` to `last` inclusive, cut into bins of `bin_hours`.

    `start` and `end` are the first and the last record, nanoseconds since the epoch, UTC. `silent` are the hours inside
    in which no record at all arrived: a pause of the collector or a quiet cluster, nobody can tell.
    """

    first: int
    last: int
    start: int
    end: int
    bin_hours: int
    silent: tuple[int, ...] = ()

    @property
    def hours(self) -> int:
        """Length in whole hours, begun ones included."""
        return self.last - self.first + 1

    def cut(self, bin_hours: int) -> Cut:
        """The bins of another length over the same hours."""
        whole, rest = divmod(self.hours, bin_hours)
        # A last bin of less than half a length is no unit of its own; it joins the one before.
        count = max(1, whole + (2 * rest >= bin_hours))
        quiet = np.zeros(self.hours, dtype=bool)
        quiet[np.array(self.silent, dtype=np.int64) - self.first] = True
        index = np.minimum(np.arange(self.hours) // bin_hours, count - 1)
        heard = np.zeros(count, dtype=bool)
        heard[index[~quiet]] = True
        return Cut(self.first, bin_hours, index, np.cumsum(heard) - 1, int(heard.sum()))


@dataclass(frozen=True, slots=True)
class Cut:
    """Bins of one length. Bins without any record are no sampling units: what was not watched says nothing."""

    first: int
    bin_hours: int
    bin_of_hour: Int64
    unit_of_bin: Int64
    units: int

    def unit(self, hours: Iterable[int]) -> Int64:
        """The sampling unit of each hour."""
        offsets = np.fromiter(hours, dtype=np.int64) - self.first
        found: Int64 = self.unit_of_bin[self.bin_of_hour[offsets]]
        return found

    def counts(self, seen: SeenHours) -> Int64:
        """For each edge the number of distinct units in which it was seen."""
        unit: Int64 = self.unit_of_bin[self.bin_of_hour[seen.hour - self.first]]
        # Hours ascend within an edge, so that a unit counts where it differs from the one before.
        new = np.ones(len(unit), dtype=bool)
        new[1:] = (unit[1:] != unit[:-1]) | (seen.edge[1:] != seen.edge[:-1])
        found: Int64 = np.bincount(seen.edge[new], minlength=seen.edges)
        return found


@dataclass(frozen=True, slots=True)
class SeenHours:
    """Which edge was seen in which hour, as two columns of equal length, ascending."""

    edges: int
    edge: Int64
    hour: Int64

    @classmethod
    def of(cls, hours: Sequence[Sequence[int]]) -> SeenHours:
        """From the hours of each edge, ascending."""
        sizes = np.fromiter((len(h) for h in hours), dtype=np.int64, count=len(hours))
        flat = np.fromiter(chain.from_iterable(hours), dtype=np.int64, count=int(sizes.sum()))
        return cls(len(hours), np.repeat(np.arange(len(hours)), sizes), flat)


def make_window(hours: Iterable[int], start: int, end: int) -> Window | None:
    """The window of all records seen, or `None` of none. `hours` are hours since the epoch with a record."""
    heard = sorted(set(hours))
    if not heard:
        return None
    first, last = heard[0], heard[-1]
    known = set(heard)
    silent = tuple(h for h in range(first, last + 1) if h not in known)
    return Window(first, last, start, end, bin_length(last - first + 1), silent)


def bin_length(hours: int) -> int:
    """Hours up to three days, then days; half-days while there would be fewer than five days."""
    if hours < FEW_DAYS * DAY:
        return 1
    return DAY if hours >= MIN_BINS * DAY else DAY // 2


def iso(nanoseconds: int) -> str:
    """RFC 3339 to the second, UTC."""
    return datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def span(hours: float) -> str:
    """`5 h`, `3 d`, `3 d 4 h`."""
    days, rest = divmod(round(hours), DAY)
    return " ".join([*([f"{days} d"] if days else []), *([f"{rest} h"] if rest or not days else [])])
