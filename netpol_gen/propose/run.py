"""The proposal: for each environment a plan, what it changes in the repository, and what that means."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from netpol_gen import api
from netpol_gen.config import Config, Mode
from netpol_gen.coverage import Coverage, Line
from netpol_gen.diff import Difference, compare
from netpol_gen.errors import InputError, InvariantError, OptionError, Place, printable
from netpol_gen.flowtable import Flows
from netpol_gen.inventory import Inventory
from netpol_gen.model import Edge
from netpol_gen.owners import owners_of, read_codeowners
from netpol_gen.pipeline import plan_of
from netpol_gen.plan import Plan
from netpol_gen.policy import NetworkPolicy
from netpol_gen.proposal import EnvironmentProposal, PolicyChange, Proposal
from netpol_gen.propose.decide import Decided, after, decide, drop, same_meaning, selected, without_effect
from netpol_gen.propose.names import as_others, names_of
from netpol_gen.propose.tree import ManifestTree, below, read_tree, tiers_in_force, unjudged
from netpol_gen.propose.write import LAYOUT, Written, check_layout, write
from netpol_gen.verify import replay

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Environment:
    """A cluster, or a part of one, and the folder of the repository that describes it.

    `path` is that folder, empty for the whole repository. New policies go where ours of their namespace are, else
    where `layout` says. `rendered` is the environment's rendered output, if the repository does not hold it as it is:
    nothing can be edited then. `adopt` lets policies be edited that netpol-gen did not write.
    """

    name: str
    path: str
    flows: Flows | pd.DataFrame
    inventory: Inventory
    config: Config = field(default_factory=lambda: Config(mode=Mode.TIGHTEN))
    layout: str = LAYOUT
    default_namespace: str = "default"
    adopt: bool = False
    templates: Path | None = None
    rendered: ManifestTree | None = None


def propose(
    environments: Sequence[Environment],
    files: Mapping[str, bytes],
    *,
    target: str = "",
    base: str = "",
    everything: Iterable[str] = (),
) -> Proposal:
    """What to change in a repository so that its policies are what the evidence calls for.

    Args:
        environments: what was observed, and which folder describes it.
        files: content by path of the commit that the proposal is made from: all manifests below the environments'
            paths, and the CODEOWNERS file.
        target: the branch that the proposal is for.
        base: the commit's name.
        everything: the paths of all files of the commit, so that no new file takes the place of another.

    Returns:
        The changes with their meaning, and the new content of every touched file. Whether anything would break is for
        the caller to look at (`Proposal.broken`).

    Raises:
        InputError: manifests that cannot be read or edited.
        OptionError: environments that overlap, a layout that is none.

    """
    _apart(environments)
    paths = {*files, *everything}
    done: list[EnvironmentProposal] = []
    trees: list[ManifestTree] = []
    changed: dict[str, bytes | None] = {}
    for environment in environments:
        tree = environment.rendered or read_tree(files, environment.path, environment.default_namespace)
        trees.append(tree)
        found, written = _environment(environment, tree, files, paths)
        done.append(found)
        if clash := sorted(set(written.files) & set(changed)):
            raise InputError("two environments change this file: give them folders of their own", Place(clash[0]))
        changed.update(written.files)
        paths |= set(written.files)
    _unshared(environments, trees, changed)
    rules = read_codeowners(files)
    owners = {path: names for path in sorted(changed) if (names := owners_of(rules, path))}
    return Proposal(target, base, tuple(done), {path: changed[path] for path in sorted(changed)}, owners)


def _apart(environments: Sequence[Environment]) -> None:
    names = [e.name for e in environments]
    for name in names:
        if names.count(name) > 1:
            raise OptionError(f"environment {printable(name)} is there twice")
    for environment in environments:
        check_layout(environment.layout)


def _unshared(environments: Sequence[Environment], trees: Sequence[ManifestTree], changed: Iterable[str]) -> None:
    """A file that one environment changes is no other's: that one was judged with the file as it was."""
    for path in changed:
        readers = zip(environments, trees, strict=True)
        if sum(path in tree.files or (below(e.path, path) and not e.rendered) for e, tree in readers) > 1:
            text = "two environments have this file, and it would change: give them folders of their own"
            raise InputError(text, Place(path))


def _environment(
    environment: Environment, tree: ManifestTree, files: Mapping[str, bytes], everything: Iterable[str]
) -> tuple[EnvironmentProposal, Written]:
    existing, notes = in_force(tree, environment.inventory)
    adopt = environment.adopt
    known = replace(environment.inventory, tiers=tiers_in_force(tree, (), environment.inventory))
    edges = api.find_edges(environment.flows, known, environment.config)
    names = names_of(tree.policies.values(), edges.inventory, environment.config, adopt=adopt)
    config = replace(environment.config, names=names)
    plan = plan_of(edges, config, as_others(existing, tree.policies, edges.inventory, names))
    decided = decide(plan, tree, adopt=adopt)
    difference = _difference(plan, existing, decided, config)
    if idle := without_effect(decided, difference, plan.edges.inventory, config.mode):
        decided = drop(decided, idle)
        difference = _difference(plan, existing, decided, config)
    coverage = api.measure_coverage(plan.edges, config)
    changes = tuple(_with_coverage(change, plan, coverage) for change in decided.changes)
    written = _written(changes, tree, files, everything, environment)
    return (
        EnvironmentProposal(
            environment.name,
            environment.path,
            config.mode,
            written.changes,
            decided.left_alone,
            decided.unchanged,
            difference,
            _denied_before(plan, existing, decided, difference, config),
            plan.edges.accepted,
            coverage,
            plan.gaps,
            plan.diagnostics,
            (*plan.edges.notes, *tree.notes, *notes, *_unjudged(tree)),
            existing,
        ),
        written,
    )


