"""AWS flow logs as OCSF events come to the same table as the records that they were made of."""

from __future__ import annotations

import contextlib
import json
import tempfile
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpol_gen.errors import InputError, NotAFlowLogError
from netpol_gen.flowtable import Flows, Reason
from netpol_gen.handovers import Handovers
from netpol_gen.readers import aws_ocsf, read_flows
from tests.readers.making import asides
from tests.readers.test_aws import DB, START, WEB, record, reply, text

VERSIONS = ("1.0.0-rc.2", "1.1.0", "1.5.0")
OTHER = {"interface_id": "eni-0b"}
NODATA = {
    name: "-"
    for name in record()
    if name not in ("version", "account-id", "interface-id", "start", "end", "log-status")
}
RECORDS = [
    record(),
    reply(),
    record(flow_direction="ingress", **OTHER),
    reply(flow_direction="egress", **OTHER),
    record(srcport=40001, action="REJECT", tcp_flags=2, packets=1),
    record(srcport=40002, protocol=17, dstport=53, tcp_flags=0),
    record(protocol=1, srcport=0, dstport=0, tcp_flags=0),
    record(protocol=47, srcport=0, dstport=0, tcp_flags=0),
    record() | NODATA | {"log-status": "NODATA"},
    record() | NODATA | {"log-status": "SKIPDATA"},
    record(pkt_srcaddr="fd00::7", pkt_dstaddr="fd00::8", srcaddr="fd00::7", dstaddr="fd00::8", type="IPv6"),
    record(srcport=70000),
    record(start=START + 7200, end=START + 7260, srcport=40009),
]


def _number(word: str) -> int | None:
    return None if word == "-" else int(word)


def event(of: dict[str, str], version: str = "1.5.0") -> dict[str, Any]:
    """The event that Security Lake makes of a record, as its mappings say."""
    ends = {}
    for end in ("src", "dst"):
        packet, interface = of[f"pkt-{end}addr"], of[f"{end}addr"]
        ends[end] = {
            "ip": packet if packet != "-" else None,
            "port": _number(of[f"{end}port"]),
            "svc_name": "-",
            "intermediate_ips": [interface] if packet != interface else None,
        }
    mine = "src" if of["flow-direction"] != "ingress" else "dst"
    ends[mine] |= {"interface_uid": of["interface-id"], "vpc_uid": "vpc-1"}
    refused = of["action"] == "REJECT"
    direction = {"egress": "Outbound", "ingress": "Inbound"}.get(of["flow-direction"], "Unknown")
    info = {"direction": direction, "protocol_num": _number(of["protocol"]), "protocol_ver": of["type"]}
    seconds = {name: int(of[name]) for name in ("start", "end")}
    made: dict[str, Any] = {
        "activity_id": 5 if refused else 6,
        "class_name": "Network Activity",
        "class_uid": 4001,
        "connection_info": info | {"tcp_flags": _number(of["tcp-flags"])},
        "disposition": None if of["action"] == "-" else "Blocked" if refused else "Allowed",
        "dst_endpoint": ends["dst"],
        "metadata": {"product": {"name": "Amazon VPC", "feature": {"name": "Flowlogs"}}, "version": version},
        "src_endpoint": ends["src"],
        "status_code": of["log-status"],
        "time": seconds["start"] * 1000,
        "traffic": {"bytes": _number(of["bytes"]), "packets": _number(of["packets"])},
    }
    if version.startswith("1.0"):
        return made | {f"{name}_time": when * 1000 for name, when in seconds.items()}
    dates = {
        f"{name}_time_dt": f"{datetime.fromtimestamp(when, UTC):%Y-%m-%d %H:%M:%S}+00:00"
        for name, when in seconds.items()
    }
    return made | dates | {"action": None if of["action"] == "-" else "Denied" if refused else "Allowed"}


def written(path: Path, events: list[dict[str, Any]], kind: str) -> Path:
    if kind == "lines":
        path.write_text("".join(f"{json.dumps(each)}\n" for each in events))
    elif kind == "documents":
        path.write_text("\n".join(json.dumps(each, indent=4) for each in events))
    elif kind == "array":
        path.write_text(json.dumps(events, indent=1))
    else:
        table = pa.Table.from_pylist(events)
        if kind == "timestamps":
            for name in ("start_time_dt", "end_time_dt"):
                if name in table.column_names:
                    times = [datetime.fromisoformat(each[name]) for each in events]
                    at = table.column_names.index(name)
                    table = table.set_column(at, name, pa.array(times, pa.timestamp("us", tz="UTC")))
        pq.write_table(table, path)
    return path


def retyped(table: pa.Table, path: str, kind: pa.DataType) -> pa.Table:
    """The same with a member of another type."""
    name, _, inner = path.partition(".")
    at = table.column_names.index(name)
    column = table.column(name).combine_chunks()
    if inner:
        parts = {f.name: column.field(i) for i, f in enumerate(column.type)}
        parts[inner] = parts[inner].cast(kind)
        column = pa.StructArray.from_arrays(list(parts.values()), names=list(parts))
    return table.set_column(at, name, column if inner else column.cast(kind))


