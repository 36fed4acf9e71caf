"""From the traffic a Kubernetes cluster really carries to network policies that people dare to enforce.

The public API is what `__all__` names; see `netpol_gen.api`. Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netpol_gen.api import edges, generate, read_flows, read_inventory, read_policies, summary, to_yaml
    from netpol_gen.config import Config
    from netpol_gen.inventory import Inventory

__version__ = "0.1.0"

__all__ = [
    "Config",
    "Inventory",
    "edges",
    "generate",
    "read_flows",
    "read_inventory",
    "read_policies",
    "summary",
    "to_yaml",
]

_HOME = {"Config": "netpol_gen.config", "Inventory": "netpol_gen.inventory"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562): `import netpol_gen` loads neither pandas nor Arrow."""
    if name not in __all__:
        raise AttributeError(f"module 'netpol_gen' has no attribute {name!r}")
    value = getattr(import_module(_HOME.get(name, "netpol_gen.api")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """What there is to use."""
    return sorted(__all__)
