"""The larger sample: an online shop in a dual-stack cluster, over three days, with everything that real exports hold.

`shop_cluster` has the objects; this module has the traffic.
"""

from __future__ import annotations

import random

from generator.hubble import Drop
from generator.packets import Connection, Packet, Party, node_party, pod_party, world_party
from generator.scenario import Call, Stage, json_lines
from generator.shop_cluster import (
    CART,
    CATALOG,
    CHECKOUT,
    DEBUG,
    DNS,
    END,
    FRONTEND,
    INGRESS,
    NODE_AGENT,
    PROMETHEUS,
    REDIS,
    REPORT,
    RUN_TIMES,
    SMOKE_TEST,
    START,
    build_cluster,
)
from generator.values import HOUR, MINUTE, SECOND, Obj, ns

KUBE_DNS = ("kube-system", "kube-dns", 53)
CATALOG_SERVICE = ("shop", "catalog", 80)

# Who uses what. Every line is an edge; the port is the one on the server's pod, never the Service's.
CALLS = (
    Call(INGRESS, FRONTEND, 8080, times=18, scripts=("full", "brief", "full")),
    Call(FRONTEND, CART, 7070, service=("shop", "cart", 7070), times=12, ipv6=6),
    Call(FRONTEND, CATALOG, 8080, service=CATALOG_SERVICE, times=12),
    Call(FRONTEND, CATALOG, 9090, service=CATALOG_SERVICE, times=8),
    Call(FRONTEND, CHECKOUT, 5050, service=("shop", "checkout", 80), times=10),
    Call(CHECKOUT, CART, 7070, service=("shop", "cart", 7070), times=8),
    Call(CHECKOUT, CATALOG, 8080, service=CATALOG_SERVICE, times=6),
    Call(CHECKOUT, CATALOG, 9090, service=CATALOG_SERVICE, times=5),
    Call(CART, REDIS, 6379, times=12),
    # Replication began before the window: no SYN is to be seen, only the stream.
    Call(REDIS, REDIS, 6379, times=4, scripts=("midstream",)),
    Call(SMOKE_TEST, FRONTEND, 8080, service=("shop", "frontend", 80), times=5),
    Call(PROMETHEUS, FRONTEND, 9113, times=7),
    Call(PROMETHEUS, CART, 9464, times=6),
    Call(PROMETHEUS, CATALOG, 9464, times=7),
    Call(PROMETHEUS, CHECKOUT, 9464, times=6),
    Call(PROMETHEUS, REDIS, 9121, times=7),
    Call(PROMETHEUS, INGRESS, 10254, times=5),
    Call(PROMETHEUS, DNS, 9153, times=5),
    Call(FRONTEND, DNS, 53, "UDP", KUBE_DNS, times=10),
    Call(CART, DNS, 53, "UDP", KUBE_DNS, times=7),
    Call(CATALOG, DNS, 53, "UDP", KUBE_DNS, times=6),
    Call(CATALOG, DNS, 53, "TCP", KUBE_DNS, times=3, scripts=("full",)),  # an answer that did not fit a datagram
    Call(REDIS, DNS, 53, "UDP", KUBE_DNS, times=6),
    Call(INGRESS, DNS, 53, "UDP", KUBE_DNS, times=4),
    Call(PROMETHEUS, DNS, 53, "UDP", KUBE_DNS, times=6),
    Call(SMOKE_TEST, DNS, 53, "UDP", KUBE_DNS, times=2),
)

PROBES = {FRONTEND: 8080, CART: 7070, CHECKOUT: 5050, REDIS: 6379, INGRESS: 10254, PROMETHEUS: 9090, DNS: 8181}

PAYMENT_NAME = "api.payments.example"
PAYMENT_ADDRESSES = tuple(f"192.0.2.{last}" for last in (20, 21, 36, 37, 52, 53))
UPSTREAM_RESOLVER = "192.0.2.153"
METADATA_SERVICE = "169.254.169.254"

SCANNED = dict.fromkeys((1, 7, 21, 22, 23, 25, 53, 80, 110, 111, 143, 443, 993, 1433, 2049, 3000), "refused")
SCANNED |= dict.fromkeys((3306, 5000, 5432, 5900, 6379, 8000, 8081, 8443, 8888, 9000, 9200, 27017), "refused")
SCANNED |= {135: "silent", 139: "silent", 445: "silent", 3389: "silent", 7070: "half_open", 9464: "half_open"}


