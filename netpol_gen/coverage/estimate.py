"""How many edges were not seen: Chao2 and Good-Turing on time-bin incidence.

The sampling unit is the time bin, the datum whether an edge was seen in it. Flow counts are not used: they are bursty
and dependent, and an estimate built on them (Chao1) falls short by a fifth in the first day.

Chao2 (A. Chao 1987; Colwell and others 2012): with t units, Q1 edges seen in one unit and Q2 in two,
`unseen = (t-1)/t * Q1^2 / (2 Q2)`, or `(t-1)/t * Q1 (Q1-1) / 2` where Q2 is 0; the interval is the log-normal one.
Good-Turing: about `Q1/t` new edges are to be expected in the next unit, and
`1 - Q1/U * (t-1) Q1 / ((t-1) Q1 + 2 Q2)` is the share of the traffic's incidences that belongs to edges already seen.

Both assume that the coming weeks are like those observed. Periodic edges break that: with a period of about the window
they are seen exactly once and push the estimate up; with a longer one they are invisible.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from netpol_gen.coverage.bins import MIN_BINS, Int64

MIN_EDGES = 5
"""An estimate from fewer species than this is noise."""
LARGE_Q1 = 3
"""So many edges seen once and none seen twice: the ratio that Chao2 rests on does not exist."""
MOVED_SHARE = 0.1
PERIOD = 24
"""Hours. What comes back at the same hour only, day by day or week by week, is a schedule, not chance."""
_Z = 1.959964


@dataclass(frozen=True, slots=True)
class Rebinned:
    """The same estimate with bins of another length."""

    bin_hours: int
    bins: int
    unseen: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """What can be said about unseen edges. Where `why_not` is given, `unseen` and what follows from it are `None`.

    `low` and `high` bound `unseen` at 95 %. `next_bin` is the expected number of new edges in the next bin,
    `completeness` the Good-Turing share. `moved` says that bins of another length give another answer.
    """

    seen: int
    bins: int
    once: int
    twice: int
    unseen: float | None = None
    low: float | None = None
    high: float | None = None
    next_bin: float | None = None
    completeness: float | None = None
    rebinned: tuple[Rebinned, ...] = ()
    moved: bool = False
    why_not: str = ""
    periodic: int = 0
    """Edges left out of the sample because they were seen at one hour of the day only (`looks_periodic`)."""

    @property
    def estimable(self) -> bool:
        """Whether there is an estimate."""
        return self.unseen is not None


def estimate(counts: Int64, bins: int, others: Sequence[tuple[int, int, Int64]] = (), *, lossy: str = "") -> Estimate:
    """An estimate from the number of units in which each edge was seen.

    Args:
        counts: one number per edge, at least 1.
        bins: how many sampling units there were.
        others: the same for other bin lengths, as (hours per bin, units, counts): the check of sensitivity.
        lossy: why so much was lost that no estimate is given; empty if not.

    """
    seen, once, twice = len(counts), int((counts == 1).sum()), int((counts == 2).sum())
    if why := lossy or _why_not(seen, bins, once, twice):
        return Estimate(seen, bins, once, twice, why_not=why)
    unseen, low, high = chao2(seen, bins, once, twice, int(counts.sum()))
    if high > seen:
        why = f"the interval would reach from {low:.0f} to {high:.0f} unseen edges, more than the {seen} seen"
        return Estimate(seen, bins, once, twice, why_not=why)
    rebinned = tuple(
        Rebinned(length, units, chao2(seen, units, *_singles(c), int(c.sum()))[0])
        for length, units, c in others
        if units >= MIN_BINS and not (_singles(c)[1] == 0 and _singles(c)[0] >= LARGE_Q1)
    )
    return Estimate(
        seen,
        bins,
        once,
        twice,
        unseen,
        low,
        high,
        once / bins,
        good_turing(bins, once, twice, int(counts.sum())),
        rebinned,
        any(_outside(r.unseen, unseen, low, high, seen) for r in rebinned),
    )


def _singles(counts: Int64) -> tuple[int, int]:
    return int((counts == 1).sum()), int((counts == 2).sum())


def _why_not(seen: int, bins: int, once: int, twice: int) -> str:
    if not seen:
        return "nothing was observed"
    if bins < MIN_BINS:
        return f"only {bins} time bin{'s' if bins > 1 else ''}, at least {MIN_BINS} are needed"
    if seen < MIN_EDGES:
        return f"only {seen} edge{'s' if seen > 1 else ''}, at least {MIN_EDGES} are needed"
    if not twice and once >= LARGE_Q1:
        return f"{once} edges were seen in one time bin only and none in two"
    return ""


def _outside(other: float, unseen: float, low: float, high: float, seen: int) -> bool:
    """Whether another bin length says something else: beyond the interval, and by more than a trifle."""
    return not low <= other <= high and abs(other - unseen) > max(1.0, MOVED_SHARE * (seen + unseen))


def chao2(seen: int, bins: int, once: int, twice: int, incidences: int) -> tuple[float, float, float]:
    """Unseen edges with the bounds of a 95 % interval."""
    a = (bins - 1) / bins
    if twice:
        ratio = once / twice
        unseen = a * once * ratio / 2
        variance = twice * (a / 2 * ratio**2 + a**2 * ratio**3 + a**2 / 4 * ratio**4)
    else:
        unseen = a * once * (once - 1) / 2
        variance = a * once * (once - 1) / 2 + a**2 * once * (2 * once - 1) ** 2 / 4
        variance -= a**2 * once**4 / (4 * (seen + unseen))
    if unseen > 0 and variance > 0:
        k = math.exp(_Z * math.sqrt(math.log(1 + variance / unseen**2)))
        return unseen, unseen / k, unseen * k
    if once:
        return 0.0, 0.0, _Z * math.sqrt(max(variance, 0.0))
    # No edge was seen once only: what may still hide is bounded by how often the seen ones were seen (Chao 1987).
    missed = math.exp(-incidences / seen)
    spread = _Z * math.sqrt(seen * missed * (1 - missed)) / (1 - missed)
    return 0.0, 0.0, max(0.0, seen / (1 - missed) + spread - seen)


def good_turing(bins: int, once: int, twice: int, incidences: int) -> float:
    """The share of incidences that belongs to edges already seen, 0 to 1."""
    if not once:
        return 1.0
    weight = (bins - 1) * once
    share = weight / (weight + 2 * twice) if weight + 2 * twice else 1.0
    return max(0.0, 1 - once / incidences * share)


def looks_periodic(hours: Sequence[int]) -> bool:
    """Whether an edge was seen on two days or more, always beginning at the same hour of the day, and rarely at all.

    `hours` are hours since the epoch, ascending. Such an edge is all but certain to be seen in a long enough window and
    all but certain not to be in a short one; Chao2 would take it for chance and be wrong both times.
    """
    starts = 0
    before = -2
    for hour in hours:
        if hour > before + 1:
            if (hour - hours[0]) % PERIOD:
                return False
            starts += 1
        before = hour
    return starts > 1 and len(hours) <= starts * PERIOD // 4
