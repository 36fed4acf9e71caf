"""What the cluster held, as values: the part of Kubernetes objects that decides identity, ports and selection."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from netpol_gen.model import Protocol, Workload
from netpol_gen.selectors import LabelSelector

Labels = tuple[tuple[str, str], ...]
"""Sorted pairs; `dict(labels)` where a mapping is wanted."""


@dataclass(frozen=True, slots=True, order=True)
class ContainerPort:
    """A declared port. `name` is empty when it has none; `host_port` is 0 unless the node forwards one to it."""

    number: int
    protocol: Protocol
    name: str = ""
    host_port: int = 0


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace with its labels; `kubernetes.io/metadata.name` is always among them (the API server sets it)."""

    name: str
    labels: Labels


@dataclass(frozen=True, slots=True)
class Node:
    """A node. `addresses` are its InternalIP and ExternalIP, `pod_cidrs` what it hands to pods.

    `inner_addresses` are addresses from the pod ranges that the node itself answers at: bridge, router, tunnel device.
    """

    name: str
    addresses: tuple[IPv4Address | IPv6Address, ...] = ()
    pod_cidrs: tuple[IPv4Network | IPv6Network, ...] = ()
    labels: Labels = ()
    inner_addresses: tuple[IPv4Address | IPv6Address, ...] = ()
    created: int | None = field(default=None, compare=False)
    """Nanoseconds since the epoch, UTC; no part of what the node is."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod and the time in which it held its addresses.

    `started` and `ended` are nanoseconds since the epoch, UTC; `None` means "not known" (open on that side). A
    Succeeded or Failed pod has ended: it keeps its address in `status` but nobody answers there. From `unsure_from` on
    it may have been gone already: only the latest possible end is known, for example from a snapshot without the pod.

    `observed` marks pods known only from flows, not from an object dump. `template` marks the stand-in for a workload
    without a live pod (plain manifests, zero replicas, a CronJob between runs): its name is the workload's, it has the
    template's labels and ports, and no address, node or uid.
    """

    namespace: str
    name: str
    labels: Labels
    workload: Workload
    addresses: tuple[IPv4Address | IPv6Address, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    node: str = ""
    host_network: bool = False
    uid: str = ""
    phase: str = "Running"
    started: int | None = None
    ended: int | None = None
    observed: bool = False
    template: bool = False
    unsure_from: int | None = None

    @property
    def live(self) -> bool:
        """Whether it can take part in a connection now (semantics 4.1 no. 22)."""
        return self.phase not in ("Succeeded", "Failed") and self.ended is None


@dataclass(frozen=True, slots=True)
class Controller:
    """A workload's own object: its pod template and selector.

    `selector` is the controller's `spec.selector` (absent for bare pods and CronJobs); `template_labels` what new pods
    will carry. `replicas` is `None` where it has no meaning. `schedule` is a CronJob's.
    """

    workload: Workload
    selector: LabelSelector | None
    template_labels: Labels
    ports: tuple[ContainerPort, ...] = ()
    replicas: int | None = None
    schedule: str = ""
    host_network: bool = False
    annotations: Labels = ()


@dataclass(frozen=True, slots=True, order=True)
class ServicePort:
    """`port` → `target` (a number, or the name of a container port resolved per pod)."""

    port: int
    protocol: Protocol
    target: int | str
    name: str = ""
    node_port: int | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """A Service. `selector` is `None` for one without a selector (its endpoints come from EndpointSlices alone)."""

    namespace: str
    name: str
    selector: Labels | None
    ports: tuple[ServicePort, ...]
    cluster_ips: tuple[IPv4Address | IPv6Address, ...] = ()
    external_ips: tuple[IPv4Address | IPv6Address, ...] = ()
    """`spec.externalIPs` and load balancer ingress addresses."""
    type: str = "ClusterIP"
    external_traffic_policy: str = "Cluster"
    external_name: str = ""
    created: int | None = field(default=None, compare=False)
    """As of a node."""


@dataclass(frozen=True, slots=True)
class Backend:
    """One endpoint of a Service's port, from an EndpointSlice: where a VIP really leads."""

    service: str
    """`namespace/name`."""
    port_name: str
    protocol: Protocol
    port: int
    address: IPv4Address | IPv6Address
    pod: str = ""
    """`namespace/name` of the target pod, empty for others."""
    ready: bool = True


@dataclass(frozen=True, slots=True)
class Endpoints:
    """One EndpointSlice or Endpoints object. `name` is its own; `service` is `namespace/name`, empty if it has none."""

    namespace: str
    name: str
    service: str
    backends: tuple[Backend, ...]
    slice: bool
    created: int | None = field(default=None, compare=False)
    """As of a node."""


@dataclass(frozen=True, slots=True, order=True)
class Callee:
    """A Service's port that the API server itself calls, because a webhook or an APIService says so.

    `service` is `namespace/name`; `port` the Service's port. `why` names the object: `Kind/name`.
    """

    service: str
    port: int
    why: str
