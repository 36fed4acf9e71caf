"""Conntrack entries as rows: what they mean, whichever way they were printed."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpol_gen.edges import find_edges
from netpol_gen.flowtable import Flows, Reason
from netpol_gen.inventory import load_inventory
from netpol_gen.model import External, Signal, Workload
from netpol_gen.readers import conntrack, conntrack_xml, read_flows
from netpol_gen.readers.conntrack_times import UNKNOWN_TIME
from netpol_gen.readers.files import compression, expand
from netpol_gen.readers.rows import Window
from netpol_gen.readers.vpc import Options

pytestmark = pytest.mark.usefixtures("conntrack_way")
LAB = Path(__file__).parent / "conntrack"
NS = 1_000_000_000
CALL = Signal.TRACE | Signal.SYN_ACK | Signal.SERVER_DATA | Signal.CLIENT_DATA

PLAIN = (
    "tcp      6 431999 ESTABLISHED src=10.0.1.7 dst=10.0.2.9 sport=40001 dport=8080 "
    "src=10.0.2.9 dst=10.0.1.7 sport=8080 dport=40001 [ASSURED] mark=0 use=1"
)
DNAT = (
    "tcp      6 431999 ESTABLISHED src=10.0.1.7 dst=10.96.0.20 sport=40002 dport=80 packets=5 bytes=500 "
    "src=10.0.2.9 dst=10.0.1.7 sport=8080 dport=40002 packets=4 bytes=400 [ASSURED] mark=0 use=1"
)


def read(*lines: str | bytes, window: Window | None = None, snapshot: int | None = None) -> Flows:
    text = b"\n".join(line.encode() if isinstance(line, str) else line for line in lines) + b"\n"
    items = expand(["-"], io.BytesIO(text))
    return conntrack.read(items, Options(window or Window()), snapshot=snapshot)


def rows(*lines: str | bytes, **settings: object) -> list[dict]:
    return read(*lines, **settings).table.to_pylist()


def row(*lines: str | bytes, **settings: object) -> dict:
    found = rows(*lines, **settings)
    assert len(found) == 1
    return found[0]


def reasons(*lines: str | bytes, **settings: object) -> dict[Reason, int]:
    return read(*lines, **settings).ledger.set_aside


# --- the lab ----------------------------------------------------------------------------------------------------------


def truth() -> set[tuple[str, str, str, int]]:
    with (LAB / "edges.csv").open(encoding="utf-8") as file:
        return {(e["src"], e["dst"], e["protocol"], int(e["port"])) for e in csv.DictReader(file)}


def name(party: Workload | External) -> str:
    if isinstance(party, External):
        return f"{party.address}/32"
    return f"{party.namespace}/{party.name.removesuffix('-0')}"


FORMS = {
    "events of both nodes": ["n1_E_extended.txt", "n2_E_extended.txt"],
    "events of the clients' node": ["n1_E_extended.txt"],
    "default tables": ["n1_L_default.txt", "n2_L_extended.txt"],
    "extended tables": ["n1_L_extended.txt", "n2_L_extended.txt"],
    "xml": ["n1_L_xml.txt"],
    "the kernel's own": ["n1_proc_nf_conntrack.txt", "n2_proc_nf_conntrack.txt"],
    "everything": ["n*.txt", "n*.err"],
}


@pytest.mark.parametrize("names", FORMS.values(), ids=FORMS)
def test_lab_gives_its_true_edges(names):
    flows = read_flows([LAB / each for each in names])
    found = find_edges(flows, load_inventory([LAB / "inventory.yaml"]))
    assert {(name(e.src), name(e.dst), str(e.protocol), e.port) for e in found.accepted} == truth()
    assert set(flows.sources) == {"conntrack"}


def test_lab_counts_each_connection_once():
    flows = read_flows([LAB / "n*.txt"])
    found = find_edges(flows, load_inventory([LAB / "inventory.yaml"]))
    counts = {(name(e.src), name(e.dst), e.port): v.flows for e, v in found.accepted.items()}
    # web called api twice (Service and pod) and db twice (IPv4 and IPv6); nine prints of each are still one connection.
    assert counts.pop(("shop/web", "shop/api", 8080)) == 2
    assert counts.pop(("shop/web", "shop/db", 5432)) == 2
    assert set(counts.values()) == {1}


def test_lab_says_why_the_rest_is_no_edge():
    flows = read_flows([LAB / "n1_E_extended.txt"])
    found = find_edges(flows, load_inventory([LAB / "inventory.yaml"]))
    status = {(name(o.edge.src), name(o.edge.dst), o.edge.port): o.reason for o in found.set_aside()}
    assert status == {
        ("shop/web", "shop/api", 9999): Reason.REFUSED,
        ("shop/web", "shop/db", 7777): Reason.UNANSWERED,
        ("shop/web", "kube-system/kube-dns", 5353): Reason.UNANSWERED,
    }
    assert flows.ledger.set_aside == {Reason.ICMP: 3}


def test_edges_keep_the_form_that_was_dialled():
    found = find_edges(read_flows([LAB / "n1_L_default.txt"]), load_inventory([LAB / "inventory.yaml"]))
    forms = {name(e.dst): v.vips for e, v in found.accepted.items() if name(e.src) == "shop/web"}
    assert forms["shop/api"] == ("10.96.0.20:80",)
    assert forms["kube-system/kube-dns"] == ("10.96.0.10:53",)


# --- what an entry means ----------------------------------------------------------------------------------------------


def test_server_is_the_source_of_the_reply():
    found = row(DNAT)
    assert (found["src_ip"], found["dst_ip"], found["dst_port"]) == ("10.0.1.7", "10.96.0.20", 80)
    assert (found["backend_ip"], found["backend_port"]) == ("10.0.2.9", 8080)
    assert (found["bytes"], found["packets"]) == (900, 9)
    assert (found["src_port"], found["direction"], found["signals"]) == (None, "conntrack", int(CALL))


def test_without_translation_there_is_no_backend():
    found = row(PLAIN)
    assert (found["dst_ip"], found["dst_port"]) == ("10.0.2.9", 8080)
    assert (found["backend_ip"], found["backend_port"], found["bytes"]) == (None, None, None)


def test_masquerade_keeps_the_client_that_dialled():
    found = row(
        "tcp      6 431999 ESTABLISHED src=10.0.1.7 dst=203.0.113.10 sport=40028 dport=443 "
        "src=203.0.113.10 dst=192.168.50.1 sport=443 dport=61028 [ASSURED] use=1"
    )
    assert (found["src_ip"], found["dst_ip"], found["backend_ip"]) == ("10.0.1.7", "203.0.113.10", None)


def test_no_endpoints_means_no_translation_and_no_answer():
    found = row(
        "udp      17 29 src=10.0.1.7 dst=172.20.0.10 sport=40028 dport=53 [UNREPLIED] "
        "src=172.20.0.10 dst=10.0.1.7 sport=53 dport=40028 use=1"
    )
    assert (found["dst_ip"], found["backend_ip"]) == ("172.20.0.10", None)
    assert found["signals"] == int(Signal.TRACE | Signal.CLIENT_DATA)


SYN = Signal.TRACE | Signal.SYN
HEAD, TAIL = "src=10.0.1.7 dst=10.0.2.9 sport=40001 dport=80", "src=10.0.2.9 dst=10.0.1.7 sport=80 dport=40001"
MEANINGS = {
    "tcp syn sent": (f"tcp      6 110 SYN_SENT {HEAD} [UNREPLIED] {TAIL} use=1", SYN),
    "tcp half open": (f"tcp      6 50 SYN_RECV {HEAD} {TAIL} use=1", SYN | Signal.SYN_ACK),
    "tcp time wait": (f"tcp      6 110 TIME_WAIT {HEAD} {TAIL} [ASSURED] use=1", CALL),
    "tcp close after a call": (f"tcp      6 9 CLOSE {HEAD} {TAIL} [ASSURED] use=1", CALL),
    "tcp half-open scan": (f"tcp      6 9 CLOSE {HEAD} {TAIL} use=1", SYN | Signal.SYN_ACK | Signal.RESET),
    "tcp refused": (
        f"[DESTROY] tcp      6 120 CLOSE {HEAD} packets=1 bytes=60 [UNREPLIED] {TAIL} packets=1 bytes=40 delta-time=0",
        SYN | Signal.RESET,
    ),
    "tcp refused, uncounted": (f"[DESTROY] tcp      6 120 CLOSE {HEAD} [UNREPLIED] {TAIL}", SYN | Signal.RESET),
    "tcp abandoned by the client": (
        f"[DESTROY] tcp      6 120 CLOSE {HEAD} packets=2 bytes=60 [UNREPLIED] {TAIL} packets=0 bytes=0",
        SYN,
    ),
    "destroyed, older form, answered": (f"[DESTROY] tcp      6 {HEAD} {TAIL} [ASSURED]", CALL),
    "destroyed, older form, silent": (f"[DESTROY] tcp      6 {HEAD} [UNREPLIED] {TAIL}", SYN),
    "offloaded": (f"tcp      6 {HEAD} {TAIL} [OFFLOAD] mark=0 use=3", CALL),
    "offloaded to hardware": (f"tcp      6 {HEAD} {TAIL} [HW_OFFLOAD] mark=0 use=3", CALL),
    "udp answered": (
        f"udp      17 29 {HEAD} {TAIL} use=1",
        Signal.TRACE | Signal.CLIENT_DATA | Signal.SERVER_DATA,
    ),
    "udp silent": (f"udp      17 29 {HEAD} [UNREPLIED] {TAIL} use=1", Signal.TRACE | Signal.CLIENT_DATA),
    "sctp established": (f"sctp     132 431998 ESTABLISHED {HEAD} {TAIL} [ASSURED] use=1", CALL),
    "sctp init": (f"sctp     132 3 COOKIE_WAIT {HEAD} [UNREPLIED] {TAIL} use=1", SYN),
    "sctp abort": (f"sctp     132 9 CLOSED {HEAD} [UNREPLIED] {TAIL} use=1", SYN | Signal.RESET),
    "sctp cookie": (f"sctp     132 3 COOKIE_ECHOED {HEAD} {TAIL} use=1", SYN | Signal.SYN_ACK),
}


@pytest.mark.parametrize(("line", "signals"), MEANINGS.values(), ids=MEANINGS)
def test_state_and_flags(line, signals):
    # Without a time there is nothing for an end to be later than.
    found = row(line)
    assert Signal(found["signals"]) == signals
    assert found["direction"] == "conntrack"
    assert found["observed_verdict"] == "forwarded"


def test_picked_up_in_mid_stream_the_client_is_not_known():
    # After a flush the server spoke first: its packet made the original tuple.
    found = row(
        "[NEW] tcp      6 300 ESTABLISHED src=10.0.2.9 dst=10.0.1.7 sport=8080 dport=40001 [UNREPLIED] "
        "src=10.0.1.7 dst=10.0.2.9 sport=40001 dport=8080"
    )
    assert found["direction"] is None
    assert (found["src_port"], found["dst_port"]) == (8080, 40001)
    assert Signal(found["signals"]) == Signal.TRACE | Signal.SERVER_DATA | Signal.CLIENT_DATA


def test_late_udp_answer_does_not_make_an_ephemeral_server():
    found = row(
        "udp      17 29 src=10.0.2.53 dst=10.0.1.7 sport=53 dport=40001 [UNREPLIED] "
        "src=10.0.1.7 dst=10.0.2.53 sport=40001 dport=53 use=1"
    )
    assert (found["direction"], found["src_port"], found["dst_port"]) == (None, 53, 40001)


def test_high_server_port_is_proven_by_its_syn():
    line = "[NEW] tcp      6 120 SYN_SENT src=10.0.1.7 dst=10.0.2.9 sport=20001 dport=50051 [UNREPLIED] "
    found = row(line + "src=10.0.2.9 dst=10.0.1.7 sport=50051 dport=20001")
    assert (found["direction"], found["src_port"], found["dst_port"]) == ("conntrack", None, 50051)


NOISE = {
    "icmp": (
        "icmp     1 29 src=10.0.1.7 dst=10.0.2.9 type=8 code=0 id=7 src=10.0.2.9 dst=10.0.1.7 type=0 code=0 id=7 id=9",
        Reason.ICMP,
    ),
    "icmpv6": (
        (
            "ipv6     10 icmpv6   58 29 src=fd00::1 dst=fd00::2 type=128 code=0 id=7 "
            "src=fd00::2 dst=fd00::1 type=129 code=0 id=7 mark=0 use=1"
        ),
        Reason.ICMP,
    ),
    "gre": (
        "gre      47 29 src=10.0.1.7 dst=10.0.2.9 srckey=1 dstkey=2 src=10.0.2.9 dst=10.0.1.7 srckey=2 dstkey=1",
        Reason.OTHER_PROTOCOL,
    ),
    "gre, the kernel's own": (
        (
            "ipv4     2 gre      47 179 timeout=180, stream_timeout=10800 src=10.0.1.7 dst=10.0.2.9 srckey=0x0 "
            "dstkey=0x1 src=10.0.2.9 dst=10.0.1.7 srckey=0x1 dstkey=0x0 [ASSURED] mark=0 zone=0 use=2"
        ),
        Reason.OTHER_PROTOCOL,
    ),
    "gre's timeouts before a tcp entry": (
        PLAIN.replace("ESTABLISHED", "timeout=180, stream_timeout=10800"),
        Reason.MALFORMED,
    ),
    "igmp": (
        "unknown  2 599 src=10.0.1.7 dst=224.0.0.22 [UNREPLIED] src=224.0.0.22 dst=10.0.1.7 use=1",
        Reason.OTHER_PROTOCOL,
    ),
    "dccp": (f"dccp     33 29 OPEN {HEAD} {TAIL} use=1", Reason.OTHER_PROTOCOL),
    "loopback": (
        (
            "tcp      6 9 TIME_WAIT src=127.0.0.1 dst=127.0.0.1 sport=40001 dport=9099 "
            "src=127.0.0.1 dst=127.0.0.1 sport=9099 dport=40001 [ASSURED] use=1"
        ),
        Reason.LOOPBACK,
    ),
    "loopback, IPv6": (
        "tcp      6 9 TIME_WAIT src=::1 dst=::1 sport=40001 dport=9099 src=::1 dst=::1 sport=9099 dport=40001 use=1",
        Reason.LOOPBACK,
    ),
    "multicast": (
        (
            "udp      17 9 src=10.0.1.7 dst=239.1.2.3 sport=5000 dport=5000 [UNREPLIED] "
            "src=239.1.2.3 dst=10.0.1.7 sport=5000 dport=5000 use=1"
        ),
        Reason.MULTICAST,
    ),
    "link-local": (
        (
            "udp      17 9 src=fe80::1 dst=ff02::fb sport=5353 dport=5353 [UNREPLIED] "
            "src=ff02::fb dst=fe80::1 sport=5353 dport=5353 use=1"
        ),
        Reason.MULTICAST,
    ),
    "dhcp": (
        (
            "udp      17 9 src=0.0.0.0 dst=255.255.255.255 sport=68 dport=67 [UNREPLIED] "
            "src=255.255.255.255 dst=0.0.0.0 sport=67 dport=68 use=1"
        ),
        Reason.NO_ENDPOINT,
    ),
    "port 0": (PLAIN.replace("dport=8080", "dport=0").replace("sport=8080", "sport=0"), Reason.BAD_FIELD),
    "port 70000": (PLAIN.replace("8080", "70000"), Reason.BAD_FIELD),
    "address out of range": (PLAIN.replace("10.0.2.9", "10.0.2.256"), Reason.MALFORMED),
    "leading zero": (PLAIN.replace("10.0.2.9", "10.0.2.09"), Reason.MALFORMED),
    "redacted": (PLAIN.replace("10.0.2.9", "x.x.x.x"), Reason.MALFORMED),
    "one tuple": (PLAIN.partition(" src=10.0.2.9")[0], Reason.MALFORMED),
    "cut in the second tuple": (PLAIN.partition(" dport=40001")[0], Reason.MALFORMED),
    "something between": (PLAIN.replace("ESTABLISHED", "established"), Reason.MALFORMED),
    "elided": ("...", Reason.NOT_A_FLOW),
    "prose": ("total 17", Reason.NOT_A_FLOW),
    "banner": ("conntrack v1.4.8 (conntrack-tools): 395 flow entries have been shown.", Reason.CONTROL),
    "prompt": ("root@node-1:~# conntrack -L -o extended", Reason.CONTROL),
    "date": ("Sun Nov 22 22:52:53 UTC 2026", Reason.CONTROL),
    "lost": ("WARNING: We have hit ENOBUFS! We are losing events.", Reason.LOST_EVENTS),
    "lost, second line": ("Please, check --buffer-size in conntrack(8) manpage.", Reason.CONTROL),
    "not text": (b"\xff\xfe\x00\x01", Reason.NOT_A_FLOW),
}


@pytest.mark.parametrize(("line", "reason"), NOISE.values(), ids=NOISE)
def test_set_aside_and_nothing_else_is_lost(line, reason):
    flows = read(PLAIN, line, DNAT)
    assert flows.ledger.set_aside == {reason: 1}
    assert flows.ledger.read == 3
    assert flows.table.num_rows == 2
    assert flows.ledger.places[reason][0].startswith("-:2")


def test_lost_events_are_a_loss():
    flows = read(PLAIN, NOISE["lost"][0])
    assert flows.ledger.lost == 1


PASTES = {
    "cat -n": f"     7\t{PLAIN}",
    "prompt and entry": f"root@n1:~# {PLAIN}",
    "syslog": f"Nov 22 22:52:53 n1 conntrack[12]: {PLAIN}",
    "one space": PLAIN.replace("tcp      6", "tcp 6"),
    "trailing blanks": PLAIN + "   ",
    "carriage return": PLAIN + "\r",
    "extended": "ipv4     2 " + PLAIN,
    "zone": PLAIN.replace("mark=0", "mark=0 zone=7 secctx=system_u:object_r:unlabeled_t:s0"),
    "labels": PLAIN + " labels=a,b",
    "tool's tail": PLAIN + " id=7 [USERSPACE] portid=3031217306 progname=conntrack",
    "unknown state": PLAIN.replace("ESTABLISHED", "FUTURE_STATE"),
}


@pytest.mark.parametrize("line", PASTES.values(), ids=PASTES)
def test_pastes_and_options_are_the_same_entry(line):
    assert rows(line) == [{**row(PLAIN), "sample": "-:1"}]


SILENT = (
    "udp      17 29 src=10.0.1.7 dst=10.0.2.9 sport=40003 dport=53 packets=1 bytes=60 [UNREPLIED] "
    "src=10.0.2.9 dst=10.0.1.7 sport=53 dport=40003 packets=0 bytes=0 mark=0 use=1"
)
ZONES = {
    "original": (PLAIN, ("dport=8080 ", "dport=8080 zone-orig=100 ")),
    "reply": (PLAIN, ("dport=40001 ", "dport=40001 zone-reply=100 ")),
    "original, counted": (DNAT, ("packets=5 ", "zone-orig=100 packets=5 ")),
    "reply, counted": (DNAT, ("packets=4 ", "zone-reply=100 packets=4 ")),
    "original, behind the counters": (DNAT, ("bytes=500 ", "bytes=500 zone-orig=100 ")),
    "original, unreplied": (SILENT, ("packets=1 ", "zone-orig=100 packets=1 ")),
    "both, unreplied": (SILENT, ("packets=", "zone-orig=1 zone-reply=2 packets=")),
    "extended": ("ipv4     2 " + DNAT, ("packets=5 ", "zone-orig=100 packets=5 ")),
}


@pytest.mark.parametrize(("line", "change"), ZONES.values(), ids=ZONES)
def test_the_zone_of_a_direction_is_a_field_of_its_tuple(line, change):
    zoned = line.replace(*change)
    assert zoned != line
    assert rows(zoned) == rows(line)


def test_the_zone_of_a_ping():
    line, reason = NOISE["icmp"]
    assert reasons(line.replace("id=7 src", "id=7 zone-orig=100 src")) == {reason: 1}


def test_save_format():
    line = "-A -t 431990 -u SEEN_REPLY,ASSURED -s 10.0.1.7 -d 10.96.0.20 -r 10.0.2.9 -q 10.0.1.7 -p tcp "
    line += "--sport 40002 --dport 80 --reply-port-src 8080 --reply-port-dst 40002 --state ESTABLISHED"
    found, text = row(line), row(DNAT)
    for column in ("src_ip", "dst_ip", "dst_port", "backend_ip", "backend_port", "signals", "direction", "flows"):
        assert found[column] == text[column]


def test_uncompressed_and_mapped_addresses_are_canonical():
    line = "ipv6     10 tcp      6 9 TIME_WAIT src={} dst={} sport=1025 dport=80 src={} dst={} sport=80 dport=1025"
    long, short = "fd00:0010:0244:0001:0000:0000:0000:0010", "fd00:10:244:1::10"
    mapped = "::ffff:10.0.2.9"
    found = row(line.format(long, mapped, mapped, long), line.format(short, "10.0.2.9", "10.0.2.9", short))
    assert (found["src_ip"], found["dst_ip"], found["records"], found["flows"]) == (short, "10.0.2.9", 2, 1)


# --- counting ---------------------------------------------------------------------------------------------------------


def test_polled_table_counts_a_connection_once():
    lines = [PLAIN.replace("431999", str(431999 - second)) for second in range(50)]
    found = row(*lines)
    assert (found["flows"], found["records"]) == (1, 50)


def test_counters_of_an_entry_are_not_added_up():
    grown = DNAT.replace("packets=5 bytes=500", "packets=50 bytes=5000")
    found = row(DNAT, grown, DNAT)
    assert (found["bytes"], found["packets"], found["flows"]) == (5400, 54, 1)


def test_sixty_four_connections_are_exact_and_more_are_estimated():
    def entries(count):
        return [PLAIN.replace("40001", str(32768 + port)) for port in range(count)]

    assert row(*entries(64))["flows"] == 64
    assert 700 < row(*entries(1000))["flows"] < 1400


def test_both_nodes_tell_of_one_connection():
    seen_by_server = DNAT.replace("dst=10.96.0.20", "dst=10.0.2.9").replace("dport=80 ", "dport=8080 ")
    found = {(r["dst_ip"], r["flows"], r["bytes"]) for r in rows(seen_by_server, DNAT)}
    assert found == {("10.96.0.20", 1, 900), ("10.0.2.9", 0, 0)}


def test_order_of_records_and_files_leaves_no_trace(tmp_path):
    lines = [
        PLAIN.replace("40001", str(32768 + port)).replace("10.0.1.7", f"fd00::{port % 7:x}") for port in range(900)
    ]
    lines = [line.replace("10.0.2.9", "fd00::99") for line in lines]
    (tmp_path / "a").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "b").write_text("\n".join(reversed(lines)), encoding="utf-8")
    one, other = (read_flows([tmp_path / name]).table.drop_columns(["sample"]) for name in "ab")
    assert one.num_rows == 7
    assert one.equals(other)


# --- times ------------------------------------------------------------------------------------------------------------


def when(found: dict, column: str) -> int:
    return int(found[column].value)


STAMP = 1795387971
DESTROYED = (
    f"[{STAMP + 60}.000000]\t[DESTROY] ipv4     2 udp      17 {HEAD} packets=1 bytes=68 {TAIL} packets=1 bytes=69 "
    "delta-time=30 [start=Sun Nov 22 22:52:51 2026] [stop=Sun Nov 22 22:53:21 2026] id=7"
)


def test_event_has_its_own_time():
    found = row(f"[{STAMP}.765385]\t    [NEW] {PLAIN}")
    assert when(found, "first_seen") == when(found, "last_seen") == STAMP * NS + 765385000
    assert found["hours"] == [STAMP // 3600]


def test_older_versions_pad_microseconds_with_blanks():
    assert when(row(f"[{STAMP}.385   ]\t    [NEW] {PLAIN}"), "first_seen") == STAMP * NS + 385000


def test_destroyed_entry_counts_at_its_start():
    # Its addresses may belong to others by the time it is destroyed.
    found = row(DESTROYED)
    assert when(found, "first_seen") == when(found, "last_seen") == STAMP * NS


@pytest.mark.parametrize("hours", [-8, 2, 13])
def test_clock_face_of_another_zone_is_told_by_the_event(hours):
    line = DESTROYED
    for minute in ("22:52:51", "22:53:21"):
        hour = (22 + hours) % 24
        day = 22 + (22 + hours) // 24
        line = line.replace(f"Nov 22 {minute}", f"Nov {day} {hour:02}{minute[2:]}")
    assert line != DESTROYED
    assert when(row(line), "first_seen") == STAMP * NS


def test_dump_with_start_lived_from_then_to_the_dump():
    found = row(PLAIN + " delta-time=60 [start=Sun Nov 22 22:52:51 2026] id=7")
    assert (when(found, "first_seen"), when(found, "last_seen")) == (STAMP * NS, (STAMP + 60) * NS)


def test_dump_without_times_is_of_an_unknown_now():
    found = row(PLAIN)
    assert when(found, "first_seen") == when(found, "last_seen") == UNKNOWN_TIME
    assert found["hours"] == []


def test_unknown_times_are_told_to_the_user():
    (note,) = read(PLAIN).notes
    assert "tables without times" in note
    assert read(DESTROYED).notes == ()
    assert read(PLAIN, snapshot=STAMP * NS).notes == ()


def test_snapshot_time_can_be_given():
    found = row(PLAIN, snapshot=STAMP * NS)
    assert when(found, "first_seen") == STAMP * NS
    assert found["hours"] == [STAMP // 3600]


def test_timed_and_untimed_records_of_one_connection_are_two_rows_and_one_connection():
    found = rows(PLAIN, f"[{STAMP}.765385]\t    [NEW] {PLAIN}")
    assert [(len(r["hours"]), r["flows"]) for r in found] == [(1, 1), (0, 0)]


def test_rows_do_not_span_hours():
    later = f"[{STAMP + 3600}.000000]\t [UPDATE] {PLAIN}"
    found = rows(f"[{STAMP}.000000]\t    [NEW] {PLAIN}", later)
    assert [(r["hours"], r["flows"]) for r in found] == [([STAMP // 3600], 1), ([STAMP // 3600 + 1], 0)]


def test_window():
    events = [
        f"[{STAMP + second}.000000]\t    [NEW] {PLAIN.replace('40001', str(40001 + second))}" for second in range(10)
    ]
    window = Window(since=(STAMP + 3) * NS, until=(STAMP + 5) * NS)
    flows = read(*events, PLAIN, window=window)
    assert flows.ledger.set_aside == {Reason.OUT_OF_WINDOW: 8}
    # What has no time is in no window and out of none.
    assert sorted(flows.table.column("flows").to_pylist()) == [1, 2]


@pytest.mark.parametrize("epoch", ["9999999999", "4000000000"])
def test_time_out_of_range(epoch):
    assert reasons(f"[{epoch}.000000]\t    [NEW] {PLAIN}") == {Reason.BAD_FIELD: 1}


# --- any input --------------------------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        *(PLAIN, DNAT, DESTROYED, *(line for line, _ in MEANINGS.values())),
        *(line for line, _ in NOISE.values() if isinstance(line, str)),
        *("", " ", "\r", "\x00", "src=", "=", "[", "tcp      6 ", "\u00e9", "src=1.2.3.4 dst=", "<flow>", "</flow>"),
    ]
)


@st.composite
def damaged(draw):
    text = "\n".join(draw(st.lists(PIECES, min_size=1, max_size=6))).encode()
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.binary(max_size=3)) + text[at + draw(st.integers(0, 5)) :]
    return text


@settings(max_examples=300, deadline=None)
@given(damaged() | st.binary(max_size=200))
def test_no_input_crashes_and_every_record_is_accounted_for(text):
    flows = read(text)
    records = sum(flows.table.column("records").to_pylist())
    assert flows.ledger.read == records + sum(flows.ledger.set_aside.values())
    if not conntrack_xml.looks_like(text) and not compression(text):
        lines = text.removeprefix(b"\xef\xbb\xbf").split(b"\n")
        assert flows.ledger.read == sum(bool(line.strip()) for line in lines)


def test_cut_in_any_place():
    whole = f"{PLAIN}\n{DNAT}\n{DESTROYED}".encode()
    for end in range(0, len(whole), 7):
        flows = read(whole[:end])
        assert flows.ledger.read == sum(flows.table.column("records").to_pylist()) + sum(
            flows.ledger.set_aside.values()
        )
