"""Flow tables written and read back, and tables that somebody else wrote."""

from __future__ import annotations

import io
import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from netpol_gen import api
from netpol_gen.config import Config
from netpol_gen.edges import find_edges
from netpol_gen.errors import InputError, NotAFlowLogError, OptionError
from netpol_gen.flowio import FORMATS, dump_ledger, load_ledger, write_flows
from netpol_gen.flowtable import Flows, Ledger, Reason, schema
from netpol_gen.inventory import empty
from netpol_gen.model import UNKNOWN_TIME
from netpol_gen.readers import canonical, read_flows
from netpol_gen.readers.files import expand
from netpol_gen.readers.vpc import Options
from netpol_gen.readers.vpc_table import ordered
from tests.flowrows import NOW, flows_of, row

LAB = Path(__file__).parent / "conntrack"
STRANGE = [
    "",
    "a",
    "=1+1",
    'say "so"',
    "two\nlines",
    "tab\tand\r",
    "comma,",
    "\u00e9\u202e",
    "\x00",
    "[]",
    "null",
    "\\",
]


def read_back(flows: Flows, form: str) -> Flows:
    stream = io.BytesIO()
    write_flows(flows, stream, form)
    return canonical.read(expand(["-"], io.BytesIO(stream.getvalue())), Options())


# --- round trips ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_real_tables_come_back_exactly(form, tmp_path):
    flows = read_flows([LAB / "n*.txt"])
    write_flows(flows, tmp_path / f"flows.{form}")
    again = read_flows([tmp_path / f"flows.{form}"])
    assert again.table.equals(flows.table)
    assert again.table.schema.equals(flows.table.schema)


texts = st.none() | st.sampled_from(STRANGE) | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
counts = st.integers(0, 2**62)
lists = st.lists(st.sampled_from(STRANGE) | st.text(st.characters(exclude_categories=["Cs"]), max_size=4), max_size=3)
labels = st.none() | st.dictionaries(st.sampled_from(STRANGE), st.sampled_from(STRANGE), max_size=2).map(
    lambda found: json.dumps(found, sort_keys=True)
)
times = st.integers(0, UNKNOWN_TIME - 1)
addresses = st.none() | st.sampled_from(["10.0.0.1", "fd00::1", "203.0.113.9"])


@st.composite
def tables(draw):
    out = []
    for _ in range(draw(st.integers(0, 4))):
        # Who does not know when it began does not know when it ended, and the other way round.
        first, last = draw(st.just([UNKNOWN_TIME] * 2) | st.tuples(times, times).map(sorted))
        records = draw(st.integers(1, 2**40))
        made = row(draw(addresses), draw(addresses), draw(st.none() | st.integers(0, 65535)))
        made |= {
            "first_seen": first,
            "last_seen": last,
            "hours": sorted(draw(st.sets(st.integers(0, 10**6), max_size=3))),
        }
        made |= {"records": records, "replies": draw(st.integers(0, records)), "flows": draw(counts)}
        made |= {"protocol": draw(st.sampled_from(["TCP", "UDP", "SCTP", "ICMP", "ICMPv6", "47"]))}
        made |= {"direction": draw(st.none() | st.sampled_from(["syn", "conntrack", "port-order"]))}
        made |= {"signals": draw(st.integers(0, 2047)), "sample": draw(texts.map(str)), "source": draw(texts.map(str))}
        for end in ("src", "dst"):
            made[f"{end}_names"], made[f"{end}_labels"] = draw(lists), draw(labels)
            made[f"{end}_identity"] = draw(st.none() | st.integers(-(2**63), 2**63 - 1))
            for name in ("namespace", "pod", "workload", "entities", "uid"):
                made[f"{end}_{name}"] = draw(texts)
        made |= {"nodes": draw(lists), "drop_reason": draw(texts), "dst_service": draw(texts)}
        made |= {"bytes": draw(st.none() | counts), "packets": draw(st.none() | counts)}
        out.append(made)
    return out


@settings(max_examples=150, deadline=None)
@given(tables(), st.sampled_from(FORMATS))
def test_any_table_comes_back_exactly(made, form):
    flows = flows_of(*made)
    flows = replace(flows, table=ordered(flows.table))
    again = read_back(flows, form)
    assert again.table.equals(flows.table)
    assert again.ledger.read == flows.ledger.read == sum(each["records"] for each in made)


