"""Where connections end: addresses and ports of pods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from netpol_gen.inventory.base import Inventory
from netpol_gen.inventory.objects import Node, Pod, ServicePort
from netpol_gen.model import UNKNOWN_TIME, Protocol
from netpol_gen.sets import Address


@dataclass(frozen=True, slots=True)
class Target:
    """One place where a connection ends. `pod` is `None` for an address that no pod of the inventory holds."""

    pod: Pod | None
    address: Address | None
    """`None` for the stand-in of a workload without pods (plain manifests)."""
    port: int


def on_pod(pod: Pod, port: ServicePort, family: int | None) -> Iterator[Target]:
    """Where a Service's port leads on a pod, at its addresses of a family."""
    if isinstance(port.target, int):
        numbers = {port.target}
    else:
        # The same name may mean another number on the next pod; a pod without it is no endpoint.
        numbers = {p.number for p in pod.ports if (p.name, p.protocol) == (port.target, port.protocol)}
    addresses: Iterable[Address | None] = (a for a in pod.addresses if family in (None, a.version))
    if pod.template or (pod.observed and not pod.addresses):
        addresses = (None,)
    for address in addresses:
        yield from (Target(pod, address, number) for number in sorted(numbers))


def host_ports(
    inventory: Inventory, node: Node, port: int, protocol: Protocol, family: int, at: int
) -> Iterator[Target]:
    """Pods to which the node forwards one of its own ports."""
    for pod in inventory.index.by_host_port.get((port, protocol), ()):
        if pod.node == node.name and not pod.host_network and there(pod, at):
            numbers = sorted({p.number for p in pod.ports if (p.host_port, p.protocol) == (port, protocol)})
            for address in (a for a in pod.addresses if a.version == family):
                yield from (Target(pod, address, number) for number in numbers)


def there(pod: Pod, at: int) -> bool:
    """Whether a pod was there at a time, as far as is known."""
    end = ended_by(pod)
    return (pod.started is None or pod.started <= at) and (end is None or at <= end)


def ended_by(pod: Pod) -> int | None:
    """Until when a pod may have been there, `None` if it is alive: one that completed nobody knows when is not."""
    return UNKNOWN_TIME - 1 if pod.ended is None and not pod.live else pod.ended


def target_key(target: Target) -> tuple[str, ...]:
    """A total order of targets."""
    pod = target.pod
    name = (pod.namespace, pod.name, pod.uid) if pod else ("", "", "")
    return (*name, str(target.address or ""), f"{target.port:05}")
