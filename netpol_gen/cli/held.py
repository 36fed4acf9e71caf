"""What the cluster held, for every command that asks: dumps, the live cluster, or both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from netpol_gen.cli.output import say
from netpol_gen.config import Config
from netpol_gen.errors import OptionError, RemoteError

if TYPE_CHECKING:
    from netpol_gen.cluster import Snapshot
    from netpol_gen.inventory import Inventory
    from netpol_gen.policy import NetworkPolicy

LIVE = "live"
"""Stands for the policies in force in the live cluster, in `--existing`."""


@dataclass(frozen=True, slots=True)
class Where:
    """`--live`, `--context` and `--kubeconfig`."""

    live: bool = False
    context: str | None = None
    kubeconfig: str | None = None

    def take(self) -> Snapshot:
        """The live cluster, read once; what could not be read is said on stderr."""
        from netpol_gen import cluster

        api = cluster.Api(cluster.Access(self.kubeconfig, self.context))
        try:
            taken = cluster.take_snapshot(api)
        finally:
            api.close()
        for missed in taken.not_read:
            say(f"live: not read: {missed}")
        return taken


@dataclass(frozen=True, slots=True)
class Held:
    """An inventory, and the policies that `--existing` asked for (`None`: the inventory's own)."""

    inventory: Inventory
    existing: tuple[NetworkPolicy, ...] | None = None


def read_held(paths: Sequence[str], config: Config, where: Where, *, otherwise: Sequence[str] = ()) -> Inventory:
    """The inventory; `otherwise` are the paths to take where neither `-i` nor `--live` is given.

    Raises:
        InputError, OptionError, RemoteError: what cannot be read or asked.

    """
    return read_with_existing(paths or ([] if where.live else otherwise), config, where, ()).inventory


def read_with_existing(paths: Sequence[str], config: Config, where: Where, existing: Sequence[str]) -> Held:
    """The inventory and the policies in force; `live` among `existing` are those of the live cluster."""
    from netpol_gen import api

    from_cluster = where.live or LIVE in existing
    if not from_cluster and (where.context or where.kubeconfig):
        raise OptionError("--context and --kubeconfig say which cluster --live reads: add --live")
    files = [path for path in existing if path != LIVE]
    ranges = {"pod_cidrs": config.pod_cidrs, "service_cidrs": config.service_cidrs}
    if not from_cluster:
        given = tuple(api.read_policies(files).policies) if files else None
        return Held(api.read_inventory(paths, **ranges), given)
    from netpol_gen.cluster import live_inventory

    taken = where.take()
    held = live_inventory(taken, paths if where.live else (), **ranges)
    in_force = held.policies
    if not where.live:
        held = api.read_inventory(paths, **ranges)
    if LIVE in existing and (missed := [n for n in taken.not_read if n.kind == "networkpolicies.networking.k8s.io"]):
        raise RemoteError(f"--existing live: {missed[0]}")
    if not existing:
        return Held(held)
    known = {p.ref: p for p in (*in_force, *(api.read_policies(files).policies if files else ()))}
    return Held(held, tuple(known[ref] for ref in sorted(known)))


def with_cni(config: Config, held: Inventory, *, given: bool, quiet: bool = False) -> Config:
    """The settings for the CNI that the inventory shows, unless one was named; says which on stderr."""
    from netpol_gen.profiles import PROFILES, detect, unenforced

    if given:
        return config
    found = detect(held)
    if len(found) == 1:
        if not quiet:
            say(f"CNI: {PROFILES[found[0].cni].name}, told from {found[0].why} (--cni overrides)")
        return replace(config, cni=found[0].cni)
    if found:
        shown = "; ".join(f"{PROFILES[d.cni].name} ({d.why})" for d in found)
        say(f"CNI: not told, there are signs of several: {shown}; name one with --cni")
    elif name := unenforced(held):
        say(f"CNI: {name} enforces no NetworkPolicy by itself; name what does with --cni")
    return config
