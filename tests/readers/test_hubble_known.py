"""The compiled way past known records gives the table and the ledger that the Python reader gives alone."""

from __future__ import annotations

import json
import os
import random
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from netpol_gen.config import Config
from netpol_gen.model import Signal
from netpol_gen.readers import hubble_known, read_flows
from netpol_gen.readers.times import canonical, nanoseconds
from tests.bench import hubble as bench
from tests.conftest import absent
from tests.readers.making import NANOSECONDS, WORLD, flow, ip, lines, read_bytes, reply, tcp, wrapped
from tests.readers.test_hubble_paths import LINES, written
from tests.readers.test_hubble_whole import outcome


@pytest.fixture(scope="module", autouse=True)
def built():
    if hubble_known.module() is None:
        absent("the compiled module is not built: a C compiler, then `make venv`", os.environ)


def both(directory, data, **options):
    """What comes of reading these bytes with and without the compiled module: the same."""
    found = outcome(read_bytes(directory, data, **options))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hubble_known, "module", lambda: None)
        assert outcome(read_bytes(directory, data, **options)) == found
    return found


def known_of(data):
    """How many records of these the compiled module counts by itself, and the lines that it hands out."""
    made = hubble_known.make(None)
    handed = []

    def other(start, stop, before, learnable):
        handed.append((data[start:stop], before, learnable))
        if learnable:
            made.mean(False, True, 1, 1, 4)
            made.put(0)

    return made.scan(data, other, lambda *_: 0), handed


SEEN = lines(flow(), reply(), flow(l4=tcp(40001, 5432, "SYN")), reply(l4=tcp(5432, 40001, "SYN", "ACK")))


def test_it_knows_what_differs_in_time_and_client_port_alone():
    again = flow(time="2025-12-31T23:59:59Z", l4=tcp(40007, 5432, "ACK"), uuid="x", Summary="TCP Flags: ACK")
    counted, handed = known_of(lines(flow(), again, "", flow(l4=tcp(40007, 5433, "ACK")), again))
    assert counted == 2
    assert [before for _, before, _ in handed] == [0, 3]
    assert all(learnable for *_, learnable in handed)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (('"time":"2024', '"time":"2024-'), "no time"),
        (("09.123456789Z", "60.123456789Z"), "a leap second is the next minute's"),
        (("2024-05-06", "2024-02-30"), "no day"),
        (("2024-05-06", "1969-12-31"), "before the epoch"),
        (("09.123456789Z", "09.Z"), "no fraction"),
        (("09.123456789Z", "09.1234567890Z"), "more than nanoseconds"),
        (("09.123456789Z", "09+01:00"), "another zone"),
        (('"source_port":40000', '"source_port":"40000"'), "a port as text"),
        (('"source_port":40000', '"source_port":040000'), "no number"),
        (('"source_port":40000', '"source_port":70000'), "no port"),
        (('"source_port":40000', '"source_port":40000,"source_port":1'), "twice"),
        (('"source_port":40000,', ""), "no client port"),
        (('"verdict":"FORWARDED"', '"verdict":"FORWARDED","verdict":"DROPPED"'), "twice"),
        (('"verdict":"FORWARDED"', '"verdict":"DROPPED"'), "another verdict"),
        (('"verdict":"FORWARDED"', '"verdict":"FORW\\u0041RDED"'), "an escape"),
        (("k8s:app=web", "k8s:app=wéb"), "beyond ASCII"),
        (("k8s:app=web", "k8s:app=w\x01eb"), "a control character"),
        (('"is_reply":false', '"is_reply":false,"l7":{"type":"REQUEST"}'), "says more"),
        (('"is_reply":false', '"is_reply":false,"aggregate":{"ingress_flow_count":2}'), "stands for more"),
        (('"is_reply":false', '"is_reply":falsy'), "no JSON"),
        (('"is_reply":false', '"is_reply":false,"x":[1,]'), "no JSON"),
        (('"is_reply":false', '"is_reply":false,"x":' + 40 * "[" + 40 * "]"), "nested deeply"),
        (('"is_reply":false}', '"is_reply":false'), "cut off"),
        (('{"flow":', '{"flow":null,"flow":'), "two flows"),
        (('"node_name":"node-1","event', '"node_name":"","event'), "no node"),
        (('"node_name":"node-1","event', '"node_name":7,"event'), "a node that is no text"),
        (('"pod_name":"web-1"}', '"pod_name":"web-1"},"source":{}'), "twice"),
        (('"identity":101', '"identity":1.5e3'), "an exponent"),
    ],
)
def test_in_doubt_the_python_reader_decides(tmp_path, change, why):
    del why
    plain = lines(flow()).decode()
    odd = plain.replace(*change)
    assert odd != plain
    assert known_of((plain + odd + plain).encode())[0] == 1
    both(tmp_path, (plain + odd + plain + odd).encode())


