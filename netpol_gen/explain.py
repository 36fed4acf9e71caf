"""One verdict in full: every policy that could have a say at either end, its rules, and why they match or do not."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netpol_gen.errors import InputError, Place, printable
from netpol_gen.evaluate import Judge, RuleRef, SideVerdict, Verdict
from netpol_gen.evaluate.judge import End
from netpol_gen.evaluate.match import Match, PodView, Tri, View, rule_matches, selector_matches
from netpol_gen.evaluate.tiered import pod_peer_matches, tier_rule_matches
from netpol_gen.inventory.objects import Pod
from netpol_gen.model import Decision, Direction, Protocol, Workload
from netpol_gen.policy import NetworkPolicy
from netpol_gen.tiers import Tier, TierPolicy

if TYPE_CHECKING:
    from netpol_gen.inventory import Inventory

Question = tuple[Protocol | None, int]
_WORKLOAD = re.compile(r"(?P<namespace>[^/\[\]]+)/(?P<name>[^/\[\]]+)(?:\[(?P<kind>[A-Za-z]+)\])?")


@dataclass(frozen=True, slots=True)
class RuleFinding:
    """One rule. `matches` is yes, no or maybe; `why` says why not, or what is missing.

    `action` is empty in a NetworkPolicy, whose rules only admit.
    """

    rule: RuleRef
    matches: Tri
    why: str = ""
    action: str = ""


@dataclass(frozen=True, slots=True)
class PolicyFinding:
    """One policy at one end. A policy that does not select the pod has no rules here, and `why` says why."""

    policy: str
    selects: Tri
    why: str
    place: Place
    rules: tuple[RuleFinding, ...] = ()


@dataclass(frozen=True, slots=True)
class SideExplanation:
    """One end: the pod that policies select there, their verdict, and every policy with a possible say.

    `policies` come in the order in which they are asked: Admin tier, NetworkPolicies, Baseline tier; NetworkPolicies of
    other namespaces can have no say and are left out.
    """

    direction: Direction
    subject: str
    verdict: SideVerdict
    policies: tuple[PolicyFinding, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """The verdict on the pair of pods that decides, and how it comes about."""

    src: str
    dst: str
    protocol: Protocol | None
    port: int
    verdict: Verdict
    egress: SideExplanation
    ingress: SideExplanation

    @property
    def denied(self) -> bool:
        """Whether the connection is certainly denied."""
        return self.verdict.decision is Decision.DENY


def explain(  # noqa: PLR0913 - a policy set and a question
    policies: Iterable[NetworkPolicy],
    inventory: Inventory,
    src: End,
    dst: End,
    protocol: Protocol | None,
    port: int,
    *,
    tiers: Iterable[TierPolicy] = (),
    ipblock_matches_pods: Decision = Decision.UNKNOWN,
    via_service: bool = False,
) -> Explanation:
    """Why a connection is allowed, denied or unknown.

    Args:
        policies: NetworkPolicies in force.
        inventory: workloads, namespaces and nodes.
        src: the client: a pod, a workload (the pair of pods that decides is shown), a node, an address, an external.
        dst: the server, likewise.
        protocol: `None` for one that policies cannot name, such as ICMP.
        port: what the server's pod listens on, never a Service's port.
        tiers: cluster-wide policies in force.
        ipblock_matches_pods: whether the CNI matches ipBlocks against pod addresses.
        via_service: whether a pod that calls itself does so through its own Service.

    """
    judge = Judge(policies, inventory, tiers=tiers, ipblock_matches_pods=ipblock_matches_pods)
    question = (protocol, port)
    found = judge.examine(src, dst, question, via_service=via_service)
    return Explanation(
        str(src) if isinstance(src, Workload) else found.src.shown,
        str(dst) if isinstance(dst, Workload) else found.dst.shown,
        protocol,
        port,
        found.verdict,
        _side(judge, Direction.EGRESS, found.src, found.dst, question, found.verdict.egress),
        _side(judge, Direction.INGRESS, found.dst, found.src, question, found.verdict.ingress),
    )


def _side(
    judge: Judge, direction: Direction, subject: View, peer: View, question: Question, verdict: SideVerdict
) -> SideExplanation:
    findings: list[PolicyFinding] = []
    if isinstance(subject, PodView):
        dst = peer if direction is Direction.EGRESS else subject
        findings += _tier(judge, Tier.ADMIN, direction, subject, peer, question)
        for policy in judge.policies:
            if policy.namespace == subject.namespace:
                findings.append(_policy(judge, policy, direction, subject, peer, dst, question))
        findings += _tier(judge, Tier.BASELINE, direction, subject, peer, question)
    return SideExplanation(direction, subject.shown, verdict, tuple(findings))


def _policy(
    judge: Judge,
    policy: NetworkPolicy,
    direction: Direction,
    subject: PodView,
    peer: View,
    dst: View,
    question: Question,
) -> PolicyFinding:
    if direction not in policy.policy_types:
        return PolicyFinding(policy.ref, Tri.NO, f"{direction} is not among its policyTypes", policy.place)
    selects = selector_matches(
        policy.pod_selector, subject.labels, complete=subject.labels_known, of=f"pod {subject.shown}"
    )
    rules = () if selects.tri is Tri.NO else policy.rules(direction)
    findings = []
    for i, rule in enumerate(rules):
        match = rule_matches(rule, policy.namespace, direction, peer, dst, question, judge.matches_pods)
        findings.append(RuleFinding(RuleRef(policy.ref, direction, i), match.tri, match.why or match.missing))
    return PolicyFinding(policy.ref, selects.tri, selects.why or selects.missing, policy.place, tuple(findings))


def _tier(
    judge: Judge, tier: Tier, direction: Direction, subject: PodView, peer: View, question: Question
) -> Iterator[PolicyFinding]:
    dst = peer if direction is Direction.EGRESS else subject
    for policy in judge.tiers.policies:
        if policy.tier is not tier:
            continue
        selects: Match = pod_peer_matches(policy.subject, subject)
        findings = []
        for i, rule in enumerate(() if selects.tri is Tri.NO else policy.rules(direction)):
            match = tier_rule_matches(rule, peer, dst, question)
            why = match.why or match.missing
            findings.append(RuleFinding(RuleRef(policy.ref, direction, i), match.tri, why, str(rule.action)))
        yield PolicyFinding(policy.ref, selects.tri, selects.why or selects.missing, policy.place, tuple(findings))


# --- what people type -------------------------------------------------------------------------------------------------


def find_end(text: str, inventory: Inventory) -> Workload | Pod | ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An end as people write it: `ns/workload[Kind]`, `ns/workload`, `ns/pod` or an address.

    Raises:
        InputError: nothing of that name, or several things; the message lists them.

    """
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        pass
    match = _WORKLOAD.fullmatch(text)
    if match is None:
        raise InputError(f"{printable(text)} is not an address, namespace/workload[Kind] or namespace/pod")
    namespace, name, kind = match["namespace"], match["name"], match["kind"]
    workloads = sorted({p.workload for p in inventory.pods} | set(inventory.controllers))
    found = [w for w in workloads if (w.namespace, w.name) == (namespace, name) and kind in (None, w.kind)]
    if len(found) > 1:
        raise InputError(f"{printable(text)} can be {', '.join(map(str, found))}")
    if found:
        return found[0]
    pod = inventory.pod(namespace, name) if kind is None else None
    if pod is None:
        near = [str(w) for w in workloads if w.namespace == namespace][:5]
        hint = f"; there are {', '.join(near)} and others" if near else f"; nothing is known in {printable(namespace)}"
        raise InputError(f"the inventory has no workload or pod {printable(text)}{hint}")
    return pod


def parse_port(text: str) -> tuple[Protocol, int]:
    """`PORT[/PROTO]`, TCP unless said otherwise; the protocol in any case.

    Raises:
        InputError: not a port, or not TCP, UDP or SCTP.

    """
    number, _, name = text.partition("/")
    if not (number.isascii() and number.isdigit() and 1 <= int(number) <= 65535):
        raise InputError(f"{printable(text)} is not PORT[/PROTOCOL] with a port from 1 to 65535")
    protocol = name.upper() or "TCP"
    if protocol not in tuple(Protocol):
        raise InputError(f"{printable(name)} is not TCP, UDP or SCTP")
    return Protocol(protocol), int(number)
