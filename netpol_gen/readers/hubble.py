"""Reading Hubble exports: `hubble observe -o jsonpb`, the exporters' files, and what log shippers make of them.

Blocks of lines are decoded at once into typed structs. What the decoder refuses, and every record that lacks what it
needs, goes line by line through `hubble_records.understand`. What a record means is decided in `hubble_meaning`, once per
combination of facts; endpoints are parsed in `hubble_ends`, once per spelling.

Choices where the format leaves one:

- A port of 0 on the server's side (proto-JSON leaves zeros out, so also a missing one) is a field out of range. The
  client's port may be missing where the client is known: aggregating exporters leave it out.
- `aggregate` (one line stands for n flows) is one record and adds n - 1 to the row's connections, n being the largest of
  its counters: each counter counts the same flows as one observation point saw them.
- An end given as `null`, or neither an address nor anything else known of it, is a missing endpoint; an absent `source`
  or `destination` beside an address (an exporter's field mask) is an end known by its address alone.
- A DNS answer names its addresses by the name that was asked for, on rows whose end lies outside the pods and has no
  name from the source.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from netpol_gen.errors import printable
from netpol_gen.flowtable import Reason
from netpol_gen.model import Signal
from netpol_gen.readers import times
from netpol_gen.readers.documents import TOO_LONG, Element, Layout, elements, layout
from netpol_gen.readers.files import Stream
from netpol_gen.readers.hubble_ends import BadEndpointError, address, endpoint, is_health
from netpol_gen.readers.hubble_meaning import SCTP, TRACE, UDP, Facts, meaning
from netpol_gen.readers.hubble_records import ABSENT, Flow, Found, Ports, Response, understand
from netpol_gen.readers.rows import EVIDENCE_SHIFT, NOBODY, Key, Kind, Row, Rows, counted, undecided

_MEMO_LIMIT = 1 << 17
"""Entries after which a memo starts afresh, so that hostile input cannot fill memory."""
_WRAPPED = msgspec.json.Decoder(Response)
_BARE = msgspec.json.Decoder(Flow)
_REFUSALS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_KEYS = re.compile(
    rb'"(?:flow|lost_events|lostEvents|node_status|nodeStatus|agent_event|debug_event)\\?"\s*:\s*\{|\\"flow\\":\s*\{'
    rb"|EVENTS LOST: [A-Z_]+"
)
_BARE_KEYS = (re.compile(rb'\\?"verdict\\?"\s*:'), re.compile(rb'\\?"(?:IP|l4|event_type|eventType|Type|is_reply)\\?"\s*:'))


# --- telling it from other files --------------------------------------------------------------------------------------


def looks_like(head: bytes, name: str) -> bool:  # noqa: ARG001 - the table of sources passes it
    """Whether a file with this beginning holds Hubble records, among others perhaps."""
    if _KEYS.search(head):
        return True
    return all(key.search(head) for key in _BARE_KEYS)


def splittable(head: bytes) -> bool:
    """Whether each line stands for itself."""
    return layout(head) is Layout.LINES


def read(stream: Stream, rows: Rows) -> None:
    """Read one share."""
    reader = rows.memo.setdefault("hubble", None) or _Reader(rows)
    rows.memo["hubble"] = reader
    if layout(stream.head) is Layout.DOCUMENTS:
        for batch in _batches(elements(stream.pieces())):
            reader.batch(batch)
            rows.breathe()
        rows.passed(stream)
        return
    for block in rows.blocks(stream):
        reader.block(block.data, block.line)


def _batches(found: Iterable[Element], size: int = 64) -> Iterable[list[Element]]:
    batch: list[Element] = []
    for element in found:
        batch.append(element)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


# --- one record after another -----------------------------------------------------------------------------------------


class _Deed(NamedTuple):
    """`hubble_meaning.Meaning` as the numbers that folding needs."""

    reason: Reason | None
    detail: str
    turned: bool
    known: bool
    adds: int
    bits: int
    kind: int


_ASIDE: tuple[tuple[Reason, str], ...] = (
    (Reason.BAD_FIELD, "IP address {address}"),
    (Reason.BAD_FIELD, "endpoint {address}: {detail}"),
    (Reason.NO_ENDPOINT, ""),
    (Reason.HEALTH, ""),
    (Reason.LOOPBACK, ""),
    (Reason.MULTICAST, ""),
)
"""Why an end makes a record no evidence: -1 is the first of these, and stands in the place of the end's number."""
_REASON_NUMBERS = {Reason.LOOPBACK: -5, Reason.MULTICAST: -6}


