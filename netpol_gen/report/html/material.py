"""What the page is made from: a plan, and what the judging layer says of it before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from netpol_gen.config import Config
from netpol_gen.connectivity import Connectivity, connections
from netpol_gen.coverage import Coverage, measure
from netpol_gen.diff import Difference, compare
from netpol_gen.evaluate import Verdict
from netpol_gen.evaluate.table import ConnectionTable
from netpol_gen.lint.model import Report as LintReport
from netpol_gen.model import Edge
from netpol_gen.plan import Plan
from netpol_gen.policy import NetworkPolicy
from netpol_gen.verify import replay


@dataclass(frozen=True, slots=True)
class Side:
    """One set of policies: what it allows, and its verdict on every edge that was accepted or is denied today."""

    policies: tuple[NetworkPolicy, ...]
    connectivity: Connectivity
    verdicts: Mapping[Edge, Verdict]


@dataclass(frozen=True, slots=True)
class Port:
    """A line of the port inventory as the page shows it. `seen` and `allowed` are counts of clients and of rules.

    `marks` are what the inventory says about it in words; times are nanoseconds since the epoch, 0 for never.
    """

    workload: str
    protocol: str
    port: int
    name: str = ""
    declared: str = ""
    service: str = ""
    clients: tuple[str, ...] = ()
    flows: int = 0
    first_seen: int = 0
    last_seen: int = 0
    allowed: str = ""
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Material:
    """Everything that the page shows. `before` are the policies in force, `after` those and the generated ones."""

    plan: Plan
    config: Config
    before: Side
    after: Side
    difference: Difference
    coverage: Coverage
    ports: tuple[Port, ...] = ()
    lint: LintReport | None = None
    title: str = "Network policy report"
    blind_spots: Mapping[str, Sequence[str]] = field(default_factory=lambda: MappingProxyType({}))


def gather(
    plan: Plan,
    config: Config | None = None,
    *,
    ports: Sequence[Port] = (),
    lint: LintReport | None = None,
    title: str = "Network policy report",
    blind_spots: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Material:
    """Judge the policies of a plan, before and after.

    Args:
        plan: what `generate` returned.
        config: the settings it was made with.
        ports: the port inventory.
        lint: findings about the policies in force and the generated ones.
        title: the page's heading.
        blind_spots: by source, what it cannot show.

    """
    config = config or Config()
    known = plan.edges.inventory
    accepted = plan.edges.accepted
    seen = {**plan.edges.denied, **accepted}
    old = plan.existing
    new = tuple(sorted((*(p for p in old if p.ref not in plan.replaces), *plan.policies), key=lambda p: p.ref))
    how = {"ipblock_matches_pods": config.cni.ipblock_matches_pods}
    table = ConnectionTable()
    sides = []
    for policies in (old, new):
        allowed = connections(policies, known, tiers=known.tiers, table=table, **how)
        judged = replay(policies, known, seen, tiers=known.tiers, **how)
        sides.append(Side(policies, allowed, {r.edge: r.verdict for r in judged.rows}))
    difference = compare(old, new, known, known, accepted, tiers_old=known.tiers, tiers_new=known.tiers, **how)
    coverage = measure(plan.edges, config, blind_spots=blind_spots)
    return Material(
        plan, config, sides[0], sides[1], difference, coverage, tuple(ports), lint, title, blind_spots
    )
