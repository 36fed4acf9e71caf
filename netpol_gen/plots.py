"""Plots of what was seen and what policies make of it, as matplotlib figures.

Every function returns a `matplotlib.figure.Figure` of its own: nothing is shown, no global state is touched, and a
notebook displays what it gets. Matplotlib comes with `netpol-gen[plots]`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netpol_gen.config import Config
from netpol_gen.coverage import Coverage, measure
from netpol_gen.errors import InputError, OptionError, Place
from netpol_gen.model import Edge, Party, Workload
from netpol_gen.plan import Plan
from netpol_gen.policy import ALL, NetworkPolicy
from netpol_gen.report.html import Material, gather
from netpol_gen.report.html.allowed import used_between
from netpol_gen.report.html.parties import find_parties, text
from netpol_gen.sets import ConnectionSet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from netpol_gen.edges import Edges

_INK, _SEEN, _GUESS, _DENIED = "#1b2430", "#3b6fb6", "#d9962a", "#c5352b"
_COLOURS = ("#3b6fb6", "#b4572f", "#2c8a63", "#7d5fb2", "#a68a1f", "#1f8a93")
_HOUR_NS = 3_600_000_000_000
FORMATS = ("svg", "png")
_LONGEST = 44
_NAMED = 16
"""Up to so many points carry their policy's name."""


def port_heat_map(edges: Edges, *, most: int = 40) -> Figure:
    """Which workload is called on which port, shaded by the logarithm of the number of connections.

    Args:
        edges: what `find_edges` returned; accepted edges count.
        most: so many workloads and ports are drawn, the busiest; the title says how many there are.

    """
    flows: dict[tuple[str, tuple[int, str]], int] = {}
    for edge, evidence in edges.accepted.items():
        if isinstance(edge.dst, Workload):
            key = (f"{edge.dst.namespace}/{edge.dst.name}", (edge.port, str(edge.protocol)))
            flows[key] = flows.get(key, 0) + evidence.flows
    servers, ports = (_busiest(flows, side, most) for side in (0, 1))
    grid = np.full((len(servers), len(ports)), np.nan)
    for (server, port), number in flows.items():
        if server in servers and port in ports:
            grid[servers.index(server), ports.index(port)] = math.log10(max(number, 1))
    room = 0.07 * max((len(_plain(s)) for s in servers), default=0)
    figure, axes = _figure(max(5.0, 2.2 + room + 0.34 * len(ports)), max(2.6, 1.5 + 0.27 * len(servers)))
    if flows:
        image = axes.imshow(grid, aspect="auto", cmap="viridis", vmin=0)
        bar = figure.colorbar(image, ax=axes, shrink=0.9)
        bar.set_label("connections")
        top = int(np.nanmax(grid)) + 1
        bar.set_ticks(list(range(top)), labels=[f"{10**n:,}" for n in range(top)])
    axes.set_xticks(range(len(ports)), labels=[f"{p} {n}" for n, p in ports], rotation=60, ha="right", fontsize=8)
    axes.set_yticks(range(len(servers)), labels=[_plain(s) for s in servers], fontsize=8)
    everyone = len({s for s, _ in flows})
    axes.set_title(f"Ports in use: {len(servers)} of {everyone} workloads", loc="left")
    return figure


