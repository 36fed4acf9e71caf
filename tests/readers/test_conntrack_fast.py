"""Both columnar decoders against the tolerant one, and the arithmetic of one against Python's own."""

from __future__ import annotations

import ipaddress
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpol_gen.flowtable import Reason
from netpol_gen.handovers import Handovers
from netpol_gen.readers.conntrack_addresses import MULTICAST, PARTY, Addresses
from netpol_gen.readers.conntrack_entries import COLUMNS, Decoded
from netpol_gen.readers.conntrack_line import Aside, read_line
from netpol_gen.readers.conntrack_meaning import L4, STATES, Answer, meaning, table
from netpol_gen.readers.conntrack_rows import Conversations, Folder, _grouped
from netpol_gen.readers.conntrack_words import Text, count_digits, number
from netpol_gen.readers.files import Block

LAB = Path(__file__).parent / "conntrack"

ports = st.integers(0, 65535)
counts = st.integers(0, 10**12)
v4 = st.builds(ipaddress.IPv4Address, st.integers(0, 2**32 - 1)).map(str)
v6 = st.builds(ipaddress.IPv6Address, st.integers(0, 2**128 - 1)).flatmap(
    lambda a: st.sampled_from([a.compressed, a.exploded])
)
events = st.sampled_from(["", "    [NEW] ", " [UPDATE] ", "[DESTROY] "])
clocks = st.sampled_from(["Sun Nov 22 22:52:51 2026", "Tue Feb  3 00:00:09 2015", "Thu Feb 29 23:59:59 2024"])


@st.composite
def entries(draw):
    """A line as conntrack writes it, in every combination of its options."""
    out = ""
    if draw(st.booleans()):
        out += f"[{draw(st.integers(10**9, 3 * 10**9))}.{draw(st.integers(0, 999999)):06}]\t"
    out += draw(events)
    family = draw(st.sampled_from([4, 6]))
    if draw(st.booleans()):
        out += "ipv4     2 " if family == 4 else "ipv6     10 "
    protocol = draw(st.sampled_from(["tcp      6 ", "udp      17 ", "sctp     132 "]))
    out += protocol
    if draw(st.booleans()):
        out += f"{draw(st.integers(0, 432000))} "
    if not protocol.startswith("udp") and draw(st.booleans()):
        out += f"{draw(st.sampled_from(STATES[1:]))} "
    address = v4 if family == 4 else v6
    counted = draw(st.booleans())
    client, server = draw(address), draw(address)
    other = draw(st.booleans())
    port, client_port = draw(ports), draw(ports)
    out += _tuple(client, draw(address) if other else server, client_port, port, counted, draw)
    if draw(st.booleans()):
        out += "[UNREPLIED] "
    out += _tuple(server, draw(address) if draw(st.booleans()) else client, port, client_port, counted, draw)
    out += draw(st.sampled_from(["", "[ASSURED] ", "[OFFLOAD] ", "[HW_OFFLOAD] "]))
    tail = ["mark=0", "zone=3", "secctx=a:b:c", f"delta-time={draw(st.integers(0, 9_999_999))}"]
    tail += [f"[start={draw(clocks)}]", f"[stop={draw(clocks)}]", "use=1", "id=7"]
    out += " ".join(draw(st.lists(st.sampled_from(tail), unique=True)))
    return out.rstrip()


def _tuple(src, dst, sport, dport, counted, draw):
    out = f"src={src} dst={dst} sport={sport} dport={dport} "
    return out + (f"packets={draw(counts)} bytes={draw(counts)} " if counted else "")


def decoded(decode, data: bytes, addresses: Addresses) -> Decoded:
    return decode(Block(data, 1, data.count(b"\n") + (not data.endswith(b"\n"))), addresses)


def slowly(line: str, addresses: Addresses) -> list[int] | None:
    found = read_line(line.encode(), addresses)
    return None if isinstance(found, Aside) else list(found)


def quickly(decode, lines: list[str], addresses: Addresses) -> dict[int, list[int]]:
    found = decoded(decode, "\n".join(lines).encode(), addresses)
    assert not found.rest, "the fast way does not know what conntrack writes"
    columns = [getattr(found.entries, name).tolist() for name in COLUMNS]
    return {line: list(values) for line, *values in zip(*columns, strict=True)}


