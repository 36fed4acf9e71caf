"""The library twins of `verify`, `list`, `diff`, `coverage` and `report`: policies in, pandas frames and a page out.

Policies are given as paths of manifests, as what `read_policies` returned, as `NetworkPolicy` values, or as a plan
(its generated policies beside those in force).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netpol_gen import __version__
from netpol_gen.api import _config, find_edges, read_policies
from netpol_gen.config import Config
from netpol_gen.connectivity import connections
from netpol_gen.coverage import Coverage, measure
from netpol_gen.diff import compare
from netpol_gen.errors import InputError, Place
from netpol_gen.manifests import PolicySet
from netpol_gen.plan import Plan
from netpol_gen.policy import NetworkPolicy
from netpol_gen.report.html import TITLE, gather, in_force_after, render
from netpol_gen.verify import replay

if TYPE_CHECKING:
    import pandas as pd

    from netpol_gen.flowtable import Flows
    from netpol_gen.inventory import Inventory
    from netpol_gen.tiers import TierPolicy

Policies = str | os.PathLike[str] | PolicySet | Plan | Iterable[NetworkPolicy | str | os.PathLike[str]]


@dataclass(frozen=True, slots=True)
class Page:
    """The HTML report: `html` is the whole file. A notebook shows it in a frame of its own."""

    html: str

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page to a file.

        Raises:
            InputError: the file cannot be written.

        """
        try:
            Path(path).write_text(self.html, encoding="utf-8")
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", Place(os.fspath(path))) from None

    def _repr_html_(self) -> str:
        """What a notebook shows: the page, kept apart from the notebook's own document."""
        frame = 'sandbox="allow-scripts" title="Network policy report" width="100%" height="720"'
        return f'<iframe {frame} srcdoc="{escape(self.html, quote=True)}"></iframe>'


def verify(
    policies: Policies,
    flows: Flows | pd.DataFrame,
    inventory: Inventory,
    config: Config | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """Replay observed flows through policies, to see whether any accepted edge would be denied.

    Args:
        policies: the policies that would be in force.
        flows: what `read_flows` returned.
        inventory: what the cluster held.
        config: settings; fields of `Config` can also be given by name.
        **settings: fields of `Config`.

    Returns:
        One row per accepted edge, columns as `netpol_gen.verify.Replay.to_frame` has them: `decision` is `allow`,
        `deny` or `unknown`, `egress` and `ingress` say why, `missing` which fact an unknown one lacks.

    Raises:
        InputError: policies or flows that cannot be read.

    """
    config = _config(config, settings)
    rules = as_policies(policies)
    found = find_edges(flows, inventory, config)
    matching = config.cni.ipblock_matches_pods
    tiers = _tiers(rules, inventory)
    return replay(
        rules.policies, found.inventory, found.accepted, tiers=tiers, ipblock_matches_pods=matching
    ).to_frame()


def evaluate(policies: Policies, inventory: Inventory, config: Config | None = None, **settings: Any) -> pd.DataFrame:
    """Every connection that policies allow, between workloads and with address ranges outside.

    Args:
        policies: the policies in force.
        inventory: the workloads.
        config: only `cni` is used: whether an ipBlock matches pods.
        **settings: fields of `Config`.

    Returns:
        Columns `src`, `dst`, `connections` (what certainly passes, such as `TCP 8080; UDP 53` or `all`) and `possible`
        (what may pass where the CNI decides), all strings; pairs without any are left out.

    Raises:
        InputError: policies that cannot be read.

    """
    config = _config(config, settings)
    rules = as_policies(policies)
    matching = config.cni.ipblock_matches_pods
    tiers = _tiers(rules, inventory)
    return connections(rules.policies, inventory, tiers=tiers, ipblock_matches_pods=matching).to_frame()


def diff(
    old: Policies,
    new: Policies,
    inventory: Inventory,
    flows: Flows | pd.DataFrame | None = None,
    config: Config | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """What changes in meaning between two policy sets.

    Args:
        old: policies before; an empty list for none.
        new: policies after.
        inventory: the workloads.
        flows: what was observed; it splits what is newly denied into broken and closed.
        config: settings; fields of `Config` can also be given by name.
        **settings: fields of `Config`.

    Returns:
        Columns `change` (`broken`, `opened`, `closed`; without flows `added`, `removed`, `changed`), `src`, `dst`,
        `before`, `after`, `info`, all strings, certain changes only.

    Raises:
        InputError: policies or flows that cannot be read.

    """
    config = _config(config, settings)
    before, after = as_policies(old), as_policies(new)
    held, seen = inventory, None
    if flows is not None:
        found = find_edges(flows, inventory, config)
        held, seen = found.inventory, found.accepted
    return compare(
        before.policies,
        after.policies,
        held,
        held,
        seen,
        tiers_old=_tiers(before, inventory),
        tiers_new=_tiers(after, inventory),
        ipblock_matches_pods=config.cni.ipblock_matches_pods,
    ).to_frame()


def measure_coverage(
    flows: Flows | pd.DataFrame, inventory: Inventory | None = None, config: Config | None = None, **settings: Any
) -> Coverage:
    """The coverage statement as a value, for its curve, jobs and losses; `coverage` gives its lines as a frame."""
    config = _config(config, settings)
    return measure(find_edges(flows, inventory, config), config)


def report(
    plan: Plan,
    config: Config | None = None,
    *,
    title: str = TITLE,
    notes: Sequence[str] = (),
    **settings: Any,
) -> Page:
    """One self-contained HTML page about a plan: matrix, workloads, ports, findings, and what would change.

    Args:
        plan: what `generate` returned.
        config: the settings that the plan was made with; fields of `Config` can also be given by name.
        title: the page's heading.
        notes: sentences about the input, beside those that its readers have.
        **settings: fields of `Config`.

    """
    found = gather(plan, _config(config, settings), title=title, notes=notes)
    return Page(render(found, __version__))


def as_policies(given: Policies) -> PolicySet:
    """Policies in one form, whatever they were given as."""
    if isinstance(given, PolicySet):
        return given
    if isinstance(given, Plan):
        return PolicySet(in_force_after(given))
    if isinstance(given, str | os.PathLike):
        return read_policies(given)
    items = list(given)
    values = tuple(p for p in items if isinstance(p, NetworkPolicy))
    paths = [p for p in items if not isinstance(p, NetworkPolicy)]
    if not paths:
        return PolicySet(values)
    read = read_policies(paths)
    return PolicySet((*values, *read.policies), read.tiers, read.other)


def _tiers(rules: PolicySet, inventory: Inventory) -> tuple[TierPolicy, ...]:
    """Cluster-wide policies: those among the policies, else those in force."""
    return rules.tiers or inventory.tiers
