"""Where a Service leads at the end of the inventory: pods and the ports that they listen on.

A NetworkPolicy knows nothing of Services. A Service's port becomes its backends' own addresses and ports here, through
EndpointSlices where the dump has them, else as the endpoints controller would do it: the Service's selector over pods,
a named target port resolved on each pod by itself. What clients dialled at an earlier time: `dialled`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from netpol_gen.inventory.base import Inventory
from netpol_gen.inventory.objects import Backend, Service, ServicePort
from netpol_gen.inventory.targets import Target, on_pod, target_key
from netpol_gen.model import Workload


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
