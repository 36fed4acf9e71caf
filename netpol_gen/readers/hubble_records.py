"""Hubble records as typed structs, and the tolerant way to them for lines that the typed decoder refuses.

The typed decoder refuses a whole block for one odd value; then each line of the block goes through `understand`, which
also knows the envelopes: wrapped, bare, `{"log": "…"}`, `{"message": "…"}`, Loki's `values`, camelCase, numbers as
text, `{"result": {"flow": …}}`, the container runtime's `<time> stdout F ` in front.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta, Raw, Struct, field

from netpol_gen.errors import printable
from netpol_gen.flowtable import Reason
from netpol_gen.readers import times
from netpol_gen.readers.documents import elements
from netpol_gen.readers.hubble_meaning import Word, is_number

ABSENT = Raw()
_DEPTH = 5
"""How many envelopes one inside the other are opened."""


class Ports(Struct, gc=False):
    """`l4.TCP` and its like."""

    source_port: int = 0
    destination_port: int = 0
    flags: Raw = ABSENT


class Layer4(Struct, gc=False):
    """`l4`. Other protocols (VRRP, IGMP) leave all of them out."""

    tcp: Ports | None = field(default=None, name="TCP")
    udp: Ports | None = field(default=None, name="UDP")
    sctp: Ports | None = field(default=None, name="SCTP")
    icmp4: Raw = field(default=ABSENT, name="ICMPv4")
    icmp6: Raw = field(default=ABSENT, name="ICMPv6")


class Addresses(Struct, gc=False):
    """`IP`."""

    source: str = ""
    destination: str = ""


class EventType(Struct, gc=False):
    """`event_type`."""

    type: int = 0
    sub_type: int = 0


class Layer7(Struct, gc=False):
    """`l7`."""

    type: Word = None
    dns: Raw = ABSENT


class Flow(Struct, gc=False):
    """What is read of a flow. Ends stay raw: the same few come again and again, and are known by their bytes."""

    # In the order in which they come: the decoder looks for the next field first.
    time: str = ""
    verdict: Word = None
    drop_reason: Word = None
    ip: Raw = field(default=ABSENT, name="IP")
    l4: Layer4 | None = None
    source: Raw = ABSENT
    destination: Raw = ABSENT
    type: Word = field(default=None, name="Type")
    node_name: str = ""
    source_names: Raw = ABSENT
    destination_names: Raw = ABSENT
    l7: Layer7 | None = None
    reply: bool | None = None
    event_type: EventType | None = None
    source_service: Raw = ABSENT
    destination_service: Raw = ABSENT
    trace_observation_point: Word = None
    trace_reason: Word = None
    drop_reason_desc: Word = None
    is_reply: bool | None = None
    aggregate: Raw = ABSENT


class Bare(Flow, gc=False):
    """A flow without a wrapper. What has a `flow` of its own is none, and refused: no value is of that type."""

    flow: Annotated[int, Meta(gt=0, lt=0)] = 0


class Response(Struct, gc=False):
    """One line of `hubble observe -o jsonpb` or of an exporter's file."""

    flow: Flow | None = None
    node_name: Raw = ABSENT


class BadFieldError(ValueError):
    """A field with a value that it cannot have; the message names it."""


class Found(NamedTuple):
    """One record of a line: a flow, a loss marker (node, hour, stage, events), or a reason why it is neither."""

    flow: Flow | None = None
    loss: tuple[str, int, str, int] | None = None
    reason: Reason = Reason.MALFORMED
    detail: str = ""


# --- from bytes to values ---------------------------------------------------------------------------------------------

_RUNTIME = re.compile(rb"\S{19,40} (?:stdout|stderr) [FP] ")
# hubble observe, with standard error in the same file: `Jan  1 00:00:00.000: EVENTS LOST: HUBBLE_RING_BUFFER CPU(0) 5`
_LOST = re.compile(rb"EVENTS LOST: (?P<stage>[A-Z_]+)(?: CPU\(\d+\))?[: ]+(?P<events>\d{1,18})")


