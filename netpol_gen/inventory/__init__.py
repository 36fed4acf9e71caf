"""Who is who: objects from dumps of the cluster, and the addresses that they held over time."""

from netpol_gen.inventory.base import NAME_LABEL, Inventory, empty, pod_key

__all__ = ["NAME_LABEL", "Inventory", "empty", "pod_key"]
