"""The tiers around NetworkPolicy: what cluster-wide policies say of one connection, in order of priority.

Order: Admin tier by priority, NetworkPolicies, Baseline tier, else allowed. The first rule that matches decides; where
a match is not known, both ways are followed, and equal priorities that disagree leave the answer open.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from itertools import groupby

from netpol_gen.evaluate.match import (
    Match,
    OutsideView,
    PodView,
    Tri,
    View,
    any_of,
    block_matches,
    maybe,
    no,
    port_matches,
    selector_matches,
    yes_if,
)
from netpol_gen.evaluate.verdict import RuleRef
from netpol_gen.model import Direction, Protocol
from netpol_gen.policy import ALL, Peer
from netpol_gen.tiers import Action, NamesPeer, NodesPeer, Tier, TierPeer, TierPolicy, TierRule, UnknownPeer

_EQUAL = "which of several policies of equal priority the CNI applies"


class Step(Enum):
    """What can come out of a tier."""

    ACCEPT = "accept"
    DENY = "deny"
    NEXT = "next"


_STEPS = {Action.ACCEPT: Step.ACCEPT, Action.DENY: Step.DENY, Action.PASS: Step.NEXT}


@dataclass(slots=True)
class Outcome:
    """The steps that are possible; one if the outcome is certain. `rules` are those that may have decided."""

    steps: set[Step] = field(default_factory=set)
    rules: list[tuple[Step, RuleRef]] = field(default_factory=list)
    missing: str = ""

    def by(self, step: Step) -> tuple[RuleRef, ...]:
        """The rules that lead to a step."""
        return tuple(ref for s, ref in self.rules if s is step)


class Tiers:
    """The cluster-wide policies of one set, each tier sorted by priority."""

    def __init__(self, policies: Iterable[TierPolicy]) -> None:
        self.policies = tuple(sorted(policies, key=lambda p: (p.tier, p.priority, p.kind, p.name)))
        self._of = {tier: tuple(p for p in self.policies if p.tier is tier) for tier in Tier}

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.policies)

    def has_rules(self, direction: Direction) -> bool:
        """Whether any policy says anything about a direction."""
        return any(p.rules(direction) for p in self.policies)

    def outcome(
        self, tier: Tier, direction: Direction, subject: PodView, peer: View, question: tuple[Protocol | None, int]
    ) -> Outcome:
        """What a tier makes of one connection, seen from one end."""
        found = Outcome()
        for _, group in groupby(self._of[tier], key=lambda p: p.priority):
            each = [_policy_outcome(p, direction, subject, peer, question) for p in group]
            decided = set().union(*(o.steps for o in each))
            goes_on = all(None in o.steps for o in each)
            for o in each:
                found.rules += o.rules
                found.missing = found.missing or o.missing
            steps = {s for s in decided if s is not None}
            if len(steps) > 1 and len(each) > 1:
                found.missing = found.missing or _EQUAL
            found.steps |= steps
            if not goes_on:
                return found
        found.steps.add(Step.NEXT)
        return found


@dataclass(slots=True)
class _OfPolicy:
    """As `Outcome`, for one policy; `None` is "says nothing"."""

    steps: set[Step | None] = field(default_factory=set)
    rules: list[tuple[Step, RuleRef]] = field(default_factory=list)
    missing: str = ""


def _policy_outcome(
    policy: TierPolicy, direction: Direction, subject: PodView, peer: View, question: tuple[Protocol | None, int]
) -> _OfPolicy:
    out = _OfPolicy()
    selected = pod_peer_matches(policy.subject, subject)
    if selected.tri is Tri.NO:
        out.steps.add(None)
        return out
    if selected.tri is Tri.MAYBE:
        out.steps.add(None)
        out.missing = selected.missing
    dst = peer if direction is Direction.EGRESS else subject
    for i, rule in enumerate(policy.rules(direction)):
        match = tier_rule_matches(rule, peer, dst, question)
        if match.tri is Tri.NO:
            continue
        step = Step.DENY if rule.fails_closed else _STEPS[rule.action]
        out.steps.add(step)
        out.rules.append((step, RuleRef(policy.ref, direction, i)))
        out.missing = out.missing or match.missing
        if match.tri is Tri.YES:
            return out
    out.steps.add(None)
    return out


def pod_peer_matches(peer: Peer, view: PodView) -> Match:
    """Namespaces, or pods in namespaces; there is no own namespace here."""
    found = yes_if(found=True)
    if peer.namespace_selector is not None:
        found = selector_matches(
            peer.namespace_selector,
            view.namespace_labels,
            complete=view.namespace_known,
            of=f"namespace {view.namespace}",
        )
    if peer.pod_selector is not None:
        found &= selector_matches(peer.pod_selector, view.labels, complete=view.labels_known, of=view.shown)
    return found


def tier_rule_matches(rule: TierRule, peer: View, dst: View, question: tuple[Protocol | None, int]) -> Match:
    """Whether a rule applies. One that nobody understands accepts nothing, and denies everything."""
    if rule.fails_closed:
        unknown = next(str(p) for p in rule.peers if isinstance(p, UnknownPeer))
        return yes_if(found=rule.action is not Action.ACCEPT, why=f"{unknown} accepts nothing")
    who = any_of(_peer_matches(p, peer) for p in rule.peers)
    protocol, port = question
    if rule.ports is ALL or who.tri is Tri.NO:
        return who
    if protocol is None:
        return no("the rule is for certain protocols")
    return who & any_of(port_matches(p, protocol, port, dst) for p in rule.ports)


def _peer_matches(peer: TierPeer, view: View) -> Match:
    match peer:
        case Peer():
            # Networks match pod traffic too (unlike ipBlocks, which leave that to the CNI).
            if peer.ip_block is not None:
                return block_matches(peer.ip_block, view, Tri.YES)
            if isinstance(view, PodView):
                return pod_peer_matches(peer, view)
            if view.maybe_pod:
                return maybe(f"whether {view.shown} is a pod, and its labels")
            return no(f"selectors match pods, and {view.shown} is none")
        case NodesPeer():
            if isinstance(view, PodView):
                return no(f"{view.shown} is a pod")
            if view.node is not None:
                return selector_matches(peer.selector, view.node.labels, complete=True, of=f"node {view.node.name}")
            if view.maybe_pod or view.maybe_node:
                return maybe(f"whether {view.shown} is a node, and its labels")
            return no(f"{view.shown} is no node")
        case NamesPeer():
            if isinstance(view, OutsideView):
                return maybe(f"which addresses {', '.join(peer.names)} stand for")
            return no(f"{view.shown} is a pod")
        case UnknownPeer():
            return maybe(f"what {peer} means")