@settings(max_examples=300, deadline=None)
@given(lines=st.lists(entries(), min_size=1, max_size=8))
def test_both_decoders_agree(conntrack_way, lines):
    addresses = Addresses()
    fast = quickly(conntrack_way, lines, addresses)
    assert fast == {i: slowly(line, addresses) for i, line in enumerate(lines, 1)}


TEXTS = sorted(set(LAB.glob("n*.txt")) - set(LAB.glob("*_xml.txt")))


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_both_decoders_agree_on_the_lab(conntrack_way, path):
    lines = path.read_text(encoding="utf-8").splitlines()
    addresses = Addresses()
    fast = quickly(conntrack_way, lines, addresses)
    slow = {i: found for i, line in enumerate(lines, 1) if (found := slowly(line, addresses)) is not None}
    assert fast == slow


def agreed(data: bytes, found: Decoded, addresses: Addresses) -> None:
    """Each line of `data` is in one place, and what was taken of it is what the tolerant decoder reads."""
    columns = [getattr(found.entries, name).tolist() for name in COLUMNS]
    taken: dict[int, object] = {line: tuple(values) for line, *values in zip(*columns, strict=True)}
    assert len(taken) == len(columns[0])
    icmp = found.icmp.tolist()
    assert not set(taken) & set(icmp)
    taken |= dict.fromkeys(icmp, Aside(Reason.ICMP))
    lines = {number: line for number, line in enumerate(data.split(b"\n"), 1) if line.strip()}
    assert found.rest == [(number, line) for number, line in lines.items() if number not in taken]
    assert found.records == len(lines) == len(taken) + len(found.rest)
    assert taken == {number: read_line(lines[number], addresses) for number in taken}


WORDS = [
    *(b"src=", b" dst=1.2.3.4", b" sport=", b" packets=1", b" bytes=2", b" type=8", b" code=0", b" id=7", b"a=b", b"="),
    *(b" zone-orig=5", b" zone-reply=5", b" zone-reply=5 packets=7 bytes=x"),
    *(b"[UNREPLIED]", b" [ASSURED]", b" [OFFLOAD] ", b"[USERSPACE] ", b"[NEW]", b"    [NEW] ", b"[DESTROY] ", b"["),
    *(b"tcp      6 ", b"udp      17 ", b"icmp     1 ", b"icmpv6   58 ", b"ipv6     10 ", b"CLOSE ", b"XXXABLISHED "),
    *(b"[1795387971.765385]\t", b"[9995387971.765385]\t", b" delta-time=12345678", b"ta-time=3", b" delta-time=7"),
    *(b" [start=Thu Feb 29 09:40:13 2018]", b" [stop=Tue Feb 29 09:40:60 2028]", b" [start=Sat Feb 29 00:00:00 2020]"),
    *(b"00000080", b"65536", b"0" * 20, b"1234567890123456", b"9" * 30, b"::", b"::1%eth0", b"::ffff:1.2.3.4"),
    *(
        b"01.2.3.4",
        b"256.1.1.1",
        b"1:2:3:4:5:6:7::",
        b"\n",
        b"\r\n",
        b"\r",
        b"\t",
        b" ",
        b"\0",
        b"\x0b",
        b"\x1c",
        b"\xff",
    ),
    *("\u2003[ASSURED]".encode(), b"\xc2\xa0", b"\xff", b"x" * 17000, 17 * b" a=b", b"tcp      6 12345678 "),
]
EDITS = st.lists(
    st.tuples(st.integers(0, 1 << 20), st.integers(0, 12), st.sampled_from(WORDS) | st.binary(max_size=2)), max_size=3
)


