"""Edges as text, Markdown, CSV and JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from netpol_gen.edges import COLUMNS, Observation, cells
from netpol_gen.report.evidence import observation_dict, timestamp
from netpol_gen.report.text import csv_text, markdown_table, table

_SHORT = ("client", "server", "protocol", "port", "flows", "last seen", "direction", "status")


def render_edges(observations: Iterable[Observation], form: str) -> str:
    """`text`, `md`, `csv` (the columns of `netpol_gen.edges.COLUMNS`) or `json` (one object per line)."""
    if form == "json":
        return "".join(json.dumps(observation_dict(o), ensure_ascii=True) + "\n" for o in observations)
    if form == "csv":
        times = [i for i, name in enumerate(COLUMNS) if name in ("first_seen", "last_seen")]
        return csv_text(list(COLUMNS), (_with_times(cells(o), times) for o in observations))
    rows = [_short(o) for o in observations]
    return markdown_table(_SHORT, rows) if form == "md" else table(_SHORT, rows)


def _with_times(line: tuple[Any, ...], times: list[int]) -> list[Any]:
    return [timestamp(value) if i in times and value is not None else value for i, value in enumerate(line)]


def _short(o: Observation) -> tuple[object, ...]:
    e = o.evidence
    direction = str(e.direction) if e.strong else f"{e.direction} (weak)"
    seen = timestamp(e.last_seen)[:19] if e.timed else "not told"
    return (str(o.edge.src), str(o.edge.dst), str(o.edge.protocol), o.edge.port, e.flows, seen, direction, o.status)
