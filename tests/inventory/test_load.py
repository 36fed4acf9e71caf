"""Fields of objects, ranges, snapshots, and what is refused."""

from __future__ import annotations

import itertools
import json
import re
from ipaddress import ip_network

import pytest

from netpol_gen.errors import InputError
from netpol_gen.inventory import NAMESPACES, empty, load_inventory
from netpol_gen.inventory.objects import ContainerPort, Pod
from netpol_gen.model import Protocol, Workload
from netpol_gen.sets import AddressSet
from tests.inventory.made import (
    at,
    controller,
    endpoint_slice,
    held,
    listed,
    load,
    node,
    ns,
    obj,
    pod,
    service,
)


def ranges(addresses: AddressSet) -> str:
    return str(addresses)


# --- pods -------------------------------------------------------------------------------------------------------------


def test_ports_of_containers_and_sidecars_but_not_of_init_containers():
    spec = {
        "containers": [
            {
                "name": "a",
                "ports": [
                    {"containerPort": 80, "name": "http", "hostPort": 8080},
                    {"containerPort": 53, "protocol": "UDP"},
                ],
            }
        ],
        "initContainers": [
            {"name": "wait", "ports": [{"containerPort": 1}]},
            {
                "name": "mesh",
                "restartPolicy": "Always",
                "ports": [{"containerPort": 15090, "protocol": "TCP", "hostPort": 0}],
            },
        ],
    }
    (found,) = load(pod("p", spec=spec)).pods
    assert found.ports == (
        ContainerPort(53, Protocol.UDP),
        ContainerPort(80, Protocol.TCP, "http", 8080),
        ContainerPort(15090, Protocol.TCP),
    )


def test_ports_that_only_look_alike_are_told_apart():
    http, sidecar = {"containerPort": 80, "name": "http"}, {"containerPort": 81}
    specs = (
        {"containers": [{"name": "a", "ports": [http]}]},
        {"containers": [{"ports": [http]}], "initContainers": [{"restartPolicy": "Always", "ports": [sidecar]}]},
        {"containers": [{"name": "a", "ports": [http]}, {"name": "b", "ports": [sidecar]}]},
        {"containers": [{"name": "a", "ports": [http]}]},
        {"containers": [{"name": "a"}]},
    )
    found = load(*(pod(f"p{i}", spec=spec) for i, spec in enumerate(specs))).pods
    assert [[port.number for port in each.ports] for each in found] == [[80], [80, 81], [80, 81], [80], []]
    text = {"containers": [{"name": "a", "ports": [{"containerPort": "80"}]}]}
    for wrong, where in ((text, "containers[0].ports[0].containerPort"), ({"containers": [http, "x"]}, "containers")):
        with pytest.raises(InputError, match=re.escape(where)):
            load(pod("p", spec=specs[0]), pod("q", spec=wrong))


@pytest.mark.parametrize("wrong", [80.0, "80", [80], 10**30, "\ud800"])
def test_a_port_that_looks_like_one_of_another_pod_is_wrong_all_the_same(wrong):
    ports = ([{"containerPort": 80, "hostPort": host}] for host in (80, None, wrong))
    with pytest.raises(InputError, match=r"document 3: .*hostPort: "):
        load(*(pod(f"p{i}", ports=each) for i, each in enumerate(ports)))


@pytest.mark.parametrize(("one", "other"), [(1, True), (0, False)])
def test_numbers_that_are_equal_and_of_another_type_are_told_apart(one, other):
    good, bad = ([{"containerPort": 80, "hostPort": value}] for value in (one, other))
    assert load(pod("p", ports=good), pod("q", ports=good)).pods[0].ports[0].host_port == one
    with pytest.raises(InputError, match="hostPort: "):
        load(pod("p", ports=good), pod("q", ports=bad))


