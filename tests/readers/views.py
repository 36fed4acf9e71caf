"""One simulated application, and what each source would tell of its calls.

The calls are the truth; a view is what Hubble, conntrack, AWS or GCP would have recorded of them: translation behind
ClusterIPs, answers, and the same connection at both ends. Nothing is sampled or lost, and clients and servers are on
different nodes, because calls within a node are what most of these sources never see.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

START = 1_714_979_000
"""Seconds since the epoch of the first call."""
NODES = {"n1": "192.168.50.1", "n2": "192.168.50.2", "n3": "192.168.50.3"}
OUTSIDE_SERVER, OUTSIDE_CLIENT = "203.0.113.50", "198.51.100.7"


@dataclass(frozen=True)
class Pod:
    namespace: str
    workload: str
    kind: str
    number: int
    ip: str
    node: str
    ports: tuple[tuple[str, str, int], ...] = ()
    """Name, protocol, number."""

    @property
    def name(self) -> str:
        return f"{self.workload}-{self.number}" if self.kind == "StatefulSet" else f"{self.replica_set}-x{self.number}"

    @property
    def replica_set(self) -> str:
        # Two revisions of one Deployment may have different ports.
        return f"{self.workload}-{'v1' if self.number % 2 else 'v0'}"

    @property
    def labels(self) -> dict[str, str]:
        return {"app": self.workload}


@dataclass(frozen=True)
class Service:
    namespace: str
    name: str
    ip: str
    protocol: str
    port: int
    target: str
    """Name of the container port, which different pods may have under different numbers."""


def _pods() -> tuple[Pod, ...]:
    made: list[Pod] = []
    for workload, namespace, kind, ports in (
        ("web", "shop", "Deployment", [("http", "TCP", 8080)]),
        ("api", "shop", "Deployment", [("http", "TCP", 8080)]),
        ("db", "data", "StatefulSet", [("postgres", "TCP", 5432)]),
        ("dns", "kube-system", "Deployment", [("dns", "UDP", 53), ("dns-tcp", "TCP", 53), ("metrics", "TCP", 9153)]),
        ("grpc", "shop", "Deployment", [("grpc", "TCP", 50051)]),
        ("prometheus", "ops", "StatefulSet", [("web", "TCP", 9090)]),
    ):
        for number in range(3):
            node = list(NODES)[number]
            renamed = [
                (name, protocol, 9090 if (workload, name, number) == ("api", "http", 1) else port)
                for name, protocol, port in ports
            ]
            ip = f"10.244.{number + 1}.{len(made) + 10}"
            made.append(Pod(namespace, workload, kind, number, ip, node, tuple(renamed)))
    return tuple(made)


PODS = _pods()
SERVICES = (
    Service("shop", "api", "10.96.0.20", "TCP", 80, "http"),
    Service("data", "db", "10.96.0.30", "TCP", 5432, "postgres"),
    Service("kube-system", "dns", "10.96.0.10", "UDP", 53, "dns"),
    Service("shop", "grpc", "10.96.0.40", "TCP", 443, "grpc"),
)


@dataclass(frozen=True)
class Call:
    """One connection. `dialled` is what the client called; `server` and `port` are behind it."""

    client: Pod | None
    server: Pod | None
    client_port: int
    protocol: str
    dialled: str
    dialled_port: int
    port: int
    at: int
    """Seconds since the epoch."""

    @property
    def client_ip(self) -> str:
        return self.client.ip if self.client else OUTSIDE_CLIENT

    @property
    def server_ip(self) -> str:
        return self.server.ip if self.server else self.dialled


def calls(seed: int, count: int = 20) -> tuple[Call, ...]:
    """`count` calls of each kind between pods of different nodes, in random order."""
    chance = random.Random(seed)
    made: list[Call] = []

    def pods(workload: str) -> list[Pod]:
        return [pod for pod in PODS if pod.workload == workload]

    def pair(client: str, server: str) -> tuple[Pod, Pod]:
        return chance.choice([(a, b) for a in pods(client) for b in pods(server) if a.node != b.node])

    def add(a: Pod | None, b: Pod | None, protocol: str, port: int, dialled: tuple[str, int] | None = None) -> None:
        address, dialled_port = dialled or (b.ip if b else OUTSIDE_SERVER, port)
        at = START + chance.randrange(1500)
        client_port = chance.randrange(32768, 60999)
        made.append(Call(a, b, client_port, protocol, address, dialled_port, port, at))

    for _ in range(count):
        for client, service in (("web", 0), ("api", 1), ("web", 2), ("api", 2), ("prometheus", 2), ("web", 3)):
            found = SERVICES[service]
            a, b = pair(client, found.name)
            port = next(number for name, _, number in b.ports if name == found.target)
            add(a, b, found.protocol, port, (found.ip, found.port))
        a, b = pair("web", "db")
        add(a, b, "TCP", 5432)
        a, b = pair("prometheus", "dns")
        add(a, b, "TCP", 9153)
        add(chance.choice(pods("api")), None, "TCP", 443)
        add(None, chance.choice(pods("web")), "TCP", 8080)
    chance.shuffle(made)
    return tuple(made)


def truth(made: Sequence[Call]) -> set[tuple[str, str, str, int]]:
    """The edges: client, server, protocol, port behind translation."""

    def party(pod: Pod | None, address: str) -> str:
        return f"{pod.namespace}/{pod.workload}[{pod.kind}]" if pod else f"world {address}"

    return {(party(c.client, c.client_ip), party(c.server, c.server_ip), c.protocol, c.port) for c in made}


# --- inventory --------------------------------------------------------------------------------------------------------


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _owner(kind: str, name: str) -> list[dict[str, Any]]:
    return [{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": f"uid-{name}", "controller": True}]


def inventory() -> dict[str, Any]:
    """The objects, as `kubectl get -o json` lists them."""
    created = _stamp(START - 86400)
    items: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": n, "labels": {"kubernetes.io/metadata.name": n}}}
        for n in sorted({pod.namespace for pod in PODS})
    ]
    for number, (name, address) in enumerate(NODES.items(), 1):
        cidr = f"10.244.{number}.0/24"
        status = {"addresses": [{"type": "InternalIP", "address": address}]}
        spec = {"podCIDR": cidr, "podCIDRs": [cidr]}
        items.append({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec, "status": status})
    owners = sorted({(pod.namespace, pod.kind, pod.workload) for pod in PODS})
    for namespace, kind, name in owners:
        template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": name}]}}
        spec = {"replicas": 3, "selector": {"matchLabels": {"app": name}}, "template": template}
        metadata = {"name": name, "namespace": namespace, "uid": f"uid-{name}"}
        items.append({"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec})
    for namespace, name, workload in sorted(
        {(p.namespace, p.replica_set, p.workload) for p in PODS if p.kind == "Deployment"}
    ):
        metadata = {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-{name}",
            "ownerReferences": _owner("Deployment", workload),
        }
        items.append({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata, "spec": {}})
    items += [_pod(pod, created) for pod in PODS]
    for service in SERVICES:
        ports = [{"port": service.port, "protocol": service.protocol, "targetPort": service.target}]
        spec = {"type": "ClusterIP", "clusterIP": service.ip, "clusterIPs": [service.ip], "ports": ports}
        spec |= {"selector": {"app": service.name}}
        metadata = {"name": service.name, "namespace": service.namespace}
        items.append({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _pod(pod: Pod, created: str) -> dict[str, Any]:
    owner = _owner("StatefulSet", pod.workload) if pod.kind == "StatefulSet" else _owner("ReplicaSet", pod.replica_set)
    ports = [{"name": name, "protocol": protocol, "containerPort": port} for name, protocol, port in pod.ports]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod.name,
            "namespace": pod.namespace,
            "uid": f"uid-{pod.name}",
            "labels": pod.labels,
            "creationTimestamp": created,
            "ownerReferences": owner,
        },
        "spec": {"nodeName": pod.node, "containers": [{"name": pod.workload, "ports": ports}]},
        "status": {"phase": "Running", "startTime": created, "podIP": pod.ip, "podIPs": [{"ip": pod.ip}]},
    }


# --- views ------------------------------------------------------------------------------------------------------------


def _endpoint(pod: Pod | None, node: str) -> dict[str, Any]:
    if pod is None:
        return {"identity": 2, "labels": ["reserved:world"]}
    labels = [f"k8s:{key}={value}" for key, value in pod.labels.items()] + [
        f"k8s:io.kubernetes.pod.namespace={pod.namespace}"
    ]
    found: dict[str, Any] = {"identity": 1000 + PODS.index(pod) // 3, "namespace": pod.namespace, "labels": labels}
    found["pod_name"] = pod.name
    if node == pod.node:
        found |= {"ID": 100 + PODS.index(pod), "workloads": [{"name": pod.workload, "kind": pod.kind}]}
    return found


def hubble(made: Sequence[Call]) -> str:
    """Trace events on both nodes, with the backend's address, as with translation at the socket."""
    out = []
    for call in made:
        steps: list[tuple[bool, list[str]]] = [
            (False, ["SYN"]),
            (True, ["SYN", "ACK"]),
            (False, ["ACK"]),
            (True, ["ACK"]),
        ]
        steps = steps if call.protocol == "TCP" else [(False, []), (True, [])]
        for step, (back, flags) in enumerate(steps):
            pods = (call.server, call.client) if back else (call.client, call.server)
            ends = (call.server_ip, call.client_ip) if back else (call.client_ip, call.server_ip)
            ports = (call.port, call.client_port) if back else (call.client_port, call.port)
            l4: dict[str, Any] = {"source_port": ports[0], "destination_port": ports[1]}
            if flags:
                l4["flags"] = dict.fromkeys(flags, True)
            for pod, sub_type, point in ((pods[0], 11, "TO_NETWORK"), (pods[1], 0, "TO_ENDPOINT")):
                if pod is None:
                    continue
                time = f"{_stamp(call.at)[:-1]}.{step:03}Z"
                flow = {
                    "time": time,
                    "verdict": "FORWARDED",
                    "IP": {"source": ends[0], "destination": ends[1], "ipVersion": "IPv4"},
                    "l4": {call.protocol: l4},
                    "source": _endpoint(pods[0], pod.node),
                    "destination": _endpoint(pods[1], pod.node),
                    "Type": "L3_L4",
                    "node_name": pod.node,
                    "event_type": {"type": 4, **({"sub_type": sub_type} if sub_type else {})},
                    "trace_observation_point": point,
                    "traffic_direction": "EGRESS" if point == "TO_NETWORK" else "INGRESS",
                    "is_reply": back,
                }
                out.append(json.dumps({"flow": flow, "node_name": pod.node, "time": time}))
    return "\n".join(out) + "\n"


