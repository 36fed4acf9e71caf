"""Which observed edges are legitimate, completed traffic, and why the others are not.

A forwarded packet is not yet a call: a SYN that nobody answered, a refused port, a port sweep, or a connection that
the other end's policy dropped must not become a rule. Each such edge is set aside under a reason of its own and listed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
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


# Plain numbers: a flag type makes an object at every step, and there is one step per edge.
_SERVER_DATA, _CLIENT_DATA, _L7 = int(Signal.SERVER_DATA), int(Signal.CLIENT_DATA), int(Signal.L7)
_TRACE, _SAMPLED, _SYN_ACK = int(Signal.TRACE), int(Signal.SAMPLED), int(Signal.SYN_ACK)
_ANSWERED = _SYN_ACK | _SERVER_DATA | _L7
_DATA = _SERVER_DATA | _CLIENT_DATA | _L7
_CLOSED = int(Signal.RESET | Signal.UNREACHABLE)
_CALLED = int(Signal.SYN | Signal.CLIENT_DATA | Signal.L7 | Signal.POLICY_VERDICT | Signal.SAMPLED)


def judge_groups(groups: Sequence[Group], edge_of: Sequence[int], inventory: Inventory, config: Config) -> Verdicts:
    """For every group the reason to set it aside, or `None` to accept it. `edge_of` numbers their edges from 0 on."""
    # In audit mode the policy engine of one end says AUDIT once; the other end's engine and the datapath forward what
    # follows. That is no second opinion: enforced, the connection would be denied.
    audited = set[int]()
    if ObservedVerdict.AUDIT not in config.accept:
        audited = _numbers(groups, edge_of, ObservedVerdict.AUDIT)
    reasons = [_by_verdict(group, n in audited, config) for group, n in zip(groups, edge_of, strict=True)]
    signals = [0] * (max(edge_of, default=-1) + 1)
    for group, n in zip(groups, edge_of, strict=True):
        signals[n] |= int(group.evidence.signals)
    denied = _numbers(groups, edge_of, ObservedVerdict.DROPPED)
    # Where no call in the whole capture gets beyond its handshake, the capture does not show what follows: silence
    # proves nothing then.
    shows_answers = any(s & _SERVER_DATA and s & _TRACE for s in signals)
    for i, n in enumerate(edge_of):
        if reasons[i] is None:
            reasons[i] = _incomplete(groups[i].edge, signals[n], n in denied, shows_answers, inventory, config)
    _quarantine_scans(groups, edge_of, reasons, config)
    for i, group in enumerate(groups):
        if reasons[i] is None and config.min_evidence is MinEvidence.STRONG and not group.evidence.strong:
            reasons[i] = Reason.WEAK
        if reasons[i] is None and any(_excluded(group.edge, rule) for rule in config.exclude):
            reasons[i] = Reason.EXCLUDED
    return reasons


def _numbers(groups: Sequence[Group], edge_of: Sequence[int], verdict: ObservedVerdict) -> set[int]:
    """Edges that were seen under a verdict."""
    return {n for group, n in zip(groups, edge_of, strict=True) if group.verdict is verdict}


def _by_verdict(group: Group, audited: bool, config: Config) -> Reason | None:  # noqa: FBT001
    if group.firewall:
        # Whatever is accepted besides: no policy could have let it through.
        return Reason.FIREWALL
    if group.verdict in config.accept:
        return Reason.AUDIT if audited else None
    match group.verdict:
        case ObservedVerdict.DROPPED:
            return Reason.DENIED
        case ObservedVerdict.AUDIT:
            return Reason.AUDIT
        case _:
            return Reason.NO_VERDICT


def _incomplete(
    edge: Edge,
    signals: int,
    denied: bool,  # noqa: FBT001 - facts about the edge
    shows_answers: bool,  # noqa: FBT001
    inventory: Inventory,
    config: Config,
) -> Reason | None:
    """Whether the call never came about, or was somebody else's. `signals` were seen under any verdict."""
    if signals & _TRACE and not signals & _CALLED and _answers_to_a_proxy(edge):
        return Reason.UNKNOWN_PARTY
    if signals & _DATA and signals & _ANSWERED:
        return None
    if denied:
        return Reason.DENIED_ELSEWHERE
    if config.accept_unanswered or _probe_of_own_node(edge):
        return None
    if signals & _CLOSED and not signals & (_CLIENT_DATA | _SYN_ACK):
        return Reason.REFUSED
    # A policy-verdict event alone, or a sampled source, shows no answers even where there are some.
    silent = signals & _TRACE and not signals & _SAMPLED and shows_answers
    if not silent:
        return None
    if edge.protocol is Protocol.UDP:
        # One-way UDP (statsd, syslog, traps) is real where somebody declares the port.
        return None if _declares(edge.dst, edge.protocol, edge.port, inventory) else Reason.UNANSWERED
    return None if signals & _CLIENT_DATA else Reason.UNANSWERED


def _answers_to_a_proxy(edge: Edge) -> bool:
    """Whether answers, if they are all that was seen, are another's: Cilium's proxy has the node's identity.

    The call itself is recorded under its true client's. A node's own call is seen where it arrives.
    """
    return isinstance(edge.src, External) and edge.src.kind is ExternalKind.NODE


def _probe_of_own_node(edge: Edge) -> bool:
    return any(isinstance(p, External) and p.kind is ExternalKind.OWN_NODE for p in (edge.src, edge.dst))


def _declares(server: Party, protocol: Protocol, port: int, inventory: Inventory) -> bool:
    if not isinstance(server, Workload):
        return False
    return any(p.number == port and p.protocol is protocol for pod in inventory.pods_of(server) for p in pod.ports)


def _quarantine_scans(groups: Sequence[Group], edge_of: Sequence[int], reasons: Verdicts, config: Config) -> None:
    """Set aside what a sweeping client touched once or twice, answered or not.

    A client sweeps when it knocked on many ports of one server, or on many doors that did not open. Calls of the same
    client that carry real traffic (many connections, application data) stay.
    """
    limit = config.scan_threshold
    if not limit:
        return
    touched: dict[Party, dict[int, Party]] = defaultdict(dict)
    closed: dict[Party, set[int]] = defaultdict(set)
    real = {
        n
        for g, n in zip(groups, edge_of, strict=True)
        if g.evidence.flows > _ONE_TOUCH * g.clients or int(g.evidence.signals) & _L7
    }
    for i, (group, n) in enumerate(zip(groups, edge_of, strict=True)):
        if n in real or _probe_of_own_node(group.edge):
            continue
        touched[group.edge.src][n] = group.edge.dst
        if reasons[i] in _UNOPENED:
            closed[group.edge.src].add(n)
    suspect: set[int] = set()
    for client, doors in touched.items():
        if len(doors) < limit:
            continue
        if len(closed[client]) >= limit:
            suspect |= doors.keys()
        tried = Counter(doors.values())
        suspect |= {n for n, server in doors.items() if tried[server] >= limit}
    for i, n in enumerate(edge_of):
        if reasons[i] is None and n in suspect:
            reasons[i] = Reason.SCAN


_UNOPENED = (Reason.DENIED, Reason.FIREWALL, Reason.DENIED_ELSEWHERE, Reason.REFUSED, Reason.UNANSWERED)


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
