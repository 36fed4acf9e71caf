"""Flow tables and inventories for tests, from the few facts that a case is about."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network
from typing import Any

import pyarrow as pa

from netpol_gen.flowtable import Flows, Ledger, schema
from netpol_gen.inventory import Inventory
from netpol_gen.inventory.objects import ContainerPort, Namespace, Node, Pod, Service, ServicePort
from netpol_gen.model import Protocol, Signal, Workload

NOW = 1_760_000_000_000_000_000
HOUR = 3_600_000_000_000
COMPLETE = Signal.SYN | Signal.SYN_ACK | Signal.SERVER_DATA | Signal.CLIENT_DATA | Signal.TRACE


def row(src: str = "", dst: str = "", port: int | None = None, **facts: Any) -> dict[str, Any]:
    """One conversation. `src` and `dst` are addresses; `src_labels` and such take mappings."""
    out: dict[str, Any] = {
        "first_seen": NOW,
        "last_seen": NOW,
        "hours": [NOW // HOUR],
        "src_ip": src or None,
        "dst_ip": dst or None,
        "dst_port": port,
        "protocol": "TCP",
        "observed_verdict": "forwarded",
        "direction": "syn",
        "signals": int(COMPLETE),
        "flows": 1,
        "records": 1,
        "replies": 0,
        "nodes": [],
        "source": "hubble",
        "sample": "flows.jsonl:1",
        **facts,
    }
    for end in ("src", "dst"):
        if isinstance(out.get(f"{end}_labels"), dict):
            out[f"{end}_labels"] = json.dumps(out[f"{end}_labels"], sort_keys=True)
    return out


def flows_of(*rows: dict[str, Any]) -> Flows:
    """A table of these rows whose ledger has read just their records."""
    names = schema().names
    table = pa.Table.from_pylist([{n: r.get(n) for n in names} for r in rows], schema=schema())
    return Flows(table, Ledger(read=sum(r["records"] for r in rows)), {"hubble": sum(r["records"] for r in rows)})


def pod(
    name: str,
    app: str = "",
    address: str | tuple[str, ...] = (),
    *ports: int | tuple[int, str],
    namespace: str = "shop",
    **facts: Any,
) -> Pod:
    """A running pod of Deployment `app` with label `app`, or of what `facts` say."""
    addresses = (address,) if isinstance(address, str) else address
    defaults: dict[str, Any] = {
        "labels": (("app", app),) if app else (),
        "workload": Workload(namespace, "Deployment" if app else "Pod", app or name),
        "addresses": tuple(ip_address(a) for a in addresses),
        "ports": tuple(
            ContainerPort(p, Protocol.TCP) if isinstance(p, int) else ContainerPort(p[0], Protocol.TCP, p[1])
            for p in ports
        ),
        "node": "n1",
    }
    return Pod(namespace, name, **{**defaults, **facts})


def inventory_of(*objects: Any, **fields: Any) -> Inventory:
    """An inventory of pods, nodes and Services; namespaces follow from the pods."""
    pods = tuple(sorted((o for o in objects if isinstance(o, Pod)), key=lambda p: (p.namespace, p.name)))
    services = tuple(o for o in objects if isinstance(o, Service))
    nodes = {o.name: o for o in objects if isinstance(o, Node)}
    label = "kubernetes.io/metadata.name"
    namespaces = {n: Namespace(n, ((label, n),)) for n in sorted({p.namespace for p in pods})}
    return Inventory(namespaces=namespaces, pods=pods, services=services, nodes=nodes, **fields)


def node(name: str, address: str, pod_cidr: str = "") -> Node:
    """A node."""
    return Node(name, (ip_address(address),), (ip_network(pod_cidr),) if pod_cidr else ())


def service(
    name: str, app: str, ip: str, port: int, target: int | str, namespace: str = "shop", **facts: Any
) -> Service:
    """A Service that selects `app`."""
    ports = (ServicePort(port, Protocol.TCP, target, "", facts.pop("node_port", None)),)
    return Service(namespace, name, (("app", app),), ports, (ip_address(ip),), **facts)
