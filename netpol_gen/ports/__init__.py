"""The port inventory of a cluster: who listens on what, declared or not, used or not, allowed or not, and by whom."""

from netpol_gen.ports.changes import ChangeKind, PortChange, changes, snapshot
from netpol_gen.ports.collect import collect
from netpol_gen.ports.model import COLUMNS, Allowed, Answer, Client, Mark, PortInventory, PortRow, ServiceRef, Wide

__all__ = [
    "COLUMNS",
    "Allowed",
    "Answer",
    "ChangeKind",
    "Client",
    "Mark",
    "PortChange",
    "PortInventory",
    "PortRow",
    "ServiceRef",
    "Wide",
    "changes",
    "collect",
    "snapshot",
]
