"""A second fold, row by row in plain Python: what stands behind each edge, and into which bucket each record goes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from netpol_gen.flowtable import FIREWALLS, Reason
from netpol_gen.model import (
    UNKNOWN_TIME,
    DirectionEvidence,
    Edge,
    Evidence,
    External,
    ObservedVerdict,
    Protocol,
    Signal,
)
from netpol_gen.resolve import Resolved

HOUR = 3_600_000_000_000
Row = Mapping[str, Any]
Key = tuple[Edge, ObservedVerdict, bool]
"""What a group is for: an edge, the verdict that was observed, and whether it was a firewall's drop."""


def lines(resolved: Resolved, rows: Sequence[Row]) -> Iterator[tuple[Key, int, Row, Any]]:
    """Each line that is evidence: what it is evidence for, the client's end, its row, and the line itself."""
    found = resolved.lines
    for i in range(len(found)):
        if found.reason[i] < 0:
            ends = (resolved.parties[found.src[i]], resolved.parties[found.dst[i]])
            edge = Edge(*ends, tuple(Protocol)[found.protocol[i]], int(found.dst_port[i]))
            row = rows[found.row[i]]
            firewall = row["observed_verdict"] == "dropped" and row["source"] in FIREWALLS
            key = (edge, ObservedVerdict(row["observed_verdict"]), firewall)
            yield key, int(found.src_end[i]), row, found.take([i])


def fold(resolved: Resolved, rows: Sequence[Row]) -> dict[Key, tuple[Evidence, int]]:
    """Evidence and number of clients by edge and verdict."""
    groups = defaultdict(list)
    for key, end, row, line in lines(resolved, rows):
        groups[key].append((end, row, line))
    return {key: (_evidence(key[0], group), len({end for end, _, _ in group})) for key, group in groups.items()}


def _evidence(edge: Edge, group: Sequence[tuple[int, Row, Any]]) -> Evidence:
    rows = [row for _, row, _ in group]
    timed = [row["last_seen"] for row in rows if row["last_seen"] != UNKNOWN_TIME]
    signals = Signal(0)
    for _, row, line in group:
        signals |= _turned(Signal(row["signals"])) if line.flipped[0] else Signal(row["signals"])
    return Evidence(
        sum(row["flows"] for row in rows),
        sum(row["records"] for row in rows),
        sum(row["replies"] for row in rows),
        min(row["first_seen"] for row in rows),
        max(timed, default=UNKNOWN_TIME),
        tuple(DirectionEvidence)[min(int(line.evidence[0]) for _, _, line in group)],
        signals,
        _known(row["bytes"] for row in rows),
        _known(row["packets"] for row in rows),
        tuple(sorted({hour for row in rows for hour in row["hours"] or () if hour < UNKNOWN_TIME // HOUR})),
        tuple(sorted({name for row in rows for name in row["nodes"] or ()})),
        tuple(sorted({name for _, row, line in group for name in _names(edge, row, bool(line.flipped[0]))})),
        tuple(sorted({row["source"] for row in rows if row["source"]})),
        tuple(sorted({row["sample"] for row in rows if row["sample"]})[:3]),
        tuple(sorted({form for _, row, line in group for form in _dialled(edge, row, bool(line.flipped[0]))})),
    )


def _turned(signals: Signal) -> Signal:
    """What the reader took for the client's data was the server's."""
    ends = {Signal.CLIENT_DATA: Signal.SERVER_DATA, Signal.SERVER_DATA: Signal.CLIENT_DATA}
    out = Signal(0)
    for signal in signals:
        out |= ends.get(signal, signal)
    return out


def _known(values: Iterator[int | None]) -> int | None:
    there = [value for value in values if value is not None]
    return sum(there) if there else None


def _names(edge: Edge, row: Row, flipped: bool) -> Sequence[str]:
    end = "dst" if isinstance(edge.dst, External) else "src" if isinstance(edge.src, External) else ""
    if flipped:
        end = {"src": "dst", "dst": "src", "": ""}[end]
    return (row[f"{end}_names"] or ()) if end else ()


def _dialled(edge: Edge, row: Row, flipped: bool) -> Iterator[str]:
    """Backend and Service are those of what the row has second: the client, where it has the server first."""
    ip, port, backend = row["dst_ip"], row["dst_port"], row["backend_ip"]
    if flipped:
        ip, port, backend = row["src_ip"], row["src_port"], None
    elif row["dst_service"]:
        yield row["dst_service"]
    if ip and port and (port != edge.port or (backend and backend != ip)):
        yield f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def buckets(resolved: Resolved, rows: Sequence[Row], reasons: Mapping[Key, Reason | None]) -> Any:
    """Used, replies, duplicates, and records set aside by reason: a row goes where its best line goes."""
    best: dict[int, Reason | None] = {}
    order = [None, *Reason]
    groups = iter(lines(resolved, rows))
    for row, code in zip(resolved.lines.row.tolist(), resolved.lines.reason.tolist(), strict=True):
        if code < 0:
            key, *_ = next(groups)
        reason = tuple(Reason)[code] if code >= 0 else reasons[key]
        best[row] = min(reason, best.get(row, reason), key=order.index)
    used, replies, duplicates, aside = 0, 0, 0, Counter()
    for number, reason in best.items():
        row = rows[number]
        if reason is not None:
            aside[reason] += row["records"]
            continue
        taken = min(row["flows"], row["records"] - row["replies"])
        used, replies = used + taken, replies + row["replies"]
        duplicates += row["records"] - row["replies"] - taken
    return used, replies, duplicates, dict(aside)
