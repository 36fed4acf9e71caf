"""What two sets of policies allow differently, by meaning: rows of connections, never lines of YAML.

Sets that mean the same have an empty difference, however they are written. With observed edges, what is newly denied
splits into *broken* (somebody was seen using it) and *closed* (nobody was).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from netpol_gen.connectivity import Connectivity, End, connections, end_key
from netpol_gen.evaluate import Judge
from netpol_gen.evaluate.matrix import Ranges
from netpol_gen.evaluate.table import NONE_ID, ConnectionTable
from netpol_gen.model import Decision, Edge, Evidence, External, ExternalKind, Party, Workload, party_key
from netpol_gen.policy import NetworkPolicy
from netpol_gen.sets import AddressSet, ConnectionSet, PortSet
from netpol_gen.tiers import TierPolicy

if TYPE_CHECKING:
    import pandas as pd

    from netpol_gen.inventory import Inventory


class Change(StrEnum):
    """Without observed edges the first three, with them the last three."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    BROKEN = "broken"
    OPENED = "opened"
    CLOSED = "closed"


_ORDER = {Change.BROKEN: 0, Change.OPENED: 1, Change.CLOSED: 2}


@dataclass(frozen=True, slots=True)
class DiffRow:
    """`src` could open `before` on `dst` and now can open `after`, for certain.

    `edges` are the observed edges that a broken row denies. `perhaps_before` and `perhaps_after` are what was and is
    possible where the CNI or the pod decides.
    """

    change: Change
    src: End | External
    dst: End | External
    before: ConnectionSet
    after: ConnectionSet
    perhaps_before: ConnectionSet
    perhaps_after: ConnectionSet
    edges: tuple[Edge, ...] = ()

    @property
    def certain(self) -> bool:
        """Whether the change is one of what certainly passes, not only of what may pass."""
        return self.before != self.after

    @property
    def key(self) -> tuple[Any, ...]:
        """Total order: broken, opened, closed; then as in `list`."""
        return (_ORDER.get(self.change, 0), _key(self.src), _key(self.dst))


def _key(end: End | External) -> tuple[Any, ...]:
    if isinstance(end, External):
        return (9, *map(str, party_key(end)))
    return end_key(end)


@dataclass(frozen=True, slots=True)
class Difference:
    """What changed. `rows` are certain changes, `doubtful` those only of what may pass, both in total order.

    `new` and `gone` are workloads that exist in one of the two inventories only; their rows are among the others.
    `unsure` are observed edges that the old set allowed and of which the new set leaves open whether it does.
    """

    rows: tuple[DiffRow, ...]
    doubtful: tuple[DiffRow, ...] = ()
    new: tuple[Workload, ...] = ()
    gone: tuple[Workload, ...] = ()
    unsure: tuple[Edge, ...] = ()
    observed: bool = False

    @property
    def same(self) -> bool:
        """Whether both sets mean the same."""
        return not (self.rows or self.doubtful or self.new or self.gone)

    def count(self, change: Change) -> int:
        """How many rows of one kind."""
        return sum(row.change is change for row in self.rows)

    def info(self, row: DiffRow) -> str:
        """Which ends of a row are new or gone, as a note; empty if both exist on both sides."""
        notes = [
            f"{end} is {word}"
            for end in dict.fromkeys((row.src, row.dst))
            for word, those in (("new", self.new), ("gone", self.gone))
            if end in those
        ]
        return "; ".join(notes)

    def to_frame(self) -> pd.DataFrame:
        """Columns `change`, `src`, `dst`, `before`, `after`, `info`, all strings, one line per row of `rows`."""
        import pandas as pd  # noqa: PLC0415 - takes longer to import than most runs take

        columns = ["change", "src", "dst", "before", "after", "info"]
        data = [[str(r.change), str(r.src), str(r.dst), str(r.before), str(r.after), self.info(r)] for r in self.rows]
        return pd.DataFrame(data, columns=columns, dtype="str")


@dataclass(frozen=True, slots=True)
class _Cell:
    """A pair of ends with what passes: certain and possible, before and after."""

    src: End | External
    dst: End | External
    before: ConnectionSet
    after: ConnectionSet
    perhaps_before: ConnectionSet
    perhaps_after: ConnectionSet

    def row(self, change: Change, edges: tuple[Edge, ...] = ()) -> DiffRow:
        return DiffRow(
            change, self.src, self.dst, self.before, self.after, self.perhaps_before, self.perhaps_after, edges
        )


