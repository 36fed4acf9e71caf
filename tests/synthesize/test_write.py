"""From edges to policies: what is isolated, what stays open, what is said about it."""

from __future__ import annotations

import pytest

from netpol_gen.config import Config
from netpol_gen.errors import OptionError
from netpol_gen.model import Direction, External, ExternalKind, Workload
from netpol_gen.synthesize import Gap, synthesize
from tests.synthesize.build import Cluster, codes, edge, evidence, node, shown, w, world

IN, OUT = Direction.INGRESS, Direction.EGRESS
UNKNOWN = External(ExternalKind.UNKNOWN, "10.244.9.9")


def written(cluster, *edges, config=None, wanted=None):
    return synthesize(evidence(*edges), cluster.inventory, config or Config(), wanted=wanted)


def gaps(synthesis):
    return {(str(g.workload), str(g.direction)): g.reason for g in synthesis.gaps}


def backend():
    return (
        Cluster()
        .deploy("backend/payments", "app=payments", declared=":8443")
        .deploy("backend/api-gateway", "app=api-gateway")
    )


CALL = edge("backend/api-gateway", "backend/payments", 8443)


def test_payments():
    config = Config(names={"backend/Deployment/payments": "internal-port-restrict"})
    found = written(backend(), CALL, config=config)
    assert shown(found, "backend/internal-port-restrict") == [
        "app=payments Ingress",
        "from app=api-gateway : TCP 8443",
    ]


def test_a_direction_without_evidence_stays_open_and_is_listed():
    found = written(backend(), CALL)
    assert gaps(found) == {
        ("backend/payments[Deployment]", "Egress"): "nothing was seen in this direction",
        ("backend/api-gateway[Deployment]", "Ingress"): "nothing was seen in this direction",
    }


def test_an_idle_workload_gets_no_policy():
    found = written(backend().deploy("backend/idle", "app=idle"), CALL)
    assert "backend/idle" not in {p.ref for p in found.policies}
    assert Gap(w("backend/idle"), IN, "nothing was seen in this direction") in found.gaps
    assert Gap(w("backend/idle"), OUT, "nothing was seen in this direction") in found.gaps


def test_no_edges_no_policies():
    assert written(backend()).policies == ()


def test_every_rule_has_a_note_with_its_edges():
    found = written(backend(), CALL, edge("backend/payments", world("203.0.113.5"), 443))
    for policy in found.policies:
        for direction in Direction:
            notes = [n for n in found.notes if n.policy == policy.ref and n.direction is direction]
            assert [n.rule for n in notes] == list(range(len(policy.rules(direction))))
            assert all(n.edges or n.inferred for n in notes)


def test_the_own_node_needs_no_rule_and_isolates_nothing():
    probe = edge(External(ExternalKind.OWN_NODE, "10.0.0.1"), "backend/payments", 8443)
    found = written(backend(), probe)
    assert found.policies == ()
    assert gaps(found)["backend/payments[Deployment]", "Ingress"] == "nothing was seen in this direction"


def test_system_namespaces_are_peers_and_no_subjects():
    cluster = backend().deploy("kube-system/metrics", "k8s-app=metrics")
    found = written(cluster, edge("kube-system/metrics", "backend/payments", 8443))
    assert [p.ref for p in found.policies] == ["backend/payments"]
    assert shown(found, "backend/payments")[1] == "from kube-system/k8s-app=metrics : TCP 8443"
    assert not any(g.workload.namespace == "kube-system" for g in found.gaps)


def test_named_namespaces_only():
    cluster = backend().deploy("other/x", "app=x")
    found = written(cluster, edge("other/x", "backend/payments", 8443), config=Config(namespaces=frozenset({"other"})))
    assert [p.ref for p in found.policies] == ["other/x"]


def test_rules_are_grouped_only_exactly():
    cluster = backend().deploy("backend/a", "app=a").deploy("backend/b", "app=b").deploy("backend/c", "app=c")
    edges = [edge(f"backend/{n}", "backend/payments", p) for n in "ab" for p in (80, 443)]
    found = written(cluster, *edges, edge("backend/c", "backend/payments", 80))
    assert shown(found, "backend/payments") == [
        "app=payments Ingress",
        "from app=c : TCP 80",
        "from app=a, app=b : TCP 80, TCP 443",
    ]


def test_the_same_workload_name_in_two_namespaces():
    cluster = backend().deploy("other/api-gateway", "app=api-gateway")
    found = written(cluster, edge("other/api-gateway", "backend/payments", 8443))
    assert shown(found, "backend/payments")[1] == "from other/app=api-gateway : TCP 8443"


