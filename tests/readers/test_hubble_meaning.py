"""Who is the client, what was seen, which verdict: one record at a time, with expectations written by hand."""

from __future__ import annotations

import json

import pytest

from netpol_gen.flowtable import Reason
from tests.readers.making import (
    DB,
    HOUR,
    NANOSECONDS,
    TIME,
    WEB,
    WORLD,
    asides,
    flow,
    ip,
    lines,
    place,
    read_bytes,
    reply,
    row,
    rows,
    signals,
    tcp,
    udp,
)

L7 = {"Type": "L7", "event_type": {"type": 129}}
DENIED = {"verdict": "DROPPED", "event_type": {"type": 1}}
WEB_TO_DB = ("10.0.0.1", "10.0.0.2", None, 5432)


def ends(found):
    return (found["src_ip"], found["dst_ip"], found["src_port"], found["dst_port"])


# --- direction --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "evidence", "replies"),
    [
        (flow(l4=tcp(40000, 5432, "SYN"), is_reply=None), "syn", 0),
        (reply(l4=tcp(5432, 40000, "SYN", "ACK"), is_reply=None), "syn", 1),
        # microsoft/retina#1417: is_reply says false on the SYN-ACK
        (reply(l4=tcp(5432, 40000, "SYN", "ACK"), is_reply=False), "syn", 1),
        (flow(event_type={"type": 5}, is_reply=None, trace_observation_point=None), "policy-verdict", 0),
        (flow(event_type={"type": 5}), "policy-verdict", 0),
        (flow(), "is-reply", 0),
        (reply(), "is-reply", 1),
        # Cilium up to 1.9 has `reply`, and only where true
        (reply(is_reply=None, reply=True), "is-reply", 1),
        (reply(is_reply=None, trace_reason="REPLY"), "is-reply", 1),
        (flow(is_reply=None, trace_reason="ESTABLISHED"), "is-reply", 0),
        (flow(is_reply=None, trace_reason=1), "is-reply", 0),
        (flow(is_reply=None, l4=tcp(40000, 5432), **L7, l7={"type": "REQUEST"}), "l7", 0),
        (reply(is_reply=None, l4=tcp(5432, 40000), **L7, l7={"type": "RESPONSE"}), "l7", 1),
        # traffic_direction says what it likes
        (flow(traffic_direction="INGRESS"), "is-reply", 0),
        (flow(traffic_direction="EGRESS"), "is-reply", 0),
        (reply(traffic_direction="EGRESS"), "is-reply", 1),
        (reply(traffic_direction="INGRESS"), "is-reply", 1),
    ],
)
def test_the_client_is_web(tmp_path, record, evidence, replies):
    found = row(tmp_path, record)
    assert ends(found) == WEB_TO_DB
    assert (found["direction"], found["replies"], found["records"]) == (evidence, replies, 1)
    assert (found["src_pod"], found["dst_pod"]) == ("web-1", "db-0")


@pytest.mark.parametrize("unknown", [{"is_reply": None}, {"is_reply": None, "trace_reason": "RELATED"}])
@pytest.mark.parametrize("direction", [None, "INGRESS", "EGRESS"])
def test_without_evidence_both_ports_stay_and_nothing_is_turned(tmp_path, unknown, direction):
    found = row(tmp_path, reply(**unknown, traffic_direction=direction))
    assert ends(found) == ("10.0.0.2", "10.0.0.1", 5432, 40000)
    assert (found["direction"], found["replies"]) == (None, 0)
    # as though db were the client: netpol_gen.direction decides
    assert found["signals"] == signals("CLIENT_DATA", "TRACE", "DELIVERED")


def test_is_reply_null_is_not_false(tmp_path):
    text = lines(flow()).replace(b'"is_reply":false', b'"is_reply":null')
    assert read_bytes(tmp_path, text).table.to_pylist()[0]["direction"] is None


