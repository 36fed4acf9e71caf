"""Rows of cloud flow logs and the times at which addresses change hands: none spans one, and nothing else changes."""

from __future__ import annotations

import json
import re
import tempfile
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from ipaddress import IPv6Address
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpol_gen.flowtable import Flows
from netpol_gen.handovers import SPANS, Handovers
from netpol_gen.readers import aws_sql, read_flows, vpc, vpc_lines, vpc_periods
from netpol_gen.readers.vpc_table import address as canonical
from tests.readers import test_aws, test_azure, test_gcp
from tests.readers.making import asides, read_bytes
from tests.readers.test_aws import DB, START, WEB, record, reply, text

NS = 10**9
MIDDLE = START + 600
"""A time within the hour of `START`, at which an address changes hands."""
LATER = {"start": MIDDLE + 60, "end": MIDDLE + 90}


def changes(*addresses: str, at: Sequence[int] = (MIDDLE,)) -> Handovers:
    return Handovers.of({address: [time * NS for time in at] for address in addresses})


def told(flows: Flows) -> list[tuple[Any, ...]]:
    """Seconds after `START`, and what was counted, of each row."""
    return [
        (row["first_seen"].value // NS - START, row["last_seen"].value // NS - START, row["flows"], row["records"])
        for row in flows.table.to_pylist()
    ]


def aws(directory: Path, *records: dict[str, str], handovers: Handovers | None = None) -> list[tuple[Any, ...]]:
    return told(read_bytes(directory, text(*records), name="vpc.log", handovers=handovers))


# --- what a row is ----------------------------------------------------------------------------------------------------


def test_before_and_after_are_two_rows(tmp_path):
    calls = [record(), record(srcport=40001, **LATER)]
    assert aws(tmp_path, *calls) == [(0, 690, 2, 2)]
    for end in (WEB, DB):
        assert aws(tmp_path, *calls, handovers=changes(end)) == [(0, 30, 1, 1), (660, 690, 1, 1)]


def test_both_ends_change_hands(tmp_path):
    calls = [record(srcport=40000 + i, start=START + 300 * i, end=START + 300 * i + 9) for i in range(4)]
    both = Handovers.of({WEB: [(START + 200) * NS], DB: [(START + 500) * NS]})
    assert aws(tmp_path, *calls, handovers=both) == [(0, 9, 1, 1), (300, 309, 1, 1), (600, 909, 2, 2)]


def test_a_record_that_spans_the_change_is_apart_from_either(tmp_path):
    over = [record(srcport=40001 + i, start=MIDDLE - 5, end=MIDDLE + i) for i in range(2)]
    found = aws(tmp_path, record(), *over, record(srcport=40003, **LATER), handovers=changes(DB))
    assert found == [(0, 30, 1, 1), (595, 601, 2, 2), (660, 690, 1, 1)]
    # The last instant before is before, that of the change is after.
    short = [record(start=MIDDLE - 5, end=MIDDLE - 1), record(srcport=40001, start=MIDDLE, end=MIDDLE)]
    assert aws(tmp_path, *short, handovers=changes(DB)) == [(595, 599, 1, 1), (600, 600, 1, 1)]


def test_a_record_that_ends_after_a_change_in_the_next_hour_is_apart(tmp_path):
    border = (START // 3600 + 1) * 3600
    over = record(srcport=40001, start=border - 5, end=border + 30)
    assert aws(tmp_path, record(), over, handovers=changes(DB, at=[border + 10])) == [
        (0, 30, 1, 1),
        (border - 5 - START, border + 30 - START, 1, 1),
    ]
    assert len(aws(tmp_path, record(), over, handovers=changes(DB, at=[border + 31]))) == 1


def test_both_directions_and_both_interfaces_of_a_connection_still_meet(tmp_path):
    def call(port: int, **when: int) -> list[dict[str, str]]:
        other = {"interface_id": "eni-0b", **when}
        return [
            record(srcport=port, **when),
            reply(dstport=port, **when),
            record(srcport=port, flow_direction="ingress", **other),
            reply(dstport=port, flow_direction="egress", **other),
        ]

    flows = read_bytes(tmp_path, text(*call(40000), *call(40001, **LATER)), name="vpc.log", handovers=changes(WEB, DB))
    for row in flows.table.to_pylist():
        assert test_aws.call(row) == (WEB, DB, None, 5432, "TCP", "syn")
        assert (row["flows"], row["records"], row["replies"], row["packets"]) == (1, 4, 2, 20)
    assert flows.table.num_rows == 2


@pytest.mark.parametrize("port", [40000, 5431])
def test_either_end_s_period_is_its_own_whichever_way_the_record_goes(tmp_path, port):
    # The lower port is put first while records are folded, and answers are turned round.
    calls = [
        record(srcport=port),
        reply(dstport=port, start=START + 1),
        record(srcport=port, **LATER),
        reply(dstport=port, start=MIDDLE + 61, end=MIDDLE + 99),
    ]
    assert aws(tmp_path, *calls, handovers=changes(WEB)) == [(0, 30, 1, 2), (660, 699, 1, 2)]
    assert aws(tmp_path, *calls, handovers=changes(DB)) == [(0, 30, 1, 2), (660, 699, 1, 2)]


OVER = {"tcp_flags": 0, "start": MIDDLE - 5, "end": MIDDLE + 5}


@pytest.mark.parametrize("who", [WEB, DB])
def test_what_goes_on_of_a_connection_is_as_old_as_the_connection(tmp_path, who):
    # As when a server sends again to a client that is gone, and the next holder of the address resets that.
    rest = [reply(tcp_flags=0, packets=1, **LATER), record(tcp_flags=4, packets=1, **LATER)]
    for over in ([], [record(**OVER)]):
        flows = read_bytes(tmp_path, text(record(), reply(), *over, *rest), name="vpc.log", handovers=changes(who))
        assert [each[:2] + each[3:] for each in told(flows)] == [(0, 30, 2), (0, 690, 2 + len(over))]
        # What opened the connection belongs to who held the address then.
        assert flows.table.column("direction").to_pylist() == ["syn", None]


BORDER = (START // 3600 + 1) * 3600


@pytest.mark.parametrize("change", [BORDER - 60, BORDER + 5])
@pytest.mark.parametrize("who", [WEB, DB])
def test_what_goes_on_in_the_next_hour_is_as_old_as_the_connection(tmp_path, who, change):
    begun = {"start": BORDER - 120, "end": BORDER - 110}
    late = {"start": BORDER + 10, "end": BORDER + 20}
    rest = [reply(tcp_flags=0, packets=1, **late), record(tcp_flags=4, packets=1, **late)]
    calls = [record(**begun), reply(**begun), *rest]
    flows = read_bytes(tmp_path, text(*calls), name="vpc.log", handovers=changes(who, at=[change]))
    border = BORDER - START
    assert [each[:2] + each[3:] for each in told(flows)] == [
        (border - 120, border - 110, 2),
        (border - 120, border + 20, 2),
    ]
    # Another call at that time is its own.
    new = record(srcport=40001, **late)
    flows = read_bytes(tmp_path, text(*calls, new), name="vpc.log", handovers=changes(who, at=[change]))
    assert (border + 10, border + 20, 1) in [each[:2] + each[3:] for each in told(flows)]


def test_what_goes_on_without_a_change_is_of_its_own_hour(tmp_path):
    calls = [record(start=BORDER - 120, end=BORDER - 110), record(tcp_flags=0, start=BORDER + 10, end=BORDER + 20)]
    near = read_bytes(tmp_path, text(*calls), name="vpc.log", handovers=changes("10.0.0.3", at=[BORDER]))
    assert near.table.equals(read_bytes(tmp_path, text(*calls), name="vpc.log").table)


def test_a_connection_that_begins_after_a_change_is_of_its_own_time(tmp_path):
    calls = [
        record(),
        reply(),
        record(**LATER),
        reply(**LATER),
        record(tcp_flags=0, start=MIDDLE + 99, end=MIDDLE + 99),
    ]
    assert aws(tmp_path, *calls, handovers=changes(DB)) == [(0, 30, 1, 2), (660, 699, 1, 3)]
    # Of one whose beginning nobody saw at all, there is nothing older.
    assert aws(tmp_path, record(tcp_flags=0, **LATER), handovers=changes(DB)) == [(660, 690, 1, 1)]


def test_azure_tells_what_was_counted_before(tmp_path):
    def at(second: int, state: str, port: int = 40000) -> str:
        return test_azure.v2(state, ",,," if state == "B" else "10,1000,8,800", port=port).replace(
            str(START), str(START + second)
        )

    data = test_azure.blob(
        test_azure.nsg(at(0, "B"), at(300, "C"), at(660, "E"), at(660, "B", 40001), at(680, "E", 40001))
    )
    flows = read_bytes(tmp_path, data, name="PT1H.json", handovers=changes("10.0.0.1"))
    assert told(flows) == [(0, 300, 1, 2), (0, 660, 1, 1), (660, 680, 1, 2)]


def test_hours_and_addresses_without_a_change_are_as_they_were(tmp_path):
    calls = [record(), record(srcport=40001, start=START + 7200, end=START + 7200), record(srcport=40002, **LATER)]
    elsewhere = [changes("10.0.0.3"), changes(DB, at=[START - 7200, START + 3 * 3600])]
    plain = read_bytes(tmp_path, text(*calls), name="vpc.log").table
    for each in elsewhere:
        assert read_bytes(tmp_path, text(*calls), name="vpc.log", handovers=each).table.equals(plain)


def test_what_is_set_aside_is_counted_once(tmp_path):
    other = [record(protocol="1", srcport="0", dstport="0", **when) for when in ({}, LATER) for _ in range(4)]
    lost = [test_aws.empty("SKIPDATA")] * 3
    data = text(record(), *other, *lost, "no record", record(srcaddr="x", pkt_srcaddr="x"))
    plain, apart = (
        read_bytes(tmp_path, data, name="vpc.log", handovers=each) for each in (None, changes(WEB, DB, test_aws.NODE))
    )
    assert asides(apart) == asides(plain)
    assert apart.ledger.places == plain.ledger.places
    assert apart.ledger.losses == plain.ledger.losses


# --- every spelling, form and source ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "written"),
    [
        ("fd00::a:1", "fd00::a:1"),
        ("fd00::a:1", "FD00::A:1"),
        ("fd00::a:1", "fd00:0:0:0:0:0:a:1"),
        ("fd00::a:1", "fd00:0000::000a:0001"),
        ("fd00::a:1", "fd00::a:1%eth0"),
        ("fd00:0:1::1", "fd00::1:0:0:0:0:1"),
        ("10.0.0.1", "::ffff:10.0.0.1"),
        ("10.0.0.1", "::FFFF:a00:1"),
    ],
)
def test_spellings_of_an_address(tmp_path, known, written):
    def call(address: str, port: int, **when: int) -> dict[str, str]:
        return record(pkt_srcaddr=address, srcport=port, **when)

    calls = [call(written, 40000), call(written, 40001, **LATER)]
    assert aws(tmp_path, *calls) == [(0, 690, 2, 2)]
    assert aws(tmp_path, *calls, handovers=changes(known)) == [(0, 30, 1, 1), (660, 690, 1, 1)]


def test_files_share_what_they_tell_of_a_period(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.log").write_bytes(
            text(record(srcport=40000 + number), record(srcport=41000 + number, **LATER))
        )
    (tmp_path / "4.json").write_text(
        "\n".join(json.dumps({k.replace("-", "_"): v for k, v in record(**when).items()}) for when in ({}, LATER))
    )
    assert told(read_flows([tmp_path], handovers=changes(DB))) == [(0, 30, 3, 4), (660, 690, 4, 4)]


def test_parquet(tmp_path):
    for number in range(2):
        calls = [record(srcport=40000 + number), record(srcport=41000 + number, **LATER)]
        odd = record(protocol="1", srcport="0", dstport="0")
        test_aws.parquet(tmp_path / f"{number}.parquet", [*calls, odd])
    flows = read_flows([tmp_path], handovers=changes(WEB))
    assert told(flows) == [(0, 30, 2, 2), (660, 690, 2, 2)]
    assert asides(flows) == {"ICMP": 2}


def test_gcp_entries(tmp_path):
    def entry(at: str, **more: Any) -> dict[str, Any]:
        return test_gcp.entry(start_time=at, end_time=at, **more)

    early, late = "2024-05-06T07:08:09.5Z", "2024-05-06T07:30:00Z"
    calls = [
        entry(early),
        entry(early, connection=test_gcp.BACK, reporter="DEST"),
        entry(late, connection={"src_port": 40004}),
    ]
    data = test_gcp.lines(*calls)
    assert [row[2:] for row in told(read_bytes(tmp_path, data, name="a.json"))] == [(2, 3)]
    flows = read_bytes(tmp_path, data, name="a.json", handovers=changes("10.0.0.2"))
    assert [row[2:] for row in told(flows)] == [(1, 2), (1, 1)]


def test_gcp_keeps_the_names_of_either_end(tmp_path):
    calls = [
        test_gcp.entry(start_time=at, end_time=at, src_gke_details=test_gcp.gke("shop", f"web-{number}"))
        for number, at in enumerate(("2024-05-06T07:08:09Z", "2024-05-06T07:30:00Z"))
    ]
    flows = read_bytes(tmp_path, test_gcp.lines(*calls), name="a.json", handovers=changes("10.0.0.1"))
    assert flows.table.column("src_pod").to_pylist() == ["web-0", "web-1"]


@pytest.mark.parametrize("wrap", [test_azure.nsg, test_azure.vnet], ids=["nsg", "vnet"])
def test_azure_tuples(tmp_path, wrap):
    made = test_azure.v2 if wrap is test_azure.nsg else test_azure.v4
    calls = [made(port=40000), made(port=40001), made(port=40002).replace(str(START), str(MIDDLE + 60))]
    data = test_azure.blob(wrap(*calls))
    assert [row[2:] for row in told(read_bytes(tmp_path, data, name="PT1H.json"))] == [(3, 3)]
    flows = read_bytes(tmp_path, data, name="PT1H.json", handovers=changes("10.0.0.2"))
    assert [row[2:] for row in told(flows)] == [(2, 2), (1, 1)]


GROUPS = st.one_of(st.just(0), st.integers(0, 0xFFFF))
FORMS = st.sampled_from(["x", "X", "04x"])


def usual(written: str) -> bool:
    odd = any(part in written for part in vpc_periods.UNUSUAL)
    return re.fullmatch(vpc_periods.USUAL, written) is not None and not odd


@given(st.lists(GROUPS, min_size=8, max_size=8), st.integers(0, 7), st.integers(0, 8), FORMS)
def test_what_is_taken_as_written_is_canonical(groups, begin, length, form):
    words = [format(group, form) for group in groups]
    shortened = f"{':'.join(words[:begin])}::{':'.join(words[begin + length :])}"
    packed = int("".join(format(group, "04x") for group in groups), 16)
    for written in (shortened, ":".join(words), str(IPv6Address(packed))):
        if usual(written):
            assert canonical(written)[0] == written


@pytest.mark.parametrize(
    "written",
    [
        "fd00::a:1",
        "2001:db8:1:2:3:4:5:6",
        "2001:db8:1:2:3::",
        "2001:db8::1:2:3:4",
        "a::",
        "fd00:a:0:b::1:2",
        "1::2:0",
    ],
)
def test_usual_addresses_are_taken_as_written(written):
    assert usual(written)
    assert canonical(written)[0] == written


# --- the laws ---------------------------------------------------------------------------------------------------------

ADDRESSES = ("10.0.0.1", "10.0.0.3", "fd00::1")
HOUR = START // 3600 * 3600
TIMES = st.integers(HOUR, HOUR + 3 * 3600)


def period(times: Sequence[int], first: int, last: int) -> int:
    """How many changes came before, or `SPANS` where one comes between."""
    before, after = (bisect_right(sorted(set(times)), time) for time in (first, last))
    return before if before == after else SPANS


def expected(calls: list[tuple[str, int, int]], times: dict[str, list[int]]) -> Counter[tuple[str, int, int]]:
    """Calls by address, hour and period: those of hours far from a change are of one, whatever its number."""
    out: Counter[tuple[str, int, int]] = Counter()
    for address, first, last in calls:
        own = times.get(address, [])
        near = first // 3600 in {time // 3600 + far for time in own for far in (-1, 0)}
        out[address, first // 3600, period(own, first, last) if near else SPANS] += 1
    return out


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(ADDRESSES), TIMES, st.integers(0, 2000)), min_size=1, max_size=30),
    st.dictionaries(st.sampled_from(ADDRESSES), st.lists(TIMES, max_size=5)),
)
def test_rows_are_calls_of_one_period(drawn, times):
    calls = [(address, first, first + length) for address, first, length in drawn]
    handovers = Handovers.of({address: [t * NS for t in each] for address, each in times.items()})
    records = [
        record(pkt_srcaddr=address, srcport=40000 + number, start=first, end=last)
        for number, (address, first, last) in enumerate(calls)
    ]
    with tempfile.TemporaryDirectory() as directory:
        flows = read_bytes(Path(directory), text(*records), name="vpc.log", handovers=handovers)
    found = Counter((row["src_ip"], row["hours"][0], row["records"]) for row in flows.table.to_pylist())
    wanted = expected(calls, times)
    assert found == Counter((address, hour, count) for (address, hour, _), count in wanted.items())


