"""From real and sample exports to proved policies: the edges that are known to be true, the policies that follow.

`sample-flows/*/expected/` is written from the scenario tables, not from the records. The real exports (Cilium 1.9 and
1.10) are outside the repository; what is true of them was found by reading them.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from ipaddress import ip_address
from pathlib import Path

import pytest
import yaml

from netpol_gen import api
from netpol_gen.cli.options import make_config
from netpol_gen.emit import render_tree, write_tree
from netpol_gen.evaluate import Judge
from netpol_gen.flowtable import Reason
from netpol_gen.inventory import Inventory
from netpol_gen.model import Decision, Direction, Edge, External, ExternalKind, Protocol, Workload
from netpol_gen.pipeline import Plan

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "sample-flows"
FLOWS = {"payments": "flows.jsonl", "shop": "flows.jsonl.gz"}
NODE = "node"


@cache
def plan_of(sample: str, *options: tuple[str, object]) -> Plan:
    folder = SAMPLES / sample
    toml = folder / "netpol-gen.toml"
    config = replace(make_config(toml if toml.exists() else None), **dict(options))
    table = api.load_flows([folder / FLOWS[sample]], config=config)
    return api.generate(table, api.read_inventory([folder / "inventory.yaml"]), config)


def expected(sample, name):
    path = SAMPLES / sample / "expected" / name
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def edge_of(row):
    return (row["src"], row["dst"], row["protocol"], row["port"])


class Shown:
    """Edges in the words of the expected files."""

    def __init__(self, sample: str, inventory: Inventory) -> None:
        self.inventory = inventory
        rows = expected(sample, "names.csv") if (SAMPLES / sample / "expected" / "names.csv").exists() else []
        self.names = {row["address"]: row["name"] for row in rows}

    def party(self, party: Workload | External) -> str:
        if isinstance(party, Workload):
            return f"{party.namespace}/{party.kind}/{party.name}"
        if party.kind is ExternalKind.OWN_NODE:
            return NODE
        if party.kind in (ExternalKind.NODE, ExternalKind.API_SERVER):
            return f"node/{self.node(party.address)}"
        return self.names.get(party.address, party.address)

    def node(self, text: str) -> str:
        """The node that has an address, or hands out the range in which its router has one."""
        address = ip_address(text)
        for node in self.inventory.nodes.values():
            if address in node.addresses or any(address in cidr for cidr in node.pod_cidrs):
                return node.name
        raise AssertionError(text)

    def edge(self, edge: Edge) -> tuple[str, str, str, str]:
        return (self.party(edge.src), self.party(edge.dst), str(edge.protocol), str(edge.port))


@pytest.fixture(params=FLOWS)
def sample(request) -> str:
    return request.param


@pytest.fixture
def plan(sample) -> Plan:
    return plan_of(sample)


@pytest.fixture
def shown(sample, plan) -> Shown:
    return Shown(sample, plan.edges.inventory)


def on_a_node(edge):
    return any(party.startswith(NODE) for party in edge[:2])


class TestSamples:
    def test_edges_are_the_expected_ones(self, sample, plan, shown):
        found = {shown.edge(e) for e in plan.edges.accepted}
        assert {e for e in found if not on_a_node(e)} == {edge_of(row) for row in expected(sample, "edges.csv")}

    def test_edges_with_nodes_are_the_expected_ones(self, sample, plan, shown):
        rows = expected(sample, "node-edges.csv")
        found = {e for e in map(shown.edge, plan.edges.accepted) if on_a_node(e)}
        needing = {edge_of(row) for row in rows if row["needs_rule"] == "yes"}
        assert {e for e in found if NODE not in e[:2]} == needing

        def anonymous(edge):
            return tuple(NODE if party.startswith("node/") else party for party in edge)

        own = {e for e in found if NODE in e[:2]}
        others = {anonymous(edge_of(row)) for row in rows if row["needs_rule"] == "no"}
        # A pod's own node can be among the nodes of a row that needs a rule for the sake of the others.
        assert others <= own <= others | {anonymous(e) for e in needing}

    def test_what_is_denied_today_is_reported_and_not_added(self, sample, plan, shown):
        denied = {edge_of(row) for row in expected(sample, "denied.csv")}
        assert {shown.edge(e) for e in plan.edges.denied} == denied
        assert not denied & {shown.edge(e) for e in plan.edges.accepted}
        assert "NPG401" in {d.code for d in plan.diagnostics}

    def test_what_is_no_edge_is_never_accepted(self, sample, plan, shown):
        found = {shown.edge(e) for e in plan.edges.accepted}
        answers = {e[:3] for e in found}
        for row in expected(sample, "not-edges.csv"):
            edge = edge_of(row)
            assert edge[:3] not in answers if row["port"] == "*" else edge not in found, row

    def test_every_line_is_accounted_for(self, sample, plan):
        lines = {row["kind"]: row for row in expected(sample, "lines.csv")}
        ledger = plan.edges.ledger
        ledger.close()
        count = {kind: int(row["lines"]) for kind, row in lines.items()}
        assert ledger.read == sum(count.values())
        aside = ledger.set_aside
        assert aside.get(Reason.MALFORMED, 0) == count.get("broken", 0)
        assert aside.get(Reason.LOST_EVENTS, 0) == count.get("lost_events", 0)
        assert aside.get(Reason.CONTROL, 0) == count.get("node_status", 0) + count.get("agent_event", 0)
        lost = lines.get("lost_events")
        assert ledger.lost == (int(lost["events_lost"] or 0) if lost else 0)

    def test_the_replay_holds(self, plan):
        plan.check()
        assert [str(r.edge) for r in plan.replay.unknown] == []

    def test_no_ephemeral_port_and_no_cluster_address_is_written(self, plan):
        cluster_ips = {str(a) for s in plan.edges.inventory.services for a in s.cluster_ips}
        for policy in plan.policies:
            for rule in (*policy.ingress, *policy.egress):
                assert all(isinstance(p.port, str) or p.port < 32768 for p in rule.ports)
                blocks = {str(p.ip_block.cidr.network_address) for p in rule.peers if p.ip_block}
                assert not blocks & cluster_ips

    def test_audited_edges_come_with_the_switch_alone(self):
        audited = {edge_of(row) for row in expected("shop", "not-edges.csv") if row["why"].startswith("AUDIT")}
        assert len(audited) == 2
        plan = plan_of("shop", ("accept", make_config(None, accept=["audit"]).accept))
        shown = Shown("shop", plan.edges.inventory)
        assert audited <= {shown.edge(e) for e in plan.edges.accepted}


def test_the_policy_for_payments_means_exactly_the_expected_one():
    (wanted,) = api.read_policies([SAMPLES / "payments" / "expected" / "internal-port-restrict.yaml"]).policies
    plan = plan_of("payments")
    (made,) = [p for p in plan.policies if p.ref == "backend/internal-port-restrict"]
    assert replace(made, labels=(), place=wanted.place) == wanted.canonical()
    assert ("backend", "payments", Direction.EGRESS) in {
        (g.workload.namespace, g.workload.name, g.direction) for g in plan.gaps
    }
    inventory = plan.edges.inventory
    judge = Judge(plan.policies, inventory)
    payments = inventory.pods_of(Workload("backend", "Deployment", "payments"))
    for pod in payments:
        for other in inventory.pods:
            for port in (443, 8080, 8443, 9090, 9443):
                if other in payments or other.host_network or not other.live:
                    continue
                verdict = judge.connection(other, pod, Protocol.TCP, port)
                admitted = other.workload.name == "api-gateway" and port == 8443
                assert (verdict.ingress.decision is Decision.ALLOW) is admitted, f"{other.name} {port}"


# --- real exports -----------------------------------------------------------------------------------------------------

BOOKINFO = {
    "basic-sample-400-tcp-flows.json": {
        ("bookinfo/productpage-v1", "bookinfo/details-v1", "TCP", 9080),
        ("bookinfo/productpage-v1", "bookinfo/reviews-v1", "TCP", 9080),
        ("bookinfo/productpage-v1", "bookinfo/reviews-v2", "TCP", 9080),
        ("bookinfo/productpage-v1", "bookinfo/reviews-v3", "TCP", 9080),
        ("bookinfo/ratings-v1", "bookinfo/productpage-v1", "TCP", 9080),
        ("bookinfo/reviews-v2", "bookinfo/ratings-v1", "TCP", 9080),
        ("bookinfo/reviews-v3", "bookinfo/ratings-v1", "TCP", 9080),
        ("kube-system/otelcol-hubble-collector", "jaeger/jaeger-default", "TCP", 14250),
        ("kube-system/otelcol-hubble-collector", "own-node", "TCP", 4244),
        ("own-node", "jaeger/jaeger-default", "TCP", 14269),
    },
    "basic-sample-400-udp-flows.json": {
        ("bookinfo/productpage-v1", "kube-system/coredns", "UDP", 53),
        ("bookinfo/ratings-v1", "kube-system/coredns", "UDP", 53),
    },
    "basic-sample-10-flows.json": {
        ("istio-system/istio-telemetry", "istio-system/istio-galley", "TCP", 9901),
        ("istio-system/prometheus", "bookinfo/reviews-v1", "TCP", 15090),
        ("kube-system/event-exporter-gke", "world 35.246.31.234", "TCP", 443),
        ("own-node", "bookinfo/reviews-v1", "TCP", 15020),
        ("own-node", "kube-system/kube-dns", "TCP", 10054),
    },
    "basic-sample-5-dns-flows.json": {("kube-system/node-local-dns", "kube-system/kube-dns", "TCP", 53)},
    "basic-sample-5-http-flows.json": {
        ("istio-system/prometheus", "kube-system/kube-dns", "TCP", 10054),
        ("istio-system/prometheus", "kube-system/node-local-dns", "TCP", 9253),
        ("istio-system/prometheus", "world 10.128.0.4", "TCP", 9990),
    },
}


def plainly(party):
    return f"{party.namespace}/{party.name}" if isinstance(party, Workload) else str(party)


@pytest.fixture(params=BOOKINFO)
def export(request, shared_data) -> Path:
    return shared_data / "hubble" / request.param


class TestRealExports:
    def test_edges(self, export):
        plan = api.generate(api.load_flows([export]))
        found = {(plainly(e.src), plainly(e.dst), str(e.protocol), e.port) for e in plan.edges.accepted}
        assert found == BOOKINFO[export.name]

    def test_policies_are_proved_and_verify_agrees(self, export, tmp_path):
        plan = api.generate(api.load_flows([export]), all_namespaces=True)
        plan.check()
        if export.name == "basic-sample-5-http-flows.json":
            # The servers are labelled as the world: without objects nobody knows what to select them by.
            assert plan.policies == ()
            assert "NPG402" in {d.code for d in plan.diagnostics}
            return
        write_tree(render_tree(plan.policies, plan.notes), tmp_path / "policies")
        command = [sys.executable, "-m", "netpol_gen.cli.main", "verify", str(tmp_path / "policies"), "--flows"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run([*command, str(export)], capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr

    def test_every_record_is_accounted_for(self, export):
        plan = api.generate(api.load_flows([export]))
        plan.edges.ledger.close()
        lines = export.read_text(encoding="utf-8").splitlines()
        assert plan.edges.ledger.read == len(lines)
        assert plan.edges.ledger.bad == 0

    def test_a_denial_would_be_found(self, shared_data, tmp_path):
        export = shared_data / "hubble" / "basic-sample-400-tcp-flows.json"
        closed = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "closed", "namespace": "bookinfo"},
            "spec": {"podSelector": {"matchLabels": {"app": "details"}}, "policyTypes": ["Ingress"]},
        }
        path = tmp_path / "closed.yaml"
        path.write_text(yaml.safe_dump(closed), encoding="utf-8")
        plan = api.generate(api.load_flows([export]), existing=api.read_policies([path]).policies)
        assert not plan.replay.denied, "what is generated opens it again"
        only = Judge(api.read_policies([path]).policies, plan.edges.inventory)
        denied = {(plainly(e.src), plainly(e.dst)) for e in plan.edges.accepted if only.edge(e).denied}
        assert denied == {("bookinfo/productpage-v1", "bookinfo/details-v1")}