def _written(
    changes: tuple[PolicyChange, ...],
    tree: ManifestTree,
    files: Mapping[str, bytes],
    everything: Iterable[str],
    environment: Environment,
) -> Written:
    if environment.rendered is not None:
        # There is no file to write to: what is proposed can only be said.
        return Written(changes, {})
    written = write(changes, tree, everything, environment.layout, environment.templates)
    if written.files:
        _read_again(written, tree, files, environment)
    return written


def _read_again(written: Written, tree: ManifestTree, files: Mapping[str, bytes], environment: Environment) -> None:
    """See that the files say what was judged: a new one may come under a kustomization that makes another policy of it.

    Raises:
        InputError: they do not.

    """
    merged = {**files, **{path: content for path, content in written.files.items() if content is not None}}
    for path in (path for path, content in written.files.items() if content is None):
        merged.pop(path, None)
    found = read_tree(merged, environment.path, environment.default_namespace).policies
    for change in written.changes:
        located = found.get(change.ref)
        if change.after is not None and (located is None or not same_meaning(located.policy, change.after)):
            text = f"kustomizations would not make {change.ref} of it: set a layout, or an environment of its own path"
            raise InputError(text, Place(change.path))
    judged = {p.ref for p in after([located.policy for located in tree.policies.values()], written.changes)}
    if differing := judged ^ set(found):
        raise InvariantError(f"the files would not hold what was judged: {sorted(differing)}")


def in_force(tree: ManifestTree, inventory: Inventory) -> tuple[tuple[NetworkPolicy, ...], tuple[str, ...]]:
    """Policies of the repository and those that only the cluster has, and what to say of where the two differ."""
    policies = {ref: located.policy for ref, located in tree.policies.items()}
    notes = []
    cluster = {p.ref: p for p in inventory.policies}
    differing = [ref for ref in sorted(policies) if ref in cluster and not same_meaning(policies[ref], cluster[ref])]
    if differing:
        shown = ", ".join(differing[:5]) + (f" and {len(differing) - 5} more" if len(differing) > 5 else "")
        notes.append(f"the cluster holds other versions of these policies than the repository: {shown}")
    only = [ref for ref in sorted(cluster) if ref not in policies]
    if only:
        shown = ", ".join(only[:5]) + (f" and {len(only) - 5} more" if len(only) > 5 else "")
        notes.append(f"in force in the cluster and not in this folder, taken as they are: {shown}")
    if cluster and (missing := [ref for ref in sorted(policies) if ref not in cluster]):
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        notes.append(f"in the repository and not in the cluster: {shown}")
    policies |= {ref: cluster[ref] for ref in only}
    return tuple(policies[ref] for ref in sorted(policies)), tuple(notes)


def _unjudged(tree: ManifestTree) -> tuple[str, ...]:
    """That there are policies beside these which nothing here evaluates."""
    kinds = Counter(key.partition(" ")[0] for key in unjudged(tree))
    shown = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    return (f"in this folder and not judged, because netpol-gen does not evaluate them: {shown}",) if kinds else ()


def _difference(plan: Plan, existing: Sequence[NetworkPolicy], decided: Decided, config: Config) -> Difference:
    known = plan.edges.inventory
    return compare(
        existing,
        after(existing, decided.changes),
        known,
        known,
        plan.edges.accepted,
        tiers_old=known.tiers,
        tiers_new=known.tiers,
        ipblock_matches_pods=config.cni.ipblock_matches_pods,
    )


def _denied_before(
    plan: Plan, existing: Sequence[NetworkPolicy], decided: Decided, difference: Difference, config: Config
) -> tuple[Edge, ...]:
    """Accepted edges that are denied with the changes, and were without them."""
    known = plan.edges.inventory
    found = replay(
        after(existing, decided.changes),
        known,
        plan.edges.accepted,
        tiers=known.tiers,
        ipblock_matches_pods=config.cni.ipblock_matches_pods,
    )
    broken = {edge for row in difference.rows for edge in row.edges}
    return tuple(row.edge for row in found.denied if row.edge not in broken)


def _with_coverage(change: PolicyChange, plan: Plan, coverage: Coverage) -> PolicyChange:
    workloads = selected(change.policy, plan.edges.inventory)
    lines: tuple[Line, ...] = tuple(
        line
        for line in coverage.lines
        if line.workload in workloads and line.direction in change.policy.policy_types and line.workload is not None
    )
    return replace(change, coverage=lines)
