"""The other end: pods by their labels, all else by address, and nothing by a guess."""

from __future__ import annotations

import ipaddress

import pytest

from netpol_gen.config import Cni, Config, SnatClients
from netpol_gen.model import External, ExternalKind
from netpol_gen.sets import AddressSet
from netpol_gen.synthesize import synthesize
from tests.synthesize.build import Cluster, address, codes, edge, evidence, node, shown, world

API = External(ExternalKind.API_SERVER, "172.18.0.2")


def cluster(**more):
    return (
        Cluster().deploy("shop/web", "app=web", declared="http:8080").node("n1", "172.18.0.2").node("n2", "172.18.0.3")
    )


def rules(made, *edges, config=None, ref="shop/web"):
    found = synthesize(evidence(*edges), made.inventory, config or Config())
    return shown(found, ref)[1:], found


# --- nodes ---


def test_a_node_is_all_nodes():
    lines, found = rules(cluster(), edge(node("172.18.0.3"), "shop/web", 8080))
    assert lines == ["from 172.18.0.2/31 : TCP http"]
    assert "NPG314" in codes(found)


def test_only_nodes_of_the_family_that_was_seen():
    made = (
        Cluster().deploy("shop/web", "app=web").node("n1", "172.18.0.2", "fd00::2").node("n2", "172.18.0.9", "fd00::9")
    )
    assert rules(made, edge(node("fd00::2"), "shop/web", 80))[0] == ["from fd00::2/128, fd00::9/128 : TCP 80"]


def test_external_addresses_of_nodes_are_not_admitted():
    made = Cluster().deploy("shop/web", "app=web").node("n1", "10.0.0.4", "203.0.113.4")
    assert rules(made, edge(node("10.0.0.4"), "shop/web", 80))[0] == ["from 10.0.0.4/32 : TCP 80"]


def test_without_an_inventory_of_nodes_the_address_that_was_seen():
    made = Cluster().deploy("shop/web", "app=web")
    assert rules(made, edge(node("10.0.0.4"), "shop/web", 80))[0] == ["from 10.0.0.4/32 : TCP 80"]


def test_a_hidden_node():
    made = Cluster().deploy("shop/web", "app=web").deploy("shop/a", "app=a")
    lines, found = rules(made, edge(node(""), "shop/web", 80), edge("shop/a", "shop/web", 80))
    assert lines == ["from app=a : TCP 80"]
    assert "no address of the cluster's nodes is known" in found.unwritten[0].reason


def test_cilium_does_not_match_nodes_by_address():
    _, found = rules(cluster(), edge(node("172.18.0.3"), "shop/web", 8080), config=Config(cni=Cni.CILIUM))
    assert "NPG313" in codes(found)


# --- clients behind source NAT ---


def balanced(policy="Cluster", kind="LoadBalancer", target="http"):
    return cluster().service("shop/web", "app=web", target, type=kind, external_traffic_policy=policy)


def test_hidden_clients_come_from_nodes():
    lines, found = rules(balanced(), edge(node("172.18.0.3"), "shop/web", 8080))
    assert lines == ["from 172.18.0.2/31 : TCP http"]
    assert "NPG311" in codes(found)


def test_hidden_clients_may_be_anyone():
    config = Config(snat_clients=SnatClients.WORLD)
    lines, found = rules(balanced(), edge(node("172.18.0.3"), "shop/web", 8080), config=config)
    assert lines == ["from 0.0.0.0/0 except 10.244.0.0/16 : TCP http"]
    assert "NPG311" in codes(found)
    assert "every address outside" in found.notes[0].widened


def test_hidden_clients_at_a_nodes_address_among_the_pods():
    config = Config(snat_clients=SnatClients.WORLD)
    lines, _ = rules(balanced(), edge(node("10.244.0.1"), "shop/web", 8080), config=config)
    assert lines == ["from 0.0.0.0/0 except 10.244.0.0/16, 10.244.0.1/32 : TCP http"]