class _Reader:
    """Folds Hubble records into rows. One per process: what it has worked out serves all files."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.decoder: msgspec.json.Decoder[Any] = _WRAPPED
        self.forms: dict[bytes, dict[str, int]] = {}
        """Numbers of ends by the endpoint's bytes and the address."""
        self.deeds: dict[tuple[Any, ...], _Deed] = {}
        self.facts: dict[Facts, _Deed] = {}
        self.minutes: dict[str, int] = {}
        """Hours since the epoch by `2021-06-16T16:52`."""
        window = rows.window
        self.since = times.text(max(window.since or 0, 0))
        self.until = "~" if window.until is None else times.text(max(window.until, 0))

    def block(self, data: bytes, line: int) -> None:
        """Complete lines, the first of which has this number."""
        records = self._decode(data)
        numbers: Sequence[int] = range(line, line + data.count(b"\n") + (not data.endswith(b"\n")))
        lines: list[bytes] = []
        if records is not None and len(records) != len(numbers):
            lines = data.split(b"\n")
            numbers = [number for number, text in enumerate(lines, line) if text.strip(b" \t\r")]
        if records is None or len(records) != len(numbers):
            for number, text in enumerate(data.split(b"\n"), line):
                self.value(text, number)
            return

        def text_of(index: int) -> bytes:
            nonlocal lines
            lines = lines or data.split(b"\n")
            return lines[numbers[index] - line]

        self.rows.read += len(records)
        self.fold(records, numbers, text_of)

    def batch(self, batch: Sequence[Element]) -> None:
        """JSON values from anywhere in a file."""
        for element in batch:
            if element.problem:
                self.rows.read += 1
                reason = Reason.TOO_LONG if element.problem == TOO_LONG else Reason.MALFORMED
                self.rows.aside(reason, element.line, element.problem)
        sound = [element for element in batch if not element.problem]
        records = self._decode(b"\n".join(element.data for element in sound))
        if records is None or len(records) != len(sound):
            for element in sound:
                self.value(element.data, element.line)
            return
        self.rows.read += len(records)
        self.fold(records, [element.line for element in sound], lambda index: sound[index].data)

    def value(self, text: bytes, line: int) -> None:
        """One line or JSON value, out of a block that was refused."""
        records = self._decode(text) if text else None
        if records is not None and len(records) == 1:
            self.rows.read += 1
            self.fold(records, (line,), lambda _: text)
        else:
            self._accept(understand(text), line)

    def _decode(self, data: bytes) -> list[Flow | None] | None:
        """Flows of a block, None for a record that is none; None where the decoder refuses."""
        try:
            found: list[Any] = self.decoder.decode_lines(data)
            if self.decoder is _BARE:
                if found and all(flow.ip is None for flow in found):
                    self.decoder = _WRAPPED
                return found
            if found and all(each.flow is None for each in found):
                # Not the wrapped form: bare flows, it may be.
                bare = _BARE.decode_lines(data)
                if any(flow.ip is not None for flow in bare):
                    self.decoder = _BARE
                    return list(bare)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return [each.flow for each in found]

    def _again(self, text: bytes, line: int) -> None:
        """A record that lacks something once more, tolerantly: another encoder may have written it. It is counted."""
        found = understand(text)
        self.rows.read -= 1
        self._accept(found, line)

    def _accept(self, found: Iterable[Found], line: int) -> None:
        for each in found:
            self.rows.read += 1
            if each.flow is not None:
                self.fold([each.flow], (line,), None)
            elif each.loss is not None:
                self.rows.lose(*each.loss)
                self.rows.aside(Reason.LOST_EVENTS, line)
            else:
                self.rows.aside(each.reason, line, each.detail)

    def fold(  # noqa: C901, PLR0912, PLR0915 - 20 record-shaped steps; a call for each would take longer than the step
        self, records: Sequence[Flow | None], numbers: Sequence[int], text_of: Callable[[int], bytes] | None
    ) -> None:
        """Fold records that are counted already. `text_of` gives the bytes of one, to look again; None: this was it."""
        rows, forms, deeds, minutes = self.rows, self.forms, self.deeds, self.minutes
        table, connection, windowed, since, until = rows.rows, rows.log.append, bool(rows.window), self.since, self.until
        if len(forms) > _MEMO_LIMIT or len(minutes) > _MEMO_LIMIT or len(deeds) > _MEMO_LIMIT:
            self._forget()
        for index, flow in enumerate(records):
            if flow is None or (l4 := flow.l4) is None or (ip := flow.ip) is None:
                self._odd(flow, numbers[index], text_of and text_of(index))
                continue
            if (ports := l4.tcp) is not None:
                flags = bytes(ports.flags)
            elif (ports := l4.udp) is not None:
                flags = UDP
            elif (ports := l4.sctp) is not None:
                flags = SCTP
            else:
                self._odd(flow, numbers[index], text_of and text_of(index))
                continue

            moment = flow.time
            hour = minutes.get(moment[:16])
            if hour is None or moment[-1] != "Z":
                when = times.canonical(moment)
                if when is None:
                    self._odd(flow, numbers[index], text_of and text_of(index))
                    continue
                hour = minutes[when[:16]] = times.nanoseconds(when) // times.HOUR
            else:
                when = moment[:-1]
            if windowed and not since <= when < until:
                rows.aside(Reason.OUT_OF_WINDOW, numbers[index])
                continue

            event = flow.event_type
            known_as = (
                flow.verdict,
                flow.drop_reason_desc,
                flow.type,
                flow.trace_observation_point,
                event.type if event is not None else 0,
                flow.is_reply,
                flags,
            )
            deed = deeds.get(known_as) or self._deed(flow, flags, known_as)
            reason, detail, turned, known, count, bits, kind = deed
            if reason is not None:
                rows.aside(reason, numbers[index], detail)
                continue

            raw = bytes(flow.source)
            form = forms.get(raw)
            if form is None:
                form = forms[raw] = {}
            src = form.get(ip.source)
            if src is None:
                src = form[ip.source] = self._end(raw, ip.source)
            raw = bytes(flow.destination)
            form = forms.get(raw)
            if form is None:
                form = forms[raw] = {}
            dst = form.get(ip.destination)
            if dst is None:
                dst = form[ip.destination] = self._end(raw, ip.destination)
            if src < 0 or dst < 0:
                self._no_end(flow, numbers[index], src, dst)
                continue

            client, server = ports.source_port, ports.destination_port
            if turned:
                client, server, src, dst = server, client, dst, src
            if server < 1 or (server | client) >> 16 or not (known or client):
                self._odd(flow, numbers[index], text_of and text_of(index))
                continue
            key = (src, dst, server if known else undecided(client, server), kind)
            row = table.get(key)  # type: ignore[call-overload]  # a plain tuple equals a Key and is quicker
            if row is None:
                row = rows.row(Key(*key), numbers[index])
                row.first = row.last = when
            elif when > row.last:
                row.last = when
            elif when < row.first:
                row.first = when
            row.count += count
            row.bits |= bits
            if flow.node_name not in row.nodes:
                row.nodes += (flow.node_name,)
            connection(row.index << 36 | hour << 16 | (client if known else 0))
            if (
                flow.destination_names is not ABSENT
                or flow.source_names is not ABSENT
                or flow.destination_service is not ABSENT
                or flow.source_service is not ABSENT
                or flow.aggregate is not ABSENT
                or flow.l7 is not None
            ):
                self._more(flow, row, turned=turned)

    # --- what few records need ----------------------------------------------------------------------------------------

    def _forget(self) -> None:
        self.forms.clear()
        self.minutes.clear()
        self.deeds.clear()
        self.facts.clear()

    def _odd(self, flow: Flow | None, line: int, text: bytes | None) -> None:
        """A record that lacks what it needs: look again, or, after that, set it aside."""
        if flow is not None and flow.l4 is not None and not (flow.l4.tcp or flow.l4.udp or flow.l4.sctp):
            if flow.l4.icmp4 is not ABSENT or flow.l4.icmp6 is not ABSENT:
                self.rows.aside(Reason.ICMP, line)
                return
        if text is not None:
            self._again(text, line)
            return
        assert flow is not None  # noqa: S101 - what was looked at again is a flow
        if times.canonical(flow.time) is None:
            detail = f"time {printable(flow.time, 40)} is no time" if flow.time else "time is missing"
        else:
            detail = _ports_problem(flow)
        self.rows.aside(Reason.BAD_FIELD, line, detail)

    def _deed(self, flow: Flow, flags: bytes, known_as: tuple[Any, ...]) -> _Deed:
        event = flow.event_type
        is_reply = True if flow.is_reply is None and flow.reply else flow.is_reply
        facts = Facts(
            verdict=flow.verdict,
            drop_reason=flow.drop_reason if flow.drop_reason_desc is None else flow.drop_reason_desc,
            type=flow.type,
            point=flow.trace_observation_point,
            event=event.type if event is not None else 0,
            sub_event=event.sub_type if event is not None else 0,
            is_reply=is_reply,
            trace_reason=flow.trace_reason,
            l7=None if flow.l7 is None else flow.l7.type or "",
            flags=flags,
        )
        deed = self.facts.get(facts)
        if deed is None:
            found = meaning(facts, _flag_names(flags))
            evidence = 0 if found.evidence is None else 1 << (EVIDENCE_SHIFT + found.evidence.rank)
            kind = Kind(found.protocol, found.verdict.value, found.drop_reason)
            deed = _Deed(
                found.reason,
                found.detail,
                found.turned,
                found.evidence is not None,
                counted(replies=1 if found.turned else 0),
                int(found.signals) | evidence,
                -1 if found.reason is not None else self.rows.kind(kind),
            )
            if len(self.facts) > _MEMO_LIMIT:
                self.facts.clear()
            self.facts[facts] = deed
        # The short key stands for all facts only where the others are not asked.
        if flow.is_reply is not None and flow.drop_reason is None and flow.l7 is None:
            if flow.trace_observation_point is not None or facts.event != TRACE:
                self.deeds[known_as] = deed
        return deed

    def _end(self, raw: bytes, text: str) -> int:
        """The number of an end, or one below zero (`_ASIDE`)."""
        canonical, reason = address(text)
        if reason is not None:
            return _REASON_NUMBERS.get(reason, -1)
        try:
            found = endpoint(raw) if raw != b"null" else NOBODY
        except BadEndpointError:
            return -2
        if raw == b"null" or (canonical is None and found == NOBODY):
            return -3
        return -4 if is_health(found) else self.rows.end(found, canonical)

    def _no_end(self, flow: Flow, line: int, src: int, dst: int) -> None:
        number = min(-src if src < 0 else 99, -dst if dst < 0 else 99)
        reason, template = _ASIDE[number - 1]
        at_source = -src == number
        ip = flow.ip
        detail = ""
        if number == 1 and ip is not None:
            detail = f"IP.{'source' if at_source else 'destination'} {printable(ip.source if at_source else ip.destination, 60)}"
        self.rows.aside(reason, line, detail + template)

    def _more(self, flow: Flow, row: Row, *, turned: bool) -> None:
        """Names, the Service dialled, aggregation, DNS answers."""
        names = (flow.source_names, flow.destination_names)
        client, server = reversed(names) if turned else names
        service = _service(bytes(flow.source_service if turned else flow.destination_service))
        flows = _aggregated(bytes(flow.aggregate)) if flow.aggregate is not ABSENT else 1
        for raw, side in ((client, "src_names"), (server, "dst_names")):
            if found := _texts(bytes(raw)):
                getattr(row.more(), side).update(found)
        if service:
            row.more().services.add(service)
        if flow.aggregate is not ABSENT:
            row.more().flows += flows - 1
            row.bits |= Signal.SAMPLED
        if turned and flow.l7 is not None and flow.l7.dns is not ABSENT:
            for ip, name in _answers(bytes(flow.l7.dns)):
                self.rows.names.setdefault(ip, set()).add(name)


