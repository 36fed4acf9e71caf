"""Policies of every kind that is understood, from manifests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from types import MappingProxyType
from typing import Any, BinaryIO

from netpol_gen.errors import InputError, Place, printable
from netpol_gen.manifests.objects import read_manifests
from netpol_gen.policy import NetworkPolicy, parse_policy
from netpol_gen.tiers import ANP, BANP, CNP, GROUP, TierPolicy, parse_tier_policy

Policy = NetworkPolicy | TierPolicy
Parser = Callable[[Mapping[str, Any], Place, str], Policy]
"""`(manifest, place, default_namespace) -> value`; raises `InputError` for what the API server would reject."""


def _cluster_wide(data: Mapping[str, Any], place: Place, _default_namespace: str) -> TierPolicy:
    return parse_tier_policy(data, place)


NETWORK_POLICY = ("networking.k8s.io", "NetworkPolicy")

PARSERS: Mapping[tuple[str, str], Parser] = MappingProxyType(
    {
        NETWORK_POLICY: parse_policy,
        (GROUP, ANP): _cluster_wide,
        (GROUP, BANP): _cluster_wide,
        (GROUP, CNP): _cluster_wide,
    }
)
"""By API group and kind."""


@dataclass(frozen=True, slots=True)
class PolicySet:
    """Policies in the order of their names. `other` counts what is no policy of a known kind, by `Kind.group`."""

    policies: tuple[NetworkPolicy, ...] = ()
    tiers: tuple[TierPolicy, ...] = ()
    """Cluster-wide policies."""
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
    policies: dict[str, NetworkPolicy] = {}
    tiers: dict[str, TierPolicy] = {}
    other: dict[str, int] = {}
    for manifest in read_manifests(paths, stdin=stdin):
        parser = PARSERS.get((manifest.group, manifest.kind))
        if parser is not None:
            value = parser(manifest.data, manifest.place, default_namespace)
            held: Policy
            if isinstance(value, NetworkPolicy):
                held = policies.setdefault(value.ref, value)
            else:
                held = tiers.setdefault(value.ref, value)
            if held != value:
                problem = f"a different {manifest.kind} {printable(value.ref)} was given before, at {held.place}"
                raise InputError(problem, manifest.place)
        elif not manifest.empty_list:
            other[manifest.full_kind] = other.get(manifest.full_kind, 0) + 1
    return PolicySet(
        tuple(policies[ref] for ref in sorted(policies)),
        tuple(tiers[ref] for ref in sorted(tiers)),
        MappingProxyType({kind: other[kind] for kind in sorted(other)}),
    )
