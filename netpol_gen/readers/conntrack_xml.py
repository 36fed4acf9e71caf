"""Conntrack's XML: `<flow>` elements, cut out of the text and read one at a time; lines between as in a text table.

A stream of events has no end tag while it runs, and polled tables follow one another with a declaration each: neither
is one XML document. An element by itself is, and has no place for a document type, so that no entity can be declared
in it; a declaration elsewhere in the file is passed over unread.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from xml.parsers import expat

from netpol_gen.flowtable import Reason
from netpol_gen.readers.conntrack_addresses import Addresses
from netpol_gen.readers.conntrack_entries import LONGEST
from netpol_gen.readers.conntrack_line import Aside, Fields, MalformedError, Outcome, Tuple, finish, read_line
from netpol_gen.readers.conntrack_times import DESTROY

_FIRST = re.compile(rb"^[ \t]*<(?:\?xml|conntrack|flow)", re.MULTILINE)
_BEFORE = 4096
"""Bytes before its first tag: what a terminal shows there."""
_OTHER = re.compile(rb"^[ \t]*[<{]|\ssrc=|^-[AUDI] ", re.MULTILINE)
"""What stands there if this is another kind of file: another document, a text table or `-o save` with XML behind it."""
_BEGIN = re.compile(rb"<flow[\s>]")
_END = b"</flow>"
_MARKUP = re.compile(rb"<\?xml[^<>]*\?>|</?conntrack\s*/?>|<!--(?:[^-]|-(?!-))*-->|\xef\xbb\xbf")
"""Passed over between flows, byte order marks of files put together as well. None of these may run on over the start of
another: hostile text would be looked at again from each."""
_EVENTS = {"new": 1, "update": 2, "destroy": DESTROY}
_PROTOCOLS = {"tcp": "6", "udp": "17", "sctp": "132", "icmp": "1", "icmpv6": "58", "dccp": "33", "udplite": "136"}


@dataclass(frozen=True, slots=True)
class Element:
    """The text of one flow, of a line without `markup`, or (`problem`) of what is neither.

    `line` is where it begins, from 1.
    """

    data: bytes
    line: int
    problem: str = ""
    markup: bool = True


def looks_like(head: bytes) -> bool:
    """Whether a file with this beginning is conntrack's XML, perhaps behind its banner or the command itself."""
    text = head.lstrip()
    first = _FIRST.search(text[:_BEFORE])
    if first is None or _OTHER.search(text[: first.start()]):
        return False
    return b"<conntrack>" in text or bool(_BEGIN.search(text))


def elements(pieces: Iterable[bytes]) -> Iterator[Element]:
    """The flows in a stream of bytes, and what stands between them where it is not blank."""
    held, line = b"", 1
    for piece in pieces:
        held += piece
        done = 0
        while (end := held.find(_END, done)) >= 0:
            end += len(_END)
            yield from _split(held[done:end], line)
            line += held.count(b"\n", done, end)
            done = end
        held = held[done:]
        if len(held) > LONGEST:
            # A flow is shorter: this is something else, or one cut off. Its last part may begin a new one.
            at = held.rfind(b"<flow")
            cut = at if at > 0 and len(held) - at <= LONGEST else len(held)
            yield Element(held[:200], line + _blank_lines(held), "no flow ends here")
            line += held[:cut].count(b"\n")
            held = held[cut:]
    yield from _between(held, line, "it ends in the middle of a flow")


def _split(whole: bytes, line: int) -> Iterator[Element]:
    """What precedes a flow, and the flow."""
    begins = [found.start() for found in _BEGIN.finditer(whole)]
    at = begins[-1] if begins else len(whole)
    # A flow without its end (the writer was stopped), or something that conntrack does not write.
    yield from _between(whole[:at], line, "no complete flow")
    if begins:
        yield Element(whole[at:], line + whole.count(b"\n", 0, at))


