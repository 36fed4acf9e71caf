"""Objects of the workload kinds: pods, and the controllers that make them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import msgspec

from netpol_gen.errors import InputError, printable
from netpol_gen.inventory.fields import Fields, Memo
from netpol_gen.inventory.objects import ContainerPort, Controller, Labels, Pod
from netpol_gen.manifests import Manifest
from netpol_gen.model import Protocol, Workload
from netpol_gen.selectors import LabelSelector, parse_selector
from netpol_gen.sets import Address

POD = "Pod"
_PHASES = ("Pending", "Running", "Succeeded", "Failed", "Unknown")
# Copies of whole manifests: they would be most of what is kept.
_BULKY_ANNOTATIONS = ("kubectl.kubernetes.io/last-applied-configuration",)


@dataclass(frozen=True, slots=True, order=True)
class Owner:
    """A controlling owner reference."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class SeenPod:
    """A pod as one dump shows it; its `workload` is that of a bare pod until its owners are climbed."""

    pod: Pod
    owner: Owner | None
    created: int | None
    host_addresses: tuple[Address, ...]
    flags: tuple[str, ...] = ()
    """Command line arguments of control plane pods that name address ranges."""


@dataclass(frozen=True, slots=True)
class SeenController:
    """A controller as one dump shows it."""

    controller: Controller
    owner: Owner | None
    created: int | None


@dataclass(frozen=True, slots=True)
class Context:
    """What every parser needs besides the manifest."""

    memo: Memo
    default_namespace: str

    def namespace(self, metadata: Fields) -> str:
        """The object's namespace."""
        return metadata.name("namespace", self.default_namespace)


def parse_pod(manifest: Manifest, context: Context) -> SeenPod:
    """A Pod.

    Raises:
        InputError: a field of the wrong type or value.

    """
    top = Fields(manifest.data, manifest.place)
    metadata, spec, status = top.sub("metadata"), top.sub("spec"), top.sub("status")
    memo, namespace, name = context.memo, context.namespace(metadata), metadata.name()
    phase = status.text("phase") or "Running"
    if phase not in _PHASES:
        raise InputError(f"{printable(phase)} is not a pod's phase", status.at("phase"))
    created = memo.time(metadata, "creationTimestamp")
    started = memo.time(status, "startTime")
    addresses = _addresses(status, "podIP", "podIPs", memo)
    host = _addresses(status, "hostIP", "hostIPs", memo)
    pod = Pod(
        namespace,
        name,
        memo.read_labels(metadata),
        Workload(namespace, POD, name),
        addresses,
        _ports(spec, memo),
        spec.text("nodeName") and spec.name("nodeName"),
        # Whoever holds the node's address shares its network, whatever the dump left out.
        spec.flag("hostNetwork") or bool(set(addresses) & set(host)),
        metadata.text("uid"),
        phase,
        created if started is None else started,
        _ended(metadata, status, phase, memo),
    )
    return SeenPod(pod, controlling_owner(metadata), created, host, _range_flags(namespace, spec))


def _addresses(status: Fields, single: str, several: str, memo: Memo) -> tuple[Address, ...]:
    found: dict[Address, None] = {}
    for address in (memo.address(status, single), *(memo.address(entry, "ip") for entry in status.each(several))):
        if address is not None:
            found[address] = None
    return tuple(found)


def _ended(metadata: Fields, status: Fields, phase: str, memo: Memo) -> int | None:
    """When it freed its addresses: completed pods when their last container finished, others when deleted.

    A terminating pod ends at its deletion time stamp at the latest: the grace period is part of it.
    """
    deleted = memo.time(metadata, "deletionTimestamp")
    if phase not in ("Succeeded", "Failed"):
        return deleted
    finished = [
        memo.time(container.sub("state").sub("terminated"), "finishedAt")
        for key in ("containerStatuses", "initContainerStatuses")
        for container in status.each(key)
    ]
    known = [time for time in finished if time is not None]
    if known:
        return max(known) if deleted is None else min(max(known), deleted)
    # An evicted pod may have no container left; the last change of its conditions is when it was given up.
    changes = [memo.time(condition, "lastTransitionTime") for condition in status.each("conditions")]
    return max((time for time in [*changes, deleted] if time is not None), default=None)


def controlling_owner(metadata: Fields) -> Owner | None:
    """The one owner that controls the object; others only keep it from being collected."""
    for reference in metadata.each("ownerReferences"):
        if reference.flag("controller"):
            return Owner(reference.kind(), reference.name(free=True))
    return None


def _ports(spec: Fields, memo: Memo) -> tuple[ContainerPort, ...]:
    """Replicas have the same ports, and are many: what was written alike is read once."""
    containers = spec.data.get("containers")
    if spec.data.get("initContainers") or not isinstance(containers, list):
        return container_ports(spec)
    ports = [each.get("ports") if isinstance(each, dict) else each for each in containers]
    try:
        # Unlike a hash it tells 1 from True and 1.0, and takes a tenth of the time of `repr`.
        written = msgspec.msgpack.encode(ports)
    except (OverflowError, UnicodeEncodeError):
        # Huge numbers and halves of characters.
        return container_ports(spec)
    found = memo.ports.get(written)
    if found is None:
        found = memo.ports[written] = container_ports(spec)
    return found


