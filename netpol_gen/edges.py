"""Edges: client workload to server workload or external class, protocol and backend port, with their evidence.

Data frames stop here. `find_edges` closes the ledger: every record of the flow table is evidence for an accepted edge,
a duplicate, an answer, or set aside under one reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from netpol_gen.accept import Verdicts, judge_groups
from netpol_gen.codes import distinct, numbers, picked
from netpol_gen.config import Config
from netpol_gen.evidence import Folded, fold, fold_left_out
from netpol_gen.flowtable import Flows, Ledger, Reason
from netpol_gen.inventory import Inventory
from netpol_gen.lines import REASON_CODE, reason_at
from netpol_gen.memory import keep_freed, no_collection
from netpol_gen.model import UNKNOWN_TIME, Edge, Evidence, ObservedVerdict, Party, Signal, Workload
from netpol_gen.resolve import resolve

if TYPE_CHECKING:
    import pandas as pd

    from netpol_gen.resolve import Resolved

ACCEPTED = "accepted"


class Observation(NamedTuple):
    """An edge as observed under one verdict; `reason` is why it is not accepted, `None` if it is."""

    edge: Edge
    verdict: ObservedVerdict
    evidence: Evidence
    reason: Reason | None

    @property
    def status(self) -> str:
        """`accepted` or the reason."""
        return ACCEPTED if self.reason is None else str(self.reason)


@dataclass(frozen=True, slots=True)
class Edges:
    """Everything that was observed, in total order, with the closed ledger and the inventory it was resolved against.

    `inventory` also has the pods that only the flows named.
    """

    observations: tuple[Observation, ...]
    ledger: Ledger
    inventory: Inventory
    sources: Mapping[str, int]
    notes: tuple[str, ...] = ()
    """What a user has to know about the input, as sentences."""
    left_out: tuple[Observation, ...] = ()
    """Rows that came to no edge between known parties, with the reason; only if they were asked for."""

    @property
    def accepted(self) -> dict[Edge, Evidence]:
        """Accepted edges; an edge accepted under two verdicts (forwarded and audit) has its evidence joined."""
        out: dict[Edge, Evidence] = {}
        for seen in self.observations:
            if seen.reason is None:
                old = out.setdefault(seen.edge, seen.evidence)
                if old is not seen.evidence:
                    out[seen.edge] = join(old, seen.evidence)
        return out

    @property
    def denied(self) -> dict[Edge, Evidence]:
        """What policies deny today: reported, never added."""
        return {o.edge: o.evidence for o in self.observations if o.reason is Reason.DENIED}

    def set_aside(self, *reasons: Reason) -> tuple[Observation, ...]:
        """Observations set aside, for the given reasons or for any."""
        return tuple(o for o in self.observations if o.reason is not None and (not reasons or o.reason in reasons))

    @property
    def everything(self) -> tuple[Observation, ...]:
        """Observations and what was left out, in order."""
        if not self.left_out:
            return self.observations
        order = sorted((*self.observations, *self.left_out), key=lambda o: (o.edge.key, o.verdict, o.status))
        return tuple(order)

    def to_frame(self) -> pd.DataFrame:
        """One line per observation, left out or not, columns as in `COLUMNS`, Arrow-backed dtypes."""
        import pandas as pd  # noqa: PLC0415 - half a second that `--help` must not pay

        frame = pd.DataFrame([cells(o) for o in self.everything], columns=list(COLUMNS))
        for name in ("first_seen", "last_seen"):
            frame[name] = pd.to_datetime(frame[name].astype("int64[pyarrow]"), unit="ns", utc=True)
        return frame.astype(COLUMNS)


COLUMNS: Mapping[str, str] = {
    "status": "string[pyarrow]",
    "src_kind": "string[pyarrow]",
    "src_namespace": "string[pyarrow]",
    "src_name": "string[pyarrow]",
    "dst_kind": "string[pyarrow]",
    "dst_namespace": "string[pyarrow]",
    "dst_name": "string[pyarrow]",
    "protocol": "string[pyarrow]",
    "port": "int32[pyarrow]",
    "observed_verdict": "string[pyarrow]",
    "flows": "int64[pyarrow]",
    "records": "int64[pyarrow]",
    "replies": "int64[pyarrow]",
    "bytes": "int64[pyarrow]",
    "packets": "int64[pyarrow]",
    "first_seen": "timestamp[ns, tz=UTC][pyarrow]",
    "last_seen": "timestamp[ns, tz=UTC][pyarrow]",
    "days": "int32[pyarrow]",
    "direction": "string[pyarrow]",
    "strength": "string[pyarrow]",
    "names": "string[pyarrow]",
    "dialled": "string[pyarrow]",
    "nodes": "string[pyarrow]",
    "sources": "string[pyarrow]",
    "sample": "string[pyarrow]",
}
"""Columns of the edge table and their pandas dtypes.

