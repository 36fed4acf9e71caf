"""Rewrites of the rules of one policy and direction. Each says whether it admits more.

Before the first pass every rule has one peer and one port. A `same` pass admits exactly what was admitted before; a
`wider` pass says in `Draft.widened` what it added.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from netpol_gen.config import Cni
from netpol_gen.model import Edge, Protocol
from netpol_gen.policy import IPBlock, Peer, PolicyPort
from netpol_gen.profiles import PROFILES
from netpol_gen.sets import AddressSet, Network
from netpol_gen.synthesize.cover import Cover, cover
from netpol_gen.synthesize.drafts import Draft, merged

Drafts = tuple[Draft, ...]
_K = TypeVar("_K", bound=Hashable)

_LIST_LIMIT = 8
"""A run of ports up to this long stays a list: some CNIs ignore `endPort` (needs N20)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the passes may do."""

    extra_addresses: int = 0
    """Per policy, direction and port."""
    forbidden: AddressSet = AddressSet()  # noqa: RUF009 - frozen and empty
    """Addresses that no CIDR may cover unless they were observed."""
    cni: Cni = Cni.GENERIC


@dataclass(frozen=True, slots=True)
class Pass:
    """One rewrite."""

    name: str
    effect: Literal["same", "wider"]
    rewrite: Callable[[Drafts, Limits], Drafts]


def _cells(drafts: Drafts, _limits: Limits) -> Drafts:
    """One rule per peer and port, however many edges ask for it."""
    return tuple(
        merged(same, peer, port)
        for (peer, port, _), same in _grouped(drafts, lambda d: (d.peers, d.ports, d.outside)).items()
    )


def _prefixes(drafts: Drafts, _limits: Limits) -> Drafts:
    """Adjacent addresses outside as one CIDR that holds nothing else."""
    return _covered(drafts, Limits())


def _cover(drafts: Drafts, limits: Limits) -> Drafts:
    """Fewer CIDRs for addresses outside, within the budget."""
    return _covered(drafts, limits) if limits.extra_addresses > 0 else drafts


def _within(drafts: Drafts, _limits: Limits) -> Drafts:
    """A CIDR inside another one on the same port says nothing more: a node's address among those of all nodes."""
    out: list[Draft] = []
    for ports, same in _grouped(drafts, lambda d: d.ports).items():
        out += [d for d in same if _cidr(d) is None]
        blocks = sorted((d for d in same if _cidr(d) is not None), key=lambda d: d.peers[0].key)
        kept: list[list[Draft]] = []
        last = -1, -1
        for draft in blocks:
            cidr = _cidr(draft)
            end = (cidr.version, int(cidr.broadcast_address)) if cidr is not None else last
            # In this order a CIDR comes after those that hold it, and CIDRs never overlap in part.
            if kept and end <= last:
                kept[-1].append(draft)
            else:
                kept.append([draft])
                last = end
        out += [merged(group, group[0].peers, ports) for group in kept]
    return tuple(out)


def _cidr(draft: Draft) -> Network | None:
    """The CIDR of a draft of one peer; none for pods and for a CIDR with exceptions."""
    block = draft.peers[0].ip_block
    return None if block is None or block.except_ else block.cidr


def _ports_of_a_peer(drafts: Drafts, _limits: Limits) -> Drafts:
    """Rules with the same peers become one."""
    groups = _grouped(drafts, lambda d: d.peers)
    return tuple(merged(same, peers, (p for d in same for p in d.ports)) for peers, same in groups.items())


def _peers_of_ports(drafts: Drafts, _limits: Limits) -> Drafts:
    """Rules with the same ports become one."""
    groups = _grouped(drafts, lambda d: d.ports)
    return tuple(merged(same, (p for d in same for p in d.peers), ports) for ports, same in groups.items())


def _ranges(drafts: Drafts, limits: Limits) -> Drafts:
    """Long runs of numbers as a range, where the CNI heeds it."""
    if not PROFILES[limits.cni].ranges:
        return drafts
    return tuple(merged((d,), d.peers, _with_ranges(d.ports)) for d in drafts)


def _split(drafts: Drafts, limits: Limits) -> Drafts:
    """Rules with more ports than the CNI takes in one become several."""
    limit = PROFILES[limits.cni].ports_of_rule
    if not limit:
        return drafts
    out: list[Draft] = []
    for draft in drafts:
        parts = [draft.ports[i : i + limit] for i in range(0, len(draft.ports), limit)]
        out += [draft] if len(parts) == 1 else [_part(draft, ports) for ports in parts]
    return tuple(out)


