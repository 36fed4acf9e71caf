"""Calibration of the unseen-edge estimate on simulated clusters whose edges are all known.

A cluster has steady edges (any hour), rare ones (a Poisson process of a few days), and daily, weekly and monthly ones
(a fixed hour, random phase). Flow counts are bursty (log-normal). For every window length the table compares what
Chao2 on time bins says about unseen edges with how many there were, and how often its 95 % interval held the truth.

`in the sample`: nobody knows that the periodic edges are periodic. `taken out`: they belong to CronJobs, so that the
program leaves them out of the estimate; the truth is then the number of unseen steady and rare edges.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean
from types import MappingProxyType

from netpol_gen.coverage import Coverage, measure
from netpol_gen.edges import Edges, Observation
from netpol_gen.flowtable import Ledger
from netpol_gen.inventory import Inventory
from netpol_gen.inventory.objects import Controller
from netpol_gen.model import DirectionEvidence, Edge, Evidence, ObservedVerdict, Protocol, Signal, Workload

HOUR_NS = 3_600_000_000_000
START = 488_904  # 2025-10-10T00:00Z, in hours since the epoch
MIX: Mapping[str, int] = MappingProxyType({"steady": 210, "rare": 45, "daily": 30, "weekly": 9, "monthly": 6})
PERIODS = {"daily": 24, "weekly": 7 * 24, "monthly": 30 * 24}


@dataclass(frozen=True, slots=True)
class Simulated:
    """One cluster over some days: what was seen, and what there was. `flows` are counts by edge, for Chao1."""

    edges: Edges
    kinds: tuple[str, ...]
    seen: tuple[bool, ...]
    flows: tuple[int, ...]

    def unseen(self, *kinds: str) -> int:
        """How many edges of these kinds (or of any) never showed."""
        return sum(not s and (not kinds or k in kinds) for s, k in zip(self.seen, self.kinds, strict=True))


def simulate(seed: int, days: int, *, known_jobs: bool = False, mix: Mapping[str, int] = MIX) -> Simulated:
    """A cluster watched for `days`. With `known_jobs` the clients of periodic edges are CronJobs in the inventory."""
    rng = random.Random(seed)
    kinds = tuple(kind for kind, number in mix.items() for _ in range(number))
    observations, flows, controllers = [], [], {}
    for i, kind in enumerate(kinds):
        hours = sorted(set(_hours(rng, kind, days * 24)))
        counts = [max(1, int(rng.lognormvariate(2.0, 1.5))) for _ in hours]
        job = known_jobs and kind in PERIODS
        client = Workload("app", "CronJob" if job else "Deployment", f"client-{i}")
        if job:
            controllers[client] = Controller(client, None, (), schedule="0 0 1 1 *")
        flows.append(sum(counts))
        if hours:
            edge = Edge(client, Workload("app", "Deployment", f"server-{i}"), Protocol.TCP, 8080)
            first, last = (START + hours[0]) * HOUR_NS, (START + hours[-1]) * HOUR_NS
            evidence = Evidence(
                sum(counts), sum(counts), 0, first, last, DirectionEvidence.SYN, Signal.SYN,
                hours=tuple(START + h for h in hours),
            )  # fmt: skip
            observations.append(Observation(edge, ObservedVerdict.FORWARDED, evidence, None))
    inventory = Inventory(controllers=MappingProxyType(controllers))
    found = Edges(tuple(sorted(observations, key=lambda o: o.edge)), Ledger(), inventory, {"simulated": 1})
    return Simulated(found, kinds, tuple(f > 0 for f in flows), tuple(flows))


def _hours(rng: random.Random, kind: str, length: int) -> Iterator[int]:
    """Hours in which an edge is active."""
    if kind in PERIODS:
        period = PERIODS[kind]
        yield from range(rng.randrange(period), length, period)
        return
    # Mean distance of appearances: hours for steady edges, one day to three weeks for rare ones.
    mean = rng.uniform(0.5, 4.0) if kind == "steady" else 24 * math.exp(rng.uniform(0.0, math.log(21)))
    at = rng.expovariate(1 / mean)
    while at < length:
        yield int(at)
        at += rng.expovariate(1 / mean)


def chao1(flows: tuple[int, ...]) -> float:
    """The estimator that is *not* used: on flow counts."""
    once, twice = flows.count(1), flows.count(2)
    return once * once / (2 * twice) if twice else once * (once - 1) / 2


@dataclass(frozen=True, slots=True)
class Calibration:
    """Over many runs of one setting; shares are 0 to 1, errors are of the total number of edges."""

    bins: int
    seen: float
    unseen: float
    estimated: float
    error: float
    held: float
    moved: float
    not_estimable: float
    next_predicted: float
    chao1_error: float


def calibrate(days: int, runs: int, *, known_jobs: bool, first_seed: int = 0) -> Calibration:
    """Run it."""
    found: list[tuple[Simulated, Coverage]] = []
    for seed in range(first_seed, first_seed + runs):
        simulated = simulate(seed, days, known_jobs=known_jobs)
        found.append((simulated, measure(simulated.edges)))
    kinds = ("steady", "rare") if known_jobs else ()
    rows = []
    for simulated, coverage in found:
        e, truth = coverage.whole.estimate, simulated.unseen(*kinds)
        if e.unseen is not None and e.low is not None and e.high is not None and e.next_bin is not None:
            # The truth is a whole number, so the bounds are rounded outwards.
            held = math.floor(e.low) <= truth <= math.ceil(e.high)
            rows.append((truth, e.unseen, (e.unseen - truth) / (e.seen + truth), held, e.moved, e.next_bin, e.seen))
    total = sum(MIX.values())
    return Calibration(
        found[0][1].whole.estimate.bins,
        fmean(sum(s.seen) for s, _ in found),
        fmean(r[0] for r in rows) if rows else math.nan,
        fmean(r[1] for r in rows) if rows else math.nan,
        fmean(r[2] for r in rows) if rows else math.nan,
        fmean(r[3] for r in rows) if rows else math.nan,
        fmean(r[4] for r in rows) if rows else math.nan,
        1 - len(rows) / runs,
        fmean(r[5] for r in rows) if rows else math.nan,
        fmean((sum(s.seen) + chao1(s.flows) - total) / total for s, _ in found),
    )


def main(runs: int = 30) -> None:
    """Print both tables."""
    mix = ", ".join(f"{number} {kind}" for kind, number in MIX.items())
    print(f"{runs} simulated clusters each: {mix}; seeds 0 to {runs - 1}")
    for known in (False, True):
        print(f"\nperiodic edges {'taken out (known CronJobs)' if known else 'in the sample'}")
        print("days  bins   seen  unseen  Chao2  error  95 % held  moved  not est.  next bin  Chao1 error")
        for days in (1, 2, 3, 7, 14, 28):
            c = calibrate(days, runs, known_jobs=known)
            print(
                f"{days:>4}  {c.bins:>4}  {c.seen:>5.1f}  {c.unseen:>6.1f}  {c.estimated:>5.1f}  {c.error:>+5.1%}"
                f"  {c.held:>9.0%}  {c.moved:>5.0%}  {c.not_estimable:>8.0%}  {c.next_predicted:>8.2f}"
                f"  {c.chao1_error:>+11.1%}"
            )


if __name__ == "__main__":
    main()
