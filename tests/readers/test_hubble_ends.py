"""Endpoints as Hubble really writes them: labels, identities, entities, two forms of one pod, names."""

from __future__ import annotations

import json

import pytest

from netpol_gen.flowtable import Reason
from netpol_gen.readers.hubble_ends import BadEndpointError, address, endpoint
from netpol_gen.readers.rows import Endpoint
from tests.readers.making import DB, WEB, WORLD, asides, flow, ip, lines, place, read_bytes, reply, row, rows, tcp, udp


def of(**fields):
    return endpoint(json.dumps(fields).encode())


def labels(*texts):
    return json.loads(of(labels=list(texts)).labels or "{}")


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("k8s:app=web", {"app": "web"}),
        ("app=web", {"app": "web"}),
        ("any:app=web", {"app": "web"}),
        ("unspec:app=web", {"app": "web"}),
        ("k8s:foo=", {"foo": ""}),
        ("k8s:foo", {"foo": ""}),
        ("k8s:a=b=c", {"a": "b=c"}),
        # no source: the colon belongs to the value
        ("url=http://x", {"url": "http://x"}),
        (
            "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=shop",
            {"io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name": "shop"},
        ),
        ("k8s:pod-template-hash=7d9c", {"pod-template-hash": "7d9c"}),
        ("gen:io.cilium.k8s.named-ports=dns.UDP.53_dns-tcp.TCP.53", {}),
        ("gen:io.cilium.k8s.named-ports-1=x", {}),
        ("cidr:104.20.23.154/32", {}),
        ("cidr:2606-4700--1111/128", {}),
        ("reserved:world", {}),
        ("fqdn:example.com", {}),
        ('k8s:x="; rm -rf / #\n{{7*7}}', {"x": '"; rm -rf / #\n{{7*7}}'}),
    ],
)
def test_labels(label, expected):
    assert labels(label) == expected


def test_labels_are_sorted_whatever_their_order():
    assert of(labels=["k8s:b=2", "k8s:a=1"]).labels == of(labels=["k8s:a=1", "k8s:b=2"]).labels == '{"a":"1","b":"2"}'


@pytest.mark.parametrize(
    ("fields", "entities"),
    [
        ({"identity": 1, "labels": ["reserved:host"]}, "host"),
        ({"labels": ["reserved:remote-node", "reserved:host"]}, "host,remote-node"),
        ({"labels": ["reserved:world", "reserved:kube-apiserver"]}, "kube-apiserver,world"),
        ({"identity": 6}, "remote-node"),
        ({"identity": "7"}, "kube-apiserver"),
        ({"identity": 8}, "ingress"),
        ({"identity": 9}, "world-ipv4"),
        ({"identity": 10}, "world-ipv6"),
        ({"identity": 11}, None),
        ({"identity": 16777217, "labels": ["cidr:104.20.23.154/32", "reserved:world"]}, "world"),
        # An identity says nothing beside labels that say something else.
        ({"identity": 2, "labels": ["k8s:app=x"]}, None),
        ({}, None),
    ],
)
def test_entities(fields, entities):
    assert of(**fields).entities == entities


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"namespace": "a"}, "a"),
        ({"labels": ["k8s:io.kubernetes.pod.namespace=b"]}, "b"),
        ({"namespace": "a", "labels": ["k8s:io.kubernetes.pod.namespace=b"]}, "a"),
        ({"namespace": ""}, None),
    ],
)
def test_namespace(fields, expected):
    assert of(**fields).namespace == expected


@pytest.mark.parametrize(
    ("workloads", "expected"),
    [
        ([{"name": "web", "kind": "Deployment"}], "Deployment/web"),
        ([{"name": "web", "kind": "ReplicaSet"}, {"name": "x", "kind": "Job"}], "ReplicaSet/web"),
        ([{"name": "web"}], None),
        ([], None),
        (None, None),
        ([None], None),
    ],
)
def test_workload(workloads, expected):
    assert of(workloads=workloads).workload == expected


def test_identity_beyond_the_cluster_mesh_border():
    assert of(identity=139460).identity == 139460
    assert of(identity=0).identity is None


def test_camel_case():
    assert of(podName="web-1", namespace="a").pod == "web-1"


NOT_ENDPOINTS = (
    b"[]",
    b'"x"',
    b"1",
    b'{"labels":1}',
    b'{"labels":[1]}',
    b'{"namespace":5}',
    b"{",
    b'{"identity":"x"}',
    b'{"identity":-1}',
    b'{"pod_name":"\xff"}',
    b"[" * 100_000,
)


@pytest.mark.parametrize("raw", NOT_ENDPOINTS)
def test_not_an_endpoint(raw):
    with pytest.raises(BadEndpointError):
        endpoint(raw)


def test_nothing_is_nobody():
    assert endpoint(b"") == endpoint(b"{}") == Endpoint()


def test_a_bad_endpoint_is_counted_with_its_place(tmp_path):
    flows = read_bytes(tmp_path, lines(flow(), flow(source={"labels": "x"}), flow()))
    assert asides(flows) == {"BAD_FIELD": 1}
    assert place(flows, Reason.BAD_FIELD) == ["flows.jsonl:2: source is no endpoint"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("FD00:0:0::1", "fd00::1"),
        ("fd00::1%eth0", "fd00::1"),
        ("", None),
        (".".join("0000"), None),
        ("::", None),
    ],
)
def test_addresses(text, expected):
    assert address(text) == (expected, None)


@pytest.mark.parametrize("text", ["x", "10.0.0.256", "10.0.0.1/32", "1", "\u0661\u0660.0.0.1"])
def test_no_addresses(text):
    assert address(text) == (None, Reason.BAD_FIELD)


