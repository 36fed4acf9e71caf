"""Folding Hubble records into rows: the hot loop, and what few records need."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import Raw

from netpol_gen.errors import printable
from netpol_gen.flowtable import Reason
from netpol_gen.model import Signal
from netpol_gen.readers import hubble_known, times
from netpol_gen.readers.documents import TOO_LONG, Element
from netpol_gen.readers.hubble_decode import MEMO_LIMIT, Decoder, addresses, are_objects
from netpol_gen.readers.hubble_ends import BadEndpointError, address, endpoint, is_health
from netpol_gen.readers.hubble_fields import (
    aggregated,
    answers,
    detail,
    flag_names,
    may_name_node,
    ports_problem,
    service,
    texts,
)
from netpol_gen.readers.hubble_meaning import DROP, NO_POINT, POLICY_VERDICT, SCTP, TRACE, UDP, Facts, meaning
from netpol_gen.readers.hubble_records import ABSENT, Addresses, Flow, Found, understand
from netpol_gen.readers.rows import (
    CONNECTION_BITS,
    EVIDENCE_SHIFT,
    NOBODY,
    PORT_BITS,
    Counts,
    Key,
    Kind,
    Row,
    Rows,
    counted,
    undecided,
)
from netpol_gen.sets import MAX_PORT

if TYPE_CHECKING:
    from netpol_gen.readers._hubble_known import Known

_FEW = 1 << 12
"""Cells after which they start afresh where known records are counted elsewhere, and cells serve what is new."""
_LOGGED = 1 << 13
"""Connections after which the compiled module's are taken over."""

_Deed = tuple[Reason | None, bool, bool, int, int, int]
"""`hubble_meaning.Meaning` as the numbers that folding needs: reason, turned, known, what to add to `Row.count` and
to `Row.bits`, and `kind << 2 | turned << 1 | known`, the group. A plain tuple, because the interpreter takes one with
names apart by iteration, which costs as much as looking it up."""
_TURNED = 2
"""In a group."""

_Cell = list[Any]
"""Row, the endpoints as they came, `row.index << CONNECTION_BITS`, the latest connection; a list is quick to unpack."""

_WITHIN_A_MINUTE = re.compile(r":[0-5]\d(?:\.\d{1,9})?Z", re.ASCII).fullmatch

_ASIDE = (
    Reason.BAD_FIELD,
    Reason.BAD_FIELD,
    Reason.NO_ENDPOINT,
    Reason.HEALTH,
    Reason.LOOPBACK,
    Reason.MULTICAST,
)
"""Why an end makes a record no evidence: -1 in the place of an end's number is the first of these. The first wins."""
_REASON_NUMBERS = {Reason.LOOPBACK: -5, Reason.MULTICAST: -6}