def _between(data: bytes, line: int, problem: str) -> Iterator[Element]:
    """Lines without markup one by one: banner and warnings (`2>&1`), the command in a paste. The rest: one problem."""
    if not data.strip():
        return
    told = False
    for number, text in enumerate(_MARKUP.sub(_newlines, data).split(b"\n"), line):
        if not text.strip():
            continue
        if b"<" not in text:
            yield Element(text, number, markup=False)
        elif not told:
            # Whatever else is on such a line, a banner even: a flow may be lost in it.
            yield Element(text[:200], number, problem)
            told = True


def _newlines(found: re.Match[bytes]) -> bytes:
    return b"\n" * found[0].count(b"\n")


def _blank_lines(data: bytes) -> int:
    return data[: len(data) - len(data.lstrip())].count(b"\n")


def read_element(element: Element, addresses: Addresses) -> Outcome:
    """Read one flow, or a line as in a text table."""
    if element.problem:
        return Aside(Reason.MALFORMED, element.problem)
    if not element.markup:
        return read_line(element.data, addresses)
    if len(element.data) > LONGEST:
        return Aside(Reason.TOO_LONG, f"{len(element.data)} bytes")
    try:
        return finish(_Reader().read(element.data), addresses)
    except expat.ExpatError as error:
        return Aside(Reason.MALFORMED, f"no proper XML: {expat.errors.messages[error.code]}")
    except MalformedError as problem:
        return Aside(Reason.MALFORMED, str(problem))


_OF_TUPLE = {"src": "src", "dst": "dst", "sport": "sport", "dport": "dport", "packets": "packets", "bytes": "octets"}
_WHEN = ("year", "month", "day", "hour", "min", "sec")


class _Reader:
    """Collects the fields of one flow."""

    def __init__(self) -> None:
        self._fields = Fields()
        self._side: Tuple | None = None
        self._where: list[str] = []
        self._text: list[str] = []
        self._when: dict[str, str] = {}
        self._seen: set[str] = set()

    def read(self, data: bytes) -> Fields:
        """The fields of a flow."""
        parser = expat.ParserCreate("utf-8")
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text.append
        parser.Parse(data, True)
        if not self._seen >= {"original", "reply"}:
            raise MalformedError("a direction is missing")
        self._fields.stamp = self._stamp()
        return self._fields

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._where.append(name)
        self._text.clear()
        out = self._fields
        if name == "flow":
            out.event = _EVENTS.get(attributes.get("type", ""), 0)
        elif name == "meta":
            direction = attributes.get("direction", "")
            self._seen.add(direction)
            self._side = {"original": out.original, "reply": out.reply}.get(direction)
        elif name == "layer4":
            known = _PROTOCOLS.get(attributes.get("protoname", ""), "")
            out.protocol = attributes.get("protonum") or known or out.protocol
        elif name == "assured":
            out.assured = True
        elif name == "unreplied":
            out.unreplied = True

    def _end(self, name: str) -> None:
        text = "".join(self._text).strip()
        self._text.clear()
        self._where.pop()
        if self._side is not None and name in _OF_TUPLE:
            setattr(self._side, _OF_TUPLE[name], text)
        elif name == "state":
            self._fields.state = text
        elif "when" in self._where:
            self._when[name] = text
        elif name in {"start", "stop"} and "timestamp" in self._where:
            setattr(self._fields, name, _seconds(text))
        elif name == "deltatime":
            self._fields.age = int(text) if text.isdecimal() and len(text) < 8 else None
        elif name == "meta":
            self._side = None

    def _stamp(self) -> int | None:
        """The event's time of `-o timestamp`, a clock face, in microseconds as though it were UTC."""
        parts = [self._when.get(name, "") for name in _WHEN]
        if not all(part.isdecimal() and part.isascii() and len(part) <= 4 for part in parts):
            return None
        year, month, day, hour, minute, second = map(int, parts)
        if year < 1900:
            year += 1900
        if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 61):
            return None
        return calendar.timegm((year, month, day, hour, minute, second)) * 1_000_000


def _seconds(text: str) -> int | None:
    """`[start]` in XML is in seconds, in newer versions in nanoseconds."""
    if not (text.isdecimal() and text.isascii() and len(text) <= 19):
        return None
    value = int(text)
    while value > 10**11:
        value //= 1000
    return value
