"""Look-up tables over an inventory, made once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from netpol_gen.inventory.objects import Backend, Endpoints, Labels, Node, Pod, Service
from netpol_gen.inventory.versions import Past, Versions
from netpol_gen.model import Protocol, Workload
from netpol_gen.sets import Address


@dataclass(slots=True)
class Index:
    """Tables by what people ask for. Lists keep the inventory's order; nothing is changed after `build`."""

    by_workload: Mapping[Workload, tuple[Pod, ...]]
    by_name: dict[tuple[str, str], Pod] = field(default_factory=dict)
    """Of several pods of one name in the course of time the one alive, else the youngest."""
    by_label: dict[tuple[str, str, str], list[Pod]] = field(default_factory=lambda: defaultdict(list))
    """By namespace, key and value."""
    by_address: dict[Address, list[Pod]] = field(default_factory=lambda: defaultdict(list))
    """Living pods with a network of their own."""
    held_by: dict[Address, list[Pod]] = field(default_factory=lambda: defaultdict(list))
    """The same with those that have ended."""
    by_host_port: dict[tuple[int, Protocol], list[Pod]] = field(default_factory=lambda: defaultdict(list))
    nodes: dict[Address, Node] = field(default_factory=dict)
    services: dict[tuple[str, str], Service] = field(default_factory=dict)
    services_in: dict[str, list[Service]] = field(default_factory=lambda: defaultdict(list))
    backends: dict[str, list[Backend]] = field(default_factory=lambda: defaultdict(list))
    """By the Service's `namespace/name`."""
    ever_at: dict[Address, list[Versions[Service]]] = field(default_factory=lambda: defaultdict(list))
    """Services that had an address at any time."""
    ever_on_nodes: dict[tuple[int, Protocol], list[Versions[Service]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """Services that had a port of the nodes at any time."""
    ever_endpoints: dict[str, list[Versions[Endpoints]]] = field(default_factory=lambda: defaultdict(list))
    """EndpointSlices of a Service at any time, by its `namespace/name`; Endpoints only where it never had any."""

    past: Past = field(default_factory=Past)

    @classmethod
    def build(
        cls,
        pods: Sequence[Pod],
        nodes: Iterable[Node],
        services: Iterable[Service],
        backends: Iterable[Backend],
        past: Past,
    ) -> Index:
        """Sort everything into its tables."""
        by_workload: dict[Workload, list[Pod]] = defaultdict(list)
        for pod in pods:
            by_workload[pod.workload].append(pod)
        index = cls({workload: tuple(found) for workload, found in by_workload.items()})
        for pod in pods:
            index._add_pod(pod)
        for node in nodes:
            for address in (*node.addresses, *node.inner_addresses):
                index.nodes.setdefault(address, node)
        for service in services:
            index._add_service(service)
        for backend in backends:
            index.backends[backend.service].append(backend)
        index._add_past(past)
        return index

    def pods_with(self, namespace: str, labels: Labels) -> list[Pod]:
        """Pods of a namespace that carry all of these labels, of which there must be one at least."""
        lists = [self.by_label.get((namespace, key, value), []) for key, value in labels]
        wanted = set(labels)
        return [pod for pod in min(lists, key=len) if wanted.issubset(pod.labels)]

    def _add_pod(self, pod: Pod) -> None:
        key = (pod.namespace, pod.name)
        held = self.by_name.get(key)
        # Pods come in order of start: a later one replaces, unless it has ended and the earlier has not.
        if held is None or held.template or (not pod.template and (pod.live or not held.live)):
            self.by_name[key] = pod
        for label, value in pod.labels:
            self.by_label[pod.namespace, label, value].append(pod)
        if pod.host_network:
            return
        for address in pod.addresses:
            self.held_by[address].append(pod)
            if pod.live:
                self.by_address[address].append(pod)
        for host_port in sorted({(p.host_port, p.protocol) for p in pod.ports if p.host_port}):
            self.by_host_port[host_port].append(pod)

    def _add_service(self, service: Service) -> None:
        self.services[service.namespace, service.name] = service
        self.services_in[service.namespace].append(service)

    def _add_past(self, past: Past) -> None:
        for version in (version for node in past.nodes for version in node):
            for address in (*version.value.addresses, *version.value.inner_addresses):
                self.nodes.setdefault(address, version.value)
        self.past = past
        for service in past.services:
            values = [version.value for version in service]
            for address in dict.fromkeys(a for s in values for a in (*s.cluster_ips, *s.external_ips)):
                self.ever_at[address].append(service)
            for number in dict.fromkeys((p.node_port, p.protocol) for s in values for p in s.ports if p.node_port):
                self.ever_on_nodes[number].append(service)
        sliced = {each[0].value.service for each in past.endpoints if each[0].value.slice}
        for endpoints in past.endpoints:
            value = endpoints[0].value
            if value.service and (value.slice or value.service not in sliced):
                self.ever_endpoints[value.service].append(endpoints)
