"""Cluster-wide policies as values: AdminNetworkPolicy, BaselineAdminNetworkPolicy and ClusterNetworkPolicy.

All three (`policy.networking.k8s.io`, `v1alpha1` and `v1alpha2`) become one `TierPolicy`. Their rules are ordered and
have actions; nothing is isolated by being selected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from netpol_gen.errors import InputError, InvariantError, Place, printable
from netpol_gen.model import Direction, Protocol
from netpol_gen.policy import ALL, All, IPBlock, Peer, PolicyPort, check_port, mapping_at, only_known, parse_cidr
from netpol_gen.selectors import LabelSelector, parse_selector

GROUP = "policy.networking.k8s.io"
ANP = "AdminNetworkPolicy"
BANP = "BaselineAdminNetworkPolicy"
CNP = "ClusterNetworkPolicy"
VERSIONS = {ANP: "v1alpha1", BANP: "v1alpha1", CNP: "v1alpha2"}
"""The version of each kind that is understood. A short name such as `cnp` is never used: it is also Cilium's."""

MAX_PRIORITY = 1000
_BASELINE_NAME = "default"


class Tier(StrEnum):
    """Before or after the NetworkPolicies."""

    ADMIN = "Admin"
    BASELINE = "Baseline"


class Action(StrEnum):
    """What a rule does with what it matches. `Allow` of v1alpha1 is `Accept`."""

    ACCEPT = "Accept"
    DENY = "Deny"
    PASS = "Pass"  # noqa: S105 - not a password


@dataclass(frozen=True, slots=True)
class NodesPeer:
    """Nodes, by their labels: matched by their addresses."""

    selector: LabelSelector

    def __str__(self) -> str:
        """`nodes role=worker`."""
        return f"nodes {self.selector}"


