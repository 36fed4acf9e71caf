"""What the page is made from: a plan, and what the judging layer says of it before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netpol_gen.config import Config
from netpol_gen.connectivity import Connectivity, connections
from netpol_gen.coverage import Coverage, measure
from netpol_gen.diff import Difference, compare
from netpol_gen.evaluate import Verdict
from netpol_gen.evaluate.table import ConnectionTable
from netpol_gen.lint import LintSettings, policy_documents, run
from netpol_gen.lint import Material as LintMaterial
from netpol_gen.lint import Report as LintReport
from netpol_gen.model import Edge
from netpol_gen.plan import Plan
from netpol_gen.policy import NetworkPolicy
from netpol_gen.ports import PortInventory, collect
from netpol_gen.readers.cards import blind_spots
from netpol_gen.verify import replay

TITLE = "Network policy report"


@dataclass(frozen=True, slots=True)
class Side:
    """One set of policies: what it allows, and its verdict on every edge that was accepted or is denied today."""

    policies: tuple[NetworkPolicy, ...]
    connectivity: Connectivity
    verdicts: Mapping[Edge, Verdict]


@dataclass(frozen=True, slots=True)
class Material:
    """Everything that the page shows. `before` are the policies in force, `after` those and the generated ones."""

    plan: Plan
    config: Config
    before: Side
    after: Side
    difference: Difference
    coverage: Coverage
    ports: PortInventory
    lint: LintReport
    title: str
    notes: tuple[str, ...] = ()


def gather(
    plan: Plan,
    config: Config | None = None,
    *,
    title: str = TITLE,
    lint: LintSettings | None = None,
    notes: Sequence[str] = (),
) -> Material:
    """Judge the policies of a plan, before and after.

    Args:
        plan: what `generate` returned.
        config: the settings it was made with.
        title: the page's heading.
        lint: severities and suppressions of findings.
        notes: sentences about the input, beside those that its readers have.

    """
    config = config or Config()
    known = plan.edges.inventory
    accepted = plan.edges.accepted
    seen = {**plan.edges.denied, **accepted}
    old = plan.existing
    new = in_force_after(plan)
    table = ConnectionTable()
    matching = config.cni.ipblock_matches_pods
    sides = []
    for policies in (old, new):
        allowed = connections(policies, known, tiers=known.tiers, table=table, ipblock_matches_pods=matching)
        verdicts = {r.edge: r.verdict for r in plan.replay.rows} if _proved(plan, policies) else {}
        rest = {edge: evidence for edge, evidence in seen.items() if edge not in verdicts}
        judged = replay(policies, known, rest, tiers=known.tiers, ipblock_matches_pods=matching)
        sides.append(Side(policies, allowed, verdicts | {r.edge: r.verdict for r in judged.rows}))
    return Material(
        plan,
        config,
        sides[0],
        sides[1],
        compare(
            old,
            new,
            known,
            known,
            accepted,
            tiers_old=known.tiers,
            tiers_new=known.tiers,
            ipblock_matches_pods=matching,
        ),
        measure(plan.edges, config, blind_spots=blind_spots(plan.edges.sources)),
        collect(plan.edges, config, new),
        run(LintMaterial(policy_documents(new), known, plan.edges, config, lint or LintSettings())),
        title,
        (*plan.edges.notes, *notes),
    )


def _proved(plan: Plan, policies: tuple[NetworkPolicy, ...]) -> bool:
    """Whether the plan's own replay was through just these policies."""
    together = (*(p for p in plan.existing if p.ref not in plan.replaces), *plan.policies)
    return tuple(sorted(together, key=lambda p: p.ref)) == policies


def in_force_after(plan: Plan) -> tuple[NetworkPolicy, ...]:
    """Generated policies, and those in force that they neither stand in for nor overwrite by their name."""
    gone = {*plan.replaces, *(p.ref for p in plan.policies)}
    return tuple(sorted((*(p for p in plan.existing if p.ref not in gone), *plan.policies), key=lambda p: p.ref))
