"""Manifests and pods for tests, with only what a test cares about spelled out."""

from __future__ import annotations

import io
import ipaddress
import json
from datetime import UTC, datetime, timedelta

from netpol_gen.inventory import TAKEN_AT, Inventory, load_inventory
from netpol_gen.inventory.objects import Pod
from netpol_gen.model import Workload

SECOND = 10**9
START = datetime(2026, 11, 22, 22, 0, tzinfo=UTC)
T0 = 1_795_384_800 * SECOND
"""`START` in nanoseconds since the epoch."""


def at(seconds: float) -> str:
    """A time in a manifest, so many seconds after `START`."""
    return (START + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def ns(seconds: float) -> int:
    """The same in nanoseconds."""
    return T0 + int(seconds * SECOND)


def obj(kind: str, name: str, namespace: str | None = "shop", *, version: str = "v1", labels=None, owner=None, **body):
    metadata: dict = {"name": name, **({"namespace": namespace} if namespace else {})}
    if labels is not None:
        metadata["labels"] = labels
    if owner is not None:
        kind_of, name_of = owner
        metadata["ownerReferences"] = [
            {"apiVersion": "v1", "kind": "Other", "name": "not-the-controller", "uid": "0"},
            {"apiVersion": "apps/v1", "kind": kind_of, "name": name_of, "uid": "1", "controller": True},
        ]
    metadata.update(body.pop("metadata", {}))
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **body}


def pod(name: str, ips=(), *, namespace="shop", labels=None, owner=None, ports=(), start=None, node="n1", **more):
    """A Pod manifest. `ports` are container port mappings; `more` goes into metadata, spec and status by name."""
    metadata, spec, status = more.pop("metadata", {}), more.pop("spec", {}), more.pop("status", {})
    assert not more, more
    if start is not None:
        metadata = {"creationTimestamp": at(start), **metadata}
        status = {"startTime": at(start), **status}
    ips = [ips] if isinstance(ips, str) else list(ips)
    if ips:
        status = {"podIP": ips[0], "podIPs": [{"ip": ip} for ip in ips], **status}
    spec = {"nodeName": node, "containers": [{"name": "c", "ports": list(ports)}], **spec}
    body = {"spec": spec, "status": {"phase": "Running", **status}, "metadata": metadata}
    return obj("Pod", name, namespace, labels=labels or {}, owner=owner, **body)


def controller(
    kind: str, name: str, labels, *, version="apps/v1", owner=None, spec=None, ports=(), namespace="shop", **meta
):
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "ports": list(ports)}]}}
    body = {"selector": {"matchLabels": labels}, "template": template, **(spec or {})}
    if kind == "CronJob":
        body = {"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": template}}}
    return obj(kind, name, namespace, version=version, owner=owner, spec=body, metadata=meta)


def service(name: str, selector, ports, *, ip: str | None = None, namespace="shop", status=None, **spec):
    body = {"selector": selector, "ports": ports, **({"clusterIP": ip, "clusterIPs": [ip]} if ip else {}), **spec}
    return obj("Service", name, namespace, spec=body, status=status or {})


def endpoint_slice(name: str, of: str, addresses, ports, *, namespace="shop"):
    """`addresses` maps an address to the name of its pod, or to `None`."""
    endpoints = [
        {"addresses": [a], **({"targetRef": {"kind": "Pod", "name": p, "namespace": namespace}} if p else {})}
        for a, p in addresses.items()
    ]
    body = {"addressType": "IPv4", "endpoints": endpoints, "ports": ports}
    labels = {"kubernetes.io/service-name": of}
    return obj("EndpointSlice", name, namespace, version="discovery.k8s.io/v1", labels=labels, **body)


def node(name: str, ip: str, cidr: str | None = None, **metadata):
    spec = {"podCIDR": cidr, "podCIDRs": [cidr]} if cidr else {}
    return obj(
        "Node", name, None, spec=spec, status={"addresses": [{"type": "InternalIP", "address": ip}]}, metadata=metadata
    )


def listed(*objects, taken: float | None = None, kind: str = "List", annotations=None) -> dict:
    found = dict(annotations or {})
    if taken is not None:
        found[TAKEN_AT] = at(taken)
    return {"apiVersion": "v1", "kind": kind, "items": list(objects), "metadata": {"annotations": found}}


def load(*documents, **options) -> Inventory:
    text = "\n".join(json.dumps(document) for document in documents)
    return load_inventory(["-"], stdin=io.BytesIO(text.encode()), **options)


def held(name: str, address: str, started: int | None = None, ended: int | None = None, **more) -> Pod:
    """A pod value, not a manifest."""
    workload = Workload("shop", "Pod", name)
    return Pod(
        "shop", name, (), workload, (ipaddress.ip_address(address),), started=started, ended=ended, uid=name, **more
    )