def edited(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for where, removed, inserted in edits:
        at = where % (len(data) + 1)
        data = data[:at] + inserted + data[at + removed :]
    return data


ECHO = "icmp     1 29 src=1.2.3.4 dst=5.6.7.8 type=8 code=0 id=7 src=5.6.7.8 dst=1.2.3.4 type=0 code=0 id=7 use=1"


@settings(max_examples=500)
@given(lines=st.lists(entries() | st.just(ECHO), min_size=1, max_size=3), edits=EDITS)
def test_what_the_fast_way_takes_the_tolerant_one_reads_the_same(conntrack_way, lines, edits):
    data = edited("\n".join(lines).encode(), edits)
    addresses = Addresses()
    agreed(data, decoded(conntrack_way, data, addresses), addresses)


PLAIN = (
    "[1795387971.765385]\t[DESTROY] ipv4     2 tcp      6 9 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=40001 dport=80 "
    "packets=1 bytes=60 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 sport=80 dport=40001 packets=0 bytes=0 [ASSURED] mark=0 "
    "delta-time=7 [start=Sun Nov 22 22:52:51 2026] [stop=Sun Nov 22 22:53:00 2026] use=1"
)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("ESTABLISHED", "XXXABLISHED"), "another state with the same end"),
        (("ESTABLISHED", "SHUTDOWN ACK_SENT"), "two words"),
        (("dport=80 ", "dport=000080 "), "six digits"),
        (("sport=80 ", "sport=000080 "), "six digits"),
        (("dport=80 ", "dport=65536 "), "no port"),
        (("bytes=60", "bytes=0000000000000060"), "sixteen digits"),
        (("src=10.0.0.1", "src=10.0.0.256"), "no address"),
        (("src=10.0.0.1", "src=fd00::1%eth0 more"), "a scope and more"),
        (("src=10.0.0.1", "src=10.0.0.01"), "perhaps octal"),
        (("mark=0", "mark=0 packets=7 bytes=7"), "fields of a tuple behind both"),
        (("dport=80 ", "dport=80 zone-orig=5 "), "a zone in the original tuple"),
        (("bytes=60 ", "bytes=60 zone-orig=5 "), "a zone behind its counters"),
        (("dport=40001 ", "dport=40001 zone-reply=5 "), "a zone in the reply tuple"),
        (("bytes=0 ", "bytes=0 zone-reply=5 "), "a zone behind both"),
        (("[ASSURED]", "[ASSURED"), "no flag"),
        (("[ASSURED]", "[ASSURED]x"), "no flag"),
        (("[ASSURED] mark=0", "mark=0 [ASSURED]"), "a flag that comes late"),
        (("[ASSURED]", "[ASSURED] [UNREPLIED]"), "a flag where none is written"),
        (("use=1", "use=1" + "x" * 17000), "too long"),
        (("use=1", "use=1" + " a=b" * 20 + " delta-time=9"), "many fields"),
        ((" delta-time=7", " xdelta-time=7"), "another field"),
        (("use=1", "delta-time=8"), "a field twice"),
        (("use=1", "[start=Sun Nov 22 22:52:50 2026]"), "a field twice"),
        (("[start=Sun", "[start=sun"), "no weekday"),
        (("22:52:51", " 2:52:51"), "an hour with a blank"),
        (("22:52:51", "22:52:60"), "no second"),
        (("22:52:51", "22-52-51"), "no clock"),
        (("Nov 22 22:52:51", "Nov 31 22:52:51"), "no day"),
        (("Nov 22 22:52:51 2026", "Feb 29 22:52:51 2026"), "no leap year"),
        (("src=10.0.0.1", "src=fd00::1\0"), "no address"),
        (("22:53:00 2026", "22:53:00 2090"), "a time too late"),
    ],
)
def test_in_doubt_the_tolerant_decoder_decides(conntrack_way, change, why):
    del why
    odd = PLAIN.replace(*change)
    assert odd != PLAIN
    # Without an event the age of an entry tells when it was alive.
    entry, odd_entry = (line.partition("[DESTROY] ")[2] for line in (PLAIN, odd))
    # The address before the damaged one is known by the time it is met.
    data = "\n".join([entry, PLAIN.replace("src=10.0.0.1", "src=fd00::1"), odd, PLAIN, odd_entry]).encode()
    addresses = Addresses()
    found = decoded(conntrack_way, data, addresses)
    agreed(data, found, addresses)
    # Either it was left, or read as the tolerant decoder reads it.
    assert {line for line, _ in found.rest} <= {3, 5}


def test_echoes_are_two_tuples(conntrack_way):
    half = ECHO.replace(" src=5.6.7.8", " x=1")
    data = "\n".join([ECHO, half, ECHO.replace("id=7 src", "id=7 packets=1 bytes=84 [UNREPLIED] src")]).encode()
    addresses = Addresses()
    found = decoded(conntrack_way, data, addresses)
    agreed(data, found, addresses)
    assert found.icmp.tolist() == [1, 3]


