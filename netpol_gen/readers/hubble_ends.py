"""Endpoints and addresses of Hubble records."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Any

import msgspec

from netpol_gen.flowtable import Reason
from netpol_gen.readers.rows import NOBODY, Endpoint

NAMESPACE_LABEL = "io.kubernetes.pod.namespace"
_POD_LABELS = frozenset({"", "k8s", "any", "unspec"})
"""Label sources that speak of the pod's own labels (and of its namespace's, under `io.cilium.k8s.namespace.labels.`).
`gen:` labels are made up from the pod's spec, `cidr:`, `fqdn:` and `reserved:` are no pod's."""
_IDENTITIES = (
    "host",
    "world",
    "unmanaged",
    "health",
    "init",
    "remote-node",
    "kube-apiserver",
    "ingress",
    "world-ipv4",
    "world-ipv6",
)
"""Reserved security identities from 1 on."""
_HEALTH = "health"
_BROADCAST = ipaddress.IPv4Address("255.255.255.255")


class BadEndpointError(ValueError):
    """Not an endpoint; the message says why."""


def endpoint(raw: bytes) -> Endpoint:
    """The endpoint that this JSON object describes; empty text for an absent one.

    Raises:
        BadEndpointError: not an object, or a field of another type.

    """
    if not raw:
        return NOBODY
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadEndpointError("no valid JSON") from error
    if not isinstance(value, dict):
        raise BadEndpointError("no object")
    prefixed = _list(value, "labels")
    labels, entities, names = _labels(prefixed)
    identity = _identity(value.get("identity"))
    if not entities and not labels and identity is not None and 1 <= identity <= len(_IDENTITIES):
        entities = {_IDENTITIES[identity - 1]}
    return Endpoint(
        namespace=_text(value, "namespace") or labels.get(NAMESPACE_LABEL) or None,
        pod=_text(value, "pod_name", "podName") or None,
        labels=_json(labels) if labels else None,
        workload=_workload(_list(value, "workloads")),
        entities=",".join(sorted(entities)) or None,
        identity=identity,
        names=tuple(sorted(names)),
        uid=_text(value, "pod_uid", "podUid") or None,
    )


def _json(labels: dict[str, str]) -> str:
    return msgspec.json.encode(dict(sorted(labels.items()))).decode()


def _text(value: dict[str, Any], *names: str) -> str:
    for name in names:
        found = value.get(name)
        if isinstance(found, str):
            return found
        if found is not None:
            raise BadEndpointError(f"{name} is no text")
    return ""


def _list(value: dict[str, Any], name: str) -> list[Any]:
    found = value.get(name)
    if found is None:
        return []
    if not isinstance(found, list):
        raise BadEndpointError(f"{name} is no list")
    return found


def _identity(found: Any) -> int | None:
    if isinstance(found, str) and found.isascii() and found.isdecimal():
        found = int(found[:20])
    if found is None or found == 0:
        return None
    if isinstance(found, int) and not isinstance(found, bool) and 0 < found < 1 << 63:
        return found
    raise BadEndpointError("identity is no number")


def _labels(prefixed: list[Any]) -> tuple[dict[str, str], set[str], set[str]]:
    """Pod labels, reserved entities and DNS names of a list of `source:key=value`."""
    labels: dict[str, str] = {}
    entities: set[str] = set()
    names: set[str] = set()
    for label in prefixed:
        if not isinstance(label, str):
            raise BadEndpointError("a label is no text")
        left, _, value = label.partition("=")
        source, colon, key = left.partition(":")
        if not colon:
            # A colon after the first `=` belongs to the value of a label without a source.
            source, key = "", left
        if source == "reserved":
            entities.add(key)
        elif source == "fqdn":
            names.add(key.rstrip("."))
        elif source in _POD_LABELS and key:
            labels[key] = value
    return labels, entities - {""}, names - {""}


def _workload(workloads: list[Any]) -> str | None:
    first = workloads[0] if workloads else None
    if not isinstance(first, dict):
        return None
    kind, name = first.get("kind"), first.get("name")
    return f"{kind}/{name}" if isinstance(kind, str) and isinstance(name, str) and kind and name else None


def is_health(found: Endpoint) -> bool:
    """Whether this is the network plug-in's own health endpoint."""
    return found.entities is not None and _HEALTH in found.entities.split(",")


@lru_cache(maxsize=1 << 14)  # an address comes with each spelling of its endpoint
def address(text: str) -> tuple[str | None, Reason | None]:
    """Canonical text of an address (None: not told), and why a record with it is no evidence.

    Unicast 169.254.0.0/16 stays: node-local DNS and metadata services have addresses there.
    """
    if not text:
        return None, None
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None, Reason.BAD_FIELD
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    if found.is_unspecified:
        return None, None
    if found.is_loopback:
        return str(found), Reason.LOOPBACK
    if found.is_multicast or found == _BROADCAST or (found.version == 6 and found.is_link_local):
        return str(found), Reason.MULTICAST
    return str(found), None
