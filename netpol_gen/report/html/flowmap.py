"""The flow map: client namespaces on the left, server namespaces on the right, a ribbon for the edges between two.

Pure geometry: the same counts give the same bytes. A ribbon is a link to the matrix of its two namespaces.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from markupsafe import Markup, escape

WIDTH = 860
_LABEL = 190
_BAR = 10
_GAP = 9
_MOST = 14
_LEAST_HEIGHT = 3.0
_COLOURS = 8
OTHERS = "others"

Counts = Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class _Node:
    """One end: where it starts, how high it is."""

    name: str
    edges: int
    y: float
    height: float


def flow_map(counts: Counts, outside: Iterable[str] = ()) -> Markup:
    """An SVG of edge counts by (client, server). `outside` are names that are no namespaces.

    More than 14 on a side: the smaller ones are drawn together.
    """
    named = _folded(counts)
    if not named:
        return Markup("")
    colours = {name: i % _COLOURS for i, name in enumerate(_by_size(named, 0))}
    scale = _scale(named)
    left = _stack(_by_size(named, 0), named, 0, scale)
    # The server side follows its clients, so that ribbons cross little.
    right = _stack(_following(named, left), named, 1, scale)
    height = max(n.y + n.height for n in (*left.values(), *right.values())) + 10
    parts = [
        Markup('<svg class="flowmap" viewBox="0 0 {} {:.0f}" role="img" aria-labelledby="flowmap-title">').format(
            WIDTH, height
        ),
        Markup('<title id="flowmap-title">Edges from client namespaces (left) to server namespaces (right)</title>'),
        *_ribbons(named, left, right, colours, scale, set(outside)),
        *(_node(n, "left", colours.get(n.name, 0)) for n in left.values()),
        *(_node(n, "right", colours.get(n.name, _COLOURS - 1)) for n in right.values()),
        Markup("</svg>"),
    ]
    return Markup("\n").join(parts)


def _folded(counts: Counts) -> dict[tuple[str, str], int]:
    keep = []
    for side in (0, 1):
        names = _by_size(counts, side)
        keep.append(set(names if len(names) <= _MOST else names[: _MOST - 1]))
    out: dict[tuple[str, str], int] = {}
    for (src, dst), number in counts.items():
        key = (src if src in keep[0] else OTHERS, dst if dst in keep[1] else OTHERS)
        out[key] = out.get(key, 0) + number
    return dict(sorted(out.items()))


def _totals(counts: Counts, side: int) -> dict[str, int]:
    out: dict[str, int] = {}
    for ends, number in counts.items():
        out[ends[side]] = out.get(ends[side], 0) + number
    return out


def _by_size(counts: Counts, side: int) -> list[str]:
    totals = _totals(counts, side)
    return sorted(totals, key=lambda n: (n == OTHERS, -totals[n], n))


def _scale(counts: Counts) -> float:
    """Pixels per edge: the map is about as high as it has rows to name."""
    rows = max(len(_totals(counts, 0)), len(_totals(counts, 1)))
    return min(26.0, max(160, rows * 26) / sum(counts.values()))


def _height(edges: float, scale: float) -> float:
    return max(_LEAST_HEIGHT, edges * scale)


def _stack(names: Sequence[str], counts: Counts, side: int, scale: float) -> dict[str, _Node]:
    totals = _totals(counts, side)
    out: dict[str, _Node] = {}
    y = 8.0
    for name in names:
        height = sum(_height(n, scale) for ends, n in counts.items() if ends[side] == name)
        out[name] = _Node(name, totals[name], y, height)
        # A label needs its line.
        y += max(height, 15.0) + _GAP
    return out


def _following(counts: Counts, left: Mapping[str, _Node]) -> list[str]:
    totals = _totals(counts, 1)
    centre = {
        name: sum(n * (left[src].y + left[src].height / 2) for (src, dst), n in counts.items() if dst == name)
        / totals[name]
        for name in totals
    }
    return sorted(totals, key=lambda n: (n == OTHERS, round(centre[n], 3), n))


def _ribbons(
    counts: Counts,
    left: Mapping[str, _Node],
    right: Mapping[str, _Node],
    colours: Mapping[str, int],
    scale: float,
    outside: set[str],
) -> list[Markup]:
    at = {("l", n.name): n.y for n in left.values()} | {("r", n.name): n.y for n in right.values()}
    order = {n: i for i, n in enumerate(right)}
    x1, x2 = _LABEL + _BAR, WIDTH - _LABEL - _BAR
    bend = (x2 - x1) * 0.5
    out = []
    # Ribbons leave a client in the order of their servers and reach a server in the order of its clients.
    places: dict[tuple[str, str], tuple[float, float]] = {}
    for src in left:
        for dst in sorted((d for s, d in counts if s == src), key=order.__getitem__):
            y1, y2 = at["l", src], at["r", dst]
            height = _height(counts[src, dst], scale)
            places[src, dst] = (y1, y2)
            at["l", src], at["r", dst] = y1 + height, y2 + height
    for (src, dst), (y1, y2) in places.items():
        h = _height(counts[src, dst], scale)
        path = (
            f"M{x1} {y1:.1f}C{x1 + bend:.1f} {y1:.1f} {x2 - bend:.1f} {y2:.1f} {x2} {y2:.1f}V{y2 + h:.1f}"
            f"C{x2 - bend:.1f} {y2 + h:.1f} {x1 + bend:.1f} {y1 + h:.1f} {x1} {y1 + h:.1f}Z"
        )
        title = f"{src} to {dst}: {counts[src, dst]:,} edge{'s' if counts[src, dst] != 1 else ''}"
        shape = Markup('<path class="ribbon c{}" d="{}"><title>{}</title></path>').format(colours[src], path, title)
        linked = OTHERS not in (src, dst) and not {src, dst} <= outside
        out.append(
            Markup('<a href="{}" aria-label="{}">{}</a>').format(link(src, dst), title, shape) if linked else shape
        )
    return out


def link(src: str, dst: str) -> str:
    """The fragment that shows the matrix between two namespaces."""
    return f"#/matrix?src={quote(src, safe='')}&dst={quote(dst, safe='')}"


def _node(node: _Node, side: str, colour: int) -> Markup:
    x = _LABEL if side == "left" else WIDTH - _LABEL - _BAR
    bar = Markup('<rect class="bar c{}" x="{}" y="{:.1f}" width="{}" height="{:.1f}" rx="2"/>').format(
        colour, x, node.y, _BAR, node.height
    )
    middle = node.y + max(node.height, 15.0) / 2 + 4 if node.height >= 15 else node.y + min(node.height, 15.0) / 2 + 4
    x, anchor = (_LABEL - 8, "end") if side == "left" else (WIDTH - _LABEL + 8, "start")
    name = node.name if len(node.name) <= 20 else f"{node.name[:19]}…"
    label = Markup('<text x="{}" y="{:.1f}" text-anchor="{}">{} <tspan class="n">{:,}</tspan></text>').format(
        x, middle, anchor, escape(name), node.edges
    )
    return bar + label