def understand(line: bytes) -> list[Found]:
    """The records of one line: none only where it is blank."""
    text = line.strip(b" \t\r\n\x00,")
    if not text:
        return [Found(detail="NUL bytes")] if b"\0" in line else []
    values, problem = _values(text)
    if not problem:
        return [found for value in values for found in _records(value, {}, _DEPTH)] or [_not_a_flow(values)]
    lost = _LOST.search(text[:1000])
    if lost:
        return [Found(loss=("", 0, lost["stage"].decode(), int(lost["events"])))]
    runtime = _RUNTIME.match(text)
    if runtime:
        return understand(text[runtime.end() :])
    if text.startswith(b"{"):
        # Objects one after another on one line, perhaps with the last one cut off.
        parts = list(elements([text]))
        if len(parts) > 1:
            return [found for part in parts for found in _part(part.data, part.problem)]
    return [Found(detail=f"{problem}: {printable(text[:60].decode(errors='replace'), 60)}")]


def _part(data: bytes, problem: str) -> list[Found]:
    if problem:
        return [Found(detail=problem)]
    values, wrong = _values(data)
    if wrong:
        return [Found(detail=wrong)]
    return list(_records(values[0], {}, _DEPTH)) or [_not_a_flow(values)]


def _values(text: bytes) -> tuple[list[Any], str]:
    try:
        return [msgspec.json.decode(text)], ""
    except msgspec.DecodeError as error:
        return [], str(error).partition(" (byte ")[0].lower()
    except UnicodeDecodeError:
        return [], "no valid UTF-8"
    except RecursionError:
        return [], "nested too deeply"


def _not_a_flow(values: list[Any]) -> Found:
    value = values[0]
    what = f"an object with {', '.join(sorted(value)[:5])}" if isinstance(value, dict) else f"a {type(value).__name__}"
    return Found(reason=Reason.NOT_A_FLOW, detail=printable(what))


# --- envelopes --------------------------------------------------------------------------------------------------------

_CONTROL = ("node_status", "nodeStatus", "agent_event", "agentEvent", "debug_event", "debugEvent")
_LOST_KEYS = ("lost_events", "lostEvents")
_TEXTS = (
    "log",
    "message",
    "Message",
    "msg",
    "line",
    "MESSAGE",
    "@message",
    "body",
    "event",
    "data",
    "textPayload",
    "raw",
)
_TELLING = frozenset({"verdict", "l4", "event_type", "eventType"})
_FLOW_KEYS = _TELLING | {"IP", "ip", "Type", "is_reply", "isReply"}


def is_flow(value: Mapping[str, Any]) -> bool:
    """Whether this object is a bare flow."""
    return not _TELLING.isdisjoint(value) and len(_FLOW_KEYS & value.keys()) > 1


def _records(value: Any, outer: Mapping[str, Any], depth: int) -> Iterator[Found]:
    if isinstance(value, list) and depth:
        yield from _each(value, outer, depth)
    if isinstance(value, str) and depth and value.lstrip()[:1] in {"{", "["}:
        inner, problem = _values(value.strip().encode(errors="replace"))
        if problem:
            yield Found(detail=f"inside text: {problem}")
        for item in inner:
            yield from _records(item, outer, depth - 1)
    if not isinstance(value, dict):
        return
    if isinstance(value.get("flow"), dict):
        yield _flow(value["flow"], value)
    elif lost := next((value[key] for key in _LOST_KEYS if isinstance(value.get(key), dict)), None):
        yield _loss(lost, value)
    elif any(key in value for key in (*_CONTROL, *_LOST_KEYS)):
        yield Found(reason=Reason.CONTROL)
    elif is_flow(value):
        yield _flow(value, outer)
    elif depth:
        yield from _inside(value, depth)


def _each(values: list[Any], outer: Mapping[str, Any], depth: int) -> Iterator[Found]:
    """Where one member of a list is a record, all are meant to be."""
    found = [list(_records(item, outer, depth - 1)) for item in values]
    if any(found):
        for records, item in zip(found, values, strict=True):
            yield from records or [_not_a_flow([item])]