def play(rng: random.Random) -> Stage:
    """The three days of traffic."""
    stage = Stage(rng, build_cluster(rng), (START, END))
    stage.play(CALLS)
    stage.probes(PROBES, times=2)
    for act in (_report_runs, _visitors, _payment_provider, _api_server, _nodes, _http, _upstream_dns):
        act(stage)
    for noise in (_denied, _lost, _audited, _unanswered, _scan, _pings, _health, _other_lines):
        noise(stage)
    return stage


def _world(stage: Stage, ip: str, *names: str) -> Party:
    return world_party(ip, stage.capture.world_endpoint(ip), names)


def _one(stage: Stage, key: str, when: int = END) -> Party:
    return pod_party(stage.cluster, stage.rng.choice(stage.cluster.running(key, when)))


# -- what is used ------------------------------------------------------------------------------------------------


def _report_runs(stage: Stage) -> None:
    """The nightly job: one pod per run, another name and other labels each time, one workload."""
    for night, started in enumerate(RUN_TIMES):
        port = 9090 if night == len(RUN_TIMES) - 1 else 8080
        for turn in range(3):
            when = started + MINUTE + turn * 20 * SECOND
            run = stage.cluster.running(REPORT, when)[0]
            resolver = stage.rng.choice(stage.cluster.running(DNS, when))
            stage.capture.udp(stage.between(run, resolver, 53, "UDP"), when)
            server = stage.rng.choice(stage.cluster.running("shop/Deployment/catalog", when, port))
            stage.capture.tcp(stage.between(run, server, port), when + SECOND)
        stage.answers.edge(REPORT, CATALOG, "TCP", port)
    stage.answers.edge(REPORT, DNS, "UDP", 53)


def _visitors(stage: Stage) -> None:
    """Customers, whose addresses are seen because the Service has externalTrafficPolicy Local."""
    ips = [f"203.0.113.{last}" for last in sorted(stage.rng.sample(range(1, 255), 12))]
    ips += [f"198.51.100.{last}" for last in sorted(stage.rng.sample(range(1, 255), 8))]
    ips.append("2001:db8:51::1d")
    for number, ip in enumerate(ips):
        for port in (443, 80) if number % 5 == 0 else (443,):
            for script in ("full", "brief"):
                when = stage.moment()
                pod = stage.rng.choice(stage.cluster.running(INGRESS, when))
                server = pod_party(stage.cluster, pod, ipv6=":" in ip)
                stage.capture.tcp(stage.connection(_world(stage, ip), server, port), when, script)
            stage.answers.edge(ip, INGRESS, "TCP", port)


def _payment_provider(stage: Stage) -> None:
    """Calls to a provider by name, at addresses that change; the lookups go through Cilium's DNS proxy."""
    labels = [f"fqdn:{PAYMENT_NAME}", "reserved:world-ipv4"]
    endpoint = {"identity": 16777224, "labels": labels}
    for turn in range(14):
        when = START + turn * 5 * HOUR + stage.rng.randrange(HOUR)
        pod = stage.rng.choice(stage.cluster.running(CHECKOUT, when))
        client = pod_party(stage.cluster, pod)
        resolver = pod_party(stage.cluster, stage.rng.choice(stage.cluster.running(DNS, when)))
        day = (when - START) // (24 * HOUR)
        current = PAYMENT_ADDRESSES[2 * day : 2 * day + 2]
        if turn % 4 == 0:  # The search path is tried first, and fails.
            query = {"query": f"{PAYMENT_NAME}.shop.svc.cluster.local.", "observation_source": "proxy", "qtypes": ["A"]}
            failed = {**query, "ttl": 4294967295, "rcode": 3}
            when = stage.capture.dns_over_proxy(stage.connection(client, resolver, 53, "UDP"), when, query, failed)
        query = {"query": f"{PAYMENT_NAME}.", "observation_source": "proxy", "qtypes": ["A"]}
        answer = {**query, "ips": list(current), "ttl": 60, "cnames": ["edge.cdn.example."], "rrtypes": ["CNAME", "A"]}
        when = stage.capture.dns_over_proxy(stage.connection(client, resolver, 53, "UDP"), when, query, answer)
        server = world_party(current[turn % 2], endpoint, (PAYMENT_NAME,))
        stage.capture.tcp(stage.connection(client, server, 443), when + 2_000_000, "full" if turn < 4 else "brief")
        stage.answers.names.add((PAYMENT_NAME, server.ip))
    stage.answers.edge(CHECKOUT, PAYMENT_NAME, "TCP", 443)
    stage.answers.edge(CHECKOUT, DNS, "UDP", 53)


