"""Quirks 10 to 16 of Hubble exports, envelopes and encodings."""

from __future__ import annotations

import json

from maker.capture import Outside, dumped, host, remote, world
from maker.case import Case
from maker.cluster import Pod


def label_prefixes_and_empty_values(case: Case) -> None:
    """No inventory: everything there is to select by stands in the records, with every prefix there is."""
    case.cluster, h = None, case.flows
    web = Pod("shop", "web-6b746f74dc-9rcxx", ("10.0.1.10",), "n1", {}, ("Deployment", "web"))
    api = Pod("shop", "api-7d9c5f6b8-x2x4z", ("10.0.2.11",), "n2", {}, ("Deployment", "api"))
    labels = {
        web.name: ["k8s:app=web", "k8s:empty=", "k8s:bare", "any:team=red", "unspec:zone=a", "k8s:expr=a=b"],
        api.name: [
            "k8s:app.kubernetes.io/name=api",
            "k8s:pod-template-hash=7d9c5f6b8",
            "k8s:security.istio.io/tlsMode=istio",
            "gen:io.cilium.k8s.named-ports=http.TCP.8080_dns.UDP.53",
            "gen:io.cilium.k8s.named-ports-1=metrics.TCP.9090",
            "k8s:io.cilium.k8s.policy.cluster=demo",
        ],
    }
    # The second one has no namespace label at all: some installations filter it out.
    labels[web.name].append("k8s:io.kubernetes.pod.namespace=shop")
    gateway = Outside("104.20.23.154", ("cidr:104.20.23.154/32", "reserved:world"), 16777217)
    six = Outside("2606:4700::6814:179a", ("cidr:2606-4700--6814-179a/128", "reserved:world"), 16777218)
    named = Outside("203.0.113.80", ("fqdn:api.example.com", "reserved:world"), 16777219, ("api.example.com",))
    for server, port in ((api, 8080), (gateway, 443), (named, 443)):
        h.call(web, server, port)
    h.call(Pod("shop", web.name, ("fd00:10:1::10",), "n1", {}, web.owner), six, 443)
    for i, line in enumerate(h.lines):
        record = json.loads(line)
        for end in ("source", "destination"):
            found = record["flow"][end]
            if found.get("pod_name") in labels:
                found["labels"] = labels[found["pod_name"]]
        h.lines[i] = dumped(record)


def reserved_identities_multiple(case: Case) -> None:
    c, h = case.shop(), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1", ports=("http:8080",))
    both = Outside("192.168.40.11", ("reserved:host", "reserved:kube-apiserver"), 1)
    managed = Outside("198.51.100.1", ("reserved:kube-apiserver", "reserved:world"), 7)
    other = Outside("192.168.40.12", ("reserved:host", "reserved:remote-node"), 6)
    health = Outside("10.0.2.99", ("reserved:health",), 4)
    far = Pod("billing", "ledger-0", ("10.8.0.5",), "far", {"app": "ledger"}, ("StatefulSet", "ledger"))
    h.call(both, web, 8080)  # the kubelet of a control plane node
    h.call(web, managed, 443)  # a managed control plane is outside
    h.call(other, web, 8080)
    h.call(health, web, 4240)
    h.call(web, far, 5432, view="client")  # a pod of another cluster of the mesh


def bare_pod_without_workloads(case: Case) -> None:
    """Nobody owns the shopper; and only the agent of a pod's own node knows its workload."""
    case.cluster, h = None, case.flows
    shopper = Pod("demo", "shopper", ("10.0.1.10",), "n1", {"run": "shopper"})
    front = Pod(
        "demo", "front-6b746f74dc-9rcxx", ("10.0.2.11",), "n2",
        {"app": "front", "pod-template-hash": "6b746f74dc"}, ("Deployment", "front"),
    )  # fmt: skip
    back = Pod("demo", "back-0", ("10.0.1.12",), "n1", {"app": "back", "apps.kubernetes.io/pod-index": "0"}, None)
    h.call(shopper, front, 8080, view="client")
    h.call(front, back, 5432, view="server")
    h.call(shopper, front, 8080, view="server")


def policy_verdict_match_types(case: Case) -> None:
    """Policy verdicts alone, one for each way to match: all say the same of the connection."""
    c, h = case.shop(), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1")
    (api,) = c.deployment("shop", "api", "10.0.2.11@n2", ports=tuple(f"{8080 + i}" for i in range(7)))
    for kind in range(7):
        by = [{"name": "old", "namespace": "shop", "kind": "NetworkPolicy", "revision": "6"}]
        h.record(web, api, h.sport(), 8080 + kind, "n2", flags="SYN", point=None, policy_match_type=kind or None,
                 ingress_allowed_by=by)  # fmt: skip


