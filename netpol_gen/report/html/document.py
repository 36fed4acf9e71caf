"""The page's data as one JSON document (`"format": "netpol-gen/report", "version": 1`).

| key | content |
|---|---|
| parties | who there is; edges and cells speak of them by number |
| edges | rows with the columns of `EDGE_COLUMNS`; accepted ones first |
| statuses | what the `status` of an edge numbers; 0 is `accepted` |
| texts | pairs of connection sets (certain, possible) as text |
| sides | `before` and `after`: `rows` of run-length coded numbers of `texts`, source by destination; `more`: cells |
| policies | all policies, before and after; `sides[].policies` numbers those in force there |
| changes | rows of the difference between before and after that the matrices do not tell: broken ones, and with an
address range or a party outside at an end |
| turned | for numbers of `texts` before and after, as `before-after`, what that is: `opened`, `closed` or both |
| unlisted | rows of `changes` that are only counted |
| ports, wide, findings | the port inventory, rules that admit ports without naming them, and what is worth a look |
| left_out | edges set aside that are only counted here |

A version number changes when a key disappears or changes its meaning; new keys may appear within a version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netpol_gen.connectivity import End
from netpol_gen.diff import Change, DiffRow
from netpol_gen.edges import ACCEPTED, Observation
from netpol_gen.errors import printable_place
from netpol_gen.flowtable import Reason
from netpol_gen.model import (
    UNKNOWN_TIME,
    Decision,
    Edge,
    Evidence,
    External,
    ObservedVerdict,
    Party,
    Severity,
    Workload,
)
from netpol_gen.ports import Mark, PortRow
from netpol_gen.report.html.allowed import Texts, allowed_rows, exceeds, unfold, used_between
from netpol_gen.report.html.material import Material, Side
from netpol_gen.report.html.parties import Parties, find_parties, party_json, text
from netpol_gen.report.html.rules import policy_json

FORMAT = "netpol-gen/report"
VERSION = 1
MAX_ASIDE = 5000
"""So many set-aside edges are listed; the rest is counted. All of them are in the evidence file of `generate`."""
MAX_CHANGES = 20_000
"""So many rows of the difference about address ranges are listed; the rest is counted. `diff` prints all of them."""

EDGE_COLUMNS = (
    "src", "dst", "src_address", "dst_address", "protocol", "port", "status", "before", "after", "flows", "records",
    "first", "last", "days", "strong", "direction", "samples", "names", "dialled", "why",
)  # fmt: skip
"""`first` and `last` are seconds since the epoch, 0 where not known; `before` and `after` number `DECISIONS`."""
DECISIONS = (Decision.ALLOW, Decision.DENY, Decision.UNKNOWN)


def document(material: Material) -> dict[str, Any]:
    """Everything that the page's script needs, in a fixed order."""
    parties = find_parties(material)
    shown, left_out = _observations(material)
    numbers = edge_numbers(shown)
    statuses = [ACCEPTED, *sorted({o.status for o in shown if o.reason is not None})]
    seen = used_between((o.edge for o in shown if o.reason in (None, Reason.DENIED)), parties)
    texts = Texts()
    policies = tuple(dict.fromkeys((*material.before.policies, *material.after.policies)))
    at = {p: i for i, p in enumerate(policies)}
    sides = {
        name: _side(material, side, parties, texts, seen) | {"policies": [at[p] for p in side.policies]}
        for name, side in (("before", material.before), ("after", material.after))
    }
    return {
        "format": FORMAT,
        "version": VERSION,
        "parties": _renumbered(party_json(material, parties), sides),
        "columns": list(EDGE_COLUMNS),
        "statuses": statuses,
        "edges": [_edge(o, material, parties, statuses) for o in shown],
        "texts": texts.dump(),
        "sides": sides,
        "policies": policy_json(policies, material.plan, numbers),
        **_changes(material, parties, texts, sides),
        "ports": [_port(p, parties) for p in material.ports.rows],
        "wide": [[parties.index[w.workload], w.ports, text(w.allowed_by)] for w in material.ports.wide],
        "findings": findings(material),
        "left_out": left_out,
    }