def test_the_strongest_evidence_stays_and_one_conversation_is_one_row(tmp_path):
    syn = flow(l4=tcp(40000, 5432, "SYN"))
    verdict = flow(l4=tcp(40000, 5432, "SYN"), event_type={"type": 5}, trace_observation_point=None)
    for records in ([flow(), syn, reply(), verdict], [verdict, reply(), syn, flow()]):
        found = row(tmp_path, *records)
        assert (found["direction"], found["records"], found["replies"], found["flows"]) == ("syn", 4, 1, 1)


def test_undecided_packets_of_a_known_connection_join_it(tmp_path):
    """TO_OVERLAY of Cilium up to 1.10 has no is_reply: egress, ingress and overlay views of one connection are one."""
    overlay = {"is_reply": None, "trace_observation_point": "TO_OVERLAY"}
    there = flow(l4=tcp(40000, 5432, "SYN"))
    found = row(tmp_path, there, flow(**overlay), reply(**overlay))
    assert (found["flows"], found["records"], found["replies"]) == (1, 3, 1)
    assert found["signals"] == signals("SYN", "CLIENT_DATA", "SERVER_DATA", "TRACE", "DELIVERED")


def test_undecided_packets_of_another_connection_do_not_join(tmp_path):
    other = flow(is_reply=None, l4=tcp(40001, 5432, "ACK"))
    assert [r["src_port"] for r in rows(tmp_path, flow(l4=tcp(40000, 5432, "SYN")), other)] == [None, 40001] or [
        r["src_port"] for r in rows(tmp_path, flow(l4=tcp(40000, 5432, "SYN")), other)
    ] == [40001, None]


def test_the_answer_through_a_proxy_shows_the_node_but_is_the_clients(tmp_path):
    """10.0.0.9 is the node's own address: the proxy speaks from it, in the request with web's identity."""
    client = {"identity": 101, "labels": ["k8s:app=web", "k8s:io.kubernetes.pod.namespace=shop"]}
    node = {"identity": 6, "labels": ["reserved:remote-node"]}
    asked = flow(IP=ip("10.0.0.9", "10.0.0.2"), source=client, l4=tcp(58950, 5432, "SYN"), is_reply=None)
    answered = reply(IP=ip("10.0.0.2", "10.0.0.9"), destination=node, l4=tcp(5432, 58950, "SYN", "ACK"), is_reply=None)
    found = row(tmp_path, asked, answered)
    assert (found["src_namespace"], found["src_entities"], found["records"], found["replies"]) == ("shop", None, 2, 1)
    assert found["signals"] == signals("SYN", "SYN_ACK", "TRACE", "DELIVERED")


def test_a_node_that_asks_for_itself_stays_a_node(tmp_path):
    client = {"identity": 101, "labels": ["k8s:app=web", "k8s:io.kubernetes.pod.namespace=shop"]}
    node = {"identity": 1, "labels": ["reserved:host"]}
    asked = flow(IP=ip("10.0.0.9", "10.0.0.2"), source=client, l4=tcp(58950, 5432, "SYN"))
    other = reply(IP=ip("10.0.0.2", "10.0.0.9"), destination=node, l4=tcp(5432, 58951, "SYN", "ACK"))
    assert sorted(r["src_entities"] or "" for r in rows(tmp_path, asked, other)) == ["", "host"]


