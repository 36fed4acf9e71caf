"""Conntrack text as columns: a block of lines is decoded with array operations, no Python object per line.

Every `=` of a block is found at once; the bytes before one tell its key, those behind it the value. A line that is not
exactly as conntrack or `/proc/net/nf_conntrack` writes it (another order, a paste with line numbers, a banner) is left
to `netpol_gen.readers.conntrack_line`, which takes one line at a time: a deviant line costs itself, not its block.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netpol_gen.readers import conntrack_times
from netpol_gen.readers.conntrack_addresses import NO_ADDRESS, Addresses
from netpol_gen.readers.conntrack_entries import LONGEST, WRITTEN, Decoded, Written, entries
from netpol_gen.readers.conntrack_meaning import L4, STATES
from netpol_gen.readers.conntrack_times import LAST_SECOND, NS, UNKNOWN_TIME
from netpol_gen.readers.conntrack_words import (
    PAD,
    Field,
    Int,
    Mask,
    Text,
    Word,
    count_digits,
    low_bytes,
    number,
    word,
)
from netpol_gen.readers.files import Block

_EVENTS = tuple(word(text) for text in (b"    [NEW", b" [UPDATE", b"[DESTROY"))
_FAMILIES = ((word(b"ipv4    "), b" 2 "), (word(b"ipv6    "), b" 10 "))
_PROTOCOLS = (
    (word(b"tcp     "), b" 6 ", int(L4.TCP)),
    (word(b"udp     "), b" 17 ", int(L4.UDP)),
    (word(b"sctp    "), b" 132 ", int(L4.SCTP)),
)
_ICMP_CODE = len(L4)
_ICMP = ((word(b"icmp    "), b" 1 ", _ICMP_CODE), (word(b"icmpv6  "), b" 58 ", _ICMP_CODE))


def _state_key(last: Word, length: Int) -> Word:
    """One word for a state: its last eight characters, and its length."""
    key: Word = last ^ (length.astype(np.uint64) << np.uint64(57))
    return key


def _state_table() -> tuple[Word, Int]:
    names = STATES[1:]
    keys = _state_key(
        np.array([word(name.encode()[-8:]) for name in names], dtype=np.uint64),
        np.array([len(name) for name in names], dtype=np.int64),
    )
    order = np.argsort(keys)
    return keys[order], (order + 1).astype(np.int64)


_STATE_KEYS, _STATE_CODES = _state_table()
_ASSURED = (b" [ASSURED]", b" [OFFLOAD]", b" [HW_OFFLOAD]")
_ECHO = re.compile(
    rb"src=[!-~]* dst=[!-~]* type=[!-~]* code=[!-~]* id=[!-~]*(?: packets=[!-~]* bytes=[!-~]*)?(?: \[UNREPLIED\])? src="
)
"""Two tuples of ICMP, of type, code and id in place of ports: what is read of them is that they are there."""


def decode(block: Block, addresses: Addresses) -> Decoded:
    """Decode complete lines."""
    text = Text(block.data)
    with np.errstate(over="ignore"):
        return _decode(text, block.line, addresses)


def _decode(text: Text, line: int, addresses: Addresses) -> Decoded:
    starts, ends = text.starts, text.ends
    filled = np.flatnonzero(text.filled())
    first, count = text.first_equal, text.equal_count
    # Behind the last `=` of a short line come those of the next; its keys do not fit, or its tuples cross the newline,
    # which no value does. Behind the last of all comes padding.
    equals = np.append(text.equals, np.full(12, len(text.data) - PAD, dtype=np.int64))
    rows = filled[(count[filled] >= 6) & (ends[filled] - starts[filled] <= LONGEST)]
    heads = _heads(text, starts[rows], equals[first[rows]] - 3)
    icmp = rows[heads.protocol == _ICMP_CODE]
    echo = [
        _ECHO.match(text.data, begin, end) is not None
        for begin, end in zip((equals[first[icmp]] - 3).tolist(), ends[icmp].tolist(), strict=True)
    ]
    icmp = icmp[np.array(echo, dtype=bool)]
    good = np.flatnonzero((heads.protocol >= 0) & (heads.protocol != _ICMP_CODE) & (count[rows] >= 8))
    rows, heads = rows[good], heads.take(good)
    written, done = _written(text, equals, (first[rows], count[rows]), heads, addresses)
    rows = rows[done]
    written.line = rows + line
    fast = np.zeros(len(starts), dtype=bool)
    fast[icmp] = True
    fast[rows] = True
    left = filled[~fast[filled]]
    rest = [
        (line + offset, text.data[start:end])
        for offset, start, end in zip(left.tolist(), starts[left].tolist(), ends[left].tolist(), strict=True)
    ]
    return Decoded(entries(written), len(filled), icmp + line, rest)


# --- before the tuples ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Heads:
    """What stands before the tuples; `protocol` is -1 for lines that begin otherwise than conntrack writes them."""

    protocol: Int
    state: Int
    event: Int
    """1 for NEW, `UPDATE`, `DESTROY`, 0 for none."""
    time: Int
    begin: Int

    def take(self, which: Int) -> _Heads:
        return _Heads(*(getattr(self, name)[which] for name in ("protocol", "state", "event", "time", "begin")))


def _heads(text: Text, where: Int, first_src: Int) -> _Heads:
    """Timestamp, event, family, protocol, timeout and state, all of which but the protocol may be absent."""
    time = np.full(len(where), UNKNOWN_TIME, dtype=np.int64)
    protocol = np.full(len(where), -1, dtype=np.int64)
    ok = np.ones(len(where), dtype=bool)
    begin, where = where, where.copy()
    stamped = np.flatnonzero((text.bytes[where] == ord("[")) & (text.bytes[where + 1] <= ord("9")))
    time[stamped], ok[stamped] = _epochs(text, where[stamped])
    where[stamped] += 20
    # The padding is longer than any head, so that no step leaves the block.
    words = text.at(where)
    event = np.zeros(len(where), dtype=np.int64)
    for ordinal, name in enumerate(_EVENTS, 1):
        some = np.flatnonzero(words == name)
        some = some[text.has(where[some] + 8, b"] ")]
        event[some] = ordinal
        where[some] += 10
    where += _named(text, where, [(name, ordinal, 0) for name, ordinal in _FAMILIES])[1]
    protocol, width = _named(text, where, [*_PROTOCOLS, *_ICMP])
    where += width
    digits = count_digits(text.at(where)).astype(np.int64)
    ok &= (digits == 0) | (text.has(where + digits, b" ") & (digits < 8))
    where += np.where(digits > 0, digits + 1, 0)
    state, known = _states(text, where, first_src)
    ok &= known
    return _Heads(np.where(ok, protocol, -1), state, event, time, begin)


def _named(text: Text, where: Int, known: Sequence[tuple[np.uint64, bytes, int]]) -> tuple[Int, Int]:
    """The code of the padded name and number at each place (-1: none of these), and how many bytes they take."""
    words = text.at(where)
    code = np.full(len(where), -1, dtype=np.int64)
    width = np.zeros(len(where), dtype=np.int64)
    for name, tail, value in known:
        found = np.flatnonzero(words == name)
        if len(found):
            found = found[text.has(where[found] + 8, tail)]
            code[found], width[found] = value, 8 + len(tail)
    return code, width


def _epochs(text: Text, where: Int) -> tuple[Int, Mask]:
    """`[1795387971.765385]` and a tab, as `-o timestamp` prints it."""
    high, digits = number(text.at(where + 1))
    low, further = number(text.at(where + 9))
    micro, six = number(text.at(where + 12))
    ok = (digits == 8) & (further == 2) & (six == 6) & text.has(where + 11, b".") & text.has(where + 18, b"]\t")
    seconds = high * 100 + low
    ok &= seconds < LAST_SECOND
    return np.where(ok, seconds * NS + micro * 1000, UNKNOWN_TIME), ok


def _states(text: Text, where: Int, first_src: Int) -> tuple[Int, Mask]:
    """The code of the word between `where` and the first `src` (0: no word), and whether it is one that is known."""
    length = first_src - 1 - where
    none = length == -1
    short = (8 * np.clip(8 - length, 0, 7)).astype(np.uint64)
    key = _state_key(text.at(np.maximum(first_src - 9, 0)) >> short, np.clip(length, 0, 63))
    at = np.searchsorted(_STATE_KEYS, key).clip(max=len(_STATE_KEYS) - 1)
    found = (_STATE_KEYS[at] == key) & (length > 0)
    code = np.where(none | ~found, 0, _STATE_CODES[at])
    # The key is of the last eight characters; of a longer one all must be right.
    for long in np.flatnonzero(np.bincount(code, minlength=len(STATES))).tolist():
        name = STATES[long].encode()
        if len(name) > 8:
            some = np.flatnonzero(code == long)
            found[some] &= text.has(where[some], name[:8]) & text.has(where[some] + 8, name[8:16])
    return code, none | (found & text.has(first_src - 1, b" "))


# --- the tuples -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Tuple:
    """One direction of each line. `begin` and `end` bound its text; `packets` and `octets` are -1 where not counted."""

    ok: Mask
    begin: Int
    end: Int
    src: _Span
    dst: _Span
    src_port: Int
    dst_port: Int
    packets: Int
    octets: Int


@dataclass(slots=True)
class _Span:
    """An address as written."""

    field: Field
    begin: Int
    end: Int

    def take(self, which: Int) -> _Span:
        return _Span(self.field.take(which), self.begin[which], self.end[which])

    def same(self, other: _Span) -> Mask:
        length = self.end - self.begin
        same: Mask = (length == other.end - other.begin) & self.field.same(other.field, length)
        return same

    def codes(self, text: Text, known: Addresses) -> Int:
        return known.codes(text, self.field, self.begin, self.end)

    def codes_like(self, other: _Span, codes: Int, text: Text, known: Addresses) -> Int:
        """The same, with the codes of the other end at hand: without translation the text is the same."""
        out = codes.copy()
        new = np.flatnonzero(~self.same(other))
        out[new] = self.take(new).codes(text, known)
        return out


def _written(
    text: Text, equals: Int, bounds: tuple[Int, Int], heads: _Heads, addresses: Addresses
) -> tuple[Written, Int]:
    """Read lines from their tuples on; the second value tells which could be read.

    `bounds` are the number of each line's first `=`, and how many it has.
    """
    first, count = bounds
    counted = text.has(equals[first + 4] - 8, b" packets")
    parts, indices = [], []
    for width in (4, 6):
        some = np.flatnonzero(counted == (width == 6))
        part, done = _pair(text, equals, (first[some], count[some]), width, (heads.take(some), addresses))
        parts.append(part)
        indices.append(some[done])
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in WRITTEN}
    written, done = Written(**columns), np.concatenate(indices)
    return _accounted(text, heads, written, done)


def _accounted(text: Text, heads: _Heads, written: Written, done: Int) -> tuple[Written, Int]:
    """Leave out lines with more brackets than were read: the tolerant way looks at each word of a line."""
    read = (written.stamp != UNKNOWN_TIME).astype(np.int64) + (written.event > 0) + written.unreplied + written.assured
    read += (written.start != UNKNOWN_TIME).astype(np.int64) + (written.stop != UNKNOWN_TIME)
    brackets = text.bytes == ord("[")
    if np.count_nonzero(brackets) == read.sum():
        return written, done
    where = np.flatnonzero(brackets)
    begin = heads.begin[done]
    end = text.ends[np.searchsorted(text.ends, begin)]
    more = np.searchsorted(where, end) - np.searchsorted(where, begin) - read
    for i in np.flatnonzero(more).tolist():
        more[i] -= text.data.count(b" [USERSPACE] ", begin[i], end[i])
    keep = np.flatnonzero(more == 0)
    return Written(*(getattr(written, name)[keep] for name in WRITTEN)), done[keep]


def _pair(
    text: Text, equals: Int, bounds: tuple[Int, Int], width: int, known: tuple[_Heads, Addresses]
) -> tuple[Written, Int]:
    (first, count), (heads, addresses) = bounds, known
    original = _tuple(text, [equals[first + i] for i in range(width)])
    reply = _tuple(text, [equals[first + width + i] for i in range(width)])
    gap = reply.begin - original.end
    unreplied = _unreplied(text, original.end, gap)
    assured, separated = _flags(text, reply.end)
    done = np.flatnonzero(original.ok & reply.ok & ((gap == 0) | unreplied) & separated)
    tail, sound = conntrack_times.find(text, equals, (first + 2 * width)[done], (first + count)[done])
    done, tail = done[sound], tail.take(sound)
    src, dst = original.src.take(done), original.dst.take(done)
    client, dialled = src.codes(text, addresses), dst.codes(text, addresses)
    server = reply.src.take(done).codes_like(dst, dialled, text, addresses)
    seen_as = reply.dst.take(done).codes_like(src, client, text, addresses)
    keep = np.flatnonzero(np.minimum(np.minimum(client, dialled), np.minimum(server, seen_as)) != NO_ADDRESS)
    done, tail = done[keep], tail.take(keep)
    written = Written(
        line=np.zeros(len(done), dtype=np.int64),
        protocol=heads.protocol[done],
        client=client[keep],
        dialled=dialled[keep],
        client_port=original.src_port[done],
        dialled_port=original.dst_port[done],
        server=server[keep],
        server_port=reply.src_port[done],
        seen_as=seen_as[keep],
        seen_port=reply.dst_port[done],
        state=heads.state[done],
        unreplied=unreplied[done].astype(np.int64),
        assured=assured[done].astype(np.int64),
        event=heads.event[done],
        stamp=heads.time[done],
        start=tail.start,
        stop=tail.stop,
        age=tail.age,
        packets=original.packets[done],
        octets=original.octets[done],
        packets_back=reply.packets[done],
        octets_back=reply.octets[done],
    )
    return written, done


def _tuple(text: Text, e: Sequence[Int]) -> _Tuple:
    """A tuple from the places of its `=`: of src, dst, sport, dport and, if counted, packets, bytes."""
    src, dst, sport, dport = (text.field(where) for where in e[:4])
    ok = src.named(b" src=") & dst.named(b" dst=") & sport.named(b" sport=") & dport.named(b" dport=")
    src_port, digits = sport.number()
    ok &= (digits > 0) & (digits < 6) & (e[2] + 1 + digits == e[3] - 6) & (src_port < 65536)
    dst_port, digits = dport.number()
    end = e[3] + 1 + digits
    ok &= (digits > 0) & (digits < 6) & (dst_port < 65536)
    packets = octets = np.full(len(end), -1, dtype=np.int64)
    if len(e) == 6:
        counts, volume = text.field(e[4]), text.field(e[5])
        ok &= (end == e[4] - 8) & counts.named(b"packets=") & (text.bytes[end] == ord(" ")) & volume.named(b" bytes=")
        packets, digits = counts.long_number()
        ok &= (digits > 0) & (digits < 16) & (e[4] + 1 + digits == e[5] - 6)
        octets, digits = volume.long_number()
        ok &= (digits > 0) & (digits < 16)
        end = e[5] + 1 + digits
    from_, to = _Span(src, e[0] + 1, e[1] - 4), _Span(dst, e[1] + 1, e[2] - 6)
    return _Tuple(ok, e[0] - 4, end, from_, to, src_port, dst_port, packets, octets)


def _flags(text: Text, end: Int) -> tuple[Mask, Mask]:
    """Whether the entry is assured, and whether what follows its tuples is apart from them."""
    words = text.at(end)
    assured = np.zeros(len(end), dtype=bool)
    for flag in _ASSURED:
        some = np.flatnonzero(words == word(flag[:8]))
        assured[some] = text.has(end[some] + 8, flag[8:]) & _separated(text.at(end[some] + len(flag)))
    return assured, _separated(words)


def _separated(words: Word) -> Mask:
    """Whether a blank or the end of the line is first in each word."""
    two, one = words & low_bytes(2), words & low_bytes(1)
    separated: Mask = (one == word(b" ")) | (one == word(b"\n")) | (two == word(b"\r\n"))
    return separated


def _unreplied(text: Text, end: Int, gap: Int) -> Mask:
    """Whether `[UNREPLIED]` stands between the tuples."""
    out: Mask = gap == 12
    some = np.flatnonzero(out)
    out[some] = text.has(end[some], b" [UNREPL") & text.has(end[some] + 4, b"REPLIED]")
    return out
