"""The cluster of the shop: dual stack, two workers, five namespaces."""

from __future__ import annotations

import random
from collections.abc import Mapping

from generator.cluster import Cluster
from generator.controllers import (
    COREDNS,
    Revision,
    Run,
    app,
    bare_pod,
    base_system,
    cron_job,
    daemon_set,
    deployment,
    stateful_set,
)
from generator.values import SECOND, Container, Node, Port, Service, Workload, ns

START = ns("2026-11-17T06:00:00Z")
END = ns("2026-11-20T06:00:00Z")
CREATED = ns("2026-10-28T09:12:00Z")
RELEASED = ns("2026-11-10T13:05:00Z")
CANARY = ns("2026-11-18T09:00:00Z")
RUN_TIMES = tuple(ns(f"2026-11-{day}T03:00:00Z") for day in (18, 19, 20))

NODES = (
    Node("demo-control-plane", 0, "172.18.0.2", "10.244.0.148", control_plane=True),
    Node("demo-worker", 1, "172.18.0.3", "10.244.1.213"),
    Node("demo-worker2", 2, "172.18.0.4", "10.244.2.72"),
)
BOTH = ("demo-worker", "demo-worker2")

METRICS = Port(9464, "metrics")

# The template carries more labels than the selector; the version and the chart change with each release.
frontend = Workload(
    "shop",
    "Deployment",
    "frontend",
    {"app": "frontend", "app.kubernetes.io/version": "1.8.2", "helm.sh/chart": "shop-4.2.0", "tier": "web"},
    {"app": "frontend"},
    (Container("frontend", "registry.example/frontend:1.8.2", (Port(8080, "http"), Port(9113, "metrics")), 8080),),
)
cart = app("shop", "Deployment", "cart", (Port(7070, "grpc"), METRICS), probe=7070)
catalog = app("shop", "Deployment", "catalog", (Port(8080, "http"), METRICS))
checkout = app(
    "shop",
    "Deployment",
    "checkout",
    (Port(5050, "grpc"), METRICS),
    {"app.kubernetes.io/instance": "shop", "app.kubernetes.io/name": "checkout"},
    probe=5050,
)
redis = Workload(
    "shop",
    "StatefulSet",
    "redis",
    {"app": "redis"},
    {"app": "redis"},
    (
        Container("redis", "registry.example/redis:7.4", (Port(6379, "redis"),), 6379),
        Container("exporter", "registry.example/redis-exporter:1.66", (Port(9121, "metrics"),)),
    ),
)
report = app("shop", "CronJob", "report", ())
backup = app("shop", "CronJob", "backup", ())
legacy = app("shop", "Deployment", "legacy", (Port(8080, "http"),))
smoke_test = app("shop", "Pod", "smoke-test", (), {"run": "smoke-test"})
debug = app("shop", "Pod", "debug", (), {"run": "debug"})
controller = app(
    "ingress-nginx",
    "Deployment",
    "ingress-nginx-controller",
    (Port(80, "http"), Port(443, "https"), Port(8443, "webhook"), Port(10254, "metrics")),
    {
        "app.kubernetes.io/component": "controller",
        "app.kubernetes.io/instance": "ingress-nginx",
        "app.kubernetes.io/name": "ingress-nginx",
    },
    probe=10254,
)
prometheus_labels = {"app.kubernetes.io/name": "prometheus"}
prometheus = app("monitoring", "StatefulSet", "prometheus", (Port(9090, "web"),), prometheus_labels, probe=9090)
node_agent = app("monitoring", "DaemonSet", "node-agent", (Port(9100, "metrics"),))

FRONTEND, CART, CATALOG, CHECKOUT = frontend.key, cart.key, catalog.key, checkout.key
REDIS, REPORT, SMOKE_TEST, DEBUG = redis.key, report.key, smoke_test.key, debug.key
INGRESS, PROMETHEUS, NODE_AGENT, DNS = controller.key, prometheus.key, node_agent.key, COREDNS.key


def build_cluster(rng: random.Random) -> Cluster:
    """Every object of the sample, in a fixed order."""
    cluster = Cluster(rng, "demo", NODES, dual_stack=True)
    for name in ("default", "ingress-nginx", "kube-system", "monitoring"):
        cluster.namespace(name, CREATED)
    cluster.namespace("shop", CREATED, team="storefront")
    base_system(cluster, CREATED, BOTH)
    _shop(cluster)
    deployment(cluster, controller, [Revision(CREATED, BOTH)])
    stateful_set(cluster, prometheus, ("demo-worker2",), CREATED)
    daemon_set(cluster, node_agent, CREATED, host_network=True)
    _services(cluster)
    _redis_policy(cluster)
    return cluster