@pytest.mark.parametrize(
    "made", [balanced("Local"), balanced(kind="ClusterIP"), balanced(target=9999)], ids=["Local", "ClusterIP", "port"]
)
def test_other_services_do_not_hide_clients(made):
    config = Config(snat_clients=SnatClients.WORLD)
    lines, found = rules(made, edge(node("172.18.0.3"), "shop/web", 8080), config=config)
    assert lines == ["from 172.18.0.2/31 : TCP http"]
    assert "NPG311" not in codes(found)


# --- the API server ---


def test_api_server_by_its_endpoints():
    made = cluster()
    made.api_server = frozenset({(address("172.18.0.2"), 6443), (address("172.18.0.7"), 6443)})
    lines, found = rules(made, edge("shop/web", API, 6443))
    assert lines == ["to 172.18.0.2/32, 172.18.0.7/32 : TCP 6443"]
    assert "NPG312" in codes(found)


def test_a_cluster_ip_of_the_api_server_is_never_written():
    made = cluster()
    found = synthesize(
        evidence(edge("shop/web", External(ExternalKind.API_SERVER, "10.96.0.1"), 443)), made.inventory, Config()
    )
    assert found.policies == ()


# --- outside ---


def test_addresses_outside_exactly():
    edges = [edge("shop/web", world(f"203.0.113.{n}"), 443) for n in (4, 5, 6, 7, 9)]
    lines, found = rules(cluster(), *edges)
    assert lines == ["to 203.0.113.4/30, 203.0.113.9/32 : TCP 443"]
    (cost,) = [d.message for d in found.diagnostics if d.code == "NPG320"]
    assert cost == "Egress TCP 443: 5 addresses outside observed, 5 admitted by 2 ipBlocks"


def test_addresses_outside_within_the_budget():
    edges = [edge("shop/web", world(f"203.0.113.{n}"), 443) for n in (4, 5, 6, 9)]
    lines, found = rules(cluster(), *edges, config=Config(max_extra_addresses=1))
    assert lines == ["to 203.0.113.4/30, 203.0.113.9/32 : TCP 443"]
    assert found.notes[0].widened == "TCP 443: 2 CIDRs cover 4 observed addresses and 1 others"


@pytest.mark.parametrize(
    ("seen", "want"), [("2001:db8::1", "2001:db8::1/128"), ("::ffff:203.0.113.9", "203.0.113.9/32")]
)
def test_one_address_of_either_family(seen, want):
    assert rules(cluster(), edge(world(seen), "shop/web", 8080))[0] == [f"from {want} : TCP http"]


def test_a_named_port_is_never_used_for_an_address():
    assert rules(cluster(), edge("shop/web", world("203.0.113.9"), 8080))[0] == ["to 203.0.113.9/32 : TCP 8080"]


@pytest.mark.parametrize(
    "seen", ["10.244.1.1", "10.96.0.30", "127.0.0.1", "224.0.0.1", "fe80::1", "ff02::1", "::", "nonsense"]
)
def test_addresses_that_no_rule_is_written_for(seen):
    found = synthesize(evidence(edge("shop/web", world(seen), 80)), cluster().inventory, Config())
    assert found.policies == ()


def test_the_budget_never_buys_the_cluster_or_the_metadata_service():
    made = cluster()
    made.pod_ranges = AddressSet.of(ipaddress.ip_network("203.0.113.6/32"))
    edges = [
        edge("shop/web", world(a), 443) for a in ("203.0.113.4", "203.0.113.7", "169.254.169.253", "169.254.169.255")
    ]
    lines, _ = rules(made, *edges, config=Config(max_extra_addresses=100))
    assert lines == ["to 169.254.169.253/32, 169.254.169.255/32, 203.0.113.4/32, 203.0.113.7/32 : TCP 443"]


def test_two_hundred_rotating_addresses():
    edges = [edge("shop/web", world(f"198.51.100.{n}"), 443) for n in range(1, 201)]
    assert len(rules(cluster(), *edges, config=Config(max_extra_addresses=56))[0][0].split(",")) == 1


# --- pods behind Services ---


def behind(selector, *services):
    made = cluster().deploy("shop/api", "app=api tier=be track=main", selector=selector)
    for i, each in enumerate(services):
        made.service(f"shop/api{i}", each, 80)
    return made


