"""What changed between two port inventories. Counts and times always do, so they are not compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from netpol_gen.ports.model import PortInventory, PortRow, joined


class ChangeKind(StrEnum):
    """What became of a port."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True, order=True)
class PortChange:
    """One field of one port; `field`, `before` and `after` are empty for ports that came or went."""

    workload: str
    protocol: str
    port: int
    kind: ChangeKind
    field: str = ""
    before: str = ""
    after: str = ""


FIELDS = ("port_names", "declared", "services", "seen", "clients", "allowed", "allowed_by", "marks")
"""What is compared, under the names that JSON and the frame use."""

Facts = Mapping[str, str]
Key = tuple[str, str, int]


def facts(row: PortRow) -> dict[str, str]:
    """The compared fields as text."""
    return {
        "port_names": joined(row.names) or "",
        "declared": str(row.declared),
        "services": joined(row.services) or "",
        "seen": str(row.seen),
        "clients": joined(c.name for c in row.clients) or "",
        "allowed": str(row.allowed),
        "allowed_by": joined(row.allowed_by) or "",
        "marks": joined(row.marks) or "",
    }


def snapshot(inventory: PortInventory) -> dict[Key, Facts]:
    """What a later inventory is compared with; an old JSON document is read into the same form."""
    return {(str(r.workload), str(r.protocol), r.number): facts(r) for r in inventory.rows}


def changes(old: Mapping[Key, Facts], new: Mapping[Key, Facts]) -> tuple[PortChange, ...]:
    """From `old` to `new`, sorted."""
    return tuple(sorted(_changes(old, new)))


def _changes(old: Mapping[Key, Facts], new: Mapping[Key, Facts]) -> Iterable[PortChange]:
    for key in old.keys() - new.keys():
        yield PortChange(*key, ChangeKind.REMOVED)
    for key in new.keys() - old.keys():
        yield PortChange(*key, ChangeKind.ADDED)
    for key in old.keys() & new.keys():
        for name in FIELDS:
            if old[key][name] != new[key][name]:
                yield PortChange(*key, ChangeKind.CHANGED, name, old[key][name], new[key][name])