@given(st.binary(min_size=8, max_size=8))
def test_digits_and_numbers(data):
    word = np.frombuffer(data, dtype="<u8").astype(np.uint64)
    digits = next((i for i, byte in enumerate(data) if not 48 <= byte <= 57), 8)
    with np.errstate(over="ignore"):
        assert count_digits(word).tolist() == [digits]
        value, length = number(word)
    assert (value.tolist(), length.tolist()) == ([int(data[:digits] or b"0")], [digits])


@given(st.lists(v4 | v6 | st.text("0123456789abcdef.:x", max_size=46), min_size=1, max_size=5))
def test_addresses(texts):
    text = Text("\n".join(f" src={each} dst" for each in texts).encode())
    equals = np.flatnonzero(text.bytes == ord("="))
    ends = np.array([at + 1 + len(each) for at, each in zip(equals.tolist(), texts, strict=True)])
    known = Addresses()
    with np.errstate(over="ignore"):
        codes = known.codes(text, text.field(equals), equals + 1, ends).tolist()
        assert known.codes(text, text.field(equals), equals + 1, ends).tolist() == codes
    assert [None if code < 0 else known.text(code) for code in codes] == [_canonical(each) for each in texts]


def test_addresses_numbered_side_by_side_are_what_they_are():
    known = Addresses()
    groups = [[f"{'fd00' if i % 2 else 'ff02'}::{group}:{i:x}" for i in range(1, 1000)] for group in (1, 2, 3, 4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            codes = [*pool.map(lambda texts: [known.code(text.encode()) for text in texts], groups)]
    finally:
        sys.setswitchinterval(interval)
    for texts, numbers in zip(groups, codes, strict=True):
        assert [known.text(code) for code in numbers] == texts
        assert known.kinds(np.array(numbers)).tolist() == [PARTY if text[1] == "d" else MULTICAST for text in texts]


def _canonical(text: str) -> str | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)


def test_table_of_meanings_is_the_function():
    found = iter(table())
    for protocol in L4:
        for state in STATES:
            for unreplied in (False, True):
                for assured in (False, True):
                    for answer in Answer:
                        said = meaning(protocol, state, unreplied=unreplied, assured=assured, answer=answer)
                        value = next(found)
                        assert value & 0x7FFF == int(said.signals)
                        assert bool(value >> 15) == (not said.client_known)
    assert next(found, None) is None


# --- folding ----------------------------------------------------------------------------------------------------------


def test_equal_hashes_of_different_keys_stay_apart(monkeypatch):
    monkeypatch.setattr("netpol_gen.readers.conntrack_rows._mix", lambda word: word * np.uint64(0))
    keys = [np.array([5, 3, 5, 3, 4]), np.array([1, 1, 1, 2, 1])]
    keys += [np.zeros(5, dtype=np.int64)] * 3
    order, starts = _grouped(keys)
    groups = np.split(order, starts[1:])
    assert sorted(sorted(group.tolist()) for group in groups) == [[0, 2], [1], [3], [4]]


@pytest.mark.parametrize("batch", [1, 2, 7, 1 << 18])
def test_batches_leave_no_trace(conntrack_way, monkeypatch, batch):
    lines = (LAB / "n1_E_extended.txt").read_bytes() + (LAB / "n2_E_extended.txt").read_bytes()
    whole = _folded(conntrack_way, lines)
    monkeypatch.setattr("netpol_gen.readers.conntrack_rows._BATCH", batch)
    monkeypatch.setattr("netpol_gen.readers.conntrack_rows._PARTS", 3)
    assert _folded(conntrack_way, lines) == whole


def _folded(decode, data: bytes) -> set[tuple[int, ...]]:
    addresses = Addresses()
    folder = Folder(addresses, Handovers())
    entries_ = decoded(decode, data, addresses).entries
    for i in range(len(entries_.line)):
        folder.add(replace(entries_, **{name: getattr(entries_, name)[i : i + 1] for name in COLUMNS}), 0)
    return {row for share in folder.finish() for row in _rows_of(share)}


def _rows_of(found: Conversations) -> set[tuple]:
    names = ("client", "dialled", "server", "ports", "when", "first", "last", "records", "signals", "place")
    rows = zip(*(getattr(found, name).tolist() for name in names), strict=True)
    per_row = [[] for _ in found.client]
    for word, octets in zip(found.word.tolist(), found.octets.tolist(), strict=True):
        per_row[word >> 40].append((word & (2**40 - 1), octets))
    return {(*row, *per_row[i]) for i, row in enumerate(rows)}
