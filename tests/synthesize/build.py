"""Short words for small clusters."""

from __future__ import annotations

import ipaddress
from types import MappingProxyType

from netpol_gen.inventory import Inventory
from netpol_gen.inventory.objects import ContainerPort, Controller, Namespace, Node, Pod, Service, ServicePort
from netpol_gen.model import (
    DirectionEvidence,
    Edge,
    Evidence,
    External,
    ExternalKind,
    Protocol,
    Signal,
    Workload,
)
from netpol_gen.selectors import LabelSelector
from netpol_gen.sets import AddressSet

EVIDENCE = Evidence(1, 2, 1, 0, 0, DirectionEvidence.SYN, Signal.SYN)


def labels(text):
    """`a=b c=d` as sorted pairs."""
    return tuple(sorted(tuple(word.split("=", 1)) for word in text.split()))


def ports(text):
    """`http:8080 dns:53/UDP :9090` as container ports."""
    out = []
    for word in text.split():
        name, _, rest = word.partition(":")
        number, _, protocol = rest.partition("/")
        out.append(ContainerPort(int(number), Protocol(protocol or "TCP"), name))
    return tuple(out)


def w(text):
    """`ns/name`, `ns/Kind/name`: a workload, a Deployment by default."""
    parts = text.split("/")
    return Workload(parts[0], parts[1] if len(parts) == 3 else "Deployment", parts[-1])


def world(address):
    return External(ExternalKind.WORLD, address)


def node(address):
    return External(ExternalKind.NODE, address)


def party(text):
    return w(text) if isinstance(text, str) else text


def edge(src, dst, port, protocol="TCP"):
    return Edge(party(src), party(dst), Protocol(protocol), port)


def evidence(*edges):
    return dict.fromkeys(edges, EVIDENCE)


def address(text):
    return ipaddress.ip_address(text)


class Cluster:
    """Collects objects; `inventory` is what they make."""

    def __init__(self):
        self.pods = []
        self.controllers = {}
        self.services = []
        self.nodes = {}
        self.api_server = frozenset()
        self.pod_ranges = AddressSet.of(ipaddress.ip_network("10.244.0.0/16"))
        self.service_ranges = AddressSet.of(ipaddress.ip_network("10.96.0.0/16"))

    def deploy(self, name, pod_labels, selector=None, declared="", replicas=1, extra="", host_network=False):
        """A controller with pods. `selector` defaults to the labels; "-" is none; `extra` labels are on pods only."""
        workload = w(name)
        chosen = selector
        if not isinstance(selector, LabelSelector):
            chosen = None if selector == "-" else LabelSelector(labels(selector or pod_labels))
        self.controllers[workload] = Controller(
            workload, chosen, labels(pod_labels), ports(declared), replicas, host_network=host_network
        )
        for i in range(replicas):
            self.pod(workload, f"{pod_labels} {extra.format(i=i)}", declared, f"{workload.name}-{i}x", host_network)
        return self

    def pod(self, workload, pod_labels, declared="", name=None, host_network=False, **more):
        workload = party(workload)
        addresses = tuple(map(address, more.pop("addresses", ())))
        self.pods.append(
            Pod(
                workload.namespace,
                name or workload.name,
                labels(pod_labels),
                workload,
                addresses,
                ports(declared),
                host_network=host_network,
                **more,
            )
        )
        return self

    def service(self, name, selector, target, port=80, protocol="TCP", **more):
        namespace, _, own = name.partition("/")
        listed = (ServicePort(port, Protocol(protocol), target, "main"),)
        self.services.append(Service(namespace, own, labels(selector), listed, **more))
        return self

    def node(self, name, *addresses):
        self.nodes[name] = Node(name, tuple(map(address, addresses)))
        return self

    @property
    def inventory(self):
        names = sorted({p.namespace for p in self.pods} | {c.namespace for c in self.controllers})
        return Inventory(
            namespaces=MappingProxyType({n: Namespace(n, (("kubernetes.io/metadata.name", n),)) for n in names}),
            nodes=MappingProxyType(dict(sorted(self.nodes.items()))),
            pods=tuple(sorted(self.pods, key=lambda p: (p.namespace, p.name))),
            controllers=MappingProxyType(dict(sorted(self.controllers.items()))),
            services=tuple(self.services),
            pod_ranges=self.pod_ranges,
            service_ranges=self.service_ranges,
            api_server=self.api_server,
        )


def shown(synthesis, ref):
    """A policy on a few lines: its selector, what it isolates, and `direction peers : ports` for each rule."""
    (policy,) = [p for p in synthesis.policies if p.ref == ref]
    lines = [f"{policy.pod_selector} {'+'.join(d for d in ('Ingress', 'Egress') if d in policy.policy_types)}"]
    for word, rules in (("from", policy.ingress), ("to", policy.egress)):
        lines += [f"{word} {', '.join(map(_peer, r.peers))} : {', '.join(map(_port, r.ports))}" for r in rules]
    return lines


def _peer(peer):
    if peer.ip_block is not None:
        block = peer.ip_block
        return f"{block.cidr}" + (f" except {' '.join(map(str, block.except_))}" if block.except_ else "")
    if peer.namespace_selector is None:
        return f"{peer.pod_selector}"
    ((key, namespace),) = peer.namespace_selector.match_labels
    assert key == "kubernetes.io/metadata.name"
    return f"{namespace}/{peer.pod_selector}"


def _port(port):
    return f"{port.protocol} {port.port}" + (f"-{port.end_port}" if port.end_port else "")


def codes(synthesis):
    return sorted({d.code for d in synthesis.diagnostics})