CALL = edge("shop/web", "shop/api", 80)


def test_the_services_selector_meets_the_peers():
    """AWS VPC CNI compares the peer with the Service's selector, not with the pods behind it."""
    made = behind("app=api tier=be", "app=api")
    assert rules(made, CALL)[0] == ["to app=api : TCP 80"]
    assert rules(made, CALL, ref="shop/api")[0] == ["from app=web : TCP 80"]


def test_the_subject_keeps_its_controllers_selector():
    found = synthesize(evidence(CALL), behind("app=api tier=be", "app=api").inventory, Config())
    assert shown(found, "shop/api")[0] == "app=api,tier=be Ingress"


def test_several_services():
    assert rules(behind("app=api tier=be", "app=api tier=be", "tier=be"), CALL)[0] == ["to tier=be : TCP 80"]


def test_no_exact_selector_within_the_services():
    made = behind("app=api tier=be", "app=api").deploy("shop/other", "app=api tier=x")
    lines, found = rules(made, CALL, config=Config(cni=Cni.EKS_VPC_CNI))
    assert lines == ["to app=api,tier=be : TCP 80"]
    assert "NPG203" in codes(found)
    assert "NPG203" not in codes(rules(made, CALL)[1])


def test_all_that_a_service_leads_to_on_eks():
    """Each version alone has no selector that the Service's meets; all of them together do."""
    made = cluster().service("shop/reviews", "app=reviews", 80)
    for version in ("v1", "v2"):
        made.deploy(f"shop/reviews-{version}", f"app=reviews version={version}")
    both = [edge("shop/web", f"shop/reviews-{version}", 80) for version in ("v1", "v2")]
    eks = Config(cni=Cni.EKS_VPC_CNI)
    assert rules(made, *both, config=eks)[0] == ["to app=reviews : TCP 80"]
    assert "NPG203" not in codes(rules(made, *both, config=eks)[1])
    assert rules(made, both[0], config=eks)[0] == ["to app=reviews,version=v1 : TCP 80"]
    assert rules(made, *both)[0] == ["to app=reviews,version=v1, app=reviews,version=v2 : TCP 80"]


def test_a_service_with_another_port_on_eks():
    made = cluster().deploy("shop/api", "app=api").service("shop/api", "app=api", 8080, port=80)
    _, found = rules(made, edge("shop/web", "shop/api", 8080), config=Config(cni=Cni.EKS_VPC_CNI))
    assert "NPG340" in codes(found)
    same = cluster().deploy("shop/api", "app=api").service("shop/api", "app=api", 80, port=80)
    assert "NPG340" not in codes(rules(same, CALL, config=Config(cni=Cni.EKS_VPC_CNI))[1])


# --- pods on their nodes' network ---


def test_a_host_network_peer_acts_as_its_nodes():
    made = cluster().deploy("shop/DaemonSet/agent", "app=agent", host_network=True)
    lines, found = rules(made, edge("shop/DaemonSet/agent", "shop/web", 8080))
    assert lines == ["from 172.18.0.2/31 : TCP http"]
    assert "NPG314" in codes(found)


# --- addresses within others ---


def test_an_address_among_those_of_all_nodes_says_nothing_more():
    made = cluster()
    made.api_server = frozenset({(address("172.18.0.2"), 6443)})
    edges = edge(node("172.18.0.3"), "shop/web", 8080), edge(API, "shop/web", 8080), edge(API, "shop/web", 9443)
    lines, found = rules(made, *edges)
    assert lines == ["from 172.18.0.2/32 : TCP 9443", "from 172.18.0.2/31 : TCP http"]
    assert set(found.notes[1].edges) == set(edges[:2])


def test_many_blocks_come_with_advice():
    edges = [edge("shop/web", world(f"203.0.113.{n}"), 443) for n in range(1, 40, 3)]
    (said,) = [d.message for d in rules(cluster(), *edges)[1].diagnostics if d.code == "NPG320"]
    assert said.endswith("(--max-extra-addresses gives fewer)")
