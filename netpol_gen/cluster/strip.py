"""What is kept of an object: what identity, ports, selection and address ranges depend on, and nothing else.

Environment variables, secrets, images, volumes, managed fields, status messages and annotations stay behind. The
exceptions among annotations are this tool's own and, on nodes, the addresses that network plug-ins keep there: without
them a tunnel device would look like a pod.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Strip = Callable[[Mapping[str, Any]], dict[str, Any] | None]
"""From an object to what is kept of it beside kind and version; `None` where it says nothing about the cluster."""

OWN_PREFIX = "netpol-gen.dev/"
_SERVICE_LABEL = "kubernetes.io/service-name"
_NODE_ADDRESSES = ("InternalIP", "ExternalIP")
# Network plug-ins write what their node's own devices hold into annotations under these prefixes.
_NODE_PREFIXES = ("projectcalico.org/", "network.cilium.io/", "io.cilium.network.")
_NODE_SUBNETS = "k8s.ovn.org/node-subnets"
_RANGE_FLAGS = ("--cluster-cidr=", "--service-cluster-ip-range=")
_DONE = ("Succeeded", "Failed")


def identity(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Name, namespace, uid, times, labels, the controlling owner and our own annotations."""
    metadata = _mapping(obj.get("metadata"))
    kept = _pick(metadata, "name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "labels")
    owners = [
        _pick(owner, "apiVersion", "kind", "name", "uid", "controller")
        for owner in _each(metadata.get("ownerReferences"))
        if owner.get("controller") is True
    ]
    ours = {k: v for k, v in _mapping(metadata.get("annotations")).items() if k.startswith(OWN_PREFIX)}
    return _filled({**kept, "ownerReferences": owners, "annotations": ours})


def named(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Name and labels alone."""
    return {"metadata": _only(obj, "name", "namespace", "labels")}


def whole_spec(obj: Mapping[str, Any]) -> dict[str, Any]:
    """A policy: its rules decide, so all of them."""
    return {"metadata": _only(obj, "name", "namespace", "labels"), **_pick(obj, "spec", "specs")}


def range_spec(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Address ranges: ServiceCIDR, Calico's IPPool, CiliumNode."""
    spec = _mapping(obj.get("spec"))
    kept = _pick(spec, "cidr", "cidrs", "disabled")
    ipam = _pick(_mapping(spec.get("ipam")), "podCIDRs")
    return {"metadata": _only(obj, "name"), "spec": _filled({**kept, "ipam": ipam})}


def node(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Addresses, pod ranges, labels, and since when."""
    annotations = {}
    for key, value in _mapping(_mapping(obj.get("metadata")).get("annotations")).items():
        if key.startswith((OWN_PREFIX, _NODE_SUBNETS)):
            annotations[key] = value
        elif key.startswith(_NODE_PREFIXES):
            # That there is one tells who gives out addresses; what it says matters only if it is one.
            annotations[key] = value if _looks_like_address(value) else ""
    addresses = [a for a in _each(_mapping(obj.get("status")).get("addresses")) if a.get("type") in _NODE_ADDRESSES]
    return {
        "metadata": _filled({**_only(obj, "name", "creationTimestamp", "labels"), "annotations": annotations}),
        "spec": _pick(_mapping(obj.get("spec")), "podCIDR", "podCIDRs"),
        "status": {"addresses": [_pick(a, "type", "address") for a in addresses]},
    }


def service(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Selector, ports, addresses, and since when."""
    wanted = ("selector", "clusterIP", "clusterIPs", "externalIPs", "type", "externalTrafficPolicy", "externalName")
    spec = _mapping(obj.get("spec"))
    ports = [_pick(p, "name", "port", "protocol", "targetPort", "nodePort") for p in _each(spec.get("ports"))]
    balancer = _mapping(_mapping(obj.get("status")).get("loadBalancer"))
    ingress = [_pick(entry, "ip") for entry in _each(balancer.get("ingress")) if entry.get("ip")]
    return {
        "metadata": _only(obj, "name", "namespace", "creationTimestamp", "labels"),
        "spec": _filled({**_pick(spec, *wanted), "ports": ports}),
        "status": _filled({"loadBalancer": _filled({"ingress": ingress})}),
    }


def endpoint_slice(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Which addresses and pods a Service leads to."""
    metadata = _mapping(obj.get("metadata"))
    labels = {k: v for k, v in _mapping(metadata.get("labels")).items() if k == _SERVICE_LABEL}
    endpoints = [
        _filled(
            {
                **_pick(e, "addresses"),
                "conditions": _pick(_mapping(e.get("conditions")), "ready"),
                "targetRef": _pick(_mapping(e.get("targetRef")), "kind", "name", "namespace"),
            }
        )
        for e in _each(obj.get("endpoints"))
    ]
    return {
        "metadata": _filled({**_pick(metadata, "name", "namespace"), "labels": labels}),
        **_pick(obj, "addressType"),
        # The API server keeps them in no order that means anything.
        "endpoints": sorted(endpoints, key=repr),
        "ports": sorted((_pick(p, "name", "port", "protocol") for p in _each(obj.get("ports"))), key=repr),
    }


def endpoints(obj: Mapping[str, Any]) -> dict[str, Any]:
    """The older form of the same."""
    subsets = []
    for subset in _each(obj.get("subsets")):
        held = {
            key: [
                _filled(
                    {**_pick(a, "ip"), "targetRef": _pick(_mapping(a.get("targetRef")), "kind", "name", "namespace")}
                )
                for a in _each(subset.get(key))
            ]
            for key in ("addresses", "notReadyAddresses")
        }
        ports = [_pick(p, "name", "port", "protocol") for p in _each(subset.get("ports"))]
        subsets.append(_filled({**held, "ports": ports}))
    return {"metadata": _only(obj, "name", "namespace"), "subsets": subsets}


def pod(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Labels, owner, declared ports, addresses, and when it lived."""
    spec, status = _mapping(obj.get("spec")), _mapping(obj.get("status"))
    kept = _pick(status, "phase", "podIP", "hostIP", "startTime")
    for key in ("podIPs", "hostIPs"):
        kept[key] = [_pick(entry, "ip") for entry in _each(status.get(key))]
    if status.get("phase") in _DONE:
        kept.update(_finished(status))
    system = _mapping(obj.get("metadata")).get("namespace") == "kube-system"
    return {
        "metadata": identity(obj),
        "spec": {**_pod_spec(spec, flags=system), **_pick(spec, "nodeName")},
        "status": _filled(kept),
    }


def _finished(status: Mapping[str, Any]) -> dict[str, Any]:
    """When the containers of a completed pod ended; of an evicted one, when that was noted."""
    out: dict[str, Any] = {}
    for key in ("containerStatuses", "initContainerStatuses"):
        ends = [
            {"state": {"terminated": {"finishedAt": ended["finishedAt"]}}}
            for container in _each(status.get(key))
            if (ended := _mapping(_mapping(container.get("state")).get("terminated"))).get("finishedAt")
        ]
        out[key] = sorted(ends, key=repr)
    if not any(out.values()):
        changes = [_pick(c, "lastTransitionTime") for c in _each(status.get("conditions"))]
        out["conditions"] = sorted(changes, key=repr)
    return out


def controller(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Any kind with a pod template: its selector, replicas, schedule, and what its pods will look like."""
    spec = _mapping(obj.get("spec"))
    kept = _pick(spec, "replicas", "selector", "manualSelector", "schedule", "timeZone", "suspend")
    if "template" in spec:
        kept["template"] = _template(spec["template"])
    if "jobTemplate" in spec:
        job = _mapping(_mapping(spec["jobTemplate"]).get("spec"))
        kept["jobTemplate"] = {"spec": {"template": _template(job.get("template"))}}
    return {"metadata": identity(obj), "spec": kept}


def _template(template: Any) -> dict[str, Any]:
    found = _mapping(template)
    return {
        "metadata": _pick(_mapping(found.get("metadata")), "labels"),
        "spec": _pod_spec(_mapping(found.get("spec")), flags=False),
    }


def _pod_spec(spec: Mapping[str, Any], *, flags: bool) -> dict[str, Any]:
    """Ports and the host's network. `flags`: also the command line flags that name address ranges."""
    containers = [_container(c, flags=flags) for c in _each(spec.get("containers"))]
    stay = [c for c in _each(spec.get("initContainers")) if c.get("restartPolicy") == "Always"]
    sidecars = [{**_container(c, flags=False), "restartPolicy": "Always"} for c in stay]
    return _filled(
        {
            **_pick(spec, "hostNetwork"),
            "containers": [c for c in containers if c],
            "initContainers": [c for c in sidecars if c.get("ports")],
        }
    )


def _container(container: Mapping[str, Any], *, flags: bool) -> dict[str, Any]:
    ports = [_pick(p, "name", "containerPort", "protocol", "hostPort") for p in _each(container.get("ports"))]
    kept: dict[str, Any] = {"ports": ports}
    if flags:
        words = [w for key in ("command", "args") for w in container.get(key) or [] if isinstance(w, str)]
        kept["command"] = [w for w in words if w.startswith(_RANGE_FLAGS)]
    return _filled(kept)


def webhooks(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Which Services the API server calls, and on which ports. A webhook with a URL is somebody else's server."""
    kept = [
        {**_pick(hook, "name"), "clientConfig": {"service": _pick(target, "namespace", "name", "port")}}
        for hook in _each(obj.get("webhooks"))
        if (target := _mapping(_mapping(hook.get("clientConfig")).get("service")))
    ]
    return {"metadata": _only(obj, "name"), "webhooks": kept}


def api_service(obj: Mapping[str, Any]) -> dict[str, Any] | None:
    """Which Service answers for an API group; those that the API server serves itself are no matter of the network."""
    spec = _mapping(obj.get("spec"))
    target = _pick(_mapping(spec.get("service")), "namespace", "name", "port")
    if not target:
        return None
    return {"metadata": _only(obj, "name"), "spec": {**_pick(spec, "group", "version"), "service": target}}


def _looks_like_address(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) < 64 and set(value) <= set("0123456789abcdefABCDEF.:/")


def _only(obj: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    metadata = _mapping(obj.get("metadata"))
    ours = {k: v for k, v in _mapping(metadata.get("annotations")).items() if k.startswith(OWN_PREFIX)}
    return _filled({**_pick(metadata, *keys), "annotations": ours})


def _pick(data: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: data[key] for key in keys if data.get(key) is not None}


def _filled(data: Mapping[str, Any]) -> dict[str, Any]:
    """Without empty lists and mappings: their absence means the same everywhere they are dropped."""
    return {key: value for key, value in data.items() if value not in ([], {})}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _each(value: Any) -> Iterable[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