def told(flows: Flows) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "sample"} for row in flows.table.to_pylist()]


@pytest.mark.parametrize("kind", ["lines", "documents", "array", "parquet", "timestamps"])
@pytest.mark.parametrize("version", VERSIONS)
def test_events_say_what_the_records_said(tmp_path, kind, version):
    plain = tmp_path / "vpc.log"
    plain.write_bytes(text(*RECORDS))
    wanted = read_flows([plain])
    path = written(tmp_path / "lake", [event(each, version) for each in RECORDS], kind)
    flows = read_flows([path])
    assert told(flows) == told(wanted)
    # The header of the text is a record of its own.
    assert asides(flows) | {"CONTROL": asides(flows)["CONTROL"] + 1} == asides(wanted)
    assert flows.ledger.losses == wanted.ledger.losses
    assert flows.ledger.read == len(RECORDS)
    assert list(flows.sources) == ["aws-vpc"]
    assert flows.notes == ()
    assert {row["src_ip"] for row in told(flows)} == {WEB, "fd00::7"}
    bad = flows.ledger.places[Reason.BAD_FIELD]
    assert [place.rpartition(": ")[2] for place in bad] == ["srcport 70000"]


def test_security_lake_s_partitions_of_one_day(tmp_path):
    day = tmp_path / "aws/VPC_FLOW/2.0/region=eu-west-1/accountId=123456789012/eventDay=20240506"
    day.mkdir(parents=True)
    written(day / "a.gz.parquet", [event(record())], "parquet")
    # Nothing that is null in a whole file need have a type.
    written(day / "b.gz.parquet", [event(reply())], "timestamps")
    change = Handovers.of({WEB: [(START + 600) * 10**9]})
    for handovers in (None, change):
        flows = read_flows([tmp_path], handovers=handovers)
        rows = [(r["src_ip"], r["dst_ip"], r["dst_port"], r["flows"], r["records"], r["replies"]) for r in told(flows)]
        assert rows == [(WEB, DB, 5432, 1, 2, 1)]


@pytest.mark.parametrize("kind", ["lines", "parquet"])
def test_events_of_other_classes_and_products_are_set_aside(tmp_path, kind):
    foreign = event(record(srcport=40001))
    foreign["metadata"]["product"]["name"] = "Zeek \x1b[31m"
    findings = event(record(srcport=40002)) | {"class_uid": 2004}
    flows = read_flows([written(tmp_path / "lake", [event(record()), foreign, findings], kind)])
    assert (flows.table.num_rows, asides(flows)) == (1, {"NOT_A_FLOW": 2})
    places = [place.partition(": ")[2] for place in flows.ledger.places[Reason.NOT_A_FLOW]]
    assert places[1] == "an event of class 2004, product Amazon VPC"
    assert places[0].startswith("an event of class 4001, product Zeek ")
    assert "\x1b" not in places[0]


@pytest.mark.parametrize("kind", ["lines", "parquet"])
def test_events_of_other_products_alone_are_no_flow_log(tmp_path, kind):
    foreign = event(record())
    foreign["metadata"]["product"]["name"] = "Zeek"
    path = written(tmp_path / "lake", [foreign], kind)
    if kind == "parquet":
        assert asides(read_flows([path])) == {"NOT_A_FLOW": 1}
    else:
        with pytest.raises(NotAFlowLogError):
            read_flows([path])


@pytest.mark.parametrize(
    ("change", "reason", "detail"),
    [
        ({"action": "Quarantined", "disposition": None}, "BAD_FIELD", "action Quarantined"),
        ({"start_time_dt": None, "time": None}, "BAD_FIELD", "start missing"),
        ({"start_time_dt": "yesterday", "time": "today"}, "BAD_FIELD", "start today"),
        ({"status_code": "GONE"}, "MALFORMED", "log-status GONE"),
        ({"traffic": {"bytes": -1, "packets": 2}}, "BAD_FIELD", "bytes -1"),
        ({"connection_info": None}, "NO_L4", "no protocol"),
    ],
)
def test_bad_events_are_named(tmp_path, change, reason, detail):
    flows = read_flows([written(tmp_path / "lake", [event(record()), event(record(srcport=40001)) | change], "lines")])
    assert asides(flows) == {reason: 1}
    assert [place.rpartition("/")[2] for place in flows.ledger.places[Reason[reason]]] == [f"lake:2: {detail}"]


def test_a_member_that_says_nothing_leaves_it_to_the_next(tmp_path):
    told_by_disposition = event(record()) | {"action": "Unknown", "disposition": "Blocked"}
    (row,) = told(read_flows([written(tmp_path / "lake", [told_by_disposition], "lines")]))
    assert row["observed_verdict"] == "dropped"


