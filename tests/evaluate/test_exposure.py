"""Open doors: what pods and namespaces that nobody has created yet could reach."""

from __future__ import annotations

import pytest

from netpol_gen.connectivity import exposure
from netpol_gen.evaluate.exposure import ANYBODY
from netpol_gen.model import Decision, Direction
from tests.evaluate.cluster import inventory, pod, policies

WEB, DB = pod("web"), pod("db")
CLUSTER = inventory(WEB, DB)


def doors(text, cluster=CLUSTER, name="db", direction=Direction.INGRESS):
    found = exposure(policies(text), cluster, ipblock_matches_pods=Decision.DENY)
    return [(e.peer, str(e.connections), e.seen) for e in found if e.workload.name == name and e.direction is direction]


def ingress(peers, ports="[{port: 80}]"):
    return f"{{podSelector: {{matchLabels: {{app: db}}}}, ingress: [{{from: {peers}, ports: {ports}}}]}}"


def test_a_pod_that_no_policy_selects_is_open_to_anybody():
    assert doors("{podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress]}", name="web") == [(ANYBODY, "all", 2)]


def test_a_closed_pod_has_no_door():
    assert doors("{podSelector: {}, policyTypes: [Ingress]}") == []


def test_an_empty_namespace_selector_is_an_open_door_even_in_an_empty_cluster():
    alone = inventory(DB)
    assert doors(ingress("[{namespaceSelector: {}}]"), alone) == [(ANYBODY, "TCP 80", 1)]
    assert doors(ingress("[]"), alone) == [(ANYBODY, "TCP 80", 1)]


@pytest.mark.parametrize(
    ("peer", "shown", "seen"),
    [
        ("{podSelector: {}}", "any pod in shop", 2),
        ("{podSelector: {matchLabels: {app: web}}}", "pods app=web in shop", 1),
        ("{namespaceSelector: {matchLabels: {team: a}}}", "any pod in namespaces team=a", 0),
        (
            "{namespaceSelector: {matchExpressions: [{key: t, operator: In, values: [a, b]}]}, podSelector: {}}",
            "any pod in namespaces t in (a,b)",
            0,
        ),
        ("{namespaceSelector: {matchExpressions: [{key: team, operator: Exists}]}}", "any pod in namespaces team", 0),
        (
            "{namespaceSelector: {matchExpressions: [{key: team, operator: NotIn, values: [a]}]}}",
            "any pod in namespaces team notin (a)",
            2,
        ),
        (
            "{namespaceSelector: {matchExpressions: [{key: team, operator: DoesNotExist}]}}",
            "any pod in namespaces !team",
            2,
        ),
    ],
)
def test_every_pattern_is_a_door_for_pods_to_come(peer, shown, seen):
    assert doors(ingress(f"[{peer}]")) == [(shown, "TCP 80", seen)]


def test_a_special_peer_is_listed_only_where_it_gets_more():
    text = f"{ingress('[{namespaceSelector: {}}]')}\n---\n{ingress('[{podSelector: {matchLabels: {app: web}}}]')}"
    assert doors(text) == [(ANYBODY, "TCP 80", 2)]
    more = text.replace("app: web}}}], ports: [{port: 80}]", "app: web}}}], ports: [{port: 81}]")
    assert more != text
    assert doors(more) == [(ANYBODY, "TCP 80", 2), ("pods app=web in shop", "TCP 80-81", 1)]


def test_a_block_is_no_door_for_pods_and_an_impossible_selector_none_at_all():
    assert doors(ingress("[{ipBlock: {cidr: 0.0.0.0/0}}]")) == []
    impossible = "{matchLabels: {a: b}, matchExpressions: [{key: a, operator: DoesNotExist}]}"
    assert doors(ingress(f"[{{podSelector: {impossible}}}]")) == []


def test_doors_outwards():
    text = "{podSelector: {matchLabels: {app: db}}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {}}]}]}"
    assert doors(text, direction=Direction.EGRESS) == [(ANYBODY, "all", 2)]


def test_what_a_port_name_of_a_stranger_adds_is_only_possible():
    rules = "[{ports: [{port: http}]}, {ports: [{port: 53, protocol: UDP}]}]"
    text = f"{{podSelector: {{matchLabels: {{app: db}}}}, policyTypes: [Egress], egress: {rules}}}"
    found = [
        e for e in exposure(policies(text), CLUSTER) if e.workload.name == "db" and e.direction is Direction.EGRESS
    ]
    assert [(str(e.connections), str(e.possible)) for e in found] == [("UDP 53", "TCP 1-65535; UDP 53")]


def test_what_other_labels_of_a_stranger_would_add_is_possible():
    special = ingress("[{podSelector: {matchLabels: {app: web}}}]", "[{port: 81}]")
    text = f"{ingress('[{podSelector: {}}]')}\n---\n{special}"
    found = {e.peer: e for e in exposure(policies(text), CLUSTER) if e.workload.name == "db"}
    shown = {
        peer: (str(e.connections), str(e.possible)) for peer, e in found.items() if e.direction is Direction.INGRESS
    }
    assert shown == {
        "any pod in shop": ("TCP 80", "TCP 80-81"),
        "pods app=web in shop": ("TCP 80-81", "TCP 80-81"),
    }