def http_503_is_allowed_l4(case: Case) -> None:
    """What the application answers is no verdict; a 403 of the proxy denies a request, not the connection."""
    c, h = case.shop(), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1")
    (api,) = c.deployment("shop", "api", "10.0.2.11@n2", ports=("8080",))
    (db,) = c.deployment("shop", "db", "10.0.2.12@n2", ports=("9200",))
    url = {"method": "GET", "url": "http://api:8080/", "protocol": "HTTP/1.1"}
    layer7 = {"event": 129, "point": None, "Type": "L7"}
    for code, sport in ((503, 42001), (0, 42003)):
        answer = {"type": "RESPONSE", "latency_ns": "1000000000", "http": {**({"code": code} if code else {}), **url}}
        h.record(web, api, sport, 8080, "n2", l7={"type": "REQUEST", "http": url}, **layer7)
        h.record(api, web, 8080, sport, "n2", l7=answer, reply=True, **layer7)
    h.call(api, db, 9200)
    refusal = {"type": "RESPONSE", "latency_ns": "812", "http": {"code": 403, **url}}
    h.record(db, api, 9200, h.port, "n2", l7=refusal, reply=True, verdict="DROPPED", **layer7)


def nodeport_remote_node(case: Case) -> None:
    """A pod calls another node's address and a NodePort: what its own egress sees is that address and that port."""
    c, h = case.shop(), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1")
    (api,) = c.deployment("shop", "api", "10.0.2.11@n2", ports=("8080",))
    c.service("shop", "api", "10.96.7.7", 80, 8080, (api, 8080), selector={"app": "api"}, node_port=32001)
    h.call(web, remote("192.168.40.12"), 32001, view="client")
    # Behind the NodePort the client is hidden: the packet comes from the node that translated it.
    h.call(host("192.168.40.12"), api, 8080, view="server")


def envelopes_and_encodings(case: Case) -> None:
    """The same call in every form in which exports write it, one form a line."""
    c, h = case.shop(), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1")
    (api,) = c.deployment("shop", "api", "10.0.2.11@n2", ports=("8080",))
    h.call(web, api, 8080)
    lines, h.lines = [json.loads(line) for line in h.lines], []
    for i, record in enumerate(lines):
        flow = record["flow"]
        h.raw(dumped(record))
        h.raw(dumped({"flow": flow}))
        h.raw(dumped(flow))
        h.raw(json.dumps(record, sort_keys=True))
        h.raw(dumped({"cluster_name": "demo", "tenant_id": 7, "flow": flow}))
        h.raw(dumped({"log": dumped(record) + "\n", "stream": "stdout", "time": flow["time"]}))
        h.raw(dumped({**record, "flow": _numbers(flow)}))
        h.raw(dumped({**record, "flow": _camel(flow)}))
        h.raw(dumped({**record, "flow": {**flow, "time": flow["time"].replace("000Z", "Z" if i % 2 else "123Z")}}))


_VERDICTS = {"FORWARDED": 1}
_POINTS = {"TO_ENDPOINT": 101, "TO_OVERLAY": 4}


def _numbers(flow: dict) -> dict:
    """Enums as numbers, as encoders other than the protocol's own write them."""
    direction = 1 if flow["traffic_direction"] == "INGRESS" else 2
    return {
        **flow,
        "verdict": _VERDICTS[flow["verdict"]],
        "trace_observation_point": _POINTS[flow["trace_observation_point"]],
        "traffic_direction": direction,
        "Type": 1,
    }


def _camel(value: object) -> object:
    """The names that protojson writes by default."""
    if isinstance(value, dict):
        return {_name(k): _camel(v) for k, v in value.items()}
    return [_camel(v) for v in value] if isinstance(value, list) else value


def _name(key: str) -> str:
    first, *rest = key.split("_")
    return first + "".join(part.capitalize() for part in rest)


def records_that_are_no_flows(case: Case) -> None:
    c, h = case.shop(), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1")
    (api,) = c.deployment("shop", "api", "10.0.2.11@n2", ports=("8080",))
    h.call(web, api, 8080)
    lost = {"source": "HUBBLE_RING_BUFFER", "num_events_lost": "12", "cpu": 3}
    h.raw(dumped({"lost_events": lost, "node_name": "demo/n1", "time": "2026-03-02T10:00:01Z"}))
    h.raw(
        dumped({"node_status": {"state_change": "NODE_CONNECTED", "node_names": ["demo/n1"]}, "node_name": "demo/n1"})
    )
    h.raw(dumped({"agent_event": {"type": "ENDPOINT_CREATED"}, "node_name": "demo/n1", "time": "2026-03-02T10:00:01Z"}))
    h.raw(dumped({"debug_event": {"type": "DBG_CT_VERDICT"}, "node_name": "demo/n1"}))
    flow = json.loads(h.lines[0])["flow"]
    h.raw(dumped({"flow": {**flow, "source": None}}))
    h.raw(dumped({"flow": {**flow, "l4": None}}))
    h.raw(dumped({"flow": {**flow, "verdict": "PERHAPS"}}))
    h.raw(dumped({"flow": {**flow, "l4": {"TCP": {"source_port": 1, "destination_port": 70000}}}}))
    h.raw("Jan  1 00:00:00.000: EVENTS LOST: HUBBLE_RING_BUFFER CPU(0) 5")
    h.raw("")
    h.raw('{"flow":{"time":"2026-03-02T10:00:01Z","verdict":"FORW')
    h.call(web, world("203.0.113.9"), 443)


CASES = {
    each.__name__: each
    for each in (
        label_prefixes_and_empty_values,
        reserved_identities_multiple,
        bare_pod_without_workloads,
        policy_verdict_match_types,
        http_503_is_allowed_l4,
        nodeport_remote_node,
        envelopes_and_encodings,
        records_that_are_no_flows,
    )
}
