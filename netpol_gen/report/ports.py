"""The port inventory as text, Markdown, CSV and JSON, and what changed since an older one.

JSON (`"format": "netpol-gen/ports", "version": 1`); times are RFC 3339, UTC, or null:

| key | content |
|---|---|
| window | start and end of the flows |
| ports | workload (`namespace/name[Kind]`), protocol, port, port_names, declared, services (service, port, target),
seen, flows, first_seen, last_seen, clients (name, addresses, flows), allowed, allowed_by, control, marks |
| wide | workload, ports, allowed_by: what rules admit without naming it |

A version number changes when a key disappears or changes its meaning; new keys may appear within a version.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from netpol_gen.errors import InputError, Place, printable
from netpol_gen.ports import COLUMNS, PortChange, PortInventory, PortRow
from netpol_gen.ports.changes import FIELDS, Facts, Key
from netpol_gen.ports.model import Answer, joined
from netpol_gen.report.text import code, count, csv_text, markdown_table, table

FORMAT = "netpol-gen/ports"
VERSION = 1
_HEAD = ("workload", "port", "name", "declared", "Service", "used by", "last seen", "allowed", "look at")
_SHOWN_CLIENTS = 4


def _time(nanoseconds: int | None) -> str | None:
    if nanoseconds is None:
        return None
    return datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _clients(row: PortRow, limit: int | None) -> str:
    names = [f"{c.name} ({c.addresses})" if c.addresses > 1 else c.name for c in row.clients]
    shown = names[:limit]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _cells(row: PortRow, limit: int | None) -> tuple[object, ...]:
    seen = {Answer.YES: _clients(row, limit), Answer.NO: "", Answer.UNKNOWN: "unknown"}[row.seen]
    marks = [f"{m}: {row.control}" if row.control and m == row.marks[-1] else str(m) for m in row.marks]
    return (
        row.workload,
        f"{row.protocol} {row.number}",
        ", ".join(row.names),
        row.declared,
        ", ".join(map(str, row.services)),
        seen,
        (_time(row.last_seen) or "")[:10],
        row.allowed,
        "; ".join(marks),
    )


def ports_text(inventory: PortInventory) -> str:
    """A table for a terminal."""
    text = table(_HEAD, [_cells(row, _SHOWN_CLIENTS) for row in inventory.rows], 80)
    for wide in inventory.wide:
        text += f"{printable(wide.workload, 200)}: {wide.ports} ports admitted by {printable(wide.allowed_by, 200)}\n"
    return text


def ports_markdown(inventory: PortInventory) -> str:
    """A document to commit: one section per namespace."""
    parts = ["# Ports\n", _window(inventory)]
    for namespace in sorted({r.workload.namespace for r in inventory.rows}):
        rows = [r for r in inventory.rows if r.workload.namespace == namespace]
        parts.append(f"## Namespace {code(namespace)}\n")
        parts.append(markdown_table(_HEAD, [_cells(r, None) for r in rows]))
        wide = [w for w in inventory.wide if w.workload.namespace == namespace]
        if wide:
            parts.append("Admitted without being named:\n")
            parts.append("".join(f"- {code(w.workload)}: {code(w.ports)} by {code(w.allowed_by)}\n" for w in wide))
    parts.append(_LEGEND)
    return "\n".join(parts)


def _window(inventory: PortInventory) -> str:
    if inventory.start is None and any(row.flows for row in inventory.rows):
        return "Use is what was seen in flows that tell no time.\n"
    if inventory.start is None:
        return "No flow was given: nothing is known about use.\n"
    return f"Use is what was seen from {_time(inventory.start)} to {_time(inventory.end)}.\n"


_LEGEND = """\
- *declared*: a container lists the port. `unknown` where only flows name the pods.
- *Service*: Services that lead here, as port→target. Policies see the target.
- *used by*: clients of accepted flows; parties outside the cluster by class, with the number of their addresses.
- *allowed*: `open`: no policy isolates the workload for ingress; `admitted`: a rule names the port for some client;
  `closed`: isolated, and no rule does; `unknown`: no policies were given, or nothing selects the pods.
