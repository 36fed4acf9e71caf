"""What the Deployment, StatefulSet, DaemonSet and CronJob controllers would have created by now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from generator.cluster import Cluster, owner_reference, pod_template_spec
from generator.values import (
    MINUTE,
    SECOND,
    Container,
    Node,
    Obj,
    Pod,
    PodSpec,
    Port,
    Workload,
    seconds_stamp,
)


@dataclass(frozen=True, slots=True)
class Revision:
    """One ReplicaSet of a Deployment: where its pods run and, if it differs, what they run."""

    created: int
    nodes: tuple[str, ...]
    containers: tuple[Container, ...] | None = None


def deployment(cluster: Cluster, workload: Workload, revisions: Sequence[Revision]) -> None:
    """A Deployment with one ReplicaSet per revision, the newest last."""
    replicas = sum(len(revision.nodes) for revision in revisions)
    newest = revisions[-1].containers or workload.containers
    meta = cluster.metadata(
        workload.name,
        revisions[0].created,
        workload.namespace,
        labels=dict(workload.labels),
        annotations={"deployment.kubernetes.io/revision": str(len(revisions))},
        generation=len(revisions),
    )
    obj = _controller("Deployment", meta, workload, replicas, newest, workload.labels)
    obj["spec"]["strategy"] = {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}, "type": "RollingUpdate"}
    cluster.add("Deployment", obj)
    for number, revision in enumerate(revisions, start=1):
        _replica_set(cluster, workload, revision, number, meta["uid"])


def _replica_set(cluster: Cluster, workload: Workload, revision: Revision, number: int, owner_uid: str) -> None:
    hashed = cluster.suffix(10)
    containers = revision.containers or workload.containers
    labels = {**workload.labels, "pod-template-hash": hashed}
    meta = cluster.metadata(
        f"{workload.name}-{hashed}",
        revision.created,
        workload.namespace,
        labels=labels,
        annotations={"deployment.kubernetes.io/revision": str(number)},
        ownerReferences=[owner_reference("apps/v1", "Deployment", workload.name, owner_uid)],
    )
    hashed_workload = replace(workload, selector={**workload.selector, "pod-template-hash": hashed})
    cluster.add("ReplicaSet", _controller("ReplicaSet", meta, hashed_workload, len(revision.nodes), containers, labels))
    for index, node in enumerate(revision.nodes):
        spec = PodSpec(
            node=node,
            created=revision.created + index * 7 * SECOND,
            name=f"{workload.name}-{hashed}-{cluster.suffix(5)}",
            owner=("apps/v1", "ReplicaSet", meta["name"], meta["uid"]),
            labels={"pod-template-hash": hashed},
            containers=containers,
            generate_name=f"{workload.name}-{hashed}-",
        )
        cluster.pod(workload, spec)


def stateful_set(cluster: Cluster, workload: Workload, nodes: Sequence[str], created: int) -> None:
    """A StatefulSet with one ordinal per node given; its pods carry the per-replica labels."""
    meta = cluster.metadata(workload.name, created, workload.namespace, labels=dict(workload.labels))
    obj = _controller("StatefulSet", meta, workload, len(nodes), workload.containers, workload.labels)
    obj["spec"].update({"podManagementPolicy": "OrderedReady", "serviceName": workload.name})
    cluster.add("StatefulSet", obj)
    revision = f"{workload.name}-{cluster.suffix(10)}"
    for ordinal, node in enumerate(nodes):
        name = f"{workload.name}-{ordinal}"
        labels = {
            "apps.kubernetes.io/pod-index": str(ordinal),
            "controller-revision-hash": revision,
            "statefulset.kubernetes.io/pod-name": name,
        }
        owner = ("apps/v1", "StatefulSet", workload.name, meta["uid"])
        spec = PodSpec(node, created + ordinal * MINUTE, name, owner, labels, generate_name=f"{workload.name}-")
        cluster.pod(workload, spec)


def daemon_set(cluster: Cluster, workload: Workload, created: int, *, host_network: bool) -> None:
    """A DaemonSet with a pod on every node."""
    meta = cluster.metadata(workload.name, created, workload.namespace, labels=dict(workload.labels))
    obj = _controller("DaemonSet", meta, workload, None, workload.containers, workload.labels)
    if host_network:
        obj["spec"]["template"]["spec"]["hostNetwork"] = True
    cluster.add("DaemonSet", obj)
    revision = cluster.suffix(9)
    for node in cluster.nodes:
        spec = PodSpec(
            node=node,
            created=created,
            name=f"{workload.name}-{cluster.suffix(5)}",
            owner=("apps/v1", "DaemonSet", workload.name, meta["uid"]),
            labels={"controller-revision-hash": revision, "pod-template-generation": "1"},
            generate_name=f"{workload.name}-",
            host_network=host_network,
        )
        cluster.pod(workload, spec)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a CronJob; `ip` makes the pod take an address that is given."""

    started: int
    ended: int
    node: str
    ip: str | None = None


