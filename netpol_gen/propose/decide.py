"""From a plan to changes of the policies that a repository has: which are added, edited, removed, and left alone.

Nothing is opened by omission: an edit keeps the directions of which the plan says nothing, a policy of an earlier run
that this evidence does not speak of stays, and what somebody else wrote is not touched unless told to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from netpol_gen.config import Mode
from netpol_gen.diff import Difference
from netpol_gen.inventory import Inventory
from netpol_gen.model import Direction, Workload
from netpol_gen.plan import Plan
from netpol_gen.policy import NetworkPolicy, Rule
from netpol_gen.proposal import Action, LeftAlone, PolicyChange
from netpol_gen.propose.tree import Located, ManifestTree
from netpol_gen.synthesize import RuleNote


@dataclass(frozen=True, slots=True)
class Decided:
    """Changes in the order of their names; `path` of an added one is not known yet. `unchanged` counts policies."""

    changes: tuple[PolicyChange, ...]
    left_alone: tuple[LeftAlone, ...]
    unchanged: int


def decide(plan: Plan, tree: ManifestTree, *, adopt: bool) -> Decided:
    """Changes that bring the policies of the tree to what the plan says, as far as they may be touched."""
    changes: list[PolicyChange] = []
    left: list[LeftAlone] = []
    unchanged = 0
    notes = _notes(plan.notes)
    withheld: frozenset[Workload] = frozenset()
    for policy in plan.policies:
        located = tree.policies.get(policy.ref)
        if located is None:
            changes.append(PolicyChange(Action.ADD, policy.ref, "", None, policy, notes=notes.get(policy.ref, ())))
            continue
        wanted = _merged(located.policy, policy)
        if same_meaning(wanted, located.policy):
            unchanged += 1
        elif reason := _untouchable(located, adopt=adopt):
            left.append(LeftAlone(policy.ref, located.path, reason))
            withheld |= selected(policy, plan.edges.inventory)
        else:
            mine, old, path = notes.get(policy.ref, ()), located.policy, located.path
            changes.append(PolicyChange(Action.EDIT, policy.ref, path, old, wanted, not located.managed, mine))
    written = {p.ref for p in plan.policies}
    for ref in plan.replaces:
        if ref in written:
            continue
        found = tree.policies.get(ref)
        if found is None:
            left.append(LeftAlone(ref, "", "in force in the cluster, and not in this folder of the repository"))
        elif reason := _untouchable(found, adopt=adopt):
            left.append(LeftAlone(ref, found.path, reason))
        elif withheld & selected(found.policy, plan.edges.inventory):
            # The plan counts on a policy that is not written: without this one, its pods might be open.
            left.append(LeftAlone(ref, found.path, "what would stand in for it is left alone"))
        else:
            why = "the policies of its workloads stand in for it"
            changes.append(PolicyChange(Action.REMOVE, ref, found.path, found.policy, None, not found.managed, why=why))
    left += _staying(plan, tree, {entry.ref for entry in left})
    return Decided(tuple(sorted(changes, key=_key)), tuple(sorted(left, key=lambda e: (e.ref, e.path))), unchanged)


def _key(change: PolicyChange) -> tuple[str, str]:
    return (change.ref, change.action)


def _untouchable(located: Located, *, adopt: bool) -> str:
    if located.fixed:
        return located.fixed
    return "" if located.managed or adopt else "not written by netpol-gen: --adopt edits it"


def same_meaning(a: NetworkPolicy, b: NetworkPolicy) -> bool:
    """Whether two policies select the same and say the same, however they are written and labelled."""
    return _bare(a) == _bare(b)


def _bare(policy: NetworkPolicy) -> NetworkPolicy:
    """What takes part in the meaning: rules of a direction that is not listed do not."""
    whole = replace(policy, ingress=policy.rules(Direction.INGRESS), egress=policy.rules(Direction.EGRESS))
    return replace(whole.canonical(), labels=(), annotations=())


def _merged(old: NetworkPolicy, new: NetworkPolicy) -> NetworkPolicy:
    """The new policy with those directions of the old one that it says nothing of: they must not open by omission."""
    kept = old.policy_types - new.policy_types
    if not kept:
        return new
    sides: dict[str, tuple[Rule, ...]] = {d.rules_key: old.rules(d) for d in kept}
    rules = {"ingress": new.ingress, "egress": new.egress, **sides}
    return replace(new, policy_types=new.policy_types | kept, ingress=rules["ingress"], egress=rules["egress"])


def _notes(notes: Iterable[RuleNote]) -> dict[str, tuple[RuleNote, ...]]:
    out: dict[str, tuple[RuleNote, ...]] = {}
    for note in notes:
        out[note.policy] = (*out.get(note.policy, ()), note)
    return out


def _staying(plan: Plan, tree: ManifestTree, known: set[str]) -> list[LeftAlone]:
    """Policies that the plan leaves in force beside its own, with its reason."""
    out = []
    for diagnostic in plan.diagnostics:
        if diagnostic.code == "NPG403" and diagnostic.subject not in known:
            located = tree.policies.get(diagnostic.subject)
            out.append(LeftAlone(diagnostic.subject, located.path if located else "", diagnostic.message))
    return out


def after(existing: Iterable[NetworkPolicy], changes: Iterable[PolicyChange]) -> tuple[NetworkPolicy, ...]:
    """The policies in force once the changes are."""
    policies = {p.ref: p for p in existing}
    for change in changes:
        if change.after is None:
            policies.pop(change.ref, None)
        else:
            policies[change.ref] = change.after
    return tuple(policies[ref] for ref in sorted(policies))


def without_effect(
    decided: Decided, difference: Difference, inventory: Inventory, mode: Mode
) -> tuple[PolicyChange, ...]:
    """Added policies that close nothing, because a policy that is left alone admits as much.

    Only where policies are tightened: a policy that is wanted for its own sake stays wanted.
    """
    if mode is not Mode.TIGHTEN or not decided.left_alone:
        return ()
    moved: dict[tuple[object, Direction], bool] = {}
    for row in (*difference.rows, *difference.doubtful):
        moved[row.dst, Direction.INGRESS] = moved[row.src, Direction.EGRESS] = True
    removed = [c.before for c in decided.changes if c.action is Action.REMOVE and c.before is not None]
    out = []
    for change in decided.changes:
        if change.action is not Action.ADD or change.after is None:
            continue
        workloads = selected(change.after, inventory)
        replacing = any(selected(p, inventory) & workloads for p in removed)
        if not replacing and not any((w, d) in moved for w in workloads for d in change.after.policy_types):
            out.append(change)
    return tuple(out)


def selected(policy: NetworkPolicy, inventory: Inventory) -> frozenset[Workload]:
    """Workloads of which a policy selects a pod."""
    return frozenset(
        pod.workload
        for pod in inventory.pods
        if pod.live
        and not pod.host_network
        and pod.namespace == policy.namespace
        and policy.pod_selector.matches(dict(pod.labels))
    )


def drop(decided: Decided, changes: Sequence[PolicyChange]) -> Decided:
    """Without changes that would have no effect; each is listed instead."""
    gone = {c.ref for c in changes}
    text = "it would close nothing: a policy that is left alone admits as much"
    left = (*decided.left_alone, *(LeftAlone(ref, "", text) for ref in sorted(gone)))
    kept = tuple(c for c in decided.changes if c.ref not in gone or c.action is not Action.ADD)
    return Decided(kept, tuple(sorted(left, key=lambda e: (e.ref, e.path))), decided.unchanged)
