"""Generated policies beside policies in force: what `tighten`, `missing-only` and `--default-deny` may not break."""

from __future__ import annotations

import yaml

from netpol_gen import pipeline
from netpol_gen.config import Config, Mode
from netpol_gen.errors import Place
from netpol_gen.policy import parse_policy
from tests.flowrows import flows_of, inventory_of, pod, row

TIGHTEN = Config(mode=Mode.TIGHTEN)
PODS = (pod("a-1", "a", "10.0.0.1"), pod("b-1", "b", "10.0.0.2"), pod("c-1", "c", "10.0.0.3"))
NAKED = pod("naked", "", "10.0.0.9")
A_TO_B = row("10.0.0.1", "10.0.0.2", 80)
PROXY = row("10.0.0.99", "10.0.0.2", 443, src_identity=8, src_entities="ingress")


def policy(name, spec):
    text = f"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{namespace: shop, name: {name}}}\n"
    return parse_policy({**yaml.safe_load(text), "spec": yaml.safe_load(spec)}, Place("existing.yaml"))


def plan_of(rows, existing=(), config=TIGHTEN, pods=PODS):
    return pipeline.generate(flows_of(*rows), inventory_of(*pods), config, existing)


def said(plan, code):
    return {d.subject: d.message for d in plan.diagnostics if d.code == code}


OPEN_B = policy("wide", "{podSelector: {matchLabels: {app: b}}, policyTypes: [Ingress], ingress: [{}]}")


def test_tighten_stands_in_for_what_is_broader_than_the_evidence():
    plan = plan_of([A_TO_B], [OPEN_B])
    assert plan.replaces == ("shop/wide",)
    assert not said(plan, "NPG403")


def test_tighten_keeps_a_policy_that_alone_admits_a_client_without_labels():
    plan = plan_of([A_TO_B, row("10.0.0.9", "10.0.0.2", 443)], [OPEN_B], pods=(*PODS, NAKED))
    assert [str(r.edge.src) for r in plan.replay.rows] == ["shop/a[Deployment]", "shop/naked[Pod]"]
    assert plan.replay.holds
    assert plan.replaces == ()
    assert "shop/naked[Pod]" in said(plan, "NPG403")["shop/wide"]


def test_tighten_says_which_policy_still_admits_more():
    both = policy(
        "both", "{podSelector: {matchExpressions: [{key: app, operator: In, values: [b, c]}]}, ingress: [{}]}"
    )
    plan = plan_of([A_TO_B], [both])
    assert plan.replaces == ()
    assert "Ingress of shop/c[Deployment]" in said(plan, "NPG403")["shop/both"]


def test_default_deny_does_not_stand_in_for_policies_of_idle_workloads():
    idle = policy("c", "{podSelector: {matchLabels: {app: c}}, policyTypes: [Ingress], ingress: [{}]}")
    plan = plan_of([A_TO_B], [OPEN_B, idle], Config(mode=Mode.TIGHTEN, default_deny=True))
    assert "shop/default-deny" in {p.ref for p in plan.policies}
    assert plan.replaces == ("shop/wide",)


def test_clients_behind_the_ingress_proxy_are_not_cut_off():
    """Beside another client: a rule for that one alone would isolate the server from all that the proxy forwards."""
    plan = plan_of([A_TO_B, PROXY], config=Config())
    assert len(plan.replay.allowed) == 2
    assert [p.ref for p in plan.policies] == ["shop/a"]
    assert "ingress-proxy" in said(plan, "NPG402")["shop/b[Deployment]"]
    plan = plan_of([A_TO_B, PROXY], [OPEN_B])
    assert len(plan.replay.allowed) == 2
    assert plan.replaces == ()


def test_missing_only_adds_to_what_an_earlier_run_wrote():
    earlier = plan_of([A_TO_B], config=Config()).policies
    again = plan_of([A_TO_B], earlier, Config(mode=Mode.MISSING_ONLY))
    assert again.policies == ()
    second = plan_of([A_TO_B, row("10.0.0.1", "10.0.0.2", 81)], earlier, Config(mode=Mode.MISSING_ONLY))
    assert second.replay.holds
    third = plan_of(
        [A_TO_B, row("10.0.0.1", "10.0.0.2", 81), row("10.0.0.1", "10.0.0.2", 82)],
        (*earlier, *second.policies),
        Config(mode=Mode.MISSING_ONLY),
    )
    assert third.replay.holds
    refs = [p.ref for plan in (earlier, second.policies, third.policies) for p in plan]
    assert len(refs) == len(set(refs)) == 6


def test_a_policy_that_others_wrote_is_not_overwritten():
    theirs = policy("b", "{podSelector: {matchLabels: {app: c}}, policyTypes: [Ingress]}")
    for mode in Mode:
        plan = plan_of([A_TO_B], [theirs, OPEN_B], Config(mode=mode))
        assert "shop/b" not in {p.ref for p in plan.policies}
    deny = policy("default-deny", "{podSelector: {}, policyTypes: [Ingress, Egress]}")
    plan = plan_of([A_TO_B], [deny], Config(default_deny=True))
    assert sorted(p.ref for p in plan.policies if p.pod_selector.is_empty) != ["shop/default-deny"]
    assert "shop/default-deny" not in {p.ref for p in plan.policies}


def test_a_policy_that_we_wrote_is():
    earlier = plan_of([A_TO_B], config=Config()).policies
    again = plan_of([A_TO_B], earlier, Config())
    assert again.policies == earlier


def test_a_name_that_was_asked_for_is_used_and_said_to_replace():
    theirs = policy("guard", "{podSelector: {matchLabels: {app: c}}, policyTypes: [Ingress]}")
    plan = plan_of([A_TO_B], [theirs], Config(names={"shop/Deployment/b": "guard"}))
    assert "shop/guard" in {p.ref for p in plan.policies}
    assert "shop/guard" in said(plan, "NPG404")


def test_a_namespace_that_nobody_knows_is_named():
    plan = plan_of([A_TO_B], config=Config(namespaces=frozenset({"shop", "shpo"})))
    assert set(said(plan, "NPG405")) == {"shpo"}
