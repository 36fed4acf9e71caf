"""Who opened the connection, where the source could not say.

Rows whose reader knew keep what it knew. For the rest, in this order: another row of the same two parties that is
decided; exactly one end that is known to listen on its port; a decided row of the same two addresses when nobody could
tell who held them, as just after a hand-over; many clients on one port; the order of the ports. What decided is
recorded, weak answers are marked, and where nothing decides the row is set aside, not guessed.

`traffic_direction`-like fields never take part: they tell on which side of which pod a packet was seen, not who called.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from netpol_gen.codes import distinct, ranked, within
from netpol_gen.model import DirectionEvidence

EPHEMERAL_FROM = 32768
"""Linux hands out client ports from here (`net.ipv4.ip_local_port_range`)."""
_PRIVILEGED_BELOW = 1024
_VOTES = 3
"""A port with so many distinct peers, and at least twice as many as the other end, is a server's."""

_EVIDENCE = tuple(DirectionEvidence)
RANK = {str(evidence): rank for rank, evidence in enumerate(_EVIDENCE)}
UNDECIDED = RANK[DirectionEvidence.NONE]


@dataclass(frozen=True, slots=True)
class Oriented:
    """Per row: whether to swap the ends, the rank of the evidence (`UNDECIDED` where there is none)."""

    flip: np.ndarray
    rank: np.ndarray


class Rows(Protocol):
    """What is to be known of rows (int64): codes of parties, of ends and of the protocol, and ports, -1 for none.

    A party is negative where nobody can tell who it is; an end (its address) is there all the same.
    """

    src: np.ndarray
    dst: np.ndarray
    src_end: np.ndarray
    dst_end: np.ndarray
    protocol: np.ndarray
    src_port: np.ndarray
    dst_port: np.ndarray


def orient(rows: Rows, said: np.ndarray, listening: np.ndarray) -> Oriented:
    """Decide every row.

    Args:
        rows: the rows.
        said: rank of what the source said of each row's direction, `UNDECIDED` for nothing.
        listening: int64 `port_key`s of ports that parties are known to listen on (declared or proven).

    """
    all_rank, all_flip = said.copy(), np.zeros(len(said), dtype=bool)
    at = np.flatnonzero(said == UNDECIDED)
    if not len(at):
        return Oriented(all_flip, all_rank)
    known, proven = _shown(rows, np.flatnonzero(said != UNDECIDED), listening)
    src, dst, protocol = rows.src[at], rows.dst[at], rows.protocol[at]
    src_port, dst_port = rows.src_port[at], rows.dst_port[at]
    at_dst, at_src = port_key(dst, protocol, dst_port), port_key(src, protocol, src_port)
    rank, flip = np.full(len(at), UNDECIDED, dtype=np.int64), np.zeros(len(at), dtype=bool)

    def settle(forward: np.ndarray, backward: np.ndarray, evidence: DirectionEvidence) -> None:
        """Where exactly one of the two holds, it decides."""
        open_ = rank == UNDECIDED
        forward, backward = forward & (dst_port >= 0), backward & (src_port >= 0)
        ahead, back = open_ & forward & ~backward, open_ & backward & ~forward
        flip[back] = True
        rank[ahead | back] = RANK[evidence]

    listens_dst, listens_src = within(at_dst, proven), within(at_src, proven)
    calls, called = np.zeros(len(at), dtype=bool), np.zeros(len(at), dtype=bool)
    # Whoever is known to be called is called at a proven port: others need not be looked up, which takes longest.
    for found, listens, client, server, port in (
        (calls, listens_dst, src, dst, dst_port),
        (called, listens_src, dst, src, src_port),
    ):
        some = np.flatnonzero(listens)
        found[some] = within(_pair_keys(client[some], server[some], protocol[some], port[some]), known)
    settle(calls, called, DirectionEvidence.PAIR)
    settle(listens_dst, listens_src, DirectionEvidence.LISTENING)
    calls, called = _between_ends(rows, at, said)
    settle(calls, called, DirectionEvidence.LISTENING)
    if (open_ := rank == UNDECIDED).any():
        votes_dst, votes_src = _votes(open_, at_dst, at_src)
        settle(
            (votes_dst >= _VOTES) & (votes_dst >= 2 * votes_src),
            (votes_src >= _VOTES) & (votes_src >= 2 * votes_dst),
            DirectionEvidence.VOTE,
        )
    settle(_lower(dst_port, src_port), _lower(src_port, dst_port), DirectionEvidence.PORT_ORDER)
    all_rank[at], all_flip[at] = rank, flip
    return Oriented(all_flip, all_rank)


