"""Random small clusters with policies, as manifests, from a seed; and the package's view of them."""

from __future__ import annotations

import ipaddress
import random
from types import MappingProxyType

from netpol_gen.errors import Place
from netpol_gen.inventory import Inventory
from netpol_gen.inventory.objects import ContainerPort, Namespace, Pod
from netpol_gen.model import Protocol, Workload
from netpol_gen.policy import parse_policy
from netpol_gen.tiers import parse_tier_policy

KEYS = {"app": ["web", "db", "job"], "tier": ["a", "b"], "x": ["one"]}
NAMES = ["http", "sql", "dns"]
NUMBERS = [1, 53, 80, 81, 443, 65535]
PROTOCOLS = ["TCP", "UDP", "SCTP"]
V4 = ["0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/24", "10.0.0.2/31", "203.0.113.0/24", "203.0.113.128/25", "128.0.0.0/1"]
V6 = ["::/0", "fd00::/8", "2001:db8::/32", "2001:db8:1::/48"]
OUTSIDE = ["203.0.113.7", "203.0.113.200", "9.255.255.255", "198.51.100.1", "2001:db8:1::5", "2001:db8:2::5", "ff::1"]


def labels(r):
    return {k: r.choice(v) for k, v in KEYS.items() if r.random() < 0.6}


def selector(r):
    """Any form that the API accepts, the empty one often."""
    out = {}
    if r.random() < 0.25:
        return out
    if r.random() < 0.6:
        out["matchLabels"] = {k: v for k, v in labels(r).items() if r.random() < 0.7}
    if r.random() < 0.5:
        out["matchExpressions"] = [expression(r) for _ in range(r.randint(0, 2))]
    return out


def expression(r):
    key = r.choice([*KEYS, "absent"])
    operator = r.choice(["In", "NotIn", "Exists", "DoesNotExist"])
    pool = [*KEYS.get(key, ["one"]), "other"]
    values = r.sample(pool, r.randint(1, 2)) if "In" in operator else None
    return {"key": key, "operator": operator, **({"values": values} if values else {})}


def block(r):
    cidr = r.choice([*V4, *V6])
    inner = [c for c in (*V4, *V6, "203.0.113.7/32", "2001:db8:1::5/128") if inside(c, cidr)]
    chosen = r.sample(inner, min(len(inner), r.choice([0, 0, 1, 2])))
    return {"ipBlock": {"cidr": cidr, **({"except": chosen} if chosen or r.random() < 0.1 else {})}}


def inside(inner, outer):
    a, b = ipaddress.ip_network(inner), ipaddress.ip_network(outer)
    return a.version == b.version and a != b and a.subnet_of(b)


def peer(r):
    what = r.random()
    if what < 0.3:
        return block(r)
    if what < 0.55:
        return {"podSelector": selector(r)}
    if what < 0.75:
        return {"namespaceSelector": selector(r)}
    return {"namespaceSelector": selector(r), "podSelector": selector(r)}


def port(r):
    out = {}
    if r.random() < 0.7:
        out["protocol"] = r.choice(PROTOCOLS)
    what = r.random()
    if what < 0.25:
        out["port"] = r.choice(NAMES)
    elif what < 0.9:
        out["port"] = r.choice(NUMBERS)
        if r.random() < 0.3:
            out["endPort"] = r.choice([n for n in NUMBERS if n >= out["port"]])
    return out


def rule(r, peers_key):
    out = {}
    for key, make in ((peers_key, peer), ("ports", port)):
        what = r.random()
        if what < 0.7:
            out[key] = [make(r) for _ in range(r.randint(1, 3))]
        elif what < 0.8:
            out[key] = r.choice([[], None])
    return out


def policy(r, name, namespaces):
    spec = {}
    if r.random() < 0.9:
        spec["podSelector"] = selector(r)
    if r.random() < 0.7:
        spec["policyTypes"] = r.choice([["Ingress"], ["Egress"], ["Ingress", "Egress"], []])
    for key, peers_key in (("ingress", "from"), ("egress", "to")):
        if r.random() < 0.7:
            spec[key] = [rule(r, peers_key) for _ in range(r.randint(0, 3))]
    metadata = {"name": name, "namespace": r.choice(namespaces)}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


def pod(r, number, namespaces):
    declared = [
        {"name": n, "containerPort": r.choice(NUMBERS), "protocol": r.choice(PROTOCOLS)}
        for n in NAMES
        if r.random() < 0.6
    ]
    address = r.choice([f"10.0.0.{number + 1}", f"10.9.0.{number + 1}", f"2001:db8:1::1:{number + 1:x}"])
    host = r.random() < 0.1
    return {
        "kind": "Pod",
        "metadata": {"name": f"pod{number}", "namespace": r.choice(namespaces), "labels": labels(r)},
        "spec": {
            "containers": [{"name": "c", "ports": declared}],
            # Every pod runs on a node of its own, so that "own node" never hides a policy.
            "nodeName": f"node{number}",
            **({"hostNetwork": True} if host else {}),
        },
        "status": {"podIP": f"192.0.2.{number + 1}" if host else address, "phase": "Running"},
    }


