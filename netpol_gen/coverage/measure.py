"""From edges to the coverage statement. Pure, and bounded by distinct edges and hours, not by records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from netpol_gen.config import Config
from netpol_gen.coverage.bins import HOUR_NS, Cut, Int64, SeenHours, Window, make_window
from netpol_gen.coverage.estimate import Estimate, estimate, looks_periodic
from netpol_gen.coverage.loss import homes, silent_nodes, touched
from netpol_gen.coverage.model import Coverage, Exercise, Job, Line, Point, Scope, Touched
from netpol_gen.coverage.schedules import check_jobs
from netpol_gen.coverage.silence import never_seen, silent_services
from netpol_gen.coverage.state import Facts, judge, lossy
from netpol_gen.edges import Edges, join
from netpol_gen.flowtable import Reason
from netpol_gen.inventory import Inventory
from netpol_gen.model import Direction, Edge, Evidence, External, Party, Workload

FACTORS = (0.25, 0.5, 2.0, 4.0)
"""Bins so many times as long, for the check of sensitivity."""
HIDING = (
    Reason.MALFORMED,
    Reason.TOO_LONG,
    Reason.BAD_FIELD,
    Reason.NO_ENDPOINT,
    Reason.UNDECIDED,
    Reason.WEAK,
    Reason.UNKNOWN_PARTY,
    Reason.AMBIGUOUS,
    Reason.NO_BACKEND,
    Reason.UNANSWERED,
    Reason.SCAN,
)
"""Records set aside for these reasons may hide an edge."""


def measure(
    edges: Edges, config: Config | None = None, *, blind_spots: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> Coverage:
    """How much of the traffic has been seen, as far as that can be told.

    Args:
        edges: what `find_edges` (or a store) returned.
        config: only its scope is used (`namespaces`, `all_namespaces`).
        blind_spots: by source, what it cannot show.

    """
    config = config or Config()
    watched = _Watched.of(edges, config)
    jobs = tuple(_with_edges(j, watched) for j in watched.jobs)
    lines = tuple(watched.lines(jobs))
    accepted = edges.accepted
    heard = {p for o in edges.observations for p in (o.edge.src, o.edge.dst) if isinstance(p, Workload)}
    asides = {str(r): edges.ledger.set_aside[r] for r in HIDING if edges.ledger.set_aside.get(r)}
    if untimed := sum(v.records for v in accepted.values() if not v.timed):
        asides["of edges that no record dates, which take no part here"] = untimed
    return Coverage(
        watched.window,
        lines,
        jobs,
        watched.losses,
        silent_nodes(edges, edges.inventory),
        (*never_seen(edges.inventory, config, heard), *silent_services(edges.inventory, config, accepted)),
        watched.curve(),
        MappingProxyType({s: tuple(blind_spots[s]) for s in sorted(blind_spots) if s in edges.sources}),
        MappingProxyType(asides),
    )


def _with_edges(job: Job, watched: _Watched) -> Job:
    number = sum(1 for edge in watched.edges if job.workload in (edge.src, edge.dst))
    return replace(job, edges=number)


@dataclass(frozen=True, slots=True)
class _Watched:
    """The accepted edges in scope with everything counted once."""

    window: Window | None
    edges: tuple[Edge, ...]
    evidence: tuple[Evidence, ...]
    scheduled: frozenset[int]
    """Positions of edges with a scheduled job at an end."""
    periodic: frozenset[int]
    """Positions of other edges that come back at one hour of the day only."""
    workloads: tuple[Workload, ...]
    jobs: tuple[Job, ...]
    losses: tuple[Touched, ...]
    cut: Cut | None
    counts: Int64
    others: tuple[tuple[int, int, Int64], ...]

    @classmethod
    def of(cls, edges: Edges, config: Config) -> _Watched:
        """Count."""
        inventory = edges.inventory
        accepted = _species(edges, config)
        found = tuple(sorted(accepted))
        evidence = tuple(accepted[e] for e in found)
        window = _window(edges)
        crons = {c.workload for c in inventory.controllers.values() if c.schedule}
        scheduled = frozenset(i for i, e in enumerate(found) if e.src in crons or e.dst in crons)
        workloads = _workloads(inventory, found, config)
        active = _active(edges, crons)
        hours = [_hours(v) for v in evidence]
        seen = SeenHours.of(hours)
        cut = window.cut(window.bin_hours) if window else None
        others = []
        for factor in FACTORS if window else ():
            length = window.bin_hours * factor  # type: ignore[union-attr]
            if length >= 1 and length == int(length):
                other = window.cut(int(length))  # type: ignore[union-attr]
                others.append((int(length), other.units, other.counts(seen)))
        seen_on: dict[Workload, set[str]] = {}
        for edge, v in zip(found, evidence, strict=True):
            for party in (edge.src, edge.dst):
                if isinstance(party, Workload):
                    seen_on.setdefault(party, set()).update(n.rpartition("/")[2] for n in v.nodes)
        controllers = [c for c in inventory.controllers.values() if config.in_scope(c.workload.namespace)]
        return cls(
            window,
            found,
            evidence,
            scheduled,
            frozenset(i for i, h in enumerate(hours) if i not in scheduled and looks_periodic(h)),
            workloads,
            check_jobs(sorted(controllers, key=lambda c: c.workload), window, active),
            touched(edges, homes(workloads, inventory), {w: frozenset(n) for w, n in seen_on.items()}),
            cut,
            cut.counts(seen) if cut else np.zeros(0, dtype=np.int64),
            tuple(others),
        )

    def lines(self, jobs: Sequence[Job]) -> Iterable[Line]:
        """The whole, the namespaces, the workloads."""
        everything = range(len(self.edges))
        yield self._line(Scope.WHOLE, "", everything, self.workloads, jobs)
        of_namespace: dict[str, set[int]] = {w.namespace: set() for w in self.workloads}
        of_end: dict[tuple[Workload, Direction], list[int]] = {}
        for i, edge in enumerate(self.edges):
            for party, direction in ((edge.src, Direction.EGRESS), (edge.dst, Direction.INGRESS)):
                if isinstance(party, Workload) and party.namespace in of_namespace:
                    of_namespace[party.namespace].add(i)
                    of_end.setdefault((party, direction), []).append(i)
        for namespace in sorted(of_namespace):
            members = [w for w in self.workloads if w.namespace == namespace]
            theirs = [j for j in jobs if j.workload.namespace == namespace]
            yield self._line(Scope.NAMESPACE, namespace, sorted(of_namespace[namespace]), members, theirs)
        by_workload = {j.workload: j for j in jobs}
        for workload in self.workloads:
            own = [by_workload[workload]] if workload in by_workload else []
            for direction in Direction:
                mine = of_end.get((workload, direction), [])
                yield self._line(Scope.WORKLOAD, workload.namespace, mine, [workload], own, direction)

    def _line(
        self,
        scope: Scope,
        namespace: str,
        which: Sequence[int],
        workloads: Sequence[Workload],
        jobs: Sequence[Job],
        direction: Direction | None = None,
    ) -> Line:
        members = frozenset(workloads)
        touching = [t for t in self.losses if not members.isdisjoint(t.workloads)]
        lossy_hours = self._lossy_hours(members, touching)
        # Scheduled edges come when they are due, not by chance: they are judged by their runs, among themselves.
        sample = [i for i in which if i not in self.scheduled]
        by_runs = bool(which) and not sample
        sample = sample or list(which)
        hours = self.window.hours if self.window else 0
        found = self._estimate([] if by_runs else sample, lossy(lossy_hours, hours))
        newest = max(sample, key=lambda i: (self.evidence[i].first_seen, self.edges[i].key), default=None)
        quiet, runs = self._quiet(sample, newest, by_runs=by_runs)
        first = self.evidence[newest].first_seen if newest is not None else None
        quiet_hours = None if first is None or self.window is None else (self.window.end - first) / HOUR_NS
        facts = Facts(
            hours,
            self.cut.units if self.cut else 0,
            len(which),
            quiet,
            quiet_hours or 0.0,
            str(self.edges[newest]) if newest is not None else "",
            found,
            lossy_hours,
            tuple(str(j.workload) for j in jobs if j.exercise is not Exercise.SEEN),
            runs if by_runs else None,
        )
        state, reason = judge(facts)
        return Line(
            scope,
            namespace,
            workloads[0] if scope is Scope.WORKLOAD else None,
            direction,
            state,
            reason,
            len(which),
            found,
            first,
            facts.newest_edge,
            quiet_hours,
            lossy_hours,
            sum(t.events for t in touching),
        )

    def _lossy_hours(self, members: frozenset[Workload], touching: Sequence[Touched]) -> int:
        """Hours with losses; of a group the mean over its members, rounded up: one bad node is not the whole."""
        if self.window is None or not members:
            return 0
        inside = range(self.window.first, self.window.last + 1)
        of_member: dict[Workload, set[int]] = {}
        for t in touching:
            for w in members.intersection(t.workloads):
                of_member.setdefault(w, set()).update(h for h in t.hours if h in inside)
        return -(-sum(map(len, of_member.values())) // len(members))

    def _estimate(self, sample: Sequence[int], too_lossy: str) -> Estimate:
        chance = [i for i in sample if i not in self.periodic]
        rows = np.array(chance, dtype=np.int64)
        others = [(length, units, counts[rows]) for length, units, counts in self.others]
        found = estimate(self.counts[rows], self.cut.units if self.cut else 0, others, lossy=too_lossy)
        return replace(found, periodic=len(sample) - len(chance))

    def _quiet(self, sample: Sequence[int], newest: int | None, *, by_runs: bool) -> tuple[int, int]:
        """Whole bins since the newest edge, and in how many bins the sample was seen at all (for jobs: their runs)."""
        if newest is None or self.cut is None:
            return 0, 0
        then = int(self.cut.unit([self.evidence[newest].first_seen // HOUR_NS])[0])
        if not by_runs:
            return self.cut.units - 1 - then, 0
        units = np.unique(self.cut.unit(h for i in sample for h in _hours(self.evidence[i])))
        return int((units > then).sum()), len(units)

    def curve(self) -> tuple[Point, ...]:
        """Distinct edges seen by the end of each bin; bins without any record add no point."""
        if self.cut is None or self.window is None or not self.edges:
            return ()
        first = self.cut.unit(v.first_seen // HOUR_NS for v in self.evidence)
        totals = np.cumsum(np.bincount(first, minlength=self.cut.units))
        ends: dict[int, int] = {}
        for offset, position in enumerate(self.cut.bin_of_hour.tolist()):
            ends[int(self.cut.unit_of_bin[position])] = offset + 1
        return tuple(Point(ends[u], int(totals[u])) for u in range(self.cut.units))


def _species(edges: Edges, config: Config) -> dict[Edge, Evidence]:
    """Accepted edges in scope, external parties as classes: every client of a public port is one species, not one each.

    An address that is new within a class that was seen needs no new rule but perhaps a wider one; that is the affair of
    the peers that were written, not of this statement.
    """
    out: dict[Edge, Evidence] = {}
    for edge, evidence in edges.accepted.items():
        if evidence.timed and _in_scope(edge, config):
            kind = Edge(_class_of(edge.src), _class_of(edge.dst), edge.protocol, edge.port)
            out[kind] = join(out[kind], evidence) if kind in out else evidence
    return out


def _class_of(party: Party) -> Party:
    return External(party.kind) if isinstance(party, External) else party


def _in_scope(edge: Edge, config: Config) -> bool:
    return any(isinstance(p, Workload) and config.in_scope(p.namespace) for p in (edge.src, edge.dst))


def _window(edges: Edges) -> Window | None:
    seen = [o.evidence for o in edges.observations if o.evidence.timed]
    if not seen:
        return None
    start, end = min(v.first_seen for v in seen), max(v.last_seen for v in seen)
    return make_window({h for v in seen for h in _hours(v)}, start, end)


def _hours(evidence: Evidence) -> tuple[int, ...]:
    """Hours in which it was seen; first and last are in it whatever the source kept. None if it has no time."""
    if not evidence.timed:
        return ()
    return tuple(sorted({*evidence.hours, evidence.first_seen // HOUR_NS, evidence.last_seen // HOUR_NS}))


def _workloads(inventory: Inventory, edges: Iterable[Edge], config: Config) -> tuple[Workload, ...]:
    """Workloads in scope, from the inventory and from flows."""
    known = {p.workload for p in inventory.pods if p.live or p.template}
    known |= {p for e in edges for p in (e.src, e.dst) if isinstance(p, Workload)}
    return tuple(sorted(w for w in known if config.in_scope(w.namespace)))


def _active(edges: Edges, of: Iterable[Workload]) -> dict[Workload, frozenset[int]]:
    wanted = frozenset(of)
    out: dict[Workload, set[int]] = {}
    for seen in edges.observations:
        for party in (seen.edge.src, seen.edge.dst):
            if isinstance(party, Workload) and party in wanted:
                out.setdefault(party, set()).update(_hours(seen.evidence))
    return {w: frozenset(h) for w, h in out.items()}