@pytest.mark.parametrize(
    ("kept", "verdict"),
    [
        ({"action_id": 2}, "dropped"),
        ({"disposition_id": 2, "action_id": 0}, "dropped"),
        ({"activity_id": 5}, "dropped"),
        ({"activity_id": 6}, "forwarded"),
        ({"activity_id": 6, "action_id": 2.0}, "dropped"),
        ({"activity_id": 1}, "unknown"),
        ({"activity_id": 6, "action_id": 0}, "forwarded"),
        ({"activity_id": 6, "action_id": 3}, "unknown"),
        ({"activity_id": 6, "action_id": 99}, "unknown"),
        ({"activity_id": 6, "disposition_id": 15}, "unknown"),
    ],
)
@pytest.mark.parametrize("kind", ["lines", "parquet"])
def test_numbers_without_the_words_that_they_stand_for(tmp_path, kept, verdict, kind):
    made = {
        name: value for name, value in event(record()).items() if name not in ("action", "disposition", "activity_id")
    }
    made["connection_info"] = {"protocol_num": 6, "tcp_flags": 3, "direction_id": 2}
    (row,) = told(read_flows([written(tmp_path / "lake", [made | kept], kind)]))
    assert row["observed_verdict"] == verdict


@pytest.mark.parametrize("kind", ["lines", "parquet"])
def test_dates_with_an_offset(tmp_path, kind):
    here = [event(record()), event(record(srcport=40001))]
    for name in ("start_time_dt", "end_time_dt"):
        when = datetime.fromisoformat(here[1][name]).astimezone(timezone(timedelta(hours=1)))
        here[1][name] = when.isoformat(sep="T")
        assert "+01:00" in here[1][name]
    (row,) = told(read_flows([written(tmp_path / "lake", here, kind)]))
    assert (row["first_seen"].value, row["last_seen"].value) == (START * 10**9, (START + 30) * 10**9)


@pytest.mark.parametrize("uid", ["4001", 4001.0])
def test_numbers_as_texts_and_fractions(tmp_path, uid):
    events = [event(each) | {"class_uid": uid} for each in (record(), record(srcport="70000"))]
    flows = read_flows([written(tmp_path / "lake", events, "lines")])
    assert (flows.table.num_rows, asides(flows)) == (1, {"BAD_FIELD": 1})


def test_what_is_not_said_is_unknown(tmp_path):
    quiet = event(record())
    for name in ("action", "disposition", "activity_id"):
        quiet.pop(name)
    quiet["connection_info"] = {"protocol_num": 6}
    (row,) = told(read_flows([written(tmp_path / "lake", [quiet], "lines")]))
    assert (row["observed_verdict"], row["direction"]) == ("unknown", None)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("class_uid", pa.string()),
        ("class_uid", pa.float64()),
        ("src_endpoint.port", pa.string()),
        ("dst_endpoint.port", pa.float64()),
        ("dst_endpoint.port", pa.uint16()),
        ("connection_info.protocol_num", pa.decimal128(24, 2)),
        ("traffic.bytes", pa.uint64()),
        ("src_endpoint.ip", pa.large_string()),
        ("start_time", pa.timestamp("ms")),
        ("time", pa.timestamp("us", tz="UTC")),
        ("end_time", pa.string()),
        ("status_code", pa.dictionary(pa.int32(), pa.string())),
    ],
    ids=str,
)
def test_other_types_of_columns(tmp_path, path, kind):
    table = pa.Table.from_pylist([event(each, VERSIONS[0]) for each in (record(), reply())])
    pq.write_table(retyped(table, path, kind), tmp_path / "lake.parquet")
    (row,) = told(read_flows([tmp_path]))
    assert (row["dst_port"], row["records"], row["bytes"], row["first_seen"].value) == (5432, 2, 2000, START * 10**9)
    assert row["last_seen"].value == (START + 30) * 10**9


TYPES = [
    *(pa.int8(), pa.uint64(), pa.float32(), pa.bool_(), pa.string(), pa.binary(), pa.decimal128(20, 3), pa.date32()),
    *(
        pa.timestamp("ns"),
        pa.time64("us"),
        pa.duration("s"),
        pa.list_(pa.string()),
        pa.struct({"x": pa.int8()}),
        pa.null(),
    ),
]


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(aws_ocsf.PATHS), st.sampled_from(TYPES), min_size=1, max_size=4))
def test_types_that_no_column_should_have(kinds):
    names = sorted({path.partition(".")[0] for path in aws_ocsf.PATHS})
    whole = pa.Table.from_pylist([event(record(), version) for version in VERSIONS])
    fields = {f.name: f.type for f in whole.schema if f.name in names}
    for path, kind in kinds.items():
        name, _, inner = path.partition(".")
        if not inner:
            fields[name] = kind
        elif name != "metadata" and pa.types.is_struct(fields[name]):
            fields[name] = pa.struct({f.name: kind if f.name == inner else f.type for f in fields[name]})
    table = pa.table({name: pa.nulls(3, kind) for name, kind in fields.items()})
    with tempfile.TemporaryDirectory() as directory:
        pq.write_table(table, Path(directory, "lake.parquet"))
        with contextlib.suppress(InputError):
            flows = read_flows([directory])
            assert flows.ledger.read == sum(flows.ledger.set_aside.values()) == 3
