"""Conntrack's XML: documents, event streams that never end, and hostile ones."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpol_gen.flowtable import Flows, Reason
from netpol_gen.model import Signal
from netpol_gen.readers import conntrack, conntrack_xml
from netpol_gen.readers.files import expand
from netpol_gen.readers.vpc import Options

HEAD = '<?xml version="1.0" encoding="utf-8"?>\n<conntrack>\n'
FLOW = (
    '<flow type="{type}"><meta direction="original"><layer3 protonum="2" protoname="ipv4"><src>10.0.1.7</src>'
    '<dst>10.96.0.20</dst></layer3><layer4 protonum="6" protoname="tcp"><sport>{port}</sport><dport>80</dport></layer4>'
    "<counters><packets>5</packets><bytes>500</bytes></counters></meta>"
    '<meta direction="reply"><layer3 protonum="2" protoname="ipv4"><src>10.0.2.9</src><dst>10.0.1.7</dst></layer3>'
    '<layer4 protonum="6" protoname="tcp"><sport>8080</sport><dport>{port}</dport></layer4>'
    "<counters><packets>4</packets><bytes>400</bytes></counters></meta>"
    '<meta direction="independent">{rest}</meta></flow>'
)
ANSWERED = "<state>ESTABLISHED</state><timeout>431999</timeout><mark>0</mark><use>1</use><id>7</id><assured/>"


def flow(rest: str = ANSWERED, *, port: int = 40001, event: str = "new") -> str:
    return FLOW.format(type=event, port=port, rest=rest)


def read(text: str | bytes) -> Flows:
    data = text.encode() if isinstance(text, str) else text
    return conntrack.read(expand(["-"], io.BytesIO(data)), Options())


ENVELOPES = {
    "document": f"{HEAD}{flow()}\n</conntrack>\n",
    "stream without an end": f"{HEAD}{flow()}\n",
    "one line": HEAD.replace("\n", "") + flow(),
    "no declaration": f"<conntrack>{flow()}</conntrack>",
    "pretty-printed": HEAD + flow().replace("><", ">\n  <"),
    "type left out": HEAD + flow().replace(' type="new"', ""),
    "protocol by name alone": HEAD + flow().replace('protonum="6" ', ""),
    "polled": f"{HEAD}{flow()}\n</conntrack>\n" * 3,
}


@pytest.mark.parametrize("text", ENVELOPES.values(), ids=ENVELOPES)
def test_envelopes(text):
    assert conntrack.looks_like(text.encode())
    flows = read(text)
    (row,) = flows.table.to_pylist()
    assert not flows.ledger.set_aside
    assert (row["src_ip"], row["dst_ip"], row["dst_port"]) == ("10.0.1.7", "10.96.0.20", 80)
    assert (row["backend_ip"], row["backend_port"]) == ("10.0.2.9", 8080)
    assert (row["flows"], row["bytes"], row["packets"]) == (1, 900, 9)
    assert Signal.SERVER_DATA in Signal(row["signals"])


def test_unreplied():
    rest = "<state>SYN_SENT</state><timeout>119</timeout><unreplied/>"
    (row,) = read(HEAD + flow(rest)).table.to_pylist()
    assert Signal(row["signals"]) == Signal.TRACE | Signal.SYN


def test_times():
    day = "<wday>1</wday><day>22</day><month>11</month><year>2026</year>"
    when = f"<when><hour>22</hour><min>52</min><sec>51</sec>{day}</when>"
    (row,) = read(HEAD + flow(ANSWERED + when)).table.to_pylist()
    assert row["first_seen"].value == 1795387971 * 10**9
    stamps = "<timestamp><start>1795387971765385000</start></timestamp><deltatime>9</deltatime>"
    (row,) = read(HEAD + flow(ANSWERED + stamps)).table.to_pylist()
    assert (row["first_seen"].value, row["last_seen"].value) == (1795387971 * 10**9, 1795387980 * 10**9)


def test_a_stopped_stream_loses_its_last_flow_only():
    text = HEAD + flow(port=1025) + "\n" + flow(port=1026)[:200]
    flows = read(text)
    assert flows.table.num_rows == 1
    assert flows.ledger.set_aside == {Reason.MALFORMED: 1}
    assert flows.ledger.places[Reason.MALFORMED] == ["-:4: it ends in the middle of a flow"]


def test_a_broken_flow_costs_itself():
    broken = flow().replace("</layer3>", "", 1)
    flows = read(HEAD + "\n".join([flow(port=1025), broken, flow(port=1026), flow().replace("10.0.1.7", "?")]))
    assert flows.ledger.read == 4
    assert flows.table.column("flows").to_pylist() == [2]
    assert flows.ledger.set_aside == {Reason.MALFORMED: 2}
    assert [place.split(":")[1] for place in flows.ledger.places[Reason.MALFORMED]] == ["4", "6"]


def test_a_flow_begun_again_before_its_end():
    flows = read(HEAD + flow()[:300] + "\n" + flow())
    assert flows.table.column("flows").to_pylist() == [1]
    assert flows.ledger.set_aside == {Reason.MALFORMED: 1}


ENTITIES = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 12))
BOMB = f'<?xml version="1.0"?><!DOCTYPE conntrack [<!ENTITY l0 "lol">{ENTITIES}]>\n<conntrack>'
HOSTILE = {
    "billion laughs": BOMB + flow().replace("10.0.1.7", "&l11;"),
    "external entity": '<!DOCTYPE c [<!ENTITY x SYSTEM "file:///etc/passwd">]><conntrack>'
    + flow().replace("10.0.1.7", "&x;"),
    "entity within a flow": "<conntrack>" + flow("<!DOCTYPE a [<!ENTITY b 'c'>]>&b;"),
    "deep": "<conntrack><flow>" + "<a>" * 3000 + "</flow>",
    "long": "<conntrack><flow>" + "x" * 100_000 + "</flow>" + flow(),
    "endless": "<conntrack><flow>" + "<a/>" * 50_000,
    "many attributes": "<conntrack><flow " + " ".join(f'a{i}="b"' for i in range(1500)) + "></flow>",
    "nothing in it": "<conntrack><flow></flow></conntrack>",
    "other bytes": b"<conntrack>" + flow().encode().replace(b"10.0.1.7", b"\xff\xfe"),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile(text):
    flows = read(text)
    records = sum(flows.table.column("records").to_pylist())
    assert flows.ledger.bad >= 1
    assert flows.ledger.read == records + sum(flows.ledger.set_aside.values())
    assert set(flows.table.column("src_ip").to_pylist()) <= {"10.0.1.7"}


PIECES = st.sampled_from(
    [HEAD, flow(), flow(port=1), "<flow>", "</flow>", "<flow", "</conntrack>", "<!--", "-->", "\n", "x"]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES, max_size=8), st.integers(1, 500))
def test_pieces_may_be_cut_anywhere(parts, size):
    data = "".join(parts).encode()
    whole = list(conntrack_xml.elements([data]))
    cut = list(conntrack_xml.elements(data[i : i + size] for i in range(0, len(data), size)))
    assert cut == whole
    flows = read("<conntrack>" + "".join(parts))
    assert flows.ledger.read == sum(flows.table.column("records").to_pylist()) + sum(flows.ledger.set_aside.values())