def compare(  # noqa: PLR0913 - two of everything, and what was seen
    old: Iterable[NetworkPolicy],
    new: Iterable[NetworkPolicy],
    inventory_old: Inventory,
    inventory_new: Inventory,
    edges: Mapping[Edge, Evidence] | None = None,
    *,
    tiers_old: Iterable[TierPolicy] = (),
    tiers_new: Iterable[TierPolicy] = (),
    ipblock_matches_pods: Decision = Decision.UNKNOWN,
) -> Difference:
    """The difference in meaning between two policy sets.

    Args:
        old: policies before.
        new: policies after.
        inventory_old: workloads before.
        inventory_new: workloads after; often the same.
        edges: observed edges; they split what is newly denied into broken and closed.
        tiers_old: cluster-wide policies before.
        tiers_new: cluster-wide policies after.
        ipblock_matches_pods: whether the CNI matches ipBlocks against pod addresses.

    """
    old, new, tiers_old, tiers_new = tuple(old), tuple(new), tuple(tiers_old), tuple(tiers_new)
    table = ConnectionTable()
    how = {"ipblock_matches_pods": ipblock_matches_pods}
    before = connections(old, inventory_old, tiers=tiers_old, table=table, **how)
    after = connections(new, inventory_new, tiers=tiers_new, table=table, **how)
    cells = _cells(before, after)
    broken: list[DiffRow] = []
    unsure: tuple[Edge, ...] = ()
    if edges is None:
        changes = [row for cell in cells for row in _plain(cell)]
    else:
        was, now = Judge(old, inventory_old, tiers=tiers_old, **how), Judge(new, inventory_new, tiers=tiers_new, **how)
        judged = [(edge, was.edge(edge), now.edge(edge)) for edge in sorted(edges)]
        denied = [edge for edge, then, today in judged if today.denied and not then.denied]
        unsure = tuple(edge for edge, then, today in judged if then.allowed and not (today.allowed or today.denied))
        broken = list(_broken(denied, before, after))
        lost: dict[tuple[object, object], ConnectionSet] = {(row.src, row.dst): _used(row.edges) for row in broken}
        changes = [row for cell in cells for row in _split(cell, lost)]
    return Difference(
        tuple(sorted([*broken, *(r for r in changes if r.certain)], key=lambda r: r.key)),
        tuple(sorted((r for r in changes if not r.certain), key=lambda r: r.key)),
        tuple(w for w in after.workloads if w not in before.index),
        tuple(w for w in before.workloads if w not in after.index),
        unsure,
        observed=edges is not None,
    )


# --- cells ------------------------------------------------------------------------------------------------------------


def _cells(before: Connectivity, after: Connectivity) -> Iterator[_Cell]:
    """Pairs of ends between which something differs."""
    workloads = sorted({*before.workloads, *after.workloads})
    matrices = [_aligned(c, workloads) for c in (before, after)]
    (sure_a, may_a), (sure_b, may_b) = matrices
    sets = before.table.sets
    for i, j in np.argwhere((sure_a != sure_b) | (may_a != may_b)):
        quartet = (sets[m[i, j]] for m in (sure_a, sure_b, may_a, may_b))
        yield _Cell(workloads[i], workloads[j], *quartet)
    for workload in workloads:
        for outward in (True, False):
            ranges = [_ranges(c, workload, outward=outward) for c in (before, after)]
            if ranges[0] == ranges[1]:
                continue
            for part, ids in _common(ranges[0], ranges[1]):
                for net in part.networks():
                    ends = (workload, net) if outward else (net, workload)
                    yield _Cell(*ends, *(sets[n] for n in ids))


def _aligned(connectivity: Connectivity, workloads: list[Workload]) -> tuple[Any, Any]:
    """Matrices over all workloads of both sides; a workload that is not there connects to nothing."""
    if list(connectivity.workloads) == workloads:
        return connectivity.sure, connectivity.may
    at = np.array([connectivity.index.get(w, -1) for w in workloads])
    known = np.flatnonzero(at >= 0)
    out = []
    for matrix in (connectivity.sure, connectivity.may):
        whole = np.full((len(workloads), len(workloads)), NONE_ID, dtype=np.int32)
        whole[np.ix_(known, known)] = matrix[np.ix_(at[known], at[known])]
        out.append(whole)
    return out[0], out[1]


