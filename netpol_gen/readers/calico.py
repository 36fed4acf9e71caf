"""Calico's flow logs: Enterprise and Cloud `flows.log`, Goldmane and Whisker JSON.

Records are of connections, so the source is always the client, and there are no answers. Each end may report a
connection, and which of them are in the log hangs on whose node wrote it. Both records fold into one row, which has
the connections and bytes of the end that counted most; each end's verdict stands in a row of its own. Whether the
server took part is told by the packets that came back.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from netpol_gen.flowtable import Reason
from netpol_gen.model import DirectionEvidence, ObservedVerdict, Signal
from netpol_gen.readers.calico_fields import FieldError, Record, address, record, records
from netpol_gen.readers.documents import Layout, elements, layout
from netpol_gen.readers.files import Stream
from netpol_gen.readers.rows import NOBODY, Counts, Key, Kind, Rows, counted, decided
from netpol_gen.readers.times import HOUR, SECOND

NAME = "calico"

_KEYS = (
    re.compile(rb'"(?:source_name(?:_aggr)?|sourceName)"\s*:'),
    re.compile(rb'"(?:dest_name(?:_aggr)?|destName)"\s*:'),
    re.compile(rb'"reporter"\s*:'),
)
_VERDICTS = {"allow": ObservedVerdict.FORWARDED, "deny": ObservedVerdict.DROPPED}
_CONTROL = re.compile(rb"(?:event|id|retry):|:")
"""Lines of an event stream besides its data."""


def looks_like(head: bytes, name: str = "") -> bool:  # noqa: ARG001 - the signature of the table of sources
    """Whether a file with this beginning is one of Calico's flow logs."""
    # Looking for plain bytes takes half as long, which tells where hundreds of Parquet files are asked about.
    return b'"reporter"' in head and all(key.search(head) for key in _KEYS)


def splittable(head: bytes) -> bool:
    """Whether each line stands for itself."""
    return layout(head) is Layout.LINES


def read(stream: Stream, rows: Rows) -> None:
    """Read one share."""
    if layout(stream.head) is Layout.DOCUMENTS:
        for element in elements(stream.pieces()):
            if element.problem:
                rows.read += 1
                rows.aside(Reason.MALFORMED, element.line, element.problem)
            else:
                _text(element.data, element.line, rows)
            rows.breathe()
        rows.passed(stream)
        return
    for block in rows.blocks(stream):
        for number, line in enumerate(block.data.split(b"\n"), block.line):
            text = line.strip()
            if text.startswith(b"data:"):
                text = text[5:].strip()
            if not text:
                continue
            if _CONTROL.match(text):
                rows.read += 1
                rows.aside(Reason.CONTROL, number)
            else:
                _text(text, number, rows)


def _text(data: bytes, line: int, rows: Rows) -> None:
    """One JSON value, with one record in it or many."""
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        rows.read += 1
        rows.aside(Reason.MALFORMED, line, f"no JSON: {error}")
        return
    for each in records(value):
        rows.read += 1
        _record(each, line, rows)


def _record(value: Any, line: int, rows: Rows) -> None:
    try:
        found = record(value)
    except FieldError as error:
        rows.aside(Reason.BAD_FIELD, line, str(error))
        return
    if found is None:
        rows.aside(Reason.NOT_A_FLOW, line, "no flow record of Calico's")
        return
    reason = _unfit(found, rows)
    if reason is not None:
        rows.aside(reason, line, "no dest_port" if reason is Reason.BAD_FIELD else "")
        return
    ends = []
    for endpoint, text in ((found.src, found.src_ip), (found.dst, found.dst_ip)):
        ip, problem = address(text)
        if problem is not None:
            rows.aside(problem, line, f"{text} is no address" if problem is Reason.BAD_FIELD else "")
            return
        if endpoint is None and ip is None:
            rows.aside(Reason.NO_ENDPOINT, line)
            return
        ends.append(rows.end(endpoint or NOBODY, ip))
    _fold(found, ends, line, rows)


def _unfit(found: Record, rows: Rows) -> Reason | None:
    """Why a record is no evidence."""
    if found.protocol.startswith("ICMP"):
        return Reason.ICMP
    if found.protocol not in {"TCP", "UDP", "SCTP"}:
        return Reason.OTHER_PROTOCOL
    if found.action not in _VERDICTS:
        return Reason.NO_VERDICT
    if found.dst_port is None:
        return Reason.BAD_FIELD
    return None if rows.window.holds(found.first) else Reason.OUT_OF_WINDOW


def _fold(found: Record, ends: list[int], line: int, rows: Rows) -> None:
    verdict = _VERDICTS[found.action]
    denied = verdict is ObservedVerdict.DROPPED
    kind = rows.kind(Kind(found.protocol, str(verdict), "deny" if denied else None))
    row = rows.row(Key(ends[0], ends[1], decided(found.dst_port), kind), line)
    row.fold(found.first, found.last, counted(), int(_signals(found)), DirectionEvidence.INITIATOR, found.node)
    # Both ends report an interval with the same start; without a client port its second stands for it.
    port = found.src_port if found.src_port is not None else found.first // SECOND % 3600
    rows.connection(row, found.first // HOUR, port)
    more = row.more()
    if found.service:
        more.services.add(found.service)
    begun = max(found.started - 1, 0) if found.started is not None and found.src_port is None else 0
    counts = Counts(begun)
    for way in (found.forward, found.back):
        if way is not None:
            counts = counts.plus(Counts(0, *way))
    more.count(found.reporter, counts)


def _signals(found: Record) -> Signal:
    """What the counters tell of the call."""
    if found.back is None:
        # Without counters silence says nothing.
        return Signal.SAMPLED
    out = Signal.TRACE | (Signal.DELIVERED if found.reporter == "dst" and found.action == "allow" else Signal(0))
    if found.action == "deny" or not found.back[0]:
        return out | (Signal.CLIENT_DATA if found.protocol == "UDP" else Signal.SYN)
    return out | Signal.SYN_ACK | Signal.SERVER_DATA | Signal.CLIENT_DATA
