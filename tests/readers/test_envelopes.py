"""Flow logs inside what log shippers and Loki put around them: the same table and ledger as without."""

from __future__ import annotations

import gzip
import io
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from netpol_gen.errors import InputError, NotAFlowLogError
from netpol_gen.flowtable import Flows, Reason
from netpol_gen.readers import envelopes, read_flows
from tests.readers.making import asides, flow, place, read_bytes, wrapped

TIME = "2023-11-14T22:13:20.123456789Z"
BAD = "neither JSON nor a record"


def gcp(port: int) -> str:
    connection = {"src_ip": "10.8.0.7", "src_port": 40001, "dest_ip": "10.8.1.9", "dest_port": port, "protocol": 6}
    payload = {"connection": connection, "bytes_sent": "1776", "packets_sent": "8", "reporter": "SRC"}
    return json.dumps({"logName": "vpc_flows", "jsonPayload": payload | {"start_time": TIME, "end_time": TIME}})


def azure(port: int) -> str:
    flows = [{"rule": "R", "flowTuples": [f"1700000000123,10.0.1.7,10.0.2.9,40001,{port},6,O,B,NX,0,0,0,0"]}]
    record = {"time": TIME, "flowLogVersion": 4, "category": "FlowLogFlowEvent"}
    return json.dumps(record | {"flowRecords": {"flows": [{"aclID": "a", "flowGroups": flows}]}})


def calico(port: int) -> str:
    ends = {
        f"{end}_{name}": value
        for end, pod in (("source", "web"), ("dest", "db"))
        for name, value in (("type", "wep"), ("name", f"{pod}-1"), ("name_aggr", f"{pod}-*"), ("namespace", "shop"))
    }
    record = {"start_time": 1700000000, "end_time": 1700000300, "proto": "tcp", "action": "allow", "reporter": "src"}
    counts = {"bytes_in": 300, "bytes_out": 500, "packets_in": 5, "packets_out": 7, "num_flows": 1}
    addresses = {"source_ip": "10.48.1.7", "dest_ip": "10.48.2.9", "source_port": 40001, "dest_port": port}
    return json.dumps(record | counts | ends | addresses)


def conntrack(port: int) -> str:
    ways = (("10.0.1.7", "10.0.2.9", 40001, port), ("10.0.2.9", "10.0.1.7", port, 40001))
    said = " ".join(f"src={src} dst={dst} sport={sport} dport={dport}" for src, dst, sport, dport in ways)
    return f"tcp      6 431999 ESTABLISHED {said} [ASSURED] mark=0 use=1"


def aws_text(port: int) -> str:
    return f"2 123456789012 eni-0a1b2c3d 10.0.1.7 10.0.2.9 40001 {port} 6 10 1000 1700000000 1700000060 ACCEPT OK"


def aws_struct(port: int) -> str:
    record = {"version": 5, "account_id": "123456789012", "interface_id": "eni-0a1b2c3d", "srcaddr": "10.0.1.7"}
    record |= {"dstaddr": "10.0.2.9", "srcport": 40001, "dstport": port, "protocol": 6, "packets": 10, "bytes": 1000}
    return json.dumps(record | {"start": 1700000000, "end": 1700000060, "action": "ACCEPT", "log_status": "OK"})


def ocsf(port: int) -> str:
    event = {"class_uid": 4001, "class_name": "Network Activity", "disposition": "Allowed", "status_code": "OK"}
    event["metadata"] = {"product": {"feature": {"name": "Flowlogs"}, "name": "Amazon VPC", "vendor_name": "AWS"}}
    event["connection_info"] = {"direction": "Inbound", "direction_id": 1, "protocol_num": 6, "tcp_flags": 2}
    event["src_endpoint"] = {"ip": "10.0.1.7", "port": 40001, "interface_uid": None}
    event["dst_endpoint"] = {"ip": "10.0.2.9", "port": port, "interface_uid": "eni-0a1b2c3d"}
    event |= {"start_time": 1700000000000, "end_time": 1700000060000, "time": 1700000000000}
    return json.dumps(event | {"traffic": {"bytes": 400, "packets": 3}})


