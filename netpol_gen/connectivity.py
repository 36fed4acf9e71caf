"""All connections that policies allow, between workloads and between workloads and address ranges.

Exact, by equivalence classes: pods that no selector, namespace, port name or address in play can tell apart are judged
once. A workload whose pods differ (a rollout that changes labels) has the connections that hold for *all* pairs of its
pods in `connections`, and those that hold for *any* pair in `possible`. What Kubernetes leaves to the CNI is in
`possible` only.

External ranges are addresses of no pod. Between a pod and its own node everything passes, whatever the rows say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from netpol_gen.evaluate.exposure import Exposed, exposure
from netpol_gen.evaluate.matrix import Matrix, Ranges
from netpol_gen.evaluate.table import NONE_ID, ConnectionTable, Ids
from netpol_gen.model import Decision, Direction, Workload
from netpol_gen.policy import NetworkPolicy
from netpol_gen.sets import AddressSet, ConnectionSet, Network
from netpol_gen.tiers import TierPolicy

if TYPE_CHECKING:
    import pandas as pd

    from netpol_gen.inventory import Inventory

__all__ = ["Connectivity", "End", "Exposed", "Row", "connections", "end_key", "exposure"]

End = Workload | Network
"""A workload, or a range of addresses outside."""


@dataclass(frozen=True, slots=True)
class Row:
    """`src` can open `connections` on `dst` for certain, and perhaps `possible`, which contains them."""

    src: End
    dst: End
    connections: ConnectionSet
    possible: ConnectionSet

    @property
    def certain(self) -> bool:
        """Whether nothing is left open."""
        return self.connections == self.possible


def end_key(end: End) -> tuple[int, str, str, str, int, int]:
    """Total order: workloads, then IPv4 ranges, then IPv6 ranges."""
    if isinstance(end, Workload):
        return (0, end.namespace, end.name, end.kind, 0, 0)
    return (end.version, "", "", "", int(end.network_address), end.prefixlen)


@dataclass(frozen=True)
class Connectivity:
    """What one set of policies allows over one inventory.

    `sure` and `may` have the shape (workloads, workloads), source by destination, and number sets of `table`. A place
    on the diagonal is about two pods of one workload; it is empty for a workload of a single pod, which has no sibling
    to call. `outward` and `inward` are per workload.
    """

    workloads: tuple[Workload, ...]
    table: ConnectionTable
    sure: Ids
    may: Ids
    outward: tuple[Ranges, ...]
    inward: tuple[Ranges, ...]

    @cached_property
    def index(self) -> Mapping[Workload, int]:
        """Where each workload stands."""
        return {w: i for i, w in enumerate(self.workloads)}

    def between(self, src: Workload, dst: Workload) -> tuple[ConnectionSet, ConnectionSet]:
        """What passes for certain and what may pass; nothing for workloads that are not there."""
        if src not in self.index or dst not in self.index:
            return ConnectionSet.NONE, ConnectionSet.NONE
        at = self.index[src], self.index[dst]
        return self.table.sets[self.sure[at]], self.table.sets[self.may[at]]

    def rows(self) -> Iterator[Row]:
        """All rows with at least a possible connection, in total order."""
        sets = self.table.sets
        for i, src in enumerate(self.workloads):
            for j in np.flatnonzero(self.may[i]):
                yield Row(src, self.workloads[j], sets[self.sure[i, j]], sets[self.may[i, j]])
            yield from sorted(
                (Row(src, net, sets[s], sets[m]) for part, s, m in self.outward[i] for net in part.networks()),
                key=lambda r: end_key(r.dst),
            )
        yield from sorted(
            (
                Row(net, dst, sets[s], sets[m])
                for dst, ranges in zip(self.workloads, self.inward, strict=True)
                for part, s, m in ranges
                for net in part.networks()
            ),
            key=lambda r: (end_key(r.src), end_key(r.dst)),
        )

    def to_frame(self) -> pd.DataFrame:
        """Columns `src`, `dst`, `connections`, `possible`, all strings, in the order of `rows`."""
        import pandas as pd  # noqa: PLC0415 - takes longer to import than most runs take

        rows = list(self.rows())
        shown = {c: str(c) for c in {r.connections for r in rows} | {r.possible for r in rows}}
        data: dict[str, Any] = {
            "src": [str(r.src) for r in rows],
            "dst": [str(r.dst) for r in rows],
            "connections": [shown[r.connections] for r in rows],
            "possible": [shown[r.possible] for r in rows],
        }
        return pd.DataFrame(data, dtype="str")


def connections(
    policies: Iterable[NetworkPolicy],
    inventory: Inventory,
    *,
    tiers: Iterable[TierPolicy] = (),
    ipblock_matches_pods: Decision = Decision.UNKNOWN,
    table: ConnectionTable | None = None,
) -> Connectivity:
    """The connectivity that policies allow.

    Args:
        policies: NetworkPolicies in force.
        inventory: workloads as live pods or as stand-ins for their templates.
        tiers: cluster-wide policies in force.
        ipblock_matches_pods: whether the CNI matches ipBlocks against pod addresses.
        table: where to number connection sets; two results that share one can be compared by number.

    """
    table = table or ConnectionTable()
    matrix = Matrix(policies, inventory, tiers=tiers, ipblock_matches_pods=ipblock_matches_pods, table=table)
    classes = matrix.classes.of
    sure, may = matrix.pairs()
    for_all = _by_workload(sure, classes, table.common_all)
    for_any = for_all if sure is may and _single(classes) else _by_workload(may, classes, table.union_all)
    for i, workload in enumerate(classes):
        if workload in matrix.classes.alone:
            for_all[i, i] = for_any[i, i] = NONE_ID
    return Connectivity(
        tuple(classes),
        table,
        for_all,
        for_any,
        tuple(_outside(matrix, Direction.EGRESS, numbers) for numbers in classes.values()),
        tuple(_outside(matrix, Direction.INGRESS, numbers) for numbers in classes.values()),
    )


def _single(classes: Mapping[Workload, tuple[int, ...]]) -> bool:
    return all(len(numbers) == 1 for numbers in classes.values())


def _by_workload(pairs: Ids, classes: Mapping[Workload, tuple[int, ...]], combine: Any) -> Ids:
    """From classes to workloads: `combine` over all pairs of their classes."""
    first = [numbers[0] for numbers in classes.values()]
    several = [(i, numbers) for i, numbers in enumerate(classes.values()) if len(numbers) > 1]
    rows = pairs[first, :] if first else np.zeros((0, pairs.shape[1]), dtype=np.int32)
    for i, numbers in several:
        rows[i] = reduce(combine, (pairs[n] for n in numbers))
    out = rows[:, first] if first else np.zeros((0, 0), dtype=np.int32)
    for i, numbers in several:
        out[:, i] = reduce(combine, (rows[:, n] for n in numbers))
    return out


def _outside(matrix: Matrix, direction: Direction, numbers: tuple[int, ...]) -> Ranges:
    ranges = [matrix.ranges(direction, n) for n in numbers]
    if all(r is ranges[0] for r in ranges):
        return ranges[0]
    table = matrix.table
    parts = _whole(ranges[0])
    for other in ranges[1:]:
        both: dict[tuple[int, int], AddressSet] = {}
        for a, s1, m1 in parts:
            for b, s2, m2 in _whole(other):
                if common := a & b:
                    ids = (table.common(s1, s2), table.union(m1, m2))
                    both[ids] = both.get(ids, AddressSet()) | common
        parts = tuple((part, s, m) for (s, m), part in both.items())
    return tuple(r for r in parts if r[2] != NONE_ID)


def _whole(ranges: Ranges) -> Ranges:
    """The same with the part of the address space where nothing passes."""
    rest = AddressSet.everything()
    for part, _, _ in ranges:
        rest -= part
    return (*ranges, (rest, NONE_ID, NONE_ID)) if rest else ranges
