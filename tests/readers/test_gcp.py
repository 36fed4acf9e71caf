"""GCP VPC flow logs: what an entry means, and every form that a file of them may have."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from netpol_gen.flowtable import Reason
from tests.readers.making import asides, read_bytes, signals

TIME = "2024-05-06T07:08:09.123456789Z"
NANOSECONDS = 1_714_979_289_123_456_789
HOUR = NANOSECONDS // 3_600_000_000_000


def gke(namespace: str, pod: str, kind: str = "DEPLOYMENT", name: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {"pod_namespace": namespace, "pod_name": pod}
    if name:
        found["pod_workload"] = {"workload_type": kind, "workload_name": name}
    return {"cluster": {"cluster_name": "c"}, "pod": found}


def payload(**fields: Any) -> dict[str, Any]:
    """web (10.0.0.1:40000) opens db (10.0.0.2:5432), as the sender's node reports it; `None` takes a field away."""
    connection = {"src_ip": "10.0.0.1", "src_port": 40000, "dest_ip": "10.0.0.2", "dest_port": 5432, "protocol": 6}
    connection = {k: v for k, v in (connection | fields.pop("connection", {})).items() if v is not None}
    made: dict[str, Any] = {
        "connection": connection,
        "bytes_sent": "1776",
        "packets_sent": "8",
        "reporter": "SRC",
        "start_time": TIME,
        "end_time": TIME,
        "src_instance": {"vm_name": "node-1"},
    }
    return {name: value for name, value in (made | fields).items() if value is not None}


BACK = {"src_ip": "10.0.0.2", "src_port": 5432, "dest_ip": "10.0.0.1", "dest_port": 40000}


def entry(**fields: Any) -> dict[str, Any]:
    return {
        "insertId": "a",
        "logName": "projects/p/logs/compute.googleapis.com%2Fvpc_flows",
        "resource": {"type": "gce_subnetwork", "labels": {}},
        "timestamp": TIME,
        "jsonPayload": payload(**fields),
    }


def lines(*entries: Any) -> bytes:
    return "".join(f"{each if isinstance(each, str) else json.dumps(each)}\n" for each in entries).encode()


def rows(directory: Path, *entries: Any) -> list[dict[str, Any]]:
    return read_bytes(directory, lines(*entries), name="gcp.json").table.to_pylist()


def row(directory: Path, *entries: Any) -> dict[str, Any]:
    found = rows(directory, *entries)
    assert len(found) == 1, found
    return found[0]


