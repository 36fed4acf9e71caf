"""Connection sets by number, so that matrices of them are matrices of integers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from netpol_gen.sets import ConnectionSet

Ids = npt.NDArray[np.int32]
"""Any shape; each element numbers a set of the table."""

NONE_ID = 0
ALL_ID = 1


class ConnectionTable:
    """Interned sets; 0 is the empty set and 1 everything."""

    def __init__(self) -> None:
        self.sets: list[ConnectionSet] = [ConnectionSet.NONE, ConnectionSet.ALL]
        self._ids: dict[ConnectionSet, int] = {ConnectionSet.NONE: NONE_ID, ConnectionSet.ALL: ALL_ID}
        self._common: dict[tuple[int, int], int] = {}
        self._union: dict[tuple[int, int], int] = {}

    def id(self, connections: ConnectionSet) -> int:
        """The number of a set."""
        found = self._ids.get(connections)
        if found is None:
            found = self._ids[connections] = len(self.sets)
            self.sets.append(connections)
        return found

    def common(self, a: int, b: int) -> int:
        """The number of the intersection."""
        if b in (a, ALL_ID):
            return a
        if a == ALL_ID:
            return b
        key = (a, b) if a < b else (b, a)
        found = self._common.get(key)
        if found is None:
            found = self._common[key] = self.id(self.sets[a] & self.sets[b])
        return found

    def union(self, a: int, b: int) -> int:
        """The number of the union."""
        if b in (a, NONE_ID):
            return a
        if a == NONE_ID:
            return b
        key = (a, b) if a < b else (b, a)
        found = self._union.get(key)
        if found is None:
            found = self._union[key] = self.id(self.sets[a] | self.sets[b])
        return found

    def common_all(self, a: Ids, b: Ids) -> Ids:
        """Element by element; shapes are equal."""
        out = np.where(b == ALL_ID, a, b)
        undecided = (a != b) & (a > ALL_ID) & (b > ALL_ID)
        out[(a == NONE_ID) | (b == NONE_ID)] = NONE_ID
        if undecided.any():
            keys = a[undecided].astype(np.int64) << 32 | b[undecided]
            distinct, inverse = np.unique(keys, return_inverse=True)
            found = [self.common(int(k >> 32), int(k & 0xFFFFFFFF)) for k in distinct]
            out[undecided] = np.array(found, dtype=np.int32)[inverse]
        return out.astype(np.int32, copy=False)

    def union_all(self, a: Ids, b: Ids) -> Ids:
        """Element by element; shapes are equal."""
        out = np.where(b == NONE_ID, a, b)
        out[(a == ALL_ID) | (b == ALL_ID)] = ALL_ID
        undecided = (a != b) & (a > ALL_ID) & (b > ALL_ID)
        if undecided.any():
            keys = a[undecided].astype(np.int64) << 32 | b[undecided]
            distinct, inverse = np.unique(keys, return_inverse=True)
            found = [self.union(int(k >> 32), int(k & 0xFFFFFFFF)) for k in distinct]
            out[undecided] = np.array(found, dtype=np.int32)[inverse]
        return out.astype(np.int32, copy=False)