class Reader:
    """Folds Hubble records into rows. One per process: what it has worked out serves all files."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.decoder = Decoder()
        self.cells: dict[tuple[bytes, int, int, str], _Cell] = {}
        """Rows by `IP` as it came, port, the group of the deed and node, with the endpoints last seen there."""
        self.forms: dict[bytes, tuple[Raw, dict[str, int]]] = {}
        """Numbers of ends by the endpoint's bytes and the address, with a copy of the bytes that all may share."""
        self.deeds: dict[tuple[Any, ...], _Deed] = {}
        self.facts: dict[Facts, _Deed] = {}
        self.minutes: dict[str, int] = {}
        """Hours since the epoch by `2021-06-16T16:52`."""
        self.shared: dict[str, str] = {}
        """One object for each node name."""
        window = rows.window
        self.since = times.text(max(window.since or 0, 0))
        self.until = "~" if window.until is None else times.text(max(window.until, 0))
        self.known = hubble_known.make((self.since, self.until) if window else None)
        self.learning: Known | None = None
        """The same while it learns from the record at hand."""
        self.cells_limit = MEMO_LIMIT if self.known is None else _FEW
        if self.known is not None:
            rows.settling.append(partial(hubble_known.settle, self.known, rows))

    def block(self, data: bytes, line: int, count: int, excess: int = 0) -> None:
        """So many complete lines, the first of which has this number; the last `excess` bytes are none of theirs."""
        known = self.known
        if known is None:
            self._block(data[: len(data) - excess], line, count)
            return

        def other(start: int, stop: int, before: int, learnable: bool) -> None:  # noqa: FBT001 - called from C
            self.learning = known if learnable else None
            self.value(data[start:stop], line + before)

        def row(source: int, destination: int, server: int, group: int, node: str, before: int) -> int:
            return self._row(source, destination, server, group, node, line + before).index

        counted = known.scan(memoryview(data)[: len(data) - excess], other, row)
        self.rows.read += counted
        self.learning = None
        if known.logged > _LOGGED:
            self.rows.log.frombytes(known.connections())
        if known.full:
            hubble_known.settle(known, self.rows)
            known.forget()

    def _block(self, data: bytes, line: int, count: int) -> None:
        records = self.decoder.flows(data)
        numbers: Sequence[int] = range(line, line + count)
        texts = data.split(b"\n")[:count]
        if not are_objects(texts):
            texts = [text.strip(b" \t\r") for text in texts]
            numbers = [number for number, text in zip(numbers, texts, strict=True) if text]
            texts = list(filter(None, texts))
        if records is None or len(records) != len(texts) or not are_objects(texts):
            for number, text in zip(numbers, texts, strict=True):
                self.value(text, number)
            return
        self.rows.read += len(records)
        self.fold(records, numbers, texts.__getitem__)

    def batch(self, batch: Sequence[Element]) -> None:
        """JSON values from anywhere in a file."""
        for element in batch:
            if element.problem:
                self.rows.read += 1
                reason = Reason.TOO_LONG if element.problem == TOO_LONG else Reason.MALFORMED
                self.rows.aside(reason, element.line, element.problem)
        sound = [element for element in batch if not element.problem]
        records = self.decoder.flows(b"\n".join(element.data for element in sound))
        if records is None or len(records) != len(sound):
            for element in sound:
                self.value(element.data, element.line)
            return
        self.rows.read += len(records)
        self.fold(records, [element.line for element in sound], lambda index: sound[index].data)

    def value(self, text: bytes, line: int) -> None:
        """One line or JSON value, out of a block that was refused."""
        records = self.decoder.flows(text) if text else None
        if records is not None and len(records) == 1:
            self.rows.read += 1
            self.fold(records, (line,), lambda _: text)
        else:
            self._accept(understand(text), line)

    def _again(self, flow: Flow | None, text: bytes, line: int) -> None:
        """A record that lacks something once more, tolerantly: another encoder may have written it. It is counted."""
        bare = self.decoder.bare(text) if flow is None else None
        if bare and bare[0] is not None:
            # Among wrapped ones, and read as it is among its like.
            self.fold(bare, (line,), lambda _: text)
            return
        found = understand(text)
        self.rows.read -= 1
        self._accept(found, line)

    def _accept(self, found: Iterable[Found], line: int) -> None:
        # The tolerant way also looks at names that the compiled module passes over.
        self.learning = None
        for each in found:
            self.rows.read += 1
            if each.flow is not None:
                self.fold([each.flow], (line,), None)
            elif each.loss is not None:
                self.rows.lose(*each.loss)
                self.rows.aside(Reason.LOST_EVENTS, line)
            else:
                self.rows.aside(each.reason, line, each.detail)

    def fold(  # noqa: C901, PLR0912, PLR0915 - the hot loop: a call for each step would take longer than the step
        self, records: Sequence[Flow | None], numbers: Sequence[int], bytes_of: Callable[[int], bytes] | None
    ) -> None:
        """Fold records that are counted already. `bytes_of` gives those of one, to look again; None: this was it."""
        rows, cells, deeds, minutes = self.rows, self.cells, self.deeds, self.minutes
        connection, windowed, since, until = rows.log.append, bool(rows.window), self.since, self.until
        if len(cells) > self.cells_limit:
            cells.clear()
        if len(self.forms) > MEMO_LIMIT or len(minutes) > MEMO_LIMIT:
            self._forget()
        learning = self.learning
        minute: str | None = None  # of the record before: mostly the same
        hour = None
        for index, flow in enumerate(records):
            if flow is None or (l4 := flow.l4) is None:
                self._odd(flow, numbers[index], bytes_of and bytes_of(index))
                continue
            if (ports := l4.tcp) is not None:
                flags = bytes(ports.flags)
            elif (ports := l4.udp) is not None:
                flags = UDP
            elif (ports := l4.sctp) is not None:
                flags = SCTP
            else:
                self._odd(flow, numbers[index], bytes_of and bytes_of(index))
                continue

            when = flow.time
            if when[:16] != minute:
                minute = when[:16]
                hour = minutes.get(minute)
            if hour is not None and _WITHIN_A_MINUTE(when, 16):
                when = when[:-1]
            elif (found := times.canonical(when)) is not None:
                # Its zone may be another one: what the next record begins with is looked up again.
                when, minute = found, None
                hour = minutes[when[:16]] = times.nanoseconds(when) // times.HOUR << PORT_BITS
            else:
                self._odd(flow, numbers[index], bytes_of and bytes_of(index))
                continue
            event = flow.event_type
            event_type = 0 if event is None else event.type
            drop, point = (flow.drop_reason_desc, flow.drop_reason), flow.trace_observation_point
            known_as = (flags, flow.is_reply, flow.verdict, point, event_type, flow.type, drop, flow.l7 is None)
            reason, turned, known, adds, bits, group = deed = deeds.get(known_as) or self._deed(flow, flags, known_as)
            if learning is not None:
                self._mean(learning, deed)
            if windowed and not since <= when < until:
                rows.aside(Reason.OUT_OF_WINDOW, numbers[index])
                continue
            if reason is not None:
                rows.aside(reason, numbers[index], detail(flow, reason))
                continue

            if turned:
                server, client = ports.source_port, ports.destination_port
            else:
                client, server = ports.source_port, ports.destination_port
            if client >> 16:
                server = 0
            elif not known:
                server, client = undecided(client, server) if client and 0 < server <= MAX_PORT else 0, 0
            if not flow.node_name and bytes_of is not None and may_name_node(bytes_of(index)):
                self._odd(flow, numbers[index], bytes_of(index))
                continue
            # A cell is what one node says of one conversation. Comparing the endpoints with what it said last is much
            # quicker than looking them up.
            place = (bytes(flow.ip), server, group, flow.node_name)
            cell = cells.get(place)
            if cell is None or cell[1] != flow.source or cell[2] != flow.destination:
                if server < 1 or (known and server > MAX_PORT):
                    self._odd(flow, numbers[index], bytes_of and bytes_of(index))
                    continue
                ends = addresses(flow.ip)
                if ends is None:
                    self._odd(flow, numbers[index], bytes_of and bytes_of(index))
                    continue
                flow.node_name = self.shared.setdefault(flow.node_name, flow.node_name)
                cell = self._cell(flow, ends, server, group, numbers[index])
                if cell is None:
                    continue
                cells[place[0], server, group, flow.node_name] = cell
            row, _, _, base, latest = cell
            if when > row.last:  # noqa: PLR1730 - max() and min() take four times as long
                row.last = when
            if when < row.first:  # noqa: PLR1730
                row.first = when
            row.count += adds
            row.bits |= bits
            if learning is not None:
                learning.put(row.index)
            number = base | hour | client
            if number != latest:
                cell[4] = number
                connection(number)
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
        self.cells.clear()
        self.forms.clear()
        self.minutes.clear()
        self.shared.clear()
        self.deeds.clear()
        self.facts.clear()

    def _mean(self, learning: Known, deed: _Deed) -> None:
        """Tell the compiled module what records like this one say."""
        reason, turned, decided, adds, bits, group = deed
        if reason is None:
            learning.mean(turned, decided, adds, bits, group)
        elif (number := hubble_known.number(reason, self.rows)) is not None:
            learning.set_aside(number)
        if self.rows.window and (number := hubble_known.number(Reason.OUT_OF_WINDOW, self.rows)) is not None:
            learning.count_outside(number)

    def _odd(self, flow: Flow | None, line: int, text: bytes | None) -> None:
        """A record that lacks what it needs: look again, or, after that, set it aside."""
        l4 = None if flow is None else flow.l4
        if l4 is not None and not (l4.tcp or l4.udp or l4.sctp) and (l4.icmp4 is not l4.icmp6):
            self.rows.aside(Reason.ICMP, line)
            number = hubble_known.number(Reason.ICMP, self.rows)
            if self.learning is not None and number is not None:
                self.learning.set_aside(number)
            return
        if text is not None:
            self._again(flow, text, line)
            return
        assert flow is not None  # noqa: S101 - what was looked at again is a flow
        if times.canonical(flow.time) is None:
            detail = f"time {printable(flow.time, 40)} is no time" if flow.time else "time is missing"
        else:
            detail = ports_problem(flow)
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
            found = meaning(facts, flag_names(flags))
            known = found.evidence is not None
            evidence = 0 if found.evidence is None else 1 << (EVIDENCE_SHIFT + found.evidence.rank)
            kind = Kind(found.protocol, found.verdict.value, found.drop_reason)
            deed = (
                found.reason,
                found.turned,
                known,
                counted(replies=1 if found.turned else 0),
                int(found.signals) | evidence,
                -1 if found.reason is not None else self.rows.kind(kind) << 2 | found.turned << 1 | known,
            )
            if len(self.facts) > MEMO_LIMIT:
                self.facts.clear()
            self.facts[facts] = deed
        # The short key stands for all facts only where the others are not asked.
        plain = facts.event in {DROP, POLICY_VERDICT} or (facts.event == TRACE and facts.point not in NO_POINT)
        if plain and flow.is_reply is not None and flow.l7 is None:
            self.deeds[known_as] = deed
        return deed

    def _cell(self, flow: Flow, ip: Addresses, server: int, group: int, line: int) -> _Cell | None:
        """The row of a record with its ends looked up; None where an end makes it no evidence."""
        source, src = self._end(bytes(flow.source), ip.source)
        destination, dst = self._end(bytes(flow.destination), ip.destination)
        if self.learning is not None and src >= 0 and dst >= 0:
            self.learning.ends(src, dst)
        if src < 0 or dst < 0:
            reason = self._no_end(ip, line, src, dst)
            number = hubble_known.number(reason, self.rows)
            if self.learning is not None and number is not None:
                self.learning.put_aside(number)
            return None
        row = self._row(src, dst, server, group, flow.node_name, line)
        return [row, source, destination, row.index << CONNECTION_BITS, -1]

    def _row(self, source: int, destination: int, server: int, group: int, node: str, line: int) -> Row:
        """The row of a conversation, by the numbers of the ends as a record has them."""
        src, dst = (destination, source) if group & _TURNED else (source, destination)
        row = self.rows.row(Key(src, dst, server, group >> 2), line)
        if row.first is None:
            row.first, row.last = "~", ""
        if node and node not in row.nodes:
            # One text for each node: what cells share stays in the processor's cache.
            row.told_by(self.shared.setdefault(node, node))
        return row

    def _end(self, raw: bytes, text: str) -> tuple[Raw, int]:
        """An endpoint's bytes to keep, and the number of the end, or one below zero (`_ASIDE`)."""
        form = self.forms.get(raw)
        if form is None:
            form = self.forms[raw] = (Raw(raw), {})
        number = form[1].get(text)
        if number is None:
            number = form[1][text] = self._new_end(raw, text)
        return form[0], number

    def _new_end(self, raw: bytes, text: str) -> int:
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

    def _no_end(self, ip: Addresses, line: int, src: int, dst: int) -> Reason:
        number = min(-end for end in (src, dst) if end < 0)
        side = "source" if -src == number else "destination"
        detail = ""
        if number == 1:
            detail = f"IP.{side} {printable(getattr(ip, side), 60)} is no address"
        elif number == 2:
            detail = f"{side} is no endpoint"
        self.rows.aside(_ASIDE[number - 1], line, detail)
        return _ASIDE[number - 1]

    def _more(self, flow: Flow, row: Row, *, turned: bool) -> None:
        """Names, the Service dialled, aggregation, DNS answers."""
        names = (flow.source_names, flow.destination_names)
        client, server = reversed(names) if turned else names
        dialled = service(bytes(flow.source_service if turned else flow.destination_service))
        flows = aggregated(bytes(flow.aggregate)) if flow.aggregate is not ABSENT else 1
        for raw, side in ((client, "src_names"), (server, "dst_names")):
            if found := texts(bytes(raw)):
                getattr(row.more(), side).update(found)
        if dialled:
            row.more().services.add(dialled)
        if flow.aggregate is not ABSENT:
            row.more().count("", Counts(flows - 1))
            row.bits |= Signal.SAMPLED
        if turned and flow.l7 is not None and flow.l7.dns is not ABSENT:
            for ip, name in answers(bytes(flow.l7.dns)):
                self.rows.names.setdefault(ip, set()).add(name)