@dataclass(frozen=True, slots=True)
class NamesPeer:
    """DNS names; which addresses they stand for is not known here."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        """`domain names a.example, b.example`."""
        return f"domain names {', '.join(self.names)}"


@dataclass(frozen=True, slots=True)
class UnknownPeer:
    """A kind of peer that this program does not know, or none at all: the rule fails closed."""

    fields: tuple[str, ...]

    def __str__(self) -> str:
        """`unknown peer fooBar`."""
        return f"unknown peer {', '.join(map(printable, self.fields)) or '{}'}"


TierPeer = Peer | NodesPeer | NamesPeer | UnknownPeer
"""Selectors and networks are `Peer`s, whose `podSelector` never stands alone here."""


@dataclass(frozen=True, slots=True)
class TierRule:
    """The first rule that matches decides. A port name stands for any protocol: one entry for each."""

    action: Action
    peers: tuple[TierPeer, ...]
    ports: tuple[PolicyPort, ...] | All
    name: str = ""

    def __post_init__(self) -> None:
        """No list may run empty: it would match nothing where the manifest meant something."""
        if not self.peers or self.ports == ():
            raise InvariantError("a rule has peers, and ports or ALL")

    @property
    def fails_closed(self) -> bool:
        """Whether it has a peer that nobody here understands."""
        return any(isinstance(p, UnknownPeer) for p in self.peers)


@dataclass(frozen=True, slots=True)
class TierPolicy:
    """One policy. `subject` has a namespace selector, and a pod selector where pods are meant; lower priority first."""

    kind: str
    name: str
    tier: Tier
    priority: int
    subject: Peer
    ingress: tuple[TierRule, ...] = ()
    egress: tuple[TierRule, ...] = ()
    place: Place = field(default=Place(), compare=False)

    def rules(self, direction: Direction) -> tuple[TierRule, ...]:
        """The rules for a direction, in order."""
        return self.ingress if direction is Direction.INGRESS else self.egress

    @property
    def ref(self) -> str:
        """`AdminNetworkPolicy/name`."""
        return f"{self.kind}/{self.name}"


def parse_tier_policy(data: Mapping[str, Any], place: Place) -> TierPolicy:
    """A cluster-wide policy from its manifest; `kind` and `apiVersion` decide the form.

    Raises:
        InputError: what the API server would reject, with the field's path, and versions that are not understood.

    """
    kind, version = data.get("kind"), data.get("apiVersion")
    if not isinstance(kind, str) or kind not in VERSIONS:
        raise InputError(f"{printable(kind)} is not a kind of cluster-wide policy", place.at("kind"))
    if version != f"{GROUP}/{VERSIONS[kind]}":
        wanted = f"{GROUP}/{VERSIONS[kind]}"
        raise InputError(f"{kind} is understood as {wanted}, not {printable(version)}", place.at("apiVersion"))
    name = mapping_at(data.get("metadata"), place.at("metadata")).get("name")
    if not isinstance(name, str) or not name:
        raise InputError(f"{printable(name)} is not a name", place.at("metadata.name"))
    if kind == BANP and name != _BASELINE_NAME:
        raise InputError(f"a {BANP} is named {_BASELINE_NAME}, not {printable(name)}", place.at("metadata.name"))
    at = place.at("spec")
    spec = mapping_at(data.get("spec"), at)
    allowed = {"subject", "ingress", "egress"} | ({"priority"} if kind != BANP else set())
    only_known(spec, allowed | ({"tier"} if kind == CNP else set()), at)
    tier = Tier.BASELINE if kind == BANP else Tier.ADMIN
    if kind == CNP:
        if spec.get("tier") not in tuple(Tier):
            raise InputError(f"{printable(spec.get('tier'))} is not Admin or Baseline", at.at("tier"))
        tier = Tier(spec["tier"])
    return TierPolicy(
        kind,
        name,
        tier,
        MAX_PRIORITY if kind == BANP else _priority(spec.get("priority"), at.at("priority")),
        _parse_subject(spec.get("subject"), at.at("subject")),
        _parse_rules(spec.get("ingress"), Direction.INGRESS, kind, at.at("ingress")),
        _parse_rules(spec.get("egress"), Direction.EGRESS, kind, at.at("egress")),
        place,
    )


def _priority(data: Any, place: Place) -> int:
    if not isinstance(data, int) or isinstance(data, bool) or not 0 <= data <= MAX_PRIORITY:
        raise InputError(f"{printable(data)} is not a priority from 0 to {MAX_PRIORITY}", place)
    return data


def _parse_subject(data: Any, place: Place) -> Peer:
    subject = mapping_at(data, place)
    only_known(subject, {"namespaces", "pods"}, place)
    peer = _parse_selected(subject, place)
    if peer is None:
        raise InputError("a subject is either namespaces or pods", place)
    return peer


def _parse_selected(data: Mapping[str, Any], place: Place) -> Peer | None:
    """`namespaces` or `pods`, whichever one is given."""
    given = [k for k in ("namespaces", "pods") if data.get(k) is not None]
    if len(given) != 1:
        return None
    at = place.at(given[0])
    if given == ["namespaces"]:
        return Peer(namespace_selector=parse_selector(data["namespaces"], at))
    pods = mapping_at(data["pods"], at)
    only_known(pods, {"namespaceSelector", "podSelector"}, at)
    return Peer(
        parse_selector(pods.get("podSelector"), at.at("podSelector")),
        parse_selector(pods.get("namespaceSelector"), at.at("namespaceSelector")),
    )


def _parse_rules(data: Any, direction: Direction, kind: str, place: Place) -> tuple[TierRule, ...]:
    return tuple(_parse_rule(item, direction, kind, place.at(f"[{i}]")) for i, item in enumerate(_list(data, place)))


def _parse_rule(data: Any, direction: Direction, kind: str, place: Place) -> TierRule:
    rule = mapping_at(data, place)
    ports_key = "protocols" if kind == CNP else "ports"
    only_known(rule, {"name", "action", direction.peers_key, ports_key}, place)
    allow = Action.ACCEPT if kind == CNP else "Allow"
    actions = {str(allow): Action.ACCEPT, "Deny": Action.DENY}
    if kind != BANP:
        actions["Pass"] = Action.PASS
    action = rule.get("action")
    if not isinstance(action, str) or action not in actions:
        raise InputError(f"{printable(action)} is not one of {', '.join(actions)}", place.at("action"))
    at = place.at(direction.peers_key)
    items = _list(rule.get(direction.peers_key), at)
    if not items:
        raise InputError("a rule needs at least one peer", at)
    peers = [p for i, item in enumerate(items) for p in _parse_peer(item, direction, at.at(f"[{i}]"))]
    parse = _parse_protocol if kind == CNP else _parse_port
    entries = _list(rule.get(ports_key), place.at(ports_key))
    ports = [p for i, item in enumerate(entries) for p in parse(item, place.at(f"{ports_key}[{i}]"))]
    outside = any(not isinstance(p, Peer) or p.ip_block is not None for p in peers if not isinstance(p, UnknownPeer))
    if outside and any(isinstance(p.port, str) for p in ports):
        raise InputError("a port name cannot stand with networks, nodes or domainNames", place.at(ports_key))
    name = rule.get("name")
    return TierRule(actions[action], tuple(peers), tuple(ports) or ALL, name if isinstance(name, str) else "")


def _parse_peer(data: Any, direction: Direction, place: Place) -> list[TierPeer]:
    peer = mapping_at(data, place)
    given = sorted(str(k) for k, v in peer.items() if v is not None)
    known = {"namespaces", "pods"} | ({"nodes", "networks", "domainNames"} if direction is Direction.EGRESS else set())
    if len(given) != 1 or given[0] not in known:
        return [UnknownPeer(tuple(given))]
    value, at = peer[given[0]], place.at(given[0])
    match given[0]:
        case "nodes":
            return [NodesPeer(parse_selector(value, at))]
        case "domainNames":
            names = _list(value, at)
            if not names or not all(isinstance(n, str) and n for n in names):
                raise InputError("domainNames is a list of names", at)
            return [NamesPeer(tuple(names))]
        case "networks":
            networks = [parse_cidr(n, at.at(f"[{i}]")) for i, n in enumerate(_list(value, at))]
            if not networks:
                raise InputError("networks needs at least one CIDR", at)
            return [Peer(ip_block=IPBlock(n)) for n in networks]
    found = _parse_selected(peer, place)
    return [found] if found else [UnknownPeer(tuple(given))]


def _parse_port(data: Any, place: Place) -> list[PolicyPort]:
    """An entry of v1alpha1's `ports`."""
    entry = mapping_at(data, place)
    only_known(entry, {"portNumber", "portRange", "namedPort"}, place)
    given = [k for k, v in entry.items() if v is not None]
    if len(given) != 1:
        raise InputError("a port is one of portNumber, portRange and namedPort", place)
    if given == ["namedPort"]:
        return _named(entry["namedPort"], place.at("namedPort"))
    at = place.at(str(given[0]))
    inner = mapping_at(entry[given[0]], at)
    protocol = inner.get("protocol") or "TCP"
    if protocol not in tuple(Protocol):
        raise InputError(f"{printable(protocol)} is not TCP, UDP or SCTP", at.at("protocol"))
    if given == ["portNumber"]:
        only_known(inner, {"protocol", "port"}, at)
        return [PolicyPort(Protocol(protocol), _number(inner.get("port"), at.at("port")))]
    only_known(inner, {"protocol", "start", "end"}, at)
    return [_range(Protocol(protocol), inner, at)]


