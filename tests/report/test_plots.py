"""Plots: what is drawn is what was seen, names are no mathematics, and the same plan gives the same files."""

from __future__ import annotations

import sys

import pytest

from netpol_gen import plots
from netpol_gen.config import Config
from netpol_gen.coverage import measure
from netpol_gen.errors import InputError, OptionError
from tests.flowrows import HOUR, NOW, row
from tests.report import pages


@pytest.fixture(scope="module")
def plan():
    return pages.plan()


def test_heat_map_has_a_cell_per_server_and_port(plan):
    axes = plots.port_heat_map(plan.edges).axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["shop/api", "shop/db"]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["TCP 5432", "TCP 9090"]
    grid = axes.images[0].get_array()
    # 41 connections to the API, one to the database; nobody called the API on the database's port.
    assert round(10 ** float(grid[0, 1])) == 41
    assert float(grid[1, 0]) == 0
    assert grid.mask.tolist() == [[True, False], [False, True]]


def test_heat_map_says_how_many_it_leaves_out(plan):
    axes = plots.port_heat_map(plan.edges, most=1).axes[0]
    assert axes.get_title(loc="left") == "Ports in use: 1 of 2 workloads"
    assert [t.get_text() for t in axes.get_yticklabels()] == ["shop/api"]


def test_edges_over_time_tells_new_from_known():
    again = row("10.0.0.2", "10.0.0.3", 5432, first_seen=NOW + HOUR, last_seen=NOW + HOUR, hours=[NOW // HOUR + 1])
    axes = plots.edges_over_time(pages.plan(again).edges, bin_hours=1).axes[0]
    known, new = ([bar.get_height() for bar in group] for group in axes.containers)
    # Hour by hour: the database alone; the three others with it; it alone once more.
    assert new == [1, 3, 0]
    assert known == [0, 1, 1]


def test_accumulation_ends_at_what_was_seen(plan):
    found = measure(plan.edges)
    axes = plots.accumulation(found).axes[0]
    assert axes.lines[0].get_ydata()[-1] == found.curve[-1].edges == 4
    assert axes.get_title(loc="left") == "Observation: Learning; unseen edges not estimable"


def test_over_permission_is_counted_in_parties(plan):
    points = plots.size_against_over_permission(plan).axes[0].collections[0].get_offsets().tolist()
    # web may reach what it called and nothing else; the API is open on a second port to its whole namespace by the
    # policy that somebody wrote, which counts at the API's own policy.
    sizes = {p.ref: p for p in plan.policies}
    assert len(points) == len(sizes) == 4
    assert sorted(excess for _, excess in points)[:3] == [0, 0, 0]


def test_several_plans_have_a_legend(plan):
    axes = plots.size_against_over_permission({"exact": plan, "$loose$": plan}).axes[0]
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["exact", r"\$loose\$"]


def test_nothing_seen_is_drawn_empty():
    from netpol_gen import pipeline
    from tests.flowrows import flows_of, inventory_of

    empty = pipeline.generate(flows_of(), inventory_of())
    assert len(plots.edges_over_time(empty.edges).axes[0].patches) == 0
    assert len(plots.port_heat_map(empty.edges).axes[0].images) == 0
    assert plots.accumulation(measure(empty.edges)).axes
    assert plots.size_against_over_permission(empty).axes


def test_all_are_written_twice_with_the_same_bytes(plan, tmp_path):
    first = plots.draw_all(plan, Config(), tmp_path / "a")
    second = plots.draw_all(plan, Config(), tmp_path / "b")
    assert [p.name for p in first] == [p.name for p in second]
    assert len(first) == 8
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes(), a.name
    assert b"<dc:date>" not in (tmp_path / "a" / "accumulation.svg").read_bytes()


def test_hostile_names_stay_text_in_svg(tmp_path):
    client = row("10.0.0.2", "10.0.0.5", 7000)
    figure = plots.port_heat_map(pages.plan(client).edges)
    svg = plots.image(figure, "svg").decode()
    assert "<script" not in svg
    assert "&lt;/script&gt;" in svg


def test_what_cannot_be_drawn_or_written_is_said(plan, tmp_path, monkeypatch):
    with pytest.raises(OptionError, match="not one of svg, png"):
        plots.image(plots.port_heat_map(plan.edges), "bmp")
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be written"):
        plots.draw_all(plan, Config(), tmp_path / "file")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(OptionError, match="pip install"):
        plots.port_heat_map(plan.edges)
