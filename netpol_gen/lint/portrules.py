"""Rules about ports: missing, misnamed, or those of a Service where a pod's belong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from netpol_gen.inventory.objects import Pod
from netpol_gen.lint.material import Material, RuleAt
from netpol_gen.lint.model import Hit
from netpol_gen.model import Direction, Protocol, Workload
from netpol_gen.policy import ALL, PolicyPort
from netpol_gen.ports.known import UDP_SERVICES


def rule_without_ports(material: Material) -> Iterator[Hit]:
    """Every port of every protocol."""
    for at in material.rules:
        if at.rule.ports is ALL:
            yield Hit(
                at.place,
                at.subject,
                f"this {at.direction.rules_key} rule has no ports: it admits every port of every protocol",
                "add ports: with protocol and number, as the server's pods listen on them",
            )


def rule_without_peers(material: Material) -> Iterator[Hit]:
    """Every peer, inside and outside."""
    for at in material.rules:
        if at.rule.peers is ALL:
            key = at.direction.peers_key
            yield Hit(
                at.place,
                at.subject,
                f"this {at.direction.rules_key} rule has no {key}: it admits everyone, inside and outside the cluster",
                f"add {key}: with the pods or addresses that are meant",
            )


def named_port_undeclared(material: Material) -> Iterator[Hit]:
    """A port name that means nothing where it is looked up."""
    for at in material.rules:
        for path, port in at.ports():
            if isinstance(port.port, str) and (what := _unresolved(material, at, port, port.port)):
                yield Hit(
                    at.document.at(f"{path}.port"), at.subject, what, "write the number, or name the container's port"
                )


def _unresolved(material: Material, at: RuleAt, port: PolicyPort, name: str) -> str:
    peers = [peer for _, peer in at.peers()]
    if at.direction is Direction.EGRESS and peers and all(p.ip_block is not None for p in peers):
        return f"port name {name} never matches an ipBlock: addresses have no port names"
    pods = material.destinations(at)
    # Of a pod that only flows named nobody knows the ports.
    if not pods or any(p.observed for p in pods):
        return ""
    ports = [p for pod in pods for p in pod.ports if p.name == name]
    if any(p.protocol is port.protocol for p in ports):
        return ""
    where = "selected pod" if at.direction is Direction.INGRESS else "pod of its peers"
    if ports:
        return f"port name {name} is {ports[0].protocol} where it is declared, and the rule says {port.protocol}"
    return f"no {where} declares a port named {name}, so it matches nothing"


def service_port(material: Material) -> Iterator[Hit]:
    """A Service's port number where its pods listen on another."""
    listening = _listening(material)
    for at in material.rules:
        for path, port in at.ports():
            if not isinstance(port.port, int) or port.end_port is not None:
                continue
            pods = material.destinations(at)
            if (found := _dialled(material, pods, port.protocol, port.port, listening)) is None:
                continue
            service, targets = found
            yield Hit(
                at.document.at(f"{path}.port"),
                at.subject,
                f"{port.port} is the port of Service {service}, but its pods listen on {targets}, which policies see",
                f"write port: {targets}",
            )


def _listening(material: Material) -> frozenset[tuple[Workload, Protocol, int]]:
    """What pods listen on for sure: declared, or seen in flows."""
    out = {(pod.workload, p.protocol, p.number) for n in material.namespaces for pod in material.pods_in(n)
           for p in pod.ports}  # fmt: skip
    for edge in material.edges.accepted if material.edges is not None else ():
        if isinstance(edge.dst, Workload):
            out.add((edge.dst, edge.protocol, edge.port))
    return frozenset(out)


def _dialled(
    material: Material,
    pods: Sequence[Pod],
    protocol: Protocol,
    number: int,
    listening: frozenset[tuple[Workload, Protocol, int]],
) -> tuple[str, str] | None:
    """A Service whose port this is, with its targets, where no pod listens on the number itself."""
    if not pods or any((p.workload, protocol, number) in listening for p in pods):
        return None
    found: tuple[str, str] | None = None
    for service in material.inventory.services if material.inventory is not None else ():
        wanted = set(service.selector or ())
        behind = [p for p in pods if wanted and p.namespace == service.namespace and wanted.issubset(p.labels)]
        for port in service.ports if behind else ():
            targets = (
                {port.target}
                if isinstance(port.target, int)
                else {p.number for pod in behind for p in pod.ports if p.name == port.target}
            )
            if port.protocol is protocol and number in targets:
                return None
            if (port.port, port.protocol) == (number, protocol) and targets:
                shown = ", ".join(map(str, sorted(targets)))
                found = found or (f"{service.namespace}/{service.name}", shown)
    return found


def protocol_missing(material: Material) -> Iterator[Hit]:
    """No protocol means TCP, on a port where UDP is likelier."""
    for at in material.rules:
        udp = {p.port for _, p in at.ports() if p.protocol is Protocol.UDP}
        for path, port in at.ports():
            raw = at.document.raw(path)
            if not isinstance(raw, dict) or raw.get("protocol") is not None or port.port in udp:
                continue
            if why := _meant_udp(material, at, port):
                yield Hit(
                    at.document.at(path),
                    at.subject,
                    f"no protocol means TCP, but {why}",
                    "add an entry with protocol: UDP, or write protocol: TCP if that is meant",
                )


def _meant_udp(material: Material, at: RuleAt, port: PolicyPort) -> str:
    if port.port is None:
        return ""
    declared = {
        p.protocol for pod in material.destinations(at) for p in pod.ports if port.port in (p.number, p.name or None)
    }
    if declared:
        return f"the pods declare port {port.port} as UDP" if declared == {Protocol.UDP} else ""
    if isinstance(port.port, int) and port.port in UDP_SERVICES:
        return f"{port.port} is {UDP_SERVICES[port.port]}, which uses UDP"
    return ""
