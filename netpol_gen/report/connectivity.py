"""What policies allow, as text, CSV, JSON, Markdown and DOT."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from netpol_gen.connectivity import Connectivity, Exposed, Row
from netpol_gen.errors import printable
from netpol_gen.model import Direction
from netpol_gen.report.text import count, csv_text, markdown_table, table
from netpol_gen.sets import ConnectionSet

HEAD = ("src", "dst", "connections")
EXPOSURE_HEAD = ("workload", "direction", "peer", "connections", "fits today")
WIDE = 10_000
"""A connection set is never cut short: half a list of ports is wrong."""


def ports_json(connections: ConnectionSet) -> dict[str, list[list[int]]]:
    """`{"TCP": [[80, 80], [8000, 8010]]}`, inclusive; protocols without ports are left out."""
    sides = (("TCP", connections.tcp), ("UDP", connections.udp), ("SCTP", connections.sctp))
    return {name: [list(pair) for pair in ports.intervals] for name, ports in sides if ports}


def json_text(data: Any) -> str:
    """Indented, with a final newline; what is not ASCII is escaped, so that a terminal sees no commands."""
    return json.dumps(data, indent=2) + "\n"


def list_csv(connectivity: Connectivity) -> str:
    """Columns `src,dst,connections`: what certainly passes."""
    return csv_text(HEAD, ((r.src, r.dst, r.connections) for r in connectivity.rows() if r.connections))


def list_text(connectivity: Connectivity, exposed: Iterable[Exposed] | None = None) -> str:
    """A table; a column `perhaps` only where the CNI or the pod decides about more."""
    rows = list(connectivity.rows())
    out = table(*_columns(rows), WIDE)
    if exposed is not None:
        out += "\nOpen to pods and namespaces that do not exist yet:\n" + _exposed_text(list(exposed))
    return out


def _columns(rows: Sequence[Row]) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    if all(r.certain for r in rows):
        return HEAD, [(r.src, r.dst, r.connections) for r in rows]
    return (*HEAD, "perhaps"), [(r.src, r.dst, r.connections, "" if r.certain else r.possible) for r in rows]


def _exposed_text(exposed: Sequence[Exposed]) -> str:
    return table(EXPOSURE_HEAD, map(_exposed_row, exposed), WIDE) if exposed else "nothing\n"


def _exposed_row(e: Exposed) -> tuple[object, ...]:
    way = "from" if e.direction is Direction.INGRESS else "to"
    shown = str(e.connections) if e.connections == e.possible else f"{e.connections} (perhaps {e.possible})"
    return (e.workload, way, e.peer, shown, count(e.seen, "workload"))


def list_markdown(connectivity: Connectivity, exposed: Iterable[Exposed] | None = None) -> str:
    """A GitHub table, and one for the exposure."""
    head, rows = _columns(list(connectivity.rows()))
    out = markdown_table(head, rows)
    if exposed is not None:
        out += "\n### Open to pods and namespaces that do not exist yet\n\n"
        out += markdown_table(EXPOSURE_HEAD, map(_exposed_row, exposed))
    return out


def list_json(connectivity: Connectivity, exposed: Iterable[Exposed] | None = None) -> str:
    """`{"rows": [{"src", "dst", "connections", "ports", "possible"}], "exposure": [...]}`."""
    data: dict[str, Any] = {
        "rows": [
            {
                "src": str(r.src),
                "dst": str(r.dst),
                "connections": str(r.connections),
                "ports": ports_json(r.connections),
                "possible": str(r.possible),
            }
            for r in connectivity.rows()
        ]
    }
    if exposed is not None:
        data["exposure"] = [
            {
                "workload": str(e.workload),
                "direction": str(e.direction),
                "peer": e.peer,
                "connections": str(e.connections),
                "ports": ports_json(e.connections),
                "possible": str(e.possible),
                "seen": e.seen,
            }
            for e in exposed
        ]
    return json_text(data)


def list_dot(connectivity: Connectivity, exposed: Iterable[Exposed] | None = None) -> str:
    """A directed graph for Graphviz. Workloads are boxes, everything else is an ellipse; dashed means perhaps."""
    rows = list(connectivity.rows())
    strangers = list(exposed or ())
    inside = {str(w) for w in connectivity.workloads}
    outside = sorted({str(end) for r in rows for end in (r.src, r.dst)} - inside)
    lines = ["digraph connectivity {", "  rankdir=LR;", "  node [shape=box];"]
    lines += [f"  {dot_id(w)};" for w in map(str, connectivity.workloads)]
    lines += [f"  {dot_id(o)} [shape=ellipse];" for o in outside]
    lines += [f"  {dot_id(p)} [shape=ellipse, style=dotted];" for p in sorted({e.peer for e in strangers})]
    lines += [_arrow(str(r.src), str(r.dst), r.connections, r.possible) for r in rows]
    for e in strangers:
        ends = (e.peer, str(e.workload)) if e.direction is Direction.INGRESS else (str(e.workload), e.peer)
        lines.append(_arrow(*ends, e.connections, e.possible))
    return "\n".join([*lines, "}"]) + "\n"


def _arrow(src: str, dst: str, connections: ConnectionSet, possible: ConnectionSet) -> str:
    if connections:
        return f"  {dot_id(src)} -> {dot_id(dst)} [label={dot_id(str(connections))}];"
    return f"  {dot_id(src)} -> {dot_id(dst)} [label={dot_id(f'perhaps {possible}')}, style=dashed];"


def dot_id(text: str) -> str:
    """A quoted DOT string that cannot be left, and in which no escape sequence means anything."""
    return '"' + printable(text, WIDE).replace("\\", "\\\\").replace('"', '\\"') + '"'
