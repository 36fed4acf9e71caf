"""Parties, connections and packets: what happens on the wire, before anybody reports it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from generator.cluster import Cluster
from generator.values import Node, Obj, Pod

View = Literal["both", "client", "server"]


@dataclass(frozen=True, slots=True)
class Party:
    """One end of a connection: an address, and how it is described by its own node and by the others."""

    ip: str
    local: Obj
    remote: Obj
    mac: str
    node: Node | None = None  # The node that it is on; None outside the cluster.
    is_pod: bool = False
    via_router: bool = False  # A node that speaks from its overlay router's address.
    interface: Obj | None = None
    names: tuple[str, ...] = ()

    def seen_from(self, node: Node) -> Obj:
        """The endpoint as that node's agent prints it: only local endpoints have an ID and workloads."""
        return self.local if self.node is not None and self.node.name == node.name else self.remote


@dataclass(frozen=True, slots=True)
class Connection:
    """A client, a server and their ports."""

    client: Party
    server: Party
    sport: int
    dport: int
    protocol: str = "TCP"


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet of a connection; `first` makes the policy be consulted."""

    connection: Connection
    flags: tuple[str, ...] = ()
    reply: bool = False
    first: bool = False
    icmp: Obj | None = None

    @property
    def ends(self) -> tuple[Party, Party]:
        """Sender and receiver."""
        ends = (self.connection.client, self.connection.server)
        return (ends[1], ends[0]) if self.reply else ends

    @property
    def ports(self) -> tuple[int, int]:
        """Source and destination port."""
        ports = (self.connection.sport, self.connection.dport)
        return (ports[1], ports[0]) if self.reply else ports


@dataclass(frozen=True, slots=True)
class Sight:
    """Where and how a packet is reported: a trace point, or a policy verdict where `point` is None."""

    node: Node
    direction: str
    point: str | None


# What happens on one TCP connection: (from the server?, flags, milliseconds after the last).
Step = tuple[bool, tuple[str, ...], int]
HANDSHAKE: tuple[Step, ...] = ((False, ("SYN",), 0), (True, ("SYN", "ACK"), 1))
SCRIPTS: dict[str, tuple[Step, ...]] = {
    "full": (
        *HANDSHAKE,
        (False, ("ACK",), 1),
        (False, ("PSH", "ACK"), 1),
        (True, ("PSH", "ACK"), 9),
        (False, ("FIN", "ACK"), 4),
        (True, ("FIN", "ACK"), 1),
    ),
    # Monitor aggregation reports SYN, FIN and RST, and little between them.
    "brief": (*HANDSHAKE, (False, ("PSH", "ACK"), 2), (False, ("FIN", "ACK"), 15), (True, ("FIN", "ACK"), 1)),
    "midstream": ((False, ("PSH", "ACK"), 0), (True, ("ACK",), 2), (True, ("PSH", "ACK"), 5200), (False, ("ACK",), 1)),
    "refused": ((False, ("SYN",), 0), (True, ("RST", "ACK"), 1)),
    "half_open": (*HANDSHAKE, (False, ("RST",), 1)),
    "silent": ((False, ("SYN",), 0), (False, ("SYN",), 1020), (False, ("SYN",), 2050)),
}


def pod_party(cluster: Cluster, pod: Pod, *, ipv6: bool = False) -> Party:
    """The pod as a party, by its first address or by its IPv6 address."""
    workload = pod.workload
    labels = cluster.cilium_labels(workload, pod.labels)
    remote = {
        "identity": pod.identity,
        "cluster_name": cluster.name,
        "namespace": workload.namespace,
        "labels": labels,
        "pod_name": pod.name,
    }
    local = {"ID": pod.endpoint_id, **remote}
    if workload.kind != "Pod":
        local["workloads"] = [{"name": workload.name, "kind": workload.kind}]
    ip = next(ip for ip in pod.ips if (":" in ip) == ipv6)
    interface = {"index": pod.interface_index, "name": pod.interface}
    return Party(ip, local, remote, pod.mac, pod.node, is_pod=True, interface=interface)


def node_party(node: Node, *, via_router: bool) -> Party:
    """A node: `host` to its own agent, `remote-node` to the others, and the API server where that runs."""
    remote: Obj = {"identity": 6, "labels": ["reserved:remote-node"]}
    if node.control_plane:
        remote = {"identity": 7, "labels": ["reserved:kube-apiserver", "reserved:remote-node"]}
    local = {"identity": 1, "labels": ["reserved:host"]}
    ip = node.router_ip if via_router else node.ip
    return Party(ip, local, remote, f"02:42:ac:12:00:{node.index:02x}", node, via_router=via_router)


def world_party(ip: str, endpoint: Obj, names: tuple[str, ...] = ()) -> Party:
    """Somebody outside the cluster, or an address that belongs to nobody."""
    return Party(ip, endpoint, endpoint, "02:42:4c:00:00:01", names=names)
