"""The live cluster as an `Inventory`, alone or together with dumps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from os import PathLike

from netpol_gen.cluster.snapshot import Snapshot
from netpol_gen.inventory import Inventory, inventory_of
from netpol_gen.manifests import read_manifests
from netpol_gen.sets import Network

SOURCE = "live cluster"
"""Stands for the file's name in messages about objects."""


def live_inventory(
    taken: Snapshot,
    paths: Sequence[str | PathLike[str]] = (),
    *,
    pod_cidrs: Iterable[Network] = (),
    service_cidrs: Iterable[Network] = (),
) -> Inventory:
    """What a snapshot and the dumps under `paths` show together: a history, if the dumps are dated.

    Raises:
        InputError: an object that cannot be used, of the cluster or of a file.

    """
    manifests = chain(read_manifests(paths) if paths else (), taken.manifests(SOURCE))
    return inventory_of(manifests, pod_cidrs=pod_cidrs, service_cidrs=service_cidrs)
