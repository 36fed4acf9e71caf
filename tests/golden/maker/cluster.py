"""Kubernetes objects as `kubectl get … -o yaml` prints them, without the fields that no policy depends on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

Obj = dict[str, Any]

# The alphabet that controllers draw their suffixes from.
SAFE = "bcdfghjklmnpqrstvwxz2456789"
BORN = "2026-03-01T08:00:00Z"
SEEN = "2026-03-02T10:00:00Z"
"""When captures begin, two days after the pods."""


def suffix(text: str, length: int) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return "".join(SAFE[b % len(SAFE)] for b in digest[:length])


def uid(text: str) -> str:
    h = hashlib.sha256(text.encode()).hexdigest()
    return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-8{h[17:20]}-{h[20:32]}"


@dataclass(frozen=True)
class Pod:
    """What a capture needs to know of a pod. `owner` is what Hubble's `workloads` say, None for a bare pod."""

    namespace: str
    name: str
    ips: tuple[str, ...]
    node: str
    labels: dict[str, str]
    owner: tuple[str, str] | None = None
    namespace_labels: dict[str, str] = field(default_factory=dict)

    @property
    def ip(self) -> str:
        return self.ips[0]


class Cluster:
    """A cluster that grows by its methods; `pods` are given as `"ip[,ip]@node"`."""

    def __init__(self) -> None:
        self.items: list[Obj] = []
        self.addresses: dict[str, str] = {}
        self.namespaces: dict[str, dict[str, str]] = {}

    def document(self) -> Obj:
        return {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": self.items}

    def add(self, api: str, kind: str, name: str, namespace: str = "", *, meta: Obj | None = None, **body: Any) -> None:
        metadata: Obj = {"name": name, "uid": uid(f"{kind}/{namespace}/{name}"), "creationTimestamp": BORN}
        if namespace:
            metadata["namespace"] = namespace
        metadata.update({k: v for k, v in (meta or {}).items() if v})
        self.items.append({"apiVersion": api, "kind": kind, "metadata": metadata, **body})

    # --- places ---

    def node(self, name: str, *addresses: str, cidrs: tuple[str, ...] = (), router: str = "", **meta: Any) -> None:
        self.addresses[name] = addresses[0]
        annotations = {"network.cilium.io/ipv4-cilium-host": router} if router else {}
        spec: Obj = {"podCIDR": cidrs[0], "podCIDRs": list(cidrs)} if cidrs else {}
        shown = [{"type": "InternalIP", "address": a} for a in addresses] + [{"type": "Hostname", "address": name}]
        labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
        self.add(
            "v1", "Node", name, meta={"labels": labels, "annotations": annotations, **meta},
            spec=spec, status={"addresses": shown},
        )  # fmt: skip

    def namespace(self, name: str, **labels: str) -> None:
        self.namespaces[name] = {"kubernetes.io/metadata.name": name, **labels}
        self.add("v1", "Namespace", name, meta={"labels": self.namespaces[name]}, status={"phase": "Active"})

    # --- pods ---

    def pod(
        self,
        namespace: str,
        name: str,
        place: str,
        *,
        labels: dict[str, str] | None = None,
        ports: tuple[str, ...] = (),
        owner: tuple[str, str] | None = None,
        said: tuple[str, str] | None = None,
        born: str = BORN,
        phase: str = "Running",
        ended: str = "",
        host_network: bool = False,
    ) -> Pod:
        """`ports` are `"name:number[/PROTOCOL][@hostPort]"`; `ended` is when its container finished."""
        where, _, node = place.partition("@")
        ips = tuple(a for a in where.split(",") if a)
        meta: Obj = {"namespace": namespace, "labels": labels, "creationTimestamp": born}
        if owner:
            meta["ownerReferences"] = [_reference(*owner, namespace)]
        spec: Obj = {"containers": [_container(name, ports)], "nodeName": node}
        if host_network:
            spec["hostNetwork"] = True
        status: Obj = {"phase": phase, "startTime": born, "podIP": ips[0], "podIPs": [{"ip": a} for a in ips]}
        if node in self.addresses:
            status |= {"hostIP": self.addresses[node], "hostIPs": [{"ip": self.addresses[node]}]}
        if ended:
            state = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": born, "finishedAt": ended}}
            status["containerStatuses"] = [{"name": name, "state": state}]
        self.add("v1", "Pod", name, namespace, meta=meta, spec=spec, status=status)
        known = self.namespaces.get(namespace, {"kubernetes.io/metadata.name": namespace})
        return Pod(namespace, name, ips, node, labels or {}, said or owner, known)

    def deployment(
        self,
        namespace: str,
        name: str,
        *places: str,
        labels: dict[str, str] | None = None,
        selector: dict[str, str] | None = None,
        ports: tuple[str, ...] = (),
        revision: str = "1",
        born: str = BORN,
        again: bool = False,
        host_network: bool = False,
    ) -> list[Pod]:
        """A Deployment with one ReplicaSet; `again` adds another ReplicaSet to one that is there already."""
        labels = {"app": name} if labels is None else labels
        selector = labels if selector is None else selector
        hashed = suffix(f"{namespace}/{name}/{revision}", 10)
        template = _template(name, labels, ports, host_network=host_network)
        if not again:
            spec = {"replicas": len(places), "selector": {"matchLabels": selector}, "template": template}
            self.add("apps/v1", "Deployment", name, namespace, spec=spec)
        own = {**labels, "pod-template-hash": hashed}
        made = f"{name}-{hashed}"
        spec = {
            "replicas": len(places),
            "selector": {"matchLabels": {**selector, "pod-template-hash": hashed}},
            "template": _template(name, own, ports, host_network=host_network),
        }
        meta = {"labels": own, "ownerReferences": [_reference("Deployment", name, namespace)]}
        self.add("apps/v1", "ReplicaSet", made, namespace, meta=meta, spec=spec)
        return [
            self.pod(
                namespace, f"{made}-{suffix(f'{made}/{i}', 5)}", place, labels=own, ports=ports, born=born,
                owner=("ReplicaSet", made), said=("Deployment", name), host_network=host_network,
            )
            for i, place in enumerate(places)
        ]  # fmt: skip

    def statefulset(
        self, namespace: str, name: str, *places: str, labels: dict[str, str] | None = None, ports: tuple[str, ...] = ()
    ) -> list[Pod]:
        labels = {"app": name} if labels is None else labels
        spec = {
            "replicas": len(places),
            "serviceName": name,
            "selector": {"matchLabels": labels},
            "template": _template(name, labels, ports),
        }
        self.add("apps/v1", "StatefulSet", name, namespace, spec=spec)
        return [
            self.pod(
                namespace, f"{name}-{i}", place, ports=ports, owner=("StatefulSet", name),
                labels={
                    **labels,
                    "apps.kubernetes.io/pod-index": str(i),
                    "controller-revision-hash": f"{name}-{suffix(name, 10)}",
                    "statefulset.kubernetes.io/pod-name": f"{name}-{i}",
                },
            )
            for i, place in enumerate(places)
        ]  # fmt: skip

    def daemonset(
        self,
        namespace: str,
        name: str,
        *places: str,
        labels: dict[str, str] | None = None,
        ports: tuple[str, ...] = (),
        host_network: bool = False,
    ) -> list[Pod]:
        labels = {"app": name} if labels is None else labels
        template = _template(name, labels, ports, host_network=host_network)
        spec = {"selector": {"matchLabels": labels}, "template": template}
        self.add("apps/v1", "DaemonSet", name, namespace, spec=spec)
        own = {**labels, "controller-revision-hash": suffix(name, 10), "pod-template-generation": "1"}
        return [
            self.pod(
                namespace, f"{name}-{suffix(f'{name}/{i}', 5)}", place, labels=own, ports=ports,
                owner=("DaemonSet", name), host_network=host_network,
            )
            for i, place in enumerate(places)
        ]  # fmt: skip

    def cronjob(self, namespace: str, name: str, labels: dict[str, str] | None = None) -> None:
        spec = {
            "schedule": "*/10 * * * *",
            "jobTemplate": {"spec": {"template": _template(name, {"app": name} if labels is None else labels, ())}},
        }
        self.add("batch/v1", "CronJob", name, namespace, spec=spec)

    def job_run(
        self, namespace: str, cron: str, minutes: int, place: str, *, born: str, ended: str = "",
        labels: dict[str, str] | None = None,
    ) -> Pod:  # fmt: skip
        """One run of a CronJob; `minutes` is its scheduled time since the epoch."""
        job = f"{cron}-{minutes}"
        mine = {
            **({"app": cron} if labels is None else labels),
            "batch.kubernetes.io/controller-uid": uid(f"Job/{namespace}/{job}"),
            "batch.kubernetes.io/job-name": job,
            "controller-uid": uid(f"Job/{namespace}/{job}"),
            "job-name": job,
        }
        meta = {"labels": mine, "ownerReferences": [_reference("CronJob", cron, namespace)], "creationTimestamp": born}
        self.add("batch/v1", "Job", job, namespace, meta=meta, spec={"template": _template(cron, mine, ())})
        return self.pod(
            namespace, f"{job}-{suffix(job, 5)}", place, labels=mine, owner=("Job", job), born=born,
            phase="Succeeded" if ended else "Running", ended=ended,
        )  # fmt: skip

    # --- services ---

    def service(
        self,
        namespace: str,
        name: str,
        ip: str,
        port: int,
        target: int | str,
        *behind: tuple[Pod, int],
        selector: dict[str, str] | None = None,
        protocol: str = "TCP",
        node_port: int | None = None,
        traffic: str = "",
    ) -> None:
        """A Service with one port, and a slice for each distinct number that `behind` gives for its pods."""
        entry: Obj = {"name": "main", "port": port, "protocol": protocol, "targetPort": target}
        spec: Obj = {"clusterIP": ip, "clusterIPs": [ip], "ports": [entry], "type": "ClusterIP"}
        if node_port:
            entry["nodePort"] = node_port
            spec |= {"type": "NodePort", "externalTrafficPolicy": traffic or "Cluster"}
        if selector is not None:
            spec["selector"] = selector
        self.add("v1", "Service", name, namespace, spec=spec)
        for number in sorted({n for _, n in behind}):
            pods = [pod for pod, n in behind if n == number]
            self.slice(namespace, name, [(p.ip, p) for p in pods], number, protocol)

    def slice(
        self, namespace: str, service: str, ends: list[tuple[str, Pod | None]], port: int, protocol: str = "TCP"
    ) -> None:
        endpoints: list[Obj] = []
        for ip, pod in ends:
            endpoint: Obj = {"addresses": [ip], "conditions": {"ready": True}}
            if pod:
                endpoint["targetRef"] = {"kind": "Pod", "name": pod.name, "namespace": namespace}
            endpoints.append(endpoint)
        meta = {"labels": {"kubernetes.io/service-name": service}}
        name = f"{service}-{suffix(f'{service}/{port}/{protocol}', 5)}"
        self.add(
            "discovery.k8s.io/v1", "EndpointSlice", name, namespace, meta=meta, addressType="IPv4",
            endpoints=endpoints, ports=[{"name": "main", "port": port, "protocol": protocol}],
        )  # fmt: skip


def _reference(kind: str, name: str, namespace: str) -> Obj:
    api = {"Job": "batch/v1", "CronJob": "batch/v1"}.get(kind, "apps/v1")
    return {
        "apiVersion": api,
        "kind": kind,
        "name": name,
        "uid": uid(f"{kind}/{namespace}/{name}"),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _container(name: str, ports: tuple[str, ...]) -> Obj:
    out: Obj = {"name": "main", "image": f"registry.example/{name}:1.0.0"}
    if ports:
        out["ports"] = [_port(text) for text in ports]
    return out


def _port(text: str) -> Obj:
    text, _, host = text.partition("@")
    text, _, protocol = text.partition("/")
    name, _, number = text.rpartition(":")
    out: Obj = {"containerPort": int(number), "protocol": protocol or "TCP"}
    if name:
        out["name"] = name
    if host:
        out["hostPort"] = int(host)
    return out


def _template(name: str, labels: dict[str, str], ports: tuple[str, ...], *, host_network: bool = False) -> Obj:
    spec: Obj = {"containers": [_container(name, ports)]}
    if host_network:
        spec["hostNetwork"] = True
    return {"metadata": {"labels": labels} if labels else {}, "spec": spec}


def two_nodes() -> Cluster:
    """Two nodes with Cilium on them; pods live in 10.0.1.0/24 and 10.0.2.0/24."""
    cluster = Cluster()
    cluster.node("n1", "192.168.40.11", cidrs=("10.0.1.0/24",), router="10.0.1.77")
    cluster.node("n2", "192.168.40.12", cidrs=("10.0.2.0/24",), router="10.0.2.77")
    return cluster