def test_a_line_that_goes_on_after_its_record_is_no_record(tmp_path):
    plain = lines(flow())
    tail = plain.strip() + b' {"flow":{}}\n'
    assert known_of(plain + tail)[0] == 0
    both(tmp_path, plain + tail)


def test_nothing_is_learnt_from_what_only_the_tolerant_reader_takes(tmp_path):
    # It also reads names in camel case, which are no fields to the others.
    dropped = {"verdict": "DROPPED", "is_reply": {"value": False}}
    data = lines(*3 * [flow(**dropped, dropReasonDesc="POLICY_DENIED"), flow(**dropped)])
    [row], read, aside, *_ = both(tmp_path, data)
    assert (row["records"], read, [count for _, count in aside]) == (3, 6, [3])


def test_records_set_aside_are_counted_without_a_place_once_there_are_enough(tmp_path):
    icmp = [flow(l4={"ICMPv4": {"type": 8}}, time=f"2024-05-06T07:08:{n:02d}Z") for n in range(10)]
    local = [flow(IP=ip("127.0.0.1", "10.0.0.2")) for _ in range(10)]
    unsaid = [flow(verdict="VERDICT_UNKNOWN", l4=tcp(n, 1, "ACK")) for n in range(1, 11)]
    data = lines(*icmp, *local, *unsaid)
    _, read, aside, *_ = both(tmp_path, data)
    assert read == 30
    assert [count for _, count in aside] == [10, 10, 10]


def test_names_and_services_of_known_records_stay(tmp_path):
    out = flow(destination=WORLD, IP=ip("10.0.0.1", "203.0.113.7"), destination_names=["api.example.org"])
    told = flow(destination_service={"name": "db", "namespace": "shop"})
    [first, second] = both(tmp_path, lines(out, told, flow(), out, told, out))[0]
    assert first["dst_service"] == "shop/db"
    assert second["dst_names"] == ["api.example.org"]


@pytest.mark.parametrize(
    "more",
    [
        '"destination_names":["api.example.org"]',
        '"destination_service":{"name":"db","namespace":"shop"}',
        '"aggregate":null',
    ],
)
def test_what_a_record_says_beside_a_known_conversation_is_not_lost(tmp_path, more):
    # Its like is known from another conversation, and its conversation from records that say less.
    def there(address, *what):
        text = json.dumps(wrapped(flow(destination=WORLD, IP=ip("10.0.0.1", address))), separators=(",", ":"))
        return text.replace('"is_reply"', ",".join([*what, '"is_reply"']))

    data = lines(there("203.0.113.7"), there("203.0.113.8", more), *2 * [there("203.0.113.7", more)])
    told = both(tmp_path, data)[0]
    assert len(told) == 2
    assert all(row["dst_names"] or row["dst_service"] or row["signals"] & Signal.SAMPLED for row in told)


