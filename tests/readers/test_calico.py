"""Calico's flow logs, in the spellings of Enterprise, Goldmane and Whisker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpol_gen.edges import find_edges
from netpol_gen.flowio import FORMATS, write_flows
from netpol_gen.flowtable import Flows, Reason
from netpol_gen.inventory import empty
from netpol_gen.model import ExternalKind, ObservedVerdict, Protocol, Signal, Workload
from netpol_gen.readers import calico, read_flows
from tests.flowrows import inventory_of, pod

START = 1767225600
ENTERPRISE = {
    "start_time": START,
    "end_time": START + 300,
    "source_ip": "10.48.116.157",
    "source_name": "-",
    "source_name_aggr": "frontend-6d4b75cb6d-*",
    "source_namespace": "shop",
    "source_port": None,
    "source_type": "wep",
    "source_labels": {"labels": ["app=frontend", "pod-template-hash=6d4b75cb6d"]},
    "dest_ip": "10.48.127.224",
    "dest_name": "checkout-598d5b586d-wsvmz",
    "dest_name_aggr": "checkout-598d5b586d-*",
    "dest_namespace": "shop",
    "dest_port": 5050,
    "dest_type": "wep",
    "dest_labels": {"labels": ["app=checkout", "pod-template-hash=598d5b586d"]},
    "dest_service_namespace": "shop",
    "dest_service_name": "checkout",
    "dest_service_port": "grpc",
    "dest_service_port_num": 80,
    "proto": "tcp",
    "action": "allow",
    "reporter": "src",
    "policies": {"all_policies": ["0|shop|shop/shop.frontend|allow|0"]},
    "bytes_in": 300,
    "bytes_out": 500,
    "packets_in": 5,
    "packets_out": 7,
    "num_flows": 3,
    "num_flows_started": 3,
    "num_flows_completed": 2,
    "host": "node-1",
}
GOLDMANE = {
    "Key": {
        "source_name": "frontend-6d4b75cb6d-*",
        "source_namespace": "shop",
        "source_type": "WorkloadEndpoint",
        "dest_name": "checkout-598d5b586d-*",
        "dest_namespace": "shop",
        "dest_type": "WorkloadEndpoint",
        "dest_port": "5050",
        "dest_service_name": "checkout",
        "dest_service_namespace": "shop",
        "proto": "tcp",
        "reporter": "Src",
        "action": "Allow",
        "policies": {"enforced_policies": [{"kind": "EndOfTier", "tier": "default", "action": "Deny"}]},
    },
    "start_time": str(START),
    "end_time": str(START + 300),
    "source_labels": ["app=frontend", "pod-template-hash=6d4b75cb6d"],
    "dest_labels": ["app=checkout", "pod-template-hash=598d5b586d"],
    "packets_in": "5",
    "packets_out": "7",
    "bytes_in": "300",
    "bytes_out": "500",
    "num_connections_started": "3",
}
WHISKER = {
    "start_time": "2026-01-01T00:00:00Z",
    "end_time": "2026-01-01T00:05:00Z",
    "action": "Allow",
    "source_name": "frontend-6d4b75cb6d-*",
    "source_namespace": "shop",
    "source_labels": "app=frontend | pod-template-hash=6d4b75cb6d",
    "dest_name": "checkout-598d5b586d-*",
    "dest_namespace": "shop",
    "dest_labels": "app=checkout | pod-template-hash=598d5b586d",
    "protocol": "tcp",
    "dest_port": 5050,
    "reporter": "Src",
    "policies": {"enforced": [], "pending": []},
    "packets_in": 5,
    "packets_out": 7,
    "bytes_in": 300,
    "bytes_out": 500,
}


def lines(*records: dict) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def read(tmp_path: Path, text: str) -> Flows:
    (tmp_path / "flows.log").write_text(text, encoding="utf-8")
    return read_flows([tmp_path / "flows.log"], source="calico")


def row(tmp_path: Path, **changes: object) -> dict:
    (found,) = read(tmp_path, lines({**ENTERPRISE, **changes})).table.to_pylist()
    return found


def camel(value: object) -> object:
    if isinstance(value, dict):
        return {_camel(key): camel(each) for key, each in value.items()}
    return value


def _camel(key: str) -> str:
    head, *rest = key.split("_")
    return head + "".join(part.capitalize() for part in rest)


ENVELOPES = {
    "enterprise": lines(ENTERPRISE),
    "exported by Elasticsearch": json.dumps({"hits": {"hits": [{"_id": "1", "_source": ENTERPRISE}]}}),
    "array": json.dumps([ENTERPRISE], indent=1),
    "records": json.dumps({"records": [ENTERPRISE]}),
    "records over many lines": json.dumps({"records": [ENTERPRISE]}, indent=1),
    "value": json.dumps({"@odata.context": "a", "value": [ENTERPRISE]}),
    "data": json.dumps({"data": [ENTERPRISE]}),
    "message with a key": lines({"key": {"id": 7}, "value": ENTERPRISE}),
    "goldmane": lines(GOLDMANE),
    "goldmane result": lines({"id": "7", "flow": GOLDMANE}),
    "goldmane result, streamed": lines({"result": {"id": "7", "flow": GOLDMANE}}),
    "goldmane list": json.dumps({"meta": {"totalPages": "1"}, "flows": [{"id": "7", "flow": GOLDMANE}]}),
    "goldmane, other case": lines(camel(GOLDMANE)),
    "whisker": json.dumps({"total": {"totalPages": 1}, "items": [WHISKER]}, indent=2),
    "whisker stream": f"data: {json.dumps(WHISKER)}\n\n",
}


@pytest.mark.parametrize("text", ENVELOPES.values(), ids=ENVELOPES)
def test_every_spelling_is_the_same_flow(tmp_path, text):
    assert calico.looks_like(text.encode())
    (tmp_path / "flows.log").write_text(text, encoding="utf-8")
    flows = read_flows([tmp_path / "flows.log"])
    assert (flows.sources, flows.ledger.set_aside) == ({"calico": 1}, {})
    (found,) = flows.table.to_pylist()
    assert (found["first_seen"].value, found["last_seen"].value) == (START * 10**9, (START + 300) * 10**9)
    assert (found["src_namespace"], found["dst_namespace"]) == ("shop", "shop")
    assert json.loads(found["src_labels"]) == {"app": "frontend", "pod-template-hash": "6d4b75cb6d"}
    assert found["src_workload"] == "ReplicaSet/frontend-6d4b75cb6d"
    assert (found["protocol"], found["dst_port"], found["src_port"]) == ("TCP", 5050, None)
    assert (found["direction"], found["observed_verdict"]) == ("initiator", "forwarded")
    assert (found["packets"], found["bytes"], found["hours"]) == (12, 800, [START // 3600])
    assert Signal(found["signals"]) == Signal.TRACE | Signal.SYN_ACK | Signal.SERVER_DATA | Signal.CLIENT_DATA
    (edge,) = find_edges(flows, empty()).accepted
    assert edge.src == Workload("shop", "Deployment", "frontend")
    assert edge.dst == Workload("shop", "Deployment", "checkout")
    assert (edge.protocol, edge.port) == (Protocol.TCP, 5050)


def test_enterprise_tells_more(tmp_path):
    found = row(tmp_path)
    assert (found["src_ip"], found["src_pod"]) == ("10.48.116.157", None)
    assert (found["dst_ip"], found["dst_pod"]) == ("10.48.127.224", "checkout-598d5b586d-wsvmz")
    assert (found["dst_service"], found["nodes"], found["flows"]) == ("shop/checkout", ["node-1"], 3)


# --- both ends --------------------------------------------------------------------------------------------------------

DST = {"reporter": "dst", "packets_in": 7, "packets_out": 5, "bytes_in": 500, "bytes_out": 300, "host": "node-2"}


def test_both_reporters_tell_of_the_same_connections(tmp_path):
    (found,) = read(tmp_path, lines(ENTERPRISE, {**ENTERPRISE, **DST})).table.to_pylist()
    assert (found["records"], found["flows"], found["packets"], found["bytes"]) == (2, 3, 12, 800)
    assert found["nodes"] == ["node-1", "node-2"]


SERVER = {**ENTERPRISE, **DST}
LATER = {"start_time": START + 300, "end_time": START + 600}
DENIED = {"action": "deny", "packets_out": 0, "bytes_out": 0}
VIEWS = {
    "the server's alone": ([SERVER, {**SERVER, **LATER}], (6, 24, 1600)),
    "the server's alone, denied": ([{**SERVER, **DENIED}], (3, 7, 500)),
    "both": ([ENTERPRISE, {**ENTERPRISE, **LATER}, SERVER, {**SERVER, **LATER}], (6, 24, 1600)),
    "both, of one client's node alone": (
        [ENTERPRISE, {**SERVER, "num_flows_started": 5, "bytes_in": 900}],
        (5, 12, 1200),
    ),
    "both, the client's without counters": (
        [{**ENTERPRISE, "packets_in": None, "packets_out": None}, SERVER],
        (3, 12, 800),
    ),
    "a third on the way": ([ENTERPRISE, SERVER, {**SERVER, "reporter": "fwd"}], (3, 12, 800)),
    "the one on the way alone": ([{**SERVER, "reporter": "fwd"}], (3, 12, 800)),
}


@pytest.mark.parametrize("files", [1, 2])
@pytest.mark.parametrize(("records", "counted"), VIEWS.values(), ids=VIEWS)
def test_each_view_counts_once(tmp_path, records, counted, files):
    for number in range(files):
        (tmp_path / f"{number}.log").write_text(lines(*records[number::files]), encoding="utf-8")
    paths = sorted(path for path in tmp_path.glob("*.log") if path.stat().st_size)
    (found,) = read_flows(paths, source="calico", processes=files).table.to_pylist()
    assert (found["flows"], found["packets"], found["bytes"]) == counted


def test_allowed_at_one_end_and_denied_at_the_other_each_has_its_numbers(tmp_path):
    rows = read(tmp_path, lines(ENTERPRISE, {**SERVER, **DENIED})).table.to_pylist()
    found = {row["observed_verdict"]: (row["flows"], row["packets"], row["bytes"]) for row in rows}
    assert found == {"forwarded": (3, 12, 800), "dropped": (3, 7, 500)}


def test_a_client_outside_is_reported_by_the_server_alone(tmp_path):
    outside = {"source_type": "net", "source_name_aggr": "pub", "source_namespace": "-", "source_labels": None}
    found = row(tmp_path, **DST, **outside, source_ip="203.0.113.7")
    assert (found["flows"], found["bytes"], found["src_entities"]) == (3, 800, "world")


def test_denied_at_the_other_end_is_no_edge(tmp_path):
    silent = {**ENTERPRISE, "packets_in": 0, "bytes_in": 0}
    denied = {**ENTERPRISE, **DST, "packets_out": 0, "bytes_out": 0, "action": "deny"}
    found = find_edges(read(tmp_path, lines(silent, denied)), empty())
    assert not found.accepted
    assert {(o.verdict, o.reason) for o in found.observations} == {
        (ObservedVerdict.FORWARDED, Reason.DENIED_ELSEWHERE),
        (ObservedVerdict.DROPPED, Reason.DENIED),
    }


def test_many_intervals_add_up(tmp_path):
    records = [{**ENTERPRISE, "start_time": START + 300 * i, "num_flows_started": 2} for i in range(6)]
    (found,) = read(tmp_path, lines(*records)).table.to_pylist()
    assert (found["records"], found["flows"], found["packets"]) == (6, 12, 72)


ANSWERS = {
    "answered": ({}, True),
    "silent": ({"packets_in": 0}, False),
    "seen by the server, silent": ({**DST, "packets_out": 0}, False),
    "seen by the server, answered": (DST, True),
}


@pytest.mark.parametrize(("changes", "answered"), ANSWERS.values(), ids=ANSWERS)
def test_answers_are_told_by_the_packets_that_came_back(tmp_path, changes, answered):
    assert Signal(row(tmp_path, **changes)["signals"]).answered is answered


def test_without_counters_silence_says_nothing(tmp_path):
    found = row(tmp_path, packets_in=None, packets_out=None, bytes_in=None, bytes_out=None)
    assert Signal(found["signals"]) == Signal.SAMPLED
    assert (found["bytes"], found["packets"]) == (None, None)


# --- ends -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("added", [[], ["projectcalico.org/namespace=shop", "projectcalico.org/orchestrator=k8s"]])
def test_pods_by_label_where_the_name_does_not_tell(tmp_path, added):
    cluster = inventory_of(pod("db-0", "db", "10.48.1.1", 5432), pod("frontend-1", "frontend", "10.48.1.2"))
    changes = {"dest_name": "-", "dest_name_aggr": "db-*", "dest_ip": None}
    changes["dest_labels"] = {"labels": ["app=db", *added]}
    flows = read(tmp_path, lines({**ENTERPRISE, **changes}))
    (edge,) = find_edges(flows, cluster).accepted
    (known,) = {p.workload for p in cluster.pods if p.name == "db-0"}
    assert edge.dst == known


PARTIES = {
    "public network": ({"dest_type": "net", "dest_name_aggr": "pub", "dest_ip": "203.0.113.7"}, ExternalKind.WORLD),
    "public network, hidden": ({"dest_type": "net", "dest_name_aggr": "pub", "dest_ip": None}, ExternalKind.WORLD),
    "private network, hidden": ({"dest_type": "net", "dest_name_aggr": "pvt", "dest_ip": None}, ExternalKind.UNKNOWN),
    "node": ({"dest_type": "hep", "dest_name_aggr": "node-2", "dest_ip": "192.168.7.2"}, ExternalKind.NODE),
    "network set, hidden": ({"dest_type": "ns", "dest_name_aggr": "partners", "dest_ip": None}, ExternalKind.UNKNOWN),
}


@pytest.mark.parametrize(("changes", "kind"), PARTIES.values(), ids=PARTIES)
def test_parties_that_are_no_pods(tmp_path, changes, kind):
    nobody = {"dest_name": "-", "dest_namespace": "-", "dest_labels": None}
    flows = read(tmp_path, lines({**ENTERPRISE, **nobody, **changes}))
    found = find_edges(flows, empty())
    parties = {o.edge.dst.kind for o in found.observations}
    if kind is ExternalKind.UNKNOWN:
        assert (parties, found.ledger.set_aside) == (set(), {Reason.UNKNOWN_PARTY: 1})
    else:
        assert parties == {kind}


def test_names_that_the_source_had(tmp_path):
    changes = {"dest_type": "net", "dest_name": "-", "dest_name_aggr": "pub", "dest_namespace": "-"}
    found = row(tmp_path, **changes, dest_domains=["API.example.com.", "-"])
    assert found["dst_names"] == ["api.example.com"]


def test_whisker_says_networks_in_words(tmp_path):
    text = lines({**WHISKER, "dest_name": "PUBLIC NETWORK", "dest_namespace": "-", "dest_labels": ""})
    (found,) = read(tmp_path, text).table.to_pylist()
    assert (found["dst_entities"], found["dst_namespace"], found["dst_ip"]) == ("world", None, None)


UNTYPED = {
    "summed up": ({"dest_name": "api-*"}, True),
    "a set of networks, or a pod of its own": ({"dest_name": "partner-nets"}, False),
    "with labels": ({"dest_name": "partner-nets", "dest_labels": "role=partner"}, False),
    "with labels that Calico gives to pods": (
        {"dest_name": "client", "dest_labels": "projectcalico.org/orchestrator=k8s | run=client"},
        True,
    ),
    "of the inventory": ({"dest_name": "multitool"}, True),
    "reported by itself, the server": ({"dest_name": "web-0", "reporter": "Dst"}, True),
    "reported by itself, the client": ({"source_name": "web-0"}, True),
    "client of another reporter": ({"source_name": "partner-nets", "reporter": "Dst"}, False),
    "reporter not said": ({"source_name": "partner-nets", "reporter": "ReporterUnspecified"}, False),
}


@pytest.mark.parametrize("form", ["log", "csv"])
@pytest.mark.parametrize(("changes", "known"), UNTYPED.values(), ids=UNTYPED)
def test_an_end_without_type_is_a_pod_only_where_something_says_so(tmp_path, changes, known, form):
    flows = read(tmp_path, lines({**WHISKER, "dest_labels": "", **changes}))
    if form == "csv":
        write_flows(flows, tmp_path / "flows.csv")
        flows = read_flows([tmp_path / "flows.csv"])
    found = find_edges(flows, inventory_of(pod("multitool", "multitool", "10.48.1.1", 5050)))
    assert (len(found.accepted), found.ledger.set_aside) == ((1, {}) if known else (0, {Reason.UNKNOWN_PARTY: 1}))


def test_what_reports_itself_is_a_pod_in_the_records_of_others_too(tmp_path):
    bare = {**WHISKER, "dest_name": "multitool", "dest_labels": "run=multitool"}
    flows = read(tmp_path, lines({**bare, "dest_labels": "a=b | run=multitool"}, {**bare, **DST, "reporter": "Dst"}))
    (found,) = flows.table.to_pylist()
    assert (found["dst_pod"], found["dst_entities"], found["bytes"]) == ("multitool", None, 800)
    (edge,) = find_edges(flows, empty()).accepted
    assert edge.dst == Workload("shop", "Pod", "multitool")
    other = read(tmp_path, lines({**bare, **DST, "reporter": "Dst"}, {**bare, "source_name": "a-*", "dest_port": 5051}))
    assert len(find_edges(other, empty()).accepted) == 2


@pytest.mark.parametrize("name", ["batch.kubernetes.io/job-name", "job-name"])
def test_jobs_are_named_by_their_label(tmp_path, name):
    labels = {"labels": [f"{name}=backup-29000000", "app=backup"]}
    found = row(tmp_path, source_name_aggr="backup-29000000-*", source_labels=labels)
    assert found["src_workload"] == "Job/backup-29000000"


# --- what is no evidence ----------------------------------------------------------------------------------------------

NAMED = ("gre", "ESP", "udplite", "ipip")
ASIDE = {
    "icmp": ({"proto": "icmp", "dest_port": None}, Reason.ICMP),
    "icmp by number": ({"proto": "1", "dest_port": 0}, Reason.ICMP),
    "gre": ({"proto": "47"}, Reason.OTHER_PROTOCOL),
    **{f"{name} by name": ({"proto": name, "dest_port": None}, Reason.OTHER_PROTOCOL) for name in NAMED},
    "no port": ({"dest_port": None}, Reason.BAD_FIELD),
    "port 70000": ({"dest_port": 70000}, Reason.BAD_FIELD),
    "port in words": ({"dest_port": "https"}, Reason.BAD_FIELD),
    "no time": ({"start_time": None}, Reason.BAD_FIELD),
    "time out of range": ({"start_time": 10**19}, Reason.BAD_FIELD),
    "time in words": ({"start_time": "yesterday"}, Reason.BAD_FIELD),
    "no protocol": ({"proto": "-"}, Reason.BAD_FIELD),
    "protocol nobody knows": ({"proto": "tpc"}, Reason.BAD_FIELD),
    "protocol 300": ({"proto": 300}, Reason.BAD_FIELD),
    "negative": ({"packets_in": -1}, Reason.BAD_FIELD),
    "pass": ({"action": "pass"}, Reason.NO_VERDICT),
    "address": ({"dest_ip": "10.0.0.256"}, Reason.BAD_FIELD),
    "loopback": ({"dest_ip": "127.0.0.1"}, Reason.LOOPBACK),
    "multicast": ({"dest_ip": "224.0.0.251"}, Reason.MULTICAST),
}


@pytest.mark.parametrize(("changes", "reason"), ASIDE.values(), ids=ASIDE)
def test_set_aside(tmp_path, changes, reason):
    flows = read(tmp_path, lines(ENTERPRISE, {**ENTERPRISE, **changes}))
    assert flows.ledger.set_aside == {reason: 1}
    place, _, detail = flows.ledger.places[reason][0].partition("flows.log:")[2].partition(": ")
    assert (place, bool(detail)) == ("2", reason is Reason.BAD_FIELD)


OTHER = {
    "damaged": ('{"start_time": 1,}\n', Reason.MALFORMED),
    "another kind": ('{"a": 1}\n', Reason.NOT_A_FLOW),
    "no object": ("7\n", Reason.NOT_A_FLOW),
    "event name": ("event: flow\n", Reason.CONTROL),
    "keep-alive": (": ping\n", Reason.CONTROL),
    "deep": ("[" * 5000 + "\n", Reason.MALFORMED),
}


@pytest.mark.parametrize(("text", "reason"), OTHER.values(), ids=OTHER)
def test_other_lines(tmp_path, text, reason):
    flows = read(tmp_path, lines(ENTERPRISE) + text)
    assert flows.ledger.set_aside == {reason: 1}
    assert flows.ledger.read == 2


def test_each_record_of_an_envelope_counts(tmp_path):
    for name in ("records", "value", "data", "items", "flows", "hits"):
        flows = read(tmp_path, json.dumps({name: [ENTERPRISE, ENTERPRISE, {"a": 1}]}))
        assert (flows.ledger.read, flows.ledger.set_aside) == (3, {Reason.NOT_A_FLOW: 1})


@pytest.mark.parametrize("name", ["result", "data", "value", "flow"])
def test_a_record_with_a_field_like_an_envelope_is_a_record(tmp_path, name):
    assert read(tmp_path, lines({**ENTERPRISE, name: {"a": 1}})).ledger.set_aside == {}
    assert read(tmp_path, lines({**GOLDMANE, name: [ENTERPRISE]})).ledger.set_aside == {}


VALUES = st.sampled_from(
    [None, "-", "", 0, -1, 7, 2**70, 1.5, True, [], ["a"], {}, {"labels": 3}, "\u202e", "tcp", "1e9"]
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([ENTERPRISE, GOLDMANE, WHISKER, GOLDMANE["Key"]]), st.data())
def test_no_value_crashes(tmp_path_factory, record, data):
    names = st.sampled_from([*record, "Key", "flow", "items", "data", "result"])
    changed = {**record, **data.draw(st.dictionaries(names, VALUES))}
    path = tmp_path_factory.mktemp("calico") / "flows.log"
    path.write_text(lines(changed, ENTERPRISE), encoding="utf-8")
    flows = read_flows([path], source="calico")
    assert flows.ledger.read == sum(flows.table.column("records").to_pylist()) + sum(flows.ledger.set_aside.values())


def test_order_leaves_no_trace(tmp_path):
    records = [{**ENTERPRISE, "start_time": START + 300 * i, "dest_port": 5050 + i % 3} for i in range(9)]
    one = read(tmp_path, lines(*records)).table.drop_columns(["sample"])
    other = read(tmp_path, lines(*reversed(records))).table.drop_columns(["sample"])
    assert one.equals(other)


@pytest.mark.parametrize("form", FORMATS)
def test_rows_come_back_in_their_order(form, tmp_path):
    """Of the same time, with and without addresses, which Parquet and the others have after all others."""
    outside = {"dest_ip": None, "dest_name_aggr": "pub", "dest_namespace": "-", "dest_type": "net"}
    records = [ENTERPRISE, {**ENTERPRISE, **outside}, {**ENTERPRISE, "dest_port": 5051, "action": "deny"}]
    path = tmp_path / "flows.log"
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    flows = read_flows([path])
    write_flows(flows, tmp_path / f"flows.{form}")
    assert flows.table.num_rows == 3
    assert read_flows([tmp_path / f"flows.{form}"]).table.equals(flows.table)
