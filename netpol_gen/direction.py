"""Who opened the connection, where the source could not say.

Rows whose reader knew keep what it knew. For the rest, in this order: another row of the same two parties that is
decided; exactly one end that is known to listen on its port; many clients on one port; the order of the ports. What
decided is recorded, weak answers are marked, and where nothing decides the row is set aside, not guessed.

`traffic_direction`-like fields never take part: they tell on which side of which pod a packet was seen, not who called.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from netpol_gen.model import DirectionEvidence

if TYPE_CHECKING:
    import pandas as pd

EPHEMERAL_FROM = 32768
"""Linux hands out client ports from here (`net.ipv4.ip_local_port_range`)."""
_PRIVILEGED_BELOW = 1024
_VOTES = 3
"""A port with so many distinct peers, and at least twice as many as the other end, is a server's."""

_EVIDENCE = tuple(DirectionEvidence)
_RANK = {str(evidence): rank for rank, evidence in enumerate(_EVIDENCE)}
UNDECIDED = _RANK[DirectionEvidence.NONE]


@dataclass(frozen=True, slots=True)
class Oriented:
    """Per row: whether to swap the ends, the rank of the evidence (`UNDECIDED` where there is none)."""

    flip: np.ndarray
    rank: np.ndarray


def orient(rows: pd.DataFrame, listening: np.ndarray) -> Oriented:
    """Decide every row.

    Args:
        rows: columns `src`, `dst` (int64 party codes), `protocol` (int64 code), `src_port`, `dst_port` (int64, -1 for
            none), `direction` (text or null).
        listening: int64 `port_key`s of ports that parties are known to listen on (declared or proven).

    """
    rank = rows["direction"].map(_RANK).fillna(UNDECIDED).to_numpy(np.int64).copy()
    flip = np.zeros(len(rows), dtype=bool)
    open_ = rank == UNDECIDED
    if not open_.any():
        return Oriented(flip, rank)
    src, dst = rows["src"].to_numpy(), rows["dst"].to_numpy()
    protocol = rows["protocol"].to_numpy()
    src_port, dst_port = rows["src_port"].to_numpy(), rows["dst_port"].to_numpy()
    at_dst, at_src = port_key(dst, protocol, dst_port), port_key(src, protocol, src_port)

    def settle(forward: np.ndarray, backward: np.ndarray, evidence: DirectionEvidence) -> None:
        """Where exactly one of the two holds, it decides."""
        nonlocal open_
        forward, backward = forward & (dst_port >= 0), backward & (src_port >= 0)
        ahead, back = open_ & forward & ~backward, open_ & backward & ~forward
        flip[back] = True
        rank[ahead | back] = _RANK[evidence]
        open_ = rank == UNDECIDED

    decided = ~open_
    pairs = _pair_keys(src, dst, protocol, dst_port)
    reverse = _pair_keys(dst, src, protocol, src_port)
    known = np.unique(pairs[decided])
    settle(np.isin(pairs, known), np.isin(reverse, known), DirectionEvidence.PAIR)
    proven = np.unique(np.concatenate([listening, at_dst[decided]]))
    settle(np.isin(at_dst, proven), np.isin(at_src, proven), DirectionEvidence.LISTENING)
    if open_.any():
        votes_dst, votes_src = _votes(open_, at_dst, at_src)
        settle(
            (votes_dst >= _VOTES) & (votes_dst >= 2 * votes_src),
            (votes_src >= _VOTES) & (votes_src >= 2 * votes_dst),
            DirectionEvidence.VOTE,
        )
    settle(_lower(dst_port, src_port), _lower(src_port, dst_port), DirectionEvidence.PORT_ORDER)
    return Oriented(flip, rank)


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
    """For each row, how many different remote ports were seen at its destination's and at its source's port."""
    ends = np.concatenate([at_dst[open_], at_src[open_]])
    others = np.concatenate([at_src[open_], at_dst[open_]])
    distinct = np.unique(np.stack([ends, others], axis=1), axis=0)
    keys, counts = np.unique(distinct[:, 0], return_counts=True)

    def look_up(wanted: np.ndarray) -> np.ndarray:
        position = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
        found: np.ndarray = np.where(keys[position] == wanted, counts[position], 0)
        return found

    return look_up(at_dst), look_up(at_src)


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
