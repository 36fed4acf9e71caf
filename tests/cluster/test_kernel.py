"""The judge's verdicts, enforced by the kernel and tried with real connections, come out as `explain` says."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

import pytest

from netpol_gen.connectivity import connections
from netpol_gen.explain import explain, find_end
from netpol_gen.inventory import Inventory, load_inventory
from netpol_gen.model import Decision, Protocol, Workload
from netpol_gen.sets import ConnectionSet
from tests.cluster.lab import Lab, lab, possible
from tests.conftest import absent

PODS = {
    "shop/web": ("10.244.0.2", {"app": "web"}, {"http": 8080}),
    "shop/api-1": ("10.244.0.3", {"app": "api"}, {"rpc": 9001}),
    "shop/api-2": ("10.244.0.4", {"app": "api"}, {"rpc": 9002}),
    "shop/db": ("10.244.0.5", {"app": "db"}, {"sql": 5432}),
    "ops/probe": ("10.244.0.6", {"app": "probe"}, {}),
    "kube-system/dns": ("10.244.0.7", {"k8s-app": "kube-dns"}, {"dns": 53}),
}
OUTSIDE = {"near": "203.0.113.10", "far": "203.0.113.200"}
DOORS = [("TCP", p) for p in (53, 80, 5432, 8079, 8080, 8090, 8091, 9001, 9002)] + [("UDP", p) for p in (53, 5432)]

POLICIES = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web-from-outside, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress]
  ingress:
  - from: [{ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.128/25]}}]
    ports: [{port: 8080, endPort: 8090}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: api-by-name, namespace: shop}
spec:
  podSelector: {matchLabels: {app: api}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from: [{podSelector: {matchLabels: {app: web}}}]
    ports: [{port: rpc}]
  egress:
  - to:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}
      podSelector: {matchLabels: {k8s-app: kube-dns}}
    ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
  - to: [{podSelector: {matchLabels: {app: db}}}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  policyTypes: [Ingress]
  ingress:
  - from:
    - podSelector: {matchLabels: {app: api}}
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ops}}
    ports: [{port: 5432}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: probe-says-nothing, namespace: ops}
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress: [{ports: [{port: 5432, protocol: TCP}]}]
"""

