"""Small charts as inline SVG, coloured by the page's style sheet: the ledger in one bar, the accumulation curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from netpol_gen.coverage import Coverage

_WIDTH = 860


@dataclass(frozen=True, slots=True)
class Part:
    """A segment of a bar. `colour` is a class of the style sheet."""

    name: str
    number: int
    colour: str


def bar(parts: Sequence[Part], label: str) -> Markup:
    """Segments by share; one that is there is never thinner than two pixels."""
    whole = sum(p.number for p in parts)
    if not whole:
        return Markup("")
    least = 2.0
    widths = [max(least, p.number / whole * _WIDTH) if p.number else 0.0 for p in parts]
    squeeze = _WIDTH / sum(widths)
    out = [
        Markup('<svg class="bar" viewBox="0 0 {} 26" role="img" preserveAspectRatio="none" aria-label="{}">').format(
            _WIDTH, label
        )
    ]
    x = 0.0
    for part, raw in zip(parts, widths, strict=True):
        width = raw * squeeze
        if width:
            out.append(
                Markup(
                    '<rect class="{}" x="{:.2f}" y="0" width="{:.2f}" height="26"><title>{}: {:,}</title></rect>'
                ).format(part.colour, x, max(width - 1, 1), part.name, part.number)
            )
        x += width
    out.append(Markup("</svg>"))
    return Markup("").join(out)


@dataclass(frozen=True, slots=True)
class _Plane:
    """Hours and edges to places on the picture."""

    hours: int
    top: float
    left: float = 44.0
    right: float = 640.0
    high: float = 12.0
    low: float = 190.0

    def x(self, hours: float) -> float:
        """From the left."""
        return self.left + (self.right - self.left) * hours / self.hours

    def y(self, edges: float) -> float:
        """From the top."""
        return self.low - (self.low - self.high) * min(edges, self.top) / self.top


def curve(coverage: Coverage) -> Markup:
    """Distinct edges against time; with an estimate, its interval as a band. Nothing for fewer than two points."""
    points = [(0, 0), *((p.hours, p.edges) for p in coverage.curve)]
    if len(points) < 3:
        return Markup("")
    e = coverage.whole.estimate
    seen = max(points[-1][1], 1)
    # An interval far above what was seen would flatten the curve itself: the band is cut off at twice that.
    top = seen * 1.1 if e.high is None else min(seen + e.high, 2.0 * seen) * 1.05
    plane = _Plane(points[-1][0], top)
    line = " ".join(f"{plane.x(h):.1f},{plane.y(n):.1f}" for h, n in points)
    label = f"Distinct edges over time: {points[-1][1]:,} after {points[-1][0]:,} hours"
    out = [
        Markup('<svg class="curve" viewBox="0 0 660 222" role="img" aria-label="{}">').format(label),
        *_band(coverage, plane, seen),
        *_axes(plane),
        Markup('<polyline class="line" points="{}"/></svg>').format(line),
    ]
    return Markup("").join(out)


def _band(coverage: Coverage, plane: _Plane, seen: int) -> list[Markup]:
    """The estimate is of edges beyond those seen, so it lies on top of the curve's end."""
    e = coverage.whole.estimate
    if e.unseen is None or e.low is None or e.high is None:
        return []
    y1, y2 = plane.y(seen + e.high), plane.y(seen + e.low)
    area = Markup('<rect class="band" x="{}" y="{:.1f}" width="{}" height="{:.1f}"/>')
    line = Markup('<path class="guess" d="M{} {:.1f}H{}"/>')
    return [
        area.format(plane.left, y1, plane.right - plane.left, y2 - y1),
        line.format(plane.left, plane.y(seen + e.unseen), plane.right),
    ]


def _axes(plane: _Plane) -> list[Markup]:
    rule = Markup('<path class="grid" d="M{} {:.1f}H{}"/>')
    label = Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{:,}</text>')
    out = []
    for tick in range(0, int(plane.top) + 1, _step(plane.top)):
        out.append(rule.format(plane.left, plane.y(tick), plane.right))
        out.append(label.format(plane.left - 6, plane.y(tick) + 4, "end", tick))
    unit, name = (24, "days") if plane.hours > 72 else (1, "hours")
    across = plane.hours / unit
    ticks = range(0, int(across) + 1, _step(across))
    out += [label.format(plane.x(tick * unit), plane.low + 18, "middle", tick) for tick in ticks]
    out.append(Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(plane.right, plane.low + 31, name))
    return out


def _step(top: float) -> int:
    """A round number that cuts 0 to `top` into at most six."""
    step = 1
    while top / step > 6:
        step = step * 5 // 2 if str(step)[0] == "2" else step * 2
    return step
