"""The samples are what their generator writes, look like real exports, and hold the truth stated beside them.

The check of the expected files reads the records anew with a small reader of its own: it knows nothing of the scenario
tables, and nothing of netpol_gen.
"""

from __future__ import annotations

import csv
import gzip
import ipaddress
import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import yaml

SAMPLES = Path(__file__).resolve().parents[1] / "sample-flows"
NAMES = ("payments", "shop")
FLOWS = {"payments": "payments/flows.jsonl", "shop": "shop/flows.jsonl.gz"}


def read_lines(sample):
    path = SAMPLES / FLOWS[sample]
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as stream:
        return stream.read().splitlines()


def read_csv(sample, name):
    path = SAMPLES / sample / "expected" / name
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def edge_of(row):
    return row["src"], row["dst"], row["protocol"], row["port"]


@pytest.fixture(scope="module", params=NAMES)
def sample(request):
    return request.param


@pytest.fixture(scope="module")
def flows(sample):
    lines = read_lines(sample)
    whole = lines[:-1] if sample == "shop" else lines
    return [record["flow"] for record in map(json.loads, whole) if "flow" in record]


@pytest.fixture(scope="module")
def objects(sample):
    with (SAMPLES / sample / "inventory.yaml").open(encoding="utf-8") as stream:
        return yaml.load(stream, Loader=yaml.CSafeLoader)["items"]


def generate(*arguments, hash_seed="0"):
    command = [sys.executable, str(SAMPLES / "generate.py"), *map(str, arguments)]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("written")
    done = generate("--out", out, hash_seed="1")
    assert done.returncode == 0, done.stderr
    return out


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- the generator -----------------------------------------------------------------------------------------------------


def test_the_files_are_what_the_generator_writes(written):
    fresh = contents(written)
    kept = {path: data for path, data in contents(SAMPLES).items() if path.split("/")[0] in NAMES}
    assert sorted(fresh) == sorted(kept)
    for path, data in fresh.items():
        # Builds of zlib compress differently, so the archive is compared unpacked.
        unpack = gzip.decompress if path.endswith(".gz") else bytes
        assert unpack(kept[path]) == unpack(data), path


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(written, tmp_path):
    assert generate("--out", tmp_path / "again", hash_seed="2").returncode == 0
    assert contents(tmp_path / "again") == contents(written)
    assert generate("--out", tmp_path / "other", "--seed", 7).returncode == 0
    other = contents(tmp_path / "other")
    assert other["payments/flows.jsonl"] != contents(written)["payments/flows.jsonl"]
    # What is true of payments does not depend on the draw.
    assert other["payments/expected/edges.csv"] == contents(written)["payments/expected/edges.csv"]


def test_check_names_what_differs(written, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(written, copy)
    assert generate("--out", copy, "--check").returncode == 0
    (copy / "payments/netpol-gen.toml").write_text("[names]\n", encoding="utf-8")
    (copy / "shop/expected/names.csv").unlink()
    (copy / "shop/notes.txt").write_text("mine", encoding="utf-8")
    done = generate("--out", copy, "--check")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "payments/netpol-gen.toml: differs",
        "shop/expected/names.csv: missing",
        "shop/notes.txt: not written by the generator",
    ]
    assert (copy / "payments/netpol-gen.toml").read_text(encoding="utf-8") == "[names]\n"


def test_the_archive_has_no_time_in_its_header():
    assert (SAMPLES / FLOWS["shop"]).read_bytes()[4:8] == b"\0\0\0\0"


def test_the_readme_gives_the_right_counts(sample):
    want = next(int(row["lines"]) for row in read_csv(sample, "lines.csv") if row["kind"] == "flow")
    text = (SAMPLES / "README.md").read_text(encoding="utf-8")
    assert f"`{FLOWS[sample].split('/')[1]}`, {want:,} records" in text


def test_the_samples_stay_small():
    assert sum(path.stat().st_size for name in NAMES for path in (SAMPLES / name).rglob("*")) < 1_000_000


# -- the form of the records -------------------------------------------------------------------------------------------


def test_only_the_last_line_of_the_shop_is_broken(sample):
    lines = read_lines(sample)
    broken = []
    for number, line in enumerate(lines):
        try:
            json.loads(line)
        except json.JSONDecodeError:
            broken.append(number)
    assert broken == ([len(lines) - 1] if sample == "shop" else [])


def test_lines_are_counted_by_kind(sample):
    want = {row["kind"]: int(row["lines"]) for row in read_csv(sample, "lines.csv")}
    lines = read_lines(sample)
    assert sum(want.values()) == len(lines)
    for kind in ("flow", "lost_events", "node_status", "agent_event"):
        assert sum(line.startswith(f'{{"{kind}":') for line in lines) - want[kind] == (
            # The broken line starts like a flow.
            want["broken"] if kind == "flow" else 0
        )


