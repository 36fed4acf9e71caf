"""What the API server calls by itself: webhooks and aggregated APIs.

No flow between pods shows these calls, and many captures show none at all; the objects that order them do. Nothing here
isolates ingress; it only completes what is isolated already, and every rule from here is marked inferred (needs N10).
"""

from __future__ import annotations

from dataclasses import dataclass

from netpol_gen.inventory import Inventory
from netpol_gen.inventory.objects import Service, ServicePort
from netpol_gen.inventory.services import service_targets
from netpol_gen.model import Edge, External, ExternalKind, Protocol, Workload

API_SERVER = External(ExternalKind.API_SERVER)


@dataclass(frozen=True, slots=True)
class Callers:
    """For each workload that the API server calls: the edge, and the objects that say so."""

    calls: dict[Workload, tuple[tuple[Edge, str], ...]]

    @classmethod
    def of(cls, inventory: Inventory) -> Callers:
        """From webhook configurations and APIServices, through the Services that they name."""
        found: dict[Workload, dict[Edge, set[str]]] = {}
        for callee in inventory.callees:
            namespace, _, name = callee.service.partition("/")
            service = inventory.service(namespace, name)
            for port in service.ports if service is not None else ():
                if port.port != callee.port or port.protocol is not Protocol.TCP:
                    continue
                for workload, number in _behind(inventory, service, port) if service is not None else ():
                    edge = Edge(API_SERVER, workload, Protocol.TCP, number)
                    found.setdefault(workload, {}).setdefault(edge, set()).add(callee.why)
        return cls({workload: _named(edges) for workload, edges in sorted(found.items())})

    def of_workload(self, workload: Workload) -> tuple[tuple[Edge, str], ...]:
        """Edges into a workload, each with its reason."""
        return self.calls.get(workload, ())


def _behind(inventory: Inventory, service: Service, port: ServicePort) -> set[tuple[Workload, int]]:
    """Workloads and container ports that a Service's port leads to, pods that are only about to run included."""
    if not service.selector:
        targets = service_targets(inventory, service, port)
        return {(t.pod.workload, t.port) for t in targets if t.pod is not None}
    out: set[tuple[Workload, int]] = set()
    for pod in inventory.index.pods_with(service.namespace, service.selector):
        if not pod.live:
            continue
        if isinstance(port.target, int):
            out.add((pod.workload, port.target))
        else:
            declared = (p for p in pod.ports if (p.name, p.protocol) == (port.target, port.protocol))
            out |= {(pod.workload, p.number) for p in declared}
    return out


def _named(edges: dict[Edge, set[str]]) -> tuple[tuple[Edge, str], ...]:
    ordered = sorted(edges.items(), key=lambda item: item[0].key)
    return tuple((edge, f"the API server calls it: {', '.join(sorted(why))}") for edge, why in ordered)
