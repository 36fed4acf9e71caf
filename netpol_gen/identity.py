"""Who an endpoint is when only the flow record speaks: from labels and pod names to the owning workload.

An object dump always wins over what is guessed here; a guess that cannot be made is kind `Unknown`, never a fabricated
owner. Label rules follow Cilium's (`io.kubernetes.pod.namespace`, `io.cilium.k8s.namespace.labels.<key>`), name rules
the suffixes that the Kubernetes controllers generate.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from netpol_gen.inventory.objects import Labels, Pod
from netpol_gen.model import UNTYPED, Workload

_NAMESPACE_KEY = "io.kubernetes.pod.namespace"
_NAMESPACE_LABEL = "io.cilium.k8s.namespace.labels."
_CNI_PREFIXES = ("io.cilium.", "io.kubernetes.", "projectcalico.org/")
"""Of labels that a network plugin adds to those of the pod: no selector matches them."""

# The alphabet of `k8s.io/apimachinery/pkg/util/rand`: no vowels, no 0, 1 or 3. Generated suffixes use only these.
_SAFE = "[bcdfghjklmnpqrstvwxz2456789]"
_DEPLOYMENT_POD = re.compile(rf"(?P<owner>.+)-{_SAFE}{{6,10}}-{_SAFE}{{5}}")
_GENERATED_POD = re.compile(rf"(?P<owner>.+)-{_SAFE}{{5}}")
_ORDINAL_POD = re.compile(r"(?P<owner>.+)-\d{1,5}")
# A CronJob names its Jobs by the scheduled time in minutes since the epoch: eight digits since 1989.
_CRON_RUN = re.compile(r"(?P<owner>.+)-[23]\d{7}")

UNKNOWN_KIND = "Unknown"
_NAME_KEYS = ("app.kubernetes.io/name", "app", "k8s-app", "name", "component")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a source itself says about one end of a flow. Empty strings mean "not said"."""

    namespace: str = ""
    pod: str = ""
    labels: Labels = ()
    namespace_labels: Labels = ()
    workload: str = ""
    """`Kind/name`."""
    entities: frozenset[str] = frozenset()
    uid: str = ""
    has_labels: bool = False

    @property
    def named(self) -> bool:
        """Whether the record names a pod, or at least labels within a namespace."""
        return bool(self.namespace and (self.pod or self.workload or self.labels))

    @property
    def untyped(self) -> bool:
        """Whether what the record names may be no pod."""
        return UNTYPED in self.entities


def facts(namespace: str, pod: str, labels: str, workload: str, entities: str, uid: str) -> Facts:
    """From the columns of a flow table; `labels` is JSON object text or empty."""
    raw: Mapping[str, str] = json.loads(labels) if labels else {}
    own: dict[str, str] = {}
    of_namespace: dict[str, str] = {}
    for key, value in raw.items():
        if key == _NAMESPACE_KEY:
            namespace = namespace or value
        elif key.startswith(_NAMESPACE_LABEL):
            of_namespace[key.removeprefix(_NAMESPACE_LABEL)] = value
        elif not key.startswith(_CNI_PREFIXES):
            own[key] = value
    return Facts(
        namespace,
        pod,
        tuple(sorted(own.items())),
        tuple(sorted(of_namespace.items())),
        workload,
        frozenset(entities.split(",")) if entities else frozenset(),
        uid,
        has_labels=bool(raw),
    )


def workload_of(said: Facts) -> Workload:
    """The owner, as far as the record lets one tell."""
    if said.workload:
        kind, _, name = said.workload.partition("/")
        return _climb(said.namespace, kind, name, dict(said.labels).get("pod-template-hash", ""))
    if not said.pod:
        labels = dict(said.labels)
        name = next((labels[key] for key in _NAME_KEYS if labels.get(key)), "")
        return Workload(said.namespace, UNKNOWN_KIND, name or ",".join(f"{k}={v}" for k, v in said.labels))
    kind, name = _by_pod_name(said.pod, dict(said.labels))
    return Workload(said.namespace, kind, name)


def _climb(namespace: str, kind: str, name: str, template_hash: str) -> Workload:
    """From a ReplicaSet to its Deployment and from a Job to its CronJob, where the names say so."""
    if kind == "ReplicaSet":
        if template_hash and name.endswith(f"-{template_hash}"):
            return Workload(namespace, "Deployment", name.removesuffix(f"-{template_hash}"))
        if match := re.fullmatch(rf"(?P<owner>.+)-{_SAFE}{{6,10}}", name):
            return Workload(namespace, "Deployment", match["owner"])
    if kind == "Job" and (match := _CRON_RUN.fullmatch(name)):
        return Workload(namespace, "CronJob", match["owner"])
    return Workload(namespace, kind, name)


