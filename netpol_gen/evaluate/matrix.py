"""The connections between all classes of pods, and between them and the outside, under one set of policies.

Work grows with classes and policies, never with pairs of pods: each class has one row per direction (`rows`), a row is
a handful of cells, and both ends meet in matrices of numbered connection sets.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from netpol_gen.evaluate.bits import mask
from netpol_gen.evaluate.clauses import Row
from netpol_gen.evaluate.match import OutsideView, PodView, Tri, View
from netpol_gen.evaluate.population import InPlay, Population, current, pods_wanted
from netpol_gen.evaluate.rows import RowMaker
from netpol_gen.evaluate.table import ALL_ID, NONE_ID, ConnectionTable, Ids
from netpol_gen.evaluate.tiered import Tiers
from netpol_gen.evaluate.universe import Universe, pieces_of
from netpol_gen.inventory.objects import Pod
from netpol_gen.model import Decision, Direction, Workload
from netpol_gen.policy import NetworkPolicy
from netpol_gen.sets import Address, AddressSet
from netpol_gen.tiers import TierPolicy

if TYPE_CHECKING:
    from netpol_gen.inventory import Inventory

Ranges = tuple[tuple[AddressSet, int, int], ...]
"""Disjoint stretches of the outside with what passes for certain and what may pass; those with nothing left out."""


@dataclass(frozen=True, slots=True)
class Classes:
    """Pods that nothing in play tells apart, over all workloads.

    `of` gives each workload's classes by number, `alone` the workloads of a single pod: those have no sibling to call.
    """

    views: tuple[View, ...]
    nodes: tuple[frozenset[str], ...]
    of: Mapping[Workload, tuple[int, ...]]
    alone: frozenset[Workload]


def classify(inventory: Inventory, in_play: InPlay) -> Classes:
    """The classes of all live pods, in order of the first pod of each."""
    population = Population(inventory, in_play)
    numbers: dict[View, int] = {}
    nodes: list[set[str]] = []
    of: dict[Workload, dict[int, None]] = {}
    known: dict[object, int] = {}
    count: dict[Workload, int] = {}
    by_workload: dict[Workload, list[Pod]] = {}
    for pod in inventory.pods:
        by_workload.setdefault(pod.workload, []).append(pod)
    for pod in (p for pods in by_workload.values() for p in current(pods)):
        count[pod.workload] = count.get(pod.workload, 0) + 1
        # Most pods are copies of one already seen.
        signature = (pod.namespace, population.signature(pod))
        number = known.get(signature)
        if number is None:
            view = plain(population.view(pod), in_play)
            number = known[signature] = numbers.setdefault(view, len(numbers))
            if number == len(nodes):
                nodes.append(set())
        nodes[number].add(pod.node)
        of.setdefault(pod.workload, {})[number] = None
    alone = frozenset(w for w, n in count.items() if n == 1 and _wants_one(inventory, w))
    return Classes(tuple(numbers), tuple(map(frozenset, nodes)), {w: tuple(sorted(of[w])) for w in sorted(of)}, alone)


def _wants_one(inventory: Inventory, workload: Workload) -> bool:
    return workload.kind == "Pod" or (workload in inventory.controllers and pods_wanted(inventory, workload) == 1)


def plain(view: View, in_play: InPlay) -> View:
    """A view without what nothing in play looks at: equal views, one class."""
    addresses = tuple(dict.fromkeys(first_of_piece(in_play, a) for a in view.addresses))
    if isinstance(view, OutsideView):
        return replace(view, shown="", addresses=addresses, node=view.node if in_play.nodes else None)
    return replace(
        view,
        shown="",
        labels=in_play.labels(view.labels),
        ports=tuple(sorted(p for p in view.ports if p.name in in_play.port_names)),
        ports_known=view.ports_known or not in_play.port_names,
        addresses=addresses,
    )


def first_of_piece(in_play: InPlay, address: Address) -> Address:
    """One address for all that every CIDR in play treats alike."""
    version, index = in_play.piece(address)
    first = in_play.cuts[0 if version == 4 else 1][index - 1] if index else 0
    return ipaddress.IPv4Address(first) if version == 4 else ipaddress.IPv6Address(first)


class Matrix:
    """Rows of all classes, and what both ends of each pair make of them together."""

    def __init__(
        self,
        policies: Iterable[NetworkPolicy],
        inventory: Inventory,
        *,
        tiers: Iterable[TierPolicy],
        ipblock_matches_pods: Decision,
        table: ConnectionTable,
        strangers: Iterable[PodView] = (),
    ) -> None:
        self.table = table
        chosen = tuple(sorted(policies, key=lambda p: (p.namespace, p.name)))
        layers = Tiers(tiers)
        matches_pods = Tri.of(ipblock_matches_pods)
        in_play = InPlay.of(chosen, layers.policies, inventory.nodes.values())
        self.classes = classify(inventory, in_play)
        self.strangers = tuple(strangers)
        views = (*self.classes.views, *self.strangers)
        nodes = inventory.nodes.values()
        self.universe = Universe(views, pieces_of(in_play.cuts), matches_pods, nodes)
        self._maker = RowMaker(self.universe, chosen, layers, table)
        self._ranges: dict[int, Ranges] = {}

    @property
    def size(self) -> int:
        """How many classes."""
        return len(self.classes.views)

    def row(self, direction: Direction, position: int) -> Row:
        """What the policies of a class let pass in one direction."""
        return self._maker.row(direction, position)

    def pairs(self) -> tuple[Ids, Ids]:
        """Shape (classes, classes) each, source by destination: what passes for certain, and what may pass."""
        out_sure, out_may = self._side(Direction.EGRESS)
        in_sure, in_may = self._side(Direction.INGRESS)
        sure = self.table.common_all(out_sure, in_sure.T)
        if out_sure is out_may and in_sure is in_may and not self.universe.hosts:
            return sure, sure
        may = self.table.common_all(out_may, in_may.T)
        self._on_one_node(may)
        return sure, may

    def _side(self, direction: Direction) -> tuple[Ids, Ids]:
        n = self.size
        sure = np.zeros((n, n), dtype=np.int32)
        may = sure
        for position in range(n):
            for bits, (s, m) in self.row(direction, position):
                inner = bits & ((1 << n) - 1)
                if not inner or m == NONE_ID:
                    continue
                if s != m and may is sure:
                    may = sure.copy()
                chosen = mask(inner, n)
                sure[position, chosen] = s
                if may is not sure:
                    may[position, chosen] = m
        return sure, may

    def _on_one_node(self, may: Ids) -> None:
        """A pod and its own node always reach each other, and so do pods on that node's network."""
        for host in np.flatnonzero(mask(self.universe.hosts, self.size)):
            for other in range(self.size):
                a, b = self.classes.nodes[host], self.classes.nodes[other]
                if a & b or "" in a or "" in b:
                    may[host, other] = may[other, host] = ALL_ID

    def ranges(self, direction: Direction, position: int) -> Ranges:
        """What passes between a class and the outside."""
        row = self.row(direction, position)
        found = self._ranges.get(id(row))
        if found is None:
            cells = [(bits & self.universe.outside, ids) for bits, ids in row]
            found = tuple((self.universe.addresses(bits), s, m) for bits, (s, m) in cells if bits and m != NONE_ID)
            self._ranges[id(row)] = found
        return found