def hubble(port: int) -> str:
    l4 = {"TCP": {"source_port": 40000, "destination_port": port, "flags": {"ACK": True}}}
    return json.dumps(wrapped(flow(l4=l4)))


SOURCES = {f.__name__: f for f in (hubble, gcp, azure, calico, conntrack, aws_text, aws_struct, ocsf)}
TEXT_SOURCES = {"conntrack", "aws_text"}


def by_line(**member: Callable[[str], Any]) -> Callable[[list[str]], bytes]:
    return lambda texts: "".join(
        json.dumps({name: value(text) for name, value in member.items()}) + "\n" for text in texts
    ).encode()


def streams(texts: list[str]) -> list[dict[str, Any]]:
    """Each text in a stream of its own but the first two, of which one has metadata."""
    values: list[list[Any]] = [[f"{1700000000000000000 + i}", text] for i, text in enumerate(texts)]
    values[0].append({"trace": '[1, "x"]'})
    return [{"stream": {"job": "a"}, "values": values[:2]}, *({"stream": {}, "values": [each]} for each in values[2:])]


def query(texts: list[str], indent: int | None = None) -> bytes:
    data = {"resultType": "streams", "result": streams(texts), "stats": {"summary": {"values": [[1, 2]]}}}
    return json.dumps({"status": "success", "data": data}, indent=indent).encode()


PER_LINE = {
    "message": by_line(message=str),
    "Message": by_line(time=lambda _: TIME, Message=str),
    "@message": by_line(**{"@timestamp": lambda _: TIME, "@message": str}),
    "filebeat": by_line(log=lambda _: {"file": "x", "offset": 7}, message=str),
    "log": by_line(log=lambda text: text + "\n", stream=lambda _: "stdout"),
    "logcli": by_line(labels=lambda _: {"job": "a"}, line=str, timestamp=lambda _: TIME),
    "one push per line": lambda texts: b"".join(json.dumps({"streams": streams([t])}).encode() + b"\n" for t in texts),
    "one stream per line": lambda texts: b"".join(json.dumps(streams([t])[0]).encode() + b"\n" for t in texts),
    "CRLF": lambda texts: by_line(message=str)(texts).replace(b"\n", b"\r\n"),
    "byte order mark": lambda texts: b"\xef\xbb\xbf" + by_line(message=str)(texts),
}
DOCUMENTS = {
    "Loki push": lambda texts: json.dumps({"streams": streams(texts)}).encode(),
    "Loki query": query,
    "Loki query, pretty": lambda texts: query(texts, 2),
    "array": lambda texts: json.dumps([{"message": text} for text in texts]).encode(),
    "array, pretty": lambda texts: json.dumps([{"message": text} for text in texts], indent=2).encode(),
    "objects without newlines": lambda texts: by_line(message=str)(texts).replace(b"\n", b""),
    "subscription": lambda texts: json.dumps({"logEvents": [{"id": "1", "message": text} for text in texts]}).encode(),
    "records": lambda texts: json.dumps({"records": [{"message": text} for text in texts]}).encode(),
}


def same(found: Flows, bare: Flows, *, places: bool = True) -> None:
    """The same table and ledger, from files of any name; without `places` whatever lines they tell."""
    rows = [
        [row | {"sample": row["sample"].rpartition(":")[2] if places else ""} for row in each.table.to_pylist()]
        for each in (found, bare)
    ]
    assert rows[0] == rows[1]
    assert found.sources == bare.sources
    assert asides(found) == asides(bare)
    assert found.ledger.read == bare.ledger.read


