"""Pods that only flows know, beside those of a dump."""

from __future__ import annotations

from netpol_gen.evaluate import Judge
from netpol_gen.inventory.objects import Pod
from netpol_gen.model import Decision, Direction, Edge, Protocol, Workload
from netpol_gen.policy import NetworkPolicy, Peer, PolicyPort, Rule
from netpol_gen.selectors import LabelSelector
from tests.flowrows import inventory_of, pod

WEB, API = Workload("shop", "Deployment", "web"), Workload("shop", "Deployment", "api")
OPEN_HTTP = NetworkPolicy(
    "shop",
    "api",
    LabelSelector.of({"app": "api"}),
    frozenset({Direction.INGRESS}),
    (Rule((Peer(LabelSelector.of({"app": "web"})),), (PolicyPort(Protocol.TCP, "http"),)),),
)


def decided(*pods: Pod) -> Decision:
    gone = pod("api-9", "api", "10.0.0.9", observed=True)
    inventory = inventory_of(pod("web-1", "web", "10.0.0.1"), gone, *pods)
    return Judge([OPEN_HTTP], inventory).edge(Edge(WEB, API, Protocol.TCP, 8080)).decision


def test_pods_of_the_dump_speak_for_the_workload():
    assert decided(pod("api-1", "api", "10.0.0.2", (8080, "http"))) is Decision.ALLOW
    assert decided(pod("api-1", "api", "10.0.0.2", (9090, "http"))) is Decision.DENY


def test_without_any_nobody_knows_the_ports_of_a_pod_from_flows():
    assert decided() is Decision.UNKNOWN
