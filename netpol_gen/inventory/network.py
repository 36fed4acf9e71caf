"""Objects of the network: namespaces, nodes, Services and their endpoints, address ranges."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from netpol_gen.errors import InputError
from netpol_gen.inventory.base import NAME_LABEL
from netpol_gen.inventory.fields import Fields, parse_network
from netpol_gen.inventory.objects import Backend, Callee, Endpoints, Namespace, Node, Service, ServicePort
from netpol_gen.inventory.parse import Context
from netpol_gen.manifests import Manifest
from netpol_gen.sets import Address, Network

_SERVICE_LABEL = "kubernetes.io/service-name"
_NODE_ADDRESSES = ("InternalIP", "ExternalIP")
# Plug-ins that do not give the first address of a node's CIDR to a bridge, but may give it to a pod.
_OWN_IPAM = ("projectcalico.org/", "network.cilium.io/", "io.cilium.network.")
_TUNNELS = (
    "projectcalico.org/IPv4IPIPTunnelAddr",
    "projectcalico.org/IPv4VXLANTunnelAddr",
    "projectcalico.org/IPv6VXLANTunnelAddr",
    "projectcalico.org/IPv4WireguardInterfaceAddr",
    "network.cilium.io/ipv4-cilium-host",
    "network.cilium.io/ipv6-cilium-host",
    "io.cilium.network.ipv4-cilium-host",
    "io.cilium.network.ipv6-cilium-host",
)
_DEFAULT_CALLEE_PORT = 443
_OVN_SUBNETS = "k8s.ovn.org/node-subnets"


def parse_namespace(manifest: Manifest, context: Context) -> Namespace:
    """A Namespace."""
    metadata = Fields(manifest.data, manifest.place).sub("metadata")
    name = metadata.name()
    labels = {**dict(context.memo.read_labels(metadata)), NAME_LABEL: name}
    return Namespace(name, tuple(sorted(labels.items())))


def parse_node(manifest: Manifest, context: Context) -> Node:
    """A Node, with the addresses that it is known to hold within the pod ranges."""
    top = Fields(manifest.data, manifest.place)
    metadata, spec, memo = top.sub("metadata"), top.sub("spec"), context.memo
    addresses = [
        address
        for entry in top.sub("status").each("addresses")
        if entry.text("type") in _NODE_ADDRESSES and (address := memo.address(entry, "address")) is not None
    ]
    cidrs = [parse_network(text, spec.at("podCIDRs")) for text in spec.texts("podCIDRs")]
    if text := spec.text("podCIDR"):
        cidrs.append(parse_network(text, spec.at("podCIDR")))
    annotations = metadata.sub("annotations")
    bridged = not any(key.startswith(_OWN_IPAM) for key in annotations.data)
    cidrs += _ovn_subnets(annotations)
    distinct = tuple(dict.fromkeys(cidrs))
    inner = [address for k in _TUNNELS if (address := memo.address(annotations, k)) is not None]
    if bridged:
        inner += [address for cidr in distinct for address in _bridge(cidr)]
    return Node(
        metadata.name(),
        tuple(dict.fromkeys(addresses)),
        distinct,
        memo.read_labels(metadata),
        tuple(dict.fromkeys(inner)),
        memo.time(metadata, "creationTimestamp"),
    )


def _bridge(cidr: Network) -> Iterable[Address]:
    """The first two addresses: a VXLAN device takes the network's own, the bridge the one after it."""
    return (cidr[0], cidr[1]) if cidr.num_addresses > 2 else ()


def _ovn_subnets(annotations: Fields) -> list[Network]:
    """OVN-Kubernetes keeps the node's subnets in an annotation: `{"default": ["10.128.0.0/23"]}` or one string."""
    found = None
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(annotations.text(_OVN_SUBNETS) or "{}")
    subnets = found.get("default", []) if isinstance(found, dict) else None
    if subnets is None:
        raise annotations.wrong(_OVN_SUBNETS, "a JSON object")
    place = annotations.at(_OVN_SUBNETS)
    return [parse_network(text, place) for text in (subnets if isinstance(subnets, list) else [subnets])]


def parse_service(manifest: Manifest, context: Context) -> Service:
    """A Service."""
    top = Fields(manifest.data, manifest.place)
    metadata, spec = top.sub("metadata"), top.sub("spec")
    memo, cluster_ips = context.memo, []
    if spec.text("clusterIP") not in ("", "None"):
        cluster_ips = [ip for ip in (memo.address(spec, "clusterIP"),) if ip is not None]
    if "None" not in spec.texts("clusterIPs"):
        cluster_ips += memo.each_address(spec, "clusterIPs")
    external = memo.each_address(spec, "externalIPs")
    ingress = top.sub("status").sub("loadBalancer").each("ingress")
    external += [ip for entry in ingress if (ip := memo.address(entry, "ip")) is not None]
    return Service(
        context.namespace(metadata),
        metadata.name(),
        # An empty selector is none at all: it does not select every pod.
        context.memo.read_labels(spec, "selector") or None,
        tuple(sorted({_service_port(port) for port in spec.each("ports")}, key=repr)),
        tuple(dict.fromkeys(cluster_ips)),
        tuple(dict.fromkeys(external)),
        spec.text("type") or "ClusterIP",
        spec.text("externalTrafficPolicy") or "Cluster",
        spec.text("externalName"),
        memo.time(metadata, "creationTimestamp"),
    )