def _inside(value: Mapping[str, Any], depth: int) -> Iterator[Found]:
    """Records in the values of an envelope."""
    for key, inner in value.items():
        if isinstance(inner, str):
            if key in _TEXTS:
                yield from _records(inner, value, depth - 1)
        elif key == "values" and isinstance(inner, list):
            # Loki: pairs of a time and a line.
            texts = [pair[1] if isinstance(pair, list) and len(pair) > 1 else pair for pair in inner]
            yield from _each(texts, value, depth)
        elif isinstance(inner, (dict, list)):
            yield from _records(inner, value, depth - 1)


def _loss(lost: Mapping[str, Any], outer: Mapping[str, Any]) -> Found:
    try:
        events = _integer(_get(lost, "num_events_lost", "numEventsLost"), "num_events_lost")
        stage = _get(lost, "source")
        when = _time(_get(outer, "time") or _get(lost, "last") or _get(lost, "first"))
        node = _text(_get(outer, "node_name", "nodeName"), "node_name")
    except BadFieldError as error:
        return Found(reason=Reason.BAD_FIELD, detail=str(error))
    found = times.canonical(when + "Z") if when else None
    hour = times.nanoseconds(found) // times.HOUR if found else 0
    return Found(loss=(bare_node(node), hour, str(stage) if isinstance(stage, (str, int)) else "", max(events, 0)))


def bare_node(name: str) -> str:
    """`kind-worker` of `default/kind-worker`: the cluster's name is no part of a node's."""
    return name.rpartition("/")[2]


# --- fields -----------------------------------------------------------------------------------------------------------


def _get(value: Mapping[str, Any], *names: str) -> Any:
    return next((value[name] for name in names if value.get(name) is not None), None)


def _object(value: Any, name: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    raise BadFieldError(f"{name} is no object")


def _integer(value: Any, name: str) -> int:
    """Numbers, numbers as text (64-bit ones always are), and 8080.0 as data frames write it."""
    if value is None:
        return 0
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,20}(?:\.0*)?", value, re.ASCII):
        return int(value.partition(".")[0])
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise BadFieldError(f"{name} {printable(repr(value), 40)} is no number")


def _text(value: Any, name: str) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    raise BadFieldError(f"{name} {printable(repr(value), 40)} is no text")


def _word(value: Any, name: str) -> Word:
    if value is None or isinstance(value, (str, int)):
        return int(value) if isinstance(value, bool) or (isinstance(value, str) and is_number(value)) else value
    raise BadFieldError(f"{name} {printable(repr(value), 40)} is no name")


def _boolean(value: Any, name: str) -> bool | None:
    """True, false or unknown. Go's own encoder writes a wrapped false as `{}`."""
    if isinstance(value, dict):
        value = value.get("value", False)
    if value is None or isinstance(value, bool):
        return value
    if value in (0, 1, "true", "false", "True", "False"):
        return value in (1, "true", "True")
    raise BadFieldError(f"{name} {printable(repr(value), 40)} is neither true nor false")


_ENDS = ("source", "destination")
_UNITS = ((10**11, times.SECOND), (10**14, 10**6), (10**17, 10**3))
"""Seconds, milliseconds and microseconds since the epoch, told by their size."""


def _time(value: Any) -> str:
    """Canonical text of a time as RFC 3339, `{seconds, nanos}`, or seconds, milli-, micro- or nanoseconds."""
    if value is None or value == "":
        return ""
    if isinstance(value, dict):
        number = _integer(value.get("seconds"), "time.seconds") * times.SECOND
        number += _integer(value.get("nanos"), "time.nanos")
    elif isinstance(value, str) and not re.fullmatch(r"\d{9,19}", value, re.ASCII):
        found = times.canonical(value)
        if found is None:
            raise BadFieldError(f"time {printable(repr(value), 40)} is no time")
        return found
    elif isinstance(value, float):
        number = int(value * 1000) * 1_000_000 if 0 <= value < 1e11 else -1
    else:
        number = _integer(value, "time")
        number *= next((factor for limit, factor in _UNITS if 0 <= number < limit), 1)
    if not 0 <= number < 3_755_000_000 * times.SECOND:
        raise BadFieldError(f"time {printable(repr(value), 40)} is out of range")
    return times.text(number)