def _renumbered(found: list[dict[str, Any]], sides: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Policies of a workload by their number among all policies."""
    for party in found:
        for name in ("before", "after"):
            if name in party:
                party[name] = [sides[name]["policies"][i] for i in party[name]]
    return found


def _observations(material: Material) -> tuple[list[Observation], dict[str, int]]:
    """Accepted edges, then those denied today, then the others up to a limit; and what is beyond it, by status."""
    ranks = {None: 0, Reason.DENIED: 1}
    everything = sorted(material.plan.edges.observations, key=lambda o: ranks.get(o.reason, 2))
    kept = sum(o.reason in ranks for o in everything) + MAX_ASIDE
    left_out: dict[str, int] = {}
    for o in everything[kept:]:
        left_out[o.status] = left_out.get(o.status, 0) + 1
    return everything[:kept], dict(sorted(left_out.items()))


def _side(
    material: Material, side: Side, parties: Parties, texts: Texts, seen: Mapping[tuple[int, int], Any]
) -> dict[str, Any]:
    rows = allowed_rows(side.connectivity, material.plan.edges.inventory, parties, texts)
    return {"rows": rows, "more": exceeds(rows, texts, seen)}


def _address(party: Party) -> str:
    return text(party.address) if isinstance(party, External) else ""


def _edge(o: Observation, material: Material, parties: Parties, statuses: Sequence[str]) -> list[Any]:
    e: Evidence = o.evidence
    before, after = (side.verdicts.get(o.edge) for side in (material.before, material.after))
    sides = [-1 if v is None else DECISIONS.index(v.decision) for v in (before, after)]
    doubt = after is not None and after.decision is not Decision.ALLOW
    audited = "audit: only because policy audit mode is on" if o.verdict is ObservedVerdict.AUDIT else ""
    return [
        parties.number(o.edge.src),
        parties.number(o.edge.dst),
        _address(o.edge.src),
        _address(o.edge.dst),
        str(o.edge.protocol),
        o.edge.port,
        statuses.index(o.status),
        *sides,
        e.flows,
        e.records,
        seconds(e.first_seen),
        seconds(e.last_seen),
        e.days,
        int(e.strong),
        str(e.direction),
        [printable_place(s, 400) for s in e.samples],
        [text(n) for n in e.names[:20]],
        [text(v) for v in e.vips[:20]],
        text((after.missing or after.reason) if after is not None and doubt else audited),
    ]


def _changes(material: Material, parties: Parties, texts: Texts, sides: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The difference without what the two matrices tell: between two workloads they differ or not."""
    rows = material.difference.rows
    broken = {(r.src, r.dst) for r in rows if r.change is Change.BROKEN}
    told = [r for r in rows if (r.src, r.dst) in broken or not all(isinstance(e, Workload) for e in (r.src, r.dst))]
    pairs: set[tuple[int, int]] = set()
    for before, after in zip(sides["before"]["rows"], sides["after"]["rows"], strict=True):
        if before != after:
            pairs |= {(a, b) for a, b in zip(unfold(before), unfold(after), strict=True) if a != b}
    turned: dict[str, list[str]] = {}
    for a, b in sorted(pairs):
        was, now = texts.sets[a][0], texts.sets[b][0]
        found = [str(c) for c, more in ((Change.OPENED, now - was), (Change.CLOSED, was - now)) if more]
        if found:
            turned[f"{a}-{b}"] = found
    return {
        "changes": [_change(r, parties, material) for r in told[:MAX_CHANGES]],
        "turned": turned,
        "unlisted": max(0, len(told) - MAX_CHANGES),
    }


def _change(row: DiffRow, parties: Parties, material: Material) -> list[Any]:
    """Change, both ends (a number, or a text for what has none), before, after, and a note."""
    ends = [parties.index[e] if isinstance(e, Workload) and e in parties.index else _end(e) for e in (row.src, row.dst)]
    return [str(row.change), *ends, str(row.before), str(row.after), text(material.difference.info(row))]


def _end(end: End | External) -> str:
    return text(end)


def seconds(nanoseconds: int | None) -> int:
    """Seconds since the epoch; 0 where no record had a time."""
    return 0 if nanoseconds is None or nanoseconds == UNKNOWN_TIME else nanoseconds // 1_000_000_000


def _port(row: PortRow, parties: Parties) -> list[Any]:
    """Columns as `showPorts` reads them; clients are names, a number of addresses with those outside."""
    return [
        parties.index[row.workload],
        str(row.protocol),
        row.number,
        text(", ".join(row.names)),
        str(row.declared),
        [text(s) for s in row.services],
        [parties.by_name.get(c.name, text(c.name)) for c in row.clients],
        row.flows,
        seconds(row.first_seen),
        seconds(row.last_seen),
        str(row.allowed),
        [text(f"{m}: {row.control}" if m is Mark.CONTROL and row.control else m) for m in row.marks],
        str(row.seen),
    ]


def findings(material: Material) -> list[list[str]]:
    """Id, severity, subject, message, fix, place, and why it does not count: lint, diagnostics and open directions."""
    order = {s: i for i, s in enumerate((Severity.ERROR, Severity.WARNING, Severity.INFO))}
    notes = material.plan.diagnostics
    rows = [(order[d.severity], d.code, str(d.severity), d.subject, d.message, "", "", "") for d in notes]
    for f in material.lint.findings:
        place = str(f.place) if f.place.path else ""
        rows.append((order[f.severity], f.rule, str(f.severity), f.subject, f.message, f.fix, place, f.suppressed))
    rows += [
        (order[Severity.INFO], "open", "info", str(g.workload), f"{g.direction} stays open: {g.reason}", "", "", "")
        for g in material.plan.gaps
    ]
    return [[text(cell) for cell in row[1:]] for row in sorted(set(rows))]


def edge_numbers(shown: Sequence[Observation]) -> dict[Edge, int]:
    """The first place of every accepted edge."""
    return {o.edge: i for i, o in reversed(list(enumerate(shown))) if o.reason is None}