def _shown(rows: Rows, at: np.ndarray, listening: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of decided rows: keys of who calls whom, and of the ports that are listened on. Both ascending."""
    src, dst, protocol, port = rows.src[at], rows.dst[at], rows.protocol[at], rows.dst_port[at]
    known = distinct(_pair_keys(src, dst, protocol, port))
    return known, distinct(np.concatenate([listening, port_key(dst, protocol, port)]))


def _between_ends(rows: Rows, at: np.ndarray, said: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of rows `at`: whether another was decided that has their client and server, or the reverse, be it nobody's."""
    nobodys = np.flatnonzero((said != UNDECIDED) & ((rows.src < 0) | (rows.dst < 0)))
    if not len(nobodys):
        return np.zeros(len(at), dtype=bool), np.zeros(len(at), dtype=bool)
    src, dst, protocol = rows.src_end, rows.dst_end, rows.protocol
    known = distinct(_pair_keys(src[nobodys], dst[nobodys], protocol[nobodys], rows.dst_port[nobodys]))
    src, dst, protocol = src[at], dst[at], protocol[at]
    return (
        within(_pair_keys(src, dst, protocol, rows.dst_port[at]), known),
        within(_pair_keys(dst, src, protocol, rows.src_port[at]), known),
    )


def port_key(party: np.ndarray, protocol: np.ndarray, port: np.ndarray) -> np.ndarray:
    """One int64 per (party, protocol, port)."""
    key: np.ndarray = (party.astype(np.int64) << 18) | (protocol.astype(np.int64) << 16) | (port & 0xFFFF)
    return key


def _pair_keys(client: np.ndarray, server: np.ndarray, protocol: np.ndarray, port: np.ndarray) -> np.ndarray:
    """One int64 per (client, server, protocol, port): 22 bits for each party, which 4 million parties fill."""
    key: np.ndarray = (
        (client.astype(np.int64) << 40) | (server.astype(np.int64) << 18) | (protocol << 16) | (port & 0xFFFF)
    )
    return key


def _votes(open_: np.ndarray, at_dst: np.ndarray, at_src: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each open row, how many different remote ports were seen at its destination's and at its source's port."""
    rows = np.flatnonzero(open_)
    ports, number = ranked(np.concatenate([at_dst[rows], at_src[rows]]))
    dst, src = number[: len(rows)], number[len(rows) :]
    met = distinct(np.concatenate([dst * len(ports) + src, src * len(ports) + dst]))
    counts = np.bincount(met // len(ports), minlength=len(ports))
    votes_dst, votes_src = np.zeros(len(open_), dtype=np.int64), np.zeros(len(open_), dtype=np.int64)
    votes_dst[rows], votes_src[rows] = counts[dst], counts[src]
    return votes_dst, votes_src


def _lower(server: np.ndarray, client: np.ndarray) -> np.ndarray:
    """Whether the port order speaks for `server`: a well-known port, or any fixed port against an ephemeral one."""
    result: np.ndarray = (client >= 0) & (
        ((server < _PRIVILEGED_BELOW) & (client >= _PRIVILEGED_BELOW))
        | ((server < EPHEMERAL_FROM) & (client >= EPHEMERAL_FROM))
    )
    return result


def evidence_at(rank: int) -> DirectionEvidence:
    """The evidence of a rank."""
    return _EVIDENCE[rank]