@pytest.mark.parametrize("envelope", PER_LINE | DOCUMENTS)
@pytest.mark.parametrize("source", SOURCES)
def test_the_envelope_leaves_no_trace(tmp_path: Path, source: str, envelope: str) -> None:
    texts = [SOURCES[source](port) for port in (8080, 8081)]
    bare = read_bytes(tmp_path, "\n".join(texts).encode() + b"\n")
    assert bare.ledger.read == 2
    assert not bare.ledger.set_aside
    same(read_bytes(tmp_path, (PER_LINE | DOCUMENTS)[envelope](texts)), bare, places=envelope in PER_LINE)


# Hubble and the texts of AWS have readers of their own for these forms.
OTHERS = SOURCES.keys() - {"hubble", "aws_text"}


@pytest.mark.parametrize("envelope", PER_LINE)
@pytest.mark.parametrize("source", sorted(OTHERS))
def test_bad_texts_are_counted_and_named_by_their_line(tmp_path: Path, source: str, envelope: str) -> None:
    texts = [SOURCES[source](8080), BAD, SOURCES[source](8081), BAD, "{", SOURCES[source](8082)]
    bare = read_bytes(tmp_path, "\n".join(texts).encode() + b"\n")
    found = read_bytes(tmp_path, PER_LINE[envelope](texts))
    same(found, bare)
    assert found.ledger.places == bare.ledger.places
    assert [text.split(":")[1] for texts in found.ledger.places.values() for text in texts] == ["2", "4", "5"]


@pytest.mark.parametrize("envelope", ["Loki push", "Loki query", "Loki query, pretty"])
@pytest.mark.parametrize("source", sorted(SOURCES.keys() - {"hubble"}))
def test_of_loki_places_count_the_texts(tmp_path: Path, source: str, envelope: str) -> None:
    texts = [SOURCES[source](8080), SOURCES[source](8081), BAD]
    found = read_bytes(tmp_path, DOCUMENTS[envelope](texts))
    same(found, read_bytes(tmp_path, "\n".join(texts).encode()))
    assert [text.split(":")[1] for texts in found.ledger.places.values() for text in texts] == ["3"]


@pytest.mark.parametrize("source", sorted(OTHERS))
def test_lines_without_an_envelope_among_others_count(tmp_path: Path, source: str) -> None:
    make = SOURCES[source]
    record = json.dumps({"message": make(8081)})
    odd: list[Any] = [{"message": ""}, {"message": "\r\n"}, {"message": {"a": 1}}, {"other": 1}, {"message": ["x"]}]
    # Some sources recognise a file by a bare record: it comes behind the beginning.
    late = [record] * 400 + [make(8082)]
    lines = ["starting", record, *map(json.dumps, odd), "", record[:-9], "[1", *late]
    found = read_bytes(tmp_path, "\n".join(lines).encode())
    assert {row["dst_port"] for row in found.table.to_pylist()} == {8081, 8082}
    assert found.ledger.read == len(lines) - 1  # all but the blank one
    assert sum(found.ledger.set_aside.values()) == len(odd) + 3
    told = [int(text.split(":")[1]) for texts in found.ledger.places.values() for text in texts]
    assert set(told) <= {1, 3, 4, 5, 6, 7, 9, 10}


def test_newlines_within_a_text_do_not_shift_the_lines(tmp_path: Path) -> None:
    pretty = json.dumps(json.loads(gcp(8080)), indent=2)
    data = PER_LINE["message"]([pretty, pretty.replace("\n", "\r\n"), BAD, gcp(8080)])
    found = read_bytes(tmp_path, data)
    assert found.ledger.read == 4
    assert place(found, Reason.MALFORMED)[0].split(":")[1] == "3"


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
@pytest.mark.parametrize("envelope", ["message", "Loki query"])
def test_compressed(tmp_path: Path, envelope: str, pack: Callable[[bytes], bytes]) -> None:
    texts = [gcp(port) for port in range(8000, 8500)]
    bare = read_bytes(tmp_path, "\n".join(texts).encode())
    same(read_bytes(tmp_path, pack((PER_LINE | DOCUMENTS)[envelope](texts))), bare)


