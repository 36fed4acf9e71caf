"""The scenario table, the traffic made from it, and the answers that follow from it.

A scenario says who uses what; the records are made from that and never read back, so the expected files are an
independent statement of what a reader of the records should find.
"""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from generator.cluster import Cluster
from generator.hubble import Capture
from generator.packets import Connection, Party, View, node_party, pod_party
from generator.values import SECOND, Obj, Pod

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """`client` really uses `server` on a backend port; `service` (namespace, name, port) is how it finds it, if so."""

    client: str
    server: str
    port: int
    protocol: str = "TCP"
    service: tuple[str, str, int] | None = None
    times: int = 8
    ipv6: int = 0
    scripts: tuple[str, ...] = ("full", "brief", "brief", "full", "midstream")


@dataclass(slots=True)
class Answers:
    """What is right to conclude from the records. Every set is written to one file under `expected/`."""

    edges: set[Row] = field(default_factory=set)
    node_edges: set[Row] = field(default_factory=set)
    denied: set[Row] = field(default_factory=set)
    not_edges: set[Row] = field(default_factory=set)
    names: set[Row] = field(default_factory=set)

    def edge(self, src: str, dst: str, protocol: str, port: int) -> None:
        """An edge that a policy has to admit."""
        self.edges.add((src, dst, protocol, str(port)))

    def no_edge(self, src: str, dst: str, protocol: str, port: int | str, why: str) -> None:
        """Something that looks like an edge and is none. Port `*` is any port, empty where there are no ports."""
        self.not_edges.add((src, dst, protocol, str(port), why))

    def files(self, lines: Sequence[str]) -> dict[str, bytes]:
        """The expected files by path."""
        edge = ("src", "dst", "protocol", "port")
        out = {
            "expected/edges.csv": _csv(edge, self.edges),
            "expected/denied.csv": _csv((*edge, "why"), self.denied),
            "expected/not-edges.csv": _csv((*edge, "why"), self.not_edges),
            "expected/lines.csv": _csv(("kind", "lines", "events_lost"), _count_lines(lines), sort=False),
        }
        if self.node_edges:
            out["expected/node-edges.csv"] = _csv((*edge, "needs_rule", "why"), self.node_edges)
        if self.names:
            out["expected/names.csv"] = _csv(("name", "address"), self.names)
        return out


