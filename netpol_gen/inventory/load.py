"""Dumps of a cluster into an `Inventory`."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from types import MappingProxyType
from typing import Any, BinaryIO

from netpol_gen.errors import printable
from netpol_gen.inventory import network
from netpol_gen.inventory.base import Inventory, pod_key
from netpol_gen.inventory.fields import Memo
from netpol_gen.inventory.history import GONE, Gone, Latest, Look, Shown, Snapshots, merge_pods, parse_gone
from netpol_gen.inventory.objects import Backend, Controller, Endpoints, Namespace, Node, Pod, Service
from netpol_gen.inventory.owners import Owners, controllers_of
from netpol_gen.inventory.parse import (
    CONTROLLERS,
    Context,
    SeenController,
    SeenPod,
    parse_controller,
    parse_pod,
    stand_in,
)
from netpol_gen.inventory.versions import Looks, Past
from netpol_gen.manifests import PARSERS, Manifest, read_manifests
from netpol_gen.memory import no_collection
from netpol_gen.model import Diagnostic, Severity, Workload
from netpol_gen.policy import NetworkPolicy
from netpol_gen.sets import Address, AddressSet, Network
from netpol_gen.tiers import TierPolicy

_API_SERVER = "default/kubernetes"
_CONTRADICTION = "two dumps of one date or none disagree about this object; date them (netpol-gen.dev/taken-at)"


@no_collection()
def load_inventory(
    paths: Sequence[str | PathLike[str]],
    *,
    stdin: BinaryIO | None = None,
    pod_cidrs: Iterable[Network] = (),
    service_cidrs: Iterable[Network] = (),
    default_namespace: str = "default",
) -> Inventory:
    """What the dumps say the cluster held; see `read_manifests` for what a path may be.

    Objects without a namespace are in `default_namespace`. Several dumps make a history if each List carries the
    annotation `netpol-gen.dev/taken-at`. Kinds that nothing here uses are counted in `Inventory.other`.

    Raises:
        InputError: a file, object or field that cannot be used, with its place.

    """
    manifests = read_manifests(paths, stdin=stdin)
    return inventory_of(
        manifests, pod_cidrs=pod_cidrs, service_cidrs=service_cidrs, default_namespace=default_namespace
    )


def inventory_of(
    manifests: Iterable[Manifest],
    *,
    pod_cidrs: Iterable[Network] = (),
    service_cidrs: Iterable[Network] = (),
    default_namespace: str = "default",
) -> Inventory:
    """The same from objects that are read already.

    Raises:
        InputError: an object or field that cannot be used, with its place.

    """
    found = _Found(Context(Memo(), default_namespace))
    for manifest in manifests:
        found.take(manifest)
    return found.inventory(tuple(pod_cidrs), tuple(service_cidrs))


def _by_name(value: Any) -> tuple[str, str]:
    return (value.namespace, value.name)


@dataclass(slots=True)
class _Found:
    """Objects by kind while they are read."""

    context: Context
    snapshots: Snapshots = field(default_factory=Snapshots)
    pods: list[tuple[SeenPod, int | None]] = field(default_factory=list)
    namespaces: Latest[Namespace] = field(default_factory=lambda: Latest(lambda n: n.name))
    nodes: Looks[Node] = field(default_factory=lambda: Looks(lambda n: n.name))
    services: Looks[Service] = field(default_factory=lambda: Looks(_by_name))
    endpoints: Looks[Endpoints] = field(default_factory=lambda: Looks(lambda e: (e.namespace, e.name, e.slice)))
    controllers: Latest[SeenController] = field(default_factory=lambda: Latest(lambda c: c.controller.workload))
    policies: Latest[NetworkPolicy] = field(default_factory=lambda: Latest(_by_name))
    tiers: Latest[TierPolicy] = field(default_factory=lambda: Latest(lambda t: t.ref))
    callees: Latest[network.Callees] = field(default_factory=lambda: Latest(lambda c: (c.group, c.kind, c.name)))
    gone: list[Gone] = field(default_factory=list)
    pod_cidrs: list[Network] = field(default_factory=list)
    service_cidrs: list[Network] = field(default_factory=list)
    other: dict[str, int] = field(default_factory=dict)

    def take(self, manifest: Manifest) -> None:
        """Put one object where it belongs."""
        look = self.snapshots.look(manifest)
        if manifest.empty_list:
            return
        kind, context = (manifest.group, manifest.kind), self.context
        match kind:
            case ("", "Pod"):
                self.pods.append((parse_pod(manifest, context), look.taken))
            case ("", "Namespace"):
                self.namespaces.add(network.parse_namespace(manifest, context), look)
            case ("", "Node"):
                self.nodes.add(network.parse_node(manifest, context), look)
            case ("", "Service"):
                self.services.add(network.parse_service(manifest, context), look)
            case ("discovery.k8s.io", "EndpointSlice"):
                self.endpoints.add(network.parse_slice(manifest, context), look)
            case ("", "Endpoints"):
                self.endpoints.add(network.parse_endpoints(manifest, context), look)
            case _ if kind in CONTROLLERS:
                self.controllers.add(parse_controller(manifest, context), look)
            case _ if kind in PARSERS:
                self._take_policy(manifest, look)
            case _:
                self._take_other(manifest, look)

    def _take_other(self, manifest: Manifest, look: Look) -> None:
        kind = (manifest.group, manifest.kind)
        if kind in network.CALLERS:
            self.callees.add(network.parse_callees(manifest), look)
        elif kind == GONE:
            self.gone.append(parse_gone(manifest, look.taken))
        elif kind in network.POD_RANGES:
            self.pod_cidrs += network.parse_ranges(manifest)
        elif kind in network.SERVICE_RANGES:
            self.service_cidrs += network.parse_ranges(manifest)
        else:
            self.other[manifest.full_kind] = self.other.get(manifest.full_kind, 0) + 1

    def _take_policy(self, manifest: Manifest, look: Look) -> None:
        parser = PARSERS[manifest.group, manifest.kind]
        value = parser(manifest.data, manifest.place, self.context.default_namespace)
        if isinstance(value, NetworkPolicy):
            self.policies.add(value, look)
        else:
            self.tiers.add(value, look)

    def inventory(self, pod_cidrs: Iterable[Network], service_cidrs: Iterable[Network]) -> Inventory:
        """Everything put together."""
        for gone in self.gone:
            self._drop(gone)
        past = self._past()
        seen = merge_pods(self.pods, self.snapshots)
        owners = Owners.of(self.controllers.values())
        climbed = [(pod, *owners.workload_of(pod)) for pod in seen]
        controllers = controllers_of(owners)
        pods = _with_stand_ins([_with_workload(s.pod, workload) for s, workload, _ in climbed], controllers)
        services, backends = self.services.values(), self._backends()
        nodes = _with_hosts(self.nodes.values(), seen)
        flags = [flag.partition("=") for s in seen for flag in s.flags]
        self.pod_cidrs += [c for name, _, value in flags if name == "--cluster-cidr" for c in _cidrs(value)]
        self.service_cidrs += [c for name, _, value in flags if name != "--cluster-cidr" for c in _cidrs(value)]
        held = [a for pod in pods if not pod.host_network for a in pod.addresses]
        self.pod_cidrs += [*pod_cidrs, *(cidr for node in nodes for cidr in node.pod_cidrs)]
        self.service_cidrs += service_cidrs
        # Also of those that are gone: what held an address once is still no outside address.
        virtual = [ip for ips in {v.value.cluster_ips for each in past.services for v in each} for ip in ips]
        return Inventory(
            MappingProxyType({n.name: n for n in self.namespaces.values()}),
            MappingProxyType({n.name: n for n in nodes}),
            pods,
            MappingProxyType(controllers),
            tuple(services),
            backends,
            frozenset(e.service for e in self.endpoints.values() if e.service),
            tuple(self.policies.values()),
            tuple(self.tiers.values()),
            MappingProxyType({kind: self.other[kind] for kind in sorted(self.other)}),
            AddressSet.of(*self.pod_cidrs, *held),
            AddressSet.of(*self.service_cidrs, *virtual, *_between(virtual, self.service_cidrs)),
            frozenset((b.address, b.port) for b in backends if b.service == _API_SERVER),
            tuple(
                sorted([*self._diagnostics([w for _, w, guessed in climbed if guessed]), *self._gaps(held, virtual)])
            ),
            tuple(sorted({c for each in self.callees.values() for c in each.callees})),
            frozenset().union(*(about.api_groups for about in self.snapshots.lists)),
            past,
        )

    def _past(self) -> Past:
        """What there was at all times; what a later look lacks is dropped from the latest."""
        shown = self.snapshots.shown
        services = shown.get(("", "Service"), {})
        slices, plain = shown.get(("discovery.k8s.io", "EndpointSlice"), {}), shown.get(("", "Endpoints"), {})

        def endpoints_shown(value: Endpoints) -> Shown:
            return slices if value.slice else plain

        nodes = shown.get(("", "Node"), {})
        self.nodes.drop_absent(lambda _: nodes)
        self.services.drop_absent(lambda _: services)
        self.endpoints.drop_absent(endpoints_shown)
        dated = [about.look.taken for about in self.snapshots.lists if about.look.taken is not None]
        return Past(
            self.services.versions(lambda _: services),
            self.endpoints.versions(endpoints_shown),
            self.nodes.versions(lambda _: nodes),
            max(dated, default=None),
        )

    def _drop(self, gone: Gone) -> None:
        """What a history says is gone is gone; ranges stay, because what held them once is still no outside address."""
        by_name, taken = (gone.namespace, gone.name), gone.taken
        match (gone.group, gone.kind):
            case ("", "Pod"):
                self.snapshots.gone_pods.setdefault(gone.uid or by_name, []).append(gone)
            case ("", "Namespace"):
                self.namespaces.drop(gone.name, taken)
            case ("", "Node"):
                self.nodes.drop(gone.name, taken)
                self.nodes.went(gone.name, gone.last_seen, gone.gone_by)
            case ("", "Service"):
                self.services.drop(by_name, taken)
                self.services.went(by_name, gone.last_seen, gone.gone_by)
            case ("discovery.k8s.io", "EndpointSlice"):
                self.endpoints.drop((*by_name, True), taken)
                self.endpoints.went((*by_name, True), gone.last_seen, gone.gone_by)
            case ("", "Endpoints"):
                self.endpoints.drop((*by_name, False), taken)
                self.endpoints.went((*by_name, False), gone.last_seen, gone.gone_by)
            case ("networking.k8s.io", "NetworkPolicy"):
                self.policies.drop(by_name, taken)
            case kind if kind in CONTROLLERS:
                self.controllers.drop(Workload(gone.namespace, gone.kind, gone.name), taken)
            case kind if kind in PARSERS:
                self.tiers.drop(f"{gone.kind}/{gone.name}", taken)
            case kind if kind in network.CALLERS:
                self.callees.drop((gone.group, gone.kind, gone.name), taken)
            case _:
                # Ranges, and kinds that are only counted.
                pass

    def _backends(self) -> tuple[Backend, ...]:
        """Endpoints, from slices where the Service has any: Endpoints objects repeat them, cut off at 1,000."""
        every = self.endpoints.values()
        sliced = {e.service for e in every if e.slice}
        chosen = [e for e in every if e.service and (e.slice or e.service not in sliced)]
        return tuple(sorted({b for e in chosen for b in e.backends}, key=_backend_key))

    def _diagnostics(self, guessed: Sequence[Workload]) -> list[Diagnostic]:
        latest: list[Latest[Any]] = [
            self.namespaces, self.nodes, self.services, self.endpoints, self.controllers, self.policies,
            self.tiers,
        ]  # fmt: skip
        out = [Diagnostic("NPG110", ref, _CONTRADICTION) for each in latest for ref in sorted(each.contradictions)]
        text = "concluded from the name of its ReplicaSet or Job, which was not dumped"
        out += [Diagnostic("NPG211", str(workload), text, Severity.INFO) for workload in set(guessed)]
        out += [
            Diagnostic("NPG112", "snapshot", f"could not be read: {printable(line, 400)}")
            for line in sorted({line for about in self.snapshots.lists for line in about.not_read})
        ]
        out += [
            Diagnostic("NPG111", kind, f"{count} of this kind play no part in flows or policies", Severity.INFO)
            for kind, count in self.other.items()
        ]
        return out

    def _gaps(self, held: Sequence[Address], virtual: Sequence[Address]) -> Iterator[Diagnostic]:
        """Address families of which only single addresses are known: others of that range look like outside."""
        for what, single, ranges in (("pod", held, self.pod_cidrs), ("service", virtual, self.service_cidrs)):
            for version in sorted({a.version for a in single} - {c.version for c in ranges}):
                but = " but what lies between those of Services" if what == "service" else ""
                text = f"no range is known{but}; an address that nobody held is taken for one outside (--{what}-cidr)"
                yield Diagnostic("NPG212", f"{what} addresses, IPv{version}", text)


def _cidrs(value: str) -> list[Network]:
    """The value of a range flag; an odd one is not worth failing for, as ranges have other sources."""
    found: list[Network] = []
    for text in value.split(","):
        with contextlib.suppress(ValueError):
            found.append(ipaddress.ip_network(text.strip()))
    return found


def _between(held: Iterable[Address], ranges: Iterable[Network]) -> Iterator[Network]:
    """Ranges that addresses of Services show to be theirs, of families of which no range is known.

    A range that has two addresses has all between them, too. Clusters may have several: addresses that lie further
    apart than the largest one that the API server takes are not of one.
    """
    told = {each.version for each in ranges}
    group: list[Address] = []
    for address in sorted({a for a in held if a.version not in told}, key=_address_key):
        if group and (address.version != group[0].version or _shared(group[0], address) < _LARGEST[address.version]):
            yield ipaddress.ip_network((group[0], _shared(group[0], group[-1])), strict=False)
            group = []
        group.append(address)
    if group:
        yield ipaddress.ip_network((group[0], _shared(group[0], group[-1])), strict=False)


_LARGEST = {4: 12, 6: 108}
"""Prefixes: 20 bits for the addresses of Services."""


def _shared(first: Address, last: Address) -> int:
    """How many bits two addresses of one family begin with alike."""
    return first.max_prefixlen - (int(first) ^ int(last)).bit_length()


def _backend_key(backend: Backend) -> tuple[Any, ...]:
    b = backend
    return (b.service, b.port_name, b.protocol, b.port, b.address.version, int(b.address), b.pod, b.ready)


def _with_workload(pod: Pod, workload: Workload) -> Pod:
    """The pod itself where it is a workload of its own: copying takes 10 µs."""
    return pod if workload == pod.workload else replace(pod, workload=workload)


def _with_stand_ins(pods: Sequence[Pod], controllers: Mapping[Workload, Controller]) -> tuple[Pod, ...]:
    alive = {pod.workload for pod in pods if pod.live}
    absent = [stand_in(controller) for workload, controller in controllers.items() if workload not in alive]
    return tuple(sorted((*pods, *absent), key=pod_key))


def _with_hosts(nodes: Iterable[Node], seen: Iterable[SeenPod]) -> list[Node]:
    """Nodes with the addresses that pods name as their host's; nodes that were not dumped as far as pods know them."""
    known = {node.name: node for node in nodes}
    taken = {address for node in known.values() for address in node.addresses}
    hosts: dict[str, dict[Address, None]] = {}
    for each in seen:
        if each.pod.node:
            hosts.setdefault(each.pod.node, {}).update(dict.fromkeys(each.host_addresses))
    for name, addresses in hosts.items():
        new = tuple(sorted((a for a in addresses if a not in taken), key=_address_key))
        if new or name not in known:
            node = known.get(name, Node(name))
            known[name] = replace(node, addresses=(*node.addresses, *new))
    return [known[name] for name in sorted(known)]


def _address_key(address: Address) -> tuple[int, int]:
    return (address.version, int(address))
