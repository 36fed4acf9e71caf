"""Whether one peer, one port, one selector matches one endpoint: yes, no, or not known and why.

Three-valued throughout (`Tri`), because a wrong "no" in an allow rule breaks production and a wrong "yes" opens a door.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from netpol_gen.inventory.objects import ContainerPort, Labels, Node
from netpol_gen.model import Decision, Direction, Protocol
from netpol_gen.policy import ALL, All, IPBlock, Peer, PolicyPort, Rule
from netpol_gen.selectors import LabelSelector
from netpol_gen.sets import Address, PortSet


class Tri(IntEnum):
    """Three values: `min` is "and", `max` is "or"."""

    NO = 0
    MAYBE = 1
    YES = 2

    @classmethod
    def of(cls, decision: Decision) -> Tri:
        """From the word used in settings and verdicts."""
        return {Decision.ALLOW: cls.YES, Decision.DENY: cls.NO, Decision.UNKNOWN: cls.MAYBE}[decision]


@dataclass(frozen=True, slots=True)
class Match:
    """An answer; `missing` is the fact that a MAYBE lacks, `why` the reason of a NO. Both empty otherwise."""

    tri: Tri
    missing: str = ""
    why: str = ""

    def __and__(self, other: Match) -> Match:
        """Both have to hold."""
        return self if self.tri <= other.tri else other

    def __or__(self, other: Match) -> Match:
        """One that holds is enough."""
        return self if self.tri >= other.tri else other


YES = Match(Tri.YES)


def yes_if(*, found: bool, why: str = "") -> Match:
    """Yes, or no and why."""
    return YES if found else no(why)


def no(why: str) -> Match:
    """It does not match, and why."""
    return Match(Tri.NO, why=why)


def maybe(missing: str) -> Match:
    """Not known for want of a fact."""
    return Match(Tri.MAYBE, missing=missing)


def any_of(matches: Iterable[Match]) -> Match:
    """The best of them; the first of equals."""
    return max(matches, key=lambda m: m.tri, default=no("there is nothing to match"))


@dataclass(frozen=True, slots=True)
class PodView:
    """A pod as policies see it. `*_known` are false where the inventory holds less than the object itself."""

    namespace: str
    labels: Labels
    labels_known: bool
    namespace_labels: Labels
    namespace_known: bool
    ports: tuple[ContainerPort, ...]
    ports_known: bool
    addresses: tuple[Address, ...]
    shown: str


@dataclass(frozen=True, slots=True)
class OutsideView:
    """A party that no selector can name: an address, a node, a pod on its node's network.

    `addresses` is empty when they are not known. `maybe_pod`: it may be a pod after all. `maybe_node`: it may be the
    node of the pod at the other end.
    """

    shown: str
    addresses: tuple[Address, ...] = ()
    maybe_pod: bool = False
    maybe_node: bool = False
    node: Node | None = None
    """The node that it is, where the inventory knows."""
    decides: bool = True
    """False where even a known address does not say how the CNI classifies it (its own ingress proxy)."""


View = PodView | OutsideView


def selector_matches(selector: LabelSelector, labels: Labels, *, complete: bool, of: str) -> Match:
    """Whether an object with these labels is selected; an absent key of an incomplete set is not known."""
    mapping = dict(labels)
    if selector.matches(mapping):
        unseen = () if complete else tuple(sorted(k for k in selector.keys if k not in mapping))
        return maybe(f"label {unseen[0]} of {of}") if unseen else YES
    if complete:
        return no(f"the labels of {of} do not match {selector}")
    # A requirement on a key that is there decides; the rest may still turn out either way.
    seen = LabelSelector(
        tuple((k, v) for k, v in selector.match_labels if k in mapping),
        tuple(r for r in selector.match_expressions if r.key in mapping),
    )
    if not seen.matches(mapping):
        return no(f"the labels of {of} do not match {selector}")
    return maybe(f"label {min(k for k in selector.keys if k not in mapping)} of {of}")


def block_matches(block: IPBlock, view: View, matches_pods: Tri) -> Match:
    """Whether an ipBlock covers an endpoint. Pods are a matter of the CNI (semantics 4.1 no. 9): `matches_pods`."""
    covered = block.addresses
    inside = [a in covered for a in view.addresses]
    if isinstance(view, PodView):
        if matches_pods is Tri.NO or (inside and not any(inside)):
            return no(f"{block.cidr} does not cover pod {view.shown}")
        if not inside:
            return maybe(f"the address of {view.shown}")
        if matches_pods is Tri.MAYBE:
            return maybe("whether this CNI matches ipBlock against pod addresses")
    elif view.maybe_pod or not view.decides:
        if inside and not any(inside):
            return no(f"{block.cidr} does not cover {view.shown}")
        return maybe(f"what {view.shown} is to the CNI")
    elif not inside:
        return maybe(f"the address of {view.shown}")
    if all(inside):
        return YES
    return maybe(f"which address of {view.shown} is used") if any(inside) else no(f"{_cidr(block)} does not cover it")


def _cidr(block: IPBlock) -> str:
    return f"{block.cidr} except {', '.join(map(str, block.except_))}" if block.except_ else str(block.cidr)


def peer_matches(peer: Peer, own_namespace: str, view: View, matches_pods: Tri) -> Match:
    """Whether a peer of a policy in `own_namespace` is this endpoint."""
    if peer.ip_block is not None:
        return block_matches(peer.ip_block, view, matches_pods)
    if isinstance(view, OutsideView):
        if view.maybe_pod:
            return maybe(f"whether {view.shown} is a pod, and its labels")
        return no(f"selectors match pods, and {view.shown} is none")
    if peer.namespace_selector is None:
        if view.namespace != own_namespace:
            return no(f"a podSelector alone matches in {own_namespace} only")
        found = YES
    else:
        found = selector_matches(
            peer.namespace_selector,
            view.namespace_labels,
            complete=view.namespace_known,
            of=f"namespace {view.namespace}",
        )
    if peer.pod_selector is not None:
        found &= selector_matches(peer.pod_selector, view.labels, complete=view.labels_known, of=view.shown)
    return found


def named_ports(name: str, protocol: Protocol, ports: Iterable[ContainerPort]) -> PortSet:
    """The numbers that a port name stands for on one pod (semantics 4.1 no. 10)."""
    return PortSet.of(*(p.number for p in ports if p.name == name and p.protocol is protocol))


def port_matches(entry: PolicyPort, protocol: Protocol, port: int, dst: View) -> Match:
    """Whether one entry of `ports` covers a port on the destination."""
    if entry.protocol is not protocol:
        return no(f"the protocol is {entry.protocol}")
    if entry.port is None:
        return YES
    if isinstance(entry.port, int):
        if entry.port <= port <= (entry.end_port or entry.port):
            return YES
        return no(f"the port is {entry.port}{f'-{entry.end_port}' if entry.end_port else ''}")
    if isinstance(dst, OutsideView):
        if dst.maybe_pod:
            return maybe(f"container port {entry.port} of {dst.shown}")
        return no(f"port name {entry.port} means nothing outside pods")
    if not dst.ports_known:
        return maybe(f"container port {entry.port} of {dst.shown}")
    if port in named_ports(entry.port, protocol, dst.ports):
        return YES
    return no(f"port {entry.port} of {dst.shown} is not {port}")


def rule_matches(
    rule: Rule,
    own_namespace: str,
    direction: Direction,
    peer: View,
    dst: View,
    question: tuple[Protocol | None, int],
    matches_pods: Tri,
) -> Match:
    """Whether a rule admits `question` (protocol and port; no protocol: something that policies cannot name)."""
    found = no("")
    for each in (None,) if rule.peers is ALL else rule.peers:
        who = YES if each is None else peer_matches(each, own_namespace, peer, matches_pods)
        if who.tri is not Tri.NO:
            to_block = direction is Direction.EGRESS and each is not None and each.ip_block is not None
            who &= _ports_match(rule.ports, question, dst, to_block=to_block)
        found = who if found.tri is Tri.NO and not found.why else found | who
        if found.tri is Tri.YES:
            break
    return found


def _ports_match(
    ports: tuple[PolicyPort, ...] | All, question: tuple[Protocol | None, int], dst: View, *, to_block: bool
) -> Match:
    protocol, port = question
    if protocol is None:
        return maybe("how this CNI treats protocols other than TCP, UDP and SCTP")
    if ports is ALL:
        return YES
    # A name is looked up on the peer's pods, and an address has none (semantics 4.1 no. 10).
    usable = [p for p in ports if not (to_block and isinstance(p.port, str))]
    if not usable:
        return no("a port name cannot match an ipBlock")
    return any_of(port_matches(p, protocol, port, dst) for p in usable)
