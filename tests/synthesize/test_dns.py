"""Whoever is isolated for egress can still resolve names, or is told loudly that they cannot."""

from __future__ import annotations

from netpol_gen.config import Config
from netpol_gen.model import Protocol
from netpol_gen.synthesize import synthesize
from tests.synthesize.build import Cluster, codes, edge, evidence, node, shown, w, world

RESOLVER = "kube-system/coredns"
OUTSIDE = edge("shop/web", world("203.0.113.5"), 443)


def cluster(declared="dns:53/UDP dns-tcp:53"):
    made = Cluster().deploy("shop/web", "app=web").deploy("shop/api", "app=api")
    made.deploy(RESOLVER, "k8s-app=kube-dns pod-template-hash=1", selector="k8s-app=kube-dns", declared=declared)
    return made.service("kube-system/kube-dns", "k8s-app=kube-dns", 53, 53, "UDP")


def lines(made, *edges, ref="shop/web"):
    found = synthesize(evidence(*edges), made.inventory, Config())
    return [line for line in shown(found, ref)[1:] if "443" not in line], found


def test_observed_over_udp_admits_tcp_too():
    got, found = lines(cluster(""), OUTSIDE, edge("shop/web", RESOLVER, 53, "UDP"))
    assert got == ["to kube-system/k8s-app=kube-dns : TCP 53, UDP 53"]
    (note,) = [n for n in found.notes if n.inferred]
    assert note.edges == (edge("shop/web", RESOLVER, 53, "UDP"),)
    assert note.inferred_edges == (edge("shop/web", RESOLVER, 53, "TCP"),)


def test_named_ports_of_both_protocols():
    got, _ = lines(cluster(), OUTSIDE, edge("shop/web", RESOLVER, 53, "UDP"))
    assert got == ["to kube-system/k8s-app=kube-dns : TCP dns-tcp, UDP dns"]


def test_both_observed_nothing_inferred():
    _, found = lines(cluster(), OUTSIDE, *(edge("shop/web", RESOLVER, 53, p) for p in ("UDP", "TCP")))
    assert not any(n.inferred for n in found.notes)


def test_not_observed_from_other_workloads():
    got, found = lines(cluster(""), OUTSIDE, edge("shop/api", RESOLVER, 53, "UDP"))
    assert got == ["to kube-system/k8s-app=kube-dns : TCP 53, UDP 53"]
    (note,) = [n for n in found.notes if n.policy == "shop/web" and n.inferred]
    assert note.inferred == "no DNS was seen; this is the resolver that other workloads use"
    assert note.edges == ()
    assert "NPG302" in codes(found)


def test_not_observed_at_all_from_the_inventory():
    got, _ = lines(cluster(""), OUTSIDE)
    assert got == ["to kube-system/k8s-app=kube-dns : TCP 53, UDP 53"]


def test_openshift_listens_on_5353():
    made = Cluster().deploy("shop/web", "app=web")
    made.deploy(
        "openshift-dns/DaemonSet/dns-default",
        "dns.operator.openshift.io/daemonset-dns=default",
        declared="dns:5353/UDP dns-tcp:5353",
    )
    made.service("openshift-dns/dns-default", "dns.operator.openshift.io/daemonset-dns=default", "dns", 53, "UDP")
    got, _ = lines(made, OUTSIDE)
    peer = "openshift-dns/dns.operator.openshift.io/daemonset-dns=default"
    assert got == [f"to {peer} : TCP dns-tcp, UDP dns"]
    observed, _ = lines(made, OUTSIDE, edge("shop/web", "openshift-dns/DaemonSet/dns-default", 5353, "UDP"))
    assert observed == got


def test_5353_elsewhere_is_no_dns():
    _, found = lines(cluster(), OUTSIDE, edge("shop/web", "shop/api", 5353, "UDP"))
    assert not any(e.port == 5353 for n in found.notes for e in n.inferred_edges)


def test_node_local_cache_in_the_inventory():
    made = cluster("")
    made.deploy("kube-system/DaemonSet/node-local-dns", "k8s-app=node-local-dns", host_network=True)
    got, _ = lines(made, OUTSIDE)
    assert got == ["to kube-system/k8s-app=kube-dns, 169.254.20.10/32 : TCP 53, UDP 53"]


def test_node_local_cache_observed_at_its_own_address():
    got, found = lines(cluster(""), OUTSIDE, edge("shop/web", node("169.254.25.10"), 53, "UDP"))
    assert got == ["to 169.254.25.10/32 : TCP 53, UDP 53"]
    others, _ = lines(
        cluster(""),
        edge("shop/api", world("203.0.113.9"), 9),
        OUTSIDE,
        edge("shop/web", node("169.254.25.10"), 53, "UDP"),
        ref="shop/api",
    )
    assert others == ["to 203.0.113.9/32 : TCP 9", "to 169.254.25.10/32 : TCP 53, UDP 53"]
    assert "NPG314" not in codes(found)


def test_a_resolver_outside_is_the_workloads_own():
    got, _ = lines(cluster(""), OUTSIDE, edge("shop/web", world("198.51.100.53"), 53, "UDP"))
    assert got == ["to 198.51.100.53/32 : TCP 53, UDP 53"]
    other, _ = lines(
        cluster(""),
        edge("shop/api", world("203.0.113.9"), 9),
        edge("shop/web", world("198.51.100.53"), 53, "UDP"),
        ref="shop/api",
    )
    assert other == ["to 203.0.113.9/32 : TCP 9", "to kube-system/k8s-app=kube-dns : TCP 53, UDP 53"]


def test_no_resolver_known_is_said_loudly():
    made = Cluster().deploy("shop/web", "app=web")
    got, found = lines(made, OUTSIDE)
    assert got == []
    (loud,) = [d for d in found.diagnostics if d.code == "NPG303"]
    assert "NO rule for DNS was written" in loud.message


def test_ingress_only_stays_ingress_only():
    found = synthesize(evidence(edge("shop/web", "shop/api", 80)), cluster().inventory, Config())
    assert shown(found, "shop/api")[0] == "app=api Ingress"


def test_dns_alone_isolates_as_any_evidence_does():
    got, _ = lines(cluster(""), edge("shop/web", RESOLVER, 53, "UDP"))
    assert got == ["to kube-system/k8s-app=kube-dns : TCP 53, UDP 53"]


def test_the_resolver_needs_no_rule_to_itself():
    config = Config(all_namespaces=True)
    found = synthesize(evidence(edge(RESOLVER, world("203.0.113.53"), 443)), cluster().inventory, config)
    assert not any(e.protocol is Protocol.UDP for n in found.notes for e in n.inferred_edges)
    assert "NPG303" not in codes(found)


def test_without_objects_the_resolver_is_known_from_flows():
    made = Cluster().pod("shop/web", "app=web", observed=True).pod("shop/api", "app=api", observed=True)
    made.pod(RESOLVER, "k8s-app=kube-dns", observed=True)
    got, _ = lines(made, OUTSIDE, edge("shop/api", RESOLVER, 53, "UDP"))
    assert got == ["to kube-system/k8s-app=kube-dns : TCP 53, UDP 53"]
    assert w(RESOLVER).namespace == "kube-system"
