"""Envelopes, encoders, compression, and input that is not what it should be."""

from __future__ import annotations

import gzip
import io
import json

import pytest
import zstandard

from netpol_gen.config import Config
from netpol_gen.errors import BadRecordsError, InputError, NotAFlowLogError
from netpol_gen.flowtable import Reason
from netpol_gen.readers import read_flows
from tests.readers.making import TIME, asides, flow, lines, place, read_bytes, reply, row, rows, tcp, wrapped

EXPECTED = ("10.0.0.1", "10.0.0.2", 5432, "web-1", "db-0", "is-reply", 1)


def told(found):
    return tuple(found[name] for name in ("src_ip", "dst_ip", "dst_port", "src_pod", "dst_pod", "direction", "records"))


def compact(value):
    return json.dumps(value, separators=(",", ":")).encode()


def camel(value):
    """As encoders with protojson's default names write it."""

    def name(key):
        if key in {"IP", "TCP", "UDP", "ID", "Type"}:
            return key
        head, *tail = key.split("_")
        return head + "".join(word.capitalize() for word in tail)

    if isinstance(value, dict):
        return {name(key): camel(inner) for key, inner in value.items()}
    return [camel(inner) for inner in value] if isinstance(value, list) else value


def go_struct(record):
    """As Go's encoding/json writes the structs: numbers for enums, wrappers shown."""
    out = dict(record)
    out["time"] = {"seconds": 1714979289, "nanos": 123456789}
    out["verdict"] = 1
    out["is_reply"] = {}
    out["trace_observation_point"] = 101
    out["l4"] = {"Protocol": record["l4"]}
    return out


ENVELOPES = {
    "wrapped": compact(wrapped(flow())),
    "flow only": compact({"flow": flow()}),
    "bare": compact(flow()),
    "keys sorted": json.dumps(wrapped(flow()), sort_keys=True).encode(),
    "array of bare": compact([flow()]),
    "array of wrapped": compact([wrapped(flow())]),
    "array, pretty": json.dumps([wrapped(flow())], indent=2).encode(),
    "pretty": json.dumps(wrapped(flow()), indent=4).encode(),
    "pretty, bare, CRLF": json.dumps(flow(), indent=2).replace("\n", "\r\n").encode(),
    "CRLF": compact(wrapped(flow())) + b"\r",
    "byte order mark": b"\xef\xbb\xbf" + compact(wrapped(flow())),
    "feeder": compact({"cluster_name": "c", "tenant_id": 5, "flow": flow(), "workspace_id": "w"}),
    "container log": compact({"log": compact(wrapped(flow())).decode() + "\n", "stream": "stdout", "time": TIME}),
    "message": compact({"@timestamp": TIME, "message": compact(flow()).decode()}),
    "shipper, unwrapped": compact({"@timestamp": TIME, "host": "h", "data": {"flow": flow()}}),
    "gateway": compact({"result": wrapped(flow())}),
    "container runtime": f"{TIME} stdout F ".encode() + compact(wrapped(flow())),
    "loki": compact({"data": {"result": [{"stream": {}, "values": [["1", compact(wrapped(flow())).decode()]]}]}}),
    "loki stream": compact({"stream": {"a": "b"}, "values": [["1714979289123456789", compact(flow()).decode()]]}),
    "camel case": compact(camel(wrapped(flow()))),
    "camel case, bare": compact(camel(flow())),
    "Go structs": compact({"flow": go_struct(flow())}),
    "ports as text": compact(wrapped(flow(l4={"TCP": {"source_port": "40000", "destination_port": "5432"}}))),
    "ports as floats": compact(wrapped(flow(l4={"TCP": {"source_port": 40000.0, "destination_port": 5432.0}}))),
    "comma at the end": compact(wrapped(flow())) + b",",
}


@pytest.mark.parametrize("name", ENVELOPES)
def test_envelope(tmp_path, name):
    flows = read_bytes(tmp_path, ENVELOPES[name] + b"\n")
    assert flows.ledger.set_aside == {}
    found = flows.table.to_pylist()
    assert [told(each) for each in found] == [EXPECTED]
    assert found[0]["first_seen"].value == 1_714_979_289_123_456_789
    assert found[0]["sample"].endswith("flows.jsonl:2" if name == "array, pretty" else "flows.jsonl:1")