SHOWN = {
    "payments": ({"FORWARDED", "DROPPED", "TRACED", "TRANSLATED"}, {1, 4, 5, 7}, {"TCP", "UDP"}, {"IPv4"}),
    "shop": (
        {"FORWARDED", "DROPPED", "AUDIT", "REDIRECTED", "TRACED", "TRANSLATED"},
        {1, 4, 5, 7, 129},
        {"TCP", "UDP", "ICMPv4", "ICMPv6"},
        {"IPv4", "IPv6"},
    ),
}


def test_the_records_show_what_they_promise(sample, flows):
    verdicts, events, protocols, families = SHOWN[sample]
    assert {flow["verdict"] for flow in flows} == verdicts
    assert {flow["event_type"]["type"] for flow in flows} == events
    assert {key for flow in flows for key in flow["l4"]} == protocols
    assert {flow["IP"]["ipVersion"] for flow in flows} == families


def test_records_keep_the_rules_of_the_format(flows):
    for flow in flows:
        # Zero is left out: that is how TO_ENDPOINT and an echo reply look.
        assert 0 not in flow["event_type"].values()
        assert (flow.get("trace_observation_point") == "TO_ENDPOINT") == (flow["event_type"] == {"type": 4})
        if flow["Type"] == "SOCK" or flow["event_type"]["type"] == 1:
            assert "is_reply" not in flow
        if flow["Type"] == "L7":
            assert "flags" not in next(iter(flow["l4"].values()))
        for side in ("source", "destination"):
            endpoint = flow[side]
            assert "workloads" not in endpoint or "ID" in endpoint
            if "pod_name" in endpoint:
                assert f"k8s:io.kubernetes.pod.namespace={endpoint['namespace']}" in endpoint["labels"]


def test_only_the_own_node_knows_the_id_of_an_endpoint(flows, objects):
    nodes = {
        (obj["metadata"]["namespace"], obj["metadata"]["name"]): obj["spec"]["nodeName"]
        for obj in objects
        if obj["kind"] == "Pod"
    }
    for flow in flows:
        for side in ("source", "destination"):
            endpoint = flow[side]
            if "uuid" in flow and "pod_name" in endpoint:
                own = flow["node_name"].split("/")[1] == nodes[endpoint["namespace"], endpoint["pod_name"]]
                assert ("ID" in endpoint) == own


def test_lines_are_in_order_of_time(sample):
    lines = read_lines(sample)[:-1]
    times = [json.loads(line)["time"] for line in lines]
    assert times == sorted(times)


