"""From the traffic a Kubernetes cluster really carries to network policies that people dare to enforce.

The public API is what `__all__` names; docs/api.md describes it. Nothing heavy is imported before it is used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netpol_gen import plots
    from netpol_gen.api import (
        coverage,
        edges,
        find_edges,
        generate,
        lint,
        ports,
        read_flows,
        read_inventory,
        read_policies,
        summary,
        to_yaml,
    )
    from netpol_gen.config import Config
    from netpol_gen.inventory import Inventory
    from netpol_gen.judged import diff, evaluate, measure_coverage, report, verify
    from netpol_gen.propose import Environment, Reviewed, propose, read_files, read_tree, review

__version__ = "0.1.0"

__all__ = [
    "Config",
    "Environment",
    "Inventory",
    "Reviewed",
    "coverage",
    "diff",
    "edges",
    "evaluate",
    "find_edges",
    "generate",
    "lint",
    "measure_coverage",
    "plots",
    "ports",
    "propose",
    "read_files",
    "read_flows",
    "read_inventory",
    "read_policies",
    "read_tree",
    "report",
    "review",
    "summary",
    "to_yaml",
    "verify",
]

_HOME = {
    "Config": "netpol_gen.config",
    "Environment": "netpol_gen.propose",
    "Inventory": "netpol_gen.inventory",
    "Reviewed": "netpol_gen.propose",
    "diff": "netpol_gen.judged",
    "evaluate": "netpol_gen.judged",
    "measure_coverage": "netpol_gen.judged",
    "propose": "netpol_gen.propose",
    "read_files": "netpol_gen.propose",
    "read_tree": "netpol_gen.propose",
    "report": "netpol_gen.judged",
    "review": "netpol_gen.propose",
    "verify": "netpol_gen.judged",
}
_MODULES = frozenset({"plots"})


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562): `import netpol_gen` loads neither pandas nor Arrow."""
    if name not in __all__:
        raise AttributeError(f"module 'netpol_gen' has no attribute {name!r}")
    if name in _MODULES:
        return import_module(f"netpol_gen.{name}")
    value = getattr(import_module(_HOME.get(name, "netpol_gen.api")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """What there is to use."""
    return sorted(__all__)


class _Package(ModuleType):
    """This package. Some public functions have the name of the module behind them; the function keeps the name."""

    def __setattr__(self, name: str, value: object) -> None:
        """Importing `netpol_gen.edges` for the first time would otherwise put the module in the place of `edges`."""
        if not (isinstance(value, ModuleType) and name in __all__ and name not in _MODULES):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
