"""Which observed edges are legitimate, completed traffic, and why the others are not.

A forwarded packet is not yet a call: a SYN that nobody answered, a refused port, a port sweep, or a connection that
the other end's policy dropped must not become a rule. Each such edge is set aside under a reason of its own and listed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from fnmatch import fnmatchcase

from netpol_gen.config import Config, Exclusion, MinEvidence
from netpol_gen.evidence import Group
from netpol_gen.flowtable import Reason
from netpol_gen.inventory import Inventory
from netpol_gen.model import Edge, External, ExternalKind, ObservedVerdict, Party, Protocol, Signal, Workload

_ONE_TOUCH = 2
"""At most so many connections from one client to one port look like a probe."""

Verdicts = list[Reason | None]


def judge_groups(groups: Sequence[Group], inventory: Inventory, config: Config) -> Verdicts:
    """For every group the reason to set it aside, or `None` to accept it."""
    # In audit mode the policy engine of one end says AUDIT once; the other end's engine and the datapath forward what
    # follows. That is no second opinion: enforced, the connection would be denied.
    audited = {g.edge for g in groups if g.verdict is ObservedVerdict.AUDIT and g.verdict not in config.accept}
    reasons: Verdicts = [_by_verdict(group, audited, config) for group in groups]
    together = _signals(groups)
    denied = {g.edge for g in groups if g.verdict is ObservedVerdict.DROPPED}
    # Where no call in the whole capture gets beyond its handshake, the capture does not show what follows: silence
    # proves nothing then.
    shows_answers = any(s & Signal.SERVER_DATA and s & Signal.TRACE for s in together.values())
    for i, group in enumerate(groups):
        if reasons[i] is None:
            reasons[i] = _incomplete(group.edge, together[group.edge], denied, inventory, config, shows_answers)
    _quarantine_scans(groups, reasons, config)
    for i, group in enumerate(groups):
        if reasons[i] is None and config.min_evidence is MinEvidence.STRONG and not group.evidence.strong:
            reasons[i] = Reason.WEAK
        if reasons[i] is None and any(_excluded(group.edge, rule) for rule in config.exclude):
            reasons[i] = Reason.EXCLUDED
    return reasons


def _by_verdict(group: Group, audited: set[Edge], config: Config) -> Reason | None:
    if group.verdict in config.accept:
        return Reason.AUDIT if group.edge in audited else None
    match group.verdict:
        case ObservedVerdict.DROPPED:
            return Reason.DENIED
        case ObservedVerdict.AUDIT:
            return Reason.AUDIT
        case _:
            return Reason.NO_VERDICT


def _signals(groups: Sequence[Group]) -> dict[Edge, Signal]:
    """What was seen of an edge under any verdict."""
    out: dict[Edge, Signal] = defaultdict(lambda: Signal(0))
    for group in groups:
        out[group.edge] |= group.evidence.signals
    return out


def _incomplete(
    edge: Edge,
    signals: Signal,
    denied: set[Edge],
    inventory: Inventory,
    config: Config,
    shows_answers: bool,  # noqa: FBT001
) -> Reason | None:
    """Whether the call never came about, or was somebody else's."""
    if _answers_to_a_proxy(edge, signals):
        return Reason.UNKNOWN_PARTY
    if signals & (Signal.SERVER_DATA | Signal.CLIENT_DATA | Signal.L7) and signals.answered:
        return None
    if edge in denied:
        return Reason.DENIED_ELSEWHERE
    if config.accept_unanswered or _probe_of_own_node(edge):
        return None
    if signals & (Signal.RESET | Signal.UNREACHABLE) and not signals & (Signal.CLIENT_DATA | Signal.SYN_ACK):
        return Reason.REFUSED
    # A policy-verdict event alone, or a sampled source, shows no answers even where there are some.
    silent = bool(signals & Signal.TRACE) and not signals & Signal.SAMPLED and shows_answers
    if not silent:
        return None
    if edge.protocol is Protocol.UDP:
        # One-way UDP (statsd, syslog, traps) is real where somebody declares the port.
        return None if _declares(edge.dst, edge.protocol, edge.port, inventory) else Reason.UNANSWERED
    return None if signals & Signal.CLIENT_DATA else Reason.UNANSWERED


def _answers_to_a_proxy(edge: Edge, signals: Signal) -> bool:
    """Whether only answers to a node were seen: where Cilium's proxy is in between, they have the node's identity.

    The call itself is recorded under its true client's. A node's own call is seen where it arrives.
    """
    from_node = isinstance(edge.src, External) and edge.src.kind is ExternalKind.NODE
    called = Signal.SYN | Signal.CLIENT_DATA | Signal.L7 | Signal.POLICY_VERDICT | Signal.SAMPLED
    return from_node and bool(signals & Signal.TRACE) and not signals & called


def _probe_of_own_node(edge: Edge) -> bool:
    return any(isinstance(p, External) and p.kind is ExternalKind.OWN_NODE for p in (edge.src, edge.dst))


def _declares(server: Party, protocol: Protocol, port: int, inventory: Inventory) -> bool:
    if not isinstance(server, Workload):
        return False
    return any(
        p.number == port and p.protocol is protocol for pod in inventory.pods_of(server) for p in pod.ports
    )


def _quarantine_scans(groups: Sequence[Group], reasons: Verdicts, config: Config) -> None:
    """Set aside what a sweeping client touched once or twice, answered or not.

    A client sweeps when it knocked on many ports of one server, or on many doors that did not open. Calls of the same
    client that carry real traffic (many connections, application data) stay.
    """
    limit = config.scan_threshold
    if not limit:
        return
    touched: dict[Party, set[Edge]] = defaultdict(set)
    closed: dict[Party, set[Edge]] = defaultdict(set)
    real = {g.edge for g in groups if g.evidence.flows > _ONE_TOUCH * g.clients or g.evidence.signals & Signal.L7}
    for i, group in enumerate(groups):
        if group.edge in real or _probe_of_own_node(group.edge):
            continue
        touched[group.edge.src].add(group.edge)
        if reasons[i] in (Reason.DENIED, Reason.DENIED_ELSEWHERE, Reason.REFUSED, Reason.UNANSWERED):
            closed[group.edge.src].add(group.edge)
    suspect: set[Edge] = set()
    for client, edges in touched.items():
        ports: dict[Party, set[Edge]] = defaultdict(set)
        for edge in edges:
            ports[edge.dst].add(edge)
        for doors in ports.values():
            if len(doors) >= limit:
                suspect |= doors
        if len(closed[client]) >= limit:
            suspect |= edges
    for i, group in enumerate(groups):
        if reasons[i] is None and group.edge in suspect:
            reasons[i] = Reason.SCAN


def _excluded(edge: Edge, rule: Exclusion) -> bool:
    return (
        _party_matches(edge.src, rule.src)
        and _party_matches(edge.dst, rule.dst)
        and (not rule.protocol or rule.protocol.upper() == edge.protocol)
        and (rule.port is None or rule.port == edge.port)
    )


def _party_matches(party: Party, pattern: str) -> bool:
    if not pattern:
        return True
    if isinstance(party, Workload):
        return fnmatchcase(f"{party.namespace}/{party.name}", pattern)
    return pattern in (party.kind, party.address)
