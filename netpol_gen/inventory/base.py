"""The inventory as one frozen value, with the look-ups that every later step needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from netpol_gen.inventory.index import Index
from netpol_gen.inventory.objects import Backend, Callee, Controller, Namespace, Node, Pod, Service
from netpol_gen.inventory.versions import Past
from netpol_gen.model import Diagnostic, Workload
from netpol_gen.policy import NetworkPolicy
from netpol_gen.sets import Address, AddressSet
from netpol_gen.tiers import TierPolicy

NAME_LABEL = "kubernetes.io/metadata.name"


@dataclass(frozen=True, slots=True)
class Inventory:
    """What the cluster held. Tuples are sorted by name; mappings iterate in the order of their keys.

    `pods` holds every pod of every snapshot once, the ended ones too, and one stand-in (`Pod.template`) for each
    controller without a live pod. `tiers` are the cluster-wide policies.
    `other` counts objects by `Kind.group` that nothing here uses.
    """

    namespaces: Mapping[str, Namespace] = field(default_factory=lambda: MappingProxyType({}))
    nodes: Mapping[str, Node] = field(default_factory=lambda: MappingProxyType({}))
    pods: tuple[Pod, ...] = ()
    controllers: Mapping[Workload, Controller] = field(default_factory=lambda: MappingProxyType({}))
    services: tuple[Service, ...] = ()
    backends: tuple[Backend, ...] = ()
    sliced: frozenset[str] = frozenset()
    """Services (`namespace/name`) whose endpoints were dumped, be there none."""
    policies: tuple[NetworkPolicy, ...] = ()
    tiers: tuple[TierPolicy, ...] = ()
    other: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    pod_ranges: AddressSet = field(default_factory=AddressSet)
    """What pods may hold: nodes' pod CIDRs, address pools, given CIDRs, and every address that a pod did hold."""
    service_ranges: AddressSet = field(default_factory=AddressSet)
    """What Services may hold: ServiceCIDRs, the API server's flag, given CIDRs, and every cluster IP."""
    api_server: frozenset[tuple[Address, int]] = frozenset()
    """Endpoints of `default/kubernetes`: address and backend port."""
    diagnostics: tuple[Diagnostic, ...] = ()
    callees: tuple[Callee, ...] = ()
    """What the API server itself calls: webhooks and aggregated APIs."""
    api_groups: frozenset[str] = frozenset()
    """API groups of network plug-ins, as far as a snapshot of the live cluster noted them."""
    past: Past | None = None
    """Services, endpoints and nodes as of other times than the end; `None` if they were always the same."""
    index: Index = field(init=False, repr=False, compare=False)
    """Look-up tables over the above."""
    derived: dict[type, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What others worked out of this value once, by what it is: `Timeline.of`."""

    def __post_init__(self) -> None:
        """Build the look-up tables."""
        past = self.past or Past.of(self.services, self.backends, self.nodes.values())
        index = Index.build(self.pods, self.nodes.values(), self.services, self.backends, past)
        object.__setattr__(self, "index", index)

    def pods_of(self, workload: Workload) -> tuple[Pod, ...]:
        """Every pod of a workload, ended ones and the stand-in included."""
        return self.index.by_workload.get(workload, ())

    def workload(self, workload: Workload) -> Controller | None:
        """The workload's own object, if it was dumped."""
        return self.controllers.get(workload)

    def namespace_labels(self, namespace: str) -> dict[str, str]:
        """Labels of a namespace, always with the name label; `namespace in namespaces` says whether it was dumped."""
        known = self.namespaces.get(namespace)
        return {**(dict(known.labels) if known else {}), NAME_LABEL: namespace}

    def pod(self, namespace: str, name: str) -> Pod | None:
        """The pod of that name; of several in the course of time the one alive, else the youngest."""
        return self.index.by_name.get((namespace, name))

    def service(self, namespace: str, name: str) -> Service | None:
        """The Service of that name."""
        return self.index.services.get((namespace, name))

    def node_at(self, address: Address) -> Node | None:
        """The node that answers at an address, be it its own or one from the pod ranges."""
        return self.index.nodes.get(address)

    def with_observed(self, pods: Iterable[Pod], namespaces: Iterable[Namespace] = ()) -> Inventory:
        """The same with pods and namespaces known only from flows; an object of the same name wins."""
        known = {(pod.namespace, pod.name) for pod in self.pods if not pod.template}
        given = (p for p in pods if (p.namespace, p.name) not in known)
        new = {pod_key(p): p if p.observed else replace(p, observed=True) for p in given}
        named = {**{n.name: n for n in namespaces}, **self.namespaces}
        if not new and len(named) == len(self.namespaces):
            return self
        return replace(
            self,
            pods=tuple(sorted((*self.pods, *(new[k] for k in sorted(new))), key=pod_key)),
            namespaces=MappingProxyType({name: named[name] for name in sorted(named)}),
        )


def pod_key(pod: Pod) -> tuple[Any, ...]:
    """Total order and identity of pods: a name can be used again, by a pod with another start or uid."""
    started = -1 if pod.started is None else pod.started
    held = tuple(map(str, pod.addresses))
    return (pod.namespace, pod.name, pod.template, started, pod.uid, pod.workload, held)


def empty() -> Inventory:
    """An inventory of nothing, for runs without one."""
    return Inventory()