def test_addresses_outside_the_cluster_are_documentation_addresses(flows):
    known = [ipaddress.ip_network(text) for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")]
    known += [ipaddress.ip_network("2001:db8::/32"), ipaddress.ip_network("ff02::/16")]
    for flow in flows:
        for side in ("source", "destination"):
            address = ipaddress.ip_address(flow["IP"][side])
            assert address.is_private or any(address in network for network in known), address


# -- the inventory -----------------------------------------------------------------------------------------------------


def test_owners_and_targets_exist(objects):
    uids = {obj["metadata"]["uid"]: (obj["kind"], obj["metadata"]["name"]) for obj in objects}
    assert len(uids) == len(objects)
    for obj in objects:
        for owner in obj["metadata"].get("ownerReferences", ()):
            assert uids[owner["uid"]] == (owner["kind"], owner["name"])
        for endpoint in obj.get("endpoints", ()):
            if "targetRef" in endpoint:
                assert uids[endpoint["targetRef"]["uid"]] == ("Pod", endpoint["targetRef"]["name"])


def test_pods_in_the_flows_are_in_the_inventory_with_their_addresses(flows, objects):
    ips = {
        (obj["metadata"]["namespace"], obj["metadata"]["name"]): {entry["ip"] for entry in obj["status"]["podIPs"]}
        for obj in objects
        if obj["kind"] == "Pod"
    }
    for flow in flows:
        for side in ("source", "destination"):
            endpoint = flow[side]
            if "pod_name" in endpoint:
                assert flow["IP"][side] in ips[endpoint["namespace"], endpoint["pod_name"]]


def test_one_address_has_one_running_holder(objects):
    holders = defaultdict(set)
    for obj in objects:
        if obj["kind"] == "Pod" and not obj["spec"].get("hostNetwork"):
            for entry in obj["status"]["podIPs"]:
                holders[entry["ip"]].add((obj["metadata"]["name"], obj["status"]["phase"]))
    for found in holders.values():
        assert sum(phase == "Running" for _, phase in found) <= 1
    shared = [sorted(name.split("-")[0] for name, _ in found) for found in holders.values() if len(found) > 1]
    assert shared in ([], [["report", "smoke"]])


RESOLVED = {"payments": ("payments", [("https", 8443)]), "shop": ("catalog", [("http", 8080), ("http", 9090)])}


def test_a_service_means_the_ports_of_its_pods(objects, sample):
    service, want = RESOLVED[sample]
    label = "kubernetes.io/service-name"
    slices = [o for o in objects if o["kind"] == "EndpointSlice" and o["metadata"]["labels"][label] == service]
    assert sorted((port["name"], port["port"]) for found in slices for port in found["ports"]) == want


# -- the truth ---------------------------------------------------------------------------------------------------------


class Truth:
    """Reads the records without netpol_gen: per client, server and backend port, what was seen on each connection."""

    def __init__(self, flows, objects):
        self.objects = {(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]): o for o in objects}
        self.nodes = {entry["address"]: o["metadata"]["name"] for o in objects for entry in self._node_addresses(o)}
        self.connections = defaultdict(lambda: defaultdict(set))
        self.drops = set()
        for flow in flows:
            if flow["Type"] != "SOCK" and ("TCP" in flow.get("l4", {}) or "UDP" in flow.get("l4", {})):
                self._take(flow)

    @staticmethod
    def _node_addresses(obj):
        return obj["status"]["addresses"] if obj["kind"] == "Node" else ()

    def _take(self, flow):
        protocol, body = next(iter(flow["l4"].items()))
        ends = [self._party(flow, "source"), self._party(flow, "destination")]
        ports = [body.get("source_port", 0), body.get("destination_port", 0)]
        flags = set(body.get("flags", ()))
        if flow.get("is_reply", flow.get("trace_observation_point") == "TO_OVERLAY" and "is_reply" not in flow):
            ends.reverse()
            ports.reverse()
            told = {"answered"} if "RST" not in flags else {"refused"}
        elif flow["verdict"] == "DROPPED":
            told = {"dropped"}
            if flow.get("drop_reason") in {133, 181}:
                self.drops.add((*ends, protocol, str(ports[1])))
        elif flow["verdict"] == "AUDIT":
            told = {"audit"}
        else:
            told = {"used"} if protocol == "UDP" or ("ACK" in flags and "RST" not in flags) else {"tried"}
        self.connections[(*ends, protocol, str(ports[1]))][ports[0]] |= told

    def _party(self, flow, side):
        endpoint = flow[side]
        if "pod_name" in endpoint:
            return self._workload(endpoint["namespace"], endpoint["pod_name"])
        labels = endpoint.get("labels", [])
        if "reserved:health" in labels:
            return "reserved:health"
        if any(label.startswith("reserved:") and "world" not in label for label in labels):
            return "node"
        names = flow.get(f"{side}_names") or [label[5:] for label in labels if label.startswith("fqdn:")]
        return names[0] if names else flow["IP"][side]

    def _workload(self, namespace, name):
        kind = "Pod"
        while owners := self.objects[kind, namespace, name]["metadata"].get("ownerReferences"):
            kind, name = owners[0]["kind"], owners[0]["name"]
        return f"{namespace}/{kind}/{name}"

    def used(self):
        """Edges with at least one connection that the client went on with, the server answered, and nobody audited."""
        return {
            edge
            for edge, connections in self.connections.items()
            if any({"used", "answered"} <= told and not told & {"audit", "refused"} for told in connections.values())
        }


@pytest.fixture(scope="module")
def truth(flows, objects):
    return Truth(flows, objects)


def test_the_expected_edges_are_those_that_are_used(truth, sample):
    between = {edge for edge in truth.used() if "node" not in edge[:2]}
    between -= {edge for edge in between if edge[1] == "reserved:health"}
    assert between == {edge_of(row) for row in read_csv(sample, "edges.csv")}


def test_the_expected_node_edges_are_those_that_are_used(truth, sample):
    def anonymous(edge):
        return tuple("node" if party.startswith("node/") else party for party in edge)

    found = {edge for edge in truth.used() if "node" in edge[:2] and edge[1] != "reserved:health"}
    assert found == {anonymous(edge_of(row)) for row in read_csv(sample, "node-edges.csv")}


def test_the_denied_edges_are_those_that_a_policy_dropped(truth, sample):
    assert truth.drops == {edge_of(row) for row in read_csv(sample, "denied.csv")}
    assert not truth.drops & {edge_of(row) for row in read_csv(sample, "edges.csv")}


