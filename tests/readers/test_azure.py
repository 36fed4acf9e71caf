"""Azure flow logs: what a tuple means, and every form that a file of them may have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from netpol_gen.flowtable import Reason
from tests.readers.making import asides, read_bytes, signals

START = 1_714_979_289
HOUR = START // 3600
CALL = ("10.0.0.1", "10.0.0.2", None, 5432, "TCP", "initiator")


def v1(source: str = "10.0.0.1", port: int | str = 40000, decision: str = "A", **other: Any) -> str:
    protocol, side, to = other.get("protocol", "T"), other.get("side", "O"), other.get("to", 5432)
    return f"{START},{source},10.0.0.2,{port},{to},{protocol},{side},{decision}"


def v2(state: str = "E", counts: str = "10,1000,8,800", **other: Any) -> str:
    return f"{v1(**other)},{state},{counts}"


def v4(state: str = "E", counts: str = "10,1000,8,800", **other: Any) -> str:
    protocol, side, port = other.get("protocol", 6), other.get("side", "O"), other.get("port", 40000)
    return f"{START}123,10.0.0.1,10.0.0.2,{port},5432,{protocol},{side},{state},NX,{counts}"


def nsg(*tuples: str, version: int = 2) -> dict[str, Any]:
    return {
        "time": "2024-05-06T07:08:32.8950000Z",
        "category": "NetworkSecurityGroupFlowEvent",
        "resourceId": "/SUBSCRIPTIONS/S",
        "properties": {
            "Version": version,
            "flows": [{"rule": "UserRule_x", "flows": [{"mac": "000D3AF8801A", "flowTuples": list(tuples)}]}],
        },
    }


def vnet(*tuples: str) -> dict[str, Any]:
    return {
        "time": "2024-05-06T07:08:32.895Z",
        "flowLogVersion": 4,
        "macAddress": "00224871C205",
        "category": "FlowLogFlowEvent",
        "flowRecords": {"flows": [{"aclID": "a", "flowGroups": [{"rule": "R", "flowTuples": list(tuples)}]}]},
    }


def blob(*records: dict[str, Any]) -> bytes:
    return json.dumps({"records": list(records)}, separators=(",", ":")).encode()


def rows(directory: Path, data: bytes) -> list[dict[str, Any]]:
    return read_bytes(directory, data, name="PT1H.json").table.to_pylist()


def row(directory: Path, *records: dict[str, Any]) -> dict[str, Any]:
    found = rows(directory, blob(*records))
    assert len(found) == 1, found
    return found[0]


def call(found: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(found[name] for name in ("src_ip", "dst_ip", "src_port", "dst_port", "protocol", "direction"))


@pytest.mark.parametrize(
    "record", [nsg(v1(), version=1), nsg(v2()), vnet(v4())], ids=["nsg version 1", "nsg version 2", "vnet version 4"]
)
def test_the_initiator_comes_first(tmp_path, record):
    found = row(tmp_path, record)
    assert call(found) == CALL
    assert (found["flows"], found["records"], found["replies"]) == (1, 1, 0)
    assert (found["source"], found["observed_verdict"], found["hours"]) == ("azure-vnet", "forwarded", [HOUR])


def test_low_client_port_is_no_hint(tmp_path):
    found = row(tmp_path, nsg(v2(port=500, to=50051)))
    assert (found["src_ip"], found["dst_ip"], found["dst_port"]) == ("10.0.0.1", "10.0.0.2", 50051)


def test_times(tmp_path):
    assert row(tmp_path, nsg(v2()))["first_seen"].value == START * 10**9
    assert row(tmp_path, vnet(v4()))["first_seen"].value == (START * 1000 + 123) * 10**6


def test_states_and_both_interfaces_are_one_flow(tmp_path):
    sides = (
        [v2("B", ",,,", side=side) for side in "OI"] + [v2("C", side=s) for s in "OI"] + [v2("E", side=s) for s in "OI"]
    )
    found = row(tmp_path, nsg(*sides))
    assert (found["flows"], found["records"]) == (1, 6)
    assert (found["packets"], found["bytes"]) == (36, 3600)
    assert found["signals"] == signals("SERVER_DATA", "CLIENT_DATA", "TRACE")


def test_nothing_came_back(tmp_path):
    assert row(tmp_path, vnet(v4(counts="3,180,0,0")))["signals"] == signals("TRACE")


def test_a_beginning_says_nothing_of_answers(tmp_path):
    assert row(tmp_path, vnet(v4("B", "0,0,0,0")))["signals"] == 0
    assert row(tmp_path, nsg(v1(), version=1))["signals"] == 0


def test_a_beginning_without_counts_counts_nothing(tmp_path):
    found = row(tmp_path, nsg(v2("B", ",,,")))
    assert (found["packets"], found["bytes"]) == (None, None)
    found = row(tmp_path, nsg(v2("E", "3,300,,")))
    assert (found["packets"], found["bytes"]) == (3, 300)
    found = row(tmp_path, vnet(v4("B", "0,0,0,0")))
    assert (found["packets"], found["bytes"]) == (0, 0)


def test_version_1_counts_nothing(tmp_path):
    found = row(tmp_path, nsg(v1(), version=1))
    assert (found["packets"], found["bytes"]) == (None, None)


@pytest.mark.parametrize(
    "record", [nsg(v1(decision="D"), version=1), nsg(v2("B", ",,,", decision="D")), vnet(v4("D", "0,0,0,0"))]
)
def test_denied(tmp_path, record):
    found = row(tmp_path, record)
    assert (found["observed_verdict"], found["drop_reason"]) == ("dropped", "DENY")


def test_protocols(tmp_path):
    data = blob(nsg(v2(protocol="U")), vnet(*(v4(protocol=number) for number in (17, 132, 1, 58, 47))))
    flows = read_bytes(tmp_path, data, name="PT1H.json")
    assert sorted((each["protocol"], each["records"]) for each in flows.table.to_pylist()) == [("SCTP", 1), ("UDP", 2)]
    assert asides(flows) == {"ICMP": 2, "OTHER_PROTOCOL": 1}


@pytest.mark.parametrize(
    ("line", "reason", "detail"),
    [
        ("1,2,3", "MALFORMED", "3 fields, 8 or 13 wanted"),
        (v1(port="*"), "NO_L4", "no source port"),
        (v1(port=70000), "BAD_FIELD", "source port 70000"),
        (v1(to="x"), "BAD_FIELD", "destination port x"),
        (v1(protocol="X"), "BAD_FIELD", "protocol X"),
        (v1(port="8080.5"), "BAD_FIELD", "source port 8080.5"),
        (v1(to="4e4"), "BAD_FIELD", "destination port 4e4"),
        (v1(to="8_080"), "BAD_FIELD", "destination port 8_080"),
        (v4(protocol="16.6", port="8080.0"), "BAD_FIELD", "protocol 16.6"),
        (v1().replace(str(START), f"{START}.7"), "BAD_FIELD", f"time {START}.7"),
        (v2(counts="1.5,2,3,4"), "BAD_FIELD", f"time, direction, state or counts: {v2(counts='1.5,2,3,4')}"),
        (v1(source="here"), "BAD_FIELD", "here is no address"),
        ("x" + v1(), "BAD_FIELD", f"time x{START}"),
        (v1(decision="?"), "BAD_FIELD", f"time, direction, state or counts: {v1(decision='?')}"),
        (v2("Q"), "BAD_FIELD", f"time, direction, state or counts: {v2('Q')}"),
        (v2(counts="1,2,-3,4"), "BAD_FIELD", f"time, direction, state or counts: {v2(counts='1,2,-3,4')}"),
        (
            v2(counts="1,2,9223372036854775807,4"),
            "BAD_FIELD",
            f"time, direction, state or counts: {v2(counts='1,2,9223372036854775807,4')}",
        ),
    ],
)
def test_bad_tuples_are_named(tmp_path, line, reason, detail):
    flows = read_bytes(tmp_path, blob(nsg(v2(), line)), name="PT1H.json")
    assert asides(flows) == {reason: 1}
    assert [place.rpartition("/")[2] for place in flows.ledger.places[Reason[reason]]] == [f"PT1H.json:1: {detail}"]


def flat(*tuples: str) -> dict[str, Any]:
    record = {"time": "2024-05-06T07:08:40.986182+00:00", "flowLogVersion": 4, "macAddress": "0", "rule": "R"}
    return record | {f"flow.{number}": line for number, line in enumerate(tuples)}


BAD = (v1(port="*"), "garbage", "x" + v1(), v1(port="http"), v1().replace(str(START), "-16999"), "")


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("alone", [True, False])
def test_bad_tuples_in_the_flat_form_are_counted_as_in_others(tmp_path, bad, alone):
    tuples = [bad] if alone else [v1(), bad, v1()]
    lines = [json.dumps(each).encode() for each in (flat(v1()), flat(*tuples))]
    flows = read_bytes(tmp_path, b"\n".join(lines), name="PT1H.json")
    same = read_bytes(tmp_path, b"\n".join([lines[0], json.dumps(nsg(*tuples, version=1)).encode()]), name="PT1H.json")
    assert flows.ledger.read == 1 + len(tuples)
    assert (asides(flows), flows.ledger.places) == (asides(same), same.ledger.places)
    assert sum(asides(flows).values()) == 1


@pytest.mark.parametrize("other", [v2(port=40001), ["x"], {"a": 1}, 7, True, None])
@pytest.mark.parametrize("form", [nsg, vnet])
def test_what_stands_in_place_of_a_list_counts_beside_the_others(tmp_path, form, other):
    made = form(v2() if form is nsg else v4())
    where = made["properties"]["flows"][0]["flows"] if form is nsg else made["flowRecords"]["flows"][0]["flowGroups"]
    where.append({"flowTuples": other})
    flows = read_bytes(tmp_path, blob(made), name="PT1H.json")
    bad = 0 if other is None else 1
    assert (flows.ledger.read, flows.table.column("records").to_pylist()) == (1 + bad, [1])
    assert sum(asides(flows).values()) == bad
    assert all(len(places) == bad for places in flows.ledger.places.values())


def damaged(record: dict[str, Any]) -> dict[str, Any]:
    """With its tuples as one text."""
    text = json.dumps(record)
    begin, end = text.index("[", text.index("flowTuples")), text.index("]", text.index("flowTuples"))
    return json.loads(text[:begin] + json.dumps(v2()) + text[end + 1 :])


def test_members_of_an_envelope_on_a_line_are_counted_as_in_a_blob(tmp_path):
    members = [[vnet(v4()), damaged(vnet(v4())), "oops"], [{"category": "AuditEvent"}, nsg(v2(), v2()), nsg()]]
    lines = b"\n".join(json.dumps({"records": each}).encode() for each in members)
    one = json.dumps({"records": members[0] + members[1]}).encode()
    found = [read_bytes(tmp_path, data, name="PT1H.json") for data in (lines, one)]
    for flows in found:
        assert flows.ledger.read == 7
        assert asides(flows) == {"MALFORMED": 2, "NOT_A_FLOW": 1, "CONTROL": 1}
        assert [each["records"] for each in flows.table.to_pylist()] == [3]


@pytest.mark.parametrize(
    ("record", "detail"),
    [
        (damaged(nsg(v2())), "flowTuples is no list"),
        (damaged(vnet(v4())), "flowTuples is no list"),
        ({"category": "NetworkSecurityGroupFlowEvent", "flowTuples": [v2()]}, "flowTuples in an unexpected place"),
    ],
)
def test_tuples_where_they_are_not_looked_for_are_no_record_without_any(tmp_path, record, detail):
    data = b"\n".join(json.dumps(each).encode() for each in (nsg(v2()), record))
    flows = read_bytes(tmp_path, data, name="PT1H.json")
    assert asides(flows) == {"MALFORMED": 1}
    assert [place.partition(": ")[2] for place in flows.ledger.places[Reason.MALFORMED]] == [detail]


RECORDS = [nsg(v2(port=1)), vnet(v4(port=2), v4(port=3))]
FORMS = {
    "blob": blob(*RECORDS),
    "blob, pretty": json.dumps({"records": RECORDS}, indent=2).encode(),
    "lines": b"\n".join(json.dumps(each).encode() for each in RECORDS),
    "array": json.dumps(RECORDS).encode(),
    "event hub": b"\n".join(blob(each) for each in RECORDS),
    "flat": json.dumps(flat(v2(port=1), v4(port=2), v4(port=3))).encode(),
    "flat lines": b"\n".join(json.dumps(flat(each)).encode() for each in (v2(port=1), v4(port=2), v4(port=3))),
    "with a byte order mark": b"\xef\xbb\xbf" + blob(*RECORDS),
}


@pytest.mark.parametrize("data", FORMS.values(), ids=FORMS.keys())
def test_forms(tmp_path, data):
    flows = read_bytes(tmp_path, data, name="PT1H.json")
    assert [(call(each), each["flows"]) for each in flows.table.to_pylist()] == [(CALL, 3)]
    assert asides(flows) == {}


@pytest.mark.parametrize(("lost", "whole"), [(1, 20), (2, 20), (3, 19), (100, 19), (300, 18)])
def test_a_blob_that_is_still_being_written(tmp_path, lost, whole):
    records = [nsg(v2(port=port)) for port in range(101, 121)]
    assert 200 < len(json.dumps(records[0], separators=(",", ":"))) < 290
    flows = read_bytes(tmp_path, blob(*records)[:-lost], name="PT1H.json")
    assert [each["flows"] for each in flows.table.to_pylist()] == [whole]
    assert asides(flows) == ({} if whole == 20 else {"MALFORMED": 1})


def test_a_large_blob(tmp_path):
    data = blob(*(nsg(*(v2(port=port) for port in range(1, 101))) for _ in range(300)))
    found = rows(tmp_path, data)
    assert [(each["flows"], each["records"]) for each in found] == [(100, 30000)]


def test_records_without_tuples_are_accounted_for(tmp_path):
    data = b"\n".join(json.dumps(each).encode() for each in (nsg(v2()), nsg(), {"category": "Other"}, "x"))
    flows = read_bytes(tmp_path, data, name="PT1H.json")
    assert asides(flows) == {"CONTROL": 1, "NOT_A_FLOW": 1, "MALFORMED": 1}
