"""Ends of connections: an entry outlives its last packet, and by then its addresses may be somebody else's."""

from __future__ import annotations

import io
from itertools import pairwise, permutations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpol_gen.edges import Edges, find_edges
from netpol_gen.flowtable import Flows, Reason
from netpol_gen.handovers import Handovers
from netpol_gen.inventory import Inventory, Timeline
from netpol_gen.model import Signal
from netpol_gen.readers import conntrack, read_flows
from netpol_gen.readers.conntrack_meaning import L4, STATES, lateness
from netpol_gen.readers.files import expand
from netpol_gen.readers.vpc import Options
from tests.flowrows import inventory_of, pod
from tests.readers.test_conntrack import CALL, DESTROYED, PLAIN
from tests.readers.test_conntrack_xml import FLOW

pytestmark = pytest.mark.usefixtures("conntrack_way")
NS = 1_000_000_000
DAY = 24 * 3600
T0 = 1_795_384_800
"""A full hour."""
CLIENT, API, VIP = "10.0.1.7", "10.0.2.9", "10.96.0.20"
LATE = Signal.EXPIRED | Signal.FORGOTTEN
EVENTS = {"NEW": "    [NEW]", "UPDATE": " [UPDATE]", "DESTROY": "[DESTROY]"}


def event(
    what: str,
    at: float,
    state: str = "TIME_WAIT",
    *,
    port: int = 40001,
    protocol: str = "tcp",
    dialled: str = API,
    counters: tuple[int, int] | None = None,
    client: str = CLIENT,
) -> str:
    """An event as `conntrack -E -o timestamp` prints it, `at` seconds after `T0`."""
    if what == "NEW":
        state = "SYN_SENT"
    number = {"tcp": 6, "udp": 17, "sctp": 132}[protocol]
    head = f"{protocol:8} {number} {state} " if state and protocol != "udp" else f"{protocol:8} {number} "
    to = 80 if dialled == VIP else 8080
    sent, answered = (f"packets={n} bytes={n * 100} " if counters else "" for n in counters or (0, 0))
    unreplied = "[UNREPLIED] " if what == "NEW" else ""
    time = f"{T0 + at:.6f}"
    return (
        f"[{time}]\t{EVENTS[what]} {head}src={client} dst={dialled} sport={port} dport={to} {sent}{unreplied}"
        f"src={API} dst={client} sport=8080 dport={port} {answered}{'' if unreplied else '[ASSURED]'}".rstrip()
    )


def read(*lines: str, handovers: Handovers | None = None) -> Flows:
    text = "\n".join(lines).encode() + b"\n"
    return conntrack.read(expand(["-"], io.BytesIO(text)), Options(handovers=handovers or Handovers()))


def rows(*lines: str, handovers: Handovers | None = None) -> list[dict]:
    return read(*lines, handovers=handovers).table.to_pylist()


def found(*lines: str, handed: float, gone: float | None = None) -> Edges:
    """The edges of a client address that pod `old` left at `gone`, and `new` got at `handed`, seconds after `T0`."""
    old = pod("old-1", "old", CLIENT, ended=int(T0 + (handed - 30 if gone is None else gone)) * NS)
    new = pod("new-1", "new", CLIENT, started=int(T0 + handed) * NS)
    return find_edges(read(*lines), inventory_of(old, new, pod("api-1", "api", API, 8080)))


def clients(edges: Edges) -> set[str]:
    return {edge.src.name for edge in edges.accepted}


# --- alone ------------------------------------------------------------------------------------------------------------

AGES = {
    "established": ("ESTABLISHED", "tcp", 5 * DAY),
    "no state, older kernels": ("", "tcp", 5 * DAY),
    "half closed": ("CLOSE_WAIT", "tcp", 5 * DAY),
    "sctp": ("ESTABLISHED", "sctp", 5 * DAY),
    "closed": ("TIME_WAIT", "tcp", 120),
    "udp": ("", "udp", 180),
}


@pytest.mark.parametrize(("state", "protocol", "age"), AGES.values(), ids=AGES)
def test_end_alone_belongs_to_whoever_held_the_address_all_the_while(state, protocol, age):
    end = event("DESTROY", 0, state, protocol=protocol)
    edges = found(end, handed=-age)
    assert not edges.accepted
    assert edges.ledger.set_aside == {Reason.AMBIGUOUS: 1}
    assert clients(found(end, handed=-age - 600)) == {"new"}


