"""Policies of every kind that is understood, from manifests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from types import MappingProxyType
from typing import Any, BinaryIO

from netpol_gen.errors import InputError, Place, printable
from netpol_gen.manifests.objects import Manifest, read_manifests
from netpol_gen.policy import NetworkPolicy, parse_policy

Parser = Callable[[Mapping[str, Any], Place, str], Any]
"""`(manifest, place, default_namespace) -> value`; raises `InputError` for what the API server would reject."""

NETWORK_POLICY = ("networking.k8s.io", "NetworkPolicy")

PARSERS: Mapping[tuple[str, str], Parser] = MappingProxyType(
    {
        NETWORK_POLICY: parse_policy,
    }
)
"""By API group and kind. What a parser makes ends in `PolicySet.policies` if it is a NetworkPolicy, else in `tiers`."""


@dataclass(frozen=True, slots=True)
class PolicySet:
    """Policies in the order of their names. `other` counts what is no policy of a known kind, by `Kind.group`."""

    policies: tuple[NetworkPolicy, ...] = ()
    tiers: tuple[Any, ...] = ()
    """Policies of the other kinds in `PARSERS`, by kind, namespace and name."""
    other: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))


def read_policies(
    paths: Sequence[str | PathLike[str]], *, stdin: BinaryIO | None = None, default_namespace: str = "default"
) -> PolicySet:
    """Policies of all files; see `read_manifests` for what a path may be.

    The same policy given twice counts once.

    Raises:
        InputError: a broken file, an invalid policy, or two different policies of one name, of which a cluster would
            hold only one.

    """
    policies: dict[tuple[str, str], NetworkPolicy] = {}
    tiers: dict[tuple[str, str, str], tuple[Any, dict[str, Any]]] = {}
    other: dict[str, int] = {}
    for manifest in read_manifests(paths, stdin=stdin):
        parser = PARSERS.get((manifest.group, manifest.kind))
        if parser is None:
            if not manifest.empty_list:
                other[manifest.full_kind] = other.get(manifest.full_kind, 0) + 1
            continue
        value = parser(manifest.data, manifest.place, default_namespace)
        if isinstance(value, NetworkPolicy):
            held = policies.setdefault((value.namespace, value.name), value)
            if held != value:
                raise _twice(manifest, value.ref, held.place)
        else:
            metadata = manifest.data.get("metadata") or {}
            namespace, name = (str(metadata.get(key) or "") for key in ("namespace", "name"))
            first, data = tiers.setdefault((manifest.full_kind, namespace, name), (value, manifest.data))
            if first is not value and data != manifest.data:
                raise _twice(manifest, name, None)
    return PolicySet(
        tuple(policies[key] for key in sorted(policies)),
        tuple(tiers[key][0] for key in sorted(tiers)),
        MappingProxyType({kind: other[kind] for kind in sorted(other)}),
    )


def _twice(manifest: Manifest, name: str, first: Place | None) -> InputError:
    where = f", first at {first}" if first is not None else ""
    return InputError(f"a different {manifest.kind} {printable(name)} was given before{where}", manifest.place)