# --- signals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (flow(l4=tcp(40000, 5432, "SYN")), ("SYN", "TRACE", "DELIVERED")),
        (flow(l4=tcp(40000, 5432, "SYN"), trace_observation_point="TO_STACK"), ("SYN", "TRACE")),
        (flow(l4=tcp(40000, 5432, "SYN"), trace_observation_point=101), ("SYN", "TRACE", "DELIVERED")),
        # sub_type 0 is TO_ENDPOINT, and left out
        (flow(trace_observation_point=None), ("CLIENT_DATA", "TRACE", "DELIVERED")),
        (flow(trace_observation_point=None, event_type={"type": 4, "sub_type": 4}), ("CLIENT_DATA", "TRACE")),
        (reply(l4=tcp(5432, 40000, "SYN", "ACK")), ("SYN_ACK", "TRACE")),
        (reply(l4=tcp(5432, 40000, "PSH", "ACK")), ("SERVER_DATA", "TRACE")),
        (reply(l4=tcp(5432, 40000, "FIN", "ACK")), ("SERVER_DATA", "TRACE")),
        (reply(l4=tcp(5432, 40000, "RST")), ("RESET", "TRACE")),
        (reply(l4=tcp(5432, 40000, "RST", "ACK")), ("RESET", "TRACE")),
        (flow(l4=tcp(40000, 5432, "RST")), ("TRACE", "DELIVERED")),
        (flow(l4=tcp(40000, 5432, "FIN", "ACK")), ("CLIENT_DATA", "TRACE", "DELIVERED")),
        (
            flow(l4=tcp(40000, 5432, "SYN"), event_type={"type": 5}, trace_observation_point=None),
            ("SYN", "POLICY_VERDICT"),
        ),
        (flow(l4=tcp(40000, 5432), Type="L7", event_type={"type": 129}, l7={"type": "REQUEST", "http": {}}), ("L7",)),
        (flow(l4=udp(40000, 53)), ("CLIENT_DATA", "TRACE", "DELIVERED")),
        (reply(l4=udp(53, 40000)), ("SERVER_DATA", "TRACE")),
        # An export without flags: their absence says nothing.
        (flow(l4=tcp(40000, 5432)), ("SAMPLED", "TRACE", "DELIVERED")),
    ],
)
def test_what_was_seen(tmp_path, record, expected):
    assert row(tmp_path, record)["signals"] == signals(*expected)


