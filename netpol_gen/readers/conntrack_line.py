"""One conntrack entry at a time, tolerantly: lines that `conntrack_text` does not know, `-o save`, and XML's fields.

Positional, because keys repeat: the first `src=` … is the original tuple, the second the reply, and an ICMP entry has
`id=` in both and again at its end. What stands before the protocol (line numbers of `cat -n`, a syslog head, a prompt)
does not matter; what stands between protocol and tuples must be a timeout and a state.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from netpol_gen.flowtable import Reason
from netpol_gen.readers.conntrack_addresses import NO_ADDRESS, Addresses
from netpol_gen.readers.conntrack_entries import LONGEST
from netpol_gen.readers.conntrack_meaning import (
    ICMP_NUMBERS,
    PROTOCOL_NUMBERS,
    STATE_CODES,
    UNKNOWN_CLIENT,
    Answer,
    lateness,
    meaning,
)
from netpol_gen.readers.conntrack_times import DESTROY, LAST_SECOND, NS, QUARTER, UNKNOWN_TIME, UPDATE, WIDEST_ZONE

_PROTOCOLS = {
    "tcp": "6",
    "udp": "17",
    "sctp": "132",
    "icmp": "1",
    "icmpv6": "58",
    "dccp": "33",
    "gre": "47",
    "udplite": "136",
    "igmp": "2",
    "ipv6-icmp": "58",
}
_EVENTS = {"[NEW]": 1, "[UPDATE]": UPDATE, "[DESTROY]": DESTROY}
_ASSURED = frozenset({"[ASSURED]", "[OFFLOAD]", "[HW_OFFLOAD]"})
_STATE = re.compile(r"[A-Z][A-Z0-9_]{2,19}")
_GRE_TIMEOUT = re.compile(r"(?:stream_)?timeout=\d+,?")
"""In place of a state, in `/proc/net/nf_conntrack` alone (`gre_print_conntrack`): `timeout=30, stream_timeout=180`."""
_STAMP = re.compile(r"\[(\d{9,10})\.(\d{1,6}) *\]")
_CLOCK = re.compile(r"\[(start|stop)=[A-Z][a-z]{2} ([A-Z][a-z]{2}) +(\d{1,2}) (\d\d):(\d\d):(\d\d) (\d{4})\]")
_AGE = re.compile(r" delta-time=(\d{1,7})\b")
_MONTHS = {name: i for i, name in enumerate(calendar.month_abbr) if name}
_BANNER = re.compile(r"conntrack v\d+\.\d+|flow (?:entries|events) have been|^This message means that|--buffer-size")
_LOST = re.compile(r"ENOBUFS|losing events", re.IGNORECASE)
_COMMAND = re.compile(r"(?:^|[#$>%] |sudo |-- )\s*(?:conntrack\s+-|cat /proc/net/|watch |date\b|timeout \d)")
_DATE = re.compile(
    r"^(?:[A-Z][a-z]{2},? )?\W{0,2}(?:\d{4}-\d\d-\d\d|[A-Z][a-z]{2} +\d{1,2} )[T ]?\d\d:\d\d:\d\d[\w .:+-]{0,20}$"
)
_ELIDED = re.compile(r"^[\[(<]?\s*(?:\.\.+|…)")


@dataclass(frozen=True, slots=True)
class Aside:
    """Why a record is not an entry."""

    reason: Reason
    detail: str = ""


Outcome = tuple[int, ...] | Aside
"""An entry's values in the order of `conntrack_entries.COLUMNS` without the line, or why there is none."""


class MalformedError(ValueError):
    """An entry that cannot be read; the text says why."""


@dataclass(slots=True)
class Tuple:
    """One direction as written."""

    src: str = ""
    dst: str = ""
    sport: str = ""
    dport: str = ""
    packets: str = ""
    octets: str = ""


@dataclass(slots=True)
class Fields:
    """An entry as written. `protocol` is the number; times are seconds (`stamp` microseconds) since the epoch."""

    protocol: str = ""
    state: str = ""
    event: int = 0
    unreplied: bool = False
    assured: bool = False
    original: Tuple = field(default_factory=Tuple)
    reply: Tuple = field(default_factory=Tuple)
    stamp: int | None = None
    start: int | None = None
    stop: int | None = None
    age: int | None = None


def read_line(data: bytes, addresses: Addresses) -> Outcome:
    """Read one line of text."""
    if len(data) > LONGEST:
        return Aside(Reason.TOO_LONG, f"{len(data)} bytes")
    text = data.decode("utf-8", "replace")
    items = text.split()
    try:
        if any(item.startswith("src=") for item in items):
            return finish(_fields(text, items), addresses)
        if "-s" in items and "-r" in items:
            return finish(_saved(items), addresses)
    except MalformedError as problem:
        return Aside(Reason.MALFORMED, str(problem))
    return _other(text)


