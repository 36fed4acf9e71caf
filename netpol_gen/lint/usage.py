"""Rules about rules: covered by another, never used, or used for little of what they allow."""

from __future__ import annotations

from collections.abc import Iterator

from netpol_gen.evaluate.verdict import RuleRef
from netpol_gen.inventory import NAME_LABEL
from netpol_gen.inventory.objects import Pod
from netpol_gen.lint.material import Material, RuleAt
from netpol_gen.lint.model import Hit
from netpol_gen.model import Direction, Edge, Protocol, Workload
from netpol_gen.policy import ALL, Peer, PolicyPort, Rule
from netpol_gen.selectors import LabelSelector, Operator, Requirement
from netpol_gen.sets import AddressSet, PortSet

LEAST_CELLS = 4
"""A rule that allows fewer connections than this is never called broad."""
_HOUR_NS = 3_600_000_000_000


# --- shadowed ---------------------------------------------------------------------------------------------------------


def rule_shadowed(material: Material) -> Iterator[Hit]:
    """Another rule admits all that this one does, for all pods that this one is about."""
    groups: dict[tuple[str, Direction], list[RuleAt]] = {}
    for at in material.rules:
        groups.setdefault((at.policy.namespace, at.direction), []).append(at)
    for group in groups.values():
        for i, at in enumerate(group):
            by = next((o for j, o in enumerate(group) if i != j and _shadows(o, at, first=j < i)), None)
            if by is not None:
                where = "this policy" if by.policy is at.policy else by.subject
                yield Hit(
                    at.place,
                    at.subject,
                    f"{where} {by.direction.rules_key}[{by.index}] admits all that this rule admits",
                    "delete this rule, or narrow the other one",
                )


def _shadows(other: RuleAt, at: RuleAt, *, first: bool) -> bool:
    # Of two rules that say the same the first one stays.
    return _covers_rule(other, at) and (first or not _covers_rule(at, other))


def _covers_rule(wide: RuleAt, narrow: RuleAt) -> bool:
    """Whether `wide` surely admits whatever `narrow` does; by structure alone, so that it holds for future pods too."""
    return (
        implies(narrow.policy.pod_selector, wide.policy.pod_selector)
        and _covers_ports(wide.rule, narrow.rule)
        and _covers_peers(wide.rule, narrow.rule, wide.policy.namespace)
    )


def implies(narrow: LabelSelector, wide: LabelSelector) -> bool:
    """Whether whatever `narrow` selects is selected by `wide`; `False` where that is not plain from the selectors."""
    labels = dict(narrow.match_labels)
    return all(_holds(Requirement(k, Operator.IN, (v,)), labels, narrow) for k, v in wide.match_labels) and all(
        _holds(r, labels, narrow) for r in wide.match_expressions
    )


def _holds(wanted: Requirement, labels: dict[str, str], narrow: LabelSelector) -> bool:
    if wanted.key in labels:
        return wanted.matches(labels)
    for r in narrow.match_expressions:
        if r.key != wanted.key:
            continue
        if r == wanted:
            return True
        if r.operator is Operator.IN and all(wanted.matches({r.key: v}) for v in r.values):
            return True
    return False


def _covers_ports(wide: Rule, narrow: Rule) -> bool:
    if wide.ports is ALL:
        return True
    if narrow.ports is ALL:
        return False
    names = {(p.protocol, p.port) for p in wide.ports if isinstance(p.port, str)}
    sets = {protocol: _numbers(wide.ports, protocol) for protocol in Protocol}
    for port in narrow.ports:
        if isinstance(port.port, str):
            everything = any(p.protocol is port.protocol and p.port is None for p in wide.ports)
            if not everything and (port.protocol, port.port) not in names:
                return False
        elif not _numbers((port,), port.protocol) <= sets[port.protocol]:
            return False
    return True


def _numbers(ports: tuple[PolicyPort, ...], protocol: Protocol) -> PortSet:
    out = PortSet()
    for p in ports:
        if p.protocol is protocol and not isinstance(p.port, str):
            out |= PortSet.everything() if p.port is None else PortSet.of((p.port, p.end_port or p.port))
    return out


def _covers_peers(wide: Rule, narrow: Rule, namespace: str) -> bool:
    if wide.peers is ALL:
        return True
    if narrow.peers is ALL:
        return False
    blocks = AddressSet()
    for peer in wide.peers:
        blocks |= peer.ip_block.addresses if peer.ip_block is not None else AddressSet()
    return all(
        p.ip_block.addresses <= blocks
        if p.ip_block is not None
        else any(_covers_peer(w, p, namespace) for w in wide.peers)
        for p in narrow.peers
    )


