"""Addresses that pods of one workload pass on to each other: whose row it is, be it not known which pod's."""

from __future__ import annotations

from typing import Any

import pytest

from netpol_gen.config import Config
from netpol_gen.edges import Edges, find_edges
from netpol_gen.flowtable import Reason
from netpol_gen.inventory import Inventory
from netpol_gen.model import Signal
from tests.flowrows import COMPLETE, HOUR, NOW, flows_of, inventory_of, pod, row, service

SHARED, API = "10.0.1.10", "10.0.1.11"
SECOND = HOUR // 3600
SPAN: dict[str, Any] = {"first_seen": NOW - HOUR // 2, "last_seen": NOW + HOUR // 2}
RUNS = (("report-1", "report", None, 0), ("report-2", "report", 2, None))
"""Name, workload, and when it came and went, in seconds from `NOW`: within the guard of one another."""


def cluster(*runs: tuple[str, str, int | None, int | None], **more: Any) -> Inventory:
    pods = [
        pod(
            name,
            app,
            SHARED,
            9000,
            started=0 if came is None else NOW + came * SECOND,
            ended=None if went is None else NOW + went * SECOND,
            **more.get(name, {}),
        )
        for name, app, came, went in runs
    ]
    return inventory_of(*pods, pod("api-1", "api", API, 8080), service("api", "api", "10.96.0.20", 80, 8080))


def edges(inventory: Inventory, *rows: dict[str, Any]) -> Edges:
    return find_edges(flows_of(*rows), inventory, Config())


def accepted(found: Edges) -> list[str]:
    return sorted(map(str, found.accepted))


@pytest.mark.parametrize("when", [SPAN, {}], ids=["over both lives", "within the guard"])
def test_the_next_pod_of_the_same_workload(when):
    rows = [row(SHARED, API, 8080, **when), row(API, SHARED, 9000, **when)]
    found = edges(cluster(*RUNS), *rows)
    assert accepted(found) == [
        "shop/api[Deployment] -> shop/report[Deployment] TCP 9000",
        "shop/report[Deployment] -> shop/api[Deployment] TCP 8080",
    ]


def test_many_rows_are_told_as_one_is():
    rows = [row(SHARED, API, 8080 + i, first_seen=NOW - i * SECOND, last_seen=NOW + i * SECOND) for i in range(5)]
    assert len(edges(cluster(*RUNS), *rows).accepted) == 5


@pytest.mark.parametrize(
    "runs",
    [
        [RUNS[0], ("backup-1", "backup", 2, None)],
        [RUNS[0], ("report-2", "report", 20, None)],
        [*RUNS, ("backup-1", "backup", 60, 90)],
    ],
    ids=["another workload's pod", "a time without a holder", "another's for a while"],
)
def test_anything_else_in_between_is_doubt(runs):
    assert edges(cluster(*runs), row(SHARED, API, 8080, **SPAN)).ledger.set_aside == {Reason.AMBIGUOUS: 1}


def test_what_is_not_sure_is_doubt():
    unsure = {"report-1": {"unsure_from": NOW - 60 * SECOND}}
    found = edges(cluster(*RUNS, **unsure), row(SHARED, API, 8080, **SPAN))
    assert found.ledger.set_aside == {Reason.AMBIGUOUS: 1}


def test_an_address_that_calls_itself_is_a_pod_that_calls_itself():
    said = {**SPAN, "backend_ip": SHARED, "backend_port": 9000}
    rows = [row(SHARED, SHARED, 9000, **SPAN), row(SHARED, "10.96.0.20", 80, **said)]
    found = edges(cluster(*RUNS), *rows)
    assert found.ledger.set_aside == {Reason.SELF: 2}
    sibling = pod("report-0", "report", "10.0.1.20", 9000)
    both = inventory_of(*cluster(*RUNS).pods, sibling)
    assert accepted(edges(both, row(SHARED, "10.0.1.20", 9000, **SPAN))) == [
        "shop/report[Deployment] -> shop/report[Deployment] TCP 9000"
    ]


TAKEN = (("old-1", "old", None, -2), ("new-1", "new", 0, None))
OPENED: dict[str, Any] = {"first_seen": NOW, "last_seen": NOW + 30 * SECOND}
GOES_ON: dict[str, Any] = {
    "first_seen": NOW + 60 * SECOND,
    "last_seen": NOW + 90 * SECOND,
    "direction": None,
    "signals": int(COMPLETE & ~(Signal.SYN | Signal.SYN_ACK)),
}


@pytest.mark.parametrize(
    ("port", "client", "wanted"),
    [(50051, 2000, []), (9999, 8888, ["shop/api[Deployment] -> shop/new[Deployment] TCP 9999"])],
    ids=["the higher one is the server's", "both are low"],
)
@pytest.mark.parametrize("turned", [False, True])
def test_a_call_to_a_pod_that_just_came_is_not_turned_round_later(port, client, wanted, turned):
    # What opened it is within the guard, and nobody's; what follows has no SYN.
    ends = (SHARED, API, client, port) if turned else (API, SHARED, port, client)
    later = row(*ends[:3], src_port=ends[3], **GOES_ON)
    found = edges(cluster(*TAKEN), row(API, SHARED, port, **OPENED), later)
    assert accepted(found) == wanted
    assert found.ledger.set_aside == {Reason.AMBIGUOUS: 1, **({} if wanted else {Reason.UNDECIDED: 1})}
    assert all(not evidence.strong for evidence in found.accepted.values())


def test_a_call_from_a_pod_that_just_came_tells_who_listens():
    later = row(SHARED, API, 9999, src_port=8888, **GOES_ON)
    found = edges(cluster(*TAKEN), row(SHARED, API, 9999, **OPENED), later)
    assert accepted(found) == ["shop/new[Deployment] -> shop/api[Deployment] TCP 9999"]
