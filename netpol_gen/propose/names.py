"""Which policy of the repository already speaks for which workload: it is edited instead of joined by another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from netpol_gen.config import Config, Mode
from netpol_gen.inventory import Inventory
from netpol_gen.model import Workload
from netpol_gen.propose.tree import Located
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
    pods: dict[str, list[tuple[Workload, Mapping[str, str]]]] = defaultdict(list)
    for pod in inventory.pods:
        if pod.live and not pod.host_network:
            pods[pod.namespace].append((pod.workload, dict(pod.labels)))
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


def _spoken_for(located: Located, pods: Iterable[tuple[Workload, Mapping[str, str]]]) -> Workload | None:
    selector = located.policy.pod_selector
    if selector.is_empty:
        return None
    inside = {w for w, labels in pods if selector.matches(labels)}
    if len(inside) != 1:
        return None
    workload = next(iter(inside))
    return workload if all(selector.matches(labels) for w, labels in pods if w == workload) else None
