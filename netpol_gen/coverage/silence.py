"""What the inventory has and no flow named: workloads, and Services behind which nothing was called."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from netpol_gen.config import Config
from netpol_gen.coverage.model import Unseen
from netpol_gen.inventory import Inventory, service_targets
from netpol_gen.inventory.objects import Service
from netpol_gen.model import Edge, External, Party, Protocol, Workload

Listener = tuple[Party, Protocol, int]


def never_seen(inventory: Inventory, config: Config, heard: Collection[Workload]) -> tuple[Unseen, ...]:
    """Workloads in scope that no record names at either end; scheduled ones are reported as jobs."""
    known = {p.workload for p in inventory.pods if not p.observed and (p.live or p.template)}
    found = []
    for workload in sorted(known - set(heard)):
        controller = inventory.workload(workload)
        if not config.in_scope(workload.namespace) or (controller is not None and controller.schedule):
            continue
        if controller is not None and controller.replicas == 0:
            found.append(Unseen("Workload", str(workload), "zero replicas: what it will do is not known"))
        elif any(p.host_network for p in inventory.pods_of(workload)):
            found.append(Unseen("Workload", str(workload), "on the host's network: its flows are its nodes'"))
        else:
            found.append(Unseen("Workload", str(workload), "never seen, as client or as server"))
    return tuple(found)


def silent_services(inventory: Inventory, config: Config, accepted: Iterable[Edge]) -> tuple[Unseen, ...]:
    """Services in scope to none of whose backends an accepted edge leads."""
    called: set[Listener] = {(e.dst, e.protocol, e.port) for e in accepted}
    addresses = {(e.dst.address, e.protocol, e.port) for e in accepted if isinstance(e.dst, External)}
    found = []
    for service in inventory.services:
        if not config.in_scope(service.namespace) or service.type == "ExternalName":
            continue
        backends = 0
        seen = False
        for port in service.ports:
            for target in service_targets(inventory, service, port):
                backends += 1
                if target.pod is not None and not target.pod.host_network:
                    seen = seen or (target.pod.workload, port.protocol, target.port) in called
                else:
                    seen = seen or (str(target.address), port.protocol, target.port) in addresses
        if not seen:
            found.append(Unseen("Service", f"{service.namespace}/{service.name}", _why(service, backends)))
    return tuple(found)


def _why(service: Service, backends: int) -> str:
    if not service.ports:
        return "no ports"
    return "no flow to any of its backends" if backends else "no backends"
