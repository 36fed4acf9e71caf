"""Which policy of the repository already speaks for which workload: it is edited instead of joined by another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from netpol_gen.config import Config, Mode
from netpol_gen.inventory import Inventory
from netpol_gen.model import Workload
from netpol_gen.policy import NetworkPolicy
from netpol_gen.propose.tree import Located
from netpol_gen.synthesize.baseline import MANAGED_BY
from netpol_gen.synthesize.names import DEFAULT_DENY, is_namespace


def names_of(policies: Iterable[Located], inventory: Inventory, config: Config, *, adopt: bool) -> Mapping[str, str]:
    """Policy names by workload (`namespace/Kind/name`), those of `config` included.

    A policy speaks for a workload if it selects all of its pods and no others, and is the only one that does. Without
    `adopt` only our own count.
    """
    out = dict(config.names)
    if config.mode is Mode.MISSING_ONLY:
        # What is missing is written beside what is there.
        return out
    pods = _pods(inventory)
    speaking: dict[Workload, list[Located]] = defaultdict(list)
    for located in policies:
        if located.fixed or not (located.managed or adopt):
            continue
        if (workload := _spoken_for(located, pods[located.policy.namespace])) is not None:
            speaking[workload].append(located)
    taken = set(out.values())
    for workload, found in sorted(speaking.items()):
        own = [f for f in found if f.managed] or found
        key, name = f"{workload.namespace}/{workload.kind}/{workload.name}", own[0].policy.name
        usable = len(own) == 1 and is_namespace(name) and name not in (DEFAULT_DENY, "kustomization")
        if usable and key not in out and name not in taken:
            out[key] = name
    return out


def as_others(
    existing: Iterable[NetworkPolicy], policies: Mapping[str, Located], inventory: Inventory, names: Mapping[str, str]
) -> tuple[NetworkPolicy, ...]:
    """The policies in force as the generator is to see them: only what it may write over carries our label.

    One of ours that selects other pods than the workload it is called by would leave these open if the workload's
    policy took its place. Under another name it does not, and where all of the old one is covered, that one goes.
    """
    pods = _pods(inventory)
    out = []
    for policy in existing:
        located = policies.get(policy.ref)
        if located is not None and located.managed and not _replaceable(located, pods, names):
            labels = tuple(item for item in policy.labels if item != MANAGED_BY)
            out.append(replace(policy, labels=labels))
        else:
            out.append(policy)
    return tuple(out)


def _replaceable(located: Located, pods: _Pods, names: Mapping[str, str]) -> bool:
    policy = located.policy
    if policy.name == DEFAULT_DENY and policy.pod_selector.is_empty:
        return True
    workload = _spoken_for(located, pods[policy.namespace])
    if workload is None:
        return False
    return policy.name == names.get(f"{workload.namespace}/{workload.kind}/{workload.name}", workload.name)


_Pods = Mapping[str, list[tuple[Workload, Mapping[str, str]]]]


def _pods(inventory: Inventory) -> _Pods:
    """Workloads and labels of pods that policies can select, by namespace."""
    out: dict[str, list[tuple[Workload, Mapping[str, str]]]] = defaultdict(list)
    for pod in inventory.pods:
        if pod.live and not pod.host_network:
            out[pod.namespace].append((pod.workload, dict(pod.labels)))
    return out


def _spoken_for(located: Located, pods: Iterable[tuple[Workload, Mapping[str, str]]]) -> Workload | None:
    selector = located.policy.pod_selector
    if selector.is_empty:
        return None
    inside = {w for w, labels in pods if selector.matches(labels)}
    if len(inside) != 1:
        return None
    workload = next(iter(inside))
    return workload if all(selector.matches(labels) for w, labels in pods if w == workload) else None