# --- verdicts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "verdict", "drop_reason"),
    [
        ({"verdict": "FORWARDED"}, "forwarded", None),
        ({"verdict": 1}, "forwarded", None),
        ({"verdict": "REDIRECTED"}, "forwarded", None),
        ({"verdict": 5}, "forwarded", None),
        ({"verdict": "AUDIT"}, "audit", None),
        ({**DENIED, "drop_reason_desc": "POLICY_DENIED"}, "dropped", "POLICY_DENIED"),
        ({**DENIED, "drop_reason_desc": 133}, "dropped", "POLICY_DENIED"),
        ({"verdict": 2, "drop_reason": 181, "event_type": {"type": 1}}, "dropped", "POLICY_DENY"),
        ({**DENIED, "drop_reason_desc": "AUTH_REQUIRED"}, "dropped", "AUTH_REQUIRED"),
        ({"verdict": "DROPPED", "event_type": {"type": 5}}, "dropped", None),
        ({"verdict": "DROPPED", "event_type": {"type": 129}, "Type": "L7", "l7": {"type": "REQUEST"}}, "dropped", None),
    ],
)
def test_verdict(tmp_path, fields, verdict, drop_reason):
    found = row(tmp_path, flow(**fields))
    assert (found["observed_verdict"], found["drop_reason"]) == (verdict, drop_reason)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"verdict": "DROPPED", "drop_reason_desc": "STALE_OR_UNROUTABLE_IP", "event_type": {"type": 1}}, "OTHER_DROP"),
        ({"verdict": "DROPPED", "drop_reason_desc": "UNENCRYPTED_TRAFFIC", "event_type": {"type": 1}}, "OTHER_DROP"),
        ({"verdict": "DROPPED", "drop_reason": 158, "event_type": {"type": 1}}, "OTHER_DROP"),
        ({"verdict": "DROPPED", "event_type": {"type": 1}}, "OTHER_DROP"),
        ({"verdict": "ERROR"}, "ERROR_VERDICT"),
        ({"verdict": 3}, "ERROR_VERDICT"),
        ({"verdict": None}, "NO_VERDICT"),
        ({"verdict": "VERDICT_UNKNOWN"}, "NO_VERDICT"),
        ({"verdict": "ALLOWED"}, "NO_VERDICT"),
        ({"verdict": "SOMETHING_NEW"}, "NO_VERDICT"),
        ({"verdict": 99}, "NO_VERDICT"),
        ({"verdict": "TRACED", "Type": "SOCK", "event_type": {"type": 7}, "is_reply": None}, "SOCKET_EVENT"),
        ({"verdict": "TRANSLATED", "Type": "SOCK", "event_type": {"type": 7}, "is_reply": None}, "SOCKET_EVENT"),
        ({"verdict": "FORWARDED", "Type": 3, "event_type": {"type": 7}}, "SOCKET_EVENT"),
        ({"verdict": 7, "event_type": None}, "SOCKET_EVENT"),
        ({"l4": {"ICMPv4": {"type": 8}}}, "ICMP"),
        ({"l4": {"ICMPv4": {}}}, "ICMP"),
        ({"l4": {"ICMPv6": {"type": 135}}}, "ICMP"),
        ({"l4": {"VRRP": {"type": 1}}}, "OTHER_PROTOCOL"),
        ({"l4": {"IGMP": {}}}, "OTHER_PROTOCOL"),
        ({"l4": None}, "NO_L4"),
        ({"l4": {}}, "NO_L4"),
        ({"source": {"identity": 4, "labels": ["reserved:health"]}}, "HEALTH"),
        ({"destination": {"identity": 4}}, "HEALTH"),
        ({"IP": ip("127.0.0.1", "127.0.0.1")}, "LOOPBACK"),
        ({"IP": ip("::1", "::1")}, "LOOPBACK"),
        ({"IP": ip("10.0.0.1", "224.0.0.251")}, "MULTICAST"),
        ({"IP": ip("10.0.0.1", "255.255.255.255")}, "MULTICAST"),
        ({"IP": ip("fe80::1", "ff02::fb")}, "MULTICAST"),
        ({"IP": ip("fe80::1%eth0", "fd00::2")}, "MULTICAST"),
    ],
)
def test_set_aside(tmp_path, fields, reason):
    flows = read_bytes(tmp_path, lines(flow(**fields)))
    assert asides(flows) == {reason: 1}
    assert flows.table.num_rows == 0
    assert place(flows, Reason[reason])[0].startswith("flows.jsonl:1")


def test_an_unknown_verdict_is_named_with_its_place(tmp_path):
    flows = read_bytes(tmp_path, lines(flow(), flow(verdict="ALLOWED")))
    assert place(flows, Reason.NO_VERDICT) == ["flows.jsonl:2: verdict ALLOWED"]


@pytest.mark.parametrize("address", ["169.254.20.10", "169.254.25.10", "169.254.169.254"])
def test_node_local_dns_and_metadata_are_peers(tmp_path, address):
    found = row(tmp_path, flow(IP=ip("10.0.0.1", address), destination=WORLD, l4=udp(40000, 53)))
    assert found["dst_ip"] == address


# --- the rest of a row ------------------------------------------------------------------------------------------------