def container_ports(spec: Fields) -> tuple[ContainerPort, ...]:
    """Ports of all containers that run together: init containers only where they stay (sidecars)."""
    containers = spec.each("containers")
    containers += [c for c in spec.each("initContainers") if c.text("restartPolicy") == "Always"]
    # As tuples they are told apart and sorted several times as fast, and a large cluster has a hundred thousand.
    ports = set[tuple[int, Protocol, str, int]]()
    for container in containers:
        for port in container.each("ports"):
            number = port.port("containerPort")
            if number is None:
                raise InputError("no port number", port.at("containerPort"))
            host_port = port.number("hostPort") and port.port("hostPort")
            ports.add((number, port.protocol(), port.text("name"), host_port or 0))
    return tuple(ContainerPort(*port) for port in sorted(ports))


def _range_flags(namespace: str, spec: Fields) -> tuple[str, ...]:
    """`--cluster-cidr` and `--service-cluster-ip-range` as the control plane was started with."""
    if namespace != "kube-system":
        return ()
    wanted = ("--cluster-cidr=", "--service-cluster-ip-range=")
    arguments = [a for c in spec.each("containers") for key in ("command", "args") for a in c.texts(key)]
    return tuple(sorted({a for a in arguments if a.startswith(wanted)}))


def parse_controller(manifest: Manifest, context: Context) -> SeenController:
    """Any object with a pod template: `spec.template`, or a CronJob's `spec.jobTemplate.spec.template`.

    Raises:
        InputError: a field of the wrong type or value.

    """
    top = Fields(manifest.data, manifest.place)
    metadata, spec = top.sub("metadata"), top.sub("spec")
    cron = manifest.kind == "CronJob"
    template = (spec.sub("jobTemplate").sub("spec") if cron else spec).sub("template")
    workload = Workload(context.namespace(metadata), manifest.kind, metadata.name())
    controller = Controller(
        workload,
        _selector(manifest.kind, spec, template, context.memo),
        context.memo.read_labels(template.sub("metadata")),
        container_ports(template.sub("spec")),
        None if manifest.kind in ("DaemonSet", "Job", "CronJob") else _replicas(spec),
        spec.text("schedule") if cron else "",
        template.sub("spec").flag("hostNetwork"),
        _annotations(metadata),
    )
    return SeenController(controller, controlling_owner(metadata), context.memo.time(metadata, "creationTimestamp"))


def _replicas(spec: Fields) -> int:
    replicas = spec.number("replicas")
    return 1 if replicas is None else replicas


def _selector(kind: str, spec: Fields, template: Fields, memo: Memo) -> LabelSelector | None:
    if kind == "CronJob" or (kind == "Job" and not spec.flag("manualSelector")):
        # A Job's own selector is made anew for each run.
        return None
    if kind in ("ReplicationController", "DeploymentConfig"):
        # Theirs is a plain map, by default the template's labels.
        labels = memo.read_labels(spec, "selector") or memo.read_labels(template.sub("metadata"))
        return LabelSelector(labels) if labels else None
    if spec.data.get("selector") is None:
        return None
    return parse_selector(spec.data["selector"], spec.at("selector"))


def _annotations(metadata: Fields) -> Labels:
    found = metadata.sub("annotations")
    return tuple(sorted((key, found.text(key)) for key in found.data if key not in _BULKY_ANNOTATIONS))


def stand_in(controller: Controller) -> Pod:
    """The pod that a controller would make."""
    workload = controller.workload
    return Pod(
        workload.namespace,
        workload.name,
        controller.template_labels,
        workload,
        ports=controller.ports,
        host_network=controller.host_network,
        template=True,
    )


def without_labels(controller: Controller, workload: Workload, keys: Iterable[str]) -> Controller:
    """What the owner of a controller looked like, seen from the object that it made."""
    gone = frozenset(keys)
    kept = tuple(pair for pair in controller.template_labels if pair[0] not in gone)
    selector = controller.selector
    if selector is not None:
        selector = replace(selector, match_labels=tuple(p for p in selector.match_labels if p[0] not in gone))
    return replace(controller, workload=workload, template_labels=kept, selector=selector, annotations=())


CONTROLLERS = frozenset(
    {
        ("apps", "Deployment"),
        ("apps", "ReplicaSet"),
        ("apps", "StatefulSet"),
        ("apps", "DaemonSet"),
        ("batch", "Job"),
        ("batch", "CronJob"),
        ("", "ReplicationController"),
        ("argoproj.io", "Rollout"),
        ("apps.openshift.io", "DeploymentConfig"),
    }
)
"""API group and kind of what `parse_controller` reads."""