def _flag_names(flags: bytes) -> frozenset[str]:
    if flags in {UDP, SCTP, b""}:
        return frozenset()
    value = _value(flags)
    return frozenset(str(name).upper() for name, is_set in value.items() if is_set is True) if isinstance(value, dict) else frozenset()


def _ports_problem(flow: Flow) -> str:
    l4 = flow.l4
    ports = (l4.tcp or l4.udp or l4.sctp or Ports()) if l4 is not None else Ports()
    for name, port in (("source_port", ports.source_port), ("destination_port", ports.destination_port)):
        if not 0 <= port <= 65535:
            return f"{name} {port} is not a port"
    return f"source_port {ports.source_port}, destination_port {ports.destination_port}: one is missing"


def _value(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw) if raw else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _texts(raw: bytes) -> list[str]:
    value = _value(raw)
    return [name.rstrip(".") for name in value if isinstance(name, str) and name] if isinstance(value, list) else []


def _service(raw: bytes) -> str:
    value = _value(raw)
    if not isinstance(value, dict):
        return ""
    name, namespace = value.get("name"), value.get("namespace")
    return f"{namespace}/{name}" if isinstance(name, str) and isinstance(namespace, str) and name and namespace else ""


def _aggregated(raw: bytes) -> int:
    """How many flows a line stands for."""
    value = _value(raw)
    counts = value.values() if isinstance(value, dict) else ()
    numbers = [int(n) if isinstance(n, str) and n.isascii() and n[:18].isdecimal() else n for n in counts]
    return max([1, *(n for n in numbers if isinstance(n, int) and n < 1 << 40)])


def _answers(raw: bytes) -> Iterable[tuple[str, str]]:
    """Addresses and the name that was asked for."""
    value = _value(raw)
    if not isinstance(value, dict) or value.get("rcode") not in {None, 0}:
        return
    query, ips = value.get("query"), value.get("ips")
    if isinstance(query, str) and query.strip(".") and isinstance(ips, list):
        for text in ips:
            ip, reason = address(text) if isinstance(text, str) else (None, None)
            if ip is not None and reason is None:
                yield ip, query.rstrip(".")