def test_all_columns_of_one_record(tmp_path):
    local = {**DB, "ID": 7, "workloads": [{"name": "db", "kind": "StatefulSet"}]}
    record = flow(
        l4=tcp(40000, 5432, "SYN"),
        destination=local,
        node_name="default/node-1",
        destination_service={"name": "db", "namespace": "shop"},
    )
    found = row(tmp_path, record)
    assert found.pop("sample").endswith("flows.jsonl:1")
    for name in ("first_seen", "last_seen"):
        assert found.pop(name).value == NANOSECONDS
    assert found == {
        "hours": [HOUR],
        "src_ip": "10.0.0.1",
        "dst_ip": "10.0.0.2",
        "src_port": None,
        "dst_port": 5432,
        "protocol": "TCP",
        "observed_verdict": "forwarded",
        "drop_reason": None,
        "direction": "syn",
        "signals": signals("SYN", "TRACE", "DELIVERED"),
        "flows": 1,
        "records": 1,
        "replies": 0,
        "bytes": None,
        "packets": None,
        "src_namespace": "shop",
        "src_pod": "web-1",
        "src_labels": '{"app":"web"}',
        "src_workload": None,
        "src_entities": None,
        "src_identity": 101,
        "src_names": [],
        "src_uid": None,
        "dst_namespace": "shop",
        "dst_pod": "db-0",
        "dst_labels": '{"app":"db"}',
        "dst_workload": "StatefulSet/db",
        "dst_entities": None,
        "dst_identity": 102,
        "dst_names": [],
        "dst_uid": None,
        "dst_service": "shop/db",
        "backend_ip": None,
        "backend_port": None,
        "nodes": ["node-1"],
        "source": "hubble",
    }


@pytest.mark.parametrize("protocol", ["TCP", "UDP", "SCTP"])
def test_protocols(tmp_path, protocol):
    ports = {"source_port": 40000, "destination_port": 9999}
    assert row(tmp_path, flow(l4={protocol: ports}))["protocol"] == protocol


def test_the_service_of_an_answer_is_the_sources(tmp_path):
    found = row(tmp_path, reply(source_service={"name": "db", "namespace": "shop"}))
    assert found["dst_service"] == "shop/db"


def test_connections_are_counted_not_records(tmp_path):
    again = [flow(l4=tcp(port, 5432, flag)) for port in (40000, 40001, 40002) for flag in ("SYN", "ACK", "FIN")]
    next_hour = flow(time="2024-05-06T08:00:00Z")
    found = row(tmp_path, *again, *again, next_hour)
    assert (found["flows"], found["records"], found["hours"]) == (4, 19, [HOUR, HOUR + 1])


def test_both_nodes_reports_are_one_connection(tmp_path):
    """The pod is told more of on its own node: two forms, one end."""
    near_web, near_db = ({**end, "ID": 5, "workloads": [{"name": "x", "kind": "Deployment"}]} for end in (WEB, DB))
    records = [
        flow(source=near_web, node_name="a", trace_observation_point="TO_OVERLAY"),
        flow(destination=near_db, node_name="b"),
        reply(source=near_db, node_name="b"),
    ]
    for order in (records, records[::-1]):
        found = row(tmp_path, *order)
        assert (found["flows"], found["records"], found["nodes"]) == (1, 3, ["a", "b"])
        assert (found["src_workload"], found["dst_workload"]) == ("Deployment/x", "Deployment/x")


@pytest.mark.parametrize("wrap", [lambda record: record, lambda record: json.dumps({"log": json.dumps(record)})])
@pytest.mark.parametrize("field", ["verdict", "drop_reason_desc", "drop_reason", "Type", "trace_observation_point"])
def test_thousands_of_digits_are_no_number(tmp_path, field, wrap):
    odd = flow(**{"verdict": "DROPPED", "event_type": {"type": 1}, "l4": tcp(40000, 5433, "ACK"), field: "1" * 5000})
    flows = read_bytes(tmp_path, lines(flow(), wrap(odd)))
    assert flows.ledger.read == 2


@pytest.mark.parametrize(
    ("plain", "more"),
    [
        ({"verdict": "DROPPED", "event_type": {"type": 1}}, {"drop_reason": 133}),
        ({}, {"Type": "SOCK"}),
        ({}, {"l7": {"type": "REQUEST"}}),
        ({"trace_observation_point": "UNKNOWN_POINT"}, {"event_type": {"type": 4, "sub_type": 3}}),
    ],
)
def test_what_one_record_means_does_not_depend_on_those_before(tmp_path, plain, more):
    one, other = flow(**plain), flow(**plain | more, l4=tcp(40000, 5433, "ACK"))
    first, second = (read_bytes(tmp_path, lines(*order)) for order in ((one, other, other), (other, other, one)))
    assert asides(first) == asides(second)
    columns = [name for name in first.table.column_names if name != "sample"]
    told = [sorted(map(str, flows.table.select(columns).to_pylist())) for flows in (first, second)]
    assert told[0] == told[1]


