"""Folding resolved lines into one group per (client, server, protocol, port, observed verdict)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from netpol_gen.direction import evidence_at
from netpol_gen.model import UNKNOWN_TIME, Edge, Evidence, External, ObservedVerdict, Party, Protocol, Signal

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from netpol_gen.resolve import Resolved

_PROTOCOLS = tuple(Protocol)
_VERDICTS = tuple(ObservedVerdict)
_MAX_SAMPLES = 3
_HOUR = 3_600_000_000_000
_MAX_LISTED = 100
"""How many names, nodes or dialled forms an edge keeps; counts stay exact."""


@dataclass(frozen=True, slots=True)
class Group:
    """An edge with one observed verdict. `clients` counts distinct client addresses or pods."""

    edge: Edge
    verdict: ObservedVerdict
    evidence: Evidence
    clients: int


@dataclass(frozen=True, slots=True)
class Folded:
    """Groups, and for every line of `Resolved.rows` its group (-1 for lines with a reason)."""

    groups: tuple[Group, ...]
    group_of_line: np.ndarray


def fold(resolved: Resolved, table: pa.Table) -> Folded:
    """Group the lines that have no reason to be set aside."""
    lines = resolved.rows
    group_of_line = np.full(len(lines), -1, dtype=np.int64)
    good = np.flatnonzero(lines["reason"].to_numpy() < 0)
    if not len(good):
        return Folded((), group_of_line)
    row = lines["row"].to_numpy()[good]
    verdict = np.array([_VERDICTS.index(ObservedVerdict(v)) for v in table.column("observed_verdict").to_pylist()])[row]
    keys = np.stack([*(lines[c].to_numpy()[good] for c in ("src", "dst", "protocol", "port")), verdict], axis=1)
    distinct, group = np.unique(keys, axis=0, return_inverse=True)
    group = group.reshape(-1)
    group_of_line[good] = group
    parts = _Parts(lines.iloc[good], row, group, len(distinct), table)
    evidence = parts.evidence(resolved.parties, distinct)
    clients = np.bincount(np.unique(np.stack([group, parts.src_end], axis=1), axis=0)[:, 0], minlength=len(distinct))
    groups = tuple(
        Group(
            Edge(resolved.parties[src], resolved.parties[dst], _PROTOCOLS[protocol], int(port)),
            _VERDICTS[verdict],
            evidence[i],
            int(clients[i]),
        )
        for i, (src, dst, protocol, port, verdict) in enumerate(distinct.tolist())
    )
    return Folded(groups, group_of_line)


class _Parts:
    """The columns that an `Evidence` is made of, reduced by group."""

    def __init__(self, lines: pd.DataFrame, row: np.ndarray, group: np.ndarray, count: int, table: pa.Table) -> None:
        self._lines, self._row, self._group, self._count, self._table = lines, row, group, count, table
        self.src_end = lines["src_end"].to_numpy()

    def _column(self, name: str) -> np.ndarray:
        column = self._table.column(name)
        if name in ("first_seen", "last_seen"):
            column = column.cast("int64")
        values: np.ndarray = column.fill_null(0).to_numpy(zero_copy_only=False)[self._row]
        return values

    def _sum(self, name: str) -> np.ndarray:
        out = np.zeros(self._count, dtype=np.int64)
        np.add.at(out, self._group, self._column(name).astype(np.int64))
        return out

    def _optional_sum(self, name: str) -> list[int | None]:
        known = self._table.column(name).is_valid().to_numpy(zero_copy_only=False)[self._row]
        any_known = np.zeros(self._count, dtype=bool)
        np.logical_or.at(any_known, self._group, known)
        return [int(v) if k else None for v, k in zip(self._sum(name), any_known, strict=True)]

    def _extreme(self, ufunc: np.ufunc, values: np.ndarray, start: int) -> np.ndarray:
        out = np.full(self._count, start, dtype=np.int64)
        ufunc.at(out, self._group, values.astype(np.int64))
        return out

    def _sets(self, values: Sequence[Sequence[str] | None], limit: int) -> list[tuple[str, ...]]:
        out: list[set[str]] = [set() for _ in range(self._count)]
        for group, items in zip(self._group.tolist(), values, strict=True):
            if items:
                out[group].update(items)
        return [tuple(sorted(s)[:limit]) for s in out]

    def _signals(self) -> np.ndarray:
        """Where a row was turned round, what its reader took for the client's data was the server's."""
        values = self._column("signals").astype(np.int64)
        client, server = int(Signal.CLIENT_DATA), int(Signal.SERVER_DATA)
        turned = values & ~(client | server)
        turned |= np.where(values & client, server, 0) | np.where(values & server, client, 0)
        result: np.ndarray = np.where(self._lines["flipped"].to_numpy(), turned, values)
        return result

    def _hours(self) -> list[tuple[int, ...]]:
        import pyarrow as pa  # noqa: PLC0415 - not needed to import this module
        import pyarrow.compute as pc  # noqa: PLC0415

        taken = self._table.column("hours").take(pa.array(self._row)).combine_chunks()
        parent = pc.list_parent_indices(taken).to_numpy()
        flat = pc.list_flatten(taken).to_numpy().astype(np.int64)
        timed = flat < UNKNOWN_TIME // _HOUR
        parent, flat = parent[timed], flat[timed]
        pairs = np.unique(np.stack([self._group[parent], flat], axis=1), axis=0)
        starts = np.searchsorted(pairs[:, 0], np.arange(self._count + 1))
        hours = pairs[:, 1].tolist()
        return [tuple(hours[a:b]) for a, b in pairwise(starts.tolist())]

    def _names(self, parties: Sequence[Party], keys: np.ndarray) -> list[tuple[str, ...]]:
        """DNS names of the external end, which flipping may have moved to the other side of the row."""
        by_end = {end: self._table.column(f"{end}_names").to_pylist() for end in ("src", "dst")}
        flipped = self._lines["flipped"].to_numpy().tolist()
        outside = [
            "dst" if isinstance(parties[dst], External) else "src" if isinstance(parties[src], External) else ""
            for src, dst in keys[:, :2].tolist()
        ]
        other = {"src": "dst", "dst": "src", "": ""}
        values: list[list[str] | None] = []
        for group, row, flip in zip(self._group.tolist(), self._row.tolist(), flipped, strict=True):
            end = other[outside[group]] if flip else outside[group]
            values.append(by_end[end][row] if end else None)
        return self._sets(values, _MAX_LISTED)

    def _dialled(self, keys: np.ndarray) -> list[tuple[str, ...]]:
        """How clients addressed the server, where that is not its own address and port."""
        service = self._table.column("dst_service").to_pylist()
        ip, port = self._table.column("dst_ip").to_pylist(), self._table.column("dst_port").to_pylist()
        backend = self._table.column("backend_ip").to_pylist()
        values: list[list[str] | None] = []
        for group, row in zip(self._group.tolist(), self._row.tolist(), strict=True):
            forms = [service[row]] if service[row] else []
            if ip[row] and (port[row] != keys[group, 3] or (backend[row] and backend[row] != ip[row])) and port[row]:
                forms.append(f"[{ip[row]}]:{port[row]}" if ":" in ip[row] else f"{ip[row]}:{port[row]}")
            values.append(forms)
        return self._sets(values, _MAX_LISTED)

    def _single(self, name: str, limit: int) -> list[tuple[str, ...]]:
        column = self._table.column(name).to_pylist()
        return self._sets([[column[r]] if column[r] else None for r in self._row.tolist()], limit)

    def evidence(self, parties: Sequence[Party], keys: np.ndarray) -> list[Evidence]:
        """One `Evidence` per group."""
        flows, records, replies = self._sum("flows"), self._sum("records"), self._sum("replies")
        first = self._extreme(np.minimum, self._column("first_seen"), np.iinfo(np.int64).max)
        # A record without a time says nothing of the last one; without any time, there is none.
        known = self._column("last_seen").astype(np.int64)
        known[known == UNKNOWN_TIME] = -1
        last = self._extreme(np.maximum, known, -1)
        last[last < 0] = UNKNOWN_TIME
        rank = self._extreme(np.minimum, self._lines["evidence"].to_numpy(), np.iinfo(np.int64).max)
        signals = self._extreme(np.bitwise_or, self._signals(), 0)
        nodes = self._table.column("nodes").to_pylist()
        octets, packets, hours = self._optional_sum("bytes"), self._optional_sum("packets"), self._hours()
        node_sets = self._sets([nodes[r] for r in self._row.tolist()], _MAX_LISTED)
        names, vips = self._names(parties, keys), self._dialled(keys)
        sources, samples = self._single("source", _MAX_LISTED), self._single("sample", _MAX_SAMPLES)
        return [
            Evidence(
                int(flows[i]),
                int(records[i]),
                int(replies[i]),
                int(first[i]),
                int(last[i]),
                evidence_at(int(rank[i])),
                Signal(int(signals[i])),
                octets[i],
                packets[i],
                hours[i],
                node_sets[i],
                names[i],
                sources[i],
                samples[i],
                vips[i],
            )
            for i in range(self._count)
        ]
