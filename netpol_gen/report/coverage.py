"""The coverage statement as text, as JSON, and its accumulation curve as SVG.

JSON (`"format": "netpol-gen/coverage", "version": 1`); times are RFC 3339, UTC, lengths of time are hours:

| key | content |
|---|---|
| window | start, end, hours, bin_hours, bins, silent_hours (a count); null if nothing was observed |
| lines | scope (`whole`, `namespace`, `workload`), namespace, workload, direction, state, reason, edges, newest,
newest_edge, quiet_hours, lossy_hours, lost, estimate |
| lines[].estimate | seen, bins, once, twice, periodic, unseen, low, high (95 %), next_bin, completeness, moved,
rebinned (bin_hours, bins, unseen), not_estimable (a sentence or empty); numbers are null where it is not empty |
| jobs | workload, schedule, exercise, due, runs, edges, next_due, note |
| losses | node (empty: not named), events, hours (hour, stage, events), workloads that it touches |
| silent_nodes, unseen | kind, name, note |
| blind_spots | sentences by source |
| set_aside | records set aside for reasons that may hide an edge |
| curve | hours since the window began, edges seen by then |

A version number changes when a key disappears or changes its meaning; new keys may appear within a version.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from netpol_gen.coverage import Coverage, Exercise, Line, Scope, State
from netpol_gen.coverage.bins import iso, span
from netpol_gen.coverage.model import Touched, Unseen
from netpol_gen.errors import printable
from netpol_gen.report.text import count, table

FORMAT = "netpol-gen/coverage"
VERSION = 1
_ROWS = 40
_NOTE = (
    "These figures assume that the coming weeks are like those observed. What happens less often than the window is\n"
    "long (month ends, failover, restores, certificate renewals) cannot be estimated from flows.\n"
)


def coverage_text(coverage: Coverage, *, verbose: bool = False) -> str:
    """The statement for a terminal: the whole first, then what is least settled."""
    limit = None if verbose else _ROWS
    return "".join(
        [
            _window(coverage),
            _whole(coverage.whole),
            "\n",
            _lines("namespaces", coverage.of(Scope.NAMESPACE), limit),
            _lines("workloads with edges, by direction", [x for x in coverage.of(Scope.WORKLOAD) if x.edges], limit),
            _without(coverage.of(Scope.WORKLOAD), verbose=verbose),
            _jobs(coverage),
            _losses(coverage.losses, verbose=verbose),
            _unseen("nodes without a record", coverage.silent_nodes, limit),
            _unseen("in the inventory, but in no flow", coverage.unseen, limit),
            _asides(coverage),
            _blind(coverage),
            _NOTE,
        ]
    )


def _window(coverage: Coverage) -> str:
    w = coverage.window
    if w is None:
        return "window: no flow at all\n"
    bins = w.cut(w.bin_hours).units
    text = f"window: {iso(w.start)} to {iso(w.end)}, {span(w.hours)} in {count(bins, 'bin')} of {span(w.bin_hours)}\n"
    if w.silent:
        text += f"  {count(len(w.silent), 'hour')} without any record: a pause of the collector or a quiet cluster\n"
    return text


def _whole(line: Line) -> str:
    text = f"whole: {line.state}: {printable(line.reason, 300)}\n  {count(line.edges, 'edge')} seen"
    if line.quiet_hours is not None:
        text += f", the last new one {span(line.quiet_hours)} before the end"
    return text + "\n" + "".join(f"  {sentence}\n" for sentence in estimate_sentences(line))


def estimate_sentences(line: Line) -> list[str]:
    """What the estimate says, in words."""
    e = line.estimate
    if e.unseen is None or e.low is None or e.high is None or e.next_bin is None or e.completeness is None:
        return [f"unseen edges: not estimable ({e.why_not})", *_periodic(e.periodic)]
    interval = f"95 %: {e.low:.1f} to {e.high:.1f}; Chao2, {e.once} seen in one bin, {e.twice} in two of {e.bins}"
    found = [
        f"unseen edges: about {e.unseen:.1f} ({interval})",
        f"next bin: about {e.next_bin:.2f} new edges; {e.completeness:.1%} of what a bin shows was seen (Good-Turing)",
    ]
    if e.rebinned:
        others = ", ".join(f"{r.unseen:.1f} with {span(r.bin_hours)}" for r in e.rebinned)
        verdict = "differs beyond the interval: do not rely on it" if e.moved else "agrees"
        found.append(f"with other bins: {others}: {verdict}")
    else:
        found.append("with other bins: too few to check")
    return [*found, *_periodic(e.periodic)]


def _periodic(number: int) -> list[str]:
    return [f"left out: {count(number, 'edge')} seen at one hour of the day only"] if number else []


def _lines(title: str, lines: Iterable[Line], limit: int | None) -> str:
    found = sorted(lines, key=lambda x: (x.state.rank, x.name))
    if not found:
        return ""
    rows = [
        (x.state, x.name, x.edges, "" if x.quiet_hours is None else span(x.quiet_hours), _unseen_cell(x), x.reason)
        for x in found[:limit]
    ]
    counts = ", ".join(f"{n} {s}" for s in State if (n := sum(x.state is s for x in found)))
    text = f"{title}: {counts}\n{table(('state', 'who', 'edges', 'quiet', 'unseen', 'why'), rows, 110)}"
    if limit is not None and len(found) > limit:
        text += f"… and {len(found) - limit:,} more (-v shows all)\n"
    return text + "\n"


def _unseen_cell(line: Line) -> str:
    e = line.estimate
    if e.unseen is None:
        return "not estimable"
    return f"{e.unseen:.1f} ({e.low:.1f} to {e.high:.1f}){' moved' if e.moved else ''}"


def _without(lines: Iterable[Line], *, verbose: bool) -> str:
    names = [x.name for x in lines if not x.edges]
    if not names:
        return ""
    text = f"directions without any edge, which stay open: {len(names):,}{'' if verbose else ' (-v shows them)'}\n"
    return text + "".join(f"  {printable(name, 200)}\n" for name in names if verbose) + "\n"


def _jobs(coverage: Coverage) -> str:
    if not coverage.jobs:
        return ""
    rows = [
        (j.exercise, j.workload, j.schedule, j.due, j.runs, j.edges, j.next_due, j.note)
        for j in sorted(coverage.jobs, key=lambda j: (j.exercise is Exercise.SEEN, j.workload))
    ]
    head = ("in the window", "CronJob", "schedule (UTC)", "due", "seen", "edges", "next due", "note")
    return f"scheduled jobs, taken out of every estimate\n{table(head, rows)}\n"


def _losses(losses: Iterable[Touched], *, verbose: bool) -> str:
    found = list(losses)
    if not found:
        return "loss: none reported by the sources\n"
    rows = [
        (
            t.node or "not named",
            t.events,
            len(t.hours),
            iso(min(t.hours) * 3_600_000_000_000)[:13],
            iso(max(t.hours) * 3_600_000_000_000)[:13],
            len(t.workloads),
        )
        for t in found
    ]
    text = "loss, by node\n" + table(("node", "events", "hours", "first", "last", "workloads touched"), rows)
    for t in found if verbose else ():
        text += f"  {printable(t.node or 'not named', 60)} touches {', '.join(map(printable, t.workloads)) or 'none'}\n"
        for loss in t.losses:
            text += f"    {iso(loss.hour * 3_600_000_000_000)[:13]}  {loss.events:>10,}  {printable(loss.stage, 60)}\n"
    return text + "\n"


def _unseen(title: str, items: Iterable[Unseen], limit: int | None) -> str:
    found = list(items)
    if not found:
        return ""
    text = (
        f"{title}: {len(found):,}\n{table(('kind', 'name', 'note'), [(u.kind, u.name, u.note) for u in found[:limit]])}"
    )
    if limit is not None and len(found) > limit:
        text += f"… and {len(found) - limit:,} more (-v shows all)\n"
    return text + "\n"


def _asides(coverage: Coverage) -> str:
    if not coverage.set_aside:
        return ""
    lines = "".join(f"  {number:>10,}  {reason}\n" for reason, number in coverage.set_aside.items())
    return f"records set aside that may hide an edge\n{lines}\n"


def _blind(coverage: Coverage) -> str:
    text = "".join(
        f"  {printable(source, 40)}: {printable(sentence, 300)}\n"
        for source, sentences in coverage.blind_spots.items()
        for sentence in sentences
    )
    return f"how these sources look, and what they miss however long one watches\n{text}\n" if text else ""


def coverage_json(coverage: Coverage) -> str:
    """The document described above, keys in its order, ending with a newline."""
    w = coverage.window
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "window": None
        if w is None
        else {
            "start": iso(w.start),
            "end": iso(w.end),
            "hours": w.hours,
            "bin_hours": w.bin_hours,
            "bins": w.cut(w.bin_hours).units,
            "silent_hours": len(w.silent),
        },
        "lines": [_line_json(line) for line in coverage.lines],
        "jobs": [
            {
                "workload": str(j.workload),
                "schedule": j.schedule,
                "exercise": str(j.exercise),
                "due": j.due,
                "runs": j.runs,
                "edges": j.edges,
                "next_due": j.next_due,
                "note": j.note,
            }
            for j in coverage.jobs
        ],
        "losses": [
            {
                "node": t.node,
                "events": t.events,
                "hours": [
                    {"hour": iso(x.hour * 3_600_000_000_000), "stage": x.stage, "events": x.events} for x in t.losses
                ],
                "workloads": [str(x) for x in t.workloads],
            }
            for t in coverage.losses
        ],
        "silent_nodes": [{"kind": u.kind, "name": u.name, "note": u.note} for u in coverage.silent_nodes],
        "unseen": [{"kind": u.kind, "name": u.name, "note": u.note} for u in coverage.unseen],
        "blind_spots": {source: list(texts) for source, texts in coverage.blind_spots.items()},
        "set_aside": dict(coverage.set_aside),
        "curve": [{"hours": p.hours, "edges": p.edges} for p in coverage.curve],
    }
    return json.dumps(document, indent=2, ensure_ascii=True) + "\n"


def _line_json(line: Line) -> dict[str, Any]:
    e = line.estimate
    return {
        "scope": str(line.scope),
        "namespace": line.namespace,
        "workload": str(line.workload) if line.workload else "",
        "direction": str(line.direction) if line.direction else "",
        "state": str(line.state),
        "reason": line.reason,
        "edges": line.edges,
        "newest": iso(line.newest) if line.newest is not None else None,
        "newest_edge": line.newest_edge,
        "quiet_hours": _round(line.quiet_hours),
        "lossy_hours": line.lossy_hours,
        "lost": line.lost,
        "estimate": {
            "seen": e.seen,
            "bins": e.bins,
            "once": e.once,
            "twice": e.twice,
            "periodic": e.periodic,
            "unseen": _round(e.unseen),
            "low": _round(e.low),
            "high": _round(e.high),
            "next_bin": _round(e.next_bin),
            "completeness": _round(e.completeness),
            "moved": e.moved,
            "rebinned": [{"bin_hours": r.bin_hours, "bins": r.bins, "unseen": _round(r.unseen)} for r in e.rebinned],
            "not_estimable": e.why_not,
        },
    }


def _round(value: float | None) -> float | None:
    """Six digits: enough, and the same on every machine."""
    return None if value is None else round(value, 6)


_ROOT = 'xmlns="http://www.w3.org/2000/svg" role="img" font-family="sans-serif" font-size="12"'
_DASHED = 'stroke="#b36b00" stroke-dasharray="6 4"'


@dataclass(frozen=True, slots=True)
class _Plane:
    """A drawing area of fixed size; `hours` and `top` are the ends of its axes."""

    hours: int
    top: float
    width: int = 720
    height: int = 360
    left: int = 64
    right: int = 704
    upper: int = 36
    lower: int = 312

    def x(self, hours: float) -> str:
        return f"{self.left + (self.right - self.left) * hours / self.hours:.1f}"

    def y(self, edges: float) -> str:
        return f"{self.lower - (self.lower - self.upper) * min(edges, self.top) / self.top:.1f}"

    def axes(self) -> list[str]:
        unit, name = (24, "days") if self.hours >= 48 else (1, "hours")
        middle = (self.left + self.right) // 2
        return [
            *(f'<path d="M{self.left} {self.y(t)}H{self.right}" stroke="#dddddd"/>' for t in _ticks(self.top)),
            *(
                f'<text x="{self.left - 6}" y="{self.y(t)}" dy="4" text-anchor="end">{t}</text>'
                for t in _ticks(self.top)
            ),
            *(
                f'<text x="{self.x(t * unit)}" y="{self.lower + 16}" text-anchor="middle">{t}</text>'
                for t in _ticks(self.hours / unit)
            ),
            f'<text x="{middle}" y="{self.height - 10}" text-anchor="middle">{name} observed</text>',
            f'<path d="M{self.left} {self.upper}V{self.lower}H{self.right}" fill="none" stroke="#333333"/>',
        ]

    def band(self, line: Line) -> list[str]:
        e = line.estimate
        if e.unseen is None or e.low is None or e.high is None:
            return []
        low, high = self.y(e.seen + e.low), self.y(e.seen + e.high)
        area = f'y="{high}" width="{self.right - self.left}" height="{float(low) - float(high):.1f}"'
        return [
            f'<rect x="{self.left}" {area} fill="#f0a30a" fill-opacity="0.25"/>',
            f'<path d="M{self.left} {self.y(e.seen + e.unseen)}H{self.right}" {_DASHED}/>',
        ]


def coverage_svg(coverage: Coverage) -> str:
    """The accumulation curve: distinct edges against time; with an estimate, its total and interval as a band."""
    points = [(0, 0), *((p.hours, p.edges) for p in coverage.curve)]
    high = coverage.whole.estimate.high
    seen = max(points[-1][1], 1)
    # An interval far above what was seen would flatten the curve itself: the band is cut off at twice that.
    plane = _Plane(max(points[-1][0], 1), float(seen if high is None else min(seen + high, 2 * seen)))
    size = f'width="{plane.width}" height="{plane.height}"'
    curve = " ".join(f"{plane.x(h)},{plane.y(n)}" for h, n in points)
    parts = [
        f'<svg {_ROOT} {size} viewBox="0 0 {plane.width} {plane.height}">',
        "<title>Distinct edges seen over time</title>",
        f'<rect {size} fill="#ffffff"/>',
        *plane.band(coverage.whole),
        *plane.axes(),
        f'<polyline points="{curve}" fill="none" stroke="#1f5fa8" stroke-width="2"/>',
        f'<text x="{plane.left}" y="20">{escape(_caption(coverage.whole))}</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _caption(line: Line) -> str:
    e = line.estimate
    if e.unseen is None:
        return f"{line.edges} edges seen; {line.state}; unseen edges: not estimable"
    return f"{line.edges} edges seen; {line.state}; about {e.unseen:.1f} unseen (95 %: {e.low:.1f} to {e.high:.1f})"


def _ticks(top: float) -> list[int]:
    """At most about six round numbers from 0."""
    step = 1
    while top / step > 6:
        step = step * 5 // 2 if str(step)[0] == "2" else step * 2
    return list(range(0, int(top) + 1, step))