def _upstream_dns(stage: Stage) -> None:
    """The resolver's own resolver, outside the cluster."""
    for _ in range(6):
        when = stage.moment()
        stage.capture.udp(stage.connection(_one(stage, DNS, when), _world(stage, UPSTREAM_RESOLVER), 53, "UDP"), when)
    stage.answers.edge(DNS, UPSTREAM_RESOLVER, "UDP", 53)


def _http(stage: Stage) -> None:
    """Calls through an L7 policy on one catalog pod: REDIRECTED is allowed."""
    for code in (200, 200, 503, 200):
        when = stage.moment()
        client = stage.rng.choice(stage.cluster.running(FRONTEND, when))
        server = stage.cluster.running(CATALOG, when, 8080)[0]
        url = f"http://catalog/products?page={stage.rng.randint(1, 9)}"
        stage.capture.http_over_proxy(stage.between(client, server, 8080), when, url, code)


# -- nodes and the control plane ---------------------------------------------------------------------------------


def _api_server(stage: Stage) -> None:
    """Controllers calling the API server, and the API server calling an admission webhook."""
    control = next(node for node in stage.cluster.nodes.values() if node.control_plane)
    why = "the API server: an address of a node, or the entity kube-apiserver"
    for key in (PROMETHEUS, INGRESS, DNS):
        for _ in range(3):
            when = stage.moment()
            server = node_party(control, via_router=False)
            stage.capture.tcp(stage.connection(_one(stage, key, when), server, 6443), when)
        stage.answers.node_edges.add((key, f"node/{control.name}", "TCP", "6443", "yes", why))
    for _ in range(3):
        when = stage.moment()
        client = node_party(control, via_router=True)
        stage.capture.tcp(stage.connection(client, _one(stage, INGRESS, when), 8443), when)
    why = "admission webhook called by the API server"
    stage.answers.node_edges.add((f"node/{control.name}", INGRESS, "TCP", "8443", "yes", why))


def _nodes(stage: Stage) -> None:
    """A DaemonSet in the host network: it is scraped at node addresses, and calls pods from them."""
    agent = f"{NODE_AGENT} runs in the host network"
    for node in stage.cluster.nodes.values():
        for _ in range(2):
            when = stage.moment()
            scraper = _one(stage, PROMETHEUS, when)
            stage.capture.tcp(stage.connection(scraper, node_party(node, via_router=False), 9100), when)
        needs = "no" if scraper.node == node else "yes"
        stage.answers.node_edges.add((PROMETHEUS, f"node/{node.name}", "TCP", "9100", needs, agent))
        for _ in range(2):
            when = stage.moment()
            pods = [pod for pod in stage.cluster.running(FRONTEND, when) if pod.node != node]
            server = pod_party(stage.cluster, stage.rng.choice(pods))
            stage.capture.tcp(stage.connection(node_party(node, via_router=True), server, 8080), when)
        why = f"{agent}, and calls pods on other nodes"
        # The kubelet's probe of the same port needs no rule; this does, and stands for both.
        probe = {row for row in stage.answers.node_edges if row[:4] == (f"node/{node.name}", FRONTEND, "TCP", "8080")}
        stage.answers.node_edges -= probe
        stage.answers.node_edges.add((f"node/{node.name}", FRONTEND, "TCP", "8080", "yes", why))


# -- what is no edge ---------------------------------------------------------------------------------------------


def _syn(connection: Connection) -> Packet:
    return Packet(connection, ("SYN",), first=True)


