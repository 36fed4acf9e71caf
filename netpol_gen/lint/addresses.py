"""Rules about ipBlocks: what they cover besides what was meant."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from netpol_gen.errors import InputError, Place
from netpol_gen.lint.material import Document, Material, RuleAt
from netpol_gen.lint.model import Hit
from netpol_gen.model import Direction, Protocol
from netpol_gen.policy import ALL, parse_cidr
from netpol_gen.ports.known import known_port
from netpol_gen.sets import ALL_PORTS, Address, AddressSet, Network, PortSet

METADATA = tuple(
    ipaddress.ip_address(a) for a in ("169.254.169.254", "fd00:ec2::254", "169.254.170.2", "100.100.100.200")
)
"""Where clouds hand credentials to whoever asks from a node: most clouds, AWS on IPv6, AWS containers, Alibaba."""
METADATA_PORT = 80


def block_covers_pods(material: Material) -> Iterator[Hit]:
    """Pod addresses in an ipBlock: whether they match is up to the CNI."""
    yield from _covers(
        material, material.pod_ranges, "pods", "whether it matches them depends on the CNI; use selectors for pods"
    )


def block_covers_services(material: Material) -> Iterator[Hit]:
    """Service addresses in an ipBlock: most CNIs look at the address behind the Service."""
    yield from _covers(
        material,
        material.service_ranges,
        "Services",
        "most CNIs judge the backend's address, not the Service's; select the pods behind it",
    )


def _covers(material: Material, ranges: AddressSet, what: str, why: str) -> Iterator[Hit]:
    if not ranges:
        return
    for at in material.rules:
        for path, peer in at.peers():
            if peer.ip_block is None:
                continue
            common = peer.ip_block.addresses & ranges
            if common:
                networks = common.networks()
                more = f" and {len(networks) - 1} more ranges" if len(networks) > 1 else ""
                yield Hit(
                    at.document.at(f"{path}.ipBlock"),
                    at.subject,
                    f"{peer.ip_block.cidr} covers addresses of {what} ({networks[0]}{more}): {why}",
                    f"add the range of {what} to except, or use podSelector and namespaceSelector",
                )


def except_outside(material: Material) -> Iterator[Hit]:
    """An `except` that does not lie within its CIDR: the API server takes no such policy."""
    for document in material.documents:
        if document.is_policy:
            for path, block in _blocks(document):
                yield from _outside(document, path, block)


def _blocks(document: Document) -> Iterator[tuple[str, dict[Any, Any]]]:
    """Raw ipBlocks of a manifest, valid or not."""
    for direction in Direction:
        rules = document.raw(f"spec.{direction.rules_key}")
        for i, rule in enumerate(rules if isinstance(rules, list) else ()):
            peers = rule.get(direction.peers_key) if isinstance(rule, dict) else None
            for j, peer in enumerate(peers if isinstance(peers, list) else ()):
                block = peer.get("ipBlock") if isinstance(peer, dict) else None
                if isinstance(block, dict):
                    yield f"spec.{direction.rules_key}[{i}].{direction.peers_key}[{j}].ipBlock", block


def _outside(document: Document, path: str, block: dict[Any, Any]) -> Iterator[Hit]:
    cidr = _network(block.get("cidr"))
    exceptions = block.get("except")
    if cidr is None:
        return
    for i, text in enumerate(exceptions if isinstance(exceptions, list) else ()):
        inner = _network(text)
        # What is no CIDR at all is reported as an invalid policy.
        if inner is not None and (inner == cidr or not AddressSet.of(inner) <= AddressSet.of(cidr)):
            yield Hit(
                document.at(f"{path}.except[{i}]"),
                document.subject,
                f"except {inner} does not lie strictly within {cidr}: the API server refuses the policy",
                f"delete it, or give a range within {cidr}",
            )


def _network(text: Any) -> Network | None:
    try:
        return parse_cidr(text, Place())
    except InputError:
        return None


def world_sensitive(material: Material) -> Iterator[Hit]:
    """Everyone, on a port that administers, debugs or stores."""
    sensitive = PortSet.of(*material.settings.sensitive_ports)
    for at in material.rules:
        blocks = [(path, p.ip_block.cidr) for path, p in at.peers() if p.ip_block is not None]
        blocks = [(path, cidr) for path, cidr in blocks if cidr.prefixlen == 0]
        if at.rule.peers is not ALL and not blocks:
            continue
        if at.rule.peers is ALL and at.rule.ports is ALL:
            # Without ports and peers it is no list of ports at all: NPL003 and NPL004 say so.
            continue
        open_ports = tcp_ports(at, named=False) & sensitive
        if open_ports:
            who = str(blocks[0][1]) if blocks else "everyone"
            side = "can reach" if at.direction is Direction.INGRESS else "can be reached on"
            yield Hit(
                at.document.at(f"{blocks[0][0]}.ipBlock") if blocks else at.place,
                at.subject,
                f"{who} {side} {_shown(open_ports)}",
                "name the addresses that are meant, or leave the ports out",
            )


def _shown(ports: PortSet) -> str:
    found = []
    for number in list(ports)[:3]:
        known = known_port(Protocol.TCP, number)
        found.append(f"TCP {number} ({known.what})" if known else f"TCP {number}")
    more = len(ports) - len(found)
    return ", ".join(found) + (f" and {more} more sensitive ports" if more else "")


def tcp_ports(at: RuleAt, *, named: bool) -> PortSet:
    """TCP port numbers that a rule admits; a name counts as every port if `named`, else as none."""
    if at.rule.ports is ALL:
        return ALL_PORTS
    out = PortSet()
    for port in at.rule.ports:
        if port.protocol is Protocol.TCP:
            if isinstance(port.port, int):
                out |= PortSet.of((port.port, port.end_port or port.port))
            elif port.port is None or named:
                out |= ALL_PORTS
    return out


def metadata_reachable(material: Material) -> Iterator[Hit]:
    """Egress to the address where a cloud hands out credentials."""
    for at in material.rules:
        if at.direction is not Direction.EGRESS or METADATA_PORT not in tcp_ports(at, named=False):
            continue
        found = next(_metadata(at), None)
        if found is not None:
            path, address = found
            yield Hit(
                at.document.at(path),
                at.subject,
                f"this rule reaches {address} on TCP {METADATA_PORT}, where clouds hand out the node's credentials",
                f"add {address}/{address.max_prefixlen} to except, or name the peers",
            )


def _metadata(at: RuleAt) -> Iterator[tuple[str, Address]]:
    """Peers that cover a metadata address, and which."""
    if at.rule.peers is ALL:
        yield at.path, METADATA[0]
    for path, peer in at.peers():
        covered = peer.ip_block.addresses if peer.ip_block is not None else AddressSet()
        yield from ((path, address) for address in METADATA if address in covered)
