"""What is behind an address and a port."""

from __future__ import annotations

import ipaddress

import pytest

from netpol_gen.inventory import service_targets, services_selecting
from netpol_gen.inventory.dialled import Dialled
from netpol_gen.inventory.targets import target_key
from netpol_gen.model import UNKNOWN_TIME as END
from netpol_gen.model import Protocol, Workload
from tests.inventory.made import at, controller, endpoint_slice, load, node, ns, obj, pod, service

VIP = "10.96.0.20"
WEB = {"app": "web"}
HTTP = [{"name": "http", "port": 80, "targetPort": "http"}]


def behind(
    inventory, address: str, port: int, protocol: Protocol = Protocol.TCP, *, family: int | None = None, at: int = END
) -> list[str]:
    """What may have stood behind a dialled address at a time, by default after all that the inventory tells."""
    answer = Dialled(inventory, ipaddress.ip_address(address), port, protocol, 0, family).at(at)
    found = {target_key(t): t for options in answer.answers for option in options for t in option}
    return [f"{t.pod.name if t.pod else '?'} {t.address} {t.port}" for _, t in sorted(found.items())]


def now(inventory, name: str) -> list[str]:
    """Where the first port of a Service leads at the end of the inventory."""
    service_ = inventory.service("shop", name)
    found = service_targets(inventory, service_, service_.ports[0])
    return [f"{t.pod.name if t.pod else '?'} {t.address} {t.port}" for t in found]


def web(name: str, ip, port: int, **more):
    return pod(name, ip, labels=WEB, ports=[{"name": "http", "containerPort": port}], **more)


def test_a_named_target_port_is_each_pods_own():
    inventory = load(
        web("a", "10.1.0.1", 8080),
        web("b", "10.1.0.2", 9090),
        pod("nameless", "10.1.0.3", labels=WEB, ports=[{"containerPort": 8080}]),
        pod("udp", "10.1.0.4", labels=WEB, ports=[{"name": "http", "containerPort": 8080, "protocol": "UDP"}]),
        service("web", WEB, HTTP, ip=VIP),
    )
    assert behind(inventory, VIP, 80) == ["a 10.1.0.1 8080", "b 10.1.0.2 9090"]
    assert behind(inventory, VIP, 8080) == []
    assert behind(inventory, VIP, 80, Protocol.UDP) == []


def test_a_numbered_target_port_and_a_missing_one():
    ports = [
        {"port": 80, "targetPort": 8080},
        {"port": 81, "name": "same"},
        {"port": 82, "name": "zero", "targetPort": 0},
    ]
    inventory = load(web("a", "10.1.0.1", 8080), service("web", WEB, ports, ip=VIP))
    assert [behind(inventory, VIP, p) for p in (80, 81, 82)] == [
        ["a 10.1.0.1 8080"],
        ["a 10.1.0.1 81"],
        ["a 10.1.0.1 82"],
    ]


def test_slices_say_where_it_leads():
    inventory = load(
        web("a", "10.1.0.1", 8080),
        web("b", "10.1.0.2", 8080),
        service("web", WEB, HTTP, ip=VIP),
        endpoint_slice(
            "web-x",
            "web",
            {"10.1.0.1": "a", "10.1.0.2": None, "10.1.9.9": None, "192.0.2.7": None},
            [{"name": "http", "port": 8081}],
        ),
        endpoint_slice("web-y", "web", {"10.1.0.1": "a"}, [{"name": "other", "port": 9999}]),
    )
    wanted = ["? 10.1.9.9 8081", "? 192.0.2.7 8081", "a 10.1.0.1 8081", "b 10.1.0.2 8081"]
    assert now(inventory, "web") == wanted


def test_a_service_whose_slices_are_empty_has_no_backend():
    inventory = load(
        web("a", "10.1.0.1", 8080), service("web", WEB, HTTP, ip=VIP), endpoint_slice("web-x", "web", {}, [])
    )
    assert now(inventory, "web") == []


def test_a_service_without_selector_has_what_its_endpoints_say():
    outside = service("db", None, [{"port": 5432}], ip=VIP)
    assert behind(load(outside), VIP, 5432) == []
    endpoints = obj(
        "Endpoints",
        "db",
        subsets=[
            {"addresses": [{"ip": "192.0.2.7"}], "notReadyAddresses": [{"ip": "192.0.2.8"}], "ports": [{"port": 15432}]}
        ],
    )
    assert behind(load(outside, endpoints), VIP, 5432) == ["? 192.0.2.7 15432", "? 192.0.2.8 15432"]
    # An empty selector is none: it would be every pod of the namespace.
    assert behind(load(web("a", "10.1.0.1", 80), service("s", {}, [{"port": 80}], ip=VIP)), VIP, 80) == []


def test_each_family_leads_to_its_own():
    both = service("web", WEB, HTTP, clusterIPs=[VIP, "fd96::20"])
    inventory = load(web("a", ["10.1.0.1", "fd00::1"], 8080), both)
    assert behind(inventory, VIP, 80) == ["a 10.1.0.1 8080"]
    assert behind(inventory, "fd96::20", 80) == ["a fd00::1 8080"]
    assert behind(inventory, VIP, 80, family=6) == ["a fd00::1 8080"]


