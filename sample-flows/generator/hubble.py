"""Writes traffic down the way Hubble sees it: every packet at each point where some Cilium agent reports it.

The form is the one that `hubble observe -o jsonpb` and the flow log exporter have written since Cilium 1.17:
`{"flow": {...}, "node_name": ..., "time": ...}`, zero values left out, fields in the order of the protocol definition.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from generator.cluster import Cluster
from generator.packets import SCRIPTS, Connection, Packet, Sight, View, world_party
from generator.values import SECOND, Node, Obj, Service

MICROSECOND = 1_000
EMITTER = {"name": "Hubble", "version": "1.18.4+g4c1a2e07"}

# The order in which the protocol definition declares the fields, which is the order in which they are printed.
FIELDS = (
    "time",
    "uuid",
    "emitter",
    "verdict",
    "drop_reason",
    "ethernet",
    "IP",
    "l4",
    "source",
    "destination",
    "Type",
    "node_name",
    "node_labels",
    "source_names",
    "destination_names",
    "l7",
    "event_type",
    "source_service",
    "destination_service",
    "traffic_direction",
    "policy_match_type",
    "trace_observation_point",
    "trace_reason",
    "file",
    "drop_reason_desc",
    "is_reply",
    "interface",
    "proxy_port",
    "sock_xlate_point",
    "socket_cookie",
    "cgroup_id",
    "Summary",
    "egress_denied_by",
    "ingress_denied_by",
)

# Sub types of a trace event. TO_ENDPOINT is 0 and therefore never printed.
TRACE_POINTS = {"TO_ENDPOINT": 0, "TO_PROXY": 1, "TO_STACK": 3, "TO_OVERLAY": 4}


def nano_stamp(when: int) -> str:
    """RFC 3339 with nine fraction digits."""
    base = datetime.fromtimestamp(when // SECOND, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{base}.{when % SECOND:09d}Z"


@dataclass(frozen=True, slots=True)
class Drop:
    """Why a packet is dropped: code and name of the reason, and the policies that deny it explicitly."""

    code: int = 133
    name: str = "POLICY_DENIED"
    by: tuple[Obj, ...] = field(default=())

    @property
    def by_policy(self) -> bool:
        """Whether a policy did it; other drops come without a policy verdict."""
        return self.code in {133, 181}


class Capture:
    """Collects records; `lines` gives them back in order of time."""

    def __init__(self, rng: random.Random, cluster: Cluster) -> None:
        self.rng = rng
        self.cluster = cluster
        self.records: list[tuple[int, Obj]] = []

    # -- packets -------------------------------------------------------------------------------------------------

    def tcp(self, connection: Connection, when: int, script: str = "full", view: View = "both") -> int:
        """Play a script on a connection and return the time of its end. `view` leaves out one end's reports."""
        for position, (reply, flags, pause) in enumerate(SCRIPTS[script]):
            when += pause * 1_000_000 + self.rng.randrange(40_000, 400_000)
            syn = flags == ("SYN",)
            packet = Packet(connection, flags, reply=reply, first=syn and (position == 0 or script == "silent"))
            when = self.packet(packet, when, view)
        return when

    def udp(self, connection: Connection, when: int, view: View = "both", *, answered: bool = True) -> int:
        """One datagram and, if it is answered, the answer."""
        when = self.packet(Packet(connection, first=True), when, view)
        if not answered:
            return when
        return self.packet(Packet(connection, reply=True), when + self.rng.randrange(200_000, 2_000_000), view)

    def ping(self, connection: Connection, when: int, request: Obj, answer: Obj) -> int:
        """An ICMP echo and its reply."""
        when = self.packet(Packet(connection, first=True, icmp=request), when)
        return self.packet(Packet(connection, reply=True, icmp=answer), when + 300_000)

    def packet(self, packet: Packet, when: int, view: View = "both") -> int:
        """Report one packet at every point on its way."""
        for sight in self._sights(packet):
            when += self.rng.randrange(4_000, 90_000)
            if view == "both" or sight.node == getattr(packet.connection, view).node:
                self.report(packet, sight, when)
        return when

    def _sights(self, packet: Packet) -> Iterator[Sight]:
        sender, receiver = packet.ends
        asks_policy = packet.first and not packet.reply
        outward = "INGRESS" if packet.reply else "EGRESS"  # The direction is the connection's, seen from the pod.
        inward = "EGRESS" if packet.reply else "INGRESS"
        same_node = sender.is_pod and receiver.is_pod and sender.node == receiver.node
        if sender.is_pod and sender.node is not None:
            if asks_policy:
                yield Sight(sender.node, "EGRESS", None)
            if not same_node:
                remote_router = receiver.via_router and receiver.node != sender.node
                overlay = receiver.is_pod or remote_router
                yield Sight(sender.node, outward, "TO_OVERLAY" if overlay else "TO_STACK")
        if receiver.is_pod and receiver.node is not None:
            if asks_policy:
                yield Sight(receiver.node, "INGRESS", None)
            # Local delivery is sometimes attributed to the sender, so traffic_direction proves nothing.
            if same_node and self.rng.random() < 0.3:
                inward = "EGRESS"
            yield Sight(receiver.node, inward, "TO_ENDPOINT")

    def report(self, packet: Packet, sight: Sight, when: int, **more: Any) -> None:
        """Write one record of a packet."""
        sender, receiver = packet.ends
        values = self._base(packet, sight.node, when)
        values.update({"Type": "L3_L4", "is_reply": packet.reply, "traffic_direction": sight.direction})
        values["ethernet"] = {"source": sender.mac, "destination": receiver.mac}
        if sight.point is None:
            values["event_type"] = {"type": 5}
        else:
            values["event_type"] = _without_zeros({"type": 4, "sub_type": TRACE_POINTS[sight.point]})
            values["trace_observation_point"] = sight.point
            values["trace_reason"] = "REPLY" if packet.reply else "NEW" if packet.first else "ESTABLISHED"
        if sight.point == "TO_OVERLAY":
            values["interface"] = {"index": 6, "name": "cilium_vxlan"}
        elif sight.point == "TO_ENDPOINT" and receiver.interface is not None:
            values["interface"] = receiver.interface
        self.keep(when, {**values, **more})

    def _base(self, packet: Packet, node: Node, when: int) -> Obj:
        sender, receiver = packet.ends
        values: Obj = {
            "time": nano_stamp(when),
            "uuid": self._uuid(),
            "emitter": EMITTER,
            "verdict": "FORWARDED",
            "IP": {
                "source": sender.ip,
                "destination": receiver.ip,
                "ipVersion": "IPv6" if ":" in sender.ip else "IPv4",
            },
            "source": sender.seen_from(node),
            "destination": receiver.seen_from(node),
            "node_name": f"{self.cluster.name}/{node.name}",
            "node_labels": [
                "kubernetes.io/arch=amd64",
                f"kubernetes.io/hostname={node.name}",
                "kubernetes.io/os=linux",
            ],
            "source_names": list(sender.names),
            "destination_names": list(receiver.names),
        }
        values.update(_layer4(packet))
        return values

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))

    def keep(self, when: int, values: Obj) -> None:
        """File a flow record under its time, its fields in protocol order and empty ones left out."""
        flow = {key: values[key] for key in FIELDS if values.get(key) not in (None, [], "")}
        self.records.append((when, {"flow": flow, "node_name": flow["node_name"], "time": flow["time"]}))

    # -- what is not a plain packet ------------------------------------------------------------------------------

    def socket_events(self, connection: Connection, service: Service, port: int, when: int) -> None:
        """The socket load balancer's view of a call to a ClusterIP: TRACED before and TRANSLATED after."""
        client = connection.client
        if client.node is None:
            raise ValueError("only a pod's socket is translated")
        vip = next(ip for ip in service.ips if (":" in ip) == (":" in client.ip))
        there = world_party(vip, self.world_endpoint(vip))
        marks = {"socket_cookie": str(self.rng.randrange(4096, 90000)), "cgroup_id": str(7000 + connection.sport % 900)}
        named = {"destination_service": {"name": service.name, "namespace": service.namespace}}
        before = ("PRE", there, port, named)
        for point, server, number, more in (before, ("POST", connection.server, connection.dport, {})):
            when += 3 * MICROSECOND
            packet = Packet(replace(connection, server=server, dport=number, sport=0))
            values = self._base(packet, client.node, when)
            values["l4"] = {connection.protocol: {"destination_port": number}}
            values.update(
                {
                    "Type": "SOCK",
                    "verdict": "TRACED" if point == "PRE" else "TRANSLATED",
                    "event_type": {"type": 7, "sub_type": 1 if point == "PRE" else 2},
                    "traffic_direction": "EGRESS",
                    "sock_xlate_point": f"SOCK_XLATE_POINT_{point}_DIRECTION_FWD",
                    "Summary": connection.protocol,
                    **marks,
                    **more,
                }
            )
            self.keep(when, values)

    def dropped(self, packet: Packet, when: int, direction: str, drop: Drop) -> int:
        """A packet that is dropped at the server's node (INGRESS) or at the client's (EGRESS).

        An ingress drop is first reported FORWARDED by the client's node, which cannot know what awaits the packet.
        """
        sights = list(self._sights(packet))
        verdict_at = next(index for index, s in enumerate(sights) if s.point is None and s.direction == direction)
        for sight in sights[:verdict_at]:
            when += 30 * MICROSECOND
            self.report(packet, sight, when)
        node = sights[verdict_at].node
        reason: Obj = {"verdict": "DROPPED", "drop_reason": drop.code, "drop_reason_desc": drop.name}
        if drop.by:
            reason[f"{direction.lower()}_denied_by"] = list(drop.by)
        if drop.by_policy:
            self.report(packet, sights[verdict_at], when + 40 * MICROSECOND, **reason)
        when += 47 * MICROSECOND
        values = self._base(packet, node, when)
        values.update(
            {"Type": "L3_L4", "event_type": {"type": 1, "sub_type": drop.code}, "traffic_direction": direction}
        )
        values["ethernet"] = {"source": packet.ends[0].mac, "destination": packet.ends[1].mac}
        self.keep(when, {**values, **reason, "file": {"name": "bpf_lxc.c", "line": 1965}})
        return when

    def audited(self, connection: Connection, when: int, *, traces: bool) -> int:
        """A connection that policy audit mode lets through although a policy would deny it at the server."""
        packet = Packet(connection, ("SYN",), first=True)
        for sight in self._sights(packet):
            when += 30 * MICROSECOND
            if sight.point is None and sight.direction == "INGRESS":
                self.report(packet, sight, when, verdict="AUDIT")
            elif traces:
                self.report(packet, sight, when)
        if traces:
            for reply, flags, pause in SCRIPTS["full"][1:]:
                when = self.packet(Packet(connection, flags, reply=reply), when + pause * 1_000_000)
        return when

    def dns_over_proxy(self, connection: Connection, when: int, question: Obj, answer: Obj) -> int:
        """A lookup through Cilium's DNS proxy: one question makes about ten records."""
        client = connection.client
        if client.node is None:
            raise ValueError("only a pod's lookup is proxied")
        ask, tell = Packet(connection, first=True), Packet(connection, reply=True)
        local = Sight(client.node, "EGRESS", None)
        self.report(ask, local, when, verdict="REDIRECTED", policy_match_type=2, proxy_port=41257)
        when += 60 * MICROSECOND
        self.report(ask, replace(local, point="TO_PROXY"), when, proxy_port=41257)
        when += 150 * MICROSECOND
        self.l7(ask, client.node, when, {"type": "REQUEST", "dns": question}, f"DNS Query {_asked(question)}")
        for sight in self._sights(ask):
            if sight.node != client.node or sight.point is not None:
                when += 30 * MICROSECOND
                self.report(ask, sight, when)
        when += self.rng.randrange(300, 3000) * MICROSECOND
        for sight in self._sights(tell):
            if sight.point != "TO_ENDPOINT":
                when += 30 * MICROSECOND
                self.report(tell, sight, when)
        when += 200 * MICROSECOND
        seven = {"type": "RESPONSE", "latency_ns": str(self.rng.randrange(300_000, 4_000_000)), "dns": answer}
        told = " ".join(f'"{ip}"' for ip in answer.get("ips", ())) or f"RCode: {answer.get('rcode', 0)}"
        self.l7(tell, client.node, when, seven, f"DNS Answer {told} TTL: {answer['ttl']} (Proxy {_asked(answer)})")
        when += 40 * MICROSECOND
        self.report(tell, Sight(client.node, "EGRESS", "TO_ENDPOINT"), when)
        return when

    def http_over_proxy(self, connection: Connection, when: int, url: str, code: int) -> int:
        """A call that the server's L7 policy sends through Envoy: REDIRECTED, then the request and its answer."""
        server = connection.server
        if server.node is None:
            raise ValueError("only a pod's port is proxied")
        packet = Packet(connection, ("SYN",), first=True)
        for sight in self._sights(packet):
            when += 30 * MICROSECOND
            if sight.point is None and sight.direction == "INGRESS":
                self.report(packet, sight, when, verdict="REDIRECTED", policy_match_type=2, proxy_port=14321)
            elif sight.point == "TO_ENDPOINT":
                self.report(packet, replace(sight, point="TO_PROXY"), when, proxy_port=14321)
            else:
                self.report(packet, sight, when)
        headers = [{"key": "User-Agent", "value": "shop"}]
        call = {"method": "GET", "url": url, "protocol": "HTTP/1.1", "headers": headers}
        when = self.packet(Packet(connection, ("SYN", "ACK"), reply=True), when)
        when = self.packet(Packet(connection, ("ACK",)), when)
        ask, tell = Packet(connection), Packet(connection, reply=True)
        self.l7(ask, server.node, when, {"type": "REQUEST", "http": call}, f"HTTP/1.1 GET {url}", "INGRESS")
        when += 6_000_000
        seven = {"type": "RESPONSE", "latency_ns": "5731208", "http": {"code": code, **call}}
        self.l7(tell, server.node, when, seven, f"HTTP/1.1 {code} 5ms (GET {url})", "INGRESS")
        when = self.packet(Packet(connection, ("FIN", "ACK")), when + 500_000)
        return self.packet(Packet(connection, ("FIN", "ACK"), reply=True), when)

    def l7(self, packet: Packet, node: Node, when: int, seven: Obj, summary: str, direction: str = "EGRESS") -> None:
        """An access log record of the proxy. It has no TCP flags, no Ethernet part and no interface."""
        values = self._base(packet, node, when)
        protocol = packet.connection.protocol
        sport, dport = packet.ports
        values["l4"] = {protocol: {"source_port": sport, "destination_port": dport}}
        values.update({"Type": "L7", "l7": seven, "event_type": {"type": 129}, "is_reply": packet.reply})
        values.update({"traffic_direction": direction, "Summary": summary})
        self.keep(when, values)

    def neighbour_discovery(self, connection: Connection, when: int, node: Node) -> None:
        """A router solicitation that is dropped: no endpoint is known at either end."""
        values = self._base(Packet(connection, icmp={"ICMPv6": {"type": 133}}), node, when)
        values.update({"verdict": "DROPPED", "drop_reason": 132, "drop_reason_desc": "INVALID_SOURCE_IP"})
        values.update({"Type": "L3_L4", "event_type": {"type": 1, "sub_type": 132}})
        values["Summary"] = "ICMPv6 RouterSolicitation"
        self.keep(when, values)

    def other(self, when: int, node: Node, kind: str, body: Obj) -> None:
        """A line that is no flow: lost events, node status, agent events."""
        name = f"{self.cluster.name}/{node.name}"
        self.records.append((when, {kind: body, "node_name": name, "time": nano_stamp(when)}))

    def world_endpoint(self, ip: str) -> Obj:
        """How an address outside the cluster is described; dual-stack clusters tell the families apart."""
        if not self.cluster.dual_stack:
            return {"identity": 2, "labels": ["reserved:world"]}
        family = 6 if ":" in ip else 4
        return {"identity": 9 if family == 4 else 10, "labels": [f"reserved:world-ipv{family}"]}

    def ordered(self) -> list[Obj]:
        """The records by time, as `hubble observe` through the relay merges the nodes."""
        return [record for _, record in sorted(self.records, key=lambda item: (item[0], str(item[1])))]


def _layer4(packet: Packet) -> Obj:
    if packet.icmp is not None:
        kind = next(iter(packet.icmp))
        echo = "EchoRequest" if packet.icmp[kind] in ({"type": 8}, {"type": 128}) else "EchoReply"
        return {"l4": packet.icmp, "Summary": f"{kind} {echo}"}
    sport, dport = packet.ports
    body: Obj = _without_zeros({"source_port": sport, "destination_port": dport})
    if packet.connection.protocol == "UDP":
        return {"l4": {"UDP": body}, "Summary": "UDP"}
    body["flags"] = {flag: True for flag in ("FIN", "SYN", "RST", "PSH", "ACK") if flag in packet.flags}
    told = [flag for flag in ("SYN", "ACK", "RST", "FIN", "PSH") if flag in packet.flags]
    return {"l4": {"TCP": body}, "Summary": f"TCP Flags: {', '.join(told)}"}


def _without_zeros(values: Obj) -> Obj:
    return {key: value for key, value in values.items() if value != 0}


def _asked(dns: Obj) -> str:
    return f"{dns['query']} {','.join(dns['qtypes'])}"