def _other(text: str) -> Aside:
    """A line without an entry."""
    text = text.strip()
    if _LOST.search(text):
        return Aside(Reason.LOST_EVENTS, text)
    if _BANNER.search(text) or _COMMAND.search(text) or _DATE.search(text) or text.startswith("<?xml"):
        return Aside(Reason.CONTROL)
    if _ELIDED.search(text):
        return Aside(Reason.NOT_A_FLOW, "lines were left out here")
    return Aside(Reason.NOT_A_FLOW, f"no conntrack entry: {text[:60]}")


# --- the text form ----------------------------------------------------------------------------------------------------


def _fields(text: str, items: list[str]) -> Fields:
    begin = next(i for i, item in enumerate(items) if item.startswith("src="))
    out = Fields()
    _head(items[:begin], out)
    rest = iter(items[begin:])
    carry = _tuple(rest, next(rest), out.original)
    while carry is not None and not carry.startswith("src="):
        if carry != "[UNREPLIED]":
            raise MalformedError(f"{carry!r} between the two tuples")
        out.unreplied, carry = True, next(rest, None)
    if carry is None:
        raise MalformedError("it ends after one tuple")
    carry = _tuple(rest, carry, out.reply)
    for item in (*([carry] if carry else ()), *rest):
        out.unreplied |= item == "[UNREPLIED]"
        out.assured |= item in _ASSURED
    stamp = _STAMP.search(text)
    if stamp and stamp.start() < text.index("src="):
        # Older versions pad the microseconds with blanks behind, not with zeros before.
        out.stamp = int(stamp[1]) * 1_000_000 + int(stamp[2])
    for which, *clock in _CLOCK.findall(text):
        setattr(out, which, _clock(*clock))
    age = _AGE.search(text)
    out.age = int(age[1]) if age else None
    return out


def _head(items: list[str], out: Fields) -> None:
    """Event, protocol, timeout and state."""
    for i, item in enumerate(items):
        out.event = _EVENTS.get(item, out.event)
        number = items[i + 1] if i + 1 < len(items) else ""
        if (item in _PROTOCOLS and number == _PROTOCOLS[item]) or (item == "unknown" and number.isdecimal()):
            out.protocol = number
            rest = items[i + 2 :]
            break
    else:
        raise MalformedError("no protocol before the addresses")
    if rest and rest[0].isdecimal():
        del rest[0]
    if rest and _STATE.fullmatch(rest[0]):
        out.state = rest.pop(0)
    if out.protocol == _PROTOCOLS["gre"]:
        rest = [word for word in rest if not _GRE_TIMEOUT.fullmatch(word)]
    if rest:
        raise MalformedError(f"{rest[0]!r} between protocol and addresses")


_KEYS = {"src": "src", "dst": "dst", "sport": "sport", "dport": "dport", "packets": "packets", "bytes": "octets"}
_OTHER_KEYS = frozenset({"type", "code", "id", "srckey", "dstkey", "zone-orig", "zone-reply"})
"""The rest of what libnetfilter_conntrack (`snprintf_default.c`) and the kernel (`ct_seq_show`) print of a direction:
addresses; ports, or ICMP's type, code and id, or GRE's keys; its zone, if that is of one direction; its counters. Then
`[UNREPLIED]` follows the original tuple, and nothing else: `zone=`, of both directions, is in the tail."""


def _tuple(items: Iterator[str], first: str, out: Tuple) -> str | None:
    """Read a tuple that begins with `first`; the item after it, None at the end of the line."""
    item: str | None = first
    seen: set[str] = set()
    while item is not None:
        key, equals, value = item.partition("=")
        if not equals or key in seen or (key not in _KEYS and key not in _OTHER_KEYS):
            break
        if key == "id" and "type" not in seen:
            break  # the entry's own id
        seen.add(key)
        if key in _KEYS:
            setattr(out, _KEYS[key], value)
        item = next(items, None)
    return item


def _clock(month: str, day: str, hour: str, minute: str, second: str, year: str) -> int | None:
    """Seconds since the epoch of a clock face, as though it were UTC."""
    if month not in _MONTHS:
        return None
    try:
        when = datetime(int(year), _MONTHS[month], int(day), int(hour), int(minute), int(second), tzinfo=UTC)
    except ValueError:
        return None
    return int(when.timestamp())


# --- `-o save` --------------------------------------------------------------------------------------------------------

_SAVED_EVENTS = {"-A": 1, "-I": 1, "-U": UPDATE, "-D": DESTROY}
_OPTIONS = {
    "-s": ("original", "src"),
    "-d": ("original", "dst"),
    "-r": ("reply", "src"),
    "-q": ("reply", "dst"),
    "--sport": ("original", "sport"),
    "--orig-port-src": ("original", "sport"),
    "--dport": ("original", "dport"),
    "--orig-port-dst": ("original", "dport"),
    "--reply-port-src": ("reply", "sport"),
    "--reply-port-dst": ("reply", "dport"),
}