def test_completed_pods_and_those_of_other_namespaces_serve_nothing():
    done = {"phase": "Succeeded"}
    inventory = load(
        web("done", "10.1.0.1", 8080, status=done),
        web("elsewhere", "10.1.0.2", 8080, namespace="bank"),
        service("web", WEB, HTTP, ip=VIP),
    )
    assert behind(inventory, VIP, 80) == []


@pytest.mark.parametrize("kind", ["NodePort", "LoadBalancer"])
def test_a_port_of_every_node(kind):
    inventory = load(
        node("n1", "192.168.0.1", "10.1.0.0/24"),
        node("n2", "192.168.0.2"),
        web("a", "10.1.0.5", 8080),
        service("web", WEB, [{**HTTP[0], "nodePort": 30080}], ip=VIP, type=kind),
    )
    assert behind(inventory, "192.168.0.2", 30080) == ["a 10.1.0.5 8080"]
    assert behind(inventory, "192.168.0.2", 80) == []
    assert behind(inventory, "10.1.0.1", 30080) == []  # the bridge is no node address
    assert behind(inventory, "192.168.0.9", 30080) == []


def test_load_balancer_and_external_addresses():
    made = service(
        "web",
        WEB,
        HTTP,
        ip=VIP,
        externalIPs=["203.0.113.5"],
        status={"loadBalancer": {"ingress": [{"ip": "203.0.113.6"}]}},
    )
    inventory = load(web("a", "10.1.0.1", 8080), made)
    assert behind(inventory, "203.0.113.5", 80) == behind(inventory, "203.0.113.6", 80) == ["a 10.1.0.1 8080"]


def test_a_headless_service_has_no_address():
    inventory = load(web("a", "10.1.0.1", 8080), service("web", WEB, HTTP, ip="None"))
    (found,) = inventory.services
    assert found.cluster_ips == ()
    assert [(t.address, t.port) for t in service_targets(inventory, found, found.ports[0])] == [
        (ipaddress.ip_address("10.1.0.1"), 8080)
    ]


def test_a_host_port_leads_to_the_pod_of_that_node():
    ports = [{"containerPort": 8080, "hostPort": 80}]
    inventory = load(
        node("n1", "192.168.0.1"),
        node("n2", "192.168.0.2"),
        pod("edge-1", "10.1.0.1", ports=ports),
        pod("edge-2", "10.1.0.2", ports=ports, node="n2"),
        pod("host", "192.168.0.1", ports=[{"containerPort": 80, "hostPort": 80}], spec={"hostNetwork": True}),
    )
    assert behind(inventory, "192.168.0.2", 80) == ["edge-2 10.1.0.2 8080"]
    assert behind(inventory, "192.168.0.1", 80) == ["edge-1 10.1.0.1 8080"]


def test_pods_of_an_earlier_time():
    inventory = load(
        web("old", "10.1.0.1", 8080, start=0, metadata={"deletionTimestamp": at(100)}),
        web("new", "10.1.0.2", 9090, start=90),
        service("web", WEB, HTTP, ip=VIP),
        endpoint_slice("web-x", "web", {"10.1.0.2": "new"}, [{"name": "http", "port": 9090}]),
    )
    assert behind(inventory, VIP, 80) == ["new 10.1.0.2 9090"]
    assert behind(inventory, VIP, 80, at=ns(50)) == ["old 10.1.0.1 8080"]
    assert behind(inventory, VIP, 80, at=ns(95)) == ["new 10.1.0.2 9090", "old 10.1.0.1 8080"]


def test_plain_manifests_have_targets_without_address():
    inventory = load(
        controller("Deployment", "web", WEB, ports=[{"name": "http", "containerPort": 8080}]),
        service("web", WEB, HTTP, ip=VIP),
    )
    assert behind(inventory, VIP, 80) == ["web None 8080"]


def test_services_that_select_a_workload():
    inventory = load(
        controller("Deployment", "web", {**WEB, "tier": "front"}),
        controller("Deployment", "api", {"app": "api"}),
        service("web", WEB, HTTP),
        service("front", {"tier": "front"}, HTTP),
        service("all", {}, HTTP),
        service("elsewhere", WEB, HTTP, namespace="bank"),
        service("both", {**WEB, "tier": "back"}, HTTP),
    )
    names = [s.name for s in services_selecting(inventory, Workload("shop", "Deployment", "web"))]
    assert names == ["front", "web"]
    assert services_selecting(inventory, Workload("shop", "Deployment", "absent")) == ()


def test_the_lab(shared_data):
    from netpol_gen.inventory import load_inventory

    inventory = load_inventory([shared_data / "conntrack" / "inventory.yaml"])
    assert behind(inventory, "10.96.0.20", 80) == ["api-0 10.244.1.20 8080"]
    assert behind(inventory, "192.168.50.2", 30080) == ["api-0 10.244.1.20 8080"]
    assert behind(inventory, "10.96.0.10", 53, Protocol.UDP) == ["kube-dns-0 10.244.2.53 5353"]
    assert behind(inventory, "10.96.0.10", 53) == []