class Stage:
    """One scenario being played: the cluster, its capture, the answers, and the window of time."""

    def __init__(self, rng: random.Random, cluster: Cluster, window: tuple[int, int]) -> None:
        self.rng = rng
        self.cluster = cluster
        self.capture = Capture(rng, cluster)
        self.answers = Answers()
        self.window = window

    def sport(self) -> int:
        """An ephemeral port."""
        return self.rng.randint(32768, 60999)

    def moment(self) -> int:
        """Some time in the window."""
        return self.rng.randrange(*self.window)

    def connection(self, client: Party, server: Party, port: int, protocol: str = "TCP") -> Connection:
        """A connection from an ephemeral port."""
        return Connection(client, server, self.sport(), port, protocol)

    def between(self, client: Pod, server: Pod, port: int, protocol: str = "TCP", *, ipv6: bool = False) -> Connection:
        """A connection between two pods."""
        ends = (pod_party(self.cluster, client, ipv6=ipv6), pod_party(self.cluster, server, ipv6=ipv6))
        return self.connection(*ends, port, protocol)

    def pick(self, call: Call) -> tuple[int, Pod, Pod]:
        """A moment at which both ends of a call have running pods, and one pod of each."""
        while True:
            when = self.moment()
            clients = self.cluster.running(call.client, when)
            servers = self.cluster.running(call.server, when, call.port, call.protocol)
            if call.client == call.server:  # Replicas talk to the first of them.
                clients, servers = clients[1:], servers[:1]
            if clients and servers:
                return when, self.rng.choice(clients), self.rng.choice(servers)

    def play(self, calls: Iterable[Call]) -> None:
        """Make the traffic of the table and note its edges; the answers of each server are no edges of their own."""
        calls = list(calls)
        for call in calls:
            for turn in range(call.times + call.ipv6):
                self._play_once(call, turn)
            self.answers.edge(call.client, call.server, call.protocol, call.port)
        pairs = {(call.client, call.server) for call in calls}
        for call in calls:
            if (call.server, call.client) not in pairs:
                why = "replies to connections that the other side opened"
                self.answers.no_edge(call.server, call.client, call.protocol, "*", why)

    def _play_once(self, call: Call, turn: int) -> None:
        when, client, server = self.pick(call)
        ipv6 = turn >= call.times
        connection = self.between(client, server, call.port, call.protocol, ipv6=ipv6)
        if call.service is not None and (turn == 0 or self.rng.random() < 0.15):
            namespace, name, port = call.service
            self.capture.socket_events(connection, self.cluster.services[namespace, name], port, when)
        # The first call of each edge is seen whole; later ones may be seen from one node only.
        view: View = "both" if turn == 0 else self.rng.choice(("both", "both", "both", "client", "server"))
        if call.protocol == "UDP":
            self.capture.udp(connection, when, view)
        else:
            script = call.scripts[0] if turn == 0 else self.rng.choice(call.scripts)
            self.capture.tcp(connection, when, script, view)

    def probes(self, ports: dict[str, int], times: int) -> None:
        """Kubelet checks of each running pod, from the pod's own node."""
        for pod in self.cluster.pods:
            if pod.ended is not None or pod.workload.key not in ports:
                continue
            port = ports[pod.workload.key]
            for _ in range(times):
                when = max(self.moment(), pod.created + 30 * SECOND)
                kubelet = node_party(pod.node, via_router=True)
                connection = self.connection(kubelet, pod_party(self.cluster, pod), port)
                self.capture.tcp(connection, when, self.rng.choice(("brief", "full")))
            why = "kubelet probe from the pod's own node, which no policy can block"
            self.answers.node_edges.add((f"node/{pod.node.name}", pod.workload.key, "TCP", str(port), "no", why))

    def scan(self, scanner: Pod, target: Pod, when: int, ports: dict[int, str]) -> None:
        """A port scan: for each port, what the scanner gets to see (`refused`, `half_open` or `silent`)."""
        told = {
            "refused": "port scan, refused with RST",
            "half_open": "port scan, handshake never completed (SYN, SYN-ACK, RST)",
            "silent": "port scan, never answered",
        }
        for port, script in ports.items():
            when += self.rng.randrange(2_000_000, 9_000_000)
            self.capture.tcp(self.between(scanner, target, port), when, script)
            self.answers.no_edge(scanner.workload.key, target.workload.key, "TCP", port, told[script])


def json_lines(records: Iterable[Obj]) -> list[str]:
    """Records as compact JSON, one per line."""
    return [json.dumps(record, separators=(",", ":"), ensure_ascii=False) for record in records]


def _csv(header: Row, rows: Iterable[Row], *, sort: bool = True) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    table = list(rows)
    if sort:
        table.sort(key=_natural)
    writer.writerows(table)
    return out.getvalue().encode()


def _natural(row: Row) -> tuple[tuple[int, int, str], ...]:
    return tuple((0, int(cell), "") if cell.isdigit() else (1, 0, cell) for cell in row)


def _count_lines(lines: Sequence[str]) -> list[Row]:
    counts = {"flow": 0, "lost_events": 0, "node_status": 0, "agent_event": 0, "broken": 0}
    lost = 0
    for line in lines:
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            counts["broken"] += 1
            continue
        kind = next(key for key in counts if key in record)
        counts[kind] += 1
        if kind == "lost_events":
            lost += int(record["lost_events"]["num_events_lost"])
    return [(kind, str(count), str(lost) if kind == "lost_events" else "") for kind, count in counts.items()]