def cron_job(cluster: Cluster, workload: Workload, schedule: str, created: int, runs: Sequence[Run]) -> list[Pod]:
    """A CronJob and the Jobs of its runs, which have completed."""
    meta = cluster.metadata(workload.name, created, workload.namespace, labels=dict(workload.labels))
    template = _template(workload, workload.containers, workload.labels)
    spec: Obj = {
        "concurrencyPolicy": "Forbid",
        "jobTemplate": {"metadata": {}, "spec": {"backoffLimit": 2, "template": template}},
        "schedule": schedule,
        "successfulJobsHistoryLimit": 3,
        "suspend": False,
    }
    obj: Obj = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": meta, "spec": spec, "status": {}}
    if runs:
        obj["status"] = {"lastScheduleTime": seconds_stamp(runs[-1].started)}
    cluster.add("CronJob", obj)
    return [_job(cluster, workload, run, meta["uid"]) for run in runs]


def _job(cluster: Cluster, workload: Workload, run: Run, owner_uid: str) -> Pod:
    # The CronJob controller names a Job by the minute it was scheduled for.
    name = f"{workload.name}-{run.started // MINUTE}"
    meta = cluster.metadata(
        name,
        run.started,
        workload.namespace,
        labels=dict(workload.labels),
        ownerReferences=[owner_reference("batch/v1", "CronJob", workload.name, owner_uid)],
    )
    run_labels = {
        "batch.kubernetes.io/controller-uid": meta["uid"],
        "batch.kubernetes.io/job-name": name,
        "controller-uid": meta["uid"],
        "job-name": name,
    }
    template = _template(workload, workload.containers, {**workload.labels, **run_labels})
    selector = {"matchLabels": {"batch.kubernetes.io/controller-uid": meta["uid"]}}
    spec: Obj = {"backoffLimit": 2, "completions": 1, "parallelism": 1, "selector": selector, "template": template}
    status: Obj = {"completionTime": seconds_stamp(run.ended), "startTime": seconds_stamp(run.started), "succeeded": 1}
    cluster.add("Job", {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": spec, "status": status})
    return cluster.pod(
        workload,
        PodSpec(
            node=run.node,
            created=run.started,
            ended=run.ended,
            name=f"{name}-{cluster.suffix(5)}",
            owner=("batch/v1", "Job", name, meta["uid"]),
            labels=run_labels,
            generate_name=f"{name}-",
            ip=run.ip,
        ),
    )


def bare_pod(cluster: Cluster, workload: Workload, node: str, created: int, ip: str | None = None) -> Pod:
    """A pod that nobody owns."""
    return cluster.pod(workload, PodSpec(node=node, created=created, name=workload.name, owner=None, ip=ip))


def _template(workload: Workload, containers: Sequence[Container], labels: Mapping[str, str]) -> Obj:
    return {"metadata": {"labels": dict(labels)}, "spec": pod_template_spec(workload, containers)}


def _controller(
    kind: str,
    meta: Obj,
    workload: Workload,
    replicas: int | None,
    containers: Sequence[Container],
    labels: Mapping[str, str],
) -> Obj:
    spec: Obj = {"selector": {"matchLabels": dict(workload.selector)}}
    spec["template"] = _template(workload, containers, labels)
    status: Obj = {}
    if replicas is not None:
        spec["replicas"] = replicas
        status = {"readyReplicas": replicas, "replicas": replicas} if replicas else {"replicas": 0}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": meta, "spec": spec, "status": status}


# -- what every cluster of this kind has -------------------------------------------------------------------------


def app(
    namespace: str, kind: str, name: str, ports: Sequence[Port], labels: Mapping[str, str] | None = None, **more: Any
) -> Workload:
    """A workload of one container whose pods are selected by all their template labels."""
    labels = labels or {"app": name}
    container = Container(name=name, image=f"registry.example/{name}:1.8.2", ports=tuple(ports), **more)
    return Workload(namespace, kind, name, labels, labels, (container,))


COREDNS = Workload(
    "kube-system",
    "Deployment",
    "coredns",
    {"k8s-app": "kube-dns"},
    {"k8s-app": "kube-dns"},
    (
        Container(
            "coredns",
            "registry.k8s.io/coredns/coredns:v1.12.1",
            (Port(53, "dns", "UDP"), Port(53, "dns-tcp"), Port(9153, "metrics")),
            probe=8181,
        ),
    ),
)

CILIUM = app("kube-system", "DaemonSet", "cilium", (), {"k8s-app": "cilium"})


def base_system(cluster: Cluster, created: int, dns_nodes: Sequence[str]) -> None:
    """Nodes, the API server, Cilium and CoreDNS: what any cluster shows in `kubectl get -A`."""
    for node in cluster.nodes.values():
        _node_object(cluster, node, created)
        if node.control_plane:
            _api_server(cluster, node, created)
    daemon_set(cluster, CILIUM, created, host_network=True)
    deployment(cluster, COREDNS, [Revision(created, tuple(dns_nodes))])


def _node_object(cluster: Cluster, node: Node, created: int) -> None:
    cidrs = [node.pod_cidr, node.pod_cidr6] if cluster.dual_stack else [node.pod_cidr]
    labels = {"kubernetes.io/arch": "amd64", "kubernetes.io/hostname": node.name, "kubernetes.io/os": "linux"}
    if node.control_plane:
        labels["node-role.kubernetes.io/control-plane"] = ""
    addresses = [{"address": node.ip, "type": "InternalIP"}, {"address": node.name, "type": "Hostname"}]
    cluster.add(
        "Node",
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": cluster.metadata(node.name, created, labels=labels),
            "spec": {"podCIDR": cidrs[0], "podCIDRs": cidrs},
            "status": {
                "addresses": addresses,
                "conditions": [{"reason": "KubeletReady", "status": "True", "type": "Ready"}],
                "nodeInfo": {"architecture": "amd64", "kubeletVersion": "v1.33.4", "operatingSystem": "linux"},
            },
        },
    )


def _api_server(cluster: Cluster, node: Node, created: int) -> None:
    # A static pod: the kubelet owns it, so its owner is the Node and its name ends in the node's name.
    labels = {"component": "kube-apiserver", "tier": "control-plane"}
    workload = app("kube-system", "Pod", "kube-apiserver", (), labels)
    uid = next(obj["metadata"]["uid"] for obj in cluster.objects["Node"] if obj["metadata"]["name"] == node.name)
    owner = ("v1", "Node", node.name, uid)
    cluster.pod(workload, PodSpec(node.name, created, f"kube-apiserver-{node.name}", owner, host_network=True))
