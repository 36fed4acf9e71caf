"""`networking.k8s.io/v1` NetworkPolicy as values. `parse_policy(dump_policy(p)) == p`.

Fail narrow: "all peers" and "all ports" are values of their own (`ALL`), never an empty tuple, so that no list that
happens to run empty can open a policy.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Literal

from netpol_gen.errors import InputError, InvariantError, Place, printable
from netpol_gen.model import Direction, Protocol
from netpol_gen.selectors import LabelSelector, parse_selector
from netpol_gen.sets import MAX_PORT, MIN_PORT, AddressSet, Network


class _All(Enum):
    ALL = "all"

    def __repr__(self) -> str:
        return "ALL"


ALL: Final = _All.ALL
All = Literal[_All.ALL]

API_VERSION = "networking.k8s.io/v1"
KIND = "NetworkPolicy"
_PORT_NAME = re.compile(r"(?=.{1,15}$)(?!.*--)[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_DNS1123 = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_CIDR = re.compile(r"[0-9a-fA-F:.]+/[0-9]{1,3}")
_MAX_NAME = 253


@dataclass(frozen=True, slots=True)
class PolicyPort:
    """One entry of `ports`. `port` is a number, a container port's name, or `None` for every port of `protocol`."""

    protocol: Protocol = Protocol.TCP
    port: int | str | None = None
    end_port: int | None = None

    @property
    def key(self) -> tuple[str, int, int, str, int]:
        """Total order: protocol, then no port, numbers, names."""
        number = self.port if isinstance(self.port, int) else 0
        name = self.port if isinstance(self.port, str) else ""
        return (self.protocol, 0 if self.port is None else 2 if name else 1, number, name, self.end_port or 0)


@dataclass(frozen=True, slots=True)
class IPBlock:
    """A CIDR without its exceptions. Host bits are normalised away."""

    cidr: Network
    except_: tuple[Network, ...] = ()

    @property
    def addresses(self) -> AddressSet:
        """What it covers."""
        return AddressSet.of(self.cidr) - AddressSet.of(*self.except_)

    @property
    def key(self) -> tuple[int, int, int, tuple[tuple[int, int], ...]]:
        """Total order: family, address, length."""
        c = self.cidr
        inner = tuple((int(e.network_address), e.prefixlen) for e in self.except_)
        return (c.version, int(c.network_address), c.prefixlen, inner)


@dataclass(frozen=True, slots=True)
class Peer:
    """A pattern in a rule: an IP block, or a pod selector and a namespace selector (absent ones are `None`)."""

    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    ip_block: IPBlock | None = None

    def __post_init__(self) -> None:
        """A peer with nothing in it, or with both kinds, is a bug of the caller."""
        selectors = self.pod_selector is not None or self.namespace_selector is not None
        if selectors == (self.ip_block is not None):
            raise InvariantError("a peer is an ipBlock or selectors, not both and not neither")

    @property
    def key(self) -> tuple[Any, ...]:
        """Total order: own namespace, other namespaces, blocks."""
        if self.ip_block is not None:
            return (2, self.ip_block.key)
        ns, pod = self.namespace_selector, self.pod_selector
        return (0 if ns is None else 1, _selector_key(ns), _selector_key(pod))


def _selector_key(s: LabelSelector | None) -> tuple[Any, ...]:
    return (0,) if s is None else (1, s.match_labels, s.match_expressions)