"""


def ports_csv(inventory: PortInventory) -> str:
    """The columns of `to_frame()`, times as RFC 3339."""
    rows = [
        (
            r.workload.namespace,
            r.workload.kind,
            r.workload.name,
            str(r.protocol),
            r.number,
            joined(r.names),
            str(r.declared),
            joined(r.services),
            str(r.seen),
            r.flows,
            _time(r.first_seen),
            _time(r.last_seen),
            joined(c.name for c in r.clients),
            str(r.allowed),
            joined(r.allowed_by),
            r.control or None,
            joined(r.marks),
        )
        for r in inventory.rows
    ]
    return csv_text(list(COLUMNS), rows)


def ports_json(inventory: PortInventory) -> str:
    """The document described above, ending with a newline."""
    document = {
        "format": FORMAT,
        "version": VERSION,
        "window": {"start": _time(inventory.start), "end": _time(inventory.end)},
        "ports": [_row_json(r) for r in inventory.rows],
        "wide": [{"workload": str(w.workload), "ports": w.ports, "allowed_by": w.allowed_by} for w in inventory.wide],
    }
    return json.dumps(document, indent=2, ensure_ascii=True) + "\n"


def _row_json(row: PortRow) -> dict[str, Any]:
    return {
        "workload": str(row.workload),
        "protocol": str(row.protocol),
        "port": row.number,
        "port_names": list(row.names),
        "declared": str(row.declared),
        "services": [{"service": s.service, "port": s.port, "target": s.target} for s in row.services],
        "seen": str(row.seen),
        "flows": row.flows,
        "first_seen": _time(row.first_seen),
        "last_seen": _time(row.last_seen),
        "clients": [{"name": c.name, "addresses": c.addresses, "flows": c.flows} for c in row.clients],
        "allowed": str(row.allowed),
        "allowed_by": list(row.allowed_by),
        "control": row.control,
        "marks": [str(m) for m in row.marks],
    }


# --- an older inventory -----------------------------------------------------------------------------------------------


def read_snapshot(text: str, path: str) -> dict[Key, Facts]:
    """What an older run wrote with `-o json`, to compare with.

    Raises:
        InputError: it is no such document, or of a version that is not understood.

    """
    place = Place(path)
    try:
        document = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        raise InputError("is no JSON", place) from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InputError(f'is no port inventory ("format": "{FORMAT}")', place)
    if document.get("version") != VERSION:
        raise InputError(f"version {printable(document.get('version'))} is not understood", place.at("version"))
    ports = document.get("ports")
    if not isinstance(ports, list):
        raise InputError("ports is a list", place.at("ports"))
    return dict(_old_row(row, place.at(f"ports[{i}]")) for i, row in enumerate(ports))


def _old_row(row: Any, place: Place) -> tuple[Key, Facts]:
    try:
        key = (_text(row["workload"]), _text(row["protocol"]), row["port"])
        services = [f"{_text(s['service'])} {s['port']}→{_text(s['target'])}" for s in row["services"]]
        facts: dict[str, str] = {
            "port_names": joined(map(_text, row["port_names"])) or "",
            "declared": _text(row["declared"]),
            "services": joined(services) or "",
            "seen": _text(row["seen"]),
            "clients": joined(_text(c["name"]) for c in row["clients"]) or "",
            "allowed": _text(row["allowed"]),
            "allowed_by": joined(map(_text, row["allowed_by"])) or "",
            "marks": joined(map(_text, row["marks"])) or "",
        }
    except (KeyError, TypeError) as error:
        raise InputError(f"a field is missing or of the wrong type: {printable(error)}", place) from None
    if not isinstance(key[2], int) or isinstance(key[2], bool) or set(facts) != set(FIELDS):
        raise InputError("port is a number", place.at("port"))
    return key, facts


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{printable(value)} is no text")
    return value


_CHANGE_HEAD = ("change", "workload", "port", "what", "before", "after")


def _change_cells(found: Iterable[PortChange]) -> list[Sequence[object]]:
    return [(c.kind, c.workload, f"{c.protocol} {c.port}", c.field, c.before, c.after) for c in found]


def changes_text(found: Sequence[PortChange]) -> str:
    """What changed, for a terminal; one line if nothing did."""
    if not found:
        return "no change\n"
    return f"{count(len(found), 'change')}\n{table(_CHANGE_HEAD, _change_cells(found), 80)}"


def changes_markdown(found: Sequence[PortChange]) -> str:
    """The same as a GitHub table."""
    return markdown_table(_CHANGE_HEAD, _change_cells(found)) if found else "No change.\n"


def changes_csv(found: Sequence[PortChange]) -> str:
    """The same as CSV."""
    rows = [(c.kind, c.workload, c.protocol, c.port, c.field, c.before, c.after) for c in found]
    return csv_text(("change", "workload", "protocol", "port", "field", "before", "after"), rows)


def changes_json(found: Sequence[PortChange]) -> str:
    """`"format": "netpol-gen/ports-diff", "version": 1`, with one object per change, keys as in CSV."""
    document = {
        "format": f"{FORMAT}-diff",
        "version": VERSION,
        "changes": [
            {
                "change": str(c.kind),
                "workload": c.workload,
                "protocol": c.protocol,
                "port": c.port,
                "field": c.field,
                "before": c.before,
                "after": c.after,
            }
            for c in found
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=True) + "\n"
