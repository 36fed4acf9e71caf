"""The resolver of a workload whose egress is isolated: without it, nothing else that it may do works.

Nothing here isolates egress; it only completes what is isolated already. Every rule that comes from here without an
observation behind it says so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from netpol_gen.inventory import Inventory
from netpol_gen.inventory.objects import ContainerPort, Service
from netpol_gen.inventory.services import service_targets
from netpol_gen.model import Edge, External, ExternalKind, Party, Protocol, Workload, party_key

PORT = 53
_BOTH = (Protocol.UDP, Protocol.TCP)
_SERVICES = frozenset({("kube-system", "kube-dns"), ("kube-system", "coredns"), ("openshift-dns", "dns-default")})
_LABELS = (("k8s-app", "kube-dns"), ("dns.operator.openshift.io/daemonset-dns", "default"))
_NODE_LOCAL_NAME = "node-local-dns"
NODE_LOCAL = External(ExternalKind.NODE, "169.254.20.10")
"""Where NodeLocal DNSCache listens on every node, unless it was told otherwise."""

OTHER_PROTOCOL = "DNS uses UDP and TCP; only one of them was seen"
FROM_OTHERS = "no DNS was seen; this is the resolver that other workloads use"
FROM_INVENTORY = "no DNS was seen; this is the cluster's resolver"

Resolver = tuple[Party, int]
"""A party and the port on which it resolves names."""


@dataclass(frozen=True, slots=True)
class Resolvers:
    """The cluster's resolvers: seen in use, and known from objects."""

    seen: tuple[Resolver, ...]
    known: tuple[Resolver, ...]

    @classmethod
    def of(cls, edges: Iterable[Edge], inventory: Inventory) -> Resolvers:
        """From all edges, whoever's they are, and the inventory."""
        known = _known(inventory)
        found = {(e.dst, e.port) for e in edges if is_dns(e, known) and _of_cluster(e.dst)}
        return cls(_sorted(found), _sorted(known))

    def serves(self, party: Party) -> bool:
        """Whether a party is itself a resolver."""
        return any(party == each for each, _ in (*self.seen, *self.known))

    def has_dns(self, edges: Iterable[Edge]) -> bool:
        """Whether one of these edges is a look-up."""
        return any(is_dns(e, self.known) for e in edges)

    def completing(self, workload: Workload, edges: Collection[Edge]) -> tuple[tuple[Edge, str], ...]:
        """Edges to admit besides the workload's observed egress `edges`, each with its reason."""
        own = [e for e in edges if is_dns(e, self.known)]
        if own:
            resolvers = {(e.dst, e.port) for e in own}
            return _new(workload, resolvers, edges, OTHER_PROTOCOL)
        if self.serves(workload):
            return ()
        return _new(workload, self.likely, edges, FROM_OTHERS if self.seen else FROM_INVENTORY)

    @property
    def likely(self) -> tuple[Resolver, ...]:
        """The resolver of a workload that was not seen to use one: what others use, preferably one known from objects.

        A node's cache comes along wherever the inventory has one, because pods may be told to ask it alone.
        """
        local = {r for r in (*self.seen, *self.known) if isinstance(r[0], External)}
        if any(r[0] != NODE_LOCAL for r in local) and any(r in local for r in self.seen):
            # It was seen at another address than the usual one.
            local &= set(self.seen)
        pods = [[r for r in found if isinstance(r[0], Workload)] for found in (self.seen, self.known)]
        best = (
            [r for r in pods[0] if r in pods[1]] or pods[0] or ([] if any(r in self.seen for r in local) else pods[1])
        )
        return _sorted({*best, *local})


def is_dns(edge: Edge, known: Collection[Resolver]) -> bool:
    """Whether an edge is a look-up: port 53, or whatever port a resolver of the cluster has."""
    if edge.protocol not in _BOTH:
        return False
    return edge.port == PORT or (edge.dst, edge.port) in known


def _new(
    workload: Workload, resolvers: Iterable[Resolver], edges: Collection[Edge], reason: str
) -> tuple[tuple[Edge, str], ...]:
    wanted = {Edge(workload, party, protocol, port) for party, port in resolvers for protocol in _BOTH}
    return tuple((e, reason) for e in sorted(wanted - set(edges)))


def _of_cluster(party: Party) -> bool:
    """A resolver outside is one workload's choice, not the cluster's; a link-local one is the node's cache."""
    return isinstance(party, Workload) or party.address.startswith("169.254.")


def _known(inventory: Inventory) -> set[Resolver]:
    found: set[Resolver] = set()
    for service in inventory.services:
        if (service.namespace, service.name) in _SERVICES:
            found |= _behind(inventory, service)
    if not found:
        for workload, labels, ports in _labelled(inventory):
            if any(label in labels for label in _LABELS):
                declared = {p.number for p in ports if p.protocol in _BOTH and p.name.startswith("dns")}
                found |= {(workload, number) for number in declared or {PORT}}
    if any(_is_node_local(w, labels) for w, labels, _ in _labelled(inventory)):
        found.add((NODE_LOCAL, PORT))
    return found


def _behind(inventory: Inventory, service: Service) -> set[Resolver]:
    targets = (t for p in service.ports if p.port == PORT for t in service_targets(inventory, service, p))
    return {(t.pod.workload, t.port) for t in targets if t.pod is not None}


def _is_node_local(workload: Workload, labels: Collection[tuple[str, str]]) -> bool:
    named = workload.namespace == "kube-system" and workload.name == _NODE_LOCAL_NAME
    return workload.kind == "DaemonSet" and (named or ("k8s-app", _NODE_LOCAL_NAME) in labels)


def _labelled(inventory: Inventory) -> list[tuple[Workload, frozenset[tuple[str, str]], tuple[ContainerPort, ...]]]:
    """Workloads with their labels and declared ports: from templates, and from pods that have none."""
    out = [(c.workload, frozenset(c.template_labels), c.ports) for c in inventory.controllers.values()]
    out += [
        (p.workload, frozenset(p.labels), p.ports) for p in inventory.pods if p.workload not in inventory.controllers
    ]
    return out


def _sorted(resolvers: Iterable[Resolver]) -> tuple[Resolver, ...]:
    return tuple(sorted(resolvers, key=lambda r: (party_key(r[0]), r[1])))