@pytest.mark.parametrize("name", [n for n in ENVELOPES if not n.startswith("array")])
def test_many_of_an_envelope_and_line_numbers(tmp_path, name):
    bad = compact(wrapped(flow(verdict="NEW_ONE")))
    flows = read_bytes(tmp_path, (ENVELOPES[name].removeprefix(b"\xef\xbb\xbf") + b"\n") * 7 + bad + b"\n")
    assert (flows.ledger.read, asides(flows)) == (8, {"NO_VERDICT": 1})
    line = 7 * (ENVELOPES[name].count(b"\n") + 1) + 1
    assert place(flows, Reason.NO_VERDICT) == [f"flows.jsonl:{line}: verdict NEW_ONE"]


def test_array_members_are_records_with_lines(tmp_path):
    text = json.dumps([flow(), flow(verdict="X"), 5, "x", flow()], indent=1).encode()
    flows = read_bytes(tmp_path, text)
    assert (flows.ledger.read, asides(flows)) == (4, {"NO_VERDICT": 1, "MALFORMED": 1})
    line = text[: text.index(b'"X"')].count(b"\n") + 1
    start = text[: text.rindex(b"\n {\n", 0, text.index(b'"X"')) + 1].count(b"\n") + 1
    assert start < line
    assert place(flows, Reason.NO_VERDICT) == [f"flows.jsonl:{start}: verdict X"]


def test_wrapped_and_bare_mixed(tmp_path):
    records = [compact(flow()), compact(wrapped(flow())), compact(flow()), compact({"flow": flow()})] * 5
    assert row(tmp_path, *records)["records"] == 20


def test_objects_one_after_another_on_one_line(tmp_path):
    assert row(tmp_path, compact(wrapped(flow())) * 3)["records"] == 3


def test_node_and_time_of_the_outer_object(tmp_path):
    found = row(tmp_path, compact({"flow": flow(node_name=None, time=None), "node_name": "c/n9", "time": TIME}))
    assert (found["nodes"], found["first_seen"].value) == (["n9"], 1_714_979_289_123_456_789)


@pytest.mark.parametrize("count", [1, 3])
def test_a_field_mask_without_node_names_leaves_the_outer_one(tmp_path, count):
    masked = compact({"flow": flow(node_name=None), "node_name": "c/n9", "time": TIME})
    assert row(tmp_path, *[masked] * count)["nodes"] == ["n9"]
    assert row(tmp_path, flow(), *[masked] * count)["nodes"] == ["n9", "node-1"]
    assert row(tmp_path, *[compact({"flow": flow(node_name=None)})] * count)["nodes"] == []


# --- other members of the stream --------------------------------------------------------------------------------------


def test_lost_events(tmp_path):
    lost = {"source": "HUBBLE_RING_BUFFER", "num_events_lost": "12", "cpu": 3}
    texts = [
        compact({"lost_events": lost, "node_name": "default/n1", "time": TIME}),
        compact({"lost_events": {**lost, "num_events_lost": 5}, "node_name": "n1", "time": TIME}),
        compact({"lost_events": {"source": "PERF_EVENT_RING_BUFFER", "num_events_lost": "7", "last": TIME}}),
        b"Jan  1 00:00:00.000: EVENTS LOST: HUBBLE_RING_BUFFER CPU(0) 5",
    ]
    flows = read_bytes(tmp_path, lines(flow(), *texts))
    assert asides(flows) == {"LOST_EVENTS": 4}
    assert flows.ledger.losses == {
        ("n1", 476_383, "HUBBLE_RING_BUFFER"): 17,
        ("", 476_383, "PERF_EVENT_RING_BUFFER"): 7,
        ("", 0, "HUBBLE_RING_BUFFER"): 5,
    }
    with pytest.raises(InputError, match="lost 29 events beside 5 records"):
        read_bytes(tmp_path, lines(flow(), *texts), max_loss=0.5)
    read_bytes(tmp_path, lines(flow(), *texts), max_loss=0.9)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"l4": None}, "no transport layer"),
        ({"IP": None, "source": None, "destination": None}, "no endpoint"),
        ({"verdict": None}, "no known verdict"),
    ],
)
def test_what_a_field_mask_left_out_is_said(tmp_path, fields, word):
    masked = flow(**fields)
    [note] = read_bytes(tmp_path, lines(masked, masked, flow())).notes
    assert note.startswith(f"2 of 3 records have {word}")
    assert read_bytes(tmp_path, lines(masked, flow())).notes == ()