@pytest.mark.parametrize("form", FORMATS)
def test_same_table_same_bytes(form):
    one, other = io.BytesIO(), io.BytesIO()
    flows = read_flows([LAB / "n1_E_extended.txt"])
    write_flows(flows, one, form)
    write_flows(read_flows([LAB / "n1_E_extended.txt"]), other, form)
    assert one.getvalue() == other.getvalue()


# --- the ledger -------------------------------------------------------------------------------------------------------


def test_parquet_goes_on_with_the_ledger_of_the_log(tmp_path):
    flows = read_flows([LAB / "n1_E_extended.txt", LAB / "n1_L_default.err"])
    write_flows(flows, tmp_path / "flows.parquet")
    again = read_flows([tmp_path / "flows.parquet"])
    assert again.ledger.read == 69
    assert again.ledger.set_aside == {Reason.ICMP: 3, Reason.CONTROL: 1}
    assert again.ledger.places == flows.ledger.places
    assert again.sources == {"conntrack": 69}
    assert find_edges(again, empty()).ledger.rows() == find_edges(flows, empty()).ledger.rows()


def test_a_ledger_of_a_thousand_files_hides_no_table(tmp_path):
    """As of small objects in S3: what Parquet keeps it in then is longer than what is looked at for columns."""
    made = flows_of()
    ledger = replace(made.ledger, files={f"AWSLogs/{'x' * 100}/{number:04}.log.gz": 0 for number in range(1000)})
    write_flows(replace(made, ledger=ledger), tmp_path / "flows.parquet")
    for path in (tmp_path / "flows.parquet", tmp_path):
        assert len(read_flows([path]).ledger.files) == 1001
    (tmp_path / "flows.parquet.zst").write_bytes(zstandard.compress((tmp_path / "flows.parquet").read_bytes()))
    assert len(read_flows([tmp_path / "flows.parquet.zst"]).ledger.files) == 1001


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_text_forms_alone_count_the_records_of_their_rows(form, tmp_path):
    flows = read_flows([LAB / "n1_E_extended.txt"])
    with (tmp_path / f"flows.{form}").open("wb") as stream:
        write_flows(flows, stream, form)
    again = read_flows([tmp_path / f"flows.{form}"])
    assert [path.name for path in tmp_path.iterdir()] == [f"flows.{form}"]
    assert again.notes == ()
    assert again.ledger.read == 65
    assert again.ledger.set_aside == {}
    assert again.sources == {"conntrack": 65}
    find_edges(again, empty()).ledger.close()


def test_ledger_keeps_losses_and_notes():
    ledger = Ledger(read=7, set_aside={Reason.LOST_EVENTS: 2}, places={Reason.LOST_EVENTS: ["a:1", "b:2: x"]})
    ledger.lose("n1", 498718, "ring", 12)
    flows = Flows(schema().empty_table(), ledger, {"hubble": 7}, ("a note",))
    assert load_ledger(dump_ledger(flows), 5) == (ledger, {"hubble": 7}, ("a note",))


def _lossy(hour: int) -> Flows:
    ledger = Ledger()
    ledger.lose("n1", hour, "ring", 1)
    return Flows(schema().empty_table(), ledger, {})


def test_the_first_places_are_kept_whatever_files_are_called():
    """A superscript is a digit of which Python makes no number, and colons may be in names."""
    ledger = Ledger()
    for line in (12, 3, 1, 2, 10, 4):
        for name in ("b:\u00b2:c", "b:\u0663", "b"):
            ledger.aside(Reason.MALFORMED, 1, f"a:9:{name}:{line}: x:1")
    kept = [f"a:9:b:{line}: x:1" for line in (1, 2, 3, 4, 10)]
    assert sorted(ledger.places[Reason.MALFORMED]) == sorted(kept)
    ledger.aside(Reason.ICMP, 7, "9" * 5000)


BROKEN_LEDGERS = {
    "a loss in another age": (dump_ledger(_lossy(2**62)), "a loss at no time"),
    "a loss before time": (dump_ledger(_lossy(-1)), "a loss at no time"),
    "of other rows": (json.dumps({**json.loads(dump_ledger(flows_of())), "read": 9}).encode(), "does not close"),
    "no JSON": (b"\xff", "cannot be read"),
    "another shape": (b'{"read": 1}', "cannot be read"),
    "negative": (dump_ledger(Flows(schema().empty_table(), Ledger(set_aside={Reason.ICMP: -1}), {})), "negative"),
    "unknown reason": (dump_ledger(flows_of()).replace(b'"set_aside":{}', b'"set_aside":{"boredom":0}'), "boredom"),
}


