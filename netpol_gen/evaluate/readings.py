"""What the ends of a question are to policies: a pod, a node, an address, and where it runs.

An address can be read in several ways when the inventory also knows it as a pod's or a node's.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from netpol_gen.evaluate.match import OutsideView, PodView, Tri, View
from netpol_gen.evaluate.population import Group, Population
from netpol_gen.inventory.objects import Node, Pod
from netpol_gen.model import External, ExternalKind, Party, Workload
from netpol_gen.sets import Address

NOWHERE: frozenset[str] = frozenset()
"""The nodes of what runs on none of this cluster's."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to understand an end. `group` stands for one pod where a concrete one was asked for."""

    group: Group
    ended: bool = False
    own_node: bool = False
    """Known to be the node of the pod at the other end."""

    @property
    def view(self) -> View:
        """What policies see."""
        return self.group.view


Alternatives = tuple[Reading, ...]
"""Ways to understand one and the same end, of which one is true."""


class Readings:
    """Reads endpoints and parties over one population."""

    def __init__(self, population: Population) -> None:
        self._population = population

    def of(self, end: Pod | Node | Address | Party) -> tuple[Alternatives, ...]:
        """Everybody who stands behind an end; each has to be allowed."""
        if isinstance(end, Workload):
            return tuple((Reading(group),) for group in self._population.groups(end))
        return (self._external(end) if isinstance(end, External) else self.of_endpoint(end),)

    def of_endpoint(self, endpoint: Pod | Node | Address) -> Alternatives:
        """A concrete endpoint. A pod's address is that pod's; a node's is that node's."""
        if isinstance(endpoint, Pod):
            view = self._population.view(endpoint)
            return (Reading(Group(view, frozenset({endpoint.node}), 1), ended=not endpoint.live),)
        if isinstance(endpoint, Node):
            view = OutsideView(f"node {endpoint.name}", endpoint.addresses, node=endpoint)
            return (_outside(view, frozenset({endpoint.name})),)
        holders = tuple(r for pod in self._population.holders(endpoint) for r in self.of_endpoint(pod))
        return holders or (self._address(endpoint, str(endpoint)),)

    def _external(self, party: External) -> Alternatives:
        shown = str(party)
        address = ip_address(party.address) if party.address else None
        match party.kind:
            case ExternalKind.OWN_NODE:
                return (Reading(Group(OutsideView(shown), NOWHERE, 1), own_node=True),)
            case ExternalKind.UNKNOWN:
                known = (address,) if address else ()
                return (_outside(OutsideView(shown, known, maybe_pod=True, maybe_node=True), NOWHERE),)
            case ExternalKind.INGRESS_PROXY:
                known = (address,) if address else ()
                return (_outside(OutsideView(shown, known, maybe_node=True, decides=False), NOWHERE),)
            case ExternalKind.WORLD:
                return self._world(address, shown)
            case ExternalKind.NODE | ExternalKind.API_SERVER:
                if address is None:
                    return (_outside(OutsideView(shown, maybe_node=True), NOWHERE),)
                return (self._address(address, shown),)

    def _world(self, address: Address | None, shown: str) -> Alternatives:
        """The log says that it is outside; where the inventory says otherwise, both readings have to agree."""
        if address is None:
            return (_outside(OutsideView(shown), NOWHERE),)
        readings = [_outside(OutsideView(shown, (address,)), NOWHERE)]
        if self._population.node_at(address):
            readings.append(self._address(address, shown))
        for pod in self._population.holders(address):
            readings += self.of_endpoint(pod)
        return tuple(readings)

    def _address(self, address: Address, shown: str) -> Reading:
        node = self._population.node_at(address)
        return _outside(OutsideView(shown, (address,), node=node), frozenset({node.name}) if node else NOWHERE)


def _outside(view: OutsideView, nodes: frozenset[str]) -> Reading:
    return Reading(Group(view, nodes, 1))


def own_node(a: Reading, b: Reading) -> tuple[Tri, ...]:
    """For the pairs of pods that two readings stand for: whether one end is the node on which the other runs.

    Several answers if pairs differ. Only a party without a network namespace of its own can be a node.
    """
    if isinstance(a.view, PodView) and isinstance(b.view, PodView):
        return (Tri.NO,)
    if a.own_node or b.own_node:
        return (Tri.YES,)
    outside = [r.view for r in (a, b) if isinstance(r.view, OutsideView)]
    if any(view.maybe_node for view in outside):
        return (Tri.MAYBE,)
    found = set()
    for x in a.group.nodes:
        for y in b.group.nodes:
            found.add(Tri.MAYBE if not x or not y else Tri.YES if x == y else Tri.NO)
    return tuple(sorted(found)) or (Tri.NO,)
