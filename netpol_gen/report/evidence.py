"""The evidence file of `generate --evidence`: every rule with what stands behind it, and the ledger, as JSON.

It lives in a file of its own so that manifests do not change when only counts do. `version` is the shape's version.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from netpol_gen.edges import Observation, party_cells
from netpol_gen.flowtable import Ledger
from netpol_gen.model import Edge, Evidence
from netpol_gen.plan import Plan

VERSION = 1


def evidence_json(plan: Plan) -> str:
    """Text, keys in a fixed order, ends with a newline."""
    accepted = plan.edges.accepted
    verdicts = {r.edge: r.verdict for r in plan.replay.rows}
    document = {
        "version": VERSION,
        "ledger": ledger_dict(plan.edges.ledger),
        "edges": [
            {
                **edge_dict(edge),
                "evidence": evidence_dict(accepted[edge]),
                "replay": {
                    "decision": str(verdicts[edge].decision),
                    "reason": verdicts[edge].reason,
                    "missing": verdicts[edge].missing,
                },
            }
            for edge in sorted(accepted)
        ],
        "set_aside": [observation_dict(o) for o in plan.edges.set_aside()],
        "rules": [
            {
                "policy": note.policy,
                "direction": str(note.direction),
                "rule": note.rule,
                "edges": [edge_dict(e) for e in sorted(note.edges)],
                "inferred": note.inferred,
                "widened": note.widened,
            }
            for note in plan.notes
        ],
        "gaps": [{"workload": str(g.workload), "direction": str(g.direction), "reason": g.reason} for g in plan.gaps],
        "diagnostics": [
            {"code": d.code, "severity": str(d.severity), "subject": d.subject, "message": d.message}
            for d in plan.diagnostics
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=True) + "\n"


def observation_dict(o: Observation) -> dict[str, Any]:
    """One observation that made no rule."""
    return {
        **edge_dict(o.edge),
        "status": o.status,
        "observed_verdict": str(o.verdict),
        "evidence": evidence_dict(o.evidence),
    }


def edge_dict(edge: Edge) -> dict[str, Any]:
    """Both ends, protocol and backend port."""
    return {
        "src": _party(edge, "src"),
        "dst": _party(edge, "dst"),
        "protocol": str(edge.protocol),
        "port": edge.port,
    }


def _party(edge: Edge, end: str) -> dict[str, str]:
    kind, namespace, name = party_cells(edge.src if end == "src" else edge.dst)
    return {k: v for k, v in (("kind", kind), ("namespace", namespace), ("name", name)) if v is not None}


def evidence_dict(e: Evidence) -> dict[str, Any]:
    """Counts, times in RFC 3339, and where to look."""
    return {
        "flows": e.flows,
        "records": e.records,
        "replies": e.replies,
        "bytes": e.bytes,
        "packets": e.packets,
        "first_seen": timestamp(e.first_seen) if e.timed else None,
        "last_seen": timestamp(e.last_seen) if e.timed else None,
        "days": e.days,
        "direction": str(e.direction),
        "strength": "strong" if e.strong else "weak",
        "names": list(e.names),
        "dialled": list(e.vips),
        "nodes": list(e.nodes),
        "sources": list(e.sources),
        "samples": list(e.samples),
    }


def ledger_dict(ledger: Ledger) -> dict[str, Any]:
    """The ledger with the first places of each reason, and the losses."""
    return {
        "read": ledger.read,
        "buckets": [{"bucket": b, "reason": r, "records": n} for b, r, n in ledger.rows()],
        "places": {str(r): p for r, p in sorted(ledger.places.items())},
        "files": dict(sorted(ledger.files.items())),
        "lost": [
            {"node": node, "hour": timestamp(hour * 3_600_000_000_000), "stage": stage, "events": events}
            for (node, hour, stage), events in sorted(ledger.losses.items())
        ],
    }


def timestamp(nanoseconds: int) -> str:
    """RFC 3339, UTC, nanoseconds where there are any."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    text = datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{rest:09d}".rstrip("0") + "Z" if rest else f"{text}Z"