def _denied(stage: Stage) -> None:
    """Drops by policy: a NetworkPolicy's default deny, and an explicit deny that is no NetworkPolicy."""
    day_two = ns("2026-11-18T15:30:00Z")
    for key in (FRONTEND, DEBUG):
        for turn in range(3):
            target = _one(stage, REDIS, day_two)
            connection = stage.connection(_one(stage, key, day_two), target, 6379)
            stage.capture.dropped(_syn(connection), day_two + turn * SECOND, "INGRESS", Drop())
        why = "POLICY_DENIED at the server, by NetworkPolicy shop/redis"
        stage.answers.denied.add((key, REDIS, "TCP", "6379", why))
    policy = {"name": "no-metadata-service", "kind": "CiliumClusterwideNetworkPolicy", "labels": [], "revision": "9"}
    explicit = Drop(181, "POLICY_DENY", (policy,))
    for turn in range(2):
        connection = stage.connection(_one(stage, CATALOG), _world(stage, METADATA_SERVICE), 80)
        stage.capture.dropped(_syn(connection), END - (turn + 1) * HOUR, "EGRESS", explicit)
    why = "POLICY_DENY at the client, by CiliumClusterwideNetworkPolicy no-metadata-service"
    stage.answers.denied.add((CATALOG, METADATA_SERVICE, "TCP", "80", why))


def _lost(stage: Stage) -> None:
    """Drops for reasons that are not policy."""
    no_backend = stage.cluster.services["shop", "legacy"].ips[0]
    cases = (
        (CHECKOUT, no_backend, 80, 158, "SERVICE_BACKEND_NOT_FOUND"),
        (FRONTEND, "10.244.2.251", 8080, 151, "STALE_OR_UNROUTABLE_IP"),
    )
    for key, ip, port, code, name in cases:
        when = stage.moment()
        connection = stage.connection(_one(stage, key, when), _world(stage, ip), port)
        stage.capture.dropped(_syn(connection), when, "EGRESS", Drop(code, name))
        stage.answers.no_edge(key, ip, "TCP", port, f"dropped ({name}), not by policy")
    # An edge that lost one packet stays an edge.
    connection = stage.connection(_one(stage, FRONTEND), _one(stage, CART), 7070)
    stage.capture.dropped(_syn(connection), END - 40 * MINUTE, "EGRESS", Drop(155, "CT_MAP_INSERTION_FAILED"))


def _audited(stage: Stage) -> None:
    """Policy audit mode on two servers: let through, but a policy would have denied it."""
    when = ns("2026-11-19T11:00:00Z")
    why = "AUDIT: a policy would deny it; evidence only with --accept audit"
    for turn in range(3):
        connection = stage.connection(_one(stage, INGRESS, when), _one(stage, CART, when), 7070)
        stage.capture.audited(connection, when + turn * MINUTE, traces=False)
    stage.answers.no_edge(INGRESS, CART, "TCP", 7070, why)
    for turn in range(2):
        connection = stage.connection(_one(stage, SMOKE_TEST, when), _one(stage, CHECKOUT, when), 5050)
        stage.capture.audited(connection, when + turn * HOUR, traces=True)
    stage.answers.no_edge(SMOKE_TEST, CHECKOUT, "TCP", 5050, why)


def _unanswered(stage: Stage) -> None:
    """Calls that nobody answers, or that are refused."""
    cases = (
        (FRONTEND, _one(stage, CATALOG), CATALOG, 8081, "silent", "never answered"),
        (CHECKOUT, _world(stage, "192.0.2.200"), "192.0.2.200", 443, "silent", "never answered"),
        (FRONTEND, _one(stage, CART), CART, 7071, "refused", "refused with RST"),
        (SMOKE_TEST, _one(stage, CATALOG), CATALOG, 8443, "refused", "refused with RST"),
    )
    for key, server, dst, port, script, why in cases:
        connection = stage.connection(_one(stage, key), server, port)
        stage.capture.tcp(connection, END - stage.rng.randrange(2 * HOUR), script)
        stage.answers.no_edge(key, dst, "TCP", port, why)


def _scan(stage: Stage) -> None:
    """Somebody tries a scanner from the debug pod on every cart pod."""
    when = ns("2026-11-18T15:42:00Z")
    scanner = stage.cluster.running(DEBUG, when)[0]
    for target in stage.cluster.running(CART, when):
        stage.scan(scanner, target, when, SCANNED)
        snmp = stage.between(scanner, target, 161, "UDP")
        stage.capture.udp(snmp, when + 5 * SECOND, answered=False)
        when += 20 * SECOND
    stage.answers.no_edge(DEBUG, CART, "UDP", 161, "port scan, never answered")


