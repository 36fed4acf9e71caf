"""Conntrack tables and events: `conntrack -L`, `-E` with any `-o`, `/proc/net/nf_conntrack`.

An entry has both directions of a connection: the original tuple, as the client dialled, and the reply tuple, whose
source is the server behind every translation and whose destination is the client as that server sees it. So a row's
`dst_*` are as dialled, `backend_*` the pod behind a Service where that differs, `src_ip` the client itself.

Times. Events have their own with `-o timestamp`, entries theirs with `-o ktimestamp`. A dump without either has none:
its rows stand at `conntrack_times.UNKNOWN_TIME`, with no hours, unless `snapshot` says when it was taken; what is alive
now belongs to whoever holds its addresses at the inventory's end. A connection counts once, however often it is told.
Its end (`[DESTROY]` without `[start=`) says little of when it was: `conntrack_late`.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from netpol_gen.codes import Columns, numbers
from netpol_gen.flowtable import Flows, Reason
from netpol_gen.readers import conntrack_lines, conntrack_text, conntrack_xml
from netpol_gen.readers.conntrack_addresses import Addresses
from netpol_gen.readers.conntrack_entries import COLUMNS, Decoded, Entries
from netpol_gen.readers.conntrack_late import settled
from netpol_gen.readers.conntrack_line import Aside, Outcome, read_line
from netpol_gen.readers.conntrack_meaning import LATE
from netpol_gen.readers.conntrack_rows import Folder, unfit
from netpol_gen.readers.conntrack_times import UNKNOWN_TIME
from netpol_gen.readers.files import Input, Stream
from netpol_gen.readers.rows import MAX_PLACES
from netpol_gen.readers.vpc import PLACE_BITS, Options
from netpol_gen.readers.vpc_table import Account, Source, Spot, finish

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAME = "conntrack"
SOURCE = Source(NAME, "conntrack", "")
BLOCK = 4 * 1024 * 1024
"""Bytes decoded at once: enough lines to make up for the calls, few enough that their columns stay in the cache."""
_UNTIMED = (
    "conntrack: tables without times show what is alive when they are dumped, whenever that was; their addresses are "
    "taken to belong to whoever holds them at the inventory's end. `conntrack -L -o ktimestamp` and `conntrack -E -o "
    "timestamp` tell when."
)
_LATE = (
    "conntrack: of some connections only the end was recorded (DESTROY, or that one side gave up), minutes after the "
    "last packet, or up to five days if they were idle; where an address may have changed hands since, they are "
    "ambiguous. With `sysctl net.netfilter.nf_conntrack_timestamp=1`, `conntrack -E -o timestamp,ktimestamp` tells "
    "when they began."
)
_LARGE = 8 * BLOCK
"""Bytes of a file from which on threads are worth their start."""
_ODD = 4096
"""Lines read one at a time are added in batches of this many."""

_PROTOCOL = rb"(?:tcp|udp|icmp|icmpv6|sctp|gre|dccp|udplite|unknown) +\d+ "
_ENTRY = re.compile(rb"(?:^|[\s\]])" + _PROTOCOL + rb"[^\n]{0,60}?src=[0-9a-fA-F:.]+ dst=[0-9a-fA-F:.]+ ", re.MULTILINE)
_SAVED = re.compile(rb"^-[AUDI] [^\n]*-s [0-9a-fA-F:.]+ -d [0-9a-fA-F:.]+ .*-r ", re.MULTILINE)
_BANNER = re.compile(rb"^conntrack v\d+\.\d+", re.MULTILINE)
_JSON = re.compile(rb"\s*(?:\{|\[\s*[{\[\"])")
"""JSON may quote entries. An event begins with a bracket as well: `[DESTROY]`, `[1795387971.765385]`."""


def looks_like(head: bytes, name: str = "") -> bool:  # noqa: ARG001 - the signature of the table of sources
    """Whether a file with this beginning was written by conntrack or is the kernel's own table."""
    beginning = head.removeprefix(b"\xef\xbb\xbf")[:16384]
    if _JSON.match(beginning):
        return False
    if conntrack_xml.looks_like(beginning):
        return True
    return bool(_ENTRY.search(beginning) or _SAVED.search(beginning) or _BANNER.search(beginning[:512]))


