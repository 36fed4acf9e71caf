"""Where a Service's address and port really lead: pods and the ports that they listen on.

A NetworkPolicy knows nothing of Services. What clients dial (`10.96.0.30:80`, a node's port, a load balancer) becomes
the backend's own address and port here, through EndpointSlices where the dump has them, else as the endpoints
controller would do it: the Service's selector over pods, a named target port resolved on each pod by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from netpol_gen.inventory.base import Inventory
from netpol_gen.inventory.dialled import Dialled
from netpol_gen.inventory.objects import Backend, Node, Service, ServicePort
from netpol_gen.inventory.targets import Target, host_ports, on_pod, target_key
from netpol_gen.model import Protocol, Workload
from netpol_gen.sets import Address


def backends_of(
    inventory: Inventory,
    address: Address,
    port: int,
    protocol: Protocol,
    family: int | None = None,
    *,
    at: int | None = None,
) -> tuple[Target, ...]:
    """Targets of `address:port`, sorted; `()` if no Service or host port leads on from there, or none has endpoints.

    `family` (4 or 6) is the family of the backends, by default that of `address`. `at` (nanoseconds since the epoch)
    asks for what may have stood there at that time; without it, for pods that are alive at the end of the inventory.
    """
    family = family or address.version
    found: dict[tuple[str, ...], Target] = {}
    if at is not None:
        answers = Dialled(inventory, address, port, protocol, 0, family).at(at).answers
        found = {target_key(target): target for options in answers for option in options for target in option}
        return tuple(found[key] for key in sorted(found))
    node = inventory.node_at(address)
    for service, service_port in _dialled(inventory, address, node, port, protocol):
        for target in _targets(inventory, service, service_port, family):
            found[target_key(target)] = target
    if node is not None and address in node.addresses:
        for target in host_ports(inventory, node, port, protocol, family, None):
            found[target_key(target)] = target
    return tuple(found[key] for key in sorted(found))


def service_targets(
    inventory: Inventory, service: Service, port: ServicePort, family: int | None = None
) -> tuple[Target, ...]:
    """Targets of one port of a Service at the end of the inventory, sorted.

    `family` restricts them to addresses of that family.
    """
    found = {target_key(target): target for target in _targets(inventory, service, port, family)}
    return tuple(found[key] for key in sorted(found))


def services_selecting(inventory: Inventory, workload: Workload) -> tuple[Service, ...]:
    """Services of the workload's namespace whose selector matches it: its pods, or without pods its template."""
    pods = inventory.pods_of(workload)
    live = [pod for pod in pods if pod.live] or list(pods)
    controller = inventory.workload(workload)
    sets = [pod.labels for pod in live]
    if not sets and controller is not None:
        sets = [controller.template_labels]
    return tuple(
        service
        for service in inventory.index.services_in.get(workload.namespace, ())
        if service.selector and any(set(service.selector).issubset(labels) for labels in sets)
    )


def _dialled(
    inventory: Inventory, address: Address, node: Node | None, port: int, protocol: Protocol
) -> Iterator[tuple[Service, ServicePort]]:
    """The Service ports that a client reaches at an address."""
    for service in inventory.index.services_at.get(address, ()):
        yield from ((service, p) for p in service.ports if (p.port, p.protocol) == (port, protocol))
    if node is not None and address in node.addresses:
        yield from inventory.index.node_ports.get((port, protocol), ())


def _targets(inventory: Inventory, service: Service, port: ServicePort, family: int | None) -> Iterator[Target]:
    ref = f"{service.namespace}/{service.name}"
    if ref in inventory.sliced:
        yield from _from_slices(inventory, inventory.index.backends.get(ref, ()), port, family)
    elif service.selector:
        for pod in inventory.index.pods_with(service.namespace, service.selector):
            if pod.live:
                yield from on_pod(pod, port, family)


def _from_slices(
    inventory: Inventory, slices: Iterable[Backend], port: ServicePort, family: int | None
) -> Iterator[Target]:
    for backend in slices:
        if (backend.port_name, backend.protocol) != (port.name, port.protocol):
            continue
        if family is not None and backend.address.version != family:
            continue
        namespace, _, name = backend.pod.partition("/")
        pod = inventory.pod(namespace, name) if backend.pod else None
        if not backend.pod:
            holders = inventory.index.by_address.get(backend.address, [])
            pod = holders[0] if len(holders) == 1 else None
        yield Target(pod, backend.address, backend.port)
