"""`[[propose.environment]]` of `netpol-gen.toml`: which folder of the repository describes which cluster.

```toml
[[propose.environment]]
name = "prod-eu"
path = "clusters/prod-eu"                  # in the repository
flows = ["exports/prod-eu/*.parquet"]      # relative to this file, as inventory
inventory = ["exports/prod-eu/inventory.yaml"]
layout = "{namespace}/{policy}.yaml"       # where new policies go, below path
default-namespace = "default"
adopt = false
cni = "cilium"                             # and every other setting, for this environment alone
```
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from netpol_gen.cli import options as o
from netpol_gen.config import Config
from netpol_gen.errors import OptionError, printable

STDIN = "-"
_OWN = frozenset({"name", "path", "flows", "inventory", "layout", "default-namespace", "adopt", "source"})


@dataclass(frozen=True, slots=True)
class Given:
    """One environment as it was asked for. `path` is normalised: no dots, no slash at its ends, empty for all."""

    name: str
    path: str
    flows: tuple[str, ...]
    inventory: tuple[str, ...]
    config: Config
    layout: str = ""
    default_namespace: str = "default"
    adopt: bool = False
    source: str = "auto"
    cni_given: bool = False

    @property
    def rendered(self) -> bool:
        """Whether the policies come rendered, on standard input."""
        return self.path == STDIN


def environments(file: Path | None, config: Config, only: Sequence[str]) -> tuple[Given, ...]:
    """The environments of the file, all or those named; none if the file has none.

    Raises:
        OptionError: an unknown key or name, a value of the wrong kind.

    """
    table = o.read_file(file).get("propose", {}) if file is not None else {}
    entries = table.get("environment", []) if isinstance(table, dict) else None
    if not isinstance(entries, list) or (isinstance(table, dict) and set(table) - {"environment"}):
        raise OptionError(f"{file}: propose: only [[propose.environment]] is understood")
    assert file is not None or not entries  # noqa: S101 - entries come from the file
    folder = file.parent if file is not None else Path()
    at = f"{file}: propose.environment"
    found = tuple(_environment(entry, f"{at}[{i}]", folder, config) for i, entry in enumerate(entries))
    if unknown := sorted(set(only) - {e.name for e in found}):
        have = ", ".join(printable(e.name) for e in found) or "none"
        raise OptionError(f"--environment {printable(unknown[0])}: the file has {have}")
    return tuple(e for e in found if not only or e.name in only)


def _environment(entry: Any, at: str, folder: Path, config: Config) -> Given:
    if not isinstance(entry, dict):
        raise OptionError(f"{at}: a table is wanted")
    for key in ("name", "path"):
        if not isinstance(entry.get(key), str):
            raise OptionError(f"{at}: {key} is missing")
    values: dict[str, Any] = {}
    for key, value in entry.items():
        if key not in _OWN:
            values.update(o.setting(key, value, f"{at}: {key}"))
    adopt = entry.get("adopt", False)
    if not isinstance(adopt, bool):
        raise OptionError(f"{at}: adopt is true or false")
    return Given(
        entry["name"],
        folder_of(entry["path"], f"{at}: path"),
        _paths(entry, "flows", at, folder),
        _paths(entry, "inventory", at, folder),
        replace(config, **values),
        _text(entry, "layout", at, ""),
        _text(entry, "default-namespace", at, "default"),
        adopt,
        _text(entry, "source", at, "auto"),
        "cni" in entry,
    )


def _paths(entry: Mapping[str, Any], key: str, at: str, folder: Path) -> tuple[str, ...]:
    value = entry.get(key, [])
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(i, str) for i in items):
        raise OptionError(f"{at}: {key}: a text or a list of texts is wanted")
    # An address is the same from everywhere, and a path that is joined to another loses one of its slashes.
    return tuple(item if "://" in item else str(folder / item) for item in items)


def _text(entry: Mapping[str, Any], key: str, at: str, default: str) -> str:
    value = entry.get(key, default)
    if not isinstance(value, str):
        raise OptionError(f"{at}: {key} is a text")
    return value


def folder_of(path: str, option: str) -> str:
    """A folder of the repository in its plain form; empty for the whole of it, `-` for standard input.

    Raises:
        OptionError: it leads out of the repository.

    """
    if path == STDIN:
        return path
    plain = posixpath.normpath(path.strip() or ".")
    if plain.startswith(("/", "..")) or "\\" in plain or "\0" in plain:
        raise OptionError(f"{option}: {printable(path)} is no folder of the repository")
    return "" if plain == "." else plain
