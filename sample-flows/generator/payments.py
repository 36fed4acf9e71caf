"""The small sample: `api-gateway` calls `payments` on TCP 8443 in namespace `backend`, and all else is noise.

The right policy for `payments` is therefore: ingress from `app=api-gateway` on TCP 8443, and nothing about egress,
since `payments` opens no connection.
"""

from __future__ import annotations

import random

from generator.cluster import Cluster
from generator.controllers import Revision, app, bare_pod, base_system, deployment
from generator.hubble import Drop
from generator.packets import Connection, Packet, Sight, pod_party
from generator.scenario import Call, Stage, json_lines
from generator.values import MINUTE, SECOND, Node, Obj, Port, Service, ns

NODES = (
    Node("prod-control-plane", 0, "172.20.0.2", "10.244.0.61", control_plane=True),
    Node("prod-worker", 1, "172.20.0.3", "10.244.1.17"),
    Node("prod-worker2", 2, "172.20.0.4", "10.244.2.138"),
)
CREATED = ns("2026-11-02T08:00:00Z")
WINDOW = (ns("2026-11-19T09:00:00Z"), ns("2026-11-19T10:00:00Z"))

GATEWAY = app("backend", "Deployment", "api-gateway", (Port(8080, "http"),), probe=8080)
# The port has no name: the policy has to say 8443.
PAYMENTS = app("backend", "Deployment", "payments", (Port(8443),), probe=8443)
TOOLBOX = app("backend", "Pod", "toolbox", (), {"run": "toolbox"})
DNS = "kube-system/Deployment/coredns"

CALLS = (
    Call(GATEWAY.key, PAYMENTS.key, 8443, service=("backend", "payments", 443), times=9),
    Call(GATEWAY.key, DNS, 53, "UDP", service=("kube-system", "kube-dns", 53), times=4),
)

SCAN = dict.fromkeys((21, 22, 25, 80, 443, 3306, 5432, 8080, 9090), "refused") | {
    135: "silent",
    445: "silent",
    8443: "half_open",
}

EXPECTED_POLICY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: internal-port-restrict, namespace: backend}
spec:
  podSelector: {matchLabels: {app: payments}}
  policyTypes: [Ingress]
  ingress:
  - from: [{podSelector: {matchLabels: {app: api-gateway}}}]
    ports: [{protocol: TCP, port: 8443}]
