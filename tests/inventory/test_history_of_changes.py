"""Histories that hold changes only, what could not be read, and what the API server calls."""

from __future__ import annotations

import json

import pytest

from netpol_gen.errors import InputError
from netpol_gen.inventory import load_inventory

DAY = "2026-05-01T{}:00:00Z"


def pod(name: str, ip: str, **metadata: object) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}", **metadata},
        "status": {"phase": "Running", "podIP": ip, "startTime": DAY.format("01")},
    }


def service(name: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"clusterIP": "10.96.0.9", "ports": [{"port": 80}]},
    }


def gone(kind: str, name: str, last_seen: str, gone_by: str, **more: str) -> dict[str, object]:
    spec = {"kind": kind, "namespace": "shop", "name": name, "lastSeen": last_seen, "goneBy": gone_by, **more}
    return {"apiVersion": "netpol-gen.dev/v1", "kind": "Gone", "spec": spec}


def a_list(taken: str, *items: object, since: str = "", **notes: str) -> str:
    annotations = {"netpol-gen.dev/taken-at": taken, **{f"netpol-gen.dev/{k}": v for k, v in notes.items()}}
    if since:
        annotations["netpol-gen.dev/changes-since"] = since
    whole = {"apiVersion": "v1", "kind": "List", "metadata": {"annotations": annotations}, "items": list(items)}
    return json.dumps(whole)


def read(tmp_path, *lists: str):
    file = tmp_path / "history.json"
    file.write_text("\n".join(lists) + "\n", encoding="utf-8")
    return load_inventory([file])


def hours(time: int | None) -> float | None:
    return None if time is None else (time / 1e9 - 1777593600) / 3600


def test_what_a_list_of_changes_leaves_out_stayed_as_it_was(tmp_path):
    changes = a_list(DAY.format("03"), pod("b", "10.0.0.2"), since=DAY.format("02"))
    held = read(tmp_path, a_list(DAY.format("02"), pod("a", "10.0.0.1")), changes)
    assert {p.name: p.live for p in held.pods} == {"a": True, "b": True}
    # The same without the annotation says that `a` is gone.
    whole = a_list(DAY.format("03"), pod("b", "10.0.0.2"))
    held = read(tmp_path, a_list(DAY.format("02"), pod("a", "10.0.0.1")), whole)
    assert {p.name: p.live for p in held.pods} == {"a": False, "b": True}


def test_a_pod_that_went_between_two_looks(tmp_path):
    entry = gone("Pod", "a", DAY.format("03"), DAY.format("05"), uid="uid-a")
    before = a_list(DAY.format("02"), pod("a", "10.0.0.1"))
    held = read(tmp_path, before, a_list(DAY.format("05"), entry, since=DAY.format("03")))
    (only,) = held.pods
    assert (hours(only.unsure_from), hours(only.ended)) == (3, 5)


def test_a_pod_whose_end_was_seen(tmp_path):
    entry = gone("Pod", "a", DAY.format("04"), DAY.format("04"), uid="uid-a")
    before = a_list(DAY.format("02"), pod("a", "10.0.0.1"))
    held = read(tmp_path, before, a_list(DAY.format("05"), entry, since=DAY.format("02")))
    assert (held.pods[0].unsure_from, hours(held.pods[0].ended)) == (None, 4)


def test_a_deletion_that_was_due_before_it_was_seen_counts(tmp_path):
    entry = gone("Pod", "a", DAY.format("04"), DAY.format("04"), uid="uid-a")
    look = pod("a", "10.0.0.1", deletionTimestamp=DAY.format("03"))
    held = read(tmp_path, a_list(DAY.format("02"), look), a_list(DAY.format("05"), entry, since=DAY.format("02")))
    assert hours(held.pods[0].ended) == 3


def test_another_pod_of_the_name_is_not_touched(tmp_path):
    entry = gone("Pod", "a", DAY.format("04"), DAY.format("04"), uid="uid-of-another")
    before = a_list(DAY.format("02"), pod("a", "10.0.0.1"))
    held = read(tmp_path, before, a_list(DAY.format("05"), entry, since=DAY.format("02")))
    assert held.pods[0].live


def test_a_service_goes_and_comes_again(tmp_path):
    first = a_list(DAY.format("02"), service("web"))
    away = a_list(DAY.format("03"), gone("Service", "web", DAY.format("02"), DAY.format("03")), since=DAY.format("02"))
    again = a_list(DAY.format("04"), service("web"), since=DAY.format("03"))
    assert [s.name for s in read(tmp_path, first).services] == ["web"]
    assert [s.name for s in read(tmp_path, first, away).services] == []
    assert [s.name for s in read(tmp_path, first, away, again).services] == ["web"]
    assert [s.name for s in read(tmp_path, again, away, first).services] == ["web"], "in whatever order"


def test_a_list_that_says_that_there_are_no_pods(tmp_path):
    none = a_list(DAY.format("03"), service("web"), **{"shows-pods": "true"})
    assert not read(tmp_path, a_list(DAY.format("02"), pod("a", "10.0.0.1")), none).pods[0].live
    silent = a_list(DAY.format("03"), service("web"), **{"shows-pods": "false"})
    assert read(tmp_path, a_list(DAY.format("02"), pod("a", "10.0.0.1")), silent).pods[0].live


def test_what_could_not_be_read_is_told(tmp_path):
    notes = {"not-read": "nodes: forbidden; addresses of nodes are not known\npods in a, b: forbidden; x"}
    held = read(tmp_path, a_list(DAY.format("02"), service("web"), **notes))
    assert [d.message for d in held.diagnostics if d.code == "NPG112"] == [
        "could not be read: nodes: forbidden; addresses of nodes are not known",
        "could not be read: pods in a, b: forbidden; x",
    ]


def test_what_the_api_server_calls(tmp_path):
    hooks = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "inject"},
        "webhooks": [
            {"name": "a", "clientConfig": {"service": {"namespace": "shop", "name": "hook"}}},
            {"name": "b", "clientConfig": {"url": "https://elsewhere.example/"}},
        ],
    }
    metrics = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1beta1.metrics.k8s.io"},
        "spec": {"service": {"namespace": "kube-system", "name": "metrics-server", "port": 4443}},
    }
    own = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1.apps"}, "spec": {}}
    held = read(tmp_path, a_list(DAY.format("02"), hooks, metrics, own))
    assert [(c.service, c.port, c.why) for c in held.callees] == [
        ("kube-system/metrics-server", 4443, "APIService/v1beta1.metrics.k8s.io"),
        ("shop/hook", 443, "MutatingWebhookConfiguration/inject"),
    ]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("lastSeen", None, "spec.lastSeen: no time"),
        ("goneBy", "yesterday", "spec.goneBy: yesterday is not an RFC 3339 time"),
        ("kind", "a kind", "spec.kind: a kind is not a kind"),
        ("name", "", "spec.name: no name"),
    ],
)
def test_a_broken_entry_is_named(tmp_path, field, value, message):
    entry = gone("Pod", "a", DAY.format("04"), DAY.format("04"), uid="u")
    entry["spec"][field] = value
    with pytest.raises(InputError, match=r"history\.json") as caught:
        read(tmp_path, a_list(DAY.format("02"), pod("a", "10.0.0.1")), a_list(DAY.format("05"), entry))
    assert message in str(caught.value)