def call(found: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(found[name] for name in ("src_ip", "dst_ip", "src_port", "dst_port", "protocol", "direction"))


CALL = ("10.0.0.1", "10.0.0.2", 40000, 5432, "TCP", None)


def test_both_reporters_and_both_directions_are_one_flow(tmp_path):
    found = row(
        tmp_path,
        entry(),
        entry(reporter="DEST"),
        entry(connection=BACK),
        entry(connection=BACK, reporter="DEST"),
    )
    assert call(found) == CALL
    assert (found["flows"], found["records"], found["replies"]) == (1, 4, 0)
    assert (found["bytes"], found["packets"]) == (2 * 1776, 16)
    assert found["signals"] == signals("CLIENT_DATA", "SERVER_DATA", "SAMPLED")
    assert found["first_seen"].value == NANOSECONDS
    assert found["hours"] == [HOUR]
    assert found["source"] == "gcp-vpc"


@pytest.mark.parametrize("client", [40000, 1000])
@pytest.mark.parametrize("there", ["SRC", "DEST", "SRC DEST"])
@pytest.mark.parametrize("back", ["SRC", "DEST", "SRC DEST"])
def test_each_direction_counts_once_whoever_reports_it(tmp_path, there, back, client):
    to, fro = {"src_port": client}, BACK | {"dest_port": client}
    made = [entry(reporter=each, packets_sent="20", bytes_sent="2000", connection=to) for each in there.split()]
    made += [entry(reporter=each, packets_sent="7", bytes_sent="700", connection=fro) for each in back.split()]
    found = row(tmp_path, *made)
    assert (found["packets"], found["bytes"]) == (27, 2700)


def test_one_direction_alone_is_sampled(tmp_path):
    assert row(tmp_path, entry())["signals"] == signals("CLIENT_DATA", "SAMPLED")


def test_no_bytes_with_packets_is_real(tmp_path):
    assert row(tmp_path, entry(bytes_sent="0"))["bytes"] == 0


def test_pods_by_name(tmp_path):
    found = row(
        tmp_path,
        entry(
            src_gke_details=gke("shop", "web-1", name="web"),
            dest_gke_details=gke("data", "db-0", "STATEFUL_SET", "db") | {"service": [{"service_name": "db"}]},
        ),
        entry(connection=BACK, reporter="DEST"),
    )
    assert (found["src_namespace"], found["src_pod"], found["src_workload"]) == ("shop", "web-1", "Deployment/web")
    assert (found["dst_namespace"], found["dst_pod"], found["dst_workload"]) == ("data", "db-0", "StatefulSet/db")
    assert found["dst_service"] is None


def test_names_stay_with_their_address_when_the_ends_are_sorted(tmp_path):
    found = row(
        tmp_path, entry(connection=BACK, src_gke_details=gke("data", "db-0"), dest_gke_details=gke("shop", "w"))
    )
    assert call(found) == CALL
    assert (found["src_pod"], found["dst_pod"]) == ("w", "db-0")
    assert (found["src_workload"], found["dst_workload"]) == (None, None)


def test_details_of_a_cluster_alone_name_no_pod(tmp_path):
    found = row(tmp_path, entry(src_gke_details={"cluster": {"cluster_name": "c"}}))
    assert (found["src_namespace"], found["src_pod"]) == (None, None)


def test_denied(tmp_path):
    found = row(tmp_path, entry(disposition="DENIED"))
    assert (found["observed_verdict"], found["drop_reason"]) == ("dropped", "DENIED")
    assert row(tmp_path, entry(disposition="ALLOWED"))["observed_verdict"] == "forwarded"


@pytest.mark.parametrize("protocol", [1, 58, 47])
def test_no_ports(tmp_path, protocol):
    none = {"src_port": None, "dest_port": None, "protocol": protocol}
    flows = read_bytes(tmp_path, lines(entry(), entry(connection=none)), name="gcp.json")
    assert asides(flows) == {"OTHER_PROTOCOL" if protocol == 47 else "ICMP": 1}


@pytest.mark.parametrize(
    ("fields", "reason", "detail"),
    [
        ({"connection": {"src_port": None}}, "NO_L4", "no src_port"),
        ({"connection": {"dest_port": 65536}}, "BAD_FIELD", "dest_port 65536"),
        ({"connection": {"src_port": 2**31}}, "BAD_FIELD", "src_port 2147483648"),
        ({"connection": {"dest_port": -(2**63)}}, "BAD_FIELD", f"dest_port {-(2**63)}"),
        ({"connection": {"protocol": 2**63 - 1}}, "BAD_FIELD", f"protocol {2**63 - 1}"),
        ({"connection": {"protocol": "tcp"}}, "BAD_FIELD", "protocol tcp"),
        ({"connection": {"src_ip": "pod"}}, "BAD_FIELD", "pod is no address"),
        ({"bytes_sent": "-1"}, "BAD_FIELD", "bytes_sent -1"),
        ({"connection": {"dest_port": 8080.5}}, "BAD_FIELD", "dest_port 8080.5"),
        ({"connection": {"dest_port": "0x50"}}, "BAD_FIELD", "dest_port 0x50"),
        ({"connection": {"src_port": "8_080"}}, "BAD_FIELD", "src_port 8_080"),
        ({"connection": {"src_port": "4e4"}}, "BAD_FIELD", "src_port 4e4"),
        ({"connection": {"protocol": 16.6}}, "BAD_FIELD", "protocol 16.6"),
        ({"connection": {"src_port": "8080.0"}, "packets_sent": "1.5"}, "BAD_FIELD", "packets_sent 1.5"),
        ({"bytes_sent": "x"}, "BAD_FIELD", "bytes_sent x"),
        ({"jsonPayload": {"message": "x"}}, "NOT_A_FLOW", "no connection"),
    ],
)
def test_bad_entries_are_named(tmp_path, fields, reason, detail):
    bad = entry() | fields if "jsonPayload" in fields else entry(**fields)
    flows = read_bytes(tmp_path, lines(entry(), bad), name="gcp.json")
    assert asides(flows) == {reason: 1}
    assert [place.rpartition("/")[2] for place in flows.ledger.places[Reason[reason]]] == [f"gcp.json:2: {detail}"]


def test_lines_that_are_no_json(tmp_path):
    flows = read_bytes(tmp_path, lines(entry(), "{", "null", "plain", "", entry()), name="gcp.json")
    assert asides(flows) == {"MALFORMED": 3}
    assert [each["records"] for each in flows.table.to_pylist()] == [2]


def test_time_falls_back_to_the_entry(tmp_path):
    assert row(tmp_path, entry(start_time=None, end_time=None))["first_seen"].value == NANOSECONDS


@pytest.mark.parametrize("time", ["2024-05-06T09:08:09.123456+02:00", "2024-05-06 07:08:09.123456 UTC"])
def test_other_zones(tmp_path, time):
    assert row(tmp_path, entry(start_time=time, end_time=time))["first_seen"].value == NANOSECONDS // 1000 * 1000


def packed(value: Any) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


def pulled(entries: list[Any]) -> list[dict[str, Any]]:
    """Messages as `gcloud pubsub subscriptions pull --format=json` has them, and the REST API in `receivedMessages`."""
    return [
        {"ackId": "U", "message": {"attributes": {"a": "b"}, "data": packed(e), "messageId": str(i)}}
        for i, e in enumerate(entries, 70)
    ]


def texts(*values: Any) -> bytes:
    return "".join(f"{json.dumps(value, indent=2)}\n" for value in values).encode()


def in_text(value: dict[str, Any]) -> dict[str, Any]:
    """As BigQuery has an entry where the column of payloads is one of texts."""
    made = {"log_name": value["logName"], "timestamp": value["timestamp"]}
    return made | {"json_payload": json.dumps(value["jsonPayload"])}


def test_what_is_wrong_in_a_payload_within_a_text_is_named(tmp_path):
    bad = [
        {"json_payload": "{"},
        {"json_payload": None},
        {"json_payload": '"x"'},
        in_text(entry(connection={"dest_port": 8080.5})),
        in_text(entry(start_time="?", end_time=None)) | {"timestamp": "?"},
    ]
    good = in_text(entry(start_time=None, end_time=None))
    flows = read_bytes(tmp_path, lines(good, *bad), name="gcp.json")
    assert asides(flows) == {"NOT_A_FLOW": 3, "BAD_FIELD": 2}
    assert [place.partition(": ")[2] for place in flows.ledger.places[Reason.BAD_FIELD]] == [
        "dest_port 8080.5",
        "start_time ?",
    ]
    assert [each["first_seen"].value for each in flows.table.to_pylist()] == [NANOSECONDS]


FORMS = {
    "lines": lambda entries: lines(*entries),
    "array": lambda entries: json.dumps(entries, indent=1).encode(),
    "array on one line": lambda entries: json.dumps(entries).encode(),
    "one after another, pretty": lambda entries: "\n".join(json.dumps(e, indent=2) for e in entries).encode(),
    "envelope": lambda entries: json.dumps({"entries": entries, "nextPageToken": "t"}).encode(),
    "pub/sub push": lambda entries: lines(*({"message": {"data": packed(e)}, "subscription": "s"} for e in entries)),
    "pub/sub pull": lambda entries: json.dumps(pulled(entries)).encode(),
    "pub/sub pull, pretty": lambda entries: json.dumps(pulled(entries), indent=2).encode(),
    "pub/sub pulls, pretty": lambda entries: b"[]\n" + texts(*(pulled([e]) for e in entries)),
    "pub/sub answer": lambda entries: json.dumps({"receivedMessages": pulled(entries)}).encode(),
    "pub/sub answer, pretty": lambda entries: texts({"receivedMessages": pulled(entries)}),
    "pub/sub answers": lambda entries: lines(*({"receivedMessages": pulled([e])} for e in entries)),
    "pub/sub answers, pretty": lambda entries: texts(*({"receivedMessages": pulled([e])} for e in entries)),
    "pub/sub answers without a line between": lambda entries: b"".join(
        json.dumps({"receivedMessages": pulled([e])}).encode() for e in entries
    ),
    "pub/sub, both ways": lambda entries: (
        texts({"receivedMessages": pulled(entries[:1])}) + lines({"message": {"data": packed(entries[1])}})
    ),
    "pub/sub data": lambda entries: lines(*({"data": packed(e)} for e in entries)),
    "payloads": lambda entries: lines(*(e["jsonPayload"] for e in entries)),
    "snake case": lambda entries: lines(
        *({"log_name": e["logName"], "timestamp": e["timestamp"], "json_payload": e["jsonPayload"]} for e in entries)
    ),
    "payloads in texts": lambda entries: lines(*(in_text(e) for e in entries)),
    "payloads in texts, array": lambda entries: json.dumps([in_text(e) for e in entries], indent=1).encode(),
    "payloads in texts, pub/sub": lambda entries: lines(*({"data": packed(in_text(e))} for e in entries)),
    "payloads in texts and not": lambda entries: lines(
        in_text(entries[0]), {"json_payload": entries[1]["jsonPayload"]}
    ),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_forms(tmp_path, form):
    data = form([entry(), entry(connection=BACK | {"src_port": "5432", "protocol": "6.0"})])
    flows = read_bytes(tmp_path, data, name="gcp.json")
    assert [(call(each), each["records"]) for each in flows.table.to_pylist()] == [(CALL, 2)]
    assert asides(flows) == {}


def coded(data: bytes) -> str:
    return base64.b64encode(data).decode()


GOOD = {"ackId": "U", "message": {"data": packed(entry())}}
BAD = {
    "no data": ({"ackId": "U", "message": {"messageId": "7"}}, "MALFORMED", "Pub/Sub message 7: no message.data"),
    "nothing": ({"ackId": "U", "message": {}}, "MALFORMED", "Pub/Sub message: no message.data"),
    "no message": ({"ackId": "U"}, "MALFORMED", "Pub/Sub message: no message"),
    "no base64": (
        {"message": {"data": "%%", "messageId": "7"}},
        "MALFORMED",
        "Pub/Sub message 7: message.data is no base64",
    ),
    "no text": ({"message": {"data": 1234}}, "MALFORMED", "Pub/Sub message: message.data is no base64"),
    "no JSON": ({"message": {"data": coded(b"hello")}}, "MALFORMED", "Pub/Sub message: message.data holds no JSON"),
    "no UTF-8": ({"message": {"data": coded(b"\xff")}}, "MALFORMED", "Pub/Sub message: message.data holds no JSON"),
    "no entry": ({"message": {"data": packed([1])}}, "MALFORMED", "not an entry"),
    "another log": ({"message": {"data": packed({"textPayload": "x"})}}, "NOT_A_FLOW", "no connection"),
}


@pytest.mark.parametrize(("message", "reason", "detail"), BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize(
    ("form", "line"),
    [
        (lambda messages: lines(*messages), 2),
        (texts, 8),
        (lambda messages: texts({"receivedMessages": messages}), 9),
        (lambda messages: lines({"receivedMessages": messages[:1]}, {"receivedMessages": messages[1:]}), 2),
        (lambda messages: texts({"receivedMessages": messages[:1]}, {"receivedMessages": messages[1:]}), 11),
    ],
    ids=["lines", "array", "answer", "answers", "answers, pretty"],
)
def test_bad_pub_sub_messages_are_named(tmp_path, form, line, message, reason, detail):
    flows = read_bytes(tmp_path, form([GOOD, message, GOOD]), name="gcp.json")
    assert asides(flows) == {reason: 1}
    assert [place.removeprefix(f"{tmp_path}/") for place in flows.ledger.places[Reason[reason]]] == [
        f"gcp.json:{line}: {detail}"
    ]
    assert [each["records"] for each in flows.table.to_pylist()] == [2]


def test_pub_sub_answers_without_messages_are_no_records_that_are_bad(tmp_path):
    data = lines({}, {"receivedMessages": []}, {"receivedMessages": [GOOD, 5, None]})
    flows = read_bytes(tmp_path, data, name="gcp.json")
    assert asides(flows) == {"CONTROL": 2, "MALFORMED": 2}
    assert [each["records"] for each in flows.table.to_pylist()] == [1]


def test_a_pub_sub_answer_longer_than_the_beginning_of_a_file(tmp_path):
    answer = {"receivedMessages": [GOOD] * 200}
    for data in (lines(answer), lines(answer, answer), texts(answer), texts(answer, answer)):
        assert len(data) > 64 * 1024
        flows = read_bytes(tmp_path, data, name="gcp.json")
        assert sum(each["records"] for each in flows.table.to_pylist()) in (200, 400)
        assert asides(flows) == {}