`src_*`/`dst_*`: a workload's kind, namespace and name, or an external's kind and, as name, its address (null when
hidden). `status` is `accepted` or the reason it was set aside. Lists (`names`, `dialled`, `nodes`, `sources`, `sample`)
are joined by one space. `days` counts distinct UTC days. `direction` is the strongest `DirectionEvidence`.
"""


@no_collection()
def find_edges(flows: Flows, inventory: Inventory, config: Config | None = None, *, left_out: bool = False) -> Edges:
    """Resolve, orient, group and judge every row of `flows`.

    `left_out` asks for what came to no edge, too: there may be much of it.

    Raises:
        InvariantError: the ledger does not close.

    """
    config = config or Config()
    keep_freed()
    resolved = resolve(flows, inventory, config)
    folded = fold(resolved, flows.columns)
    reasons = judge_groups(folded.groups, folded.edge_of, resolved.inventory, config)
    ledger = Ledger()
    ledger.merge(flows.ledger)
    _settle(ledger, flows, resolved, folded, reasons)
    ledger.close()
    # Groups come in the order of edges and verdicts.
    seen = tuple(
        Observation(g.edge, g.verdict, g.evidence, reason) for g, reason in zip(folded.groups, reasons, strict=True)
    )
    rest = fold_left_out(resolved, flows.columns) if left_out else ()
    others = tuple(Observation(g.edge, g.verdict, g.evidence, reason) for g, reason in rest)
    return Edges(seen, ledger, resolved.inventory, flows.sources, flows.notes, others)


def _settle(ledger: Ledger, flows: Flows, resolved: Resolved, folded: Folded, reasons: Verdicts) -> None:
    """Put the records of every table row into one bucket: that of its best line."""
    of_group = np.array([-1 if r is None else REASON_CODE[r] for r in reasons], dtype=np.int64)
    of_line = resolved.lines.reason.copy()
    grouped = folded.group_of_line >= 0
    of_line[grouped] = of_group[folded.group_of_line[grouped]]
    best = np.full(flows.table.num_rows, len(REASON_CODE), dtype=np.int64)
    np.minimum.at(best, resolved.lines.row, of_line)
    taken = best < 0
    connections, records, replies = (numbers(flows.table.column(c)) for c in ("flows", "records", "replies"))
    # Row by row, as `Ledger.settle` counts it, so that no row makes up for another.
    used = np.minimum(connections, records - replies)[taken].sum()
    ledger.settle(flows=int(used), records=int(records[taken].sum()), replies=int(replies[taken].sum()))
    samples = flows.table.column("sample")
    for code in distinct(best[~taken]).tolist():
        rows = np.flatnonzero(best == code)
        ledger.aside_all(reason_at(code), int(records[rows].sum()), picked(samples, rows))


def join(a: Evidence, b: Evidence) -> Evidence:
    """Evidence for one edge from two groups."""
    return Evidence(
        a.flows + b.flows,
        a.records + b.records,
        a.replies + b.replies,
        min(a.first_seen, b.first_seen),
        max((t for t in (a.last_seen, b.last_seen) if t != UNKNOWN_TIME), default=UNKNOWN_TIME),
        min(a.direction, b.direction, key=lambda d: d.rank),
        Signal(a.signals | b.signals),
        _add(a.bytes, b.bytes),
        _add(a.packets, b.packets),
        tuple(sorted({*a.hours, *b.hours})),
        tuple(sorted({*a.nodes, *b.nodes})),
        tuple(sorted({*a.names, *b.names})),
        tuple(sorted({*a.sources, *b.sources})),
        tuple(sorted({*a.samples, *b.samples})[:3]),
        tuple(sorted({*a.vips, *b.vips})),
    )


def _add(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else a + b


def party_cells(party: Party) -> tuple[str, str | None, str | None]:
    """Kind, namespace and name, as in the edge table."""
    if isinstance(party, Workload):
        return party.kind, party.namespace, party.name
    return str(party.kind), None, party.address or None


def cells(o: Observation) -> tuple[object, ...]:
    """The values of `COLUMNS` for one observation; times as nanoseconds since the epoch, `None` unknown."""
    e = o.evidence
    return (
        o.status,
        *party_cells(o.edge.src),
        *party_cells(o.edge.dst),
        str(o.edge.protocol),
        o.edge.port,
        str(o.verdict),
        e.flows,
        e.records,
        e.replies,
        e.bytes,
        e.packets,
        e.first_seen if e.timed else None,
        e.last_seen if e.timed else None,
        e.days,
        str(e.direction),
        "strong" if e.strong else "weak",
        *(" ".join(items) or None for items in (e.names, e.vips, e.nodes, e.sources, e.samples)),
    )
