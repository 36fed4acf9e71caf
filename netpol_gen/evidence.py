"""Folding resolved lines into one group per (client, server, protocol, port, observed verdict, whose drop it was).

Sums and sets are made of columns; Python values are made per group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from netpol_gen.codes import (
    Columns,
    chosen,
    coded,
    distinct,
    gathered,
    known,
    lists,
    numbered,
    numbers,
    occurring,
    plain,
    ranked,
    sets,
    texts,
)
from netpol_gen.direction import evidence_at
from netpol_gen.flowtable import FIREWALLS, Reason
from netpol_gen.lines import Lines, reason_at
from netpol_gen.model import (
    UNKNOWN_TIME,
    Edge,
    Evidence,
    External,
    ExternalKind,
    ObservedVerdict,
    Party,
    Protocol,
    Signal,
    party_key,
)
from netpol_gen.smallest import smallest

if TYPE_CHECKING:
    import pyarrow as pa

    from netpol_gen.resolve import Resolved

_PROTOCOLS = tuple(Protocol)
_VERDICTS = tuple(sorted(ObservedVerdict))
_VERDICT = {str(verdict): code for code, verdict in enumerate(_VERDICTS)}
_BY_FIREWALL = dict.fromkeys(FIREWALLS, 1)
_MAX_SAMPLES = 3
_HOUR = 3_600_000_000_000
_MAX_LISTED = 100
"""How many names, nodes or dialled forms an edge keeps; counts stay exact."""


class Group(NamedTuple):
    """An edge with one observed verdict. `clients` counts distinct client addresses or pods.

    `firewall`: the verdict is a drop by the network's own firewall (`flowtable.FIREWALLS`), which no policy decides.
    """

    edge: Edge
    verdict: ObservedVerdict
    evidence: Evidence
    clients: int
    firewall: bool = False


@dataclass(frozen=True, slots=True)
class Folded:
    """Groups in order of edge and verdict, and for every line of `Resolved` its group (-1 for lines with a reason).

    `edge_of` numbers the edge of each group: edges themselves are slow to compare.
    """

    groups: tuple[Group, ...]
    edge_of: list[int]
    group_of_line: np.ndarray


def fold(resolved: Resolved, columns: Columns) -> Folded:
    """Group the lines that have no reason to be set aside."""
    group_of_line = np.full(len(resolved.lines), -1, dtype=np.int64)
    good = np.flatnonzero(resolved.lines.reason < 0)
    if not len(good):
        return Folded((), [], group_of_line)
    lines = resolved.lines.take(good) if len(good) < len(resolved.lines) else resolved.lines
    groups, group_of_line[good], edge_of = _grouped(lines, resolved.parties, columns)
    return Folded(groups, edge_of, group_of_line)


def fold_left_out(resolved: Resolved, columns: Columns) -> tuple[tuple[Group, Reason], ...]:
    """Group the lines that have a reason, by that reason, in order of edge, verdict and reason.

    An end whose holder cannot be told is *unknown*, at the address that the source has. Lines without a port, or of a
    protocol that no policy can name, are no edge.
    """
    found = resolved.lines
    listed = (found.reason >= 0) & (found.dst_port > 0) & (found.protocol < len(_PROTOCOLS))
    out: list[tuple[Group, Reason]] = []
    for code in distinct(found.reason[listed]).tolist():
        lines = found.take(np.flatnonzero(listed & (found.reason == code)))
        parties = _with_holders(lines, resolved.parties, columns)
        groups, _, _ = _grouped(lines, parties, columns)
        out += [(group, reason_at(code)) for group in groups]
    return tuple(sorted(out, key=lambda each: (each[0].edge.key, each[0].verdict, each[1])))


def _with_holders(lines: Lines, parties: tuple[Party, ...], columns: Columns) -> tuple[Party, ...]:
    """The parties and, beyond them, one for each address that has none; lines get the codes of these."""
    made: dict[str, int] = {}
    given = columns.texts("src_ip", "dst_ip", "backend_ip")
    client, dialled, backend = np.split(given.codes, 3)
    server = np.where(given.there().reshape(3, -1)[2], backend, dialled)
    for codes, first in ((lines.src, True), (lines.dst, False)):
        for at in np.flatnonzero(codes < 0).tolist():
            row = lines.row[at]
            code = client[row] if bool(lines.flipped[at]) != first else server[row]
            address = given.values[code] if code >= 0 else ""
            codes[at] = made.setdefault(address, len(parties) + len(made))
    return (*parties, *(External(ExternalKind.UNKNOWN, address) for address in made))


def _grouped(
    lines: Lines, parties: Sequence[Party], columns: Columns
) -> tuple[tuple[Group, ...], np.ndarray, list[int]]:
    """Groups in order of edge and verdict, the group of each line, and a number for the edge of each group."""
    rank = _ranks(parties, lines)
    verdict = columns.texts("observed_verdict").mapped(_VERDICT, _VERDICT[ObservedVerdict.UNKNOWN])[lines.row]
    protocol = np.argsort(np.argsort([str(p) for p in _PROTOCOLS]))[lines.protocol]
    by_firewall = columns.texts("source").mapped(_BY_FIREWALL, 0)[lines.row]
    by_firewall = np.where(verdict == _VERDICT[ObservedVerdict.DROPPED], by_firewall, 0)
    keys = (rank[lines.src], rank[lines.dst], protocol, lines.dst_port, verdict, by_firewall)
    example, group = numbered(*keys)
    ends = int(lines.src_end.max()) + 1
    clients = distinct(group * ends + lines.src_end) // ends
    counts = np.bincount(clients, minlength=len(example))
    said = (lines.src, lines.dst, lines.protocol, lines.dst_port, verdict, by_firewall)
    found = zip(
        *(column[example].tolist() for column in said),
        _Parts(lines, group, example, columns).evidence(parties),
        counts.tolist(),
        strict=True,
    )
    groups = tuple(
        Group(
            Edge(parties[src], parties[dst], _PROTOCOLS[protocol], port),
            _VERDICTS[verdict],
            evidence,
            count,
            bool(firewall),
        )
        for src, dst, protocol, port, verdict, firewall, evidence, count in found
    )
    _, edge_of = numbered(*(key[example] for key in keys[:4]))
    return groups, group, edge_of.tolist()


def _ranks(parties: Sequence[Party], lines: Lines) -> np.ndarray:
    """By code the place of a party in the order of all that take part; equal parties have one."""
    used = occurring(np.concatenate([lines.src, lines.dst]), len(parties)).tolist()
    order = sorted({party_key(parties[code]) for code in used})
    place = {key: i for i, key in enumerate(order)}
    out = np.zeros(len(parties), dtype=np.int64)
    out[used] = [place[party_key(parties[code])] for code in used]
    return out


class _Parts:
    """The columns that an `Evidence` is made of, reduced by group. `example` is a line of each group."""

    def __init__(self, lines: Lines, group: np.ndarray, example: np.ndarray, columns: Columns) -> None:
        self._lines, self._group, self._example = lines, group, example
        self._columns, self._table = columns, columns.table
        self._row, self._count = lines.row, len(example)

    def _column(self, name: str) -> np.ndarray:
        result: np.ndarray = numbers(self._table.column(name))[self._row]
        return result

    def _sum(self, name: str) -> list[int]:
        out: list[int] = self._reduced(np.add, self._column(name), 0).tolist()
        return out

    def _optional_sum(self, name: str) -> list[int | None]:
        there = known(self._table.column(name))
        if there.all():
            return [*self._sum(name)]
        any_known = np.zeros(self._count, dtype=bool)
        any_known[self._group[there[self._row]]] = True
        return [v if k else None for v, k in zip(self._sum(name), any_known.tolist(), strict=True)]

    def _reduced(self, ufunc: np.ufunc, values: np.ndarray, start: int) -> np.ndarray:
        out = np.full(self._count, start, dtype=np.int64)
        ufunc.at(out, self._group, values)
        return out

    def _signals(self) -> list[Signal]:
        """Where a row was turned round, what its reader took for the client's data was the server's."""
        values = self._column("signals")
        client, server = int(Signal.CLIENT_DATA), int(Signal.SERVER_DATA)
        turned = values & ~(client | server)
        turned |= np.where(values & client, server, 0) | np.where(values & server, client, 0)
        bits = self._reduced(np.bitwise_or, np.where(self._lines.flipped, turned, values), 0).tolist()
        made = {value: Signal(value) for value in set(bits)}
        return [made[value] for value in bits]

    def _hours(self) -> list[tuple[int, ...]]:
        column = lists(self._table.column("hours"))
        owner, at = column.of(self._row)
        hours = np.concatenate([np.empty(0, np.int64), *map(plain, column.items)])[at]
        timed = hours < UNKNOWN_TIME // _HOUR
        group, hours = self._group[owner[timed]], hours[timed]
        first, last = (int(hours.min()), int(hours.max())) if len(hours) else (0, -1)
        if last - first <= len(hours):
            return sets(group, hours - first, self._count, [*range(first, last + 1)])
        # A table that somebody else made may have any numbers.
        each, which = ranked(hours)
        return sets(group, which, self._count, each.tolist())

    def _names(self, parties: Sequence[Party]) -> list[tuple[str, ...]]:
        """DNS names of the external end, which flipping may have moved to the other side of the row."""
        external = np.array([isinstance(party, External) for party in parties], dtype=bool)
        flipped, src, dst = self._lines.flipped, external[self._lines.src], external[self._lines.dst]
        at_dst = np.where(flipped, src & ~dst, dst)
        groups, at, items, base = [], [], [], 0
        for end, where in (("dst", at_dst), ("src", (src | dst) & ~at_dst)):
            column, chosen = lists(self._table.column(f"{end}_names")), np.flatnonzero(where)
            owner, place = column.of(self._row[chosen])
            groups.append(self._group[chosen[owner]])
            at.append(place + base)
            items += column.items
            base += sum(map(len, column.items))
        return self._gathered(np.concatenate(groups), np.concatenate(at), items, _MAX_LISTED)

    def _nodes(self) -> list[tuple[str, ...]]:
        column = lists(self._table.column("nodes"))
        owner, at = column.of(self._row)
        return self._gathered(self._group[owner], at, column.items, _MAX_LISTED)

    def _gathered(self, group: np.ndarray, at: np.ndarray, items: list[pa.Array], limit: int) -> list[tuple[str, ...]]:
        if not len(at):
            return [()] * self._count
        found = coded(items)
        return gathered(group, found.codes[at], found.values, self._count, limit)

    def _sources(self) -> list[tuple[str, ...]]:
        found = self._columns.texts("source")
        if len(found.values) == 1 and found.there().all():
            return [tuple(found.values)] * self._count
        codes, said = found.codes[self._row], np.flatnonzero(found.there()[self._row])
        return gathered(self._group[said], codes[said], found.values, self._count, _MAX_LISTED)

    def _dialled(self) -> list[tuple[str, ...]]:
        """How clients addressed the server, where that is not its own address and port."""
        # What was dialled is the server's end of the row: its first one where the row was turned round.
        row, turned = self._row, self._lines.flipped
        port = np.where(turned, self._column("src_port"), self._column("dst_port"))
        behind = self._table.column("backend_ip")
        hidden = known(behind)[row] & ~turned
        # Mostly none: addresses are told apart only where another port or a backend was seen.
        maybe = np.flatnonzero(((port != self._lines.dst_port) | hidden) & (port != 0))
        moved = port[maybe] != self._lines.dst_port[maybe]
        ends = (self._table.column("src_ip"), self._table.column("dst_ip"), behind)
        both = texts(*(chosen(column, row[maybe]) for column in ends))
        said, codes = both.there().reshape(3, -1), both.codes.reshape(3, -1)
        ip, there = (np.where(turned[maybe], of[0], of[1]) for of in (codes, said))
        some = np.flatnonzero(there & (moved | (hidden[maybe] & said[2] & (codes[2] != ip))))
        at, ip, port = maybe[some], ip[some], port[maybe[some]]
        example, form = numbered(ip, port)
        forms = [
            f"[{address}]:{number}" if ":" in (address := both.values[code]) else f"{address}:{number}"
            for code, number in zip(ip[example].tolist(), port[example].tolist(), strict=True)
        ]
        service = self._columns.texts("dst_service")
        named = np.flatnonzero(service.there()[row] & ~turned)
        group = np.concatenate([self._group[at], self._group[named]])
        codes = np.concatenate([form, service.codes[row][named] + len(forms)])
        return gathered(group, codes, [*forms, *service.values], self._count, _MAX_LISTED)

    def _last(self) -> list[int]:
        """A record without a time says nothing of the last one; without any time, there is none."""
        times = self._column("last_seen")
        times[times == UNKNOWN_TIME] = -1
        last = self._reduced(np.maximum, times, -1)
        last[last < 0] = UNKNOWN_TIME
        out: list[int] = last.tolist()
        return out

    def evidence(self, parties: Sequence[Party]) -> list[Evidence]:
        """One `Evidence` per group."""
        most = np.iinfo(np.int64).max
        ranks = self._reduced(np.minimum, self._lines.evidence, most).tolist()
        return list(
            map(
                Evidence,
                self._sum("flows"),
                self._sum("records"),
                self._sum("replies"),
                self._reduced(np.minimum, self._column("first_seen"), most).tolist(),
                self._last(),
                [evidence_at(rank) for rank in ranks],
                self._signals(),
                self._optional_sum("bytes"),
                self._optional_sum("packets"),
                self._hours(),
                self._nodes(),
                self._names(parties),
                self._sources(),
                smallest(self._table.column("sample"), self._row, self._group, self._count, _MAX_SAMPLES),
                self._dialled(),
            )
        )