def _shop(cluster: Cluster) -> None:
    reused = cluster.reserve("10.244.1.77")
    earlier = Revision(CREATED, ())  # scaled to zero by a rollout long past
    deployment(cluster, frontend, [earlier, Revision(RELEASED, (*BOTH, "demo-worker"))])
    deployment(cluster, cart, [Revision(RELEASED, BOTH)])
    # A rollout in the middle: the new pods listen elsewhere, and the Service finds both by the name of the port.
    moved = Container("catalog", "registry.example/catalog:1.9.0", (Port(9090, "http"), METRICS))
    deployment(cluster, catalog, [Revision(RELEASED, BOTH), Revision(CANARY, ("demo-worker2",), (moved,))])
    deployment(cluster, checkout, [Revision(RELEASED, BOTH)])
    deployment(cluster, legacy, [Revision(CREATED, ())])
    stateful_set(cluster, redis, (*BOTH, "demo-worker2"), RELEASED)
    runs = [
        Run(started, started + 140 * SECOND, BOTH[number % 2], reused if number == 0 else None)
        for number, started in enumerate(RUN_TIMES)
    ]
    cron_job(cluster, report, "0 3 * * *", RELEASED, runs)
    cron_job(cluster, backup, "0 4 * * 0", RELEASED, [])  # weekly, and no Sunday is in the window
    # It took over the address that the first run of the report had given back.
    bare_pod(cluster, smoke_test, "demo-worker", ns("2026-11-18T10:00:00Z"), reused)
    bare_pod(cluster, debug, "demo-worker", ns("2026-11-18T15:20:00Z"))


def _services(cluster: Cluster) -> None:
    def service(
        namespace: str, name: str, last: str, selector: Mapping[str, str], *ports: tuple[str, int, int | str, str]
    ) -> None:
        cluster.service(Service(namespace, name, (f"10.96.{last}",), ports), selector, RELEASED)

    api_server(cluster)
    dns_ports = (("dns", 53, 53, "UDP"), ("dns-tcp", 53, 53, "TCP"), ("metrics", 9153, 9153, "TCP"))
    cluster.service(Service("kube-system", "kube-dns", ("10.96.0.10",), dns_ports), COREDNS.selector, CREATED)
    service("shop", "frontend", "41.12", frontend.selector, ("http", 80, "http", "TCP"))
    cluster.service(
        Service("shop", "cart", ("10.96.203.44", "fd00:10:96::cb2c"), (("grpc", 7070, "grpc", "TCP"),)),
        cart.selector,
        RELEASED,
    )
    service("shop", "catalog", "88.31", catalog.selector, ("http", 80, "http", "TCP"))
    service("shop", "checkout", "17.160", checkout.selector, ("grpc", 80, 5050, "TCP"))
    service("shop", "legacy", "9.9", legacy.selector, ("http", 80, "http", "TCP"))
    cluster.service(Service("shop", "redis", ("None",), (("redis", 6379, "redis", "TCP"),)), redis.selector, RELEASED)
    service("monitoring", "prometheus", "150.2", prometheus.selector, ("web", 9090, "web", "TCP"))
    admission = ("https-webhook", 443, "webhook", "TCP")
    service("ingress-nginx", "ingress-nginx-controller-admission", "12.7", controller.selector, admission)
    cluster.service(
        Service(
            "ingress-nginx",
            "ingress-nginx-controller",
            ("10.96.77.200", "fd00:10:96::4dc8"),
            (("http", 80, "http", "TCP"), ("https", 443, "https", "TCP")),
        ),
        controller.selector,
        CREATED,
        type="LoadBalancer",
        externalTrafficPolicy="Local",
        healthCheckNodePort=31954,
        nodePorts={80: 30080, 443: 30443},
    )


def api_server(cluster: Cluster) -> None:
    """Service `default/kubernetes`, which has no selector: the API server writes its own EndpointSlice."""
    service = Service("default", "kubernetes", ("10.96.0.1",), (("https", 443, 6443, "TCP"),))
    cluster.service(service, {}, CREATED)
    control = next(node for node in cluster.nodes.values() if node.control_plane)
    endpoint = {"addresses": [control.ip], "conditions": {"ready": True}}
    uid = cluster.objects["Service"][-1]["metadata"]["uid"]
    cluster.endpoint_slice(service, "IPv4", [("https", 6443, "TCP")], [endpoint], owner_uid=uid, created=CREATED)


def _redis_policy(cluster: Cluster) -> None:
    """The one policy that somebody wrote already; it denies what `expected/denied.csv` lists for redis."""

    def peer(labels: dict[str, str], namespace: str | None = None) -> dict[str, object]:
        pods: dict[str, object] = {"podSelector": {"matchLabels": labels}}
        if namespace is not None:
            pods["namespaceSelector"] = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
        return pods

    spec = {
        "ingress": [
            {
                "from": [peer({"app": "cart"}), peer({"app": "redis"})],
                "ports": [{"port": 6379, "protocol": "TCP"}],
            },
            {
                "from": [peer({"app.kubernetes.io/name": "prometheus"}, "monitoring")],
                "ports": [{"port": "metrics", "protocol": "TCP"}],
            },
        ],
        "podSelector": {"matchLabels": {"app": "redis"}},
        "policyTypes": ["Ingress"],
    }
    meta = cluster.metadata("redis", RELEASED, "shop")
    cluster.add(
        "NetworkPolicy", {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": spec}
    )