def edges_over_time(edges: Edges, *, bin_hours: int | None = None) -> Figure:
    """Distinct edges active in each stretch of time: those seen before, and those seen for the first time.

    Args:
        edges: what `find_edges` returned; accepted edges with a time count.
        bin_hours: length of a bar; by default one that makes about 60 of them.

    """
    timed = [evidence for evidence in edges.accepted.values() if evidence.timed]
    hours = [evidence.hours or (evidence.first_seen // _HOUR_NS,) for evidence in timed]
    figure, axes = _figure(8.0, 3.2)
    axes.set_title("Edges over time", loc="left")
    axes.set_ylabel("distinct edges")
    if not hours:
        return figure
    start, end = min(h[0] for h in hours), max(h[-1] for h in hours)
    length = bin_hours or max(1, math.ceil((end - start + 1) / 60))
    bins = (end - start) // length + 1
    active, new = np.zeros(bins, dtype=int), np.zeros(bins, dtype=int)
    for each in hours:
        active[sorted({(h - start) // length for h in each})] += 1
        new[(each[0] - start) // length] += 1
    at = np.arange(bins) * length
    axes.bar(at, active - new, width=length * 0.9, align="edge", color=_SEEN, label="seen before")
    axes.bar(at, new, width=length * 0.9, align="edge", bottom=active - new, color=_GUESS, label="new")
    axes.set_xlabel(f"hours since the first record; a bar is {length} h")
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))
    return figure


def accumulation(coverage: Coverage) -> Figure:
    """Distinct edges against time and, where it can be estimated, how many are still unseen, with the 95 % interval.

    Args:
        coverage: what `measure_coverage` returned.

    """
    figure, axes = _figure(8.0, 3.4)
    hours = [0, *(p.hours for p in coverage.curve)]
    seen = [0, *(p.edges for p in coverage.curve)]
    axes.step(hours, seen, where="post", color=_SEEN, linewidth=2, label="edges seen")
    e = coverage.whole.estimate
    if e.unseen is not None and e.low is not None and e.high is not None:
        axes.axhspan(seen[-1] + e.low, seen[-1] + e.high, color=_GUESS, alpha=0.22, label="95 % interval")
        axes.axhline(seen[-1] + e.unseen, color=_GUESS, linestyle="--", label=f"with unseen edges: {e.unseen:.1f} more")
        title = f"Observation: {coverage.whole.state}"
    else:
        title = f"Observation: {coverage.whole.state}; unseen edges not estimable"
    axes.set_title(title, loc="left")
    axes.set_xlabel("hours since the first record")
    axes.set_ylabel("distinct edges")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def size_against_over_permission(plans: Plan | Mapping[str, Plan], config: Config | None = None) -> Figure:
    """Each policy's size (its peers and ports) against what it allows and nobody was seen using.

    Args:
        plans: a plan, or several by name, to compare settings such as `max_extra_addresses` or `cni`.
        config: the settings; only `cni` and the scope are used.

    What is allowed beyond what was seen is counted in pairs of workloads: another workload counts once for every policy
    that lets it in or out on a port that it was not seen using. Addresses outside are not counted.

    """
    named = {"": plans} if isinstance(plans, Plan) else dict(plans)
    figure, axes = _figure(6.4, 4.2)
    for i, (name, plan) in enumerate(named.items()):
        points = _sizes(gather(plan, config))
        across, up = [size for size, _, _ in points], [excess for _, excess, _ in points]
        axes.scatter(across, up, color=_COLOURS[i % len(_COLOURS)], alpha=0.75, label=_plain(name) or None)
        if len(named) == 1 and 0 < len(points) <= _NAMED:
            _name_points(axes, points)
    axes.set_title("Policy size against over-permission", loc="left")
    axes.set_xlabel("peers and ports in the policy's rules")
    axes.set_ylabel("parties allowed more than was seen")
    if any(named):
        axes.legend(frameon=False, fontsize=8)
    return figure


def _name_points(axes: Axes, points: Sequence[tuple[int, int, str]]) -> None:
    """Names beside points, aslant so that neighbours stay readable; policies at one point share a label."""
    together: dict[tuple[int, int], list[str]] = {}
    for size, excess, policy in points:
        together.setdefault((size, excess), []).append(_plain(policy))
    for at, names in together.items():
        label = "\n".join(sorted(names))
        axes.annotate(label, at, (5, 5), textcoords="offset points", fontsize=7, rotation=35, rotation_mode="anchor")
    axes.set_ylim(-0.5, max(excess for _, excess, _ in points) * 1.3 + 1)


def draw_all(plan: Plan, config: Config, directory: Path) -> list[Path]:
    """All plots of a plan as SVG and PNG files; the same plan gives the same bytes.

    Raises:
        OptionError: matplotlib is not installed.
        InputError: the directory cannot be written.

    """
    figures = {
        "accumulation": accumulation(measure(plan.edges, config)),
        "edges-over-time": edges_over_time(plan.edges),
        "port-heat-map": port_heat_map(plan.edges),
        "size-against-over-permission": size_against_over_permission(plan, config),
    }
    written = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, figure in figures.items():
            for form in FORMATS:
                path = directory / f"{name}.{form}"
                path.write_bytes(image(figure, form))
                written.append(path)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", Place(str(directory))) from None
    return written


def image(figure: Figure, form: str) -> bytes:
    """A figure as `svg` or `png`, without a date or a random identifier in it.

    Raises:
        OptionError: another form.

    """
    from matplotlib import rc_context  # noqa: PLC0415 - an optional dependency

    if form not in FORMATS:
        raise OptionError(f"{form!r} is not one of {', '.join(FORMATS)}")
    out = BytesIO()
    metadata = {"Date": None, "Creator": None} if form == "svg" else {"Software": None}
    with rc_context({"svg.hashsalt": "netpol-gen", "svg.fonttype": "none"}):
        figure.savefig(out, format=form, metadata=metadata, dpi=144)
    return out.getvalue()


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - an optional dependency
    except ImportError:
        raise OptionError("plots need matplotlib: pip install 'netpol-gen[plots]'") from None

    class Plot(Figure):
        """A figure of our own, not one of pyplot's, which would be kept; a notebook shows it by itself."""

        def _repr_png_(self) -> bytes:
            return image(self, "png")

    figure = Plot(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_INK)
    # Edges, peers and hours come in whole numbers.
    axes.locator_params(integer=True)
    return figure, axes


def _busiest(flows: Mapping[tuple[str, tuple[int, str]], int], side: int, most: int) -> list[Any]:
    totals: dict[Any, int] = {}
    for key, number in flows.items():
        totals[key[side]] = totals.get(key[side], 0) + number
    return sorted(sorted(totals, key=lambda k: (-totals[k], k))[:most])


def _plain(name: str) -> str:
    """Text that matplotlib does not take for mathematics."""
    return text(name, _LONGEST).replace("$", r"\$")


def _sizes(material: Material) -> list[tuple[int, int, str]]:
    """Size, over-permission and name of every generated policy."""
    parties = find_parties(material)
    accepted = material.plan.edges.accepted
    seen = used_between(accepted, parties)
    subjects = _subjects(material, accepted)
    out = []
    for policy in material.plan.policies:
        size = sum(_entries(rule.peers) + _entries(rule.ports) for d in policy.policy_types for rule in policy.rules(d))
        more = {
            (src, dst)
            for workload in subjects.get(policy.ref, ())
            for src, dst, allowed in _around(material, policy, workload)
            if allowed - seen.get((parties.number(src), parties.number(dst)), ConnectionSet.NONE)
        }
        out.append((size, len(more), policy.ref))
    return out


def _entries(items: Sequence[object] | Any) -> int:
    return 1 if items is ALL else len(items)


def _subjects(material: Material, accepted: Mapping[Edge, Any]) -> dict[str, set[Workload]]:
    """Workloads that each policy isolates, as the judge says."""
    out: dict[str, set[Workload]] = {}
    for edge in accepted:
        verdict = material.after.verdicts[edge]
        for party, side in ((edge.src, verdict.egress), (edge.dst, verdict.ingress)):
            if isinstance(party, Workload):
                for ref in side.isolated_by:
                    out.setdefault(ref, set()).add(party)
    return out


def _around(material: Material, policy: NetworkPolicy, workload: Workload) -> list[tuple[Party, Party, ConnectionSet]]:
    """What certainly passes between a workload and every other, in the directions that the policy restricts."""
    allowed = material.after.connectivity
    out: list[tuple[Party, Party, ConnectionSet]] = []
    for direction in policy.policy_types:
        for other in allowed.workloads:
            ends = (workload, other) if direction == "Egress" else (other, workload)
            if other != workload:
                out.append((*ends, allowed.between(*ends)[0]))
    return out