@pytest.mark.parametrize(("data", "problem"), BROKEN_LEDGERS.values(), ids=BROKEN_LEDGERS)
def test_broken_ledger_is_refused(data, problem, tmp_path):
    table = flows_of().table.replace_schema_metadata({b"netpol_gen.ledger": data})
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(InputError, match=problem):
        read_flows([tmp_path / "x.parquet"])


# --- tables of others -------------------------------------------------------------------------------------------------

HEADER = "first_seen,protocol,observed_verdict,src_ip,dst_ip,dst_port"
LINE = "2026-01-01T00:00:00Z,TCP,forwarded,10.0.0.1,10.0.0.2,80"


def of(text: str, tmp_path: Path, name: str = "flows.csv") -> Flows:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return read_flows([tmp_path / name])


def test_few_columns_are_enough(tmp_path):
    flows = of(f"{HEADER}\n{LINE}\n", tmp_path)
    (found,) = flows.table.to_pylist()
    assert (found["first_seen"], found["last_seen"]) == (found["first_seen"],) * 2
    assert (found["hours"], found["flows"], found["records"], found["replies"]) == ([490896], 1, 1, 0)
    assert (found["src_names"], found["nodes"], found["source"], found["signals"]) == ([], [], "flows", 0)
    assert found["sample"].endswith("flows.csv:2")
    assert (found["src_pod"], found["backend_ip"], found["bytes"]) == (None, None, None)
    assert flows.sources == {"flows": 1}


def test_order_of_columns_and_rows_does_not_matter(tmp_path):
    other = LINE.replace("10.0.0.1", "10.0.0.3")
    columns = [HEADER, LINE, other]
    turned = [",".join(reversed(line.split(","))) for line in (HEADER, other, LINE)]
    one, two = (of("\n".join(lines) + "\n", tmp_path) for lines in (columns, turned))
    assert one.table.drop_columns(["sample"]).equals(two.table.drop_columns(["sample"]))


def test_addresses_and_times_are_made_canonical(tmp_path):
    line = "2026-01-01 01:00:00.5+01:00,TCP,forwarded,FD00:0::1,::ffff:10.0.0.2,80"
    (found,) = of(f"{HEADER}\n{line}\n", tmp_path).table.to_pylist()
    assert (found["src_ip"], found["dst_ip"]) == ("fd00::1", "10.0.0.2")
    assert found["first_seen"].isoformat() == "2026-01-01T00:00:00.500000+00:00"


def changed(column: str, value: str) -> str:
    names = HEADER.split(",")
    if column not in names:
        return f"{HEADER},{column}\n{LINE},{'1' if column == 'signals' else ''}\n{LINE},{value}\n"
    values = LINE.split(",")
    values[names.index(column)] = value
    return f"{HEADER}\n{LINE}\n{','.join(values)}\n"