@given(
    st.dictionaries(st.sampled_from(ADDRESSES), st.lists(st.integers(0, 20), max_size=5)),
    st.lists(st.tuples(st.sampled_from(ADDRESSES), st.integers(-1, 21), st.integers(0, 9)), max_size=20),
)
def test_periods_are_numbered_by_the_changes_before(times, asked):
    handovers = Handovers.of(times)
    which = np.array([handovers.addresses.index(a) if times.get(a) else -1 for a, _, _ in asked], dtype=np.int64)
    first, last = (np.array([sum(each[1:n]) for each in asked], dtype=np.int64) for n in (2, 3))
    wanted = [period(times[a], at, at + length) if times.get(a) else SPANS for a, at, length in asked]
    assert handovers.number(which, first, last).tolist() == wanted
    assert bool(handovers) == any(times.values())


@given(st.dictionaries(st.sampled_from(ADDRESSES), st.lists(TIMES, max_size=5)))
def test_the_table_of_periods_leaves_no_time_of_its_hours_out(times):
    handovers = Handovers.of({address: [t * NS for t in each] for address, each in times.items()})
    table = vpc_periods.table(handovers)
    spans: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for row in table.to_pylist():
        spans.setdefault((row["address"], row["h"]), []).append((row["since"], row["until"]))
    wanted = {(a, t // 3600 + far) for a, each in times.items() for t in each for far in (-1, 0, 1)}
    assert spans.keys() == wanted
    for (_, hour), found in spans.items():
        found.sort()
        assert found[0][0] <= hour * vpc.HOUR
        assert found[-1][1] >= (hour + 1) * vpc.HOUR
        assert all(before[1] == after[0] for before, after in pairwise(found))


def test_without_changes_the_query_is_the_plain_one():
    with vpc.Engine() as engine:
        assert vpc_periods.fold(engine, "x", aws_sql.MEANING, Handovers()) == vpc.fold_sql("x", aws_sql.MEANING)


def test_the_engine_holds_the_periods_and_lets_the_records_pass():
    """How many records a stream has nobody knows: taken for few, they would be what is kept in memory."""
    many = changes(*(f"10.0.{i // 250}.{i % 250}" for i in range(2000)))
    columns = dict.fromkeys(("note", "src", "dst", "who_src", "who_dst"), "VARCHAR")
    shown = ", ".join(f"NULL::{columns.get(name, 'BIGINT')} AS {name}" for name in vpc.RECORD if name != "place")
    with vpc.Engine() as engine:
        engine.stream("lines", vpc_lines.schema(), iter(()))
        records = f"SELECT place, {shown.replace('NULL::VARCHAR AS src', 'line AS src')} FROM lines"  # noqa: S608
        sql = vpc_periods.fold(engine, records, aws_sql.MEANING, many)
        plan = pa.Table.from_batches(engine.query(f"EXPLAIN {sql}")).to_pylist()[0]["explain_value"]
    assert plan.count("LEFT") == 2
    assert "RIGHT" not in plan


# --- what lies outside of what is told --------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 60), max_size=6), st.integers(0, 60), st.integers(0, 60), st.data())
def test_changes_outside_tell_records_apart_no_better(times, first, last, data):
    first, last = sorted((first, last))
    every = Handovers.of({WEB: times, DB: [30]})
    kept = every.within(first, last)
    assert all(first < time <= last for time in kept.times.tolist())
    where = {address: i for i, address in enumerate(kept.addresses)}

    def periods(found: Handovers, which: int, *spans: tuple[int, int]) -> list[int]:
        begin, end = (np.array([span[i] for span in spans]) for i in (0, 1))
        return found.number(np.full(len(spans), which), begin, end).tolist()

    for which, address in enumerate(every.addresses):
        spans = [sorted(data.draw(st.tuples(*[st.integers(first, last)] * 2))) for _ in range(2)]
        before = periods(every, which, *spans)
        after = periods(kept, where.get(address, -1), *spans)
        assert (before[0] == before[1] != SPANS) <= (after[0] == after[1])
        assert (SPANS not in before and before[0] != before[1]) == (after[0] != after[1] and SPANS not in after)


@pytest.mark.parametrize("form", ["vpc.log", "vpc.parquet", "gcp.json", "PT1H.json"])
def test_changes_long_before_the_log_cost_nothing(tmp_path, monkeypatch, form):
    when = "2024-05-06T07:08:09Z"
    path = tmp_path / form
    if form.endswith("parquet"):
        test_aws.parquet(path, [record()])
    else:
        contents = {
            "vpc.log": text(record()),
            "gcp.json": test_gcp.lines(test_gcp.entry(start_time=when, end_time=when)),
            "PT1H.json": test_azure.blob(test_azure.nsg(test_azure.v2())),
        }
        path.write_bytes(contents[form])
    made, table = [], vpc_periods.table
    monkeypatch.setattr(vpc_periods, "table", lambda handovers: made.append(handovers) or table(handovers))
    plain = read_flows([path])
    first = plain.table.column("first_seen").to_pylist()[0].value // NS

    def changed(seconds: int) -> Flows:
        ends = [plain.table.column(f"{end}_ip").to_pylist()[0] for end in ("src", "dst")]
        return read_flows([path], handovers=changes(*ends, at=[first + seconds]))

    assert (changed(-3 * 3600).table, made) == (plain.table, [])
    assert (changed(60).ledger, len(made)) == (plain.ledger, 1 - form.endswith("parquet"))
    assert len(read_flows([path], handovers=changes(WEB, at=[first + 5])).table) == 1


def test_a_number_that_is_looked_at_in_part_is_no_time():
    lines = text(*[record() for _ in range(60)])
    assert b" 123456789012 " in lines
    long_ago = changes(WEB, at=[START - 30 * 86400])
    for shift in range(200):
        assert not vpc_periods.relevant(long_ago, [b"#" * shift + b"\n" + lines])
    assert vpc_periods.relevant(changes(WEB), [lines])


@pytest.mark.parametrize(
    "written", ["statistics", "none", "milliseconds", "both", "timestamps", "no rows", "out of range"]
)
def test_the_time_that_parquet_files_are_of_is_told_by_their_footers_or_their_records(tmp_path, monkeypatch, written):
    calls = [record(), record(srcport=40001, **LATER)]
    path = tmp_path / "vpc.parquet"
    if written in ("milliseconds", "both"):
        calls[1] |= {name: calls[1][name] + "000" for name in ("start", "end")}
    if written == "milliseconds":
        calls[0] |= {name: calls[0][name] + "000" for name in ("start", "end")}
    if written == "out of range":
        calls.append(record(start=-7))
    table = test_aws.arrow(calls)
    if written == "timestamps":
        for name in ("start", "end"):
            time = table.column(name).cast(pa.timestamp("s"))
            table = table.set_column(table.column_names.index(name), name, time)
    if written == "no rows":
        pq.write_table(table.slice(0, 0), tmp_path / "empty.parquet")
    pq.write_table(table, path, write_statistics=written != "none")
    asked, query = [], vpc.Engine.query
    monkeypatch.setattr(vpc.Engine, "query", lambda self, sql: asked.append(sql) or query(self, sql))
    together, apart = [(0, 690, 2, 2)], [(0, 30, 1, 1), (660, 690, 1, 1)]
    for at, rows in ((-60, together), (10, apart), (600, apart), (680, apart), (691, together)):
        asked.clear()
        assert told(read_flows([tmp_path], handovers=changes(WEB, at=[START + at]))) == rows
        assert any("_at.number" in sql for sql in asked) == (len(rows) > 1)
        by_records = any(sql.startswith("SELECT min(first)") for sql in asked)
        assert by_records == (written in ("none", "both", "timestamps", "out of range"))
