"""Whole blocks decoded at once and lines understood one by one: two ways to the same table."""

from __future__ import annotations

import gc
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpol_gen.config import Config
from netpol_gen.errors import BadRecordsError
from netpol_gen.flowtable import Reason
from netpol_gen.readers import hubble_decode, hubble_fold, hubble_known, read_flows
from tests.readers.making import DB, HOUR, WORLD, flow, ip, lines, read_bytes, reply, tcp, udp, wrapped
from tests.readers.test_hubble_whole import outcome

ZONES = ("Z", "+02:00", "-00:30", "z", " UTC")
NEAR = {"ID": 4, **DB, "workloads": [{"kind": "StatefulSet", "name": "db"}]}


@st.composite
def records(draw):
    """A record as an exporter writes it, or nearly."""
    fraction = draw(st.sampled_from(["", ".5", ".123456", ".123456789", ".100000000"]))
    second = draw(st.integers(0, 60))
    minute = draw(st.sampled_from([0, 8, 59]))
    when = f"2024-05-06T{draw(st.integers(5, 9)):02d}:{minute:02d}:{second:02d}{fraction}{draw(st.sampled_from(ZONES))}"
    port = draw(st.integers(40000, 40003))
    flags = draw(st.sampled_from([("SYN",), ("SYN", "ACK"), ("ACK",), ("RST",), ()]))
    changes = draw(
        st.sampled_from(
            [
                {},
                {"destination": NEAR},
                {"destination": WORLD, "IP": ip("10.0.0.1", "203.0.113.7"), "destination_names": ["a.example."]},
                {"l4": udp(port, 53)},
                {"l4": {"ICMPv4": {"type": 8}}},
                {"l4": {"TCP": {"source_port": str(port), "destination_port": 5432}}},
                {"l4": tcp(port, 0, "SYN")},
                {"l4": tcp(port, 70000, "SYN")},
                {"verdict": "SOMETHING_NEW"},
                {"verdict": 1},
                {"verdict": "DROPPED", "drop_reason": 133, "drop_reason_desc": "POLICY_DENIED"},
                {"is_reply": None, "trace_observation_point": "TO_OVERLAY"},
                {"is_reply": None, "trace_reason": "REPLY"},
                {"event_type": {"type": 5}, "trace_observation_point": None},
                {"destination_service": {"name": "db", "namespace": "shop"}},
                {"aggregate": {"ingress_flow_count": 3}},
                {"source": None},
                {"IP": ip("10.0.0.1", "somewhere")},
                {"node_name": None},
            ]
        )
    )
    make = draw(st.sampled_from([flow, reply]))
    ends = (port, 5432) if make is flow else (5432, port)
    common = {"time": when, "node_name": draw(st.sampled_from(["a", "default/b"])), "l4": tcp(*ends, *flags)}
    return make(**{**common, **changes})


LINES = st.lists(
    st.tuples(records(), st.sampled_from(["wrapped", "bare", "spaced"])) | st.sampled_from(["", "x", "{}", '{"flow":']),
    min_size=1,
    max_size=12,
)


def written(shape):
    if isinstance(shape, str):
        return shape
    record, how = shape
    if how == "wrapped":
        return record
    return json.dumps(record, separators=(",", ":")) if how == "bare" else json.dumps({"flow": record, "time": None})