def test_end_alone_keeps_its_own_time():
    (row,) = rows(event("DESTROY", 7, "ESTABLISHED"))
    assert row["first_seen"].value == row["last_seen"].value == (T0 + 7) * NS
    assert row["hours"] == [T0 // 3600]
    assert Signal(row["signals"]) == CALL | Signal.FORGOTTEN


def test_end_alone_is_told_to_the_user():
    (note,) = read(event("DESTROY", 0)).notes
    assert "only the end was recorded" in note
    assert read(event("NEW", 0), event("DESTROY", 9)).notes == ()
    assert read(DESTROYED).notes == ()


def test_known_start_is_no_late_end():
    (row,) = rows(DESTROYED)
    assert not Signal(row["signals"]) & LATE


def test_start_in_no_zone_is_none():
    (row,) = rows(DESTROYED.replace("Nov 22", "Nov 25"))
    assert Signal(row["signals"]) & LATE == Signal.EXPIRED


def test_end_without_a_time_is_like_any_other():
    entry = "[DESTROY] " + PLAIN
    assert rows(entry) == rows(PLAIN)
    (row,) = conntrack.read(expand(["-"], io.BytesIO(entry.encode())), Options(), snapshot=NS).table.to_pylist()
    assert Signal.FORGOTTEN in Signal(row["signals"])


def test_every_way_of_writing_it():
    text = event("DESTROY", 0, "ESTABLISHED")
    odd = f"     1\t{text}"
    when = "<when><hour>22</hour><min>0</min><sec>0</sec><day>22</day><month>11</month><year>2026</year></when>"
    xml = FLOW.format(type="destroy", port=40001, rest=f"<state>ESTABLISHED</state><assured/>{when}")
    signals = [Signal(rows(each)[0]["signals"]) for each in (text, odd, f"<conntrack>{xml}</conntrack>")]
    assert signals == [CALL | Signal.FORGOTTEN] * 3


def test_no_state_that_can_idle_is_taken_for_a_brief_one():
    brief = {(p.name, s) for p in L4 for s in STATES if lateness(p, s) is Signal.EXPIRED}
    assert {p for p, s in brief if s == "ESTABLISHED"} == {"UDP"}
    assert {("TCP", s) for s in ("SYN_SENT", "SYN_RECV", "FIN_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE")} <= brief


# --- with what came before --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [0, 1, 9])
@pytest.mark.parametrize("begins", ["NEW", "UPDATE"])
def test_end_of_a_known_connection_is_its_duplicate(begins, hours):
    begin, end = event(begins, 10), event("DESTROY", 20 + hours * 3600, counters=(3, 2))
    for lines in permutations([begin, end]):
        (row,) = rows(*lines)
        assert row["first_seen"].value == row["last_seen"].value == (T0 + 10) * NS
        assert (row["hours"], row["flows"], row["records"]) == ([T0 // 3600], 1, 2)
        assert (row["packets"], row["bytes"]) == (5, 500)
        assert not Signal(row["signals"]) & LATE
        assert Signal(row["signals"]) >= CALL


@pytest.mark.parametrize("hours", [0, 1, 9])
def test_end_of_a_known_connection_is_of_whoever_began_it(hours):
    lines = [event("NEW", 10), event("DESTROY", 1000 + hours * 3600, "ESTABLISHED")]
    edges = found(*lines, handed=900)
    assert clients(edges) == {"old"}
    assert (edges.ledger.used, edges.ledger.duplicate, edges.ledger.set_aside) == (1, 1, {})


def test_the_latest_row_of_a_connection_has_its_end():
    hour = 3600
    lines = [event("NEW", 10), event("UPDATE", 2 * hour), event("UPDATE", 4 * hour), event("DESTROY", 3 * hour)]
    assert [(r["hours"][0] - T0 // hour, r["records"], r["flows"]) for r in rows(*lines)] == [
        (0, 1, 1),
        (2, 2, 0),
        (4, 1, 0),
    ]


def test_what_begins_later_is_another_connection():
    lines = [event("DESTROY", 10), event("NEW", 7200)]
    assert [bool(Signal(r["signals"]) & LATE) for r in rows(*lines)] == [True, False]
    lines = [event("DESTROY", 10), event("NEW", 20)]
    assert [bool(Signal(r["signals"]) & LATE) for r in rows(*lines)] == [True, False]


def test_ends_of_several_connections_go_to_several_rows():
    begins = [event("NEW", 10 + 3600 * i, port=41000 + i) for i in range(3)]
    ends = [event("DESTROY", 4 * 3600 + i, port=41000 + i, counters=(i + 1, 0)) for i in range(3)]
    again = ends[1]
    got = rows(*begins, *ends, again, event("DESTROY", 4 * 3600 + 99, port=42000))
    assert [(r["records"], r["flows"], r["packets"]) for r in got] == [(2, 1, 1), (2, 1, 2), (2, 1, 3), (2, 1, None)]
    # Without the one that nobody knows, what was told twice goes to the latest.
    assert [r["records"] for r in rows(*begins, *ends, again)] == [2, 2, 3]


def test_an_end_says_nothing_of_another_connection():
    # The old pod called and was answered; the new one's SYN was not.
    lines = [event("NEW", 10), event("NEW", 3700, port=40002)]
    lines += [event("DESTROY", 3710), event("DESTROY", 3820, "SYN_SENT", port=40002).replace("[ASSURED]", "")]
    lines[-1] = lines[-1].replace(f" src={API}", f" [UNREPLIED] src={API}")
    edges = found(*lines, handed=3650)
    assert clients(edges) == {"old"}
    assert edges.ledger.set_aside == {Reason.UNANSWERED: 2}


def test_the_other_node_knows_the_connection_as_well():
    # One node's capture has the call, as it was dialled; the other's, begun later, the end, as the server saw it.
    (row,) = rows(event("NEW", 10, dialled=VIP), event("DESTROY", 5000))
    assert (row["dst_ip"], row["backend_ip"], row["records"], row["flows"]) == (VIP, API, 2, 1)


def test_each_node_keeps_its_own_ends():
    lines = [event(what, at, dialled=d) for d in (VIP, API) for what, at in (("NEW", 10), ("DESTROY", 20))]
    got = rows(*lines)
    assert sorted((r["dst_ip"], r["records"], r["flows"]) for r in got) == [(API, 2, 0), (VIP, 2, 1)]


def test_a_table_without_times_is_no_beginning():
    assert len(rows(PLAIN, event("DESTROY", 10))) == 2


def test_more_connections_than_can_be_told_apart_stay_late():
    begins = [event("NEW", i, port=41000 + i) for i in range(200)]
    ends = [event("DESTROY", 300 + i, port=41000 + i) for i in range(200)]
    timely, late = rows(*begins, *ends)
    assert (timely["records"], late["records"], late["flows"]) == (200, 200, 0)
    assert Signal(timely["signals"]) & CALL == CALL
    assert Signal.EXPIRED in Signal(late["signals"])


def test_lab_without_starts_is_the_lab():
    lab = Path(__file__).parent / "conntrack"
    with_starts = [(lab / f"n{n}_E_extended.txt").read_text(encoding="utf-8") for n in (1, 2)]
    lines = [line for text in with_starts for line in text.splitlines()]
    bare = [" ".join(line.partition(" delta-time")[0].split(" ")) for line in lines]
    columns = ("src_ip", "dst_ip", "dst_port", "protocol", "signals", "flows", "records", "bytes", "hours")
    whole, less = (sorted(tuple(map(str, (row[c] for c in columns))) for row in rows(*each)) for each in (lines, bare))
    assert less == whole


# --- hand-overs -------------------------------------------------------------------------------------------------------


def handed_over(inventory: Inventory) -> Handovers:
    """The times at which a look-up with the usual guard may give another answer."""
    guard, times = 5 * NS, {}
    for each in inventory.pods:
        for address in map(str, each.addresses):
            claim = times.setdefault(address, [])
            claim += [each.started - guard] if each.started else []
            claim += [each.ended + guard + 1] if each.ended else []
    return Handovers.of(times)


def hand_over(address: str, *at: int) -> Handovers:
    return Handovers.of({address: [(T0 + each) * NS for each in at], "fd00::9": [T0 * NS]})


@pytest.mark.parametrize("address", [CLIENT, API])
def test_rows_do_not_span_a_hand_over(address):
    lines = [event("UPDATE", at, port=41000 + at) for at in (10, 20, 100, 110, 120)]
    got = rows(*lines, handovers=hand_over(address, 60))
    assert [(r["first_seen"].value // NS - T0, r["last_seen"].value // NS - T0, r["flows"]) for r in got] == [
        (10, 20, 2),
        (100, 120, 3),
    ]
    assert len(rows(*lines, handovers=hand_over("10.9.9.9", 60))) == 1


def test_rows_by_other_addresses_are_as_many_as_without():
    lines = [event("UPDATE", at, port=41000 + at, client=f"fd00::{at % 3}").replace(API, "fd00::99") for at in range(9)]
    assert rows(*lines) == rows(*lines, handovers=hand_over(CLIENT, 2, 4, 6))
    periods = rows(*lines, handovers=hand_over("fd00::1", 3))
    assert sorted((r["src_ip"], r["flows"]) for r in periods) == [
        ("fd00::", 3),
        ("fd00::1", 1),
        ("fd00::1", 2),
        ("fd00::2", 3),
    ]


def test_both_holders_within_one_hour_are_told_apart():
    lines = [event("UPDATE", at, port=41000 + at) for at in (10, 200)]
    inventory = inventory_of(
        pod("old-1", "old", CLIENT, ended=(T0 + 90) * NS),
        pod("new-1", "new", CLIENT, started=(T0 + 120) * NS),
        pod("api-1", "api", API, 8080),
    )
    assert not find_edges(read(*lines), inventory).accepted
    assert clients(find_edges(read(*lines, handovers=handed_over(inventory)), inventory)) == {"old", "new"}


def test_what_lasts_beyond_a_hand_over_does_not_take_others_with_it():
    start, now = "Sun Nov 22 22:00:05 2026", T0 + 100
    lasting = f"[{now}.000000]\t [UPDATE] {PLAIN} [start={start}]"
    brief = [event("UPDATE", at, port=41000 + at) for at in (10, 110)]
    got = rows(lasting, *brief, handovers=hand_over(CLIENT, 60))
    assert [r["first_seen"].value // NS - T0 for r in got] == [5, 10, 110]
    # A connection counts where it is known whose it was.
    again = rows(lasting, event("UPDATE", 10), handovers=hand_over(CLIENT, 60))
    assert [(r["first_seen"].value // NS - T0, r["flows"]) for r in again] == [(5, 0), (10, 1)]


def test_late_ends_are_of_the_time_in_which_they_can_have_been_sent():
    ends = [event("DESTROY", at, port=41000 + at) for at in (400, 700, 800)]
    got = rows(*ends, handovers=hand_over(CLIENT, 350))
    assert [(r["first_seen"].value // NS - T0, r["flows"]) for r in got] == [(400, 1), (700, 2)]
    begun = [event("NEW", 10), event("NEW", 390, port=40002)]
    over = [event("DESTROY", 500), event("DESTROY", 510, port=40002)]
    got = rows(*begun, *over, handovers=hand_over(CLIENT, 350))
    assert [(r["first_seen"].value // NS - T0, r["records"], r["flows"]) for r in got] == [(10, 2, 1), (390, 2, 1)]


def test_more_periods_than_are_told_apart_are_one(monkeypatch):
    monkeypatch.setattr("netpol_gen.readers.conntrack_rows._SPANS", 2)
    lines = [event("UPDATE", at, port=41000 + at) for at in (10, 20, 30, 40, 50)]
    got = rows(*lines, handovers=hand_over(CLIENT, 15, 25, 35, 45))
    assert [r["flows"] for r in got] == [1, 1, 3]


def test_hand_overs_reach_the_reader(tmp_path):
    (tmp_path / "a").write_text("\n".join(event("UPDATE", at) for at in (10, 100)) + "\n", encoding="utf-8")
    assert read_flows([tmp_path]).table.num_rows == 1
    assert read_flows([tmp_path], handovers=hand_over(CLIENT, 60)).table.num_rows == 2


# --- laws -------------------------------------------------------------------------------------------------------------

SPANS = st.lists(st.integers(0, 3 * DAY), min_size=2, max_size=8, unique=True).map(sorted)


@st.composite
def captures(draw):
    """Pods that hold one address in turn, what they called, and a capture of it from some time on."""
    times = draw(SPANS)
    lives = [(a + draw(st.integers(0, 20)), b) for a, b in pairwise(times)]
    calls, lines = set(), []
    for number, (begin, end) in enumerate(lives):
        for _ in range(draw(st.integers(0, 3))):
            if end - begin < 60:
                continue
            at = draw(st.integers(begin + 20, end - 20))
            last = draw(st.integers(at, end - 10))
            port, server = 40000 + draw(st.integers(0, 3)), draw(st.integers(0, 1))
            idle = draw(st.booleans())
            state, age = ("ESTABLISHED", 5 * DAY) if idle else ("TIME_WAIT", 240)
            gone = last + draw(st.integers(0, age))
            calls.add((f"w{number}", server))
            lines += [
                (what, at_, line.replace(API, f"10.0.2.{9 + server}"))
                for what, at_, line in (
                    ("NEW", at, event("NEW", at, port=port)),
                    ("UPDATE", at, event("UPDATE", at, "ESTABLISHED", port=port)),
                    ("DESTROY", gone, event("DESTROY", gone, state, port=port)),
                )
            ]
    since = draw(st.integers(0, 3 * DAY))
    kinds = draw(
        st.sampled_from([("NEW", "UPDATE", "DESTROY"), ("DESTROY",), ("UPDATE", "DESTROY"), ("NEW", "DESTROY")])
    )
    seen = [line for what, at, line in lines if at >= since and what in kinds]
    pods = [
        pod(f"w{i}-1", f"w{i}", CLIENT, started=(T0 + a) * NS, ended=(T0 + b) * NS) for i, (a, b) in enumerate(lives)
    ]
    servers = [pod(f"s{i}-1", f"s{i}", f"10.0.2.{9 + i}", 8080) for i in range(2)]
    return draw(st.permutations(seen)), inventory_of(*pods, *servers), {(w, f"s{s}") for w, s in calls}


@settings(max_examples=200, deadline=None)
@given(captures())
def test_no_call_is_ever_another_pods(made):
    lines, inventory, calls = made
    flows = read(*lines)
    assert flows.ledger.read == len(lines) == sum(flows.table.column("records").to_pylist())
    edges = find_edges(flows, inventory)
    assert {(edge.src.name, edge.dst.name) for edge in edges.accepted} <= calls


@settings(max_examples=200, deadline=None)
@given(captures())
def test_known_hand_overs_show_more_and_never_another_pods(made):
    lines, inventory, calls = made
    without, having = (
        {(e.src.name, e.dst.name) for e in find_edges(read(*lines, handovers=known), inventory).accepted}
        for known in (Handovers(), handed_over(inventory))
    )
    assert without <= having <= calls


@settings(max_examples=50, deadline=None)
@given(captures(), st.integers(1, 4))
def test_order_and_batches_leave_no_trace(made, batch):
    lines, inventory, _ = made
    for known in (Handovers(), handed_over(inventory)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("netpol_gen.readers.conntrack_rows._BATCH", batch)
            one = read(*lines, handovers=known).table.drop_columns(["sample"])
        assert read(*sorted(lines), handovers=known).table.drop_columns(["sample"]).equals(one)


def test_files_are_read_as_one(tmp_path):
    (tmp_path / "a").write_text(event("DESTROY", 9000) + "\n", encoding="utf-8")
    (tmp_path / "b").write_text(event("NEW", 10) + "\n", encoding="utf-8")
    assert read_flows([tmp_path]).table.num_rows == 1


def test_who_got_the_address_of_a_caller_did_not_call_when_it_refuses_what_was_sent_to_that():
    """A server that sends to a client long gone meets its successor, which answers with a reset."""
    old = pod("old-1", "old", CLIENT, ended=(T0 + 600) * NS)
    new = pod("new-1", "new", CLIENT, started=(T0 + 700) * NS)
    inventory = inventory_of(old, new, pod("api-1", "api", API, 8080))
    handed = Timeline.of(inventory).handovers(5 * NS)
    began = [event("NEW", 300), event("UPDATE", 300, "ESTABLISHED")]
    for state in ("CLOSE", "FIN_WAIT"):
        ends = event("UPDATE", 1000, state)
        for given_ in (None, handed):
            edges = find_edges(read(*began, ends, handovers=given_), inventory)
            assert (clients(edges), edges.ledger.set_aside) == ({"old"}, {})
            alone = find_edges(read(ends, handovers=given_), inventory)
            assert (clients(alone), alone.ledger.set_aside) == (set(), {Reason.AMBIGUOUS: 1})
    # To get this far both sides must have taken part.
    for state in ("SYN_RECV", "ESTABLISHED", "LAST_ACK", "TIME_WAIT"):
        edges = find_edges(read(event("UPDATE", 1000, state), handovers=handed), inventory)
        assert clients(edges) == {"new"}