@dataclass(frozen=True, slots=True)
class Rule:
    """Peers times ports. `ALL` peers includes everything outside the cluster; `ALL` ports every protocol too."""

    peers: tuple[Peer, ...] | All
    ports: tuple[PolicyPort, ...] | All

    def __post_init__(self) -> None:
        """An empty tuple would mean "all" in a manifest; refuse it."""
        if self.peers == () or self.ports == ():
            raise InvariantError("a rule with no peers or no ports must say ALL")

    @property
    def key(self) -> tuple[Any, ...]:
        """Total order: by ports first, so that a new peer on known ports changes its rule and moves none."""
        peers = (0,) if self.peers is ALL else (1, tuple(p.key for p in self.peers))
        ports = (0,) if self.ports is ALL else (1, tuple(p.key for p in self.ports))
        return (ports, peers)


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """One policy. `policy_types` is never defaulted here: `parse_policy` does that on reading.

    Rules of a direction that is not in `policy_types` are kept (round trip) and ignored by the evaluator.
    """

    namespace: str
    name: str
    pod_selector: LabelSelector
    policy_types: frozenset[Direction]
    ingress: tuple[Rule, ...] = ()
    egress: tuple[Rule, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    place: Place = field(default=Place(), compare=False)

    def rules(self, direction: Direction) -> tuple[Rule, ...]:
        """The rules in force for a direction: none if the policy does not list it."""
        if direction not in self.policy_types:
            return ()
        return self.ingress if direction is Direction.INGRESS else self.egress

    @property
    def ref(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"

    def canonical(self) -> NetworkPolicy:
        """The same policy with selectors normalised and everything in its total order."""
        return NetworkPolicy(
            self.namespace,
            self.name,
            self.pod_selector.normalised(),
            self.policy_types,
            _canonical_rules(self.ingress),
            _canonical_rules(self.egress),
            tuple(sorted(self.labels)),
            tuple(sorted(self.annotations)),
            self.place,
        )


def _canonical_rules(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    return tuple(sorted({_canonical_rule(r) for r in rules}, key=lambda r: r.key))


def _canonical_rule(rule: Rule) -> Rule:
    peers = rule.peers if rule.peers is ALL else tuple(sorted({_canonical_peer(p) for p in rule.peers}, key=_key))
    ports = rule.ports if rule.ports is ALL else tuple(sorted(set(rule.ports), key=_key))
    return Rule(peers, ports)


def _canonical_peer(peer: Peer) -> Peer:
    if peer.ip_block is not None:
        block = peer.ip_block
        return Peer(ip_block=IPBlock(block.cidr, tuple(sorted(set(block.except_)))))
    pod, ns = peer.pod_selector, peer.namespace_selector
    return Peer(pod and pod.normalised(), ns and ns.normalised())


def _key(item: Peer | PolicyPort) -> tuple[Any, ...]:
    return item.key


# --- manifest form ---------------------------------------------------------------------------------------------------


def dump_policy(policy: NetworkPolicy) -> dict[str, Any]:
    """The manifest, keys in the order in which people write them, `policyTypes` always explicit."""
    metadata: dict[str, Any] = {"name": policy.name, "namespace": policy.namespace}
    if policy.labels:
        metadata["labels"] = dict(policy.labels)
    if policy.annotations:
        metadata["annotations"] = dict(policy.annotations)
    spec: dict[str, Any] = {
        "podSelector": policy.pod_selector.dump(),
        "policyTypes": [str(d) for d in Direction if d in policy.policy_types],
    }
    for direction, rules in ((Direction.INGRESS, policy.ingress), (Direction.EGRESS, policy.egress)):
        if rules:
            spec[direction.rules_key] = [_dump_rule(rule, direction) for rule in rules]
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}


def _dump_rule(rule: Rule, direction: Direction) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if rule.peers is not ALL:
        out[direction.peers_key] = [_dump_peer(p) for p in rule.peers]
    if rule.ports is not ALL:
        out["ports"] = [_dump_port(p) for p in rule.ports]
    return out


def _dump_peer(peer: Peer) -> dict[str, Any]:
    if peer.ip_block is not None:
        block: dict[str, Any] = {"cidr": str(peer.ip_block.cidr)}
        if peer.ip_block.except_:
            block["except"] = [str(e) for e in peer.ip_block.except_]
        return {"ipBlock": block}
    out: dict[str, Any] = {}
    if peer.namespace_selector is not None:
        out["namespaceSelector"] = peer.namespace_selector.dump()
    if peer.pod_selector is not None:
        out["podSelector"] = peer.pod_selector.dump()
    return out


def _dump_port(port: PolicyPort) -> dict[str, Any]:
    out: dict[str, Any] = {"protocol": str(port.protocol)}
    if port.port is not None:
        out["port"] = port.port
    if port.end_port is not None:
        out["endPort"] = port.end_port
    return out


# --- reading ---------------------------------------------------------------------------------------------------------


def parse_policy(data: Mapping[str, Any], place: Place, default_namespace: str = "default") -> NetworkPolicy:
    """A NetworkPolicy from its manifest, with the API server's defaults and its validation.

    Raises:
        InputError: anything that the API server would reject, with the field's path. Nothing is skipped.

    """
    metadata = mapping_at(data.get("metadata"), place.at("metadata"))
    spec = mapping_at(data.get("spec"), place.at("spec"))
    at = place.at("spec")
    only_known(spec, {"podSelector", "policyTypes", "ingress", "egress"}, at)
    name, namespace = metadata.get("name"), metadata.get("namespace")
    namespace = default_namespace if namespace in (None, "") else namespace
    for what, value in (("name", name), ("namespace", namespace)):
        if not isinstance(value, str) or len(value) > _MAX_NAME or not _DNS1123.fullmatch(value):
            raise InputError(f"{printable(value)} is not a DNS-1123 name", place.at(f"metadata.{what}"))
    ingress = _parse_rules(spec.get("ingress"), Direction.INGRESS, at.at("ingress"))
    egress = _parse_rules(spec.get("egress"), Direction.EGRESS, at.at("egress"))
    return NetworkPolicy(
        str(namespace),
        str(name),
        parse_selector(spec.get("podSelector"), at.at("podSelector")),
        _parse_types(spec.get("policyTypes"), bool(egress), at.at("policyTypes")),
        ingress,
        egress,
        _strings(metadata.get("labels"), place.at("metadata.labels")),
        _strings(metadata.get("annotations"), place.at("metadata.annotations")),
        place,
    )


def _parse_types(data: Any, has_egress: bool, place: Place) -> frozenset[Direction]:  # noqa: FBT001
    if data is None or data == []:
        # https://kubernetes.io/docs/reference/kubernetes-api/policy-resources/network-policy-v1/: Ingress always,
        # Egress only when there are egress rules.
        return frozenset(Direction) if has_egress else frozenset({Direction.INGRESS})
    if not isinstance(data, list):
        raise InputError("policyTypes is a list", place)
    for i, item in enumerate(data):
        if item not in tuple(Direction):
            raise InputError(f"{printable(item)} is not Ingress or Egress", place.at(f"[{i}]"))
    return frozenset(Direction(item) for item in data)


def _parse_rules(data: Any, direction: Direction, place: Place) -> tuple[Rule, ...]:
    if data is None:
        return ()
    if not isinstance(data, list):
        raise InputError(f"{direction.rules_key} is a list", place)
    return tuple(_parse_rule(item, direction, place.at(f"[{i}]")) for i, item in enumerate(data))


def _parse_rule(data: Any, direction: Direction, place: Place) -> Rule:
    rule = mapping_at(data, place)
    only_known(rule, {direction.peers_key, "ports"}, place)
    peers, ports = rule.get(direction.peers_key), rule.get("ports")
    for key, value in ((direction.peers_key, peers), ("ports", ports)):
        if value is not None and not isinstance(value, list):
            raise InputError(f"{key} is a list", place.at(key))
    at = place.at(direction.peers_key)
    return Rule(
        tuple(_parse_peer(p, at.at(f"[{i}]")) for i, p in enumerate(peers)) if peers else ALL,
        tuple(_parse_port(p, place.at(f"ports[{i}]")) for i, p in enumerate(ports)) if ports else ALL,
    )


def _parse_peer(data: Any, place: Place) -> Peer:
    peer = mapping_at(data, place)
    only_known(peer, {"podSelector", "namespaceSelector", "ipBlock"}, place)
    # A key with a null value is an absent field to the API server.
    given = {k for k, v in peer.items() if v is not None}
    if not given:
        raise InputError("a peer needs a podSelector, a namespaceSelector or an ipBlock", place)
    if "ipBlock" in given:
        if len(given) > 1:
            raise InputError("an ipBlock stands alone in its peer", place)
        return Peer(ip_block=_parse_block(peer["ipBlock"], place.at("ipBlock")))
    pod, ns = peer.get("podSelector"), peer.get("namespaceSelector")
    return Peer(
        None if pod is None else parse_selector(pod, place.at("podSelector")),
        None if ns is None else parse_selector(ns, place.at("namespaceSelector")),
    )


def _parse_block(data: Any, place: Place) -> IPBlock:
    block = mapping_at(data, place)
    only_known(block, {"cidr", "except"}, place)
    cidr = parse_cidr(block.get("cidr"), place.at("cidr"))
    exceptions = block.get("except") or []
    if not isinstance(exceptions, list):
        raise InputError("except is a list", place.at("except"))
    inner = []
    for i, item in enumerate(exceptions):
        at = place.at(f"except[{i}]")
        network = parse_cidr(item, at)
        if network.version != cidr.version or network == cidr or not _inside(network, cidr):
            raise InputError(f"{network} does not lie strictly within {cidr}", at)
        inner.append(network)
    return IPBlock(cidr, tuple(inner))


def _inside(inner: Network, outer: Network) -> bool:
    low, high = int(outer.network_address), int(outer.broadcast_address)
    return low <= int(inner.network_address) and int(inner.broadcast_address) <= high


def parse_cidr(data: Any, place: Place) -> Network:
    """A network from `address/length`; host bits are normalised away."""
    # Python also reads netmasks and IPv6 scopes, which the API server does not.
    if not isinstance(data, str) or not _CIDR.fullmatch(data):
        raise InputError(f"{printable(data)} is not a CIDR", place)
    try:
        return ipaddress.ip_network(data, strict=False)
    except ValueError:
        raise InputError(f"{printable(data)} is not a CIDR", place) from None


def _parse_port(data: Any, place: Place) -> PolicyPort:
    entry = mapping_at(data, place)
    only_known(entry, {"protocol", "port", "endPort"}, place)
    protocol = entry.get("protocol")
    if protocol is not None and protocol not in tuple(Protocol):
        raise InputError(f"{printable(protocol)} is not TCP, UDP or SCTP", place.at("protocol"))
    port, end = entry.get("port"), entry.get("endPort")
    if isinstance(port, str):
        if not _PORT_NAME.fullmatch(port) or not any(c.isalpha() for c in port):
            raise InputError(f"{printable(port)} is not a port name", place.at("port"))
    elif port is not None:
        check_port(port, place.at("port"))
    if end is not None:
        check_port(end, place.at("endPort"))
        if not isinstance(port, int) or end < port:
            raise InputError("endPort needs a numeric port that is not above it", place.at("endPort"))
    return PolicyPort(Protocol.TCP if protocol is None else Protocol(protocol), port, end)


def check_port(port: Any, place: Place) -> None:
    """Refuse what is not an integer from 1 to 65535; `true` is none, though Python thinks so."""
    if not isinstance(port, int) or isinstance(port, bool) or not MIN_PORT <= port <= MAX_PORT:
        raise InputError(f"{printable(port)} is not a port", place)


def mapping_at(data: Any, place: Place) -> Mapping[Any, Any]:
    """A mapping; `null` is an empty one, as for the API server."""
    if data is None:
        return {}
    if not isinstance(data, Mapping):
        raise InputError(f"expected a mapping, found {printable(type(data).__name__)}", place)
    return data


def only_known(data: Mapping[Any, Any], known: set[str], place: Place) -> None:
    """Refuse fields that nobody would read."""
    if unknown := sorted(str(k) for k in set(data) - known):
        raise InputError(f"unknown field {printable(unknown[0])}", place)


def _strings(data: Any, place: Place) -> tuple[tuple[str, str], ...]:
    for key, value in mapping_at(data, place).items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise InputError(f"{printable(key)}: {printable(value)} is not a string (quote it)", place)
    return tuple(sorted(mapping_at(data, place).items()))