"""

CONFIG = """\
# The policy for payments has a name of its own; the others are named after their workload.
[names]
"backend/Deployment/payments" = "internal-port-restrict"
"""


def build_cluster(rng: random.Random) -> Cluster:
    """The cluster of the sample: IPv4 only, two workers."""
    cluster = Cluster(rng, "prod", NODES, dual_stack=False)
    for name in ("backend", "default", "kube-system"):
        cluster.namespace(name, CREATED)
    base_system(cluster, CREATED, ("prod-worker", "prod-worker2"))
    placed = CREATED + 3 * 60 * MINUTE
    deployment(cluster, GATEWAY, [Revision(placed, ("prod-worker", "prod-worker2"))])
    deployment(cluster, PAYMENTS, [Revision(placed, ("prod-worker", "prod-worker2"))])
    bare_pod(cluster, TOOLBOX, "prod-worker2", ns("2026-11-19T08:50:00Z"))
    dns_ports = (("dns", 53, 53, "UDP"), ("dns-tcp", 53, 53, "TCP"), ("metrics", 9153, 9153, "TCP"))
    dns = Service("kube-system", "kube-dns", ("10.96.0.10",), dns_ports)
    cluster.service(dns, {"k8s-app": "kube-dns"}, CREATED)
    payments = Service("backend", "payments", ("10.96.140.77",), (("https", 443, 8443, "TCP"),))
    cluster.service(payments, {"app": "payments"}, placed)
    gateway = Service("backend", "api-gateway", ("10.96.21.5",), (("http", 80, "http", "TCP"),))
    cluster.service(gateway, {"app": "api-gateway"}, placed)
    return cluster


def play(rng: random.Random) -> Stage:
    """The hour of traffic."""
    stage = Stage(rng, build_cluster(rng), WINDOW)
    stage.play(CALLS)
    stage.probes({GATEWAY.key: 8080, PAYMENTS.key: 8443, DNS: 8181}, times=1)
    _scan(stage)
    _drops(stage)
    _old_records(stage)
    return stage


def _scan(stage: Stage) -> None:
    toolbox = stage.cluster.running(TOOLBOX.key, stage.window[1])[0]
    target = stage.cluster.running(PAYMENTS.key, stage.window[1])[0]
    stage.scan(toolbox, target, stage.window[0] + 21 * MINUTE, SCAN)


def _drops(stage: Stage) -> None:
    """Denials by a cluster-wide policy that is no NetworkPolicy, and a packet that was lost for another reason."""
    toolbox = stage.cluster.running(TOOLBOX.key, stage.window[1])[0]
    payments = stage.cluster.running(PAYMENTS.key, stage.window[1])
    gateway = stage.cluster.running(GATEWAY.key, stage.window[1])
    policy = {"name": "no-debug-access", "kind": "CiliumClusterwideNetworkPolicy", "labels": [], "revision": "6"}
    explicit = Drop(181, "POLICY_DENY", (policy,))
    when = stage.window[0] + 34 * MINUTE
    for pod in payments:
        denied = Packet(stage.between(toolbox, pod, 9443), ("SYN",), first=True)
        when = stage.capture.dropped(denied, when + SECOND, "INGRESS", explicit)
    why = "POLICY_DENY by CiliumClusterwideNetworkPolicy no-debug-access"
    stage.answers.denied.add((TOOLBOX.key, PAYMENTS.key, "TCP", "9443", why))
    # An edge that is used all the time and lost one packet: it stays an edge.
    lost = Packet(stage.between(gateway[0], payments[1], 8443), ("SYN",), first=True)
    stage.capture.dropped(lost, when + MINUTE, "EGRESS", Drop(155, "CT_MAP_INSERTION_FAILED"))
    stale = stage.between(payments[0], gateway[1], 39114)
    reset = Packet(Connection(stale.client, stale.server, 8443, 39114), ("RST", "ACK"), first=True)
    stage.capture.dropped(reset, when + 2 * MINUTE, "EGRESS", Drop(134, "CT_INVALID_HDR"))
    stage.answers.no_edge(PAYMENTS.key, GATEWAY.key, "TCP", 39114, "dropped (CT_INVALID_HDR), and a late reply")


def _old_records(stage: Stage) -> None:
    """Replies as Cilium up to 1.10 wrote them at TO_OVERLAY: no `is_reply`, no direction, nothing newer than that."""
    gateway = stage.cluster.running(GATEWAY.key, stage.window[1])[0]
    payments = stage.cluster.running(PAYMENTS.key, stage.window[1])[1]
    connection = stage.between(gateway, payments, 8443)
    when = stage.window[0] + 47 * MINUTE
    stage.capture.tcp(connection, when, "full")
    for step, flags in enumerate((("SYN", "ACK"), ("PSH", "ACK"))):
        packet = Packet(connection, flags, reply=True)
        when += (1 + 8 * step) * 1_000_000
        stage.capture.report(packet, Sight(payments.node, "INGRESS", "TO_OVERLAY"), when)
        flow = stage.capture.records[-1][1]["flow"]
        for key in ("is_reply", "traffic_direction", "trace_reason", "uuid", "emitter", "node_labels"):
            del flow[key]
        flow["source"] = _old_endpoint(pod_party(stage.cluster, payments).remote)
        flow["destination"] = _old_endpoint(flow["destination"])


def _old_endpoint(endpoint: Obj) -> Obj:
    return {key: value for key, value in endpoint.items() if key not in {"ID", "cluster_name", "workloads"}}


def files(rng: random.Random) -> dict[str, bytes | Obj]:
    """All files of the sample by path; an object is an inventory to be written as YAML."""
    stage = play(rng)
    lines = json_lines(stage.capture.ordered())
    return {
        "flows.jsonl": ("\n".join(lines) + "\n").encode(),
        "inventory.yaml": stage.cluster.inventory(),
        "netpol-gen.toml": CONFIG.encode(),
        "expected/internal-port-restrict.yaml": EXPECTED_POLICY.encode(),
        **stage.answers.files(lines),
    }