WRONG = {
    "port": (changed("dst_port", "70000"), ":3: dst_port: '?70000'? is not a port|:3: dst_port: 70000 is not a port"),
    "port as float": (changed("dst_port", "80.0"), ":3: dst_port: '80.0' is no int32"),
    "port in hexadecimal": (changed("dst_port", "0x50"), ":3: dst_port: '0x50' is no int32"),
    "address": (changed("src_ip", "10.0.0.256"), ":3: src_ip: '10.0.0.256' is no address"),
    "time without a zone": (changed("first_seen", "2026-01-01T00:00:00"), ":3: first_seen: .* is no time with a zone"),
    "time before time": (changed("first_seen", "1969-01-01T00:00:00Z"), ":3: first_seen: .* is before 1970"),
    "an end without a beginning": (
        f"{HEADER},last_seen\n{LINE},\n{LINE.replace('2026-01-01T00:00:00Z', '')},2026-01-01T00:00:00Z\n",
        ":3: first_seen: is missing, and last_seen is not",
    ),
    "protocol": (changed("protocol", "tcp"), ":3: protocol: 'tcp' is no protocol"),
    "verdict": (changed("observed_verdict", "ALLOW"), ":3: observed_verdict: 'ALLOW' is no observed verdict"),
    "direction": (changed("direction", "none"), ":3: direction: 'none' is no direction evidence"),
    "records": (changed("records", "0"), "records: "),
    "bytes": (changed("bytes", "-1"), ":3: bytes: '-1' is negative"),
    "signals": (changed("signals", "8192"), ":3: signals: '8192' is no set of signals"),
    "labels": (changed("src_labels", "a=b"), ":3: src_labels: is no JSON object of labels"),
    "list": (changed("nodes", "n1"), "nodes: "),
    "unknown column": (f"{HEADER},owner\n{LINE},me\n", ":1: a flow table has no column 'owner'"),
    "column twice": (f"{HEADER},dst_port\n{LINE},80\n", ":1: dst_port: the column is there twice"),
    "too few fields": (f"{HEADER}\n{LINE.rpartition(',')[0]}\n", "cannot be read as CSV"),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_wrong_values_are_named_with_their_place(text, message, tmp_path):
    with pytest.raises(InputError, match=message):
        of(text, tmp_path)


def test_line_numbers_count_lines_within_values(tmp_path):
    text = f'{HEADER},src_pod\n{LINE},"a\nb"\n\n{LINE.replace(",80", ",99999")},c\n'
    with pytest.raises(InputError, match=r"flows.csv:5: dst_port"):
        of(text, tmp_path)


JSON = {"first_seen": "2026-01-01T00:00:00Z", "protocol": "TCP", "observed_verdict": "forwarded", "dst_port": 80}
WRONG_JSON = {
    "type": ({"dst_port": "80"}, r":2: dst_port: expected `int \| null`, got `str`"),
    "unknown": ({"owner": "me"}, r":2: a flow table has no such column: owner"),
    "list": ({"nodes": "n1"}, r":2: nodes: expected `array \| null`, got `str`"),
    "port": ({"dst_port": 70000}, r":2: dst_port: '70000' is not a port"),
    "too large": ({"dst_port": 2**40}, r":2: dst_port: .* is no int32"),
    "null": ({"protocol": None}, r":2: protocol: is missing"),
    "no key for the time": ({"first_seen": ...}, r":2: first_seen: is missing"),
    "number as time": ({"first_seen": 7}, r":2: first_seen: expected `str \| null`, got `int`"),
}


@pytest.mark.parametrize(("wrong", "message"), WRONG_JSON.values(), ids=WRONG_JSON)
def test_wrong_json_is_named_with_its_place(wrong, message, tmp_path):
    second = {key: value for key, value in {**JSON, **wrong}.items() if value is not ...}
    with pytest.raises(InputError, match=message):
        of(f"{json.dumps(JSON)}\n{json.dumps(second)}\n", tmp_path, "flows.jsonl")


def test_parquet_of_others(tmp_path):
    # As pandas would write it: wider integers, microseconds, large strings, a dictionary.
    made = pa.table(
        {
            "dst_port": pa.array([80, None], pa.int64()),
            "first_seen": pa.array([NOW // 1000] * 2, pa.timestamp("us", tz="Europe/Berlin")),
            "protocol": pa.array(["TCP", "UDP"], pa.large_string()),
            "observed_verdict": pa.array(["forwarded", "dropped"]).dictionary_encode(),
            "src_pod": pa.nulls(2),
        }
    )
    pq.write_table(made, tmp_path / "x.parquet")
    found = read_flows([tmp_path / "x.parquet"]).table
    assert found.schema.equals(schema())
    assert [r["dst_port"] for r in found.to_pylist()] == [80, None]


WRONG_PARQUET = {
    "naive time": ({"first_seen": pa.array([1], pa.timestamp("ns"))}, "first_seen: times need a time zone"),
    "number as time": ({"first_seen": pa.array([1])}, "first_seen: times need a time zone"),
    "text column of numbers": ({"src_pod": pa.array([7])}, "src_pod: the column is of type int64, not string"),
    "list of numbers": ({"nodes": pa.array([[7]])}, "nodes: the column is of type list<.*int64>, not list<.*string>"),
    "fraction": ({"dst_port": pa.array([80.5])}, "dst_port: '80.5' is no int32"),
    "truth": ({"flows": pa.array([True])}, "flows: the column is of type bool, not int64"),
    "unknown": ({"owner": pa.array(["me"])}, "a flow table has no column 'owner'"),
}


@pytest.mark.parametrize(("wrong", "message"), WRONG_PARQUET.values(), ids=WRONG_PARQUET)
def test_wrong_parquet(wrong, message, tmp_path):
    good = {"first_seen": pa.array([NOW], pa.timestamp("ns", tz="UTC")), "protocol": pa.array(["TCP"])}
    pq.write_table(pa.table({**good, "observed_verdict": pa.array(["forwarded"]), **wrong}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match=message):
        read_flows([tmp_path / "x.parquet"])


def test_other_parquet_is_no_flow_table(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "x.parquet")
    with pytest.raises(NotAFlowLogError):
        read_flows([tmp_path / "x.parquet"])


def test_damaged_parquet(tmp_path):
    stream = io.BytesIO()
    write_flows(flows_of(row("10.0.0.1", "10.0.0.2", 80)), stream, "parquet")
    for end in (4, 100, len(stream.getvalue()) - 9):
        (tmp_path / "x.parquet").write_bytes(stream.getvalue()[:end])
        with pytest.raises(InputError):
            read_flows([tmp_path / "x.parquet"], source="flows")


def test_window(tmp_path):
    lines = [LINE.replace("2026-01-01", f"2026-01-{day:02}") for day in range(1, 6)]
    (tmp_path / "flows.csv").write_text("\n".join([HEADER, *lines]), encoding="utf-8")
    day = 24 * 3600 * 10**9
    first = 1767225600 * 10**9
    flows = read_flows([tmp_path / "flows.csv"], config=Config(since=first + day, until=first + 3 * day))
    assert flows.table.num_rows == 2
    assert flows.ledger.set_aside == {Reason.OUT_OF_WINDOW: 3}


@pytest.mark.parametrize(
    ("since", "until", "within"),
    [
        ("01T00:00:00", "01T10:05:00", False),
        ("01T00:00:00", "01T10:05:01", True),
        ("01T10:05:01", "02T00:00:00", True),  # for all that is told
        ("01T11:00:00", "03T07:00:00", False),
        ("03T07:30:00", "03T07:40:00", True),
        ("03T08:00:00", "06T00:00:00", False),
        ("07T10:00:00", None, True),
        ("07T10:00:01", None, False),
        (None, "01T10:05:00", False),
        (None, "9999", True),
    ],
)
def test_a_row_of_many_hours_is_in_each_window_that_it_has_records_in(since, until, within, tmp_path):
    """Of a conversation that began before the window nothing was left, and no policy allowed it any more."""
    hours = [int(datetime(2026, 1, *at, tzinfo=UTC).timestamp()) // 3600 for at in ((1, 10), (3, 7), (7, 10))]
    line = f'2026-01-01T10:05:00Z,2026-01-07T10:00:00Z,"{hours}",TCP,forwarded,10.0.0.1,10.0.0.2,80'
    (tmp_path / "flows.csv").write_text(f"{HEADER.replace(',', ',last_seen,hours,', 1)}\n{line}", encoding="utf-8")

    def stamp(text: str | None) -> int | None:
        if text == "9999":
            return int(datetime(9999, 1, 1, tzinfo=UTC).timestamp()) * 10**9
        return text and int(datetime.fromisoformat(f"2026-01-{text}Z").timestamp()) * 10**9

    found = read_flows([tmp_path / "flows.csv"], config=Config(since=stamp(since), until=stamp(until)))
    assert found.table.num_rows == within
    assert found.ledger.set_aside == ({} if within else {Reason.OUT_OF_WINDOW: 1})


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=60), st.sampled_from([b"", f"{HEADER}\n".encode(), json.dumps(JSON).encode() + b"\n", b"PAR1"])
)
def test_no_input_crashes(data, before):
    try:
        flows = canonical.read(expand(["-"], io.BytesIO(before + data)), Options())
    except InputError:
        return
    assert flows.ledger.read == sum(flows.table.column("records").to_pylist())


# --- times that nobody told -------------------------------------------------------------------------------------------

UNTIMED = {"first_seen": UNKNOWN_TIME, "last_seen": UNKNOWN_TIME, "hours": []}
STAMP = "2116-02-20T23:53:38.427387903Z"


@pytest.mark.parametrize("form", FORMATS)
def test_an_unknown_time_is_null(form, tmp_path):
    flows = read_flows([LAB / "n1_L_default.txt"])
    write_flows(flows, tmp_path / f"flows.{form}")
    assert b"2116" not in (tmp_path / f"flows.{form}").read_bytes()
    again = read_flows([tmp_path / f"flows.{form}"])
    assert again.table.equals(flows.table)
    assert set(again.table.column("first_seen").cast(pa.int64()).to_pylist()) == {UNKNOWN_TIME}
    if form == "parquet":
        assert pq.read_table(tmp_path / "flows.parquet").column("last_seen").null_count == again.table.num_rows
    if form == "jsonl":
        lines = [json.loads(line) for line in (tmp_path / "flows.jsonl").read_text(encoding="utf-8").splitlines()]
        assert [(line["first_seen"], line["last_seen"]) for line in lines] == [(None, None)] * again.table.num_rows


def test_an_unknown_time_is_null_in_frames():
    flows = flows_of(row("10.0.0.1", "10.0.0.2", 80, src_names=[], dst_names=[]) | UNTIMED)
    frame = api.flows_to_frame(flows)
    assert frame["first_seen"].isna().all()
    assert frame["last_seen"].isna().all()
    assert api.frame_to_flows(frame).table.equals(flows.table)


def test_the_stamp_of_before_is_still_taken(tmp_path):
    table = of(f"{HEADER},hours\n{LINE.replace('2026-01-01T00:00:00Z', STAMP)},[]\n", tmp_path).table
    assert table.column("first_seen").cast(pa.int64()).to_pylist() == [UNKNOWN_TIME]


def test_tables_of_others_without_times(tmp_path):
    known, none = LINE, LINE.replace("2026-01-01T00:00:00Z", "")
    table = of(f"{HEADER},last_seen\n{known},\n{none},\n", tmp_path).table
    first, last = (table.column(name).cast(pa.int64()).to_pylist() for name in ("first_seen", "last_seen"))
    assert first == last
    assert first == [1767225600 * 10**9, UNKNOWN_TIME]
    assert table.column("hours").to_pylist() == [[490896], []]


def test_what_has_no_time_is_within_every_window(tmp_path):
    """As in the log itself: a dump shows what is alive now."""
    write_flows(flows_of(row("10.0.0.1", "10.0.0.2", 80, src_names=[], dst_names=[]) | UNTIMED), tmp_path / "flows.csv")
    for bound in ("since", "until"):
        assert read_flows([tmp_path / "flows.csv"], config=Config(**{bound: NOW})).table.num_rows == 1


# --- writing ----------------------------------------------------------------------------------------------------------


def test_unknown_format():
    with pytest.raises(OptionError, match="no such format: xls"):
        write_flows(flows_of(), io.BytesIO(), "xls")
    with pytest.raises(OptionError, match="cannot tell the format"):
        write_flows(flows_of(), "flows.xls")
    with pytest.raises(OptionError, match="a stream has no name"):
        write_flows(flows_of(), io.BytesIO())


def test_file_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(OptionError):
        write_flows(flows_of(), tmp_path / "flows.csv", "xls")
    with pytest.raises(InputError, match="no such file or directory"):
        write_flows(flows_of(), tmp_path / "missing" / "flows.csv")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", FORMATS)
def test_a_pipe_is_written_to_and_stays(form, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    held = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_flows(flows_of(), pipe, form)
        with io.BytesIO() as stream:
            write_flows(flows_of(), stream, form)
            assert os.read(held, 1 << 16) == stream.getvalue()
    finally:
        os.close(held)
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_an_open_descriptor_is_written_to_though_it_is_a_file(tmp_path):
    with (tmp_path / "log").open("ab") as log:
        log.write(b"before\n")
        log.flush()
        write_flows(flows_of(), f"/dev/fd/{log.fileno()}", "csv")
        log.write(b"after\n")
    lines = (tmp_path / "log").read_bytes().splitlines()
    assert (lines[0], lines[1][:12], lines[-1]) == (b"before", b'"first_seen"', b"after")
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


@pytest.mark.parametrize("form", FORMATS)
def test_a_directory_is_not_written_over(form, tmp_path, monkeypatch):
    (tmp_path / "flows").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("flows", ""):
        with pytest.raises(InputError, match="is a directory"):
            write_flows(flows_of(), name, form)
    assert [path.name for path in tmp_path.rglob("*")] == ["flows"]
