"""What one Hubble record says: is it evidence, which end is the client, what was seen of the conversation.

Names and numbers are those of Cilium's `flow.proto`; an enum value may come as either. `traffic_direction` is not
asked: it belongs to the reporting endpoint and does not tell who the client is (cilium/cilium#28006).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from netpol_gen.flowtable import Reason
from netpol_gen.model import DirectionEvidence, ObservedVerdict, Signal

Word = str | int | None
"""An enum value as name or number; None where the record has none (proto-JSON leaves zero values out)."""

DROP, TRACE, POLICY_VERDICT, TRACE_SOCK, ACCESS_LOG = 1, 4, 5, 7, 129
"""`event_type.type`."""

_VERDICTS = ("VERDICT_UNKNOWN", "FORWARDED", "DROPPED", "ERROR", "AUDIT", "REDIRECTED", "TRACED", "TRANSLATED")
_TYPES = ("UNKNOWN_TYPE", "L3_L4", "L7", "SOCK")
_L7_TYPES = ("UNKNOWN_L7_TYPE", "REQUEST", "RESPONSE", "SAMPLE")
_REASONS = ("TRACE_REASON_UNKNOWN", "NEW", "ESTABLISHED", "REPLY", "RELATED", "REOPENED")
NO_POINT = frozenset({None, "", 0, "UNKNOWN_POINT"})
"""What the `trace_observation_point` of a trace event is where only its sub-type tells."""
_TO_ENDPOINT = frozenset({"TO_ENDPOINT", 101})

POLICY_DROPS: Mapping[int, str] = {133: "POLICY_DENIED", 181: "POLICY_DENY", 189: "AUTH_REQUIRED"}
"""Only these mean that a policy said no; all other drop reasons are faults or limits of the data path."""
_POLICY_DROP_NAMES = frozenset(POLICY_DROPS.values())

_MAX_DIGITS = 20

UDP, SCTP = b"UDP", b"SCTP"
"""What stands in the place of TCP flags."""


class Facts(NamedTuple):
    """All that decides what a record means; few combinations occur."""

    verdict: Word
    drop_reason: Word
    """`drop_reason_desc`, else the deprecated number."""
    type: Word
    point: Word
    event: int
    sub_event: int
    is_reply: bool | None
    """`is_reply`, else the deprecated `reply` where true: false was never printed."""
    trace_reason: Word
    l7: Word
    """`l7.type`; empty text where there is an `l7` without one, None where there is no `l7`."""
    flags: bytes
    """`l4.TCP.flags` as they came, `UDP` or `SCTP`."""


class Meaning(NamedTuple):
    """What to do with a record. `turned`: the source of the packet is the server."""

    reason: Reason | None = None
    detail: str = ""
    turned: bool = False
    evidence: DirectionEvidence | None = None
    signals: Signal = Signal(0)
    verdict: ObservedVerdict = ObservedVerdict.UNKNOWN
    drop_reason: str | None = None
    protocol: str = ""


def is_number(text: str) -> bool:
    """Whether this is a number as text; Python refuses to make one of thousands of digits."""
    return text.isdecimal() and len(text) <= _MAX_DIGITS


def name_of(word: Word, names: tuple[str, ...]) -> str:
    """The name of an enum value; its text where it is not known."""
    if isinstance(word, int):
        return names[word] if 0 <= word < len(names) else str(word)
    return names[0] if word is None or word == "" else word


def meaning(facts: Facts, flags: frozenset[str]) -> Meaning:
    """What a record says; `flags` are the names of the TCP flags set."""
    verdict, drop_reason, reason = _verdict(facts)
    if reason is not None:
        return Meaning(reason)
    protocol = facts.flags.decode() if facts.flags in {UDP, SCTP} else "TCP"
    turned, evidence = _direction(facts, flags)
    signals = _signals(facts, flags, protocol, turned=turned, known=evidence is not None)
    return Meaning(None, "", turned, evidence, signals, verdict, drop_reason, protocol)


def _verdict(facts: Facts) -> tuple[ObservedVerdict, str | None, Reason | None]:
    verdict = name_of(facts.verdict, _VERDICTS)
    if name_of(facts.type, _TYPES) == "SOCK" or facts.event == TRACE_SOCK or verdict in {"TRACED", "TRANSLATED"}:
        return ObservedVerdict.UNKNOWN, None, Reason.SOCKET_EVENT
    match verdict:
        case "FORWARDED" | "REDIRECTED":
            return ObservedVerdict.FORWARDED, None, None
        case "AUDIT":
            return ObservedVerdict.AUDIT, None, None
        case "DROPPED":
            by_policy, word = _dropped_by_policy(facts)
            return ObservedVerdict.DROPPED, word, None if by_policy else Reason.OTHER_DROP
        case "ERROR":
            return ObservedVerdict.UNKNOWN, None, Reason.ERROR_VERDICT
    return ObservedVerdict.UNKNOWN, None, Reason.NO_VERDICT


def _dropped_by_policy(facts: Facts) -> tuple[bool, str | None]:
    """Whether policy dropped it, and the source's own word for why."""
    word = facts.drop_reason
    if isinstance(word, str) and is_number(word):
        word = int(word)
    name = POLICY_DROPS.get(word, str(word)) if word and isinstance(word, int) else word or None
    # A proxy's "403" and the policy engine's own event carry no drop reason.
    by_event = facts.event in {POLICY_VERDICT, ACCESS_LOG} or facts.l7 is not None
    return name in _POLICY_DROP_NAMES or by_event, name