def _ranges(connectivity: Connectivity, workload: Workload, *, outward: bool) -> Ranges:
    at = connectivity.index.get(workload)
    if at is None:
        return ()
    return (connectivity.outward if outward else connectivity.inward)[at]


def _common(a: Ranges, b: Ranges) -> list[tuple[AddressSet, tuple[int, int, int, int]]]:
    """Stretches where the two differ, with `(sure before, sure after, may before, may after)`."""
    out: dict[tuple[int, int, int, int], AddressSet] = {}

    def add(part: AddressSet, ids: tuple[int, int, int, int]) -> None:
        if part and (ids[0], ids[2]) != (ids[1], ids[3]):
            out[ids] = out.get(ids, AddressSet()) | part

    rest_b = {i: part for i, (part, _, _) in enumerate(b)}
    for part, sure, may in a:
        left = part
        for i, (other, sure_b, may_b) in enumerate(b):
            common = left & other
            if common:
                add(common, (sure, sure_b, may, may_b))
                left -= common
                rest_b[i] -= common
        add(left, (sure, NONE_ID, may, NONE_ID))
    for i, (_, sure_b, may_b) in enumerate(b):
        add(rest_b[i], (NONE_ID, sure_b, NONE_ID, may_b))
    return [(part, ids) for ids, part in out.items()]


# --- rows -------------------------------------------------------------------------------------------------------------


def _sides(cell: _Cell) -> tuple[ConnectionSet, ConnectionSet]:
    """What the row is about: what certainly passes, or where that is the same, what may pass."""
    if cell.before != cell.after:
        return cell.before, cell.after
    return cell.perhaps_before, cell.perhaps_after


def _plain(cell: _Cell) -> Iterator[DiffRow]:
    before, after = _sides(cell)
    if not before:
        yield cell.row(Change.ADDED)
    else:
        yield cell.row(Change.CHANGED if after else Change.REMOVED)


def _split(cell: _Cell, broken: Mapping[tuple[object, object], ConnectionSet]) -> Iterator[DiffRow]:
    """Opened and closed, apart from what a broken row already says."""
    before, after = _sides(cell)
    if after - before:
        yield cell.row(Change.OPENED)
    if before - after - broken.get((cell.src, cell.dst), ConnectionSet.NONE):
        yield cell.row(Change.CLOSED)


def _used(edges: Iterable[Edge]) -> ConnectionSet:
    out = ConnectionSet.NONE
    for edge in edges:
        out |= ConnectionSet.of(edge.protocol, PortSet.of(edge.port))
    return out


def _broken(denied: Iterable[Edge], before: Connectivity, after: Connectivity) -> Iterator[DiffRow]:
    """Newly denied edges, gathered by their ends."""
    together: dict[tuple[Party, Party], list[Edge]] = {}
    for edge in denied:
        together.setdefault((edge.src, edge.dst), []).append(edge)
    for (src, dst), edges in together.items():
        was, now = _passes(before, src, dst), _passes(after, src, dst)
        if was is None or now is None:
            # No row of the connectivity speaks of such an end: say what was used.
            was, now = (_used(edges),) * 2, (ConnectionSet.NONE,) * 2
        cell = _Cell(_end(src), _end(dst), was[0], now[0], was[1], now[1])
        yield cell.row(Change.BROKEN, tuple(edges))


def _end(party: Party) -> End | External:
    """An outside address is shown as its CIDR, everything else by its name."""
    if isinstance(party, External) and party.kind is ExternalKind.WORLD and party.address:
        return ipaddress.ip_network(party.address)
    return party


def _passes(connectivity: Connectivity, src: Party, dst: Party) -> tuple[ConnectionSet, ConnectionSet] | None:
    """What passes between two ends, or None where no row speaks of them."""
    sets = connectivity.table.sets
    if isinstance(src, Workload) and isinstance(dst, Workload):
        return connectivity.between(src, dst)
    workload, other = (src, dst) if isinstance(src, Workload) else (dst, src)
    if not isinstance(workload, Workload) or not isinstance(other, External) or not other.address:
        return None
    address = ipaddress.ip_address(other.address)
    for part, sure, may in _ranges(connectivity, workload, outward=workload is src):
        if address in part:
            return sets[sure], sets[may]
    return ConnectionSet.NONE, ConnectionSet.NONE