@pytest.fixture(scope="module", params=["compiled", "pure"])
def way(request):
    """With the compiled module, where it is built, and without."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "pure":
            patch.setattr(hubble_known, "module", lambda: None)
        yield request.param


@settings(max_examples=300)
@given(shapes=LINES)
def test_a_block_says_what_its_lines_say(tmp_path_factory, way, shapes):
    del way
    directory = tmp_path_factory.mktemp("paths")
    data = lines(flow(), *map(written, shapes))
    whole = outcome(read_bytes(directory, data))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hubble_decode.Decoder, "flows", lambda *_: None)
        assert outcome(read_bytes(directory, data)) == whole


BARE = flow(l4=tcp(40000, 7777, "ACK"))
NAMELESS = {"flow": flow(node_name=None, IP=ip("10.0.0.1", "10.0.0.2"))}


@pytest.mark.parametrize(
    "records",
    [
        # A number as text is one to the tolerant reader alone; another encoder's names, too.
        [wrapped(flow()), {**BARE, "verdict": "1"}, wrapped(flow())],
        [wrapped(flow()), BARE, wrapped({**flow(is_reply=None, trace_observation_point=None), "isReply": True})],
        [wrapped(flow()), {**BARE, "node_status": {}}, BARE],
        [BARE, {**BARE, **wrapped(flow())}, BARE],
        [BARE, wrapped(flow(IP=None)), {**BARE, "IP": None}, {**BARE, "flow": None}, {**BARE, "verdict": ["1"]}],
        # The node's name stands beside the flow, or nowhere, or is none.
        [wrapped(flow()), NAMELESS, {**NAMELESS, "node_name": "node-9"}, {**NAMELESS, "node_name": 7}],
        [wrapped(flow()), NAMELESS, {**NAMELESS, "nodeName": "node-9"}],
    ],
)
def test_what_surrounds_a_record_does_not_matter(tmp_path, way, records):
    del way

    def lone(reader, data, line, count, excess):
        del count
        for number, text in enumerate(data[: len(data) - excess].split(b"\n"), line):
            reader.value(text, number)

    for order in (records, records[::-1], [*records, *records]):
        data = lines(*(json.dumps(record, separators=(",", ":")) for record in order))
        whole = outcome(read_bytes(tmp_path, data))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(hubble_fold.Reader, "block", lone)
            assert outcome(read_bytes(tmp_path, data)) == whole


@pytest.mark.parametrize("odd", ["", " ", '{"flow":\n', '{"flow":{"time":"",\n"uuid":""}}', '{"flow":{}\n,"a":{}}'])
def test_records_are_told_apart_by_lines(tmp_path, way, odd):
    del way
    one = json.dumps(wrapped(flow())).encode()
    data = lines(flow(), odd, one + b" " + one, one + one, one, odd)
    whole = outcome(read_bytes(tmp_path, data))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hubble_decode.Decoder, "flows", lambda *_: None)
        assert outcome(read_bytes(tmp_path, data)) == whole


def test_the_zone_of_one_record_is_not_that_of_the_next(tmp_path, way):
    del way
    times = ("2024-05-06T07:08:09+02:00", "2024-05-06T07:08:10Z", "2024-05-06T07:08:11+02:00", "2024-05-06T07:08:12Z")
    [row] = read_bytes(tmp_path, lines(*(flow(time=time) for time in times))).table.to_pylist()
    assert row["hours"] == [HOUR - 2, HOUR]


@pytest.mark.parametrize("odd", ["2024-05-06T07:08:0xZ", "2024-05-06T07:08Z", "2024-05-06T07:08:09.Z", None, "", "Z"])
@pytest.mark.parametrize("before", ["2024-05-06T07:08:09Z", "2024-05-06T09:08:09+02:00"])
def test_what_is_no_time_is_none_whatever_came_before(tmp_path, odd, before, way):
    del way
    for records in ((flow(time=odd), flow(time=before)), (flow(time=before), flow(time=odd))):
        flows = read_bytes(tmp_path, lines(*records))
        assert flows.ledger.set_aside == {Reason.BAD_FIELD: 1}
        assert flows.table.num_rows == 1


def test_the_collector_of_cycles_is_as_it_was(tmp_path):
    path = tmp_path / "flows.jsonl"
    path.write_bytes(lines(flow(), "{"))
    for enabled in (True, False):
        (gc.enable if enabled else gc.disable)()
        try:
            read_flows([path], processes=1)
            with pytest.raises(BadRecordsError):
                read_flows([path], processes=1, config=Config(strict=True))
            assert gc.isenabled() is enabled
        finally:
            gc.enable()
