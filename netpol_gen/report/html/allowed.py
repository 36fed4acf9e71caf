"""What policies allow between any two parties, as run-length coded rows, and where that exceeds what was seen.

A cell's value numbers an entry of `texts`: `(certain, possible)` connection sets as text. Value 0 is "nothing".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from netpol_gen.connectivity import Connectivity
from netpol_gen.evaluate.matrix import Ranges
from netpol_gen.inventory import Inventory
from netpol_gen.model import Edge, External, ExternalKind, Party, Workload
from netpol_gen.sets import AddressSet, ConnectionSet, PortSet

if TYPE_CHECKING:
    from netpol_gen.report.html.parties import Parties

OUTSIDE = (ExternalKind.WORLD, ExternalKind.NODE, ExternalKind.API_SERVER)
"""Classes of which the inventory tells the addresses, and so whether a policy admits any of them."""

Sets = tuple[ConnectionSet, ConnectionSet]


@dataclass(slots=True)
class Texts:
    """Pairs of connection sets, numbered in the order in which they are met."""

    sets: list[Sets] = field(default_factory=lambda: [(ConnectionSet.NONE, ConnectionSet.NONE)])
    ids: dict[Sets, int] = field(default_factory=lambda: {(ConnectionSet.NONE, ConnectionSet.NONE): 0})

    def id(self, sure: ConnectionSet, may: ConnectionSet) -> int:
        """The number of a pair."""
        key = (sure, may)
        found = self.ids.get(key)
        if found is None:
            found = self.ids[key] = len(self.sets)
            self.sets.append(key)
        return found

    def dump(self) -> list[list[str]]:
        """`[certain]`, or `[certain, possible]` where they differ."""
        return [[str(a)] if a == b else [str(a), str(b)] for a, b in self.sets]


def classes_of(inventory: Inventory) -> dict[ExternalKind, AddressSet]:
    """The addresses behind a class of parties outside; everything that is nobody's in the cluster is the world."""
    nodes = AddressSet.of(*(a for n in inventory.nodes.values() for a in n.addresses))
    api = AddressSet.of(*(a for a, _ in inventory.api_server))
    world = AddressSet.everything() - inventory.pod_ranges - inventory.service_ranges - nodes - api
    return {ExternalKind.WORLD: world, ExternalKind.NODE: nodes, ExternalKind.API_SERVER: api}


def allowed_rows(connectivity: Connectivity, inventory: Inventory, parties: Parties, texts: Texts) -> list[list[int]]:
    """For every party as a source: `[value, run, value, run, …]` over all parties as destinations."""
    pairs = _pairs(connectivity, texts)
    column = [connectivity.index.get(p, -1) if isinstance(p, Workload) else -1 for p in parties.shown]
    outer = _Outer(classes_of(inventory), connectivity, texts)
    rows = []
    for i, party in enumerate(parties.shown):
        if isinstance(party, Workload):
            values = pairs[column[i]] if column[i] >= 0 else []
            row = [
                (values[c] if c >= 0 and values else 0) if isinstance(dst, Workload) else outer.out(column[i], dst)
                for c, dst in zip(column, parties.shown, strict=True)
            ]
            if party.kind == "Pod":
                # A bare pod has no sibling to call.
                row[i] = 0
        else:
            row = [outer.inward(c, party) if c >= 0 else 0 for c in column]
        rows.append(run_lengths(row))
    return rows


def _pairs(connectivity: Connectivity, texts: Texts) -> list[list[int]]:
    sets = connectivity.table.sets
    known: dict[tuple[int, int], int] = {}
    out = []
    for sure, may in zip(connectivity.sure.tolist(), connectivity.may.tolist(), strict=True):
        row = []
        for key in zip(sure, may, strict=True):
            value = known.get(key)
            if value is None:
                value = known[key] = texts.id(sets[key[0]], sets[key[1]])
            row.append(value)
        out.append(row)
    return out


def run_lengths(values: Iterable[int]) -> list[int]:
    """`[value, run, value, run, …]`."""
    out: list[int] = []
    for value in values:
        if out and out[-2] == value:
            out[-1] += 1
        else:
            out += [value, 1]
    return out


class _Outer:
    """Whether ranges admit an address of a class. Workloads without policies share one tuple of ranges."""

    def __init__(self, classes: Mapping[ExternalKind, AddressSet], connectivity: Connectivity, texts: Texts) -> None:
        self._classes = classes
        self._connectivity = connectivity
        self._texts = texts
        self._known: dict[tuple[int, ExternalKind], int] = {}

    def out(self, workload: int, party: Party) -> int:
        return self._value(self._connectivity.outward[workload], party) if workload >= 0 else 0

    def inward(self, workload: int, party: Party) -> int:
        return self._value(self._connectivity.inward[workload], party)

    def _value(self, ranges: Ranges, party: Party) -> int:
        if not isinstance(party, External) or party.kind not in self._classes:
            return 0
        key = (id(ranges), party.kind)
        if key not in self._known:
            self._known[key] = self._texts.id(*self._admitted(ranges, self._classes[party.kind]))
        return self._known[key]

    def _admitted(self, ranges: Ranges, addresses: AddressSet) -> Sets:
        sure = may = ConnectionSet.NONE
        sets = self._connectivity.table.sets
        for part, certain, possible in ranges:
            if part & addresses:
                sure |= sets[certain]
                may |= sets[possible]
        return sure, may


def exceeds(rows: Sequence[Sequence[int]], texts: Texts, seen: Mapping[tuple[int, int], ConnectionSet]) -> list[int]:
    """Cells, as `source * parties + destination`, where something was seen and more than that is allowed."""
    out = []
    wide = [list(unfold(row)) for row in rows]
    for (src, dst), used in sorted(seen.items()):
        _, may = texts.sets[wide[src][dst]]
        if may - used:
            out.append(src * len(rows) + dst)
    return out


def unfold(row: Sequence[int]) -> Iterable[int]:
    """The values of a run-length coded row, one by one."""
    for value, run in zip(row[::2], row[1::2], strict=True):
        yield from (value for _ in range(run))


def used_between(edges: Iterable[Edge], parties: Parties) -> dict[tuple[int, int], ConnectionSet]:
    """What was seen between any two parties, ports of all addresses of a class together."""
    out: dict[tuple[int, int], ConnectionSet] = {}
    for edge in edges:
        cell = (parties.number(edge.src), parties.number(edge.dst))
        out[cell] = out.get(cell, ConnectionSet.NONE) | ConnectionSet.of(edge.protocol, PortSet.of(edge.port))
    return out
