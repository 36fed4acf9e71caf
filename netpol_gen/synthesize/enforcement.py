"""What the chosen CNI makes of a policy that is right by the API (semantics 4.5, needs N20)."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from netpol_gen.config import Cni
from netpol_gen.model import Direction, Workload
from netpol_gen.policy import ALL, NetworkPolicy, Peer, PolicyPort
from netpol_gen.profiles import PROFILES


def enforcement(policy: NetworkPolicy, members: Collection[Workload], cni: Cni) -> Iterator[tuple[str, str]]:
    """Diagnostic codes with what to say; nothing where the CNI does as the API says."""
    profile = PROFILES[cni]
    rules = [(d, rule) for d in Direction for rule in policy.rules(d)]
    ranges = [p for _, rule in rules if rule.ports is not ALL for p in rule.ports if p.end_port is not None]
    if ranges and cni is Cni.GENERIC:
        shown = ", ".join(f"{p.protocol} {p.port}-{p.end_port}" for p in ranges[:3])
        names = ", ".join(sorted(p.name for p in PROFILES.values() if not p.ranges))
        yield "NPG341", f"{names} and Cilium before 1.16 take only the first port of {shown} (--cni lists them)"
    limit = profile.ports_of_peer
    for direction in Direction:
        if limit and (most := _most_ports(policy, direction)) > limit:
            text = f"{direction}: {most} ports for one peer; {profile.name} takes at most {limit} and denies the others"
            yield "NPG342", text
    versions = {p.ip_block.cidr.version for _, rule in rules for p in _peers(rule.peers) if p.ip_block is not None}
    if len(versions) > 1 and not profile.families:
        yield "NPG343", f"{profile.name} enforces the cluster's one address family, and this has blocks of both"
    bare = sorted(str(w) for w in members if w.kind == "Pod")
    if bare and not profile.bare_pods:
        yield "NPG344", f"{profile.name} does not enforce policies on pods without a controller: {', '.join(bare[:3])}"


def _peers(peers: object) -> tuple[Peer, ...]:
    return peers if isinstance(peers, tuple) else ()


def _most_ports(policy: NetworkPolicy, direction: Direction) -> int:
    """The most combinations of protocol and port that one peer has; a range is as many as it holds."""
    ports: dict[Peer, set[PolicyPort]] = {}
    for rule in policy.rules(direction):
        for peer in _peers(rule.peers):
            ports.setdefault(peer, set()).update(rule.ports if rule.ports is not ALL else ())
    return max((sum(map(_size, held)) for held in ports.values()), default=0)


def _size(port: PolicyPort) -> int:
    return 1 if port.end_port is None or not isinstance(port.port, int) else port.end_port - port.port + 1