@pytest.mark.parametrize(
    ("status", "deleted", "ended"),
    [
        ({}, None, None),
        ({}, 30, 30),
        (
            {
                "phase": "Succeeded",
                "containerStatuses": [
                    {"state": {"terminated": {"finishedAt": at(5)}}},
                    {"state": {"terminated": {"finishedAt": at(9)}}},
                ],
            },
            None,
            9,
        ),
        ({"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"finishedAt": at(5)}}}]}, 3, 3),
        (
            {
                "phase": "Succeeded",
                "containerStatuses": [{"state": {"terminated": {"finishedAt": at(5)}}}],
                "initContainerStatuses": [{"state": {"terminated": {"finishedAt": at(7)}}}],
            },
            None,
            7,
        ),
        ({"phase": "Failed", "reason": "Evicted", "conditions": [{"lastTransitionTime": at(4)}]}, None, 4),
        ({"phase": "Succeeded"}, None, None),
        # A container that ended does not end a running pod.
        ({"containerStatuses": [{"state": {"terminated": {"finishedAt": at(5)}}}]}, None, None),
    ],
)
def test_when_a_pod_ended(status, deleted, ended):
    metadata = {"deletionTimestamp": at(deleted)} if deleted is not None else {}
    (found,) = load(pod("p", start=1, status=status, metadata=metadata)).pods
    assert found.ended == (None if ended is None else ns(ended))
    assert found.live == ((status.get("phase"), ended) == (None, None))


def test_start_is_when_the_node_took_it_else_when_it_was_made():
    metadata = {"creationTimestamp": at(1)}
    (found,) = load(pod("p", metadata=metadata, status={"startTime": at(2)})).pods
    assert found.started == ns(2)
    (found,) = load(pod("p", metadata=metadata)).pods
    assert found.started == ns(1)


def test_times_keep_their_nanoseconds_and_zones():
    metadata = {"creationTimestamp": "2026-11-22T23:00:00.123456789+01:00"}
    (found,) = load(pod("p", metadata=metadata)).pods
    assert found.started == ns(0) + 123_456_789


def test_a_pod_that_holds_its_hosts_address_is_on_the_hosts_network():
    one, two = load(pod("a", "10.0.0.5", status={"hostIP": "10.0.0.5"}), pod("b", spec={"hostNetwork": True})).pods
    assert one.host_network
    assert two.host_network


def test_mapped_addresses_are_version_4():
    (found,) = load(pod("p", ["::ffff:10.1.0.7", "fd00::7"])).pods
    assert [str(a) for a in found.addresses] == ["10.1.0.7", "fd00::7"]


# --- the rest ---------------------------------------------------------------------------------------------------------


def test_a_namespace_always_bears_its_name():
    inventory = load(obj("Namespace", "shop", None, labels={"team": "a"}))
    assert dict(inventory.namespaces["shop"].labels) == {"team": "a", "kubernetes.io/metadata.name": "shop"}
    assert inventory.namespace_labels("shop") == {"team": "a", "kubernetes.io/metadata.name": "shop"}
    assert inventory.namespace_labels("other") == {"kubernetes.io/metadata.name": "other"}
    assert "other" not in inventory.namespaces


def test_objects_without_a_namespace_are_in_the_default_one():
    inventory = load(obj("Pod", "p", None), default_namespace="shop")
    assert inventory.pods[0].namespace == "shop"
    assert load(obj("Pod", "p", None)).pods[0].namespace == "default"


def test_ranges_come_from_nodes_pools_flags_and_options():
    flags = [
        "kube-controller-manager",
        "--cluster-cidr=10.9.0.0/16,fd09::/48",
        "--service-cluster-ip-range=10.96.0.0/12",
    ]
    import ipaddress

    inventory = load(
        node("n1", "192.168.0.1", "10.1.1.0/24"),
        obj("IPPool", "pool", None, version="crd.projectcalico.org/v1", spec={"cidr": "10.2.0.0/16"}),
        obj("CiliumNode", "n1", None, version="cilium.io/v2", spec={"ipam": {"podCIDRs": ["10.3.1.0/24"]}}),
        obj("ServiceCIDR", "kubernetes", None, version="networking.k8s.io/v1", spec={"cidrs": ["fd96::/112"]}),
        pod("kcm", namespace="kube-system", spec={"containers": [{"name": "c", "command": flags}]}),
        pod("elsewhere", "172.16.0.9"),
        service("web", {"app": "web"}, [{"port": 80}], ip="172.20.0.1"),
        pod_cidrs=[ipaddress.ip_network("10.4.0.0/16")],
        service_cidrs=[ipaddress.ip_network("10.5.0.0/16")],
    )
    assert (
        ranges(inventory.pod_ranges)
        == "10.1.1.0/24,10.2.0.0/16,10.3.1.0/24,10.4.0.0/16,10.9.0.0/16,172.16.0.9/32,fd09::/48"
    )
    assert ranges(inventory.service_ranges) == "10.5.0.0/16,10.96.0.0/12,172.20.0.1/32,fd96::/112"


def test_a_range_that_nobody_named_is_told():
    inventory = load(
        pod("a", ["10.1.0.7", "fd00::7"]),
        service("s", None, [{"port": 80}], ip="10.96.0.1"),
        node("n1", "192.168.0.1", "10.1.0.0/24"),
    )
    gaps = [(d.code, d.subject) for d in inventory.diagnostics]
    assert gaps == [("NPG212", "pod addresses, IPv6"), ("NPG212", "service addresses, IPv4")]


@pytest.mark.parametrize(
    ("addresses", "wanted"),
    [
        (["10.96.0.1"], "10.96.0.1/32"),
        (["10.96.0.20", "10.96.3.20", "10.96.0.1"], "10.96.0.0/22"),
        # Too far apart for one range: /12 is the largest.
        (["10.96.0.1", "10.96.0.9", "172.20.0.1", "172.31.255.255"], "10.96.0.0/28,172.16.0.0/12"),
        (["10.95.255.255", "10.96.0.0"], "10.95.255.255/32,10.96.0.0/32"),
        (["fd96::1", "fd96::a:7", "fd97::1", "10.96.0.1"], "10.96.0.1/32,fd96::/108,fd97::1/128"),
    ],
)
def test_what_lies_between_services_is_of_their_range(addresses, wanted):
    inventory = load(*(service(f"s{i}", None, [{"port": 80}], ip=ip) for i, ip in enumerate(addresses)))
    assert ranges(inventory.service_ranges) == wanted
    known = load(
        *(service(f"s{i}", None, [{"port": 80}], ip=ip) for i, ip in enumerate(["10.96.0.1", "10.97.0.1"])),
        service_cidrs=[ip_network("10.96.0.0/24")],
    )
    assert ranges(known.service_ranges) == "10.96.0.0/24,10.97.0.1/32"


def test_addresses_that_a_node_holds_within_the_pod_range():
    plain = load(node("n1", "192.168.0.1", "10.1.1.0/24")).nodes["n1"]
    assert [str(a) for a in plain.inner_addresses] == ["10.1.1.0", "10.1.1.1"]
    calico = load(
        node("n1", "192.168.0.1", "10.1.1.0/24", annotations={"projectcalico.org/IPv4VXLANTunnelAddr": "10.1.36.0"})
    )
    assert [str(a) for a in calico.nodes["n1"].inner_addresses] == ["10.1.36.0"]
    ovn = load(node("n1", "192.168.0.1", annotations={"k8s.ovn.org/node-subnets": '{"default":["10.128.2.0/23"]}'}))
    assert [str(c) for c in ovn.nodes["n1"].pod_cidrs] == ["10.128.2.0/23"]


def test_nodes_that_were_not_dumped_are_known_from_their_pods():
    inventory = load(
        pod("p", "10.1.0.7", status={"hostIP": "192.168.0.1", "hostIPs": [{"ip": "192.168.0.1"}, {"ip": "fd50::1"}]})
    )
    assert [str(a) for a in inventory.nodes["n1"].addresses] == ["192.168.0.1", "fd50::1"]


def test_the_api_server_is_known_by_its_endpoints():
    made = endpoint_slice(
        "kubernetes", "kubernetes", {"192.168.0.1": None}, [{"name": "https", "port": 6443}], namespace="default"
    )
    inventory = load(made)
    assert {(str(a), p) for a, p in inventory.api_server} == {("192.168.0.1", 6443)}
    old = obj(
        "Endpoints", "kubernetes", "default", subsets=[{"addresses": [{"ip": "192.168.0.2"}], "ports": [{"port": 443}]}]
    )
    assert {(str(a), p) for a, p in load(old).api_server} == {("192.168.0.2", 443)}
    # Endpoints objects only repeat what slices say.
    assert load(made, old).api_server == inventory.api_server


def test_kinds_without_a_part_are_counted_and_policies_kept():
    policy = obj("NetworkPolicy", "deny", version="networking.k8s.io/v1", spec={"podSelector": {}})
    tier = obj(
        "AdminNetworkPolicy",
        "a",
        None,
        version="policy.networking.k8s.io/v1alpha1",
        spec={"priority": 1, "subject": {"namespaces": {}}},
    )
    inventory = load(
        policy, tier, obj("Secret", "s"), obj("Secret", "t"), obj("Ingress", "i", version="networking.k8s.io/v1")
    )
    assert [p.ref for p in inventory.policies] == ["shop/deny"]
    assert [t.ref for t in inventory.tiers] == ["AdminNetworkPolicy/a"]
    assert dict(inventory.other) == {"Ingress.networking.k8s.io": 1, "Secret": 2}
    assert [(d.code, d.subject) for d in inventory.diagnostics] == [
        ("NPG111", "Ingress.networking.k8s.io"),
        ("NPG111", "Secret"),
    ]


# --- several looks at one cluster -------------------------------------------------------------------------------------


def both_orders(*documents):
    found = [load(*order) for order in itertools.permutations(documents)]
    assert all(each == found[0] for each in found)
    return found[0]


def test_one_uid_is_one_pod():
    early = pod("p", start=1, metadata={"uid": "u1"}, status={"phase": "Pending"})
    late = pod("p", "10.1.0.7", start=1, metadata={"uid": "u1", "deletionTimestamp": at(60)})
    (found,) = both_orders(listed(early), listed(late)).pods
    assert [str(a) for a in found.addresses] == ["10.1.0.7"]
    assert found.ended == ns(60)


def test_one_name_may_be_several_pods():
    first = pod("db-0", "10.1.0.7", start=1, metadata={"uid": "u1", "deletionTimestamp": at(60)})
    second = pod("db-0", "10.1.0.8", start=70, metadata={"uid": "u2"})
    inventory = both_orders(listed(first), listed(second))
    assert [p.uid for p in inventory.pods] == ["u1", "u2"]
    found = inventory.pod("shop", "db-0")
    assert found is not None
    assert found.uid == "u2"


def test_a_pod_that_a_later_look_lacks_ended_in_between():
    gone, stays = (
        pod(name, f"10.1.0.{i}", start=1, metadata={"uid": name}) for i, name in enumerate(("gone", "stays"))
    )
    inventory = both_orders(listed(gone, stays, taken=100), listed(stays, taken=200), listed(stays, taken=300))
    found = {p.name: (p.unsure_from, p.ended) for p in inventory.pods}
    assert found == {"gone": (ns(100), ns(200)), "stays": (None, None)}


def test_an_end_on_record_counts_more_than_absence():
    gone = pod("gone", "10.1.0.1", start=1, metadata={"uid": "gone", "deletionTimestamp": at(130)})
    inventory = load(listed(gone, taken=100), listed(pod("other"), taken=200))
    found = inventory.pod("shop", "gone")
    assert found is not None
    assert (found.unsure_from, found.ended) == (None, ns(130))


@pytest.mark.parametrize(
    "later",
    [
        listed(pod("other")),  # undated: may be older
        listed(service("s", None, [{"port": 80}]), taken=200),  # shows no pods
        listed(pod("other", namespace="bank"), taken=200, annotations={NAMESPACES: "bank, mail"}),
        listed(pod("other"), taken=50),  # earlier
    ],
)
def test_looks_that_say_nothing_of_an_end(later):
    found = load(listed(pod("p", "10.1.0.1", start=1, metadata={"uid": "p"}), taken=100), later).pod("shop", "p")
    assert found is not None
    assert (found.unsure_from, found.ended) == (None, None)


def test_an_empty_list_of_pods_is_a_look_too():
    found = load(listed(pod("p", "10.1.0.1", start=1), taken=100), listed(taken=200, kind="PodList")).pod("shop", "p")
    assert found is not None
    assert found.ended == ns(200)


def test_of_other_objects_the_latest_look_counts():
    old, new = (obj("Namespace", "shop", None, labels={"team": team}) for team in ("zebra", "ant"))
    inventory = both_orders(listed(old, taken=100), listed(new, taken=200))
    assert inventory.namespace_labels("shop")["team"] == "ant"
    assert inventory.diagnostics == ()


def test_undated_looks_that_disagree_are_told_whatever_their_order():
    one, two = (
        obj("NetworkPolicy", "a", version="networking.k8s.io/v1", spec={"podSelector": {"matchLabels": {"a": v}}})
        for v in "xy"
    )
    inventory = both_orders(one, two, one)
    assert [(d.code, d.subject) for d in inventory.diagnostics] == [("NPG110", "NetworkPolicy shop/a")]
    assert len(inventory.policies) == 1


def test_a_uid_of_two_names_is_refused():
    with pytest.raises(InputError, match=r"uid u belongs to both shop/[ab] and another pod"):
        load(pod("a", metadata={"uid": "u"}), pod("b", metadata={"uid": "u"}))


# --- pods known from flows --------------------------------------------------------------------------------------------


def test_observed_pods_come_after_objects():
    inventory = load(pod("known", "10.1.0.1", labels={"app": "known"}), controller("Deployment", "web", {"app": "web"}))
    seen = held("known", "10.1.0.99"), held("new", "10.1.0.2"), held("new", "10.1.0.2")
    more = inventory.with_observed(seen)
    assert [(p.name, p.observed, p.template) for p in more.pods] == [
        ("known", False, False),
        ("new", True, False),
        ("web", False, True),
    ]
    found = more.pod("shop", "new")
    assert found is not None
    assert more.pods_of(Workload("shop", "Pod", "new")) == (found,)
    assert empty().with_observed(seen).pods[0].observed


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (obj("Pod", "UPPER"), "metadata.name: UPPER is not a DNS-1123 name"),
        (obj("Pod", "../../etc"), "metadata.name: ../../etc is not a DNS-1123 name"),
        (obj("Pod", "a", "b/c"), "metadata.namespace: b/c is not a DNS-1123 name"),
        ({"apiVersion": "v1", "kind": "Pod"}, "metadata.name: no name"),
        ({"apiVersion": "v1", "kind": "Pod", "metadata": []}, "metadata: [] is not a mapping"),
        (pod("p", labels={"a": 1}), "metadata.labels: label a: 1 is not a string (quote it)"),
        (pod("p", labels={"a": "x y"}), "metadata.labels: a=x y is not a label"),
        (pod("p", labels={"a b": "x"}), "a b=x is not a label"),
        (pod("p", "10.0.0.256"), "status.podIP: 10.0.0.256 is not an address"),
        (pod("p", "fe80::1%eth0"), "status.podIP: fe80::1%eth0 has a zone"),
        (pod("p", status={"podIPs": "10.0.0.1"}), "status.podIPs: 10.0.0.1 is not a list of mappings"),
        (pod("p", status={"phase": "Done"}), "status.phase: Done is not a pod's phase"),
        (pod("p", status={"startTime": "yesterday"}), "status.startTime: yesterday is not an RFC 3339 time"),
        (pod("p", status={"startTime": "2026-11-22T22:00:00"}), "is not an RFC 3339 time"),
        (pod("p", status={"startTime": "2026-11-22"}), "is not an RFC 3339 time"),
        (pod("p", ports=[{"containerPort": 0}]), "spec.containers[0].ports[0].containerPort: 0 is not a port"),
        (pod("p", ports=[{"containerPort": 70000}]), "containerPort: 70000 is not a port"),
        (pod("p", ports=[{"containerPort": "80"}]), "containerPort: 80 is not a whole number"),
        (pod("p", ports=[{"containerPort": True}]), "containerPort: True is not a whole number"),
        (pod("p", ports=[{"name": "x"}]), "containerPort: no port number"),
        (pod("p", ports=[{"containerPort": 80, "protocol": "tcp"}]), "protocol: tcp is not TCP, UDP or SCTP"),
        (pod("p", spec={"hostNetwork": "yes"}), "spec.hostNetwork: yes is not a boolean"),
        (pod("p", owner=("Replica Set", "x")), "kind: Replica Set is not a kind"),
        (pod("p", owner=("ReplicaSet", "a/../b")), "name: a/../b is not a name"),
        (pod("p", owner=("ReplicaSet", "..")), "name: .. is not a name"),
        (controller("Deployment", "d", {}, spec={"selector": {"x": {}}}), "spec.selector: unknown field x"),
        (controller("Deployment", "d", {}, spec={"replicas": "3"}), "spec.replicas: 3 is not a whole number"),
        (service("s", {"a": None}, []), "spec.selector: label a: None is not a string"),
        (service("s", {}, [{"port": 80, "nodePort": 70000}]), "spec.ports[0].nodePort: 70000 is not a port"),
        (service("s", {}, [{"name": "x"}]), "spec.ports[0].port: no port number"),
        (service("s", {}, [{"port": 80, "targetPort": 0.5}]), "targetPort: 0.5 is not a whole number"),
        (service("s", {}, [], ip="nowhere"), "spec.clusterIP: nowhere is not an address"),
        (node("n", "10.0.0.1", "10.0.0.0"), "spec.podCIDRs: 10.0.0.0 is not a CIDR"),
        (node("n", "10.0.0.1", annotations={"k8s.ovn.org/node-subnets": "["}), "is not a JSON object"),
        (obj("NetworkPolicy", "n", version="networking.k8s.io/v1", spec={"podSelector": 1}), "spec.podSelector: "),
        (listed(pod("p"), annotations={"netpol-gen.dev/taken-at": "noon"}), "netpol-gen.dev/taken-at: noon is not"),
    ],
)  # fmt: skip
def test_refused_with_its_place(document, message, tmp_path):
    path = tmp_path / "dump.json"
    path.write_text("\n\n" + json.dumps(document))
    with pytest.raises(InputError) as caught:
        load_inventory([path])
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}:")


def test_real_dumps(shared_data):
    lab = load_inventory([shared_data / "conntrack" / "inventory.yaml"])
    assert [p.name for p in lab.pods] == ["kube-dns-0", "api-0", "db-0", "web-0"]
    assert ranges(lab.pod_ranges).startswith("10.244.1.0/24,10.244.2.0/24,fd00:")
    shop = load_inventory([shared_data / "online-boutique"])
    assert (len(shop.pods), len(shop.services), len(shop.policies)) == (12, 12, 13)
    assert all(p.template for p in shop.pods)
    assert isinstance(shop.pods[0], Pod)
