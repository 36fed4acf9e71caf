"""Conntrack's XML: documents, event streams that never end, and hostile ones."""

from __future__ import annotations

import io
import time

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
    "byte order mark": f"\ufeff{HEAD}{flow()}",
    "byte order marks of files put together": f"\ufeff{HEAD}{flow()}\n</conntrack>\n" * 2,
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


# --- the terminal's lines among the flows -----------------------------------------------------------------------------

BANNER = "conntrack v1.4.7 (conntrack-tools): 2 flow entries have been shown.\n"
PROMPT = "root@n1:~# conntrack -L -o xml 2>&1\n"
TWO = (flow(port=1025) + "\n", flow(port=1026) + "\n")
END = "</conntrack>\n"
TERMINAL = {
    "banner first": (BANNER + HEAD + "".join(TWO) + END, "1"),
    "banner first, carriage returns": ((BANNER + HEAD + "".join(TWO) + END).replace("\n", "\r\n"), "1"),
    "prompt first": (PROMPT + HEAD + "".join(TWO) + END, "1"),
    "prompt that names an address": (PROMPT.replace("2>&1", "--src=10.0.1.7") + HEAD + "".join(TWO) + END, "1"),
    "blank lines first": ("\n\n" + PROMPT + "\n" + HEAD + "".join(TWO) + END, "3"),
    "banner between flows": (HEAD + TWO[0] + BANNER + TWO[1] + END, "4"),
    "banner behind the end": (HEAD + "".join(TWO) + END + BANNER, "6"),
    "banner behind a stream": (HEAD + "".join(TWO) + "^C" + BANNER.replace("entries", "events"), "5"),
    "banner before the end": (HEAD + "".join(TWO) + BANNER + END, "5"),
}


@pytest.mark.parametrize(("text", "line"), TERMINAL.values(), ids=TERMINAL)
def test_what_the_terminal_shows_beside_the_flows_is_told_as_in_text(text, line):
    assert conntrack.looks_like(text.encode())
    flows = read(text)
    assert flows.table.column("flows").to_pylist() == [2]
    assert flows.ledger.set_aside == {Reason.CONTROL: 1}
    assert flows.ledger.places[Reason.CONTROL] == [f"-:{line}"]


def test_an_empty_table_behind_its_banner():
    flows = read(BANNER + HEAD + END)
    assert flows.table.num_rows == 0
    assert flows.ledger.set_aside == {Reason.CONTROL: 1}


def test_lines_of_other_programs_are_not_control():
    note = 'Defaulted container "agent" out of: agent, config (init)\n'
    flows = read(note + BANNER + HEAD + "".join(TWO) + END)
    assert flows.table.column("flows").to_pylist() == [2]
    assert flows.ledger.set_aside == {Reason.NOT_A_FLOW: 1, Reason.CONTROL: 1}


def test_lost_events_are_a_loss():
    lost = "WARNING: We have hit ENOBUFS! We are losing events.\nThis message means that the current netlink socket "
    lost += "buffer size is too small.\nPlease, check --buffer-size in conntrack(8) manpage.\n"
    flows = read(HEAD + TWO[0] + lost + TWO[1])
    assert flows.ledger.set_aside == {Reason.LOST_EVENTS: 1, Reason.CONTROL: 2}
    assert flows.ledger.lost == 1


@pytest.mark.parametrize("glue", ["", "\n"])
def test_a_banner_does_not_hide_a_flow_that_was_cut(glue):
    flows = read(HEAD + TWO[0] + TWO[1][:200] + glue + BANNER)
    assert flows.table.column("flows").to_pylist() == [1]
    assert flows.ledger.set_aside[Reason.MALFORMED] == 1
    assert flows.ledger.places[Reason.MALFORMED] == ["-:4: it ends in the middle of a flow"]


OTHERS = {
    "a text table with XML behind it": f"tcp      6 9 CLOSE src=10.0.1.7 dst=10.0.2.9 sport=1 dport=2 \n{HEAD}",
    "saved entries": f"-A -s 10.0.1.7 -d 10.0.2.9 -r 10.0.2.9 -q 10.0.1.7 -p tcp\n{HEAD}",
    "JSON": f'{{"a":\n"b"}}\n{HEAD}',
    "another document": f"<html>\n{HEAD}",
    "far away": "x\n" * 5000 + HEAD,
}


@pytest.mark.parametrize("text", OTHERS.values(), ids=OTHERS)
def test_what_is_not_its_xml(text):
    assert not conntrack_xml.looks_like(text.encode())


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
    [HEAD, BANNER, flow(), flow(port=1), "<flow>", "</flow>", "<flow", "</conntrack>", "<!--", "-->", "\n", "x"]
)


@pytest.mark.parametrize("filler", ["</flow>", "<!--", "<!-- --><!-", "<?xml ", "<conntrack ", "<flow ", "\n", "#  "])
def test_no_filler_takes_long(filler):
    # A piece of a stream is a few megabytes: what looks at the rest of it again for each of these takes hours.
    count = 300_000 // len(filler)
    began = time.perf_counter()
    for _ in conntrack_xml.elements([b"<conntrack>" + filler.encode() * count + b"<flow></flow>"]):
        pass
    assert time.perf_counter() - began < 5


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES, max_size=8), st.integers(1, 500))
def test_pieces_may_be_cut_anywhere(parts, size):
    data = "".join(parts).encode()
    whole = list(conntrack_xml.elements([data]))
    cut = list(conntrack_xml.elements(data[i : i + size] for i in range(0, len(data), size)))
    assert cut == whole
    flows = read("<conntrack>" + "".join(parts))
    assert flows.ledger.read == sum(flows.table.column("records").to_pylist()) + sum(flows.ledger.set_aside.values())