def test_outside_the_window_nothing_is_counted_as_seen(tmp_path):
    early = [flow(time=f"2024-05-06T07:08:08.{n:03d}Z") for n in range(20)]
    late = [flow(time=f"2024-05-06T07:08:11.{n:03d}Z", l4=tcp(40000 + n, 5432, "ACK")) for n in range(20)]
    refused = json.dumps(wrapped(flow(time="2024-05-06T07:08:08Z", verdict=["no"])))
    data = lines(*early, flow(), *late, flow(), refused, flow(time="2024-05-06T07:08:11Z"), flow())
    since, until = NANOSECONDS - 10**8, NANOSECONDS + 10**9 - 10**8
    [row] = both(tmp_path, data, since=since, until=until)[0]
    assert row["records"] == 3
    for options in ({"since": since}, {"until": until}):
        both(tmp_path, data, **options)


def test_what_is_full_starts_afresh(tmp_path, monkeypatch):
    data = lines(*(flow(IP=ip(f"10.0.{n % 7}.1", "10.0.0.2"), l4=tcp(40000 + n, 5432, "ACK")) for n in range(500)))
    make = hubble_known.make

    class Forgetful:
        """One that is full whenever anything was learnt."""

        def __init__(self, window):
            self.inner, self.full = make(window), True

        def __getattr__(self, name):
            return getattr(self.inner, name)

    expected = both(tmp_path, data)
    monkeypatch.setattr(hubble_known, "make", Forgetful)
    monkeypatch.setattr("netpol_gen.readers.files.BLOCK", 4096)
    assert outcome(read_bytes(tmp_path, data)) == expected


def test_the_generated_exports_of_the_benchmark(tmp_path):
    for profile in bench.PROFILES:
        data = "".join(bench.records(4000, 40, 7, profile)).encode()
        both(tmp_path, data)
        assert known_of(data)[0] > 3000


@pytest.mark.parametrize("how", ["as it is", "spaced", "twice", "shuffled"])
def test_real_exports(tmp_path, shared_data, how):
    for path in sorted(Path(shared_data, "hubble").glob("*.json")):
        data = path.read_bytes()
        records = data.splitlines()
        if how == "spaced":
            records = [json.dumps(json.loads(line)).encode() for line in records]
        elif how == "twice":
            records = [line for line in records for _ in range(2)]
        elif how == "shuffled":
            records = 2 * records
            random.Random(5).shuffle(records)
        both(tmp_path, b"\n".join(records))


@settings(max_examples=300)
@given(shapes=LINES, data=st.data())
def test_any_records_in_any_number(tmp_path_factory, shapes, data):
    written_ones = [written(shape) for shape in shapes]
    picked = data.draw(st.lists(st.sampled_from(written_ones), min_size=1, max_size=40))
    options = data.draw(st.sampled_from([{}, {"since": NANOSECONDS}, {"until": NANOSECONDS}]))
    both(tmp_path_factory.mktemp("known"), lines(flow(), *picked), **options)


TEXT = lines(flow(uuid="1", destination_service={"name": "db", "namespace": "shop"}, x=[1, {"a": -0.5, "b": None}]))
PIECES = '"{}[],:\\ \t\r09-.e\x00\x1f\x7fé'
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["insert", "delete", "replace", "double", "move"]),
        st.integers(0, len(TEXT)),
        st.integers(1, 12),
        st.sampled_from([*PIECES, "null", "true", '"flow":', '"time":"', '"l4":{}', '"source":{}', "//"]),
    ),
    min_size=1,
    max_size=4,
)


def edited(text, edits):
    for how, at, size, piece in edits:
        before, cut, after = text[:at], text[at : at + size], text[at + size :]
        if how == "insert":
            text = before + piece.encode() + cut + after
        elif how == "delete":
            text = before + after
        elif how == "replace":
            text = before + piece.encode() + after
        elif how == "double":
            text = before + cut + cut + after
        else:
            text = before + after[: size * 3] + cut + after[size * 3 :]
    return text