def world(seed, pods=6, policies=4, tiers=0):
    """Manifests: namespaces, pods, NetworkPolicies and cluster-wide policies of distinct priorities."""
    r = random.Random(seed)
    names = ["n1", "n2", "n3"][: r.randint(1, 3)]
    out = [{"kind": "Namespace", "metadata": {"name": n, "labels": labels(r)}} for n in names]
    out += [pod(r, i, names) for i in range(r.randint(1, pods))]
    out += [policy(r, f"p{i}", names) for i in range(r.randint(0, policies))]
    priorities = r.sample(range(100), tiers)
    out += [tier_policy(r, i, priorities[i]) for i in range(r.randint(0, tiers))]
    if tiers and r.random() < 0.5:
        out.append(tier_policy(r, "default", None))
    return out


# --- cluster-wide policies --------------------------------------------------------------------------------------------


def tier_policy(r, number, priority):
    kind = (
        "BaselineAdminNetworkPolicy" if priority is None else r.choice(["AdminNetworkPolicy", "ClusterNetworkPolicy"])
    )
    new = kind == "ClusterNetworkPolicy"
    actions = ["Accept" if new else "Allow", "Deny", *(["Pass"] if priority is not None else [])]
    spec = {"subject": either(r)}
    if priority is not None:
        spec["priority"] = priority
    if new:
        spec["tier"] = r.choice(["Admin", "Baseline"])
    for key, peers_key in (("ingress", "from"), ("egress", "to")):
        spec[key] = [tier_rule(r, peers_key, actions, new=new) for _ in range(r.randint(0, 3))]
    name = "default" if priority is None else f"t{number}"
    version = "v1alpha2" if new else "v1alpha1"
    api = f"policy.networking.k8s.io/{version}"
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name}, "spec": spec}


def either(r):
    if r.random() < 0.5:
        return {"namespaces": selector(r)}
    return {"pods": {"namespaceSelector": selector(r), "podSelector": selector(r)}}


def tier_rule(r, peers_key, actions, *, new):
    peers = [
        {"networks": r.sample([*V4, *V6], r.randint(1, 2))} if peers_key == "to" and r.random() < 0.3 else either(r)
        for _ in range(r.randint(1, 2))
    ]
    names = not any("networks" in p for p in peers)
    out = {"action": r.choice(actions), peers_key: peers}
    if r.random() < 0.6:
        key, make = ("protocols", tier_protocol) if new else ("ports", tier_port)
        out[key] = [make(r, names=names) for _ in range(r.randint(1, 2))]
    return out


def tier_port(r, *, names):
    if names and r.random() < 0.3:
        return {"namedPort": r.choice(NAMES)}
    if r.random() < 0.5:
        return {"portNumber": {"protocol": r.choice(PROTOCOLS), "port": r.choice(NUMBERS)}}
    start, end = sorted(r.sample(NUMBERS, 2))
    return {"portRange": {"protocol": r.choice(PROTOCOLS), "start": start, "end": end}}


def tier_protocol(r, *, names):
    if names and r.random() < 0.3:
        return {"destinationNamedPort": r.choice(NAMES)}
    start, end = sorted(r.sample(NUMBERS, 2))
    port = r.choice([None, {"number": start}, {"range": {"start": start, "end": end}}])
    return {r.choice(PROTOCOLS).lower(): {"destinationPort": port} if port else {}}


# --- the package's view -----------------------------------------------------------------------------------------------


def pairs(mapping):
    return tuple(sorted((mapping or {}).items()))


def as_pod(manifest):
    metadata, spec = manifest["metadata"], manifest["spec"]
    declared = [p for c in spec["containers"] for p in c["ports"]]
    return Pod(
        metadata["namespace"],
        metadata["name"],
        pairs(metadata["labels"]),
        Workload(metadata["namespace"], "Pod", metadata["name"]),
        (ipaddress.ip_address(manifest["status"]["podIP"]),),
        tuple(ContainerPort(p["containerPort"], Protocol(p["protocol"]), p["name"]) for p in declared),
        spec["nodeName"],
        host_network=spec.get("hostNetwork", False),
    )


def as_inventory(manifests):
    known = [
        Namespace(
            n["metadata"]["name"],
            pairs({**n["metadata"]["labels"], "kubernetes.io/metadata.name": n["metadata"]["name"]}),
        )
        for n in manifests
        if n["kind"] == "Namespace"
    ]
    return Inventory(
        namespaces=MappingProxyType({n.name: n for n in sorted(known, key=lambda n: n.name)}),
        pods=tuple(sorted((as_pod(m) for m in manifests if m["kind"] == "Pod"), key=lambda p: (p.namespace, p.name))),
    )


def as_policies(manifests):
    return tuple(parse_policy(m, Place("world")) for m in manifests if m["kind"] == "NetworkPolicy")


def as_tiers(manifests):
    return tuple(
        parse_tier_policy(m, Place("world"))
        for m in manifests
        if m["kind"].endswith(("AdminNetworkPolicy", "ClusterNetworkPolicy"))
    )
