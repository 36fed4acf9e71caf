"""Conntrack entries as columns: as written, and what they say.

`conntrack_lines` (compiled) and `conntrack_text` read the grammar alone and give `Written`; what an entry means and
when it was is decided here, for both.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from netpol_gen.readers import conntrack_times
from netpol_gen.readers.conntrack_meaning import (
    ASSURED_STRIDE,
    L4,
    PROTOCOL_STRIDE,
    STATE_STRIDE,
    STATES,
    UNREPLIED_STRIDE,
    Answer,
    lateness,
    table,
)
from netpol_gen.readers.conntrack_times import DESTROY, UNKNOWN_TIME, UPDATE, Tail
from netpol_gen.readers.conntrack_words import Int

LONGEST = 16 * 1024
"""Bytes of an entry; conntrack writes some three hundred."""


@dataclass(slots=True)
class Ends:
    """Who talked to whom, as columns of one length.

    `server`/`server_port` are the reply tuple's source, `seen_as`/`seen_port` its destination: the client as the server
    sees it. Addresses are codes of `Addresses`.
    """

    line: Int
    protocol: Int
    client: Int
    dialled: Int
    client_port: Int
    dialled_port: Int
    server: Int
    server_port: Int
    seen_as: Int
    seen_port: Int


@dataclass(slots=True)
class Entries(Ends):
    """Entries and what they say. Times are nanoseconds since the epoch, `UNKNOWN_TIME` where not told.

    `meaning` is as in `conntrack_meaning.table`, with `lateness` where only the end is told. `octets` and
    `packets` are of both directions, -1 where not counted. Addresses are codes of `Addresses`.
    """

    meaning: Int
    first: Int
    last: Int
    octets: Int
    packets: Int


COLUMNS = tuple(field.name for field in fields(Entries))


@dataclass(frozen=True, slots=True)
class Decoded:
    """A block's entries, the line numbers of its ICMP entries, and the lines left for the tolerant decoder.

    `records` counts the lines that are not blank: entries, ICMP and the rest together.
    """

    entries: Entries
    records: int
    icmp: Int
    rest: list[tuple[int, bytes]]


@dataclass(slots=True)
class Written(Ends):
    """Entries as written.

    `state` is its number in `conntrack_meaning.STATES`; `event` 1 for NEW, `UPDATE`, `DESTROY`, 0 for none; `stamp` the
    event's own time. `start`, `stop` and `age` are as in `conntrack_times.Tail`. Counters are of the original and of
    the reply direction; all four are -1 where not counted.
    """

    state: Int
    unreplied: Int
    assured: Int
    event: Int
    stamp: Int
    start: Int
    stop: Int
    age: Int
    packets: Int
    octets: Int
    packets_back: Int
    octets_back: Int


KEPT = tuple(field.name for field in fields(Ends))
WRITTEN = tuple(field.name for field in fields(Written))

_MEANINGS = np.array(table(), dtype=np.int64)
_LATENESS = np.array(
    [[[int(lateness(name, state, ended=ended)) for state in STATES] for name in L4] for ended in (False, True)]
)


def entries(written: Written) -> Entries:
    """What these entries say."""
    counted = written.packets >= 0
    answer = np.where(counted, np.where(written.packets_back > 0, int(Answer.SOME), int(Answer.NONE)), 0)
    position = written.protocol * PROTOCOL_STRIDE + written.state * STATE_STRIDE + answer
    position += written.unreplied * UNREPLIED_STRIDE + written.assured * ASSURED_STRIDE
    meaning = _MEANINGS[position]
    first = last = written.stamp
    late = written.event >= UPDATE
    if (written.start != UNKNOWN_TIME).any():
        tail = Tail(written.start, written.stop, written.age)
        first, last, started = conntrack_times.settle((first, last), written.event, tail)
        late &= ~started
    if late.any():
        ended = (written.event == DESTROY).astype(np.int64)
        meaning |= np.where(late, _LATENESS[ended, written.protocol, written.state], 0)
    return Entries(
        **{name: getattr(written, name) for name in KEPT},
        meaning=meaning,
        first=first,
        last=last,
        octets=np.where(counted, written.octets + written.octets_back, -1),
        packets=np.where(counted, written.packets + written.packets_back, -1),
    )