def test_traffic_within_a_workload():
    cluster = Cluster().deploy("db/StatefulSet/redis", "app=redis", replicas=3)
    found = written(cluster, edge("db/StatefulSet/redis", "db/StatefulSet/redis", 6379))
    assert shown(found, "db/redis")[:2] == ["app=redis Ingress+Egress", "from app=redis : TCP 6379"]


def test_a_named_port_of_the_subject_and_of_the_peer():
    cluster = backend().deploy("backend/web", "app=web", declared="http:8080")
    found = written(cluster, edge("backend/api-gateway", "backend/web", 8080))
    assert shown(found, "backend/web")[1] == "from app=api-gateway : TCP http"
    assert shown(found, "backend/api-gateway")[1] == "to app=web : TCP http"


def test_host_network_workload_gets_no_policy():
    cluster = backend().deploy("backend/DaemonSet/agent", "app=agent", host_network=True).node("n1", "10.0.0.1")
    found = written(cluster, edge("backend/api-gateway", "backend/DaemonSet/agent", 9100))
    assert "backend/agent" not in {p.ref for p in found.policies}
    assert "network" in gaps(found)["backend/agent[DaemonSet]", "Ingress"]
    assert shown(found, "backend/api-gateway")[1] == "to 10.0.0.1/32 : TCP 9100"


def test_a_pod_without_labels_gets_no_policy():
    cluster = backend().pod("backend/Pod/bare", "")
    found = written(cluster, edge("backend/api-gateway", "backend/Pod/bare", 80))
    assert "backend/bare" not in {p.ref for p in found.policies}
    assert "no label" in gaps(found)["backend/bare[Pod]", "Ingress"]
    assert "NPG202" in codes(found)


def test_a_peer_without_labels_gets_no_rule():
    bare = edge("backend/Pod/bare", "backend/payments", 8443)
    found = written(backend().pod("backend/Pod/bare", ""), CALL, bare)
    assert shown(found, "backend/payments") == ["app=payments Ingress", "from app=api-gateway : TCP 8443"]
    assert [(u.edge, u.direction) for u in found.unwritten] == [(bare, IN)]
    assert "NPG301" in codes(found)


@pytest.mark.parametrize("other", [UNKNOWN, External(ExternalKind.INGRESS_PROXY), world("")])
def test_a_direction_in_which_nothing_can_be_written_stays_open(other):
    found = written(backend(), edge(other, "backend/payments", 8443))
    assert found.policies == ()
    assert gaps(found)["backend/payments[Deployment]", "Ingress"].startswith("no rule can be written")


def test_an_unknown_party_never_becomes_an_ipblock():
    found = written(backend(), CALL, edge(UNKNOWN, "backend/payments", 8443))
    assert shown(found, "backend/payments")[1:] == ["from app=api-gateway : TCP 8443"]
    assert [u.edge.src for u in found.unwritten] == [UNKNOWN]


def test_wanted_restricts_rules_and_not_evidence():
    second = edge("backend/api-gateway", "backend/payments", 9000)
    found = written(backend(), CALL, second, wanted={(second, IN)})
    assert [p.ref for p in found.policies] == ["backend/payments"]
    assert shown(found, "backend/payments")[1] == "from app=api-gateway : TCP 9000"
    assert ("backend/api-gateway[Deployment]", "Egress") not in gaps(found)


def test_a_namespace_that_cannot_be():
    hostile = Workload("../../etc", "Pod", "x")
    cluster = backend().pod(hostile, "app=x")
    found = written(cluster, edge(hostile, "backend/payments", 80), edge("backend/api-gateway", hostile, 80))
    assert found.policies == ()
    assert "NPG306" in codes(found)


# --- workloads that labels cannot tell apart ---


def twins():
    return (
        Cluster()
        .deploy("shop/a", "app=x")
        .deploy("shop/b", "app=x")
        .deploy("shop/c", "app=c")
        .deploy("shop/d", "app=d")
    )


def test_twins_share_one_policy_with_the_edges_of_both():
    found = written(twins(), edge("shop/c", "shop/a", 80), edge("shop/d", "shop/b", 81))
    assert shown(found, "shop/a") == ["app=x Ingress", "from app=c : TCP 80", "from app=d : TCP 81"]
    assert "shop/b" not in {p.ref for p in found.policies}
    assert "NPG201" in codes(found)


def test_a_twin_without_evidence_is_not_isolated():
    found = written(twins(), edge("shop/c", "shop/a", 80))
    assert "shop/a" not in {p.ref for p in found.policies}
    assert "labels are also those of shop/b[Deployment]" in gaps(found)["shop/a[Deployment]", "Ingress"]


