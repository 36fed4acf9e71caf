"""Who is who: objects from dumps of the cluster, and the addresses that they held over time."""

from netpol_gen.inventory.base import NAME_LABEL, Inventory, empty, pod_key
from netpol_gen.inventory.history import NAMESPACES, TAKEN_AT
from netpol_gen.inventory.load import inventory_of, load_inventory
from netpol_gen.inventory.services import service_targets, services_selecting
from netpol_gen.inventory.targets import Target
from netpol_gen.inventory.timeline import Owner, Timeline

__all__ = [
    "NAMESPACES",
    "NAME_LABEL",
    "TAKEN_AT",
    "Inventory",
    "Owner",
    "Target",
    "Timeline",
    "empty",
    "inventory_of",
    "load_inventory",
    "pod_key",
    "service_targets",
    "services_selecting",
]