def _pings(stage: Stage) -> None:
    """ICMP has no ports and makes no edge; neighbour discovery has not even endpoints."""
    when = ns("2026-11-18T15:38:00Z")
    debug = stage.cluster.running(DEBUG, when)[0]
    target = stage.cluster.running(FRONTEND, when)[0]
    cart = stage.cluster.running(CART, when)[0]
    four, six = stage.between(debug, target, 0), stage.between(debug, cart, 0, ipv6=True)
    stage.capture.ping(four, when, {"ICMPv4": {"type": 8}}, {"ICMPv4": {}})
    stage.capture.ping(six, when + SECOND, {"ICMPv6": {"type": 128}}, {"ICMPv6": {"type": 129}})
    stage.answers.no_edge(DEBUG, FRONTEND, "ICMPv4", "", "echo request")
    stage.answers.no_edge(DEBUG, CART, "ICMPv6", "", "echo request")
    nobody = world_party("fe80::64d8:8aff:fe72:fc14", {})
    solicit = Connection(nobody, world_party("ff02::2", {}), 0, 0)
    stage.capture.neighbour_discovery(solicit, when + 3 * SECOND, debug.node)


def _health(stage: Stage) -> None:
    """Cilium's own checks between nodes."""
    cluster = stage.cluster
    for number, node in enumerate(cluster.nodes.values()):
        endpoint = {"identity": 4, "labels": ["reserved:health"]}
        ip = f"10.244.{node.index}.{243 + number}"
        local = {"ID": 90 + number, **endpoint}
        target = Party(ip, local, endpoint, "02:00:00:00:00:99", node, is_pod=True)
        for other in cluster.nodes.values():
            if other != node:
                when = stage.moment()
                source = node_party(other, via_router=True)
                stage.capture.tcp(stage.connection(source, target, 4240), when, "brief")
                echo = stage.connection(source, target, 0)
                stage.capture.ping(echo, when + SECOND, {"ICMPv4": {"type": 8}}, {"ICMPv4": {}})
    stage.answers.no_edge("reserved:remote-node", "reserved:health", "TCP", 4240, "Cilium's own health check")


def _other_lines(stage: Stage) -> None:
    """Lines of the stream that are no flows."""
    control, one, two = stage.cluster.nodes.values()
    capture = stage.capture
    up = _status("NODE_CONNECTED", stage, "demo-worker", "demo-worker2")
    capture.other(START + SECOND, control, "node_status", up)
    perf = {"source": "PERF_EVENT_RING_BUFFER", "num_events_lost": "37", "cpu": 3}
    capture.other(START + 9 * HOUR, one, "lost_events", perf)
    capture.other(START + 31 * HOUR, two, "lost_events", {"source": "OBSERVER_EVENTS_QUEUE", "num_events_lost": "5"})
    capture.other(START + 32 * HOUR, two, "lost_events", {"source": "HUBBLE_RING_BUFFER", "num_events_lost": "212"})
    capture.other(START + 33 * HOUR, control, "node_status", _status("NODE_UNAVAILABLE", stage, "demo-worker2"))
    capture.other(START + 33 * HOUR + MINUTE, control, "node_status", _status("NODE_CONNECTED", stage, "demo-worker2"))
    update = {"labels": ["k8s:io.cilium.k8s.policy.name=redis"], "revision": "6", "rule_count": "1"}
    capture.other(START + 34 * HOUR, one, "agent_event", {"type": "POLICY_UPDATED", "policy_update": update})


def _status(state: str, stage: Stage, *nodes: str) -> Obj:
    return {"state_change": state, "node_names": [f"{stage.cluster.name}/{node}" for node in nodes]}


def files(rng: random.Random) -> dict[str, bytes | Obj]:
    """All files of the sample by path; an object is an inventory to be written as YAML."""
    stage = play(rng)
    lines = json_lines(stage.capture.ordered())
    # The disk was full: the last record stops in the middle.
    lines.append(lines[-1][: len(lines[-1]) * 3 // 5])
    return {
        "flows.jsonl.gz": "\n".join(lines).encode(),
        "inventory.yaml": stage.cluster.inventory(),
        **stage.answers.files(lines),
    }
