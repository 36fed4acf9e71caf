"""Section 4.3 of the semantics checklist: AdminNetworkPolicy, BaselineAdminNetworkPolicy, ClusterNetworkPolicy."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest
import yaml

from netpol_gen.connectivity import connections
from netpol_gen.errors import InputError, Place
from netpol_gen.evaluate import Judge
from netpol_gen.inventory.objects import Node
from netpol_gen.model import Decision, Direction, Protocol
from netpol_gen.tiers import Action, Tier, UnknownPeer, parse_tier_policy
from tests.evaluate.cluster import inventory, pod, policies

ALLOW, DENY, UNKNOWN = Decision
TCP, UDP, _ = Protocol
WEB = pod("web", ip="10.0.0.1")
DB = pod("db", ip="10.0.0.2", ports={"sql": 5432})
OTHER = pod("other", namespace="other", ip="10.0.1.1", node="n2")
CLUSTER = inventory(WEB, DB, OTHER, nodes={"n1": "192.0.2.1", "n2": "192.0.2.2"})
WORLD = ipaddress.ip_address("203.0.113.7")
ALL = "subject: {namespaces: {}}"
FROM_ALL = "from: [{namespaces: {}}]"


def tier(text, kind="AdminNetworkPolicy", name="t", **spec):
    version = "v1alpha2" if kind == "ClusterNetworkPolicy" else "v1alpha1"
    body = {**yaml.safe_load(text), **spec}
    manifest = {
        "apiVersion": f"policy.networking.k8s.io/{version}",
        "kind": kind,
        "metadata": {"name": name},
        "spec": body,
    }
    return parse_tier_policy(manifest, Place("t.yaml"))


def admin(rules, priority=10, name="t"):
    return tier(f"{{{ALL}, {rules}}}", priority=priority, name=name)


def baseline(rules):
    return tier(f"{{{ALL}, {rules}}}", kind="BaselineAdminNetworkPolicy", name="default")


def ask(tiers, text="", src=WEB, dst=DB, protocol=TCP, port=5432, **options):
    judge = Judge(policies(text) if text else (), CLUSTER, tiers=tiers, **options)
    return judge.connection(src, dst, protocol, port).decision


CLOSED = "{podSelector: {}, policyTypes: [Ingress]}"
OPEN = "{podSelector: {}, policyTypes: [Ingress], ingress: [{}]}"


def rule(action, more=""):
    return f"{{action: {action}, {FROM_ALL}{more}}}"


def test_4_3_1_admin_before_network_policy_before_baseline_before_open():
    deny, allow = admin(f"ingress: [{rule('Deny')}]"), admin(f"ingress: [{rule('Allow')}]")
    assert ask([deny], OPEN) is DENY
    assert ask([allow], CLOSED) is ALLOW
    assert ask([baseline(f"ingress: [{rule('Deny')}]")]) is DENY
    assert ask([baseline(f"ingress: [{rule('Deny')}]")], OPEN) is ALLOW
    assert ask([]) is ALLOW


def test_4_3_1_lower_priority_numbers_come_first():
    allow, deny = f"ingress: [{rule('Allow')}]", f"ingress: [{rule('Deny')}]"
    assert ask([admin(allow, 1, "a"), admin(deny, 2, "b")]) is ALLOW
    assert ask([admin(allow, 2, "a"), admin(deny, 1, "b")]) is DENY
    assert ask([admin(deny, 1, "b"), admin(allow, 2, "a")]) is DENY


def test_4_3_1_equal_priorities_that_disagree_are_unknown():
    tiers = [admin(f"ingress: [{rule('Allow')}]", 5, "a"), admin(f"ingress: [{rule('Deny')}]", 5, "b")]
    verdict = Judge((), CLUSTER, tiers=tiers).connection(WEB, DB, TCP, 1)
    assert verdict.decision is UNKNOWN
    assert "equal priority" in verdict.missing
    found = connections((), CLUSTER, tiers=tiers).between(WEB.workload, DB.workload)
    assert [str(f) for f in found] == ["none", "all"]
    # Where they agree, or only one matches, nothing is in doubt.
    assert ask([tiers[0], admin(f"ingress: [{rule('Allow')}]", 5, "b")], CLOSED) is ALLOW
    nobody = tier(
        f"{{subject: {{namespaces: {{matchLabels: {{a: b}}}}}}, ingress: [{rule('Deny')}]}}", priority=5, name="b"
    )
    assert ask([tiers[0], nobody], CLOSED) is ALLOW


def test_4_3_2_the_first_rule_that_matches_ends_and_pass_skips_the_tier():
    first = ", ports: [{portNumber: {protocol: TCP, port: 5432}}]"
    assert ask([admin(f"ingress: [{rule('Allow', first)}, {rule('Deny')}]")], CLOSED) is ALLOW
    assert ask([admin(f"ingress: [{rule('Allow', first)}, {rule('Deny')}]")], OPEN, port=1) is DENY
    passing = admin(f"ingress: [{rule('Pass')}, {rule('Deny')}]", 1, "a")
    later = admin(f"ingress: [{rule('Deny')}]", 2, "b")
    assert ask([passing, later]) is ALLOW
    assert ask([passing, later], CLOSED) is DENY
    assert ask([passing, later, baseline(f"ingress: [{rule('Deny')}]")]) is DENY


def test_4_3_2_actions_by_version():
    with pytest.raises(
        InputError, match=r"t\.yaml: spec\.ingress\[0\]\.action: Accept is not one of Allow, Deny, Pass"
    ):
        admin(f"ingress: [{rule('Accept')}]")
    with pytest.raises(InputError, match="Pass is not one of Allow, Deny"):
        baseline(f"ingress: [{rule('Pass')}]")
    with pytest.raises(InputError, match="is named default"):
        tier(f"{{{ALL}}}", kind="BaselineAdminNetworkPolicy", name="other")
    new = tier(f"{{{ALL}, ingress: [{rule('Accept')}]}}", kind="ClusterNetworkPolicy", tier="Baseline", priority=3)
    assert (new.tier, new.ingress[0].action) == (Tier.BASELINE, Action.ACCEPT)


def test_4_3_3_being_selected_isolates_nothing():
    only = admin(f"ingress: [{rule('Allow', ', ports: [{portNumber: {protocol: TCP, port: 1}}]')}]")
    assert ask([only], port=2) is ALLOW


def test_4_3_3_baseline_only_for_pods_that_no_network_policy_selects_in_that_direction():
    deny = baseline(f"ingress: [{rule('Deny')}], egress: [{{action: Deny, to: [{{namespaces: {{}}}}]}}]")
    egress_only = "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{}]}"
    assert ask([deny], egress_only, src=WEB, dst=OTHER) is DENY, "the other end is not selected for ingress"
    judge = Judge(policies(egress_only), CLUSTER, tiers=[deny])
    verdict = judge.connection(WEB, OTHER, TCP, 1)
    assert (verdict.egress.decision, verdict.ingress.decision) == (ALLOW, DENY)
    assert [str(r) for r in verdict.ingress.denied_by] == ["BaselineAdminNetworkPolicy/default ingress[0]"]


def test_4_3_4_both_ends_are_asked():
    out = admin("egress: [{action: Allow, to: [{namespaces: {}}]}]")
    assert ask([out], CLOSED) is DENY
    assert ask([out], "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress]}") is ALLOW


def test_4_3_5_host_network_pods_are_neither_subjects_nor_peers():
    agent = pod("agent", host_network=True, node="n2", ip="192.0.2.2")
    cluster = inventory(WEB, DB, agent, nodes={"n1": "192.0.2.1", "n2": "192.0.2.2"})
    judge = Judge((), cluster, tiers=[admin(f"ingress: [{rule('Deny')}]")])
    assert judge.connection(agent, DB, TCP, 1).decision is ALLOW
    assert judge.connection(WEB, agent, TCP, 1).decision is ALLOW
    assert judge.connection(WEB, DB, TCP, 1).decision is DENY


@pytest.mark.parametrize(
    "peer", ["{}", "{sameLabels: [a]}", "{namespaces: {}, pods: {podSelector: {}}}", "{nodes: {}}"]
)
def test_4_3_5_unknown_peers_fail_closed(peer):
    accept = admin(f"ingress: [{{action: Allow, from: [{peer}]}}]")
    assert isinstance(accept.ingress[0].peers[0], UnknownPeer)
    assert ask([accept], CLOSED) is DENY
    assert ask([admin(f"ingress: [{{action: Deny, from: [{peer}]}}]")]) is DENY
    assert ask([admin(f"ingress: [{{action: Pass, from: [{peer}]}}]")]) is DENY
    # Also next to a peer that is understood: the rule as a whole is not.
    assert ask([admin(f"ingress: [{{action: Allow, from: [{peer}, {{namespaces: {{}}}}]}}]")], CLOSED) is DENY


def test_4_3_6_networks_match_pods_too():
    deny = admin("egress: [{action: Deny, to: [{networks: [0.0.0.0/0]}]}]")
    assert ask([deny], ipblock_matches_pods=DENY) is DENY
    assert ask([deny], dst=WORLD) is DENY
    assert ask([deny], dst=ipaddress.ip_address("2001:db8::1")) is ALLOW
    with pytest.raises(InputError, match="port name cannot stand with networks"):
        admin("egress: [{action: Deny, to: [{networks: [0.0.0.0/0]}], ports: [{namedPort: sql}]}]")


def test_4_3_6_nodes_and_domain_names():
    n1 = Node("n1", (ipaddress.ip_address("192.0.2.1"),), labels=(("role", "worker"),))
    n2 = Node("n2", (ipaddress.ip_address("192.0.2.2"),), labels=(("role", "edge"),))
    cluster = replace(CLUSTER, nodes={"n1": n1, "n2": n2})
    nodes = admin("egress: [{action: Deny, to: [{nodes: {matchLabels: {role: edge}}}]}]")
    judge = Judge((), cluster, tiers=[nodes])
    assert judge.connection(WEB, n2, TCP, 1).decision is DENY
    assert judge.connection(WEB, n1, TCP, 1).decision is ALLOW
    assert judge.connection(WEB, n2.addresses[0], TCP, 1).decision is DENY
    assert judge.connection(WEB, WORLD, TCP, 1).decision is ALLOW
    outside = {str(r.dst) for r in connections((), cluster, tiers=[nodes]).rows() if r.src == WEB.workload}
    assert "192.0.2.0/31" in outside
    assert "192.0.2.3/32" in outside
    assert not any("192.0.2.2" in o for o in outside)
    names = admin(
        "egress: [{action: Allow, to: [{domainNames: [a.example]}]}, {action: Deny, to: [{networks: [0.0.0.0/0]}]}]"
    )
    verdict = Judge((), cluster, tiers=[names]).connection(WEB, WORLD, TCP, 1)
    assert verdict.missing == "which addresses a.example stand for"
    assert Judge((), cluster, tiers=[names]).connection(WEB, DB, TCP, 1).decision is DENY


def test_4_3_7_a_pod_reaches_itself_whatever_the_tiers_say():
    deny = admin(f"ingress: [{rule('Deny')}]")
    assert ask([deny], src=WEB, dst=WEB) is ALLOW
    judge = Judge((), CLUSTER, tiers=[deny])
    assert judge.connection(WEB, WEB, TCP, 1, via_service=True).decision is UNKNOWN


def test_4_3_8_full_resource_names_in_messages():
    reason = Judge((), CLUSTER, tiers=[admin(f"ingress: [{rule('Deny')}]")]).connection(WEB, DB, TCP, 1).reason
    assert reason == "AdminNetworkPolicy/t ingress[0] denies it to shop/db"


@pytest.mark.parametrize(
    ("ports", "allowed"),
    [
        ("[{portNumber: {protocol: TCP, port: 5432}}]", [True, False, False]),
        ("[{portRange: {protocol: TCP, start: 5000, end: 6000}}]", [True, True, False]),
        ("[{namedPort: sql}]", [True, False, False]),
        ("[]", [True, True, True]),
    ],
)
def test_ports_of_v1alpha1(ports, allowed):
    rules = f"ingress: [{rule('Allow', f', ports: {ports}')}]"
    answers = [ask([admin(rules)], CLOSED, protocol=p, port=n) for p, n in ((TCP, 5432), (TCP, 5999), (UDP, 5432))]
    assert answers == [ALLOW if a else DENY for a in allowed]


@pytest.mark.parametrize(
    ("protocols", "allowed"),
    [
        ("[{tcp: {destinationPort: {number: 5432}}}]", [True, False, False]),
        ("[{tcp: {destinationPort: {range: {start: 5000, end: 6000}}}}]", [True, True, False]),
        ("[{tcp: {}}, {udp: {destinationPort: {number: 5432}}}]", [True, True, True]),
        ("[{destinationNamedPort: sql}]", [True, False, False]),
    ],
)
def test_protocols_of_v1alpha2(protocols, allowed):
    text = f"{{{ALL}, tier: Admin, priority: 1, ingress: [{rule('Accept', f', protocols: {protocols}')}]}}"
    found = tier(text, kind="ClusterNetworkPolicy")
    answers = [ask([found], CLOSED, protocol=p, port=n) for p, n in ((TCP, 5432), (TCP, 5999), (UDP, 5432))]
    assert answers == [ALLOW if a else DENY for a in allowed]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("{}", "spec.subject"),
        ("{subject: {}}", "spec.subject"),
        ("{subject: {namespaces: {}, pods: {}}}", "spec.subject"),
        (f"{{{ALL}, ingress: [{{action: Deny, from: []}}]}}", "spec.ingress[0].from"),
        (f"{{{ALL}, ingress: [{{action: Deny}}]}}", "spec.ingress[0].from"),
        (f"{{{ALL}, ingress: [{rule('Deny', ', ports: [{}]')}]}}", "spec.ingress[0].ports[0]"),
        (
            f"{{{ALL}, ingress: [{rule('Deny', ', ports: [{portNumber: {port: 0}}]')}]}}",
            "spec.ingress[0].ports[0].portNumber.port",
        ),
        (f"{{{ALL}, egress: [{{action: Deny, to: [{{networks: [x]}}]}}]}}", "spec.egress[0].to[0].networks[0]"),
        (f"{{{ALL}, ingres: []}}", "spec"),
        (f"{{{ALL}, ingress: {{}}}}", "spec.ingress"),
    ],
)
def test_malformed_policies_are_errors_that_name_the_field(text, field):
    with pytest.raises(InputError) as caught:
        tier(text, priority=1)
    assert caught.value.place.field == field


@pytest.mark.parametrize("priority", [-1, 1001, "1", None, True])
def test_impossible_priorities(priority):
    with pytest.raises(InputError, match=r"spec\.priority"):
        tier(f"{{{ALL}}}", priority=priority)


def test_other_versions_are_errors():
    manifest = {
        "apiVersion": "policy.networking.k8s.io/v1beta1",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": "x"},
    }
    with pytest.raises(InputError, match=r"understood as .*/v1alpha2, not"):
        parse_tier_policy(manifest, Place("t.yaml"))


def test_rules_and_reasons_of_an_accepted_connection():
    verdict = Judge(policies(CLOSED), CLUSTER, tiers=[admin(f"ingress: [{rule('Allow')}]")]).connection(WEB, DB, TCP, 1)
    assert [str(r) for r in verdict.ingress.admitted_by] == ["AdminNetworkPolicy/t ingress[0]"]
    assert verdict.ingress.direction is Direction.INGRESS