def _direction(facts: Facts, flags: frozenset[str]) -> tuple[bool, DirectionEvidence | None]:
    """Whether the packet came from the server, and what tells it. Strongest evidence first."""
    if "SYN" in flags:
        # is_reply is not always right on a SYN-ACK (microsoft/retina#1417); the flags are.
        return "ACK" in flags, DirectionEvidence.SYN
    if facts.event == POLICY_VERDICT:
        return False, DirectionEvidence.POLICY_VERDICT
    if facts.is_reply is not None:
        return facts.is_reply, DirectionEvidence.IS_REPLY
    reason = name_of(facts.trace_reason, _REASONS)
    if reason in {"NEW", "ESTABLISHED", "REPLY", "REOPENED"}:
        # What Cilium itself derives is_reply from.
        return reason == "REPLY", DirectionEvidence.IS_REPLY
    kind = name_of(facts.l7, _L7_TYPES)
    if kind in {"REQUEST", "RESPONSE"}:
        return kind == "RESPONSE", DirectionEvidence.L7
    return False, None


def _signals(facts: Facts, flags: frozenset[str], protocol: str, *, turned: bool, known: bool) -> Signal:
    """What was seen. Where the client is not known, as though the source of the packet were the client."""
    signals = Signal(0)
    is_l7 = facts.l7 is not None or facts.event == ACCESS_LOG or name_of(facts.type, _TYPES) == "L7"
    if is_l7:
        if facts.verdict not in {"DROPPED", 2}:
            signals |= Signal.L7
    elif protocol != "TCP":
        signals |= Signal.SERVER_DATA if turned else Signal.CLIENT_DATA
    elif not flags:
        # An export may leave the flags out (fieldMask): then their absence says nothing.
        signals |= Signal.SAMPLED
    else:
        signals |= _tcp(flags, turned=turned, known=known)
    if facts.event == POLICY_VERDICT:
        signals |= Signal.POLICY_VERDICT
    if facts.event == TRACE:
        signals |= Signal.TRACE
        if not turned and _to_endpoint(facts):
            signals |= Signal.DELIVERED
    return signals


def _to_endpoint(facts: Facts) -> bool:
    if facts.point in NO_POINT:
        # Sub-type 0 of a trace event is the same point, and zero is left out.
        return facts.sub_event == 0
    return facts.point in _TO_ENDPOINT


def _tcp(flags: frozenset[str], *, turned: bool, known: bool) -> Signal:
    if "SYN" in flags:
        return Signal.SYN_ACK if turned else Signal.SYN
    if "RST" in flags:
        return Signal.RESET if turned or not known else Signal(0)
    if turned:
        return Signal.SERVER_DATA
    return Signal.CLIENT_DATA if flags & {"ACK", "PSH", "FIN"} else Signal(0)