def _saved(items: list[str]) -> Fields:
    """An entry as options of `conntrack` itself."""
    out = Fields(unreplied=True)
    options = iter(items)
    for item in options:
        out.event = _SAVED_EVENTS.get(item, out.event)
        if item in _OPTIONS:
            side, name = _OPTIONS[item]
            setattr(getattr(out, side), name, next(options, ""))
        elif item == "-p":
            name = next(options, "")
            out.protocol = _PROTOCOLS.get(name, name)
        elif item == "--state":
            out.state = next(options, "")
        elif item == "-u":
            status = set(next(options, "").split(","))
            out.unreplied = "SEEN_REPLY" not in status
            out.assured = bool(status & {"ASSURED", "OFFLOAD", "HW_OFFLOAD"})
    return out


# --- from fields to values --------------------------------------------------------------------------------------------


def finish(fields: Fields, addresses: Addresses) -> Outcome:
    """Check an entry's fields and turn them into values.

    Raises:
        MalformedError: a field is missing or no value of its kind.

    """
    if fields.protocol in ICMP_NUMBERS:
        return Aside(Reason.ICMP)
    protocol = PROTOCOL_NUMBERS.get(fields.protocol)
    if protocol is None:
        if not fields.protocol.isdecimal():
            raise MalformedError("no protocol")
        return Aside(Reason.OTHER_PROTOCOL, f"protocol {fields.protocol[:4]}")
    ends = []
    for side in (fields.original, fields.reply):
        codes = [_address(side.src, addresses), _address(side.dst, addresses)]
        ports = [_number(side.sport, "port", 5), _number(side.dport, "port", 5)]
        if max(ports) > 65535:
            return Aside(Reason.BAD_FIELD, f"port {max(ports)} is not a port")
        ends.append((*codes, *ports))
    (client, dialled, client_port, dialled_port), (server, seen_as, server_port, seen_port) = ends
    packets, octets, answer = _counters(fields)
    state = fields.state if fields.state in STATE_CODES else ""
    found = meaning(protocol, state, unreplied=fields.unreplied, assured=fields.assured, answer=answer)
    code = int(found.signals) | (0 if found.client_known else UNKNOWN_CLIENT)
    times = _times(fields)
    if times is None:
        return Aside(Reason.BAD_FIELD, "a time that is out of range")
    first, last, started = times
    if fields.event in (UPDATE, DESTROY) and not started:
        code |= int(lateness(protocol, state, ended=fields.event == DESTROY))
    ports_and_ends = (client, dialled, client_port, dialled_port, server, server_port, seen_as, seen_port)
    return (int(protocol), *ports_and_ends, code, first, last, octets, packets)


def _address(text: str, addresses: Addresses) -> int:
    code = addresses.code(text.encode()) if len(text) < 64 else NO_ADDRESS
    if code == NO_ADDRESS:
        raise MalformedError(f"{text[:45]!r} is no address" if text else "an address is missing")
    return code


def _number(text: str, what: str, digits: int) -> int:
    if not (text.isdecimal() and text.isascii() and len(text) <= digits):
        raise MalformedError(f"{text[:20]!r} is no {what}" if text else f"a {what} is missing")
    return int(text)


def _counters(fields: Fields) -> tuple[int, int, Answer]:
    """Packets and bytes of both directions, -1 where not counted, and whether the server sent any."""
    sides = (fields.original, fields.reply)
    if not all(side.packets and side.octets for side in sides):
        return -1, -1, Answer.NOT_COUNTED
    packets = [_number(side.packets, "number of packets", 15) for side in sides]
    octets = [_number(side.octets, "number of bytes", 15) for side in sides]
    return sum(packets), sum(octets), Answer.SOME if packets[1] else Answer.NONE


def _times(fields: Fields) -> tuple[int, int, bool] | None:
    """First and last time, and whether the start is known; the rules are those of `conntrack_times`."""
    stamp = None if fields.stamp is None else fields.stamp * 1000
    start = None if fields.start is None else fields.start * NS
    if any(time is not None and not 0 <= time < LAST_SECOND * NS for time in (stamp, start)):
        return None
    if start is None:
        return (UNKNOWN_TIME, UNKNOWN_TIME, False) if stamp is None else (stamp, stamp, False)
    if stamp is not None and fields.stop is not None:
        shift = (fields.stop * NS - stamp + QUARTER // 2) // QUARTER * QUARTER
        if abs(shift) > WIDEST_ZONE:
            return stamp, stamp, False
        start -= shift
    if stamp is not None:
        start = min(start, stamp)
    if fields.event == DESTROY:
        return start, start, True
    if stamp is not None:
        return start, stamp, True
    return start, start + (fields.age or 0) * NS, True
