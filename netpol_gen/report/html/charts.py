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


def curve(coverage: Coverage) -> Markup:
    """Distinct edges against time; with an estimate, its interval as a band. Nothing for fewer than two points."""
    points = [(0, 0), *((p.hours, p.edges) for p in coverage.curve)]
    if len(points) < 3:
        return Markup("")
    e = coverage.whole.estimate
    seen = max(points[-1][1], 1)
    # An interval far above what was seen would flatten the curve itself: the band is cut off at twice that.
    top = seen * 1.1 if e.high is None else min(seen + e.high, 2.0 * seen) * 1.05
    left, right, high, low = 44.0, 640.0, 12.0, 190.0

    def x(hours: float) -> float:
        return left + (right - left) * hours / points[-1][0]

    def y(edges: float) -> float:
        return low - (low - high) * min(edges, top) / top

    line = " ".join(f"{x(h):.1f},{y(n):.1f}" for h, n in points)
    out = [
        Markup('<svg class="curve" viewBox="0 0 660 222" role="img" aria-label="{}">').format(
            f"Distinct edges over time: {points[-1][1]:,} after {points[-1][0]:,} hours"
        )
    ]
    if e.unseen is not None and e.low is not None and e.high is not None:
        y1, y2 = y(seen + e.high), y(seen + e.low)
        out.append(
            Markup('<rect class="band" x="{}" y="{:.1f}" width="{}" height="{:.1f}"/>').format(
                left, y1, right - left, y2 - y1
            )
        )
        out.append(Markup('<path class="guess" d="M{} {:.1f}H{}"/>').format(left, y(seen + e.unseen), right))
    step = _step(top)
    for tick in range(0, int(top) + 1, step):
        out.append(
            Markup('<path class="grid" d="M{} {:.1f}H{}"/><text x="{}" y="{:.1f}" text-anchor="end">{:,}</text>').format(
                left, y(tick), right, left - 6, y(tick) + 4, tick
            )
        )
    unit, name = (24, "days") if points[-1][0] > 72 else (1, "hours")
    across = points[-1][0] / unit
    for tick in range(0, int(across) + 1, _step(across)):
        out.append(
            Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{:,}</text>').format(x(tick * unit), low + 18, tick)
        )
    out.append(Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(right, low + 31, name))
    out.append(Markup('<polyline class="line" points="{}"/></svg>').format(line))
    return Markup("").join(out)


def _step(top: float) -> int:
    """A round number that cuts 0 to `top` into at most six."""
    step = 1
    while top / step > 6:
        step = step * 5 // 2 if str(step)[0] == "2" else step * 2
    return step
