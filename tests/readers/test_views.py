"""The same calls, seen by four sources, are the same edges: those that were made."""

from __future__ import annotations

import json
import random

import pytest

from netpol_gen.edges import find_edges
from netpol_gen.inventory import load_inventory
from netpol_gen.model import DirectionEvidence
from netpol_gen.readers import read_flows
from tests.readers import views

SEEDS = (1, 2, 3)


@pytest.fixture(scope="module")
def inventory(tmp_path_factory):
    path = tmp_path_factory.mktemp("inventory") / "objects.json"
    path.write_text(json.dumps(views.inventory()))
    return load_inventory([path])


def accepted(directory, inventory, name, text):
    path = directory / f"{name}.log"
    path.write_text(text)
    flows = read_flows([path])
    assert dict(flows.sources).keys() == {name}
    edges = find_edges(flows, inventory)
    return {
        (str(e.src), str(e.dst), str(e.protocol), e.port): evidence for e, evidence in edges.accepted.items()
    }, edges


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("view", views.VIEWS)
def test_every_source_shows_the_calls_that_were_made(tmp_path, inventory, view, seed):
    made = views.calls(seed)
    found, edges = accepted(tmp_path, inventory, view, views.VIEWS[view](made))
    assert set(found) == views.truth(made)
    # No rule may come of a Service's own port or address, nor of a client's port.
    assert {edge[3] for edge in found} <= {8080, 9090, 5432, 53, 9153, 50051, 443}
    assert not [edge for edge in found if "10.96." in edge[0] + edge[1]]
    assert not edges.ledger.bad


@pytest.mark.parametrize("view", views.VIEWS)
def test_counts_are_connections(tmp_path, inventory, view):
    made = views.calls(4, count=15)
    found, _ = accepted(tmp_path, inventory, view, views.VIEWS[view](made))
    wanted: dict[tuple[str, str, str, int], int] = {}
    for call in made:
        (edge,) = views.truth([call])
        wanted[edge] = wanted.get(edge, 0) + 1
    assert {edge: evidence.flows for edge, evidence in found.items()} == wanted


@pytest.mark.parametrize("view", views.VIEWS)
def test_order_of_records_leaves_no_trace(tmp_path, inventory, view):
    made = views.calls(5, count=5)
    lines = list(views.records(view, made))
    head = [lines.pop(0)] if view == "aws-vpc" else []
    whole = []
    for seed in (0, 1):
        random.Random(seed).shuffle(lines)
        found, _ = accepted(tmp_path, inventory, view, "\n".join(head + lines) + "\n")
        # Where a record stood is the one thing that the order decides.
        whole.append({edge: (e.flows, e.first_seen, e.last_seen, e.hours, e.direction) for edge, e in found.items()})
    assert whole[0] == whole[1]


def test_direction_is_strong_where_the_source_knows_it(tmp_path, inventory):
    made = [call for call in views.calls(6) if call.protocol == "TCP"]
    kinds = {}
    for view in views.VIEWS:
        found, _ = accepted(tmp_path, inventory, view, views.VIEWS[view](made))
        kinds[view] = {evidence.direction for evidence in found.values()}
    assert kinds["aws-vpc"] == {DirectionEvidence.SYN}
    assert kinds["conntrack"] == {DirectionEvidence.CONNTRACK}
    assert all(kind.strong for kind in kinds["hubble"])
    assert not any(kind.strong for kind in kinds["gcp-vpc"])


def test_all_sources_together(tmp_path, inventory):
    made = views.calls(7)
    for name, view in views.VIEWS.items():
        (tmp_path / f"{name}.log").write_text(view(made))
    flows = read_flows([tmp_path])
    assert sorted(flows.sources) == sorted(views.VIEWS)
    edges = find_edges(flows, inventory)
    found = {(str(e.src), str(e.dst), str(e.protocol), e.port) for e in edges.accepted}
    assert found == views.truth(made)