def _part(draft: Draft, ports: tuple[PolicyPort, ...]) -> Draft:
    """Some ports of a rule, with what stands behind them."""

    def behind(edges: Iterable[Edge]) -> frozenset[Edge]:
        return frozenset(e for e in edges if any(_may_be(port, e) for port in ports))

    return replace(draft, ports=ports, edges=behind(draft.edges), inferred=behind(draft.inferred))


def _may_be(port: PolicyPort, edge: Edge) -> bool:
    """Whether a port of a rule admits an edge's; of a name it is not known here."""
    if port.protocol is not edge.protocol:
        return False
    if not isinstance(port.port, int):
        return True
    return port.port <= edge.port <= (port.end_port or port.port)


PASSES: tuple[Pass, ...] = (
    Pass("cells", "same", _cells),
    Pass("prefixes", "same", _prefixes),
    Pass("cover", "wider", _cover),
    Pass("within", "same", _within),
    Pass("ports-of-a-peer", "same", _ports_of_a_peer),
    Pass("peers-of-ports", "same", _peers_of_ports),
    Pass("ranges", "same", _ranges),
    Pass("split", "same", _split),
)


def run(drafts: Iterable[Draft], limits: Limits) -> Drafts:
    """All passes in order; the result is sorted by rule."""
    out = tuple(drafts)
    for each in PASSES:
        out = each.rewrite(out, limits)
    return tuple(sorted(out, key=lambda d: d.rule.key))


def _grouped(drafts: Iterable[Draft], key: Callable[[Draft], _K]) -> dict[_K, list[Draft]]:
    groups: dict[_K, list[Draft]] = {}
    for draft in drafts:
        groups.setdefault(key(draft), []).append(draft)
    return groups


def _covered(drafts: Drafts, limits: Limits) -> Drafts:
    """Every set of outside addresses on one port, as few CIDRs as the limits allow."""
    out = [d for d in drafts if not d.outside]
    for ports, same in _grouped((d for d in drafts if d.outside), lambda d: d.ports).items():
        wanted = AddressSet.of(*(p.ip_block.cidr for d in same for p in d.peers if p.ip_block is not None))
        out += _shared_out(same, ports, cover(wanted, limits.extra_addresses, limits.forbidden))
    return tuple(out)


def _shared_out(drafts: Sequence[Draft], ports: tuple[PolicyPort, ...], found: Cover) -> list[Draft]:
    """A rule for each CIDR, with what stands behind the addresses in it."""
    starts = [(n.version, int(n.network_address)) for n in found.networks]
    inside: list[list[Draft]] = [[] for _ in starts]
    for draft in drafts:
        for peer in draft.peers:
            if peer.ip_block is not None:
                cidr = peer.ip_block.cidr
                inside[bisect_right(starts, (cidr.version, int(cidr.network_address))) - 1].append(draft)
    widened = frozenset({_cost(found, ports)}) if found.extra else frozenset()
    out = []
    for network, behind in zip(found.networks, inside, strict=True):
        rule = merged(behind, (Peer(ip_block=IPBlock(network)),), ports)
        out.append(Draft(rule.peers, ports, rule.edges, rule.inferred, rule.why, rule.widened | widened, outside=True))
    return out


def _cost(found: Cover, ports: tuple[PolicyPort, ...]) -> str:
    shown = ", ".join(f"{p.protocol} {p.port}" for p in ports)
    many = "CIDR covers" if len(found.networks) == 1 else "CIDRs cover"
    return f"{shown}: {len(found.networks)} {many} {found.wanted} observed addresses and {found.extra} others"


def _with_ranges(ports: tuple[PolicyPort, ...]) -> tuple[PolicyPort, ...]:
    out = [p for p in ports if not isinstance(p.port, int) or p.end_port is not None]
    for protocol in Protocol:
        numbers = sorted(
            {p.port for p in ports if p.protocol is protocol and isinstance(p.port, int) and p.end_port is None}
        )
        for first, last in _runs(numbers):
            if last - first >= _LIST_LIMIT:
                out.append(PolicyPort(protocol, first, last))
            else:
                out += [PolicyPort(protocol, n) for n in range(first, last + 1)]
    return tuple(out)


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    out: list[tuple[int, int]] = []
    for n in numbers:
        if out and out[-1][1] == n - 1:
            out[-1] = (out[-1][0], n)
        else:
            out.append((n, n))
    return out