def test_a_bad_address_is_counted_with_its_place(tmp_path):
    flows = read_bytes(tmp_path, lines(flow(IP=ip("10.0.0.1", "10.0.0.300"))))
    assert place(flows, Reason.BAD_FIELD) == ["flows.jsonl:1: IP.destination 10.0.0.300 is no address"]


def test_ipv6_and_ipv4_mapped_are_one_address(tmp_path):
    found = row(tmp_path, flow(), flow(IP=ip("::ffff:10.0.0.1", "::ffff:10.0.0.2")))
    assert (found["src_ip"], found["records"]) == ("10.0.0.1", 2)


# --- formats.md 1.5 ---------------------------------------------------------------------------------------------------


def test_a_proxied_client_without_a_pod_has_its_namespace_from_its_labels(tmp_path):
    client = {"identity": 101, "labels": ["k8s:app=web", "k8s:io.kubernetes.pod.namespace=shop"]}
    found = row(tmp_path, flow(IP=ip("10.244.0.148", "10.0.0.2"), source=client))
    assert (found["src_namespace"], found["src_pod"], found["src_identity"]) == ("shop", None, 101)
    assert json.loads(found["src_labels"]) == {"app": "web", "io.kubernetes.pod.namespace": "shop"}


def test_a_pod_called_world_is_one_row_with_its_labelled_form(tmp_path):
    called_world = {"identity": 2, "namespace": "shop", "labels": ["reserved:world"], "pod_name": "db-0"}
    for records in ([flow(destination=called_world), flow()], [flow(), flow(destination=called_world)]):
        found = row(tmp_path, *records)
        assert (found["dst_entities"], found["dst_labels"], found["dst_identity"]) == (None, '{"app":"db"}', 102)


def test_a_pod_only_ever_called_world_keeps_its_name(tmp_path):
    found = row(tmp_path, flow(destination={**WORLD, "namespace": "shop", "pod_name": "db-0"}))
    assert (found["dst_pod"], found["dst_entities"]) == ("db-0", "world")


def test_labels_filtered_away_leave_the_namespace(tmp_path):
    found = row(tmp_path, flow(source={"identity": 101, "namespace": "shop", "pod_name": "web-1"}))
    assert (found["src_namespace"], found["src_labels"]) == ("shop", None)


def test_bare_pods_have_no_workload(tmp_path):
    assert row(tmp_path, flow(source={"ID": 3, **WEB}))["src_workload"] is None


def test_pods_of_one_name_in_two_namespaces_are_two(tmp_path):
    assert len(rows(tmp_path, flow(), flow(source={**WEB, "namespace": "other"}))) == 2


def test_the_service_ip_stays_as_dialled(tmp_path):
    """A destination address that is a ClusterIP though the endpoint is the pod."""
    found = row(tmp_path, flow(IP=ip("10.0.0.1", "10.96.0.23")))
    assert (found["dst_ip"], found["dst_pod"]) == ("10.96.0.23", "db-0")


def test_source_xlated_does_not_hide_the_backend(tmp_path):
    found = row(tmp_path, reply(IP={**ip("10.0.0.2", "10.0.0.1"), "source_xlated": "10.96.0.23"}))
    assert found["dst_ip"] == "10.0.0.2"


# --- names ------------------------------------------------------------------------------------------------------------

OUT = {"IP": ip("10.0.0.1", "203.0.113.7"), "destination": WORLD, "l4": tcp(40000, 443, "SYN")}


def answer(query="api.example.com.", ips=("203.0.113.7",), **dns):
    return reply(
        l4=udp(53, 41000),
        IP=ip("10.0.0.10", "10.0.0.1"),
        source={"namespace": "kube-system", "pod_name": "coredns-1"},
        Type="L7",
        event_type={"type": 129},
        trace_observation_point=None,
        l7={"type": "RESPONSE", "dns": {"query": query, "ips": list(ips), "cnames": ["edge.cdn.example.net."], **dns}},
    )


def names(found):
    return [r["dst_names"] for r in found if r["dst_ip"] == "203.0.113.7"]


def test_names_of_the_source(tmp_path):
    found = row(tmp_path, flow(**OUT, destination_names=["b.example.com", "a.example.com."]))
    assert found["dst_names"] == ["a.example.com", "b.example.com"]


def test_names_of_an_answer_belong_to_the_server(tmp_path):
    back = {"IP": ip("203.0.113.7", "10.0.0.1"), "source": WORLD, "l4": tcp(443, 40000, "ACK")}
    assert row(tmp_path, reply(**back, source_names=["a.example.com"]))["dst_names"] == ["a.example.com"]


def test_names_of_an_fqdn_identity(tmp_path):
    found = row(tmp_path, flow(**{**OUT, "destination": {"labels": ["fqdn:a.example.com", "reserved:world"]}}))
    assert found["dst_names"] == ["a.example.com"]


def test_names_of_an_answer_are_those_asked_for(tmp_path):
    for records in ([answer(), flow(**OUT)], [flow(**OUT), answer()]):
        assert names(rows(tmp_path, *records)) == [["api.example.com"]]


def test_the_sources_own_names_come_first(tmp_path):
    assert names(rows(tmp_path, answer(), flow(**OUT, destination_names=["own.example.com"]))) == [["own.example.com"]]


def test_a_failed_answer_names_nothing(tmp_path):
    assert names(rows(tmp_path, answer(rcode=3), flow(**OUT))) == [[]]


def test_pods_get_no_names_from_answers(tmp_path):
    found = rows(tmp_path, answer(ips=["10.0.0.2"]), flow())
    assert [r["dst_names"] for r in found if r["dst_pod"] == DB["pod_name"]] == [[]]