def test_an_aggregated_line_stands_for_many_connections(tmp_path):
    l4 = {"TCP": {"destination_port": 5432}}
    counts = {"ingress_flow_count": 12, "egress_flow_count": "7"}
    found = row(tmp_path, flow(l4=l4, aggregate=counts))
    assert (found["flows"], found["records"], found["src_port"]) == (12, 1, None)
    assert found["signals"] & signals("SAMPLED")


@pytest.mark.parametrize("count", ["1" * 18 + "x", "1" * 5000, "", "x", -1, 1.5, True, None])
def test_a_count_that_is_none_stands_for_nothing_more(tmp_path, count):
    assert row(tmp_path, flow(aggregate={"ingress_flow_count": count}))["flows"] == 1


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("2024-05-06T07:08:09Z", 1_714_979_289_000_000_000),
        ("2024-05-06T07:08:09.1Z", 1_714_979_289_100_000_000),
        ("2024-05-06T07:08:09.123456Z", 1_714_979_289_123_456_000),
        (TIME, NANOSECONDS),
        ("2024-05-06T09:08:09.123456789+02:00", NANOSECONDS),
        ("2024-05-06t07:08:09.123456789z", NANOSECONDS),
    ],
)
def test_times(tmp_path, text, nanoseconds):
    assert row(tmp_path, flow(time=text))["first_seen"].value == nanoseconds


def test_times_compare_as_numbers_though_zeros_are_trimmed(tmp_path):
    found = row(tmp_path, *(flow(time=f"2024-05-06T07:08:09{fraction}Z") for fraction in (".12", ".1", ".11999", "")))
    assert [found[name].value % 10**9 for name in ("first_seen", "last_seen")] == [0, 120_000_000]


def test_since_and_until(tmp_path):
    records = [flow(time=f"2024-05-06T07:08:{second:02d}.50Z") for second in range(10)]
    half = 1_714_979_280_500_000_000
    flows = read_bytes(tmp_path, lines(*records), since=half + 2 * 10**9, until=half + 7 * 10**9)
    assert asides(flows) == {"OUT_OF_WINDOW": 5}
    found = flows.table.to_pylist()[0]
    assert (found["first_seen"].value, found["last_seen"].value) == (half + 2 * 10**9, half + 6 * 10**9)


def test_hidden_endpoints_of_a_field_mask_are_known_by_address(tmp_path):
    found = row(tmp_path, flow(source=None, destination=None))
    assert ends(found) == WEB_TO_DB
    assert (found["src_pod"], found["dst_labels"]) == (None, None)


def test_an_explicit_null_endpoint_is_missing(tmp_path):
    text = lines(flow(source="X")).replace(b'"X"', b"null")
    flows = read_bytes(tmp_path, text)
    assert asides(flows) == {"NO_ENDPOINT": 1}
    assert place(flows, Reason.NO_ENDPOINT) == ["flows.jsonl:1"]


def test_no_address_and_nothing_known_is_a_missing_endpoint(tmp_path):
    assert asides(read_bytes(tmp_path, lines(flow(IP=ip("10.0.0.1", ""), destination={})))) == {"NO_ENDPOINT": 1}
    assert asides(read_bytes(tmp_path, lines(flow(IP=None, source=None)))) == {"NO_ENDPOINT": 1}


def test_a_known_endpoint_needs_no_address(tmp_path):
    found = row(tmp_path, flow(IP=None))
    assert (found["src_ip"], found["dst_ip"], found["src_pod"]) == (None, None, "web-1")
    assert WEB["pod_name"] == "web-1"
