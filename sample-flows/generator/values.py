"""What a cluster consists of, as plain values, and the times they carry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Obj = dict[str, Any]

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE


def ns(stamp: str) -> int:
    """Nanoseconds since the epoch of an RFC 3339 time in whole seconds, UTC."""
    return int(datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()) * SECOND


def seconds_stamp(when: int) -> str:
    """RFC 3339 in whole seconds, as the API server writes times."""
    return datetime.fromtimestamp(when // SECOND, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Port:
    """A container port. `name` is None where the container declares the number alone."""

    number: int
    name: str | None = None
    protocol: str = "TCP"


@dataclass(frozen=True, slots=True)
class Container:
    """One container; `probe` is the port that the kubelet checks, if any."""

    name: str
    image: str
    ports: tuple[Port, ...] = ()
    probe: int | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """The stable owner of pods. `labels` is what its pod template carries, `selector` the part that it selects by."""

    namespace: str
    kind: str
    name: str
    labels: Mapping[str, str]
    selector: Mapping[str, str]
    containers: tuple[Container, ...]

    @property
    def key(self) -> str:
        """`namespace/Kind/name`, the form used in the expected files."""
        return f"{self.namespace}/{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class Node:
    """A node: its own address, the address of its overlay router, and its pod network."""

    name: str
    index: int
    ip: str
    router_ip: str
    control_plane: bool = False

    @property
    def pod_cidr(self) -> str:
        """The node's IPv4 pod network."""
        return f"10.244.{self.index}.0/24"

    @property
    def pod_cidr6(self) -> str:
        """The node's IPv6 pod network, from the unique local range."""
        return f"fd00:10:244:{self.index}::/64"


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod, with the time it lived; `ended` is None while it runs."""

    workload: Workload
    name: str
    node: Node
    ips: tuple[str, ...]
    labels: Mapping[str, str]
    created: int
    ended: int | None
    endpoint_id: int
    identity: int
    mac: str
    interface: str
    interface_index: int
    ports: tuple[Port, ...]

    def alive(self, when: int) -> bool:
        """Whether the pod can take part in traffic at that time."""
        return self.created + 20 * SECOND <= when and (self.ended is None or when < self.ended)

    def listens(self, number: int, protocol: str = "TCP") -> bool:
        """Whether a container declares that port."""
        return any(port.number == number and port.protocol == protocol for port in self.ports)


@dataclass(frozen=True, slots=True)
class Service:
    """A Service with its cluster addresses; `ports` are (name, port, targetPort, protocol)."""

    namespace: str
    name: str
    ips: tuple[str, ...]
    ports: tuple[tuple[str, int, int | str, str], ...]


@dataclass(frozen=True, slots=True)
class PodSpec:
    """What differs between the pods of one workload when they are placed."""

    node: str
    created: int
    name: str
    owner: tuple[str, str, str, str] | None  # apiVersion, kind, name, uid
    labels: Mapping[str, str] = field(default_factory=dict)
    containers: tuple[Container, ...] | None = None
    generate_name: str | None = None
    ended: int | None = None
    ip: str | None = None
    host_network: bool = False
