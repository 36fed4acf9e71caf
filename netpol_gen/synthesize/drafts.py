"""Rules while they are being made: peers times ports, with what stands behind them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from netpol_gen.model import Edge
from netpol_gen.policy import Peer, PolicyPort, Rule


@dataclass(frozen=True, slots=True)
class Draft:
    """A rule to be. It admits every peer on every port, so what is behind it is behind all of it."""

    peers: tuple[Peer, ...]
    ports: tuple[PolicyPort, ...]
    edges: frozenset[Edge] = frozenset()
    inferred: frozenset[Edge] = frozenset()
    """What it is to admit though it was not observed."""
    why: frozenset[str] = frozenset()
    """Reasons for `inferred`."""
    widened: frozenset[str] = frozenset()
    """What it admits beyond `edges` and `inferred`, in words."""
    outside: bool = False
    """Its one peer is an address outside that was observed: such peers may be covered by fewer CIDRs."""

    @property
    def rule(self) -> Rule:
        """The rule."""
        return Rule(tuple(sorted(self.peers, key=lambda p: p.key)), tuple(sorted(self.ports, key=lambda p: p.key)))


def merged(drafts: Iterable[Draft], peers: Iterable[Peer], ports: Iterable[PolicyPort]) -> Draft:
    """One rule for several, with everything that stands behind them."""
    drafts = tuple(drafts)
    peers = tuple(sorted(set(peers), key=lambda p: p.key))
    ports = tuple(sorted(set(ports), key=lambda p: p.key))
    if len(drafts) == 1:
        return replace(drafts[0], peers=peers, ports=ports)
    return Draft(
        peers,
        ports,
        frozenset().union(*(d.edges for d in drafts)),
        frozenset().union(*(d.inferred for d in drafts)),
        frozenset().union(*(d.why for d in drafts)),
        frozenset().union(*(d.widened for d in drafts)),
        outside=all(d.outside for d in drafts),
    )
