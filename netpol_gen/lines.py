"""Lines between parties: a flow table's rows as arrays, one line per backend, while they are being resolved."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from netpol_gen.flowtable import Reason

_REASONS = tuple(Reason)
REASON_CODE = {reason: code for code, reason in enumerate(_REASONS)}


def reason_at(code: int) -> Reason:
    """The reason of a code."""
    return _REASONS[code]


@dataclass(slots=True)
class Lines:
    """Arrays of one length (int64; `flipped` bool), changed in place by one step after another.

    `row`: index into the flow table. `src`, `dst`: codes of parties, negative where there is none. `src_end`,
    `dst_end`: codes that tell single pods and addresses apart. `src_pod`, `dst_pod`: index into the inventory's pods or
    -1. `src_port`, `dst_port`: -1 for none; the latter becomes the backend's. `protocol`: index into `Protocol`, beyond
    it for what no policy can name. `evidence`: rank of what tells the direction. `flipped`: whether the row had the
    server first. `reason`: code of the reason to set it aside, or -1.
    """

    row: np.ndarray
    src: np.ndarray
    dst: np.ndarray
    src_end: np.ndarray
    dst_end: np.ndarray
    src_pod: np.ndarray
    dst_pod: np.ndarray
    src_port: np.ndarray
    dst_port: np.ndarray
    protocol: np.ndarray
    evidence: np.ndarray
    flipped: np.ndarray
    reason: np.ndarray

    def __len__(self) -> int:
        return len(self.row)

    def flip(self, where: np.ndarray) -> None:
        """Swap the ends of some lines."""
        at = np.flatnonzero(where)
        for a, b in (
            (self.src, self.dst),
            (self.src_end, self.dst_end),
            (self.src_pod, self.dst_pod),
            (self.src_port, self.dst_port),
        ):
            kept = a[at]
            a[at] = b[at]
            b[at] = kept
        self.flipped[at] = True

    def refuse(self, where: np.ndarray, reason: Reason) -> None:
        """Give a reason to lines that have none yet."""
        self.reason[where & (self.reason < 0)] = REASON_CODE[reason]

    def take(self, at: np.ndarray) -> Self:
        """Some lines, any of them as often as wanted."""
        return type(self)(*(getattr(self, each.name)[at] for each in fields(self)))