def test_a_twin_as_peer_would_admit_the_other():
    found = written(twins(), edge("shop/a", "shop/c", 80), edge("shop/d", "shop/c", 80))
    assert shown(found, "shop/c")[1:] == ["from app=d : TCP 80"]
    assert "labels cannot tell shop/a[Deployment] from shop/b[Deployment]" in found.unwritten[0].reason


def test_both_twins_as_peers_of_one_port_are_exactly_their_selector():
    found = written(twins(), edge("shop/a", "shop/c", 80), edge("shop/b", "shop/c", 80))
    assert shown(found, "shop/c")[1:] == ["from app=x : TCP 80"]
    assert found.unwritten == ()


def test_an_exact_workload_inside_anothers_selector_keeps_its_own_rules():
    """`a` cannot be told from `b` apart from what `b` has besides; `b` can."""
    cluster = Cluster().deploy("shop/a", "app=x").deploy("shop/Job/b", "app=x job-name=b part=b", selector="-")
    cluster.deploy("shop/c", "app=c").deploy("shop/d", "app=d")
    found = written(cluster, edge("shop/c", "shop/a", 80), edge("shop/d", "shop/Job/b", 81))
    assert shown(found, "shop/a") == ["app=x,!part Ingress", "from app=c : TCP 80"]
    assert shown(found, "shop/b") == ["app=x,part=b Ingress", "from app=d : TCP 81"]


# --- default deny ---


def test_default_deny_is_a_policy_of_its_own():
    found = written(backend(), CALL, config=Config(default_deny=True))
    assert shown(found, "backend/default-deny") == ["<all> Ingress+Egress"]
    assert shown(found, "backend/payments")[0] == "app=payments Ingress"


def test_default_deny_says_what_it_cuts_off():
    found = written(backend().deploy("backend/idle", "app=idle"), CALL, config=Config(default_deny=True))
    cut = [d.subject for d in found.diagnostics if d.code == "NPG304"]
    assert cut == [
        "backend/api-gateway[Deployment]",
        "backend/idle[Deployment]",
        "backend/idle[Deployment]",
        "backend/payments[Deployment]",
    ]


def test_default_deny_leaves_out_a_direction_that_it_would_break():
    found = written(backend(), CALL, edge("backend/payments", UNKNOWN, 443), config=Config(default_deny=True))
    assert shown(found, "backend/default-deny") == ["<all> Ingress"]
    assert [d.subject for d in found.diagnostics if d.code == "NPG305"] == ["backend"]


def test_default_deny_not_in_system_namespaces():
    cluster = backend().deploy("kube-system/x", "app=x")
    found = written(cluster, CALL, config=Config(default_deny=True))
    assert [p.namespace for p in found.policies if p.name == "default-deny"] == ["backend"]


def test_no_default_deny_unless_asked():
    assert all(p.name != "default-deny" for p in written(backend(), CALL).policies)


def test_a_name_for_a_workload_that_is_not_there_is_said():
    found = written(backend(), CALL, config=Config(names={"backend/Deployment/paymnts": "x"}))
    said = [d.message for d in found.diagnostics if d.code == "NPG307"]
    assert said == ["backend/Deployment/paymnts is no workload that is known"]


def test_what_has_ended_and_was_not_seen_is_no_gap():
    found = written(backend().pod("backend/Job/done", "app=done", phase="Succeeded"), CALL)
    assert not any(g.workload == w("backend/Job/done") for g in found.gaps)


# --- labels ---


def test_house_labels():
    found = written(backend(), CALL, config=Config(labels={"team": "sre"}))
    assert all(p.labels == (("app.kubernetes.io/managed-by", "netpol-gen"), ("team", "sre")) for p in found.policies)


@pytest.mark.parametrize("labels", [{"a b": "c"}, {"a": "x y"}, {"app.kubernetes.io/managed-by": "me"}])
def test_house_labels_that_cannot_be(labels):
    with pytest.raises(OptionError, match="labels: "):
        written(backend(), CALL, config=Config(labels=labels))


# --- guard rails ---


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (edge("backend/payments", world("169.254.169.254"), 80), "NPG330"),
        (edge("backend/payments", node("10.0.0.1"), 10250), "NPG331"),
        (edge("backend/payments", "backend/api-gateway", 2379), "NPG332"),
        (edge("backend/payments", world("203.0.113.1"), 22), "NPG333"),
        (edge(world("203.0.113.1"), "backend/payments", 3389), "NPG333"),
    ],
)
def test_guard_rails(given, code):
    assert code in codes(written(backend().node("n1", "10.0.0.1"), given))


def test_guard_rails_are_quiet():
    found = written(backend(), CALL, edge("backend/payments", world("203.0.113.1"), 443))
    assert not {c for c in codes(found) if c.startswith("NPG33")}