def test_what_is_no_edge_is_in_the_records_and_not_among_the_edges(truth, sample, flows):
    edges = {edge_of(row) for row in read_csv(sample, "edges.csv")}
    pairs = {edge[:3] for edge in edges}
    answered = {(edge[1], edge[0], edge[2]) for edge in truth.used()}
    audited = {edge for edge, seen in truth.connections.items() if any("audit" in told for told in seen.values())}
    for row in read_csv(sample, "not-edges.csv"):
        edge = edge_of(row)
        if edge[3] == "*":
            assert edge[:3] not in pairs
            assert edge[:3] in answered
        elif edge[3] == "":
            assert any(edge[2] in flow.get("l4", {}) for flow in flows)
        elif edge[1] != "reserved:health":
            assert edge not in edges
            assert edge not in truth.used()
            assert edge in truth.connections
            assert (edge in audited) == row["why"].startswith("AUDIT")


def test_every_attempt_is_explained(truth, sample):
    """Nothing in the records is left without a line in one of the files."""
    names = ("edges.csv", "denied.csv", "not-edges.csv")
    explained = {edge_of(row) for name in names for row in read_csv(sample, name)}
    left = {edge for edge in truth.connections if "node" not in edge[:2]} - explained
    assert left == set()


# -- payments ----------------------------------------------------------------------------------------------------------

GATEWAY = "backend/Deployment/api-gateway"
PAYMENTS = "backend/Deployment/payments"


@pytest.fixture(scope="module")
def payments():
    lines = [json.loads(line)["flow"] for line in read_lines("payments")]
    with (SAMPLES / "payments/inventory.yaml").open(encoding="utf-8") as stream:
        items = yaml.load(stream, Loader=yaml.CSafeLoader)["items"]
    return lines, items, Truth(lines, items)


def test_payments_is_used_by_the_gateway_alone(payments):
    used = payments[2].used()
    assert {edge for edge in used if edge[1] == PAYMENTS} == {
        (GATEWAY, PAYMENTS, "TCP", "8443"),
        ("node", PAYMENTS, "TCP", "8443"),  # the kubelet, which needs no rule
    }
    assert not [edge for edge in used if edge[0] == PAYMENTS]


def test_the_kubelet_that_probes_payments_is_on_the_own_node(payments):
    flows = [flow for flow in payments[0] if flow["source"].get("identity") == 1 and flow["Type"] == "L3_L4"]
    assert flows
    for flow in flows:
        assert flow["source"]["labels"] == ["reserved:host"]
        assert "ID" in flow["destination"]


def test_the_scan_touches_the_open_port_and_never_completes_it(payments):
    scanned = {edge: seen for edge, seen in payments[2].connections.items() if edge[0] == "backend/Pod/toolbox"}
    assert ("backend/Pod/toolbox", PAYMENTS, "TCP", "8443") in scanned
    assert not any("used" in told for seen in scanned.values() for told in seen.values())
    outcomes = {frozenset(told) for seen in scanned.values() for told in seen.values()}
    assert {frozenset({"tried"}), frozenset({"tried", "refused"}), frozenset({"tried", "answered"})} <= outcomes


def test_old_replies_have_neither_direction_nor_is_reply(payments):
    old = [flow for flow in payments[0] if "uuid" not in flow]
    assert [sorted(flow["l4"]["TCP"]["flags"]) for flow in old] == [["ACK", "SYN"], ["ACK", "PSH"]]
    for flow in old:
        assert flow["l4"]["TCP"]["source_port"] == 8443
        assert not {"is_reply", "traffic_direction", "trace_reason"} & set(flow)


def test_the_port_of_payments_has_no_name(payments):
    pods = [o for o in payments[1] if o["kind"] == "Pod" and o["metadata"]["name"].startswith("payments-")]
    assert len(pods) == 2
    for pod in pods:
        (container,) = pod["spec"]["containers"]
        assert container["ports"] == [{"containerPort": 8443, "protocol": "TCP"}]


def test_the_expected_policy_is_the_one_asked_for():
    path = SAMPLES / "payments/expected/internal-port-restrict.yaml"
    assert yaml.safe_load(path.read_text(encoding="utf-8")) == {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "internal-port-restrict", "namespace": "backend"},
        "spec": {
            "podSelector": {"matchLabels": {"app": "payments"}},
            "policyTypes": ["Ingress"],
            "ingress": [
                {
                    "from": [{"podSelector": {"matchLabels": {"app": "api-gateway"}}}],
                    "ports": [{"protocol": "TCP", "port": 8443}],
                }
            ],
        },
    }