def read(items: Sequence[Input], options: Options, *, snapshot: int | None = None) -> Flows:
    """Read conntrack files into one table.

    Args:
        items: as `files.expand` gives them.
        options: of which the window and the handovers matter here.
        snapshot: when dumps without times were taken, in nanoseconds since the epoch.

    Raises:
        InputError: a file could not be read.

    """
    from netpol_gen.readers import conntrack_table  # noqa: PLC0415 - Arrow is for the end

    reader = _Reader(options, snapshot)
    names = [item.name for item in items]
    for number, item in enumerate(items):
        reader.file(item, number)
    shares = settled(reader.folder.finish(), reader.addresses)
    table = conntrack_table.build(shares, reader.addresses, names)
    untimed = (numbers(table.column("first_seen")) == UNKNOWN_TIME).any()
    late = (numbers(table.column("signals")) & LATE).any()
    notes = [note for note, applies in ((_UNTIMED, untimed), (_LATE, late)) if applies]
    return finish(Columns(table, {}), reader.account, SOURCE, names, notes)


class _Reader:
    """Reads files one after another into one folder and one account."""

    def __init__(self, options: Options, snapshot: int | None) -> None:
        self.addresses = Addresses()
        self.folder = Folder(self.addresses, options.handovers)
        self.account = Account()
        self._window = options.window
        self._threads = options.threads
        self._snapshot = snapshot

    def file(self, item: Input, number: int) -> None:
        """Read one file."""
        stream = Stream(item, block=BLOCK)
        place = number << PLACE_BITS
        self.account.met(number, 0)
        if conntrack_xml.looks_like(item.head.removeprefix(b"\xef\xbb\xbf")):
            pieces = stream.pieces()
            found = ((e.line, conntrack_xml.read_element(e, self.addresses)) for e in conntrack_xml.elements(pieces))
            self._odd(found, number)
        else:
            for decoded in self._decoded(stream, number):
                self.account.met(number, decoded.records - len(decoded.rest))
                if len(decoded.icmp):
                    self._aside(Reason.ICMP, decoded.icmp + place)
                self._entries(decoded.entries, place)
                self._odd(((line, read_line(text, self.addresses)) for line, text in decoded.rest), number)
        if stream.damage:
            self.account.met(number, 1)
            self.account.aside(Reason.MALFORMED, 1, [Spot(place + stream.lines + 1, stream.damage)])

    def _decoded(self, stream: Stream, number: int) -> Iterator[Decoded]:
        """The stream's blocks, decoded some at a time: the array operations of one block let another's run."""
        decode = conntrack_lines.decode if conntrack_lines.module() else conntrack_text.decode
        workers = (self._threads or os.cpu_count() or 1) if stream.item.size > _LARGE else 1
        with ThreadPoolExecutor(workers) as pool:
            waiting: deque[Future[Decoded]] = deque()
            for block in stream.blocks():
                if block.too_long:
                    self.account.met(number, 1)
                    self.account.aside(Reason.TOO_LONG, 1, [Spot((number << PLACE_BITS) + block.line, "")])
                    continue
                if workers == 1:
                    yield decode(block, self.addresses)
                    continue
                waiting.append(pool.submit(decode, block, self.addresses))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _odd(self, outcomes: Iterator[tuple[int, Outcome]], number: int) -> None:
        """What was read one at a time."""
        place = number << PLACE_BITS
        values: list[tuple[int, ...]] = []
        for line, outcome in outcomes:
            self.account.met(number, 1)
            if isinstance(outcome, Aside):
                self.account.aside(outcome.reason, 1, [Spot(place + line, outcome.detail)])
                if outcome.reason is Reason.LOST_EVENTS:
                    # The marker says that some were lost, not how many.
                    key = ("", 0, "netlink buffer")
                    self.account.losses[key] = self.account.losses.get(key, 0) + 1
                continue
            values.append((line, *outcome))
            if len(values) >= _ODD:
                self._entries(_columns(values), place)
                values = []
        if values:
            self._entries(_columns(values), place)

    def _entries(self, entries: Entries, place: int) -> None:
        """Keep what is evidence, set the rest aside."""
        if self._snapshot is not None:
            entries.first = np.where(entries.first == UNKNOWN_TIME, self._snapshot, entries.first)
            entries.last = np.where(entries.last == UNKNOWN_TIME, self._snapshot, entries.last)
        out = np.zeros(len(entries.line), dtype=bool)
        for reason, where in unfit(entries, self.addresses, self._window):
            new = np.flatnonzero(where & ~out)
            if len(new):
                self._aside(reason, entries.line[new] + place)
                out[new] = True
        if out.any():
            keep = np.flatnonzero(~out)
            entries = Entries(*(getattr(entries, name)[keep] for name in COLUMNS))
        self.folder.add(entries, place)

    def _aside(self, reason: Reason, places: NDArray[np.int64]) -> None:
        first = np.sort(places)[:MAX_PLACES] if len(places) > MAX_PLACES else places
        self.account.aside(reason, len(places), [Spot(place, "") for place in first.tolist()])


def _columns(values: Sequence[tuple[int, ...]]) -> Entries:
    return Entries(*np.array(values, dtype=np.int64).T.copy())
