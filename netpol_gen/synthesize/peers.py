"""Patterns for the other end of an edge: pod selectors where it has pods, ipBlocks where it has only addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from netpol_gen.config import Cni, Config, SnatClients
from netpol_gen.inventory import NAME_LABEL, Inventory
from netpol_gen.inventory.objects import Service
from netpol_gen.inventory.services import services_selecting
from netpol_gen.model import Direction, Edge, External, ExternalKind, Workload
from netpol_gen.policy import IPBlock, Peer
from netpol_gen.selectors import LabelSelector
from netpol_gen.sets import Address, AddressSet, Network
from netpol_gen.synthesize.cover import touches
from netpol_gen.synthesize.names import is_namespace
from netpol_gen.synthesize.subjects import Subject, choose, within
from netpol_gen.synthesize.universe import Row, Universe

_LINK_LOCAL: Final = ipaddress.ip_network("169.254.0.0/16")
_EVERYWHERE: Final = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))
_PRIVATE: Final = AddressSet.of(
    *map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))
)
NEVER_GENERALISED: Final = AddressSet.of(
    *map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "224.0.0.0/3",
            "::/127",
            "fe80::/10",
            "ff00::/8",
            "fd00:ec2::/32",
        ),
    )
)
"""Loopback, link-local with the metadata services, multicast: covered only where observed."""


_MAX_EXCEPTIONS: Final = 32

Remarks = tuple[tuple[str, str], ...]
"""Diagnostic codes and what to say under them."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Peers for a party, or the problem that leaves none.

    `rows` are the pods that they select, none for addresses. `also`: workloads that they select besides, which is
    right only where those have the same edge. `outside`: an address that may be merged with others. `remarks` are a
    diagnostic code and what to say about it.
    """

    peers: tuple[Peer, ...] = ()
    problem: str = ""
    rows: tuple[Row, ...] = ()
    also: tuple[Workload, ...] = ()
    outside: bool = False
    widened: str = ""
    remarks: Remarks = ()
    instead: Answer | None = None
    """A better answer wherever the workloads that it selects besides have the same edge."""


@dataclass(slots=True)
class Directory:
    """Selectors and peers, each found once."""

    universe: Universe
    config: Config
    _nodes: tuple[Address, ...] = ()
    _inside: AddressSet = AddressSet()  # noqa: RUF009 - frozen and empty
    _subjects: dict[Workload, Subject] = field(default_factory=dict)
    _egress: dict[Workload, tuple[LabelSelector, Remarks]] = field(default_factory=dict)
    _services: dict[Workload, tuple[Service, ...]] = field(default_factory=dict)
    _namespaces: dict[str, LabelSelector] = field(default_factory=dict)
    _answers: dict[tuple[Workload, str, Direction], Answer] = field(default_factory=dict)
    _rows: dict[tuple[str, LabelSelector], tuple[Row, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Addresses of the cluster."""
        inventory = self.universe.inventory
        self._nodes = _node_addresses(inventory)
        self._inside = inventory.service_ranges | inventory.pod_ranges

    def subject(self, workload: Workload) -> Subject:
        """How a workload is selected."""
        if workload not in self._subjects:
            self._subjects[workload] = choose(self.universe, workload)
        return self._subjects[workload]

    def selected(self, namespace: str, selector: LabelSelector) -> tuple[Row, ...]:
        """What a selector hits in a namespace."""
        if (namespace, selector) not in self._rows:
            self._rows[namespace, selector] = tuple(self.universe.selected(namespace, selector))
        return self._rows[namespace, selector]

    def services(self, workload: Workload) -> tuple[Service, ...]:
        """Services that lead to it."""
        if workload not in self._services:
            self._services[workload] = services_selecting(self.universe.inventory, workload)
        return self._services[workload]

    def answer(self, edge: Edge, direction: Direction) -> Answer:
        """Peers for the other end of `edge`, as seen from the end that `direction` is about."""
        other, own = (edge.src, edge.dst) if direction is Direction.INGRESS else (edge.dst, edge.src)
        if isinstance(own, External):
            return Answer(problem="no policy selects what is no pod")
        if isinstance(other, External):
            return self._external(other, edge, direction)
        if other in self.universe.host_network:
            return self._host_network(other)
        key = (other, own.namespace, direction)
        if key not in self._answers:
            self._answers[key] = self._workload(other, own.namespace, direction)
        found = self._answers[key]
        if direction is Direction.EGRESS and self.config.cni is Cni.EKS_VPC_CNI:
            return replace(found, remarks=(*found.remarks, *self._service_ports(other, edge)))
        return found

    # --- pods ---

    def _workload(self, other: Workload, namespace: str, direction: Direction) -> Answer:
        subject = self.subject(other)
        if subject.selector is None:
            return Answer(problem=f"{other} cannot be named: {subject.problem}")
        if not is_namespace(other.namespace):
            return Answer(problem=f"{other} is in a namespace whose name is none")
        selector = subject.selector
        remarks: Remarks = ()
        if direction is Direction.EGRESS and subject.exact:
            selector, remarks = self._behind_services(other, subject.selector)
        there = self._there(other.namespace, namespace)
        rows = self.selected(other.namespace, selector)
        together = self._whole_service(other, there) if any(code == "NPG203" for code, _ in remarks) else None
        return Answer((Peer(selector, there),), rows=rows, also=subject.also, remarks=remarks, instead=together)

    def _there(self, other: str, own: str) -> LabelSelector | None:
        """The namespace selector that a peer needs, one value per namespace."""
        if other == own:
            return None
        return self._namespaces.setdefault(other, LabelSelector.of({NAME_LABEL: other}))

    def _whole_service(self, other: Workload, there: LabelSelector | None) -> Answer | None:
        """All that a Service leads to, by the Service's own selector."""
        selectors = {s.selector for s in self.services(other) if s.selector}
        if len(selectors) != 1:
            return None
        selector = LabelSelector(min(selectors))
        rows = self.selected(other.namespace, selector)
        also = tuple(sorted({row.workload for row in rows} - {other}))
        return Answer((Peer(selector, there),), rows=rows, also=also)

    def _behind_services(self, other: Workload, selector: LabelSelector) -> tuple[LabelSelector, Remarks]:
        """A selector that the selectors of its Services meet, so that AWS VPC CNI lets traffic to them pass.

        It compares the peer's selector with the Service's own, not with the labels of the pods behind it (needs N1).
        """
        if other in self._egress:
            return self._egress[other]
        remarks: Remarks = ()
        given = [dict(s.selector) for s in self.services(other) if s.selector]
        if not all(selector.matches(labels) for labels in given):
            shared = dict(set.intersection(*(set(labels.items()) for labels in given)))
            better = within(self.universe, other, shared)
            if better is not None:
                selector = better
            elif self.config.cni is Cni.EKS_VPC_CNI:
                text = (
                    f"no selector names {other} alone and is met by its Service's own: traffic through it may be denied"
                )
                remarks = (("NPG203", text),)
        self._egress[other] = (selector, remarks)
        return self._egress[other]

    def _service_ports(self, other: Workload, edge: Edge) -> Remarks:
        """AWS VPC CNI judges a Service's port, and expects the container's to be the same."""
        leading = [s for s in self.services(other) if self._leads_to(s, other, edge)]
        if not leading or any(p.port == edge.port for s in leading for p in s.ports):
            return ()
        text = (
            f"{edge.protocol} {edge.port} of {other} has another number on its Service, which this CNI does not follow"
        )
        return (("NPG340", text),)

    def _leads_to(self, service: Service, workload: Workload, edge: Edge) -> bool:
        """Whether a port of the Service ends at the edge's port."""
        names = {
            p.name
            for row in self.universe.rows(workload)
            for p in row.ports
            if (p.number, p.protocol) == (edge.port, edge.protocol)
        }
        return any(p.protocol is edge.protocol and (p.target == edge.port or p.target in names) for p in service.ports)

    # --- addresses ---

    def _external(self, other: External, edge: Edge, direction: Direction) -> Answer:
        address = _address(other.address)
        match other.kind:
            case ExternalKind.UNKNOWN:
                return Answer(problem="it is not known whose address the other end is")
            case ExternalKind.INGRESS_PROXY:
                return Answer(problem="NetworkPolicy has no word for the CNI's ingress proxy")
            case ExternalKind.OWN_NODE:
                return Answer(problem="traffic with the pod's own node is always allowed")
            case ExternalKind.API_SERVER:
                return self._api_server(address)
            case ExternalKind.NODE:
                hidden = direction is Direction.INGRESS and self._behind_snat(edge)
                return self._hidden_client(address) if hidden else self._node(address)
            case ExternalKind.WORLD:
                return self._world(address)

    def _world(self, address: Address | None) -> Answer:
        if address is None:
            return Answer(problem="the source does not show the address outside")
        if address in self._nodes:
            return self._node(address)
        if touches(self._inside, ipaddress.ip_network(address)):
            return Answer(problem=f"{address} is inside the cluster's ranges, so no ipBlock may stand for it")
        if not routable(address):
            return Answer(problem=f"{address} is an address that no rule is written for")
        return Answer((_block(address),), outside=True)

    def _api_server(self, address: Address | None) -> Answer:
        inventory = self.universe.inventory
        seen = [address] if address is not None and address not in inventory.service_ranges else []
        addresses = AddressSet.of(*(a for a, _ in inventory.api_server), *seen)
        if not addresses:
            return Answer(problem="the addresses of the API server are not known")
        text = f"the API server is admitted by address ({addresses}), which changes when its nodes do"
        return Answer(_blocks(addresses), remarks=(("NPG312", text), *self._on_cilium()))

    def _node(self, address: Address | None) -> Answer:
        if address is not None and address in _LINK_LOCAL:
            # A node-local service such as the DNS cache: every node has it at this one address.
            return Answer((_block(address),))
        families = {address.version} if address is not None else {4, 6}
        addresses = AddressSet.of(*(a for a in self._nodes if a.version in families), *([address] if address else []))
        if not addresses:
            return Answer(problem="no address of the cluster's nodes is known")
        text = f"nodes and pods on their network are admitted by address ({addresses}), which changes when nodes do"
        return Answer(_blocks(addresses), remarks=(("NPG314", text), *self._on_cilium()))

    def _host_network(self, other: Workload) -> Answer:
        pods = self.universe.inventory.pods_of(other)
        families = sorted({a.version for pod in pods for a in pod.addresses}) or [4, 6]
        addresses = AddressSet.of(*(a for a in self._nodes if a.version in families))
        addresses |= AddressSet.of(*(a for pod in pods for a in pod.addresses))
        if not addresses:
            return Answer(problem=f"{other} is on its nodes' network, and no address of a node is known")
        text = f"{other} is on its nodes' network and admitted by their addresses ({addresses}), as is all else there"
        return Answer(_blocks(addresses), remarks=(("NPG314", text), *self._on_cilium()))

    def _hidden_client(self, address: Address | None) -> Answer:
        nodes = self._node(address)
        text = "the original client is unknown: source NAT by a Service with externalTrafficPolicy Cluster"
        if self.config.snat_clients is SnatClients.NODES:
            remark = ("NPG311", f"{text}; node addresses are admitted (--snat-clients world admits all)")
            return Answer(nodes.peers, nodes.problem, remarks=(remark, *nodes.remarks))
        family = {address.version} if address is not None else {4, 6}
        everyone = tuple(Peer(ip_block=self._world_block(n)) for n in _EVERYWHERE if n.version in family)
        # A node may answer at an address from the pods' range, which was left out of the above.
        others = tuple(p for p in nodes.peers if not addresses_of((p,)) <= addresses_of(everyone))
        return Answer(
            (*everyone, *others),
            widened=f"every address outside: {text}",
            remarks=(("NPG311", f"{text}; all are admitted"),),
        )

    def _world_block(self, network: Network) -> IPBlock:
        """Everything but what pods hold: those are named by their labels."""
        inside = [n for n in self.universe.inventory.pod_ranges.networks() if n.version == network.version]
        largest = sorted((n for n in inside if n.prefixlen), key=lambda n: (n.prefixlen, n))[:_MAX_EXCEPTIONS]
        return IPBlock(network, tuple(sorted(largest)))

    def _behind_snat(self, edge: Edge) -> bool:
        if not isinstance(edge.dst, Workload):
            return False
        workload = edge.dst
        return any(
            s.type in ("NodePort", "LoadBalancer")
            and s.external_traffic_policy == "Cluster"
            and self._leads_to(s, workload, edge)
            for s in self.services(workload)
        )

    def _on_cilium(self) -> Remarks:
        if self.config.cni not in (Cni.CILIUM, Cni.GKE_DPV2):
            return ()
        text = "Cilium does not match ipBlock against nodes or the API server unless policyCIDRMatchMode includes nodes"
        return (("NPG313", text),)


