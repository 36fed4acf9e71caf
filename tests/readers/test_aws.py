"""AWS VPC flow logs: what a record means, and every form that a file of them may have."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from netpol_gen.errors import InputError, NotAFlowLogError, OptionError
from netpol_gen.flowtable import Flows, Reason
from netpol_gen.readers import aws_text, read_flows, vpc_lines
from tests.readers.making import asides, read_bytes, signals

START = 1_714_979_289
HOUR = START // 3600
V2 = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"
)
V5 = f"{V2} vpc-id tcp-flags type pkt-srcaddr pkt-dstaddr flow-direction"

WEB, DB, NODE = "10.0.0.1", "10.0.0.2", "10.0.9.9"


def record(**fields: object) -> dict[str, str]:
    """web (10.0.0.1:40000) opens db (10.0.0.2:5432), as the first interface has it; keys with underscores."""
    made: dict[str, object] = {
        "version": 5,
        "account-id": "123456789012",
        "interface-id": "eni-0a",
        "srcaddr": NODE,
        "dstaddr": DB,
        "srcport": 40000,
        "dstport": 5432,
        "protocol": 6,
        "packets": 10,
        "bytes": 1000,
        "start": START,
        "end": START + 30,
        "action": "ACCEPT",
        "log-status": "OK",
        "vpc-id": "vpc-1",
        "tcp-flags": 3,
        "type": "IPv4",
        "pkt-srcaddr": WEB,
        "pkt-dstaddr": DB,
        "flow-direction": "egress",
    }
    made |= {name.replace("_", "-"): value for name, value in fields.items()}
    return {name: str(value) for name, value in made.items()}


def reply(**fields: object) -> dict[str, str]:
    turned = {"srcaddr": DB, "dstaddr": NODE, "srcport": 5432, "dstport": 40000, "tcp_flags": 19}
    return record(**{**turned, "pkt_srcaddr": DB, "pkt_dstaddr": WEB, "flow_direction": "ingress", **fields})


def text(*records: dict[str, str] | str, header: str | None = V5, order: str = V5) -> bytes:
    lines = [] if header is None else [header]
    names = order.split()
    lines += [each if isinstance(each, str) else " ".join(each.get(name, "-") for name in names) for each in records]
    return ("\n".join(lines) + "\n").encode()


def rows(directory: Path, data: bytes, **options: object) -> list[dict[str, object]]:
    return read_bytes(directory, data, name="vpc.log", **options).table.to_pylist()


def row(directory: Path, data: bytes, **options: object) -> dict[str, object]:
    found = rows(directory, data, **options)
    assert len(found) == 1, found
    return found[0]


def call(found: dict[str, object]) -> tuple[object, ...]:
    return tuple(found[name] for name in ("src_ip", "dst_ip", "src_port", "dst_port", "protocol", "direction"))


# --- meaning ----------------------------------------------------------------------------------------------------------


def test_a_connection_seen_both_ways_is_one_flow(tmp_path):
    found = row(tmp_path, text(record(), reply()))
    assert call(found) == (WEB, DB, None, 5432, "TCP", "syn")
    assert (found["flows"], found["records"], found["replies"]) == (1, 2, 1)
    assert (found["packets"], found["bytes"]) == (20, 2000)
    assert found["signals"] == signals("SYN", "SYN_ACK", "SERVER_DATA", "CLIENT_DATA", "TRACE")
    assert found["hours"] == [HOUR]
    assert found["first_seen"].value == START * 10**9
    assert found["last_seen"].value == (START + 30) * 10**9
    assert (found["source"], found["observed_verdict"]) == ("aws-vpc", "forwarded")
    assert found["sample"].endswith("vpc.log:2")


def test_both_interfaces_report_the_same_packets(tmp_path):
    other = {"interface_id": "eni-0b"}
    found = row(
        tmp_path,
        text(record(), reply(), record(flow_direction="ingress", **other), reply(flow_direction="egress", **other)),
    )
    assert (found["flows"], found["records"], found["replies"]) == (1, 4, 2)
    assert (found["packets"], found["bytes"]) == (20, 2000)


def test_syn_ack_alone_tells_the_server(tmp_path):
    found = row(tmp_path, text(reply()))
    assert call(found) == (WEB, DB, None, 5432, "TCP", "syn")
    assert found["replies"] == 1


def test_a_server_on_a_high_port_is_told_by_flags(tmp_path):
    found = row(tmp_path, text(record(srcport=1025, dstport=50051), reply(srcport=50051, dstport=1025)))
    assert call(found) == (WEB, DB, None, 50051, "TCP", "syn")


def test_middle_of_a_connection_keeps_both_ports(tmp_path):
    found = row(tmp_path, text(reply(tcp_flags=0), record(tcp_flags=0)))
    assert call(found) == (WEB, DB, 40000, 5432, "TCP", None)
    assert found["signals"] == signals("SERVER_DATA", "CLIENT_DATA", "TRACE")


def test_a_window_without_syn_takes_the_direction_of_the_same_connection(tmp_path):
    found = row(tmp_path, text(record(), reply(), record(tcp_flags=1, start=START + 60, end=START + 90)))
    assert (found["flows"], found["records"], found["direction"]) == (1, 3, "syn")


def test_another_hour_is_another_row(tmp_path):
    found = rows(tmp_path, text(record(), record(start=START + 3600, end=START + 3600)))
    assert [each["hours"] for each in found] == [[HOUR], [HOUR + 1]]


def test_distinct_client_ports_are_distinct_flows(tmp_path):
    found = row(tmp_path, text(record(), record(srcport=40001), record(srcport=40001)))
    assert (found["flows"], found["records"]) == (2, 3)


def test_unanswered_syn_says_nothing_of_the_server(tmp_path):
    found = row(tmp_path, text(record(tcp_flags=2, packets=3)))
    assert found["signals"] == signals("SYN", "TRACE")


def test_refused_connection(tmp_path):
    found = row(tmp_path, text(record(tcp_flags=2, packets=1), reply(tcp_flags=4, packets=1)))
    assert found["signals"] == signals("SYN", "RESET", "TRACE")


def test_half_open_scan_completes_nothing(tmp_path):
    found = row(tmp_path, text(record(tcp_flags=6, packets=2), reply(tcp_flags=18, packets=1)))
    assert found["signals"] == signals("SYN", "SYN_ACK", "TRACE")


def test_reject_is_dropped(tmp_path):
    found = row(tmp_path, text(record(action="REJECT", tcp_flags=2)))
    assert (found["observed_verdict"], found["drop_reason"], found["direction"]) == ("dropped", "REJECT", "syn")


def test_accept_and_reject_of_one_connection_stay_apart(tmp_path):
    found = rows(tmp_path, text(record(tcp_flags=2), reply(action="REJECT", tcp_flags=18)))
    assert sorted((each["observed_verdict"], *call(each)[:2], each["dst_port"]) for each in found) == [
        ("dropped", WEB, DB, 5432),
        ("forwarded", WEB, DB, 5432),
    ]


def test_udp_is_undecided(tmp_path):
    found = row(
        tmp_path, text(record(protocol=17, dstport=53, tcp_flags=0), reply(protocol=17, srcport=53, tcp_flags=0))
    )
    assert call(found) == (WEB, DB, 40000, 53, "UDP", None)
    assert found["signals"] == signals("SERVER_DATA", "CLIENT_DATA", "TRACE")


def test_many_ephemeral_ports_leave_four_rows(tmp_path):
    sent = [record(protocol=17, dstport=53, tcp_flags=0, srcport=port) for port in range(40000, 40100)]
    found = rows(tmp_path, text(*sent))
    assert len(found) == 4
    assert sum(each["flows"] for each in found) == 100
    assert {each["dst_port"] for each in found} == {53}
    assert {each["src_port"] for each in found} == set(range(40000, 40004))


def test_sctp_is_kept_and_protocols_without_ports_are_set_aside(tmp_path):
    others = [record(protocol=number, srcport=0, dstport=0, tcp_flags=0) for number in (1, 58, 47, 50, 2, 4)]
    flows = read_bytes(tmp_path, text(record(protocol=132, tcp_flags=0), *others), name="vpc.log")
    assert [each["protocol"] for each in flows.table.to_pylist()] == ["SCTP"]
    assert asides(flows) == {"CONTROL": 1, "ICMP": 2, "OTHER_PROTOCOL": 4}


def test_fragments_have_no_ports(tmp_path):
    flows = read_bytes(tmp_path, text(record(srcport=0, dstport=0)), name="vpc.log")
    assert asides(flows) == {"CONTROL": 1, "NO_L4": 1}


def test_pod_addresses_come_from_pkt_fields_where_they_are(tmp_path):
    assert call(row(tmp_path, text(record())))[:2] == (WEB, DB)
    found = row(tmp_path, text(record(pkt_srcaddr="-", pkt_dstaddr="-")))
    assert call(found)[:2] == (NODE, DB)


def test_ipv6_is_canonical_and_mapped_ipv4_is_ipv4(tmp_path):
    found = row(tmp_path, text(record(pkt_srcaddr="2001:DB8:0::7", pkt_dstaddr="::ffff:10.0.0.2", type="IPv6")))
    assert call(found)[:2] == ("2001:db8::7", DB)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1", "LOOPBACK"),
        ("224.0.0.1", "MULTICAST"),
        ("255.255.255.255", "MULTICAST"),
        ("fe80::1", "MULTICAST"),
        ("10.0.0", "BAD_FIELD"),
        ("pod", "BAD_FIELD"),
        ("0.0.0.0", "NO_ENDPOINT"),  # noqa: S104 - data, not a socket
    ],
)
def test_addresses_that_are_no_party(tmp_path, address, reason):
    flows = read_bytes(tmp_path, text(record(), record(pkt_dstaddr=address)), name="vpc.log")
    assert asides(flows) == {"CONTROL": 1, reason: 1}
    assert flows.table.num_rows == 1


def test_link_local_ipv4_is_a_party(tmp_path):
    assert call(row(tmp_path, text(record(pkt_dstaddr="169.254.20.10"))))[1] == "169.254.20.10"


# --- records that are no flows ----------------------------------------------------------------------------------------


def empty(status: str) -> dict[str, str]:
    made = dict.fromkeys(V5.split(), "-")
    return made | {
        "version": "5",
        "interface-id": "eni-0c",
        "start": str(START),
        "end": str(START),
        "log-status": status,
    }


def test_nodata_and_skipdata(tmp_path):
    flows = read_bytes(tmp_path, text(empty("NODATA"), empty("SKIPDATA"), empty("SKIPDATA"), record()), name="vpc.log")
    assert asides(flows) == {"CONTROL": 2, "LOST_EVENTS": 2}
    assert flows.ledger.losses == {("eni-0c", HOUR, "SKIPDATA"): 2}
    assert flows.table.num_rows == 1


def test_values_beside_nodata_are_ignored(tmp_path):
    flows = read_bytes(tmp_path, text(record(log_status="NODATA")), name="vpc.log")
    assert asides(flows) == {"CONTROL": 2}


@pytest.mark.parametrize(
    ("fields", "reason", "detail"),
    [
        ({"srcport": 70000}, "BAD_FIELD", "srcport 70000"),
        ({"dstport": "http"}, "BAD_FIELD", "dstport http"),
        ({"dstport": "0x50"}, "BAD_FIELD", "dstport 0x50"),
        ({"dstport": "0X50"}, "BAD_FIELD", "dstport 0X50"),
        ({"start": START * 10**6}, "BAD_FIELD", f"start {START * 10**6}"),
        ({"protocol": 300}, "BAD_FIELD", "protocol 300"),
        ({"protocol": "-"}, "NO_L4", "no protocol"),
        ({"srcport": "-"}, "NO_L4", "no srcport"),
        ({"start": "yesterday"}, "BAD_FIELD", "start yesterday"),
        ({"start": -5}, "BAD_FIELD", "start -5"),
        ({"packets": "many"}, "BAD_FIELD", "packets many"),
        ({"bytes": -1}, "BAD_FIELD", "bytes -1"),
        ({"bytes": 10**18}, "BAD_FIELD", f"bytes {10**18}"),
        ({"tcp_flags": "SYN"}, "BAD_FIELD", "tcp-flags SYN"),
        ({"action": "ALLOW"}, "BAD_FIELD", "action ALLOW"),
        ({"log_status": "GONE"}, "MALFORMED", "log-status GONE"),
        ({"vpc_id": "my vpc"}, "MALFORMED", "21 fields, 20 wanted"),
    ],
)
def test_bad_records_are_named(tmp_path, fields, reason, detail):
    flows = read_bytes(tmp_path, text(record(), record(**fields)), name="vpc.log")
    assert asides(flows) == {"CONTROL": 1, reason: 1}
    assert [place.rpartition("/")[2] for place in flows.ledger.places[Reason[reason]]] == [f"vpc.log:3: {detail}"]


def test_counts_that_nobody_can_have_sent_overflow_nothing(tmp_path):
    most, calls = 2**50, [record(srcport=40000 + i) for i in range(8)]
    huge = [{**call, "bytes": str(most - 1), "packets": str(most)} for call in calls]
    found = row(tmp_path, text(*huge))
    assert (found["bytes"], found["packets"]) == (2**53 - 8, 2**53)
    more = [
        {**call, "bytes": str(most), "packets": str(most)} for call in (record(srcport=50000 + i) for i in range(99))
    ]
    found = row(tmp_path, text(*huge, *more))
    assert (found["bytes"], found["packets"], found["flows"]) == (2**53, 2**53, 107)


def test_counts_that_are_not_there_are_not_zero(tmp_path):
    found = row(tmp_path, text(record(packets="-", bytes="-")))
    assert (found["packets"], found["bytes"]) == (None, None)


def test_no_action_is_no_verdict(tmp_path):
    assert row(tmp_path, text(record(action="-")))["observed_verdict"] == "unknown"


def test_transit_gateway_records_have_no_action(tmp_path):
    header = "version tgw-id srcaddr dstaddr srcport dstport protocol packets bytes packets-lost-no-route start end"
    lines = [
        f"6 tgw-1 {WEB} {DB} 40000 443 6 10 1000 0 {START} {START}",
        f"6 tgw-1 {WEB} {DB} 40001 444 6 0 0 7 {START} {START}",
    ]
    flows = read_bytes(tmp_path, text(*lines, header=header), name="vpc.log")
    assert [(each["dst_port"], each["observed_verdict"]) for each in flows.table.to_pylist()] == [(443, "forwarded")]
    assert asides(flows) == {"CONTROL": 1, "OTHER_DROP": 1}
    # They have no pkt-srcaddr to ask for: their addresses are those of the packets.
    assert not any("pkt-srcaddr" in note for note in flows.notes)


def test_window(tmp_path):
    data = text(record(), record(start=START + 10, end=START + 10), record(start=START + 20, end=START + 20))
    flows = read_bytes(tmp_path, data, name="vpc.log", since=(START + 10) * 10**9, until=(START + 20) * 10**9)
    assert asides(flows) == {"CONTROL": 1, "OUT_OF_WINDOW": 2}
    assert [each["first_seen"].value for each in flows.table.to_pylist()] == [(START + 10) * 10**9]


# --- forms ------------------------------------------------------------------------------------------------------------


def test_header_in_the_middle(tmp_path):
    flows = read_bytes(tmp_path, text(record(), V5, reply()), name="vpc.log")
    assert asides(flows) == {"CONTROL": 2}
    assert [each["records"] for each in flows.table.to_pylist()] == [2]


def test_header_in_the_middle_with_another_order(tmp_path):
    other = (
        "srcport pkt-srcaddr pkt-dstaddr dstport protocol packets bytes start end action log-status tcp-flags version"
    )
    data = text(record()) + text(reply(), "1 2 3", header=other, order=other) + text(record(srcport=40001))
    flows = read_bytes(tmp_path, data, name="vpc.log")
    assert [(call(each)[:4], each["flows"], each["records"]) for each in flows.table.to_pylist()] == [
        ((WEB, DB, None, 5432), 2, 3)
    ]
    assert asides(flows) == {"CONTROL": 3, "MALFORMED": 1}
    assert flows.ledger.places[Reason.MALFORMED][0].endswith("vpc.log:5: 3 fields, 20 wanted")


def test_blanks_tabs_carriage_returns_and_comments(tmp_path):
    lines = text(record(), reply()).decode().splitlines()
    data = f"\ufeff{lines[0]}\r\n\r\n  {lines[1].replace(' ', '  ')}   # comment\r\n{lines[2].replace(' ', chr(9))}\r\n"
    flows = read_bytes(tmp_path, data.encode(), name="vpc.log")
    assert [each["records"] for each in flows.table.to_pylist()] == [2]
    assert asides(flows) == {"CONTROL": 1}


def test_default_format_without_header(tmp_path):
    flows = read_bytes(tmp_path, text(record(), order=V2, header=None), name="vpc.log")
    assert call(flows.table.to_pylist()[0]) == (NODE, DB, 40000, 5432, "TCP", None)
    assert len(flows.notes) == 2
    assert "pods cannot be seen" in flows.notes[0]
    assert "tcp-flags" in flows.notes[1]


def test_full_format_needs_no_note(tmp_path):
    assert read_bytes(tmp_path, text(record()), name="vpc.log").notes == ()


def told(flows: Flows) -> dict[str, str]:
    """What is said of records without addresses of pods, and of those without flags: whose they are."""
    about = {"pkt-srcaddr and pkt-dstaddr": "pods", "tcp-flags": "flags"}
    whose = [note.removeprefix("aws-vpc: ").partition(" without ") for note in flows.notes]
    return {about[what.partition(" (as in")[0].partition(":")[0]]: which for which, _, what in whose}


FULL, PLAIN = text(record(), reply()), text(record(), reply(), header=V2, order=V2)
NO_FLAGS = V5.replace(" tcp-flags", "")


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("data", "whose"),
    [
        (FULL + PLAIN, {"pods": "some records", "flags": "some records"}),
        (PLAIN + FULL, {"pods": "some records", "flags": "some records"}),
        (FULL + PLAIN + FULL, {"pods": "some records", "flags": "some records"}),
        (FULL + text(record(), header=NO_FLAGS, order=NO_FLAGS), {"flags": "some records"}),
        (PLAIN + PLAIN, {"pods": "records", "flags": "records"}),
        (PLAIN + text(record(), header=NO_FLAGS, order=NO_FLAGS), {"pods": "some records", "flags": "records"}),
        (FULL + f"{V2}\n".encode(), {}),
        (f"{V2}\n".encode() + FULL, {}),
        (FULL + f"{V2}\n1 2 3\n".encode(), {}),
    ],
)
def test_records_without_the_addresses_of_pods_are_told_wherever_they_are(tmp_path, data, whose, compressed):
    flows = read_bytes(tmp_path, gzip.compress(data) if compressed else data, name="vpc.log")
    assert told(flows) == whose


def test_records_without_the_addresses_of_pods_deep_in_a_large_file(tmp_path, monkeypatch):
    monkeypatch.setattr(vpc_lines, "BLOCK", 4096)
    monkeypatch.setattr(aws_text, "SMALL", 0)
    full = text(*[record(srcport=port) for port in range(40000, 40400)])
    # Pieces ahead of a header are parsed in the old order, and then once more.
    flows = read_bytes(tmp_path, PLAIN + full + full, name="vpc.log", processes=3)
    assert told(flows) == {"pods": "some records", "flags": "some records"}
    assert told(read_bytes(tmp_path, f"{V2}\n".encode() + full, name="vpc.log", processes=3)) == {}
    assert told(read_bytes(tmp_path, full + PLAIN, name="vpc.log", processes=3)) == {
        "pods": "some records",
        "flags": "some records",
    }


@pytest.mark.parametrize(
    ("files", "whose"),
    [
        ([FULL, PLAIN], "1 of 2 files"),
        ([PLAIN, PLAIN], "2 of 2 files"),
        ([FULL, PLAIN, FULL + PLAIN], "1 of 3 files and some records of 1 more"),
        ([FULL, FULL + PLAIN, FULL], "some records of 1 of 3 files"),
    ],
)
def test_files_without_the_addresses_of_pods_are_counted(tmp_path, files, whose):
    for number, data in enumerate(files):
        (tmp_path / f"{number}.log").write_bytes(data)
    assert told(read_flows([tmp_path], processes=1)) == {"pods": whose, "flags": whose}


def test_objects_without_the_addresses_of_pods_are_told(tmp_path):
    plain, full = (
        "".join(
            json.dumps({name.replace("-", "_"): each[name] for name in order.split()}) + "\n"
            for each in (record(), reply())
        ).encode()
        for order in (V2, V5)
    )
    assert told(read_bytes(tmp_path, plain, name="vpc.log")) == {"pods": "records", "flags": "records"}
    assert told(read_bytes(tmp_path, full, name="vpc.log")) == {}
    assert told(read_bytes(tmp_path, full + plain, name="vpc.log")) == {"pods": "some records"}
    # Where nulls are left out, a record without data has no address at all.
    empty = b'{"version": 5, "interface_id": "eni-0a", "log_status": "NODATA", "start": 1714979289}\n'
    assert told(read_bytes(tmp_path, full + empty, name="vpc.log")) == {}


@pytest.mark.parametrize("order", [V5, V5.replace("-", "_"), " ".join(f"${{{name}}}" for name in V5.split())])
def test_headerless_with_the_order_given(tmp_path, order):
    data = text(record(), reply(), header=None)
    assert call(row(tmp_path, data, aws_format=order)) == (WEB, DB, None, 5432, "TCP", "syn")


@pytest.mark.parametrize("source", ["auto", "aws-vpc"])
def test_lines_that_cloudwatch_exported_to_s3_in_an_order_of_their_own(tmp_path, source):
    lines = text(record(), reply(), header=None).decode().splitlines()
    stamped = "".join(f"2023-11-14T22:14:{n:02}.000Z {line}\n" for n, line in enumerate(lines)).encode()
    assert call(row(tmp_path, stamped, aws_format=V5, source=source)) == (WEB, DB, None, 5432, "TCP", "syn")
    # A time is no field of a record: where the count is another, the line is none.
    with pytest.raises(NotAFlowLogError):
        read_bytes(tmp_path, stamped.replace(b"Z ", b"Z - "), name="vpc.log", aws_format=V5)


def test_headerless_without_the_order_is_refused_with_advice(tmp_path):
    with pytest.raises(NotAFlowLogError, match="--aws-format"):
        read_bytes(tmp_path, text(record(), header=None), name="vpc.log", source="aws-vpc")


@pytest.mark.parametrize("order", ["version nonsense", "version srcaddr", "srcaddr dstaddr srcaddr"])
def test_bad_order(tmp_path, order):
    with pytest.raises(OptionError, match="--aws-format"):
        read_bytes(tmp_path, text(record(), header=None), name="vpc.log", aws_format=order, source="aws-vpc")


LINES = text(record(), reply(), header=None).decode().splitlines()
DEFAULTS = text(record(), reply(), header=None, order=V2).decode().splitlines()


BAD = ["2 123456789012 eni-0a 10.0.0.1", "5 x eni-0a - AMAZON CLOUDFRONT 1 2", "\x1b[31m"]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("source", ["auto", "aws-vpc"])
@pytest.mark.parametrize("comma", [False, True])
def test_a_headerless_file_may_begin_with_a_damaged_line(tmp_path, bad, source, comma):
    for lines, options in ((DEFAULTS, {}), (LINES, {"aws_format": V5})):
        data = "\n".join([bad, *lines, ""]).replace(" " if comma else "\n", "," if comma else "\n").encode()
        flows = read_bytes(tmp_path, data, name="vpc.log", source=source, **options)
        assert flows.table.column("records").to_pylist() == [2]
        assert asides(flows) == {"MALFORMED": 1}


def test_a_file_without_any_whole_line_is_refused(tmp_path):
    for options in ({}, {"aws_format": V5}):
        with pytest.raises(NotAFlowLogError):
            read_bytes(tmp_path, "\n".join(BAD).encode(), name="vpc.log", **options)


def envelope(lines: list[str], kind: str = "DATA_MESSAGE") -> dict[str, object]:
    events = [{"id": str(i), "timestamp": START * 1000, "message": line} for i, line in enumerate(lines)]
    return {"messageType": kind, "owner": "1", "logGroup": "g", "subscriptionFilters": ["f"], "logEvents": events}


CONTROL = envelope(["CWL CONTROL MESSAGE: Checking health of destination Firehose."], "CONTROL_MESSAGE")


def insights(lines: list[str], *stream: str) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["@timestamp", *(["@logStream"] if stream else []), "@message"])
    writer.writerows(["2024-05-06 07:08:09.000", *stream[:1], line] for line in lines)
    return out.getvalue()


def results(lines: list[str]) -> dict[str, object]:
    """As `aws logs get-query-results` has them."""
    found = [
        [{"field": "@timestamp", "value": "x"}, {"field": "@message", "value": m}, {"field": "@ptr", "value": "Q"}]
        for m in lines
    ]
    statistics = {"recordsMatched": 2.0, "recordsScanned": 2.0, "bytesScanned": 300.0}
    return {"queryLanguage": "CWLI", "results": found, "statistics": statistics, "status": "Complete"}


WRAPPED = {
    "message lines": lambda lines: "\n".join(json.dumps({"message": line, "@version": "1"}) for line in lines),
    "log lines": lambda lines: "\n".join(json.dumps({"log": line, "stream": "x"}) for line in lines),
    "subscription": lambda lines: json.dumps(envelope(lines)),
    "subscriptions": lambda lines: "\n".join(json.dumps(e) for e in (CONTROL, *(envelope([line]) for line in lines))),
    "subscriptions of Firehose": lambda lines: "".join(
        json.dumps(e) for e in (CONTROL, *(envelope([line]) for line in lines))
    ),
    "subscription, pretty": lambda lines: json.dumps(envelope(lines), indent=2),
    "get-log-events": lambda lines: json.dumps(
        {"events": [{"timestamp": 1, "message": line} for line in lines], "nextForwardToken": "f/1"}, indent=4
    ),
    "filter-log-events": lambda lines: json.dumps(
        {"events": [{"message": line} for line in lines], "searchedLogStreams": []}, indent=4
    ),
    "array": lambda lines: json.dumps([{"message": line} for line in lines]),
    "insights, CSV": insights,
    "insights, CSV with a log stream": lambda lines: insights(lines, "eni-0a-all"),
    "insights, JSON": lambda lines: json.dumps(
        [{"@timestamp": "2024-05-06 07:08:09.000", "@message": m} for m in lines]
    ),
    "insights, get-query-results": lambda lines: json.dumps(results(lines), indent=4),
    "insights, get-query-results on one line": lambda lines: json.dumps(results(lines)),
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED.keys())
def test_cloudwatch(tmp_path, wrap):
    data = wrap(LINES).encode()
    flows = read_bytes(tmp_path, data, name="vpc.log", aws_format=V5)
    assert [(call(each), each["records"]) for each in flows.table.to_pylist()] == [
        ((WEB, DB, None, 5432, "TCP", "syn"), 2)
    ]
    assert set(asides(flows)) <= {"CONTROL"}
    default = read_bytes(tmp_path, wrap(DEFAULTS).encode(), name="vpc.log")
    assert [each["records"] for each in default.table.to_pylist()] == [2]


OTHER_ORDER = " ".join(sorted(V5.split()))
NARROW = "version srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status tcp-flags"


@pytest.mark.parametrize("wrap", [k for k in WRAPPED if "message lines" in k or "subscription" in k or k == "array"])
def test_an_order_of_fields_lasts_until_the_next_header(tmp_path, wrap):
    """As in text, where another file was put behind the first."""
    first, second = [record(srcport=40001), record(srcport=40002)], [record(srcport=40003), record(srcport=40004)]
    parts = [(V5, first), (OTHER_ORDER, second), (NARROW, [record(srcport=40005)]), (V5, [record(srcport=40006)])]
    whole = b"".join(text(*records, header=order, order=order) for order, records in parts)
    wanted = read_bytes(tmp_path, whole, name="plain.log")
    flows = read_bytes(tmp_path, WRAPPED[wrap](whole.decode().splitlines()).encode(), name="wrapped.json")
    assert wanted.table.column("src_ip").to_pylist() == [WEB, "10.0.9.9"]
    said = [{k: v for k, v in each.items() if k != "sample"} for each in wanted.table.to_pylist()]
    assert [{k: v for k, v in each.items() if k != "sample"} for each in flows.table.to_pylist()] == said
    controls = wrap.startswith("subscriptions")
    assert asides(flows) == {"CONTROL": 4 + controls}
    again = tmp_path / "again.json"
    again.write_bytes((tmp_path / "wrapped.json").read_bytes())
    both = read_flows([tmp_path / "wrapped.json", again])
    assert [each["records"] for each in both.table.to_pylist()] == [2 * each["records"] for each in said]


def test_too_many_orders_of_fields_are_an_error(tmp_path):
    names = V5.split()
    orders = [" ".join([*names[i:], *names[:i]]) for i in range(len(names))]
    orders += [" ".join([*names[i:], *names[:i]][::-1]) for i in range(len(names))]
    orders += [" ".join([names[1], names[0], *names[2:][i:], *names[2:][:i]]) for i in range(len(names))]
    orders += [" ".join([names[2], names[0], names[1], *names[3:][i:], *names[3:][:i]]) for i in range(len(names))]
    lines = [
        line
        for order in dict.fromkeys(orders)
        for line in text(record(), header=order, order=order).decode().splitlines()
    ]
    data = "\n".join(json.dumps({"message": line}) for line in lines).encode()
    with pytest.raises(InputError, match="more than 64 orders"):
        read_bytes(tmp_path, data, name="vpc.json")


def test_bad_results_of_insights_are_named(tmp_path):
    good, bad = DEFAULTS[0], DEFAULTS[1].replace(" 6 ", " six ")
    data = insights([good, "a, b", bad]) + "2024-05-06 07:08:09.000\n\n" + insights([good])
    flows = read_bytes(tmp_path, data.encode(), name="results.csv")
    assert flows.table.column("records").to_pylist() == [2]
    assert asides(flows) == {"CONTROL": 2, "MALFORMED": 2, "BAD_FIELD": 1}
    places = [place for reason in (Reason.MALFORMED, Reason.BAD_FIELD) for place in flows.ledger.places[reason]]
    assert [place.rpartition("/")[2].partition(";")[0] for place in places] == [
        "results.csv:3: 2 fields, 14 wanted",
        "results.csv:5: 2 fields, 14 wanted",
        "results.csv:4: protocol six",
    ]


def test_results_of_insights_in_an_unknown_order_are_refused_with_advice(tmp_path):
    with pytest.raises(NotAFlowLogError, match="CloudWatch export; for AWS flow logs give the order"):
        read_bytes(tmp_path, insights(LINES).encode(), name="results.csv")


@pytest.mark.parametrize("name", ["logEvents", "events"])
def test_events_without_a_message_are_counted(tmp_path, name):
    events = [{"message": DEFAULTS[0]}, {"id": "2"}, {"message": None}, {"message": DEFAULTS[1]}, 7]
    flows = read_bytes(tmp_path, json.dumps({"messageType": "DATA_MESSAGE", name: events}).encode(), name="vpc.json")
    assert (flows.ledger.read, flows.table.column("records").to_pylist()) == (5, [2])
    assert sum(asides(flows).values()) == 3


def test_members_that_are_no_texts_are_no_records(tmp_path):
    """As Filebeat writes: where a line is from stands in `log`."""
    made = [
        {"log": {"offset": i, "file": {"path": "/x"}}, "@message": None, "message": m} for i, m in enumerate(DEFAULTS)
    ]
    flows = read_bytes(tmp_path, "\n".join(map(json.dumps, made)).encode(), name="vpc.json")
    assert (flows.table.column("records").to_pylist(), asides(flows), flows.ledger.read) == ([2], {}, 2)


def test_cloudwatch_export_to_s3_puts_a_time_before_each_line(tmp_path):
    data = "\n".join(f"2024-05-06T07:08:09.000Z {line}" for line in DEFAULTS).encode()
    assert [each["records"] for each in rows(tmp_path, data)] == [2]


def exported(kind: str, hyphens: bool = False) -> bytes:
    made = [
        {name if hyphens else name.replace("-", "_"): value for name, value in each.items()}
        for each in (record(), reply())
    ]
    made[1]["tcp_flags" if not hyphens else "tcp-flags"] = "19"
    if kind == "jsonl":
        return "\n".join(json.dumps(each) for each in made).encode()
    if kind == "array":
        return json.dumps(made, indent=1).encode()
    if kind == "numbers":
        numbers = ("srcport", "dstport", "protocol", "packets", "bytes", "start", "end", "tcp_flags")
        for each in made:
            each.update({name: float(each[name]) for name in numbers})
        return "\n".join(json.dumps(each) for each in made).encode()
    out = io.StringIO()
    quoting = csv.QUOTE_ALL if kind == "athena" else csv.QUOTE_MINIMAL
    writer = csv.DictWriter(out, list(made[0]), quoting=quoting)
    writer.writeheader()
    writer.writerows(made)
    return out.getvalue().encode()


@pytest.mark.parametrize("hyphens", [False, True])
@pytest.mark.parametrize("kind", ["jsonl", "array", "csv", "athena"])
def test_exports_of_tables(tmp_path, kind, hyphens):
    found = row(tmp_path, exported(kind, hyphens))
    assert (call(found), found["records"], found["bytes"]) == ((WEB, DB, None, 5432, "TCP", "syn"), 2, 2000)


def test_numbers_as_floats(tmp_path):
    found = row(tmp_path, exported("numbers"))
    assert (call(found), found["packets"]) == ((WEB, DB, None, 5432, "TCP", "syn"), 20)


ODD = {
    "srcport": "8080.5",
    "dstport": "80_80",
    "protocol": "16.6",
    "packets": "1_0",
    "bytes": "1e3",
    "start": f"{START}.7",
    "end": f"{START}.7",
    "tcp-flags": "2.5",
}


def parquet_of_texts(records: list[dict[str, str]]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([{k.replace("-", "_"): v for k, v in each.items()} for each in records]), out)
    return out.getvalue()


def parquet_of_fractions(records: list[dict[str, str]]) -> bytes:
    """As a data frame with gaps has its numbers."""
    numbers = (*ODD,)
    out = io.BytesIO()
    made = [
        {k.replace("-", "_"): float(v) if k in numbers else v for k, v in each.items() if k != "version"}
        for each in records
    ]
    pq.write_table(pa.Table.from_pylist(made), out)
    return out.getvalue()


WRITTEN = {
    "text": lambda records: text(*records),
    "messages": lambda records: "\n".join(
        json.dumps({"message": line}) for line in text(*records, header=None).decode().splitlines()
    ).encode(),
    "objects": lambda records: "\n".join(
        json.dumps({k.replace("-", "_"): v for k, v in each.items()}) for each in records
    ).encode(),
    "Parquet": parquet_of_texts,
}


@pytest.mark.parametrize(("name", "word"), ODD.items(), ids=ODD.keys())
@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN.keys())
def test_what_is_no_whole_number_is_named_and_not_rounded(tmp_path, written, name, word):
    data = written([record(), {**record(), name: word}])
    flows = read_bytes(tmp_path, data, name="vpc.log", aws_format=V5)
    assert [each["records"] for each in flows.table.to_pylist()] == [1]
    assert [place.partition(": ")[2] for place in flows.ledger.places[Reason.BAD_FIELD]] == [f"{name} {word}"]


@pytest.mark.parametrize(("name", "word"), [("srcport", "8080.5"), ("protocol", "16.6"), ("end", f"{START}.5")])
def test_fractions_of_columns_are_named_and_not_rounded(tmp_path, name, word):
    flows = read_bytes(tmp_path, parquet_of_fractions([record(), {**record(), name: word}]), name="vpc.parquet")
    assert [(call(each), each["records"]) for each in flows.table.to_pylist()] == [
        ((WEB, DB, None, 5432, "TCP", "syn"), 1)
    ]
    assert [place.partition(": ")[2] for place in flows.ledger.places[Reason.BAD_FIELD]] == [f"{name} {word}"]


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN.keys())
def test_whole_numbers_with_a_fraction_of_zeros_are_numbers(tmp_path, written):
    whole = {name: f"{record()[name]}.0" for name in ODD}
    flows = read_bytes(tmp_path, written([{**record(), **whole}]), name="vpc.log", aws_format=V5)
    assert [(call(each), each["packets"]) for each in flows.table.to_pylist()] == [
        ((WEB, DB, None, 5432, "TCP", "syn"), 10)
    ]


def test_null_and_missing_members(tmp_path):
    first = json.loads(exported("jsonl").splitlines()[0])
    second = {name: value for name, value in first.items() if not name.startswith("pkt")} | {
        "srcaddr": WEB,
        "bytes": None,
    }
    assert [each["records"] for each in rows(tmp_path, "\n".join(map(json.dumps, (first, second))).encode())] == [2]


def test_a_comma_in_a_quoted_value(tmp_path):
    data = exported("athena").replace(b'"vpc-1"', b'"a, b"')
    assert [each["records"] for each in rows(tmp_path, data)] == [2]


def arrow(records: list[dict[str, str]], **change: pa.DataType) -> pa.Table:
    kinds = dict.fromkeys(("version", "srcport", "dstport", "protocol", "tcp-flags"), pa.int32())
    kinds |= dict.fromkeys(("packets", "bytes", "start", "end"), pa.int64()) | change
    columns = {}
    for name in V5.split():
        values = [each[name] for each in records]
        kind = kinds.get(name, pa.string())
        plain = [None if v == "-" else int(v) if pa.types.is_integer(kind) else v for v in values]
        columns[name.replace("-", "_")] = pa.array(plain, kind)
    return pa.table(columns)


def parquet(path: Path, records: list[dict[str, str]], **change: pa.DataType) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(arrow(records, **change), path)


def test_hive_partitioned_parquet(tmp_path):
    day = tmp_path / "aws-account-id=1/aws-service=vpcflowlogs/aws-region=eu-west-1/year=2024/month=05/day=06"
    parquet(day / "a.log.parquet", [record(), record(protocol="1", srcport="0", dstport="0"), empty("NODATA")])
    parquet(day / "it's [b].log.parquet", [reply(), record(srcport="70000"), empty("SKIPDATA")])
    flows = read_flows([tmp_path])
    assert [(call(each), each["records"]) for each in flows.table.to_pylist()] == [
        ((WEB, DB, None, 5432, "TCP", "syn"), 2)
    ]
    assert asides(flows) == {"ICMP": 1, "CONTROL": 1, "BAD_FIELD": 1, "LOST_EVENTS": 1}
    assert flows.ledger.places[Reason.BAD_FIELD][0].endswith("it's [b].log.parquet:2: srcport 70000")
    assert flows.ledger.places[Reason.ICMP][0].endswith("a.log.parquet:2")
    assert list(flows.ledger.files.values()) == [3, 3]
    assert flows.table.column("sample")[0].as_py().endswith("a.log.parquet:1")


def test_the_first_places_of_what_is_set_aside_are_told_for_parquet_too(tmp_path):
    icmp = record(protocol="1", srcport="0", dstport="0")
    parquet(tmp_path / "a.parquet", [record(), icmp, icmp, record(), *[icmp] * 9])
    parquet(tmp_path / "b.parquet", [icmp, empty("NODATA")])
    flows = read_flows([tmp_path / "a.parquet", tmp_path / "b.parquet"])
    assert flows.ledger.set_aside == {Reason.ICMP: 12, Reason.CONTROL: 1}
    assert [p.rpartition(":")[2] for p in flows.ledger.places[Reason.ICMP]] == ["2", "3", "5", "6", "7"]
    assert [p.rpartition("/")[2] for p in flows.ledger.places[Reason.CONTROL]] == ["b.parquet:2"]


def test_places_are_in_their_file_where_the_engine_reads_only_some(tmp_path):
    # The engine would take the name in the middle for a pattern, so it is read another way.
    for name, bad in (("a", "1"), ("b[1]", "2"), ("c", "1")):
        parquet(tmp_path / f"{name}.parquet", [record()] * int(bad) + [record(protocol="1", srcport="0", dstport="0")])
    flows = read_flows([tmp_path])
    places = [place.rpartition("/")[2] for place in flows.ledger.places[Reason.ICMP]]
    assert places == ["a.parquet:2", "b[1].parquet:3", "c.parquet:2"]


def test_a_parquet_file_that_changed_is_told_anew(tmp_path):
    path = tmp_path / "a.parquet"
    parquet(path, [record()])
    padding = pa.array([random.Random(1).randbytes(100_000)])
    pq.write_table(pq.read_table(path).append_column("padding", padding), path)
    data, status = path.read_bytes(), path.stat()
    assert read_flows([path]).ledger.read == 1
    # Other columns, in a file of the same name, number, size, time and beginning.
    path.write_bytes(data.replace(b"dstaddr", b"dstaddx"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(NotAFlowLogError, match="not a flow log that can be read"):
        read_flows([path])
    path.write_bytes(data)
    assert read_flows([path]).ledger.read == 1


def test_the_end_of_a_parquet_file_is_its_footer(tmp_path):
    def told(data):
        (tmp_path / "a").write_bytes(data)
        return vpc_lines.footer(b"head", str(tmp_path / "a"))

    body, names, most = b"PAR1" + b"\n" * 70_000, b"srcADDR", 64 * 1024
    whole = body + names + len(names).to_bytes(4, "little") + b"PAR1"
    assert told(whole) == b"srcaddr\x07\0\0\0par1"
    assert told(whole[:-1]) == whole[:-1][-most:].lower()
    assert told(body + b"\xff\xff\xff\x7fPAR1") == body[8 - most :] + b"\xff\xff\xff\x7fpar1"
    kept = names + b"\n" * 70_000
    size = len(kept).to_bytes(4, "little")
    assert told(body + kept + size + b"PAR1") == (kept[: most - 8] + size + b"PAR1").lower()
    assert [told(short) for short in (b"", b"PAR1", b"xPAR1", b"PAR1\0\0\0\0PAR1")] == [
        b"",
        b"par1",
        b"xpar1",
        b"\0\0\0\0par1",
    ]
    assert vpc_lines.footer(b"head", str(tmp_path)) == vpc_lines.footer(b"head", str(tmp_path / "b")) == b"head"


def test_parquet_from_standard_input(tmp_path):
    parquet(tmp_path / "a.parquet", [record()])
    flows = read_flows(["-"], stdin=io.BytesIO((tmp_path / "a.parquet").read_bytes()))
    assert [call(each)[:2] for each in flows.table.to_pylist()] == [(WEB, DB)]


def test_many_small_files(tmp_path):
    for number in range(20):
        lines = text(record(srcport=40000 + number), reply(dstport=40000 + number))
        (tmp_path / f"1_vpcflowlogs_{number:02}.log.gz").write_bytes(gzip.compress(lines))
    flows = read_flows([tmp_path])
    assert [(each["flows"], each["records"]) for each in flows.table.to_pylist()] == [(20, 40)]
    assert set(flows.ledger.files.values()) == {3}


def test_two_orders_in_two_files(tmp_path):
    other = " ".join(reversed(V5.split()))
    (tmp_path / "a.log").write_bytes(text(record()))
    (tmp_path / "b.log").write_bytes(text(reply(), header=other, order=other))
    (tmp_path / "c.json").write_bytes(exported("jsonl"))
    flows = read_flows([tmp_path])
    assert [(each["flows"], each["records"]) for each in flows.table.to_pylist()] == [(1, 4)]


def test_damaged_file_keeps_what_came_before(tmp_path):
    data = gzip.compress(text(*[record(srcport=port) for port in range(32768, 42768)]))
    flows = read_bytes(tmp_path, data[: len(data) // 2], name="vpc.log.gz")
    assert asides(flows)["MALFORMED"] == 1
    assert flows.table.num_rows == 1
    assert flows.table.column("flows")[0].as_py() > 100


def test_order_of_records_and_files_leaves_no_trace(tmp_path):
    made = [record(srcport=40000 + i, start=START + i, end=START + i) for i in range(50)]
    made += [record(protocol=17, dstport=53, tcp_flags=0, srcport=40000 + i) for i in range(50)]
    tables = []
    for name, records in (("a", made), ("b", made[::-1])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.log").write_bytes(text(*records[:40]))
        (tmp_path / name / "y.log").write_bytes(text(*records[40:]))
        tables.append(read_flows([tmp_path / name]).table.drop_columns(["sample"]))
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize("size", [3, 700, 9000])
def test_envelopes_without_a_line_between_them(tmp_path, size):
    """A head of 64 KiB and a block of 1 MiB may end in the first of them."""
    data = "".join(json.dumps(envelope([DEFAULTS[0]] * count)) for count in (size, 2, 1)).encode()
    flows = read_bytes(tmp_path, data, name="vpc.log")
    assert flows.ledger.read == size + 3
    assert flows.table.column("records").to_pylist() == [size + 3]


def test_published_records(tmp_path):
    """Records from the test data of the OpenTelemetry collector (Apache-2.0)."""
    ecs = (
        f"{V2} ecs-cluster-arn ecs-cluster-name ecs-service-name\n5 123456789012 eni-0abc1234def567890 10.0.1.100 "
        "10.0.2.200 49152 22 6 15 3500 1700000000 1700000060 ACCEPT OK arn:aws:ecs:us-east-1:1:cluster/c c my-service\n"
    )
    assert call(row(tmp_path, ecs.encode())) == ("10.0.1.100", "10.0.2.200", 49152, 22, "TCP", None)
    nothing = f"{V2}\n2 12345678910 eni-0eb1e4178af74336c - - - - - - - 1742570089 1742570142 - NODATA\n"
    assert asides(read_bytes(tmp_path, nothing.encode(), name="vpc.log")) == {"CONTROL": 2}
    four = json.dumps(envelope(["2 eni-1235b8ca123456789 172.31.16.139 172.31.16.21"])).encode()
    flows = read_bytes(tmp_path, four, name="vpc.log", aws_format="version interface-id srcaddr dstaddr")
    assert flows.ledger.places[Reason.BAD_FIELD][0].endswith("no start: the time of these records is not known")


OTHER = "srcport pkt-srcaddr pkt-dstaddr dstport protocol packets bytes start end action log-status tcp-flags version"


@pytest.mark.parametrize("packed", [False, True])
def test_large_files_are_read_in_blocks(tmp_path, packed):
    """Several blocks, one with a bad value, and from the middle on another order of fields."""
    count = 30_000
    records = [record(srcport=32768 + i % 28000, start=START + i // 28000) for i in range(count)]
    records[5000]["dstport"] = "x"
    data = text(*records[: count // 2]) + text(*records[count // 2 :], header=OTHER, order=OTHER)
    assert len(data) > 2 * 2**20
    if packed:
        data = gzip.compress(data, 0)
    flows = read_bytes(tmp_path, data, name="vpc.log")
    assert asides(flows) == {"CONTROL": 2, "BAD_FIELD": 1}
    assert [place.rpartition("/")[2] for place in flows.ledger.places[Reason.BAD_FIELD]] == ["vpc.log:5002: dstport x"]
    assert [place.rpartition("/")[2] for place in flows.ledger.places[Reason.CONTROL]] == [
        "vpc.log:1: header",
        f"vpc.log:{count // 2 + 2}: header",
    ]
    (found,) = flows.table.to_pylist()
    assert (call(found), found["records"], found["flows"]) == ((WEB, DB, None, 5432, "TCP", "syn"), count - 1, 27_999)


def test_a_small_file_of_several_members(tmp_path):
    whole = text(record(), reply()).splitlines(keepends=True)
    data = b"".join(gzip.compress(line) for line in whole) + b"\0" * 100
    assert [each["records"] for each in rows(tmp_path, data)] == [2]


def test_a_line_that_is_too_long(tmp_path):
    data = text(record()) + b"5 " + b"x" * (17 * 2**20) + b"\n" + text(reply(), header=None)
    flows = read_bytes(tmp_path, data, name="vpc.log")
    assert asides(flows) == {"CONTROL": 1, "TOO_LONG": 1}
    assert [each["records"] for each in flows.table.to_pylist()] == [2]