# Written by hand from the API's text, not from what the judge says.
WANTED = [
    ("near", "shop/web", "TCP", 8080, True), ("near", "shop/web", "TCP", 8090, True),
    ("near", "shop/web", "TCP", 8079, False), ("near", "shop/web", "TCP", 8091, False),
    ("far", "shop/web", "TCP", 8080, False), ("shop/db", "shop/web", "TCP", 8080, False),
    ("shop/web", "shop/api-1", "TCP", 9001, True), ("shop/web", "shop/api-1", "TCP", 9002, False),
    ("shop/web", "shop/api-2", "TCP", 9002, True), ("shop/web", "shop/api-2", "TCP", 9001, False),
    ("shop/db", "shop/api-1", "TCP", 9001, False), ("shop/api-1", "shop/api-2", "TCP", 9002, False),
    ("shop/api-1", "kube-system/dns", "UDP", 53, True), ("shop/api-1", "kube-system/dns", "TCP", 53, True),
    ("shop/api-1", "kube-system/dns", "TCP", 80, False), ("shop/api-1", "near", "TCP", 80, False),
    ("shop/api-1", "shop/db", "TCP", 5432, True), ("shop/api-1", "shop/db", "UDP", 5432, False),
    ("ops/probe", "shop/db", "TCP", 5432, True), ("ops/probe", "shop/db", "UDP", 5432, False),
    ("ops/probe", "kube-system/dns", "UDP", 53, False), ("ops/probe", "near", "TCP", 5432, True),
    ("shop/web", "shop/db", "TCP", 5432, False), ("near", "kube-system/dns", "UDP", 53, True),
    ("kube-system/dns", "ops/probe", "TCP", 80, True),
]  # fmt: skip


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Inventory:
    documents = []
    for name, (ip, labels, ports) in PODS.items():
        namespace, _, own = name.partition("/")
        declared = ", ".join(
            f"{{name: {n}, containerPort: {p}, protocol: {'UDP' if n == 'dns' else 'TCP'}}}" for n, p in ports.items()
        )
        shown = ", ".join(f"{k}: {v}" for k, v in labels.items())
        documents.append(
            f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {own}, namespace: {namespace}, labels: {{{shown}}}}}\n"
            f"spec: {{nodeName: node-1, containers: [{{name: c, ports: [{declared}]}}]}}\n"
            f"status: {{phase: Running, podIP: {ip}, hostIP: 192.168.0.1}}\n"
        )
    namespaces = sorted({name.partition("/")[0] for name in PODS})
    documents += [f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n" for name in namespaces]
    path: Path = tmp_path_factory.mktemp("cluster") / "objects.yaml"
    path.write_text("---\n".join([*documents, POLICIES]), encoding="utf-8")
    return load_inventory([path])


@pytest.fixture(scope="module")
def kernel() -> Lab:
    if problem := possible():
        absent(f"no lab: {problem}", os.environ)
    addresses = {name.replace("/", "-"): ip for name, (ip, _, _) in PODS.items()} | OUTSIDE
    with lab(addresses, DOORS) as made:
        yield made


def address(name: str) -> str:
    return PODS[name][0] if name in PODS else OUTSIDE[name]


def rules(inventory: Inventory) -> list[str]:
    """What the judge allows, as rules of the kernel."""
    out = []
    for row in connections(inventory.policies, inventory, ipblock_matches_pods=Decision.ALLOW).rows():
        ends = f"{_end('saddr', row.src)} {_end('daddr', row.dst)}"
        out += [f"{ends} {match}" for match in _matches(row.connections)]
    return [rule for rule in out if ":" not in rule]


def _end(field: str, end: object) -> str:
    if isinstance(end, Workload):
        return f"ip {field} {PODS[f'{end.namespace}/{end.name}'][0]}"
    assert isinstance(end, ipaddress.IPv4Network | ipaddress.IPv6Network)
    # A range outside speaks of addresses that are no pod's.
    pods = ", ".join(ip for ip, _, _ in PODS.values())
    return f"ip {field} {end} ip {field} != {{ {pods} }}"


def _matches(allowed: ConnectionSet) -> list[str]:
    out = []
    for protocol in (Protocol.TCP, Protocol.UDP):
        intervals = allowed.ports(protocol).intervals
        out += [f"{protocol.lower()} dport {low}-{high}" for low, high in intervals]
    return out


def verdict(inventory: Inventory, src: str, dst: str, protocol: str, port: int) -> Decision:
    ends = [find_end(name if name in PODS else OUTSIDE[name], inventory) for name in (src, dst)]
    found = explain(inventory.policies, inventory, *ends, Protocol(protocol), port, ipblock_matches_pods=Decision.ALLOW)
    return found.verdict.decision


def test_the_kernel_does_what_explain_says(cluster: Inventory, kernel: Lab):
    kernel.enforce(rules(cluster))
    names = [*PODS, *OUTSIDE]
    asked = 0
    for src in names:
        others = [dst for dst in names if dst != src and not {src, dst} <= set(OUTSIDE)]
        probes = [(dst, protocol, port) for dst in others for protocol, port in DOORS]
        seen = kernel.probe(src.replace("/", "-"), [(address(d), protocol, port) for d, protocol, port in probes])
        said = [verdict(cluster, src, *probe) for probe in probes]
        wrong = [
            (src, *probe, str(s), r)
            for probe, s, r in zip(probes, said, seen, strict=True)
            if s is not (Decision.ALLOW if r else Decision.DENY)
        ]
        assert not wrong
        asked += len(probes)
    assert asked > 500


@pytest.mark.parametrize(("src", "dst", "protocol", "port", "open_"), WANTED)
def test_explain_says_what_the_api_says(cluster: Inventory, src, dst, protocol, port, open_):
    assert verdict(cluster, src, dst, protocol, port) is (Decision.ALLOW if open_ else Decision.DENY)


def test_without_rules_nothing_passes_and_without_enforcement_everything(kernel: Lab):
    probes = [("10.244.0.5", "TCP", 5432), ("203.0.113.10", "UDP", 53)]
    kernel.enforce([])
    assert kernel.probe("shop-web", probes) == [False, False]
    kernel.enforce(["ip saddr 0.0.0.0/0"])
    assert kernel.probe("shop-web", probes) == [True, True]