def _service_port(port: Fields) -> ServicePort:
    number = port.port("port")
    if number is None:
        raise InputError("no port number", port.at("port"))
    target: int | str = number
    if isinstance(port.data.get("targetPort"), str):
        target = port.text("targetPort") or number
    elif port.number("targetPort"):
        target = port.port("targetPort") or number
    node_port = port.port("nodePort") if port.number("nodePort") else None
    return ServicePort(number, port.protocol(), target, port.text("name"), node_port)


def parse_slice(manifest: Manifest, context: Context) -> Endpoints:
    """An EndpointSlice. One whose addresses are host names has no backends here."""
    top = Fields(manifest.data, manifest.place)
    metadata = top.sub("metadata")
    namespace, name = context.namespace(metadata), metadata.name()
    label = metadata.sub("labels").text(_SERVICE_LABEL)
    service = f"{namespace}/{label}" if label else ""
    backends = []
    for endpoint in top.each("endpoints") if top.text("addressType") != "FQDN" else []:
        pod = _target_pod(endpoint, namespace)
        ready = endpoint.sub("conditions").data.get("ready") is not False
        for address in context.memo.each_address(endpoint, "addresses"):
            backends += [
                context.memo.backend(Backend(service, port.text("name"), port.protocol(), number, address, pod, ready))
                for port in top.each("ports")
                if (number := port.port("port")) is not None
            ]
    return Endpoints(
        namespace, name, service, tuple(backends), slice=True, created=context.memo.time(metadata, "creationTimestamp")
    )


def parse_endpoints(manifest: Manifest, context: Context) -> Endpoints:
    """An Endpoints object, which bears its Service's name."""
    top = Fields(manifest.data, manifest.place)
    metadata = top.sub("metadata")
    namespace, name = context.namespace(metadata), metadata.name()
    service = f"{namespace}/{name}"
    backends = []
    for subset in top.each("subsets"):
        ports = [(p.text("name"), p.protocol(), n) for p in subset.each("ports") if (n := p.port("port")) is not None]
        for key, ready in (("addresses", True), ("notReadyAddresses", False)):
            for entry in subset.each(key):
                address, pod = context.memo.address(entry, "ip"), _target_pod(entry, namespace)
                if address is None:
                    raise InputError("no address", entry.at("ip"))
                backends += [
                    context.memo.backend(Backend(service, n, protocol, p, address, pod, ready))
                    for n, protocol, p in ports
                ]
    return Endpoints(
        namespace, name, service, tuple(backends), slice=False, created=context.memo.time(metadata, "creationTimestamp")
    )


def _target_pod(endpoint: Fields, namespace: str) -> str:
    target = endpoint.sub("targetRef")
    if target.text("kind") != "Pod":
        return ""
    return f"{target.name('namespace', namespace)}/{target.name()}"


def parse_ranges(manifest: Manifest) -> tuple[Network, ...]:
    """Address ranges from the objects that hold nothing else: ServiceCIDR, Calico's IPPool, CiliumNode."""
    spec = Fields(manifest.data, manifest.place).sub("spec")
    if manifest.kind == "IPPool":
        return (parse_network(spec.data.get("cidr"), spec.at("cidr")),)
    key = "cidrs" if manifest.kind == "ServiceCIDR" else "podCIDRs"
    holder = spec if manifest.kind == "ServiceCIDR" else spec.sub("ipam")
    return tuple(parse_network(text, holder.at(key)) for text in holder.texts(key))


@dataclass(frozen=True, slots=True)
class Callees:
    """What one webhook configuration or APIService makes the API server call."""

    group: str
    kind: str
    name: str
    callees: tuple[Callee, ...]


def parse_callees(manifest: Manifest) -> Callees:
    """A webhook configuration or an APIService; those that name no Service call nothing in the cluster."""
    top = Fields(manifest.data, manifest.place)
    name = top.sub("metadata").name(free=True)
    if manifest.kind == "APIService":
        targets = [top.sub("spec").sub("service")]
    else:
        targets = [hook.sub("clientConfig").sub("service") for hook in top.each("webhooks")]
    why = f"{manifest.kind}/{name}"
    callees = {
        Callee(f"{t.name('namespace')}/{t.name()}", t.port("port") or _DEFAULT_CALLEE_PORT, why)
        for t in targets
        if t.data
    }
    return Callees(manifest.group, manifest.kind, name, tuple(sorted(callees)))


CALLERS = frozenset(
    {
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
        ("apiregistration.k8s.io", "APIService"),
    }
)
POD_RANGES = frozenset(
    {("crd.projectcalico.org", "IPPool"), ("projectcalico.org", "IPPool"), ("cilium.io", "CiliumNode")}
)
SERVICE_RANGES = frozenset({("networking.k8s.io", "ServiceCIDR")})
