"""What a conntrack entry says of a call: its state and flags as signals, and whether its first tuple names the client.

One function for every form of the entry (text, XML, `-o save`); `table` spreads it out for columns of entries.

The original tuple is the client's, except where tracking began in mid-stream: after a flush, or when an answer came
later than the entry lived, whoever sent the next packet looks like the client. Such entries keep both ports and no
direction, and `netpol_gen.direction` decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from netpol_gen.model import Signal

EPHEMERAL_FROM = 32768
"""Linux hands out client ports from here; a server port from here on needs better proof than a tuple's order."""


class L4(IntEnum):
    """Protocols that entries are kept of; the value is the code in columns."""

    TCP = 0
    UDP = 1
    SCTP = 2


PROTOCOL_NUMBERS = {"6": L4.TCP, "17": L4.UDP, "132": L4.SCTP}
ICMP_NUMBERS = frozenset({"1", "58"})

STATES = (
    "",
    "NONE",
    "SYN_SENT",
    "SYN_SENT2",
    "SYN_RECV",
    "LISTEN",
    "ESTABLISHED",
    "FIN_WAIT",
    "CLOSE_WAIT",
    "LAST_ACK",
    "TIME_WAIT",
    "CLOSE",
    # SCTP
    "CLOSED",
    "COOKIE_WAIT",
    "COOKIE_ECHOED",
    "SHUTDOWN_SENT",
    "SHUTDOWN_RECD",
    "SHUTDOWN_RECV",
    "SHUTDOWN_ACK_SENT",
    "HEARTBEAT_SENT",
    "HEARTBEAT_ACKED",
)
"""State words of TCP and SCTP; the first stands for none given."""
STATE_CODES = {name: code for code, name in enumerate(STATES)}

_OPENING = frozenset({"SYN_SENT", "SYN_SENT2", "LISTEN", "COOKIE_WAIT"})
_HALF_OPEN = frozenset({"SYN_RECV", "COOKIE_ECHOED"})
_ENDED_HARD = frozenset({"CLOSE", "CLOSED"})
_CALL = Signal.SYN_ACK | Signal.SERVER_DATA | Signal.CLIENT_DATA


class Answer(IntEnum):
    """What the counters of the reply direction say."""

    NOT_COUNTED = 0
    NONE = 1
    SOME = 2


@dataclass(frozen=True, slots=True)
class Meaning:
    """Signals of an entry; `client_known` is whether its original tuple begins with the client."""

    signals: Signal
    client_known: bool = True


def meaning(protocol: L4, state: str, *, unreplied: bool, assured: bool, answer: Answer) -> Meaning:
    """What one entry says.

    Args:
        protocol: of the entry.
        state: its word in the entry, empty where there is none (UDP, offloaded entries, older DESTROY events).
        unreplied: whether it is marked `[UNREPLIED]`.
        assured: whether it is marked `[ASSURED]` or offloaded, which only established connections are.
        answer: packets counted in the reply direction.

    """
    found = _udp(unreplied=unreplied) if protocol is L4.UDP else _stream(state, unreplied, assured, answer)
    return Meaning(found.signals | Signal.TRACE, found.client_known)


def _udp(*, unreplied: bool) -> Meaning:
    return Meaning(Signal.CLIENT_DATA if unreplied else Signal.CLIENT_DATA | Signal.SERVER_DATA)


def _stream(state: str, unreplied: bool, assured: bool, answer: Answer) -> Meaning:  # noqa: FBT001 - facts, not flags
    """TCP, and SCTP by the same ladder: its INIT, COOKIE and ABORT stand for SYN, ACK and RST."""
    if state in _OPENING:
        # COOKIE_WAIT with a reply: the server sent its INIT-ACK.
        half = state == "COOKIE_WAIT" and not unreplied
        return Meaning(Signal.SYN | Signal.SYN_ACK if half else Signal.SYN)
    if state in _HALF_OPEN:
        return Meaning(Signal.SYN | Signal.SYN_ACK)
    if unreplied and (state in _ENDED_HARD or not state):
        # The kernel does not count a lone RST as a reply: the entry stays UNREPLIED, and its packet is in the counters.
        refused = answer is Answer.SOME or (answer is Answer.NOT_COUNTED and state in _ENDED_HARD)
        return Meaning(Signal.SYN | Signal.RESET if refused else Signal.SYN)
    if unreplied:
        # Established without an answer ever seen: picked up in mid-stream, from whichever end spoke next.
        return Meaning(Signal.SERVER_DATA | Signal.CLIENT_DATA, client_known=False)
    if state == "NONE":
        return Meaning(Signal(0))
    if (state in _ENDED_HARD or not state) and not assured:
        # Answered, but the client never completed the handshake.
        ended = Signal.RESET if state else Signal(0)
        return Meaning(Signal.SYN | Signal.SYN_ACK | ended)
    return Meaning(_CALL)


def table() -> list[int]:
    """`meaning` for every combination: the signals, plus `UNKNOWN_CLIENT` where the client is not known."""
    out = []
    for protocol in L4:
        for state in STATES:
            for unreplied in (False, True):
                for assured in (False, True):
                    for answer in Answer:
                        found = meaning(protocol, state, unreplied=unreplied, assured=assured, answer=answer)
                        out.append(int(found.signals) | (0 if found.client_known else UNKNOWN_CLIENT))
    return out


_MAY_IDLE = frozenset({"", "NONE", "ESTABLISHED", "CLOSE_WAIT", "HEARTBEAT_ACKED"})
"""States in which an entry may wait for long: kube-proxy keeps even CLOSE_WAIT for an hour. Kernels before 5.9 tell the
end of an entry without its state, which may have been any."""


_ONE_SIDED = frozenset({"FIN_WAIT", "CLOSE", "CLOSED", "SHUTDOWN_SENT", "SHUTDOWN_RECD", "SHUTDOWN_RECV"})
"""States that one end brings about alone: it may have slept while the other's address got a new holder, who refuses."""


def lateness(protocol: L4, state: str, *, ended: bool = True) -> Signal:
    """The signal that goes with an entry whose beginning nobody told: with its end, or with a change of its state."""
    if ended:
        return Signal.FORGOTTEN if protocol is not L4.UDP and state in _MAY_IDLE else Signal.EXPIRED
    return Signal.FORGOTTEN if protocol is not L4.UDP and state in _ONE_SIDED else Signal(0)


LATE = int(Signal.EXPIRED | Signal.FORGOTTEN)
UNKNOWN_CLIENT = 1 << 15
"""In `table`: not a signal, but that the client is not known."""
STATE_STRIDE = 2 * 2 * len(Answer)
PROTOCOL_STRIDE = len(STATES) * STATE_STRIDE
UNREPLIED_STRIDE = 2 * len(Answer)
ASSURED_STRIDE = len(Answer)
"""Position in `table`: the codes times these strides, summed, plus the `Answer`."""