@pytest.mark.parametrize("name", ["node_status", "agent_event", "debug_event", "nodeStatus"])
def test_control_records(tmp_path, name):
    control = compact({name: {"state_change": "NODE_CONNECTED", "node_names": ["a"]}, "time": TIME})
    assert asides(read_bytes(tmp_path, lines(control, flow()))) == {"CONTROL": 1}


# --- bad input --------------------------------------------------------------------------------------------------------

GOOD = compact(wrapped(flow()))

BAD = {
    "cut off": (GOOD[: len(GOOD) // 2], "MALFORMED"),
    "garbage": (b"\xde\xad\xbe\xef garbage", "MALFORMED"),
    "NUL": (b"\0" * 50, "MALFORMED"),
    "text": (b"level=info msg=hello", "MALFORMED"),
    "badly encoded": (GOOD.replace(b"web-1", b"web-\xff"), "BAD_FIELD"),
    "another object": (b'{"a":1}', "NOT_A_FLOW"),
    "null": (b"null", "NOT_A_FLOW"),
    "a number": (b"17", "NOT_A_FLOW"),
    "an array of nothing": (b"[]", "NOT_A_FLOW"),
    "nested deeply": (b"[" * 200_000, "MALFORMED"),
    "flow is no object": (b'{"flow":[1]}', "NOT_A_FLOW"),
    "port too large": (compact(wrapped(flow(l4=tcp(40000, 70000)))), "BAD_FIELD"),
    "port below zero": (compact(wrapped(flow(l4=tcp(-1, 5432)))), "BAD_FIELD"),
    "port missing": (compact(wrapped(flow(l4=tcp(40000, 0)))), "BAD_FIELD"),
    "port is text": (compact(wrapped(flow(l4={"TCP": {"destination_port": "http"}}))), "BAD_FIELD"),
    "time missing": (compact({"flow": flow(time=None)}), "BAD_FIELD"),
    "time is no time": (compact(wrapped(flow(time="yesterday"))), "BAD_FIELD"),
    "time of another age": (compact(wrapped(flow(time="1815-12-10T00:00:00Z"))), "BAD_FIELD"),
    "verdict is a list": (compact(wrapped(flow(verdict=[1]))), "BAD_FIELD"),
    "is_reply is text": (compact(wrapped(flow(is_reply="perhaps"))), "BAD_FIELD"),
    "port and address": (compact(wrapped(flow(l4=tcp(0, 0), IP={"source": "x", "destination": "y"}))), "BAD_FIELD"),
    "address is a number": (compact(wrapped(flow(IP={"source": 1}))), "BAD_FIELD"),
}


@pytest.mark.parametrize("name", BAD)
def test_one_bad_line_is_one_bad_record(tmp_path, name):
    text, reason = BAD[name]
    data = (GOOD + b"\n") * 3 + text + b"\n" + (GOOD + b"\n") * 4
    flows = read_bytes(tmp_path, data)
    assert (asides(flows), flows.ledger.bad) == ({reason: 1}, 1)
    assert place(flows, Reason[reason])[0].startswith("flows.jsonl:4")
    assert flows.table.to_pylist()[0]["records"] == 7
    with pytest.raises(BadRecordsError, match=r"1 of 8 records are bad .*none allowed by --strict") as error:
        read_bytes(tmp_path, data, strict=True)
    assert "flows.jsonl:4" in error.value.places[0]
    read_bytes(tmp_path, data, max_bad=0.125)
    with pytest.raises(BadRecordsError, match=r"--max-bad is 0\.1"):
        read_bytes(tmp_path, data, max_bad=0.1)


def test_the_message_names_the_field(tmp_path):
    flows = read_bytes(tmp_path, lines(flow(l4=tcp(40000, 70000)), flow(time="x"), flow(l4=tcp(1, 2), verdict=[])))
    assert place(flows, Reason.BAD_FIELD) == [
        "flows.jsonl:1: destination_port 70000 is not a port",
        "flows.jsonl:2: time 'x' is no time",
        "flows.jsonl:3: verdict [] is no name",
    ]


def test_unknown_enum_values_elsewhere_cost_nothing(tmp_path):
    found = row(tmp_path, flow(trace_observation_point="TO_THE_MOON", Type="L8", trace_reason="WHY_NOT", auth_type=77))
    assert told(found) == EXPECTED


def test_blank_lines_are_no_records_and_count_as_lines(tmp_path):
    flows = read_bytes(tmp_path, b"\n\n" + GOOD + b"\n \t\r\n" + GOOD + b"\n\nx\n" + GOOD)
    assert (flows.ledger.read, place(flows, Reason.MALFORMED)[0][:13]) == (4, "flows.jsonl:7")
    assert flows.table.to_pylist()[0]["sample"].endswith(":3")


def test_places_are_the_first_five(tmp_path):
    flows = read_bytes(tmp_path, lines(*(["x"] * 20), flow()))
    assert [text.split(":")[1] for text in place(flows, Reason.MALFORMED)] == ["1", "2", "3", "4", "5"]


def test_terminal_escapes_do_not_reach_the_terminal(tmp_path):
    flows = read_bytes(tmp_path, lines(flow(), "\x1b[31mred", flow(verdict="\x1b[2J")))
    assert "\x1b" not in str(flows.ledger.places)


def test_an_empty_file_is_counted(tmp_path):
    for data in (b"", b"\n\n", gzip.compress(b"")):
        flows = read_bytes(tmp_path, data)
        assert (flows.ledger.read, list(flows.ledger.files.values()), flows.table.num_rows) == (0, [0], 0)
        assert flows.table.schema.names[0] == "first_seen"


NO_LOGS = {  # formatter outputs of `hubble observe`, and what else people hand in
    "compact": (b"Jan 10 09:41:07.123: a/b:1 (ID:5) -> c/d:80 (ID:6) to-endpoint FORWARDED (TCP)\n", "jsonpb"),
    "old compact": (b"Sep 18 09:01:00.000 [n]: 1.1.1.1:317 <> 2.2.2.2:8080 Policy denied DROPPED (TCP)\n", "jsonpb"),
    "tab": (b"TIMESTAMP      SOURCE     DESTINATION   TYPE          VERDICT     SUMMARY\nJan 1 x\n", "jsonpb"),
    "dict": (b"  TIMESTAMP: Jan  1 00:20:34.567\n     SOURCE: 1.1.1.1:31793\nDESTINATION: 2.2.2.2:8080\n", "jsonpb"),
    "manifest": (b"apiVersion: v1\nkind: Pod\n", "Kubernetes manifest"),
    "objects": (b'{"apiVersion": "v1", "kind": "List"}', "Kubernetes objects"),
    "html": (b"<!DOCTYPE html><html></html>", "HTML"),
    "csv": (b"a,b,c\n1,2,3\n", "CSV"),
    "binary": (bytes(range(256)) * 4, "binary"),
    "pcap": (b"\xd4\xc3\xb2\xa1\x02\x00\x04\x00", "packet capture"),
    "parquet": (b"PAR1\x15\x04", "Parquet"),
    "zip": (b"PK\x03\x04xxxx", "zip"),
    "json": (b'{"level":"info","msg":"x"}\n', "level, msg"),
    "text": (b"hello\n", "hello"),
    "utf-16": ("{}".encode("utf-16"), "UTF-16"),
    "packed twice": (gzip.compress(GOOD), "gzip"),
}


@pytest.mark.parametrize("name", NO_LOGS)
def test_no_flow_log_at_all(tmp_path, name):
    data, word = NO_LOGS[name]
    if name == "packed twice":
        data = gzip.compress(data)
    with pytest.raises(NotAFlowLogError, match=word) as error:
        read_bytes(tmp_path, data)
    assert "flows.jsonl" in str(error.value)


@pytest.mark.parametrize("name", ["compact", "manifest", "html", "binary"])
def test_what_is_certainly_something_else_is_refused_by_name_too(tmp_path, name):
    with pytest.raises(NotAFlowLogError):
        read_bytes(tmp_path, NO_LOGS[name][0], source="hubble")


def test_a_named_source_reads_what_may_be_damaged(tmp_path):
    assert asides(read_bytes(tmp_path, b"hello\n", source="hubble")) == {"MALFORMED": 1}


# --- compression and where bytes come from ----------------------------------------------------------------------------

PLAIN = lines(flow(), reply(), flow(l4=tcp(40001, 5432, "SYN")))


def packed(data):
    return {
        "plain": data,
        "gz": gzip.compress(data),
        "gz, several members": gzip.compress(data[:500]) + gzip.compress(data[500:700]) + gzip.compress(data[700:]),
        "gz, padded": gzip.compress(data) + b"\0" * 512,
        "zst": zstandard.compress(data),
        "zst, several frames": zstandard.compress(data[:500]) + zstandard.compress(data[500:]),
        "zst, skippable frame": b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd" + zstandard.compress(data),
    }


@pytest.mark.parametrize("kind", packed(PLAIN))
@pytest.mark.parametrize("name", ["flows.json", "flows.gz"])
def test_compression_is_told_by_content(tmp_path, kind, name):
    flows = read_bytes(tmp_path, packed(PLAIN)[kind], name=name)
    assert (flows.ledger.read, flows.ledger.set_aside) == (3, {})


@pytest.mark.parametrize("kind", [kind for kind in packed(b"") if kind != "plain"])
@pytest.mark.parametrize("source", ["file", "pipe"])
def test_standard_input(tmp_path, kind, source):
    data = packed(PLAIN)[kind]
    if source == "file":
        (tmp_path / "x").write_bytes(data)
        with (tmp_path / "x").open("rb") as stream:
            flows = read_flows(["-"], stdin=stream)
    else:
        flows = read_flows(["-"], stdin=io.BytesIO(data))
    assert (flows.ledger.read, flows.ledger.files) == (3, {"-": 3})


MANY = PLAIN * 300


@pytest.mark.parametrize("kind", ["gz", "zst"])
@pytest.mark.parametrize("cut", [0.5, 0.99])
def test_truncated_compression_is_one_bad_record(tmp_path, kind, cut):
    data = packed(MANY)[kind]
    flows = read_bytes(tmp_path, data[: int(len(data) * cut)], source="hubble")
    assert asides(flows) == {"MALFORMED": 1}
    [where] = place(flows, Reason.MALFORMED)
    assert where.endswith(f"{'gzip' if kind == 'gz' else 'zstd'} data ends early")
    assert where == f"flows.jsonl:{flows.ledger.read}: {where.split(': ')[-1]}"


def test_damage_within_compressed_data(tmp_path):
    data = bytearray(gzip.compress(MANY, 1))
    data[len(data) // 2] ^= 0xFF
    flows = read_bytes(tmp_path, bytes(data))
    assert flows.ledger.set_aside[Reason.MALFORMED] >= 1
    assert "damaged gzip data" in place(flows, Reason.MALFORMED)[-1]
    flows = read_bytes(tmp_path, gzip.compress(PLAIN) + b"trailing")
    assert asides(flows) == {"MALFORMED": 1}


def test_a_line_too_long_is_read_over(tmp_path):
    """Bounded memory is in test_files; here: counted, with its place, and the next line is a record again."""
    long = GOOD[:-3] + b" " * (17 << 20)
    flows = read_bytes(tmp_path, GOOD + b"\n" + long + b"\n" + GOOD + b"\n")
    assert asides(flows) == {"TOO_LONG": 1}
    assert place(flows, Reason.TOO_LONG)[0].startswith("flows.jsonl:2")
    assert flows.table.to_pylist()[0]["records"] == 2


def test_a_member_of_an_array_too_long_is_read_over(tmp_path):
    long = GOOD[:-1] + b',"x":"' + b"x" * (17 << 20) + b'"}'
    flows = read_bytes(tmp_path, b"[" + GOOD + b",\n" + long + b",\n" + GOOD + b"]")
    assert asides(flows) == {"TOO_LONG": 1}
    assert flows.table.to_pylist()[0]["records"] == 2


def test_an_array_cut_off(tmp_path):
    text = json.dumps([flow(), flow()]).encode()
    flows = read_bytes(tmp_path, text[:-20])
    assert asides(flows) == {"MALFORMED": 1}
    assert place(flows, Reason.MALFORMED) == ["flows.jsonl:1: ends in the middle of a record"]


def test_config_none_is_the_default(tmp_path):
    (tmp_path / "x").write_bytes(PLAIN)
    assert read_flows([tmp_path / "x"]).ledger.read == read_flows([tmp_path / "x"], config=Config()).ledger.read == 3
    assert len(rows(tmp_path, flow())) == 1