@pytest.mark.parametrize("envelope", ["message", "array, pretty"])
@pytest.mark.parametrize("source", ["hubble", "gcp", "calico", "conntrack", "aws_text"])
def test_standard_input_and_pipes(tmp_path: Path, source: str, envelope: str) -> None:
    """Larger than what is read of it at first."""
    texts = [SOURCES[source](port) for port in range(8000, 8500)]
    data = (PER_LINE | DOCUMENTS)[envelope](texts)
    bare = read_bytes(tmp_path, "\n".join(texts).encode())
    places = envelope in PER_LINE
    same(read_flows(["-"], stdin=io.BytesIO(data)), bare, places=places)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(data,))
    writer.start()
    same(read_flows([pipe], processes=2), bare, places=places)
    writer.join()


def test_damaged_compressed_data_is_told(tmp_path: Path) -> None:
    data = gzip.compress(PER_LINE["message"]([gcp(port) for port in range(8000, 18000)]))
    found = read_bytes(tmp_path, data[: len(data) // 2])
    assert asides(found) == {"MALFORMED": 1}
    assert found.table.num_rows > 100


@pytest.mark.parametrize("envelope", ["Loki push", "Loki query", "subscription"])
@pytest.mark.parametrize("source", ["gcp", "conntrack"])
def test_of_a_document_that_is_cut_off_the_texts_are_read(tmp_path: Path, source: str, envelope: str) -> None:
    texts = [SOURCES[source](port) for port in range(8000, 8004)]
    data = DOCUMENTS[envelope](texts)
    cut = data[: data.index(b"8003") - 2]
    found = read_bytes(tmp_path, cut)
    assert (found.table.num_rows, found.ledger.read) == (3, 4)


def test_of_a_damaged_document_what_is_between_the_texts_counts(tmp_path: Path) -> None:
    data = DOCUMENTS["Loki push"]([gcp(port) for port in range(8000, 8006)])
    data = data.replace(b'["1700000000000000002"', b"[17").replace(b'["1700000000000000004"', b'["x"')
    found = read_bytes(tmp_path, data[:-8])
    # Two that have no time, and the last one, cut off.
    assert (found.table.num_rows, asides(found)) == (3, {"MALFORMED": 3})


def test_of_a_document_that_is_no_json_the_texts_are_read(tmp_path: Path) -> None:
    """One text with half a character is no reason to lose thousands."""
    data = DOCUMENTS["Loki query"]([gcp(8000), "HALF", gcp(8001), gcp(8002)]).replace(b"HALF", b"\\ud800")
    found = read_bytes(tmp_path, data)
    assert found.table.num_rows == 3
    assert asides(found) == {"MALFORMED": 2}  # the text, and what the document ends with


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("source", ["hubble", "gcp", "azure", "aws_struct", "ocsf"])
def test_records_in_an_array_of_that_name(tmp_path: Path, source: str, indent: int | None) -> None:
    """One such document, and several."""
    texts = [SOURCES[source](port) for port in range(8000, 8004)]
    bare = read_bytes(tmp_path, "\n".join(texts).encode())
    halves = [{"records": [json.loads(text) for text in some]} for some in (texts[:2], texts[2:])]
    several = "\n".join(json.dumps(each, indent=indent) for each in halves).encode()
    one = json.dumps({"records": halves[0]["records"] + halves[1]["records"]}, indent=indent).encode()
    same(read_bytes(tmp_path, one), bare, places=False)
    same(read_bytes(tmp_path, several), bare, places=False)


def test_advice_on_the_file_as_it_is_stays(tmp_path: Path) -> None:
    event = {"apiVersion": "v1", "kind": "Event", "message": "Pulled image"}
    with pytest.raises(NotAFlowLogError, match=r"Kubernetes objects \(JSON\); give them with --inventory"):
        read_bytes(tmp_path, json.dumps(event).encode())


def test_what_is_no_text_among_texts_counts(tmp_path: Path) -> None:
    data = json.dumps({"streams": [{"stream": {}, "values": [["1", gcp(80)], ["2"], 5, None, ["1", ""]]}, 7]}).encode()
    found = read_bytes(tmp_path, data)
    assert (found.ledger.read, found.table.num_rows) == (6, 1)


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("envelope", ["message", "Loki push", "Loki query", "array"])
def test_a_text_longer_than_the_beginning_that_is_looked_at(tmp_path: Path, envelope: str, size: int) -> None:
    record = json.loads(azure(8080))
    groups = record["flowRecords"]["flows"][0]["flowGroups"]
    groups[0]["flowTuples"] = [groups[0]["flowTuples"][0].replace("8080", str(port)) for port in range(1000, 6000)]
    texts = [json.dumps({"records": [record]})] * size
    bare = read_bytes(tmp_path, "\n".join(texts).encode())
    found = read_bytes(tmp_path, (PER_LINE | DOCUMENTS)[envelope](texts))
    assert (bare.ledger.read, asides(bare)) == (5000 * size, {})
    same(found, bare, places=False)


def test_a_line_that_is_too_long_is_told_as_that(tmp_path: Path) -> None:
    long = json.dumps({"message": "x" * (17 << 20)})
    data = PER_LINE["message"]([gcp(8080)]) + long.encode() + b"\n" + PER_LINE["message"]([gcp(8081)])
    found = read_bytes(tmp_path, data)
    assert (found.ledger.read, asides(found)) == (3, {"TOO_LONG": 1})
    assert place(found, Reason.TOO_LONG)[0].startswith("flows.jsonl:2")


def test_a_document_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelopes, "MAX_DOCUMENT", 100_000)
    data = DOCUMENTS["Loki query"]([gcp(port) for port in range(8000, 8500)])
    with pytest.raises(InputError, match=r"more than 100,000 bytes .* `logcli query -o jsonl`"):
        read_bytes(tmp_path, data)


@pytest.mark.parametrize("source", ["gcp-vpc", "azure-vnet", "calico", "conntrack", "aws-vpc"])
def test_with_the_source_named(tmp_path: Path, source: str) -> None:
    make = {"gcp-vpc": gcp, "azure-vnet": azure, "calico": calico, "conntrack": conntrack, "aws-vpc": ocsf}[source]
    texts = [make(8080), make(8081)]
    bare = read_bytes(tmp_path, "\n".join(texts).encode(), source=source)
    for envelope in (PER_LINE | DOCUMENTS).values():
        same(read_bytes(tmp_path, envelope(texts), source=source), bare, places=False)


def test_the_order_of_fields_holds_for_what_is_inside(tmp_path: Path) -> None:
    order = "srcaddr dstaddr srcport dstport protocol start end action"
    texts = ["10.0.1.7 10.0.2.9 40001 8080 6 1700000000 1700000060 ACCEPT"]
    bare = read_bytes(tmp_path, texts[0].encode(), aws_format=order)
    assert bare.table.num_rows == 1
    for name, envelope in (PER_LINE | DOCUMENTS).items():
        if name != "filebeat":
            same(read_bytes(tmp_path, envelope(texts), aws_format=order), bare, places=False)


def test_a_directory_with_other_logs_in_envelopes(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_bytes(PER_LINE["log"](["GET /", "GET /x"]))
    (tmp_path / "flows.log").write_bytes(PER_LINE["log"]([conntrack(80), conntrack(81)]))
    (tmp_path / "answer.json").write_bytes(DOCUMENTS["Loki query"]([conntrack(82), conntrack(83)]))
    found = read_flows([tmp_path])
    assert (found.ledger.read, asides(found)) == (4, {})
    assert any(
        note.endswith("app.log: no flow log, left out; it looks like JSON of another kind (with log, stream)")
        for note in found.notes
    )


def test_what_is_refused_says_what_is_inside(tmp_path: Path) -> None:
    with pytest.raises(NotAFlowLogError, match=r"it looks like JSON objects that hold text that begins `GET /`"):
        read_bytes(tmp_path, PER_LINE["log"](["GET /", "GET /x"]))
    with pytest.raises(NotAFlowLogError, match="JSON objects that hold an AWS VPC flow log; without a header, give"):
        read_bytes(tmp_path, DOCUMENTS["Loki push"](["2 123456789012 eni-0a1b2c3d 10.0.1.7 10.0.2.9 40001"] * 2))


def test_a_text_in_a_text_is_not_looked_into(tmp_path: Path) -> None:
    inner = PER_LINE["message"]([gcp(8080)]).decode()
    with pytest.raises(NotAFlowLogError):
        read_bytes(tmp_path, PER_LINE["log"]([inner]))


@pytest.mark.parametrize("source", ["gcp", "conntrack"])
def test_conntrack_quoted_is_not_called_a_conntrack_table(tmp_path: Path, source: str) -> None:
    quoted = json.dumps({"event": {"original": conntrack(80)}}).encode()
    with pytest.raises(NotAFlowLogError) as refused:
        read_bytes(tmp_path, quoted, source="conntrack" if source == "conntrack" else "auto")
    assert "something else that quotes entries of a conntrack table" in str(refused.value)


def damaged() -> st.SearchStrategy[tuple[str, list[bytes]]]:
    """Lines of envelopes of a source, some of them with bytes changed, taken away or doubled."""

    def lines(source: str) -> st.SearchStrategy[tuple[str, list[bytes]]]:
        whole = st.sampled_from([PER_LINE[name] for name in ("message", "log", "logcli")])
        line = st.builds(lambda make, port: make([SOURCES[source](port)])[:-1], whole, st.integers(1, 30000))
        put = st.binary(max_size=4).filter(lambda put: b"\n" not in put)
        spots = st.tuples(st.integers(0, 400), st.integers(0, 6), put)
        broken = st.builds(lambda data, s: data[: s[0]] + s[2] + data[s[0] + s[1] :], line, spots)
        return st.tuples(st.just(source), st.lists(st.one_of(line, broken), min_size=1, max_size=8))

    return st.sampled_from(sorted(OTHERS)).flatmap(lines)


@settings(max_examples=60, deadline=None)
@given(given_lines=damaged())
def test_of_damaged_lines_each_is_accounted_for(
    tmp_path_factory: pytest.TempPathFactory, given_lines: tuple[str, list[bytes]]
) -> None:
    source, lines = given_lines
    whole = PER_LINE["message"]([SOURCES[source](31000)])
    # Only a blank line is none; a carriage return and a form feed are blank.
    filled = sum(bool(line.strip()) for line in lines)
    found = read_bytes(tmp_path_factory.mktemp("lines"), whole + b"\n".join(lines) + b"\n")
    assert found.ledger.read == filled + 1
    assert any(row["dst_port"] == 31000 for row in found.table.to_pylist())


@settings(max_examples=60, deadline=None)
@given(
    envelope=st.sampled_from(sorted(DOCUMENTS)),
    source=st.sampled_from(sorted(OTHERS)),
    at=st.floats(0, 1),
    gone=st.integers(0, 40),
    put=st.binary(max_size=6),
)
def test_damaged_documents_never_crash(
    tmp_path_factory: pytest.TempPathFactory, envelope: str, source: str, at: float, gone: int, put: bytes
) -> None:
    data = DOCUMENTS[envelope]([SOURCES[source](port) for port in range(8000, 8004)])
    where = int(at * len(data))
    try:
        found = read_bytes(tmp_path_factory.mktemp("documents"), data[:where] + put + data[where + gone :])
    except NotAFlowLogError:
        return
    assert found.ledger.read
