"""Edges that deserve a second look before they become rules (needs N14, N40). They are reported, not refused."""

from __future__ import annotations

from collections.abc import Iterable

from netpol_gen.model import Diagnostic, Direction, Edge, External, ExternalKind, Protocol, Severity

_METADATA = frozenset({"169.254.169.254", "fd00:ec2::254", "169.254.170.2", "169.254.170.23", "100.100.100.200"})
_ETCD = frozenset({2379, 2380})
_SHELLS = {22: "SSH", 3389: "RDP"}
_KUBELET = frozenset({10250, 10255})


def guard_rails(written: Iterable[tuple[Edge, Direction]]) -> list[Diagnostic]:
    """What to say about edges that rules were written for."""
    found = []
    for edge, direction in written:
        code, what = _concern(edge, direction)
        if code:
            found.append(Diagnostic(code, str(edge), f"a rule admits {what}: review it", Severity.WARNING))
    return found


def _concern(edge: Edge, direction: Direction) -> tuple[str, str]:
    other = edge.src if direction is Direction.INGRESS else edge.dst
    if direction is Direction.EGRESS:
        if isinstance(other, External) and other.address in _METADATA:
            return "NPG330", "the cloud's metadata service, which hands out the node's credentials"
        if edge.port in _KUBELET and edge.protocol is Protocol.TCP and _is(other, ExternalKind.NODE):
            return "NPG331", "the kubelet's port, which can run commands in every pod of a node"
        if edge.port in _ETCD and edge.protocol is Protocol.TCP:
            return "NPG332", "an etcd port, behind which all state of a cluster lies"
    if edge.port in _SHELLS and edge.protocol is Protocol.TCP and _is(other, ExternalKind.WORLD):
        return "NPG333", f"{_SHELLS[edge.port]} with the outside"
    return "", ""


def _is(party: object, kind: ExternalKind) -> bool:
    return isinstance(party, External) and party.kind is kind
