"""What the first page says, as plain values for the template."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from netpol_gen.coverage import Scope, State
from netpol_gen.coverage.bins import iso
from netpol_gen.diff import Change
from netpol_gen.errors import printable_place
from netpol_gen.flowtable import Bucket
from netpol_gen.model import UNKNOWN_TIME, Decision, External, Party, Workload
from netpol_gen.report.coverage import estimate_sentences
from netpol_gen.report.html.charts import Part, bar, curve
from netpol_gen.report.html.flowmap import flow_map
from netpol_gen.report.html.material import Material
from netpol_gen.report.html.parties import outside_name, text

_ROWS = 12
"""Rows of a list on the first page; what is beyond is counted and found in its own view."""
_BUCKETS = {Bucket.USED: "ok", Bucket.DUPLICATE: "quiet", Bucket.REPLY: "quiet2"}


def overview(material: Material) -> dict[str, Any]:
    """Values by section; SVGs are markup, everything else is escaped by the template."""
    return {
        "facts": _facts(material),
        "map": _map(material),
        "changes": _changes(material),
        "ledger": _ledger(material),
        "coverage": _coverage(material),
        "loss": _loss(material),
        "blind": [
            (text(source), [text(s) for s in sentences]) for source, sentences in material.coverage.blind_spots.items()
        ],
        "notes": [printable_place(note, 400) for note in material.notes],
        "window": _window(material),
    }


def _window(material: Material) -> dict[str, str] | None:
    """From the first to the last record that had a time."""
    timed = [o.evidence for o in material.plan.edges.observations if o.evidence.timed]
    if not timed:
        return None
    last = max(e.last_seen for e in timed if e.last_seen != UNKNOWN_TIME)
    return {"start": iso(min(e.first_seen for e in timed)), "end": iso(last)}


def _facts(material: Material) -> dict[str, Any]:
    plan = material.plan
    accepted = plan.edges.accepted
    decisions = Counter(v.decision for e, v in material.after.verdicts.items() if e in accepted)
    return {
        "policies": len(plan.policies),
        "namespaces": len({p.namespace for p in plan.policies}),
        "existing": len(plan.existing),
        "edges": decisions.total(),
        "allowed": decisions[Decision.ALLOW],
        "denied": decisions[Decision.DENY],
        "unknown": decisions[Decision.UNKNOWN],
        "denied_today": len(plan.edges.denied),
        "gaps": len(plan.gaps),
        "weak": sum(not r.evidence.strong for r in plan.replay.rows),
        "sources": ", ".join(text(s) for s in sorted(plan.edges.sources)) or "none",
        "read": plan.edges.ledger.read,
        "lost": plan.edges.ledger.lost,
    }


def _space(party: Party) -> str:
    return text(party.namespace) if isinstance(party, Workload) else outside_name(party.kind)


def _map(material: Material) -> Any:
    counts: dict[tuple[str, str], int] = {}
    outside: set[str] = set()
    for edge in material.plan.edges.accepted:
        key = (_space(edge.src), _space(edge.dst))
        outside |= {_space(end) for end in (edge.src, edge.dst) if isinstance(end, External)}
        counts[key] = counts.get(key, 0) + 1
    return flow_map(counts, outside)


def _changes(material: Material) -> list[dict[str, Any]]:
    """What would break, open and close."""
    difference = material.difference
    out = []
    for change in (Change.BROKEN, Change.OPENED, Change.CLOSED):
        rows = [r for r in difference.rows if r.change is change]
        out.append(
            {
                "change": str(change),
                "number": len(rows),
                "rows": [(text(r.src), text(r.dst), str(r.before), str(r.after)) for r in rows[:_ROWS]],
                "more": max(0, len(rows) - _ROWS),
            }
        )
    return out


def _ledger(material: Material) -> dict[str, Any]:
    ledger = material.plan.edges.ledger
    parts, rows = [], []
    aside = 0
    for bucket, reason, number in ledger.rows():
        if bucket == Bucket.SET_ASIDE:
            colour = f"a{aside % 4}"
            aside += 1
        else:
            colour = _BUCKETS[Bucket(bucket)]
        places = next((p for r, p in ledger.places.items() if r == reason), [])
        parts.append(Part(reason or bucket, number, colour))
        rows.append(
            {
                "colour": colour,
                "name": f"set aside: {reason}" if reason else bucket,
                "number": number,
                "place": printable_place(places[0], 120) if places else "",
            }
        )
    label = f"{ledger.read:,} records: " + ", ".join(f"{p.number:,} {p.name}" for p in parts)
    return {"bar": bar(parts, label), "rows": rows, "read": ledger.read}


def _coverage(material: Material) -> dict[str, Any]:
    coverage = material.coverage
    spaces: list[Mapping[str, Any]] = []
    for line in coverage.of(Scope.NAMESPACE):
        members = [x for x in coverage.of(Scope.WORKLOAD) if x.namespace == line.namespace and x.edges]
        spaces.append(
            {
                "name": text(line.namespace),
                "state": str(line.state),
                "edges": line.edges,
                "reason": text(line.reason),
                "counts": ", ".join(f"{n} {s}" for s in State if (n := sum(m.state is s for m in members))),
            }
        )
    return {
        "state": str(coverage.whole.state),
        "reason": text(coverage.whole.reason),
        "sentences": [text(s, 300) for s in estimate_sentences(coverage.whole)],
        "curve": curve(coverage),
        "namespaces": spaces,
        "jobs": [
            (text(j.workload), text(j.schedule), str(j.exercise), j.due, j.runs, text(j.note)) for j in coverage.jobs
        ],
        "unseen": [(text(u.kind), text(u.name), text(u.note)) for u in (*coverage.silent_nodes, *coverage.unseen)],
    }


def _loss(material: Material) -> list[tuple[str, int, int, int]]:
    """Node, events, hours, workloads that it touches."""
    return [
        (text(t.node) or "node not named", t.events, len(t.hours), len(t.workloads)) for t in material.coverage.losses
    ]
