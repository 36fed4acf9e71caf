"""What `ports` and peers of one rule give, and the union of many rules, for every possible peer at once."""

from __future__ import annotations

from collections.abc import Iterable

from netpol_gen.evaluate.bits import Bits, Cells
from netpol_gen.evaluate.match import PodView, named_ports
from netpol_gen.evaluate.table import ALL_ID, NONE_ID, ConnectionTable
from netpol_gen.evaluate.universe import NOBODY, Answer, Universe
from netpol_gen.model import Direction, Protocol
from netpol_gen.policy import ALL, All, PolicyPort
from netpol_gen.sets import ALL_PORTS, ConnectionSet, PortSet

Ids = tuple[int, int]
"""What passes for certain and what may pass, as numbers of a connection table."""
Clause = tuple[Answer, Ids]
"""These peers get these connections."""
Row = Cells[Ids]


class PortReader:
    """Turns `ports` into connection sets; names are looked up on the destination."""

    def __init__(self, universe: Universe, table: ConnectionTable) -> None:
        self._universe = universe
        self._table = table

    def clauses(
        self, ports: tuple[PolicyPort, ...] | All, direction: Direction, subject: PodView, who: Answer, *, names: bool
    ) -> list[Clause]:
        """The clauses that `ports` make of the peers `who`. `names` is False where port names cannot match."""
        if ports is ALL:
            return [(who, (ALL_ID, ALL_ID))]
        numbered = ConnectionSet.NONE
        out: list[Clause] = []
        perhaps = ConnectionSet.NONE
        for entry in ports:
            if not isinstance(entry.port, str):
                numbered |= ConnectionSet.of(entry.protocol, _numbers(entry))
            elif not names:
                continue
            elif direction is Direction.EGRESS:
                out += self._named_on_peers(entry.port, entry.protocol, who)
            elif subject.ports_known:
                numbered |= ConnectionSet.of(entry.protocol, named_ports(entry.port, entry.protocol, subject.ports))
            else:
                perhaps |= ConnectionSet.of(entry.protocol, ALL_PORTS)
        if numbered or perhaps:
            out.append((who, (self._table.id(numbered), self._table.id(numbered | perhaps))))
        return out

    def _named_on_peers(self, name: str, protocol: Protocol, who: Answer) -> list[Clause]:
        resolved, silent = self._universe.named(name, protocol)
        sure, may = who
        out: list[Clause] = []
        for ports, bits in resolved:
            number = self._table.id(ConnectionSet.of(protocol, ports))
            out.append(((sure & bits, may & bits), (number, number)))
        if may & silent:
            everything = self._table.id(ConnectionSet.of(protocol, ALL_PORTS))
            out.append(((sure & silent, may & silent), (NONE_ID, everything)))
        return out


def _numbers(entry: PolicyPort) -> PortSet:
    if isinstance(entry.port, int):
        return PortSet.of((entry.port, entry.end_port or entry.port))
    return ALL_PORTS


def cells_of(clauses: Iterable[Clause], everybody: Bits, table: ConnectionTable) -> Row:
    """The union of clauses: each peer gets what any of them gives it."""
    together: dict[Ids, Answer] = {}
    for (sure, may), ids in clauses:
        if may:
            s, m = together.get(ids, NOBODY)
            together[ids] = (s | sure, m | may)
    cells: Row = [(everybody, (NONE_ID, NONE_ID))]
    for (given, perhaps), (sure, may) in together.items():
        split: Row = []
        for bits, (s, m) in cells:
            certain, doubtful, rest = bits & sure, bits & may & ~sure, bits & ~may
            if certain:
                split.append((certain, (table.union(s, given), table.union(m, perhaps))))
            if doubtful:
                split.append((doubtful, (s, table.union(m, perhaps))))
            if rest:
                split.append((rest, (s, m)))
        cells = merged(split)
    return cells


def merged(cells: Row) -> Row:
    """Cells of equal value as one, in the order in which their values first appear."""
    out: dict[Ids, Bits] = {}
    for bits, value in cells:
        out[value] = out.get(value, 0) | bits
    return [(bits, value) for value, bits in out.items()]