def _parse_protocol(data: Any, place: Place) -> list[PolicyPort]:
    """An entry of v1alpha2's `protocols`."""
    entry = mapping_at(data, place)
    only_known(entry, {"tcp", "udp", "sctp", "destinationNamedPort"}, place)
    given = [k for k, v in entry.items() if v is not None]
    if len(given) != 1:
        raise InputError("a protocol is one of tcp, udp, sctp and destinationNamedPort", place)
    if given == ["destinationNamedPort"]:
        return _named(entry["destinationNamedPort"], place.at("destinationNamedPort"))
    protocol, at = Protocol(str(given[0]).upper()), place.at(str(given[0]))
    inner = mapping_at(entry[given[0]], at)
    only_known(inner, {"destinationPort"}, at)
    if inner.get("destinationPort") is None:
        return [PolicyPort(protocol)]
    at = at.at("destinationPort")
    port = mapping_at(inner["destinationPort"], at)
    only_known(port, {"number", "range"}, at)
    if (port.get("number") is None) == (port.get("range") is None):
        raise InputError("a destination port is a number or a range", at)
    if port.get("number") is not None:
        return [PolicyPort(protocol, _number(port["number"], at.at("number")))]
    inside = mapping_at(port["range"], at.at("range"))
    only_known(inside, {"start", "end"}, at.at("range"))
    return [_range(protocol, inside, at.at("range"))]


def _range(protocol: Protocol, data: Mapping[str, Any], place: Place) -> PolicyPort:
    start, end = _number(data.get("start"), place.at("start")), _number(data.get("end"), place.at("end"))
    if start >= end:
        raise InputError(f"the range ends at {end}, not after {start}", place.at("end"))
    return PolicyPort(protocol, start, end)


def _named(name: Any, place: Place) -> list[PolicyPort]:
    if not isinstance(name, str) or not name:
        raise InputError(f"{printable(name)} is not a port name", place)
    return [PolicyPort(protocol, name) for protocol in Protocol]


def _number(port: Any, place: Place) -> int:
    check_port(port, place)
    return int(port)


def _list(data: Any, place: Place) -> list[Any]:
    if data is None:
        return []
    if not isinstance(data, list):
        raise InputError(f"expected a list, found {printable(type(data).__name__)}", place)
    return data
