"""Rows told by an end alone: the address must have had one holder for as long as the packets can be old."""

from __future__ import annotations

import pytest

from netpol_gen.edges import Edges, find_edges
from netpol_gen.flowtable import Reason
from netpol_gen.model import UNKNOWN_TIME, Signal
from tests.flowrows import COMPLETE, NOW, flows_of, inventory_of, pod, row

SECOND = 1_000_000_000
CLIENT, API = "10.0.1.10", "10.0.2.11"
EDGES = {who: f"shop/{who}[Deployment] -> shop/api[Deployment] TCP 8080" for who in ("old", "new")}
AGE = {Signal.EXPIRED: 300, Signal.FORGOTTEN: 5 * 24 * 3600 + 300}


def found(seconds: int, signals: Signal = COMPLETE, *, time: int = NOW, before: bool = True) -> Edges:
    """A row `seconds` after its client's address went to another pod (or, without one before, to its first)."""
    handed = NOW - seconds * SECOND
    held = [pod("old-1", "old", CLIENT, ended=handed - 20 * SECOND)] if before else []
    pods = (*held, pod("new-1", "new", CLIENT, started=handed), pod("api-1", "api", API, 8080))
    seen = row(CLIENT, API, 8080, signals=int(signals), first_seen=time, last_seen=time)
    return find_edges(flows_of(seen), inventory_of(*pods))


def accepted(edges: Edges) -> list[str]:
    return [str(edge) for edge in edges.accepted]


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("late", AGE)
def test_a_holder_that_may_be_too_young_is_no_holder(late, before):
    edges = found(AGE[late] - 10, COMPLETE | late, before=before)
    assert accepted(edges) == []
    assert edges.ledger.set_aside == {Reason.AMBIGUOUS: 1}


@pytest.mark.parametrize("late", AGE)
def test_a_holder_that_is_old_enough_is_the_holder(late):
    edges = found(AGE[late] + 10, COMPLETE | late)
    assert accepted(edges) == [EDGES["new"]]
    (evidence,) = edges.accepted.values()
    assert (evidence.first_seen, evidence.last_seen) == (NOW, NOW)


def test_of_both_the_longer_counts():
    assert accepted(found(AGE[Signal.EXPIRED] + 10, COMPLETE | Signal.EXPIRED | Signal.FORGOTTEN)) == []


def test_what_is_told_in_time_needs_no_more_than_its_own_time():
    assert accepted(found(60)) == [EDGES["new"]]


@pytest.mark.parametrize("late", AGE)
def test_without_a_time_there_is_nothing_to_reckon_from(late):
    assert accepted(found(60, COMPLETE | late, time=UNKNOWN_TIME)) == [EDGES["new"]]


def test_the_server_is_asked_for_as_well():
    pods = (pod("old-1", "old", CLIENT), pod("api-1", "api", API, 8080, started=NOW - 100 * SECOND))
    seen = row(CLIENT, API, 8080, signals=int(COMPLETE | Signal.EXPIRED))
    edges = find_edges(flows_of(seen), inventory_of(*pods))
    assert edges.ledger.set_aside == {Reason.AMBIGUOUS: 1}
    behind = row(CLIENT, "10.96.0.1", 80, backend_ip=API, backend_port=8080, signals=int(COMPLETE | Signal.EXPIRED))
    edges = find_edges(flows_of(behind), inventory_of(*pods))
    assert edges.ledger.set_aside == {Reason.AMBIGUOUS: 1}
