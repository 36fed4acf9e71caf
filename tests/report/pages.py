"""A small cluster for tests of the page: calls that are allowed, denied and unseen, and names that want to be code."""

from __future__ import annotations

from typing import Any

from netpol_gen import pipeline
from netpol_gen.config import Config
from netpol_gen.inventory.objects import Pod
from netpol_gen.model import Direction, Workload
from netpol_gen.plan import Plan
from netpol_gen.policy import NetworkPolicy, Peer, PolicyPort, Rule
from netpol_gen.report.html import Material, gather
from netpol_gen.selectors import LabelSelector
from tests.flowrows import HOUR, NOW, flows_of, inventory_of, node, pod, row, service

HOSTILE = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=2>"
ATTRIBUTE = "\" onmouseover=window.hacked=3 x='"

WEB, API, DB, BATCH = (Workload("shop", "Deployment", n) for n in ("web", "api", "db", "batch"))
BAD = Workload("shop", "Deployment", HOSTILE)


def pods() -> list[Pod]:
    return [
        pod("web-1", "web", "10.0.0.1", (8080, "http")),
        pod("api-1", "api", "10.0.0.2", (9090, "grpc"), 9091),
        pod("db-1", "db", "10.0.0.3", 5432),
        pod("batch-1", "batch", "10.0.0.4"),
        pod(
            "bad-1",
            "bad",
            "10.0.0.5",
            workload=BAD,
            labels=(("app", "bad"), ("note", ATTRIBUTE)),
        ),
    ]


def rows() -> list[dict[str, Any]]:
    return [
        row("10.0.0.1", "10.0.0.2", 9090, flows=40, records=40, sample="flows.jsonl:7"),
        row("10.0.0.1", "203.0.113.9", 443, dst_names=[f"evil.example{HOSTILE}"], sample=f"{HOSTILE}.jsonl:1"),
        row("10.0.0.2", "10.0.0.3", 5432, first_seen=NOW - HOUR, hours=[NOW // HOUR - 1, NOW // HOUR]),
        row("10.0.0.5", "10.0.0.2", 9090),
        row("10.0.0.4", "10.0.0.3", 5432, observed_verdict="dropped", drop_reason="POLICY_DENIED"),
    ]


def wide_policy() -> NetworkPolicy:
    """In force today: lets everyone in the namespace reach the API on two ports, of which one is never used."""
    everyone = (Peer(pod_selector=LabelSelector()),)
    ports = (PolicyPort(port=9090), PolicyPort(port=9091))
    selector = LabelSelector((("app", "api"),))
    ingress = frozenset({Direction.INGRESS})
    return NetworkPolicy("shop", "allow-api", selector, ingress, (Rule(everyone, ports),))


def plan(*more: dict[str, Any], config: Config | None = None) -> Plan:
    held = inventory_of(
        *pods(),
        node("n1", "192.168.0.1", "10.0.0.0/24"),
        service("api", "api", "10.96.0.2", 80, "grpc"),
        policies=(wide_policy(),),
    )
    return pipeline.generate(flows_of(*rows(), *more), held, config or Config())


def material(**settings: Any) -> Material:
    config = Config(**settings)
    return gather(plan(config=config), config, title=f"Report {HOSTILE}", notes=(HOSTILE,))