def conntrack(made: Sequence[Call]) -> str:
    """The entry on the client's node, with translation, and the one on the server's node, without."""
    out = []
    for call in made:
        state = "6 112 TIME_WAIT" if call.protocol == "TCP" else "17 29"
        head = f"ipv4     2 {call.protocol.lower():8} {state}"
        # The client's node hides pods behind its own address on the way out.
        seen_as = NODES[call.client.node] if call.client and not call.server else call.client_ip
        views = [(call.dialled, call.dialled_port, seen_as)] if call.client else []
        views += [(call.server_ip, call.port, call.client_ip)] if call.server else []
        out += [
            f"{head} src={call.client_ip} dst={dialled} sport={call.client_port} dport={port} packets=6 bytes=820 "
            f"src={call.server_ip} dst={back} sport={call.port} dport={call.client_port} packets=4 bytes=719 "
            "[ASSURED] mark=0 use=1"
            for dialled, port, back in views
        ]
    return "\n".join(out) + "\n"


AWS_FORMAT = (
    "version interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status tcp-flags "
    "pkt-srcaddr pkt-dstaddr flow-direction"
)


def aws(made: Sequence[Call]) -> str:
    """Both directions at the interfaces of both nodes; an interface shows its own address for the pods behind it."""
    out = [AWS_FORMAT]
    for call in made:
        number, there, back = (6, 3, 19) if call.protocol == "TCP" else (17, 0, 0)
        for pod in (call.client, call.server):
            if pod is None:
                continue
            own = NODES[pod.node]
            for ends, ports, flags, sender in (
                ((call.client_ip, call.server_ip), (call.client_port, call.port), there, call.client),
                ((call.server_ip, call.client_ip), (call.port, call.client_port), back, call.server),
            ):
                shown = [own if address == pod.ip else address for address in ends]
                way = "egress" if sender is pod else "ingress"
                out.append(
                    f"5 eni-{pod.node} {shown[0]} {shown[1]} {ports[0]} {ports[1]} {number} 6 820 "
                    f"{call.at} {call.at + 5} ACCEPT OK {flags} {ends[0]} {ends[1]} {way}"
                )
    return "\n".join(out) + "\n"


