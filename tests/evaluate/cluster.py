"""Small clusters and policies in a few words, for tests of the judge."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import yaml

from netpol_gen.errors import Place
from netpol_gen.inventory import Inventory
from netpol_gen.inventory.objects import ContainerPort, Controller, Namespace, Node, Pod
from netpol_gen.model import Protocol, Workload
from netpol_gen.policy import NetworkPolicy, parse_policy


def pod(
    name: str,
    labels: Mapping[str, str] | None = None,
    *,
    namespace: str = "shop",
    workload: str = "",
    ip: str | Iterable[str] = (),
    ports: Mapping[str, int | tuple[str, int]] | None = None,
    node: str = "n1",
    **more: Any,
) -> Pod:
    """A live pod; its labels are `app=<name>` and its workload the Deployment of that name unless said otherwise."""
    addresses = [ip] if isinstance(ip, str) else list(ip)
    return Pod(
        namespace,
        name,
        tuple(sorted((labels if labels is not None else {"app": name}).items())),
        Workload(namespace, "Deployment", workload or name),
        tuple(ipaddress.ip_address(a) for a in addresses if a),
        tuple(
            ContainerPort(n if isinstance(n, int) else n[1], Protocol("TCP" if isinstance(n, int) else n[0]), key)
            for key, n in (ports or {}).items()
        ),
        node,
        **more,
    )


def inventory(
    *pods: Pod,
    namespaces: Mapping[str, Mapping[str, str]] | None = None,
    nodes: Mapping[str, str] | None = None,
    controllers: Iterable[Controller] = (),
) -> Inventory:
    """Pods with their namespaces (all known; extra labels from `namespaces`) and nodes (name to address)."""
    names = sorted({p.namespace for p in pods} | set(namespaces or {}))
    known = [
        Namespace(n, tuple(sorted({"kubernetes.io/metadata.name": n, **dict((namespaces or {}).get(n, {}))}.items())))
        for n in names
    ]
    machines = [Node(n, (ipaddress.ip_address(a),) if a else ()) for n, a in sorted((nodes or {}).items())]
    return Inventory(
        namespaces=MappingProxyType({n.name: n for n in known}),
        nodes=MappingProxyType({n.name: n for n in machines}),
        pods=tuple(sorted(pods, key=lambda p: (p.namespace, p.name))),
        controllers=MappingProxyType({c.workload: c for c in sorted(controllers, key=lambda c: c.workload)}),
    )


def policies(text: str, namespace: str = "shop") -> tuple[NetworkPolicy, ...]:
    """Policies from YAML documents that hold a `spec` each (or a whole manifest); names are p1, p2 and so on."""
    found = []
    for i, document in enumerate(yaml.safe_load_all(text), start=1):
        whole = document if "spec" in document else {"spec": document}
        metadata = {"name": f"p{i}", "namespace": namespace, **whole.get("metadata", {})}
        found.append(parse_policy({**whole, "metadata": metadata}, Place("test", document=i)))
    return tuple(found)