def _by_pod_name(pod: str, labels: Mapping[str, str]) -> tuple[str, str]:
    if job := labels.get("batch.kubernetes.io/job-name") or labels.get("job-name"):
        match = _CRON_RUN.fullmatch(job)
        return ("CronJob", match["owner"]) if match else ("Job", job)
    if (template_hash := labels.get("pod-template-hash")) and f"-{template_hash}-" in pod:
        return "Deployment", pod.rpartition(f"-{template_hash}-")[0]
    ordinal = _ORDINAL_POD.fullmatch(pod)
    if ordinal and labels.keys() & {"statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"}:
        return "StatefulSet", ordinal["owner"]
    generated = _GENERATED_POD.fullmatch(pod)
    if "pod-template-generation" in labels and generated:
        return "DaemonSet", generated["owner"]
    if match := _DEPLOYMENT_POD.fullmatch(pod):
        return "Deployment", match["owner"]
    if ordinal:
        return "StatefulSet", ordinal["owner"]
    if generated:
        # A DaemonSet, a Job or a bare ReplicaSet: the name alone does not tell which.
        return UNKNOWN_KIND, generated["owner"]
    return "Pod", pod


class Roster:
    """Pods by name and by labels: from the inventory first, then from what flows have shown.

    Built once per run from every distinct endpoint, so that a record that lacks the pod's name or owner (a remote
    endpoint, proxied traffic) is matched with one that has it.
    """

    def __init__(self, pods: Iterable[Pod]) -> None:
        """`pods` from the object dumps."""
        self._known: dict[tuple[str, str], Pod] = {}
        for pod in sorted(pods, key=lambda p: (p.namespace, p.name, p.started or 0)):
            self._known[pod.namespace, pod.name] = pod
        self._observed: dict[tuple[str, str], Pod] = {}
        self._workloads = {p.workload for p in self._known.values()}

    @property
    def observed(self) -> tuple[Pod, ...]:
        """Pods known only from flows, in order."""
        return tuple(self._observed[key] for key in sorted(self._observed))

    def learn(self, said: Facts, address: str) -> None:
        """Note a pod that a record names and the inventory does not have."""
        key = (said.namespace, said.pod)
        if not said.namespace or not said.pod or said.untyped or key in self._known:
            return
        import ipaddress  # noqa: PLC0415 - local: only names without objects need it

        owner = self._owner(said)
        addresses = {ipaddress.ip_address(address)} if address else set()
        if old := self._observed.get(key):
            addresses |= set(old.addresses)
            owner = min(owner, old.workload, key=lambda w: (w.kind in (UNKNOWN_KIND, "Pod"), w))
            labels = max(old.labels, said.labels, key=lambda ls: (len(ls), ls))
        else:
            labels = said.labels
        ordered = tuple(sorted(addresses, key=lambda a: (a.version, int(a))))
        self._observed[key] = Pod(*key, labels=labels, workload=owner, addresses=ordered, uid=said.uid, observed=True)

    def _owner(self, said: Facts) -> Workload:
        guess = workload_of(said)
        if guess.kind != UNKNOWN_KIND or guess in self._workloads:
            return guess
        same = {w for w in self._workloads if (w.namespace, w.name) == (guess.namespace, guess.name)}
        return min(same) if len(same) == 1 else guess

    def pod(self, said: Facts) -> Pod | None:
        """The pod that a record names; else one whose labels are the record's, if all such have one owner."""
        if said.pod:
            key = (said.namespace, said.pod)
            return self._known.get(key) or self._observed.get(key)
        if said.workload:
            owner = workload_of(said)
            return next((p for p in self._by_workload.get(owner, ())), None)
        if not said.labels:
            return None
        wanted = set(said.labels)
        same = [p for p in self._by_namespace.get(said.namespace, ()) if wanted <= set(p.labels)]
        owners = {p.workload for p in same}
        if len(owners) > 1:
            # The volatile labels that the source filters out are the only difference that may remain.
            fewest = min(len(p.labels) for p in same)
            same = [p for p in same if len(p.labels) == fewest]
            owners = {p.workload for p in same}
        return same[0] if len(owners) == 1 else None

    def add_unnamed(self, said: Facts) -> Pod:
        """A stand-in for an endpoint that has labels and a namespace but neither name nor known owner."""
        owner = workload_of(said)
        pod = Pod(said.namespace, owner.name[:253], labels=said.labels, workload=owner, observed=True)
        self._observed.setdefault((said.namespace, f"\0{owner.name}"), pod)
        return self._observed[said.namespace, f"\0{owner.name}"]

    @cached_property
    def _by_namespace(self) -> dict[str, list[Pod]]:
        out: dict[str, list[Pod]] = {}
        for pod in (*self._known.values(), *self.observed):
            out.setdefault(pod.namespace, []).append(pod)
        return out

    @cached_property
    def _by_workload(self) -> dict[Workload, list[Pod]]:
        out: dict[Workload, list[Pod]] = {}
        for pod in (*self._known.values(), *self.observed):
            out.setdefault(pod.workload, []).append(pod)
        return out