def gcp(made: Sequence[Call]) -> str:
    """Both directions from both reporters, with numbers as texts, and nothing of GKE."""
    out = []
    for call in made:
        for back in (False, True):
            ends = (call.server_ip, call.client_ip) if back else (call.client_ip, call.server_ip)
            ports = (call.port, call.client_port) if back else (call.client_port, call.port)
            pods = (call.server, call.client) if back else (call.client, call.server)
            connection = {"src_ip": ends[0], "dest_ip": ends[1], "src_port": ports[0], "dest_port": ports[1]}
            connection["protocol"] = 6 if call.protocol == "TCP" else 17
            for reporter, pod in zip(("SRC", "DEST"), pods, strict=True):
                if pod is None:
                    continue
                payload = {"connection": connection, "reporter": reporter, "bytes_sent": "820", "packets_sent": "6"}
                payload |= {"start_time": _stamp(call.at), "end_time": _stamp(call.at + 5)}
                entry = {"logName": "projects/p/logs/compute.googleapis.com%2Fvpc_flows", "jsonPayload": payload}
                out.append(json.dumps(entry))
    return "\n".join(out) + "\n"


VIEWS: dict[str, Callable[[Sequence[Call]], str]] = {
    "hubble": hubble,
    "conntrack": conntrack,
    "aws-vpc": aws,
    "gcp-vpc": gcp,
}


def records(view: str, made: Sequence[Call]) -> Iterator[str]:
    """The lines of a view."""
    yield from VIEWS[view](made).splitlines()
