"""From pods to workloads: climbing owner references to what stays when pods, ReplicaSets and Jobs come and go."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from netpol_gen.inventory.objects import Controller
from netpol_gen.inventory.parse import Owner, SeenController, SeenPod, without_labels
from netpol_gen.model import Workload

_STABLE = frozenset({"Deployment", "StatefulSet", "DaemonSet", "CronJob", "DeploymentConfig"})
"""Workloads by themselves, even if an operator's own resource made them."""
_HASHES = {"pod-template-hash": "Deployment", "rollouts-pod-template-hash": "Rollout"}
_RUN_LABELS = {
    "ReplicaSet": tuple(_HASHES),
    "ReplicationController": ("deployment",),
    "Job": (
        "controller-uid",
        "job-name",
        "batch.kubernetes.io/controller-uid",
        "batch.kubernetes.io/job-name",
    ),
}
"""Labels that a controller adds to tell one rollout or run from the next."""
# A CronJob names its Jobs by the scheduled time in minutes since the epoch: eight digits from 1989 to 2160.
_RUN = re.compile(r"(?P<name>.+)-(?P<minutes>\d{8})")
_MINUTE = 60 * 10**9
_LATEST_START = 7 * 24 * 60
"""A Job is made within this many minutes of its scheduled time, or its number was not one."""
_MINUTES = range(26_000_000, 40_000_000)
"""The years 2019 to 2046, for a Job of which nothing else is known; a date such as 20261123 is no such number."""


@dataclass(frozen=True, slots=True)
class Owners:
    """Climbs from objects to workloads through the objects of the dump, else by how controllers name what they make."""

    objects: Mapping[tuple[str, str, str], SeenController]

    @classmethod
    def of(cls, controllers: Iterable[SeenController]) -> Owners:
        """Index the controllers of a dump."""
        return cls({_key(c.controller.workload): c for c in controllers})

    def workload_of(self, seen: SeenPod) -> tuple[Workload, bool]:
        """The workload of a pod, and whether a name had to stand in for an object that was not dumped."""
        pod, owner = seen.pod, seen.owner
        if owner is None or owner.kind == "Node":
            # Nobody's, or a static pod of one node: it is its own workload.
            return pod.workload, False
        return self._climb(pod.namespace, owner, dict(pod.labels), seen.created)

    def workload_of_controller(self, seen: SeenController) -> Workload:
        """Itself, unless another controller made it."""
        workload = seen.controller.workload
        if seen.owner is None or workload.kind in _STABLE:
            return workload
        labels = dict(seen.controller.template_labels)
        return self._climb(workload.namespace, seen.owner, labels, seen.created)[0]

    def _climb(
        self, namespace: str, owner: Owner, labels: Mapping[str, str], created: int | None
    ) -> tuple[Workload, bool]:
        passed: set[Owner] = set()
        while owner not in passed and owner.kind not in _STABLE:
            passed.add(owner)
            found = self.objects.get((namespace, owner.kind, owner.name))
            if found is None:
                guessed = _by_name(owner, labels, created)
                return Workload(namespace, (guessed or owner).kind, (guessed or owner).name), guessed is not None
            if found.owner is None:
                break
            owner, created = found.owner, found.created
        return Workload(namespace, owner.kind, owner.name), False


def _key(workload: Workload) -> tuple[str, str, str]:
    return (workload.namespace, workload.kind, workload.name)


def _by_name(owner: Owner, labels: Mapping[str, str], created: int | None) -> Owner | None:
    """The owner of a ReplicaSet or Job that is not in the dump, where its name tells it beyond doubt."""
    if owner.kind == "ReplicaSet":
        for key, kind in _HASHES.items():
            suffix = f"-{labels.get(key)}"
            if labels.get(key) and owner.name.endswith(suffix) and owner.name != suffix:
                return Owner(kind, owner.name.removesuffix(suffix))
    if owner.kind == "Job" and (run := _RUN.fullmatch(owner.name)):
        scheduled = int(run["minutes"])
        late = None if created is None else created // _MINUTE - scheduled
        if scheduled in _MINUTES if late is None else -1 <= late <= _LATEST_START:
            return Owner("CronJob", run["name"])
    if owner.kind == "ReplicationController" and labels.get("deployment") == owner.name:
        config = labels.get("deploymentconfig")
        return Owner("DeploymentConfig", config) if config else None
    return None


def controllers_of(owners: Owners) -> dict[Workload, Controller]:
    """One controller per workload: its own object, or what its newest ReplicaSet or Job says of it."""
    own: dict[Workload, Controller] = {}
    made: dict[Workload, list[SeenController]] = {}
    for seen in owners.objects.values():
        workload = owners.workload_of_controller(seen)
        if workload == seen.controller.workload:
            own[workload] = seen.controller
        else:
            made.setdefault(workload, []).append(seen)
    for workload, several in made.items():
        if workload not in own:
            newest = max(several, key=_newest)
            run_labels = _RUN_LABELS.get(newest.controller.workload.kind, ())
            own[workload] = without_labels(newest.controller, workload, run_labels)
    return {workload: own[workload] for workload in sorted(own)}


def _newest(seen: SeenController) -> tuple[bool, int, str]:
    return (bool(seen.controller.replicas), seen.created or 0, seen.controller.workload.name)
