"""When an entry lived: what `-o ktimestamp` puts behind its tuples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netpol_gen.model import UNKNOWN_TIME as UNKNOWN_TIME  # noqa: PLC0414 - the readers of entries take it from here
from netpol_gen.readers.conntrack_words import Int, Mask, Text, low_bytes, number, word

NS = 1_000_000_000
LAST_SECOND = 3_755_289_600
"""The year 2088 is the last one believed."""
QUARTER = 900 * NS
"""Time zones differ by multiples of this."""
WIDEST_ZONE = 14 * 3600 * NS
UPDATE, DESTROY = 2, 3
"""Codes of the events that change and that end an entry; NEW is 1, no event 0."""
_MAX_TAIL = 16
"""Fields looked at behind the tuples; conntrack writes at most ten."""
_DAYS_OF = np.array([0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
"""Of each month in a leap year; every fourth is one from 1971 to 2087."""
_WEEKDAYS = np.array([word(name) for name in (b"Mon ", b"Tue ", b"Wed ", b"Thu ", b"Fri ", b"Sat ", b"Sun ")])
_MONTHS = {word(name): i for i, name in enumerate(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)}


@dataclass(slots=True)
class Tail:
    """Times behind the tuples, as though in UTC, `UNKNOWN_TIME` if absent; `age` in seconds or -1."""

    start: Int
    stop: Int
    age: Int

    def take(self, which: Int) -> Tail:
        """Those of some of the lines."""
        return Tail(self.start[which], self.stop[which], self.age[which])


def find(text: Text, equals: Int, begin: Int, end: Int) -> tuple[Tail, Int]:
    """Times from the `=` numbers `begin` to `end` of each line, and which lines say each once at most, plainly."""
    out = Tail(np.full(len(begin), UNKNOWN_TIME), np.full(len(begin), UNKNOWN_TIME), np.full(len(begin), -1))
    sound = begin + _MAX_TAIL >= end
    for i in range(_MAX_TAIL):
        some = np.flatnonzero(begin + i < end)
        if not len(some):
            break
        where = equals[begin[some] + i]
        key = text.at(where - 7)
        for column, name in ((out.start, b"[start="), (out.stop, b"[stop=")):
            here = (key >> np.uint64(64 - 8 * len(name))) == word(name)
            if here.any():
                found = some[here]
                clock = _clock(text, where[here] + 1)
                sound[found] &= (column[found] == UNKNOWN_TIME) & (clock != UNKNOWN_TIME)
                column[found] = clock
        here = key == word(b"ta-time=")
        if here.any():
            found = some[here]
            seconds, digits = number(text.at(where[here] + 1))
            sound[found] &= (out.age[found] < 0) & (digits > 0) & (digits < 8)
            sound[found] &= text.has(where[here] - 11, b" delta-t")
            out.age[found] = seconds
    return out, np.flatnonzero(sound)


def settle(entry: tuple[Int, Int], event: Int, tail: Tail) -> tuple[Int, Int, Mask]:
    """First and last time of each entry, given those of its event and what the kernel noted of its start and end.

    The third value tells whether the start is known.
    """
    first, last = entry
    stamped = last != UNKNOWN_TIME
    # The clock face is local time without a zone. An event's own stamp has none: what lies between it and the stop, in
    # whole quarters of an hour, is the zone. Without a stamp the clock is taken for UTC, which nodes keep.
    lag = np.where(stamped & (tail.stop != UNKNOWN_TIME), tail.stop - last, 0)
    shift = (lag + QUARTER // 2) // QUARTER * QUARTER
    known = (tail.start != UNKNOWN_TIME) & (abs(shift) <= WIDEST_ZONE)
    start = np.where(known, tail.start - shift, UNKNOWN_TIME)
    # Without a stop to tell the zone it may seem to lie behind its event.
    start = np.where(stamped, np.minimum(start, last), start)
    # An entry outlives its last packet, a TCP one by up to five days, and its addresses may long belong to others when
    # it is destroyed: its start is when they are known to have been its own.
    destroyed = known & (event == DESTROY)
    alive = np.where(tail.age >= 0, start + tail.age * NS, start)
    first = np.where(known, start, first)
    last = np.where(destroyed, start, np.where(known & ~stamped, alive, last))
    return first, last, known


def _clock(text: Text, where: Int) -> Int:
    """`Tue May 29 09:40:13 2018]` at each place as nanoseconds, as though it were UTC."""
    words = text.at(where + 4) & low_bytes(3)
    month = np.zeros(len(where), dtype=np.int64)
    for name, ordinal in _MONTHS.items():
        month[words == name] = ordinal
    day = _two_digits(text, where + 8, padded=True)
    hour, minute, second = (_two_digits(text, where + offset) for offset in (11, 14, 17))
    year, digits = number(text.at(where + 20))
    ok = np.isin(text.at(where) & low_bytes(4), _WEEKDAYS) & (month > 0)
    ok &= (digits == 4) & (year >= 1971) & (year < 2088)
    for offset, mark in ((7, b" "), (10, b" "), (13, b":"), (16, b":"), (19, b" "), (24, b"]")):
        ok &= text.has(where + offset, mark)
    ok &= (day >= 1) & (hour >= 0) & (hour < 24) & (minute >= 0) & (minute < 60) & (second >= 0) & (second < 60)
    ok &= day <= _DAYS_OF[month] - ((month == 2) & (year % 4 > 0))
    seconds = ((_days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second
    out: Int = np.where(ok, seconds * NS, UNKNOWN_TIME)
    return out


def _two_digits(text: Text, where: Int, *, padded: bool = False) -> Int:
    """Two digits, where `padded` the first perhaps a blank; negative for anything else."""
    high = text.bytes[where].astype(np.int64) - ord("0")
    low = text.bytes[where + 1].astype(np.int64) - ord("0")
    if padded:
        high = np.where(high == ord(" ") - ord("0"), 0, high)
    value = high * 10 + low
    proper = (high >= 0) & (high <= 9) & (low >= 0) & (low <= 9)
    out: Int = np.where(proper, value, -1)
    return out


def _days(year: Int, month: Int, day: Int) -> Int:
    """Days since the epoch, with years that begin in March so that the leap day is the last of one."""
    early = month <= 2
    year = year - early
    since_march = np.where(early, month + 9, month - 3)
    of_year = (153 * since_march + 2) // 5 + day - 1
    return year * 365 + year // 4 - year // 100 + year // 400 + of_year - 719468
