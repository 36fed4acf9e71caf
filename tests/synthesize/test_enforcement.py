"""What the CNI decides: port form, limits, and rules for what the API server calls."""

from __future__ import annotations

from dataclasses import replace

import pytest

from netpol_gen.config import Cni, Config
from netpol_gen.inventory.objects import Callee
from netpol_gen.model import Direction
from netpol_gen.synthesize import synthesize
from tests.synthesize.build import Cluster, address, edge, evidence, shown, world


def codes(synthesis, code):
    return [d.message for d in synthesis.diagnostics if d.code == code]


def cluster():
    made = Cluster().deploy("shop/web", "app=web").deploy("shop/db", "app=db", declared="sql:5432")
    made.node("n1", "192.168.0.1")
    made.api_server = frozenset({(address("192.168.0.1"), 6443)})
    return made


def many(count, start=2000, step=2):
    return evidence(*(edge("shop/web", "shop/db", start + i * step) for i in range(count)))


@pytest.mark.parametrize("cni", [Cni.GENERIC, Cni.CILIUM, Cni.CALICO, Cni.EKS_VPC_CNI, Cni.AZURE_NPM])
def test_a_port_has_its_name_where_the_cni_resolves_names(cni):
    made = synthesize(evidence(edge("shop/web", "shop/db", 5432)), cluster().inventory, Config(cni=cni))
    assert "sql" in "\n".join(shown(made, "shop/db"))


def test_a_port_has_its_number_on_ovn_kubernetes():
    config = Config(cni=Cni.OVN_KUBERNETES)
    made = synthesize(evidence(edge("shop/web", "shop/db", 5432)), cluster().inventory, config)
    text = "\n".join(shown(made, "shop/db"))
    assert "5432" in text
    assert "sql" not in text


@pytest.mark.parametrize(("cni", "count", "rules"), [
    (Cni.CILIUM, 39, 1), (Cni.CILIUM, 40, 1), (Cni.CILIUM, 41, 2), (Cni.CILIUM, 81, 3),
    (Cni.GENERIC, 40, 1), (Cni.GENERIC, 41, 2), (Cni.CALICO, 41, 1), (Cni.GKE_DPV2, 41, 2),
])  # fmt: skip
def test_a_rule_has_no_more_ports_than_the_cni_takes(cni, count, rules):
    made = synthesize(many(count), cluster().inventory, Config(cni=cni))
    (policy,) = [p for p in made.policies if p.name == "db"]
    written = policy.rules(Direction.INGRESS)
    assert len(written) == rules
    assert sum(len(rule.ports) for rule in written) == count
    # Behind each rule stands what it admits, and nothing that another one admits.
    notes = [n for n in made.notes if n.policy == "shop/db" and n.direction is Direction.INGRESS]
    assert [len(n.edges) for n in notes] == [len(rule.ports) for rule in written]


@pytest.mark.parametrize(("count", "told"), [(23, 0), (24, 0), (25, 1)])
def test_more_ports_for_a_peer_than_eks_takes_is_said(count, told):
    made = synthesize(many(count), cluster().inventory, Config(cni=Cni.EKS_VPC_CNI))
    # At both ends: in the policy of the client and of the server.
    assert len([d for d in made.diagnostics if d.code == "NPG342"]) == 2 * told
    assert not codes(synthesize(many(count), cluster().inventory, Config(cni=Cni.CALICO)), "NPG342")


def test_a_range_names_who_cuts_it_unless_the_cni_is_known():
    generic = synthesize(many(12, step=1), cluster().inventory, Config())
    assert any("Azure Network Policy Manager" in text for text in codes(generic, "NPG341"))
    assert not codes(synthesize(many(12, step=1), cluster().inventory, Config(cni=Cni.CALICO)), "NPG341")
    listed = synthesize(many(12, step=1), cluster().inventory, Config(cni=Cni.AZURE_NPM))
    (policy,) = [p for p in listed.policies if p.name == "db"]
    assert all(port.end_port is None for rule in policy.rules(Direction.INGRESS) for port in rule.ports)


def test_eks_has_one_family_and_leaves_out_bare_pods():
    made = Cluster().pod("shop/Pod/lonely", "app=lonely")
    seen = evidence(
        edge("shop/Pod/lonely", world("198.51.100.7"), 443), edge("shop/Pod/lonely", world("2001:db8::7"), 443)
    )
    eks = synthesize(seen, made.inventory, Config(cni=Cni.EKS_VPC_CNI))
    assert codes(eks, "NPG343")
    assert "shop/lonely[Pod]" in codes(eks, "NPG344")[0]
    assert not {d.code for d in synthesize(seen, made.inventory, Config()).diagnostics} & {"NPG343", "NPG344"}


# --- what the API server calls ----------------------------------------------------------------------------------------


def hooked(seen, config=None, *, callee_port=443, api_server=True):
    made = cluster().deploy("shop/hook", "app=hook", declared="https:8443")
    made.service("shop/hook", "app=hook", "https", port=443)
    if not api_server:
        made.api_server = frozenset()
    inventory = replace(
        made.inventory, callees=(Callee("shop/hook", callee_port, "ValidatingWebhookConfiguration/guard"),)
    )
    return synthesize(seen, inventory, config or Config())


def test_an_isolated_webhook_stays_reachable_for_the_api_server():
    made = hooked(evidence(edge("shop/web", "shop/hook", 9090)))
    (rule,) = [n for n in made.notes if n.policy == "shop/hook" and n.inferred]
    assert rule.inferred == "the API server calls it: ValidatingWebhookConfiguration/guard"
    assert rule.edges == ()
    (policy,) = [p for p in made.policies if p.name == "hook"]
    written = policy.rules(Direction.INGRESS)[rule.rule]
    assert [str(p.ip_block.cidr) for p in written.peers] == ["192.168.0.1/32"]
    assert [p.port for p in written.ports] == ["https"], "the container's port, not the Service's"
    assert codes(made, "NPG308")
    assert codes(made, "NPG312"), "these addresses change"


def test_a_webhook_that_nothing_isolates_gets_no_rule():
    made = hooked(evidence(edge("shop/web", "shop/db", 5432)))
    assert "hook" not in {p.name for p in made.policies}
    assert not codes(made, "NPG308")


def test_a_call_that_no_service_port_answers_gives_no_rule():
    made = hooked(evidence(edge("shop/web", "shop/hook", 9090)), callee_port=444)
    assert not [n for n in made.notes if n.inferred and n.policy == "shop/hook"]


def test_a_webhook_without_a_known_api_server_is_said():
    made = hooked(evidence(edge("shop/web", "shop/hook", 9090)), api_server=False)
    assert "NO rule for it was written: the addresses of the API server are not known" in codes(made, "NPG309")[0]


def test_default_deny_does_not_cut_off_a_webhook():
    made = hooked(evidence(edge("shop/web", "shop/db", 5432)), Config(default_deny=True))
    assert any("shop/hook[Deployment]: the API server calls it" in text for text in codes(made, "NPG305"))
    denied = [p for p in made.policies if p.pod_selector.is_empty]
    assert all(Direction.INGRESS not in p.policy_types for p in denied)
