"""What somebody else's change of policies does: the difference in meaning, with what was observed replayed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from netpol_gen import api
from netpol_gen.config import Config
from netpol_gen.diff import compare
from netpol_gen.edges import Edges
from netpol_gen.flowtable import Flows
from netpol_gen.inventory import Inventory
from netpol_gen.lint import Finding, LintSettings, Material, Report, read_documents, run
from netpol_gen.policy import NetworkPolicy
from netpol_gen.proposal import Review
from netpol_gen.propose.tree import ManifestTree, tiers_in_force, unjudged
from netpol_gen.report.lint import pinpoint

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Reviewed:
    """An environment whose folder changed from `before` to `after`.

    `flows` are what was observed, if anything; `inventory` is what the cluster held, or what it will hold where the
    change touches workloads, too; then `inventory_before` is what it held, if there are no flows to tell. `changed` are
    the paths that the change touches: only findings in these are its author's business.
    """

    name: str
    before: ManifestTree
    after: ManifestTree
    inventory: Inventory
    flows: Flows | pd.DataFrame | None = None
    config: Config = field(default_factory=Config)
    lint: LintSettings = field(default_factory=LintSettings)
    changed: Collection[str] = ()
    inventory_before: Inventory | None = None


def _notes(given: Reviewed, edges: Edges | None) -> tuple[str, ...]:
    """What there is to know about the flows, and what resolving them showed of the inventory."""
    if edges is None:
        return ()
    found = (d for d in edges.inventory.diagnostics if d not in given.inventory.diagnostics)
    return (*edges.notes, *(f"{d.code} {d.subject}: {d.message}" for d in found))


def review(given: Reviewed) -> Review:
    """What the change means.

    Policies that the cluster has and the folder had not stay as they are; a policy that the change removes is gone
    afterwards, although the cluster still holds it.
    """
    config = given.config
    edges = api.find_edges(given.flows, given.inventory, config) if given.flows is not None else None
    known = edges.inventory if edges is not None else given.inventory
    # With flows both sides are asked about the same pods, those that the flows are of among them.
    held_before = given.inventory_before if edges is None and given.inventory_before is not None else known
    beside = [p for p in given.inventory.policies if p.ref not in given.before.policies]
    old, new = _together(given.before, beside), _together(given.after, beside)
    before, after = unjudged(given.before), unjudged(given.after)
    difference = compare(
        old,
        new,
        held_before,
        known,
        edges.accepted if edges is not None else None,
        tiers_old=tiers_in_force(given.before, (), known),
        tiers_new=tiers_in_force(given.after, given.before.tiers, known),
        ipblock_matches_pods=config.cni.ipblock_matches_pods,
    )
    return Review(
        given.name,
        given.after.root,
        difference,
        edges.accepted if edges is not None else {},
        (len(given.before.policies), len(given.after.policies)),
        _findings(given, edges),
        tuple(key for key in sorted({*before, *after}) if before.get(key) != after.get(key)),
        api.measure_coverage(edges, config) if edges is not None else None,
        (*_notes(given, edges), *given.after.notes),
        {ref: (found.path, found.line) for ref, found in given.after.policies.items()},
    )


def _together(tree: ManifestTree, beside: Collection[NetworkPolicy]) -> tuple[NetworkPolicy, ...]:
    policies = {p.ref: p for p in beside} | {ref: located.policy for ref, located in tree.policies.items()}
    return tuple(policies[ref] for ref in sorted(policies))


def _findings(given: Reviewed, edges: Edges | None) -> tuple[Finding, ...]:
    """Findings in the changed files that were not there before: only these are the change's."""
    before = Counter(_same(f) for f in _lint(given.before, given, edges).active)
    texts = given.after.files
    found = pinpoint(
        _lint(given.after, given, edges),
        lambda path: texts[path].decode("utf-8-sig", "replace") if path in texts else None,
    )
    out = []
    for finding in found.active:
        known = _same(finding)
        if before[known]:
            before[known] -= 1
        elif finding.place.path in given.changed:
            out.append(finding)
    return tuple(out)


def _lint(tree: ManifestTree, given: Reviewed, edges: Edges | None) -> Report:
    held = given.inventory if given.inventory.pods or given.inventory.controllers else None
    return run(Material(read_documents(tree.manifests), held, edges, given.config, given.lint))


def _same(finding: Finding) -> tuple[str, str, str]:
    """What makes two findings one, wherever it stands: files and lines may move."""
    return (finding.rule, finding.subject, finding.message)