@settings(max_examples=1000)
@given(edits=EDITS)
@example(edits=[("delete", 0, 1, "")])
def test_damaged_records(tmp_path_factory, edits):
    odd = edited(TEXT, edits)
    both(tmp_path_factory.mktemp("damaged"), TEXT + odd + b"\n" + TEXT + odd + b"\n" + odd)


NEARLY_TIMES = r"(19|20)\d\d-[01]\d-[0-3]\d[T ][0-2]\d:[0-6]\d:[0-6]\d(\.\d{0,10})?(Z|z|\+00:00)"


@settings(max_examples=300)
@given(text=st.from_regex(NEARLY_TIMES, fullmatch=True))
def test_times(text):
    data = lines(flow(time="2024-05-06T07:00:00Z"), flow(time=text))
    made = hubble_known.make(None)

    def other(start, stop, before, learnable):
        if learnable:
            made.mean(False, True, 1, 1, 4)
            made.put(3)

    if made.scan(data, other, lambda *_: 3):
        connections = [int.from_bytes(made.connections()[i : i + 8], sys.byteorder) for i in (0,)]
        found = canonical(text)
        assert found is not None
        assert connections[0] >> 16 & (1 << 20) - 1 == nanoseconds(found) // 3600 // 10**9
        assert connections[0] >> 36 == 3
        [(_, adds, _, first, last)], _ = made.drain()
        assert adds == 1
        assert nanoseconds(first) == nanoseconds(last) == nanoseconds(found)


def test_misuse_is_an_error_and_no_crash():
    made = hubble_known.make(None)
    for call in (lambda: made.mean(False, True, 1, 1, 4), lambda: made.put(0), lambda: made.set_aside(0)):
        with pytest.raises(RuntimeError):
            call()
    for wrong in (-1, 32, 1 << 40):
        with pytest.raises((ValueError, OverflowError)):
            made.count_outside(wrong)
    with pytest.raises(RuntimeError, match="within a scan"):
        made.scan(SEEN, lambda *_: made.forget(), print)
    with pytest.raises(ZeroDivisionError):
        made.scan(SEEN, lambda *_: 1 // 0, print)
    with pytest.raises(TypeError):
        made.__init__((), b"", None)
    kind = type(made)
    with pytest.raises(RuntimeError):
        kind.__new__(kind).scan(SEEN, print, print)
    for arguments in (((), bytes(16), None), (((b"time", 9),), bytes(16), None), (((b"time", 1),), b"", None)):
        with pytest.raises((ValueError, TypeError)):
            kind(*arguments)
    assert made.drain()[0] == []


def test_no_count_runs_over():
    # 16 million replies of one conversation are 1 << 64 in `Row.count`.
    made = hubble_known.make(None)

    def other(start, stop, before, learnable):
        made.mean(True, True, 1 << 61, 1, 4)
        made.put(0)

    made.scan(lines(reply()), other, print)
    assert not made.full
    made.scan(lines(reply(), reply()), other, print)
    assert made.full
    [(_, adds, *_)], _ = made.drain()
    assert adds == 1 << 62
    made.forget()
    assert not made.full


def test_processes_agree(tmp_path):
    data = "".join(bench.records(3000, 30, 3)).encode()
    path = tmp_path / "flows.jsonl"
    path.write_bytes(data)
    assert outcome(read_flows([path], processes=2)) == outcome(read_flows([path], processes=1))


def test_strict_says_the_same(tmp_path):
    from netpol_gen.errors import BadRecordsError

    path = tmp_path / "flows.jsonl"
    path.write_bytes(SEEN + SEEN + b"{\n" + SEEN)
    with pytest.raises(BadRecordsError) as compiled:
        read_flows([path], config=Config(strict=True), processes=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hubble_known, "module", lambda: None)
        with pytest.raises(BadRecordsError) as pure:
            read_flows([path], config=Config(strict=True), processes=1)
    assert str(compiled.value) == str(pure.value)