def _node_addresses(inventory: Inventory) -> tuple[Address, ...]:
    """Addresses that nodes have inside: the private ones of a node where it has any of that family, else all."""
    out: set[Address] = set()
    for node in inventory.nodes.values():
        for version in (4, 6):
            mine = {a for a in node.addresses if a.version == version}
            out |= {a for a in mine if a in _PRIVATE} or mine
    return tuple(sorted(out, key=lambda a: (a.version, int(a))))


def routable(address: Address) -> bool:
    """Whether an address is one that a rule may name: not loopback, multicast or IPv6 link-local."""
    link_local = address.version == 6 and address.is_link_local
    return not (address.is_loopback or address.is_multicast or address.is_unspecified or link_local)


def forbidden(directory: Directory) -> AddressSet:
    """What no CIDR for the outside may come to cover."""
    inventory = directory.universe.inventory
    nodes: Collection[Address] = [a for node in inventory.nodes.values() for a in node.addresses]
    return NEVER_GENERALISED | inventory.pod_ranges | inventory.service_ranges | AddressSet.of(*nodes)


def _address(text: str) -> Address | None:
    """The address in an edge, an IPv4 one in IPv6 clothes as what it is; `None` where it is hidden or is none."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        return ipaddress.IPv6Address(int(address))
    return mapped or address


def _block(address: Address) -> Peer:
    return Peer(ip_block=IPBlock(ipaddress.ip_network(address)))


def _blocks(addresses: AddressSet) -> tuple[Peer, ...]:
    return tuple(Peer(ip_block=IPBlock(n)) for n in addresses.networks())


def addresses_of(peers: Iterable[Peer]) -> AddressSet:
    """What the ipBlocks among some peers cover."""
    blocks = [peer.ip_block for peer in peers if peer.ip_block is not None]
    out = AddressSet.of(*(b.cidr for b in blocks if not b.except_))
    for block in blocks:
        if block.except_:
            out |= block.addresses
    return out