def _covers_peer(wide: Peer, narrow: Peer, namespace: str) -> bool:
    if wide.ip_block is not None:
        return False
    # The API server gives every namespace a label with its name, so "my own" can be written as a selector.
    own = LabelSelector(((NAME_LABEL, namespace),))
    if wide.namespace_selector is None:
        same = narrow.namespace_selector is None or implies(narrow.namespace_selector, own)
    else:
        same = implies(narrow.namespace_selector or own, wide.namespace_selector)
    return same and implies(narrow.pod_selector or LabelSelector(), wide.pod_selector or LabelSelector())


# --- used -------------------------------------------------------------------------------------------------------------


def rule_never_used(material: Material) -> Iterator[Hit]:
    """No accepted edge of the flows given is admitted by the rule."""
    if material.edges is None:
        return
    used, length = material.used, _length(material)
    # What a source cannot see is not idle: its card (`coverage` prints it) says what that is.
    sources = f" ({', '.join(sorted(material.edges.sources))})" if material.edges.sources else ""
    for at in material.rules:
        if _ref(at) not in used.edges and at.policy.ref not in used.doubtful:
            yield Hit(
                at.place,
                at.subject,
                f"no flow of the {length} given{sources} needs this rule",
                "delete it, unless it is for something rarer than the window is long",
            )


def _ref(at: RuleAt) -> RuleRef:
    return RuleRef(at.policy.ref, at.direction, at.index)


def _length(material: Material) -> str:
    seen = [o.evidence for o in material.edges.observations if o.evidence.timed] if material.edges is not None else []
    if not seen:
        return "0 hours"
    hours = (max(v.last_seen for v in seen) - min(v.first_seen for v in seen)) // _HOUR_NS + 1
    return f"{hours // 24} days" if hours >= 48 else f"{hours} hours"


def rule_too_broad(material: Material) -> Iterator[Hit]:
    """Used for less than a share of the connections it allows between workloads."""
    if material.edges is None:
        return
    used = material.used
    for at in material.rules:
        admitted = used.edges.get(_ref(at), [])
        if not admitted or at.rule.peers is ALL or any(p.ip_block is not None for _, p in at.peers()):
            continue
        allowed = _allowed(material, at, admitted)
        hit = sum(1 for e in admitted if isinstance(e.src, Workload) and isinstance(e.dst, Workload) and e.src != e.dst)
        if allowed >= LEAST_CELLS and 0 < hit < material.settings.broad_below * allowed:
            yield Hit(
                at.place,
                at.subject,
                f"used for {hit} of {allowed:,} connections that it allows: {hit / allowed:.0%}",
                "select fewer peers, or list fewer ports",
            )


def _allowed(material: Material, at: RuleAt, admitted: list[Edge]) -> int:
    """Client workload, server workload, protocol, port: how many of these the rule allows."""
    mine = material.selected(at.policy)
    peers = [pod for _, peer in at.peers() for pod in material.peer_pods(peer, at.policy.namespace)]
    clients, servers = (peers, mine) if at.direction is Direction.INGRESS else (mine, peers)
    sources = {p.workload for p in clients}
    cells = 0
    for server, ports in _ports_by_workload(at, servers, admitted).items():
        cells += len(sources - {server}) * sum(len(numbers) for numbers in ports.values())
    return cells


def _ports_by_workload(
    at: RuleAt, servers: list[Pod] | tuple[Pod, ...], admitted: list[Edge]
) -> dict[Workload, dict[Protocol, PortSet]]:
    seen: dict[Workload, dict[Protocol, PortSet]] = {}
    for edge in admitted:
        if isinstance(edge.dst, Workload):
            of = seen.setdefault(edge.dst, {})
            of[edge.protocol] = of.get(edge.protocol, PortSet()) | PortSet.of(edge.port)
    out: dict[Workload, dict[Protocol, PortSet]] = {}
    for pod in servers:
        of = out.setdefault(pod.workload, dict(seen.get(pod.workload, {})) if at.rule.ports is ALL else {})
        for protocol in Protocol:
            of[protocol] = of.get(protocol, PortSet()) | _listed(at.rule, pod, protocol)
    return out


def _listed(rule: Rule, pod: Pod, protocol: Protocol) -> PortSet:
    """Ports of a rule on one pod. Where the rule lists none, the ports that the pod declares: 65,535 mean nothing."""
    declared = PortSet.of(*(p.number for p in pod.ports if p.protocol is protocol))
    if rule.ports is ALL:
        return declared
    out = PortSet()
    for port in rule.ports:
        if port.protocol is protocol:
            if isinstance(port.port, str):
                out |= PortSet.of(*(p.number for p in pod.ports if p.name == port.port and p.protocol is protocol))
            elif port.port is None:
                out |= declared
            else:
                out |= PortSet.of((port.port, port.end_port or port.port))
    return out