def _raw(value: Mapping[str, Any], *names: str) -> Raw:
    for name in names:
        if name in value:
            return Raw(msgspec.json.encode(value[name]))
    return ABSENT


def _ports(l4: Mapping[str, Any], *names: str) -> Ports | None:
    found = _get(l4, *names)
    if found is None:
        return None
    value = _object(found, f"l4.{names[0]}")
    return Ports(
        _integer(_get(value, "source_port", "sourcePort"), f"l4.{names[0]}.source_port"),
        _integer(_get(value, "destination_port", "destinationPort"), f"l4.{names[0]}.destination_port"),
        _raw(value, "flags"),
    )


def _flow(value: Mapping[str, Any], outer: Mapping[str, Any]) -> Found:
    try:
        l4 = _layer4(value)
        names = {name.lower() for name, protocol in l4.items() if protocol is not None}
        if not names & {"tcp", "udp", "sctp"}:
            icmp = names & {"icmpv4", "icmpv6"}
            return Found(reason=Reason.ICMP if icmp else Reason.OTHER_PROTOCOL if names else Reason.NO_L4)
        return Found(flow=_tolerant(value, outer, l4))
    except BadFieldError as error:
        return Found(reason=Reason.BAD_FIELD, detail=str(error))


def _layer4(value: Mapping[str, Any]) -> Mapping[str, Any]:
    l4 = _object(_get(value, "l4", "L4"), "l4")
    # Go's own encoder shows the wrapper of a protobuf "oneof".
    return _object(_get(l4, "Protocol", "protocol"), "l4.Protocol") or l4


def _tolerant(value: Mapping[str, Any], outer: Mapping[str, Any], l4: Mapping[str, Any]) -> Flow:
    """A flow from an object of any encoder. Its time is canonical text and a `Z`."""
    ip = _object(_get(value, "IP", "ip", "Ip"), "IP")
    event = _object(_get(value, "event_type", "eventType"), "event_type")
    l7 = _get(value, "l7", "L7")
    when = _time(_get(value, "time") or _get(outer, "time"))
    return Flow(
        time=f"{when}Z" if when else "",
        verdict=_word(_get(value, "verdict"), "verdict"),
        drop_reason_desc=_word(_get(value, "drop_reason_desc", "dropReasonDesc"), "drop_reason_desc"),
        ip=Raw(msgspec.json.encode(Addresses(*(_text(_get(ip, name), f"IP.{name}") for name in _ENDS)))),
        l4=Layer4(_ports(l4, "TCP", "tcp"), _ports(l4, "UDP", "udp"), _ports(l4, "SCTP", "sctp")),
        source=_raw(value, "source"),
        destination=_raw(value, "destination"),
        type=_word(_get(value, "Type", "type"), "Type"),
        node_name=_text(_get(value, "node_name", "nodeName") or _get(outer, "node_name", "nodeName"), "node_name"),
        source_names=_raw(value, "source_names", "sourceNames"),
        destination_names=_raw(value, "destination_names", "destinationNames"),
        l7=_layer7(l7) if l7 is not None else None,
        reply=_boolean(value.get("reply"), "reply"),
        event_type=EventType(
            _integer(_get(event, "type"), "event_type.type"),
            _integer(_get(event, "sub_type", "subType"), "event_type.sub_type"),
        ),
        source_service=_raw(value, "source_service", "sourceService"),
        destination_service=_raw(value, "destination_service", "destinationService"),
        trace_observation_point=_word(
            _get(value, "trace_observation_point", "traceObservationPoint"), "trace_observation_point"
        ),
        trace_reason=_word(_get(value, "trace_reason", "traceReason"), "trace_reason"),
        is_reply=_boolean(_get(value, "is_reply", "isReply"), "is_reply"),
        drop_reason=_word(_get(value, "drop_reason", "dropReason"), "drop_reason"),
        aggregate=_raw(value, "aggregate"),
    )


def _layer7(value: Any) -> Layer7:
    found = _object(value, "l7")
    return Layer7(_word(_get(found, "type"), "l7.type"), _raw(found, "dns"))
