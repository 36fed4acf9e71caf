"""A pretend cluster: its workloads, pods and Services, and the inventory `kubectl get ... -o yaml` would print of it.

Everything is drawn from one seeded generator in a fixed order, so the same seed gives the same cluster.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from generator.values import SECOND, Container, Node, Obj, Pod, PodSpec, Service, Workload, seconds_stamp

# Kubernetes leaves out vowels and look-alikes, so that no generated name spells a word.
NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


class Cluster:
    """Collects objects as they are declared and prints them as one `kind: List`."""

    def __init__(self, rng: random.Random, name: str, nodes: Sequence[Node], *, dual_stack: bool) -> None:
        self.rng = rng
        self.name = name
        self.nodes = {node.name: node for node in nodes}
        self.dual_stack = dual_stack
        self.pods: list[Pod] = []
        self.services: dict[tuple[str, str], Service] = {}
        self.namespace_labels: dict[str, dict[str, str]] = {}
        self.objects: dict[str, list[Obj]] = {}
        self._revision = 1000
        self._used_ips = {node.router_ip for node in nodes}
        self._identities: dict[tuple[str, ...], int] = {}
        self._interfaces = 10

    # -- small draws ---------------------------------------------------------------------------------------------

    def uid(self) -> str:
        """A random UUID, from the seed."""
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))

    def suffix(self, length: int) -> str:
        """A random name suffix of the kind Kubernetes generates."""
        return "".join(self.rng.choice(NAME_ALPHABET) for _ in range(length))

    def metadata(self, name: str, created: int, namespace: str | None = None, **more: Any) -> Obj:
        """Object metadata with the fields that every stored object has."""
        self._revision += self.rng.randint(3, 400)
        meta: Obj = {
            "creationTimestamp": seconds_stamp(created),
            "name": name,
            "resourceVersion": str(self._revision),
            "uid": self.uid(),
        }
        if namespace is not None:
            meta["namespace"] = namespace
        meta.update({key: dict(value) if isinstance(value, Mapping) else value for key, value in more.items() if value})
        return meta

    def add(self, kind: str, obj: Obj) -> Obj:
        """Keep an object for the inventory."""
        self.objects.setdefault(kind, []).append(obj)
        return obj

    def reserve(self, ip: str) -> str:
        """Keep an address from being handed out, and return it."""
        self._used_ips.add(ip)
        return ip

    def addresses(self, node: Node) -> tuple[str, ...]:
        """The next free pod addresses of a node: IPv4, and IPv6 in a dual-stack cluster."""
        while True:
            host = self.rng.randint(10, 240)
            ip = f"10.244.{node.index}.{host}"
            if ip not in self._used_ips:
                self._used_ips.add(ip)
                return (ip, f"fd00:10:244:{node.index}::{host:x}") if self.dual_stack else (ip,)

    def identity(self, labels: Sequence[str]) -> int:
        """The security identity of a label set: pods with equal labels share it, as in Cilium."""
        key = tuple(labels)
        if key not in self._identities:
            taken = set(self._identities.values())
            while (number := self.rng.randint(1024, 65535)) in taken:
                pass
            self._identities[key] = number
        return self._identities[key]

    # -- what Hubble knows of a pod ------------------------------------------------------------------------------

    def cilium_labels(self, workload: Workload, labels: Mapping[str, str]) -> list[str]:
        """The identity labels of a pod. Cilium's default filter drops the hashes and the kubernetes.io run labels."""
        kept = {key: value for key, value in labels.items() if not _filtered_by_cilium(key)}
        found = {f"k8s:{key}={value}" for key, value in kept.items()}
        for key, value in self.namespace_labels[workload.namespace].items():
            found.add(f"k8s:io.cilium.k8s.namespace.labels.{key}={value}")
        found.add(f"k8s:io.cilium.k8s.policy.cluster={self.name}")
        found.add(f"k8s:io.cilium.k8s.policy.serviceaccount={workload.name}")
        found.add(f"k8s:io.kubernetes.pod.namespace={workload.namespace}")
        return sorted(found)

    # -- declarations --------------------------------------------------------------------------------------------

    def namespace(self, name: str, created: int, **labels: str) -> None:
        """Declare a namespace, with the name label that the API server sets."""
        full = {"kubernetes.io/metadata.name": name, **labels}
        self.namespace_labels[name] = full
        meta = self.metadata(name, created, labels=full)
        obj = {"apiVersion": "v1", "kind": "Namespace", "metadata": meta, "spec": {"finalizers": ["kubernetes"]}}
        self.add("Namespace", {**obj, "status": {"phase": "Active"}})

    def pod(self, workload: Workload, spec: PodSpec) -> Pod:
        """Place one pod, and its manifest in the inventory."""
        node = self.nodes[spec.node]
        labels = {**workload.labels, **spec.labels}
        if spec.host_network:
            ips: tuple[str, ...] = (node.ip,)
        else:
            ips = self.addresses(node)
            if spec.ip is not None:
                ips = (spec.ip, *ips[1:])
        containers = spec.containers or workload.containers
        self._interfaces += 2
        pod = Pod(
            workload=workload,
            name=spec.name,
            node=node,
            ips=ips,
            labels=labels,
            created=spec.created,
            ended=spec.ended,
            endpoint_id=self.rng.randint(20, 4090),
            identity=self.identity(self.cilium_labels(workload, labels)),
            mac=_mac(self.rng),
            interface=f"lxc{self.rng.getrandbits(48):012x}",
            interface_index=self._interfaces,
            ports=tuple(port for container in containers for port in container.ports),
        )
        if not spec.host_network:  # Host network pods are no endpoints: Hubble shows their node instead.
            self.pods.append(pod)
        self.add("Pod", self._pod_object(pod, spec, containers))
        return pod

    def _pod_object(self, pod: Pod, spec: PodSpec, containers: Sequence[Container]) -> Obj:
        more: Obj = {"labels": pod.labels, "generateName": spec.generate_name}
        if spec.owner is not None:
            more["ownerReferences"] = [owner_reference(*spec.owner)]
        meta = self.metadata(pod.name, spec.created, pod.workload.namespace, **more)
        body = pod_template_spec(pod.workload, containers, host_network=spec.host_network)
        running = pod.ended is None
        conditions = ("Initialized", "Ready", "ContainersReady", "PodScheduled")
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": meta,
            "spec": {**body, "nodeName": pod.node.name},
            "status": {
                "conditions": [
                    {
                        "lastTransitionTime": seconds_stamp(spec.created + 12 * SECOND),
                        "status": "True" if running or kind in {"Initialized", "PodScheduled"} else "False",
                        "type": kind,
                    }
                    for kind in conditions
                ],
                "hostIP": pod.node.ip,
                "hostIPs": [{"ip": pod.node.ip}],
                "phase": "Running" if running else "Succeeded",
                "podIP": pod.ips[0],
                "podIPs": [{"ip": ip} for ip in pod.ips],
                "qosClass": "Burstable",
                "startTime": seconds_stamp(spec.created),
            },
        }

    def service(self, service: Service, selector: Mapping[str, str], created: int, **spec: Any) -> Service:
        """Declare a Service and the EndpointSlices that its controller would write for the running pods."""
        self.services[service.namespace, service.name] = service
        families = ["IPv6" if ":" in ip else "IPv4" for ip in service.ips if ip != "None"] or ["IPv4"]
        node_ports = spec.pop("nodePorts", {})
        ports: list[Obj] = []
        for name, number, target, protocol in service.ports:
            port: Obj = {"name": name, "port": number, "protocol": protocol, "targetPort": target}
            ports.append({**port, "nodePort": node_ports[number]} if number in node_ports else port)
        body: Obj = {
            "clusterIP": service.ips[0],
            "clusterIPs": list(service.ips),
            "internalTrafficPolicy": "Cluster",
            "ipFamilies": families,
            "ipFamilyPolicy": "PreferDualStack" if len(families) > 1 else "SingleStack",
            "ports": ports,
            "sessionAffinity": "None",
            "type": "ClusterIP",
            **spec,
        }
        if selector:
            body["selector"] = dict(selector)
        meta = self.metadata(service.name, created, service.namespace, labels=dict(selector))
        self.add("Service", {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": body, "status": {}})
        if selector:
            self._endpoint_slices(service, selector, families, meta["uid"], created)
        return service

    def _endpoint_slices(
        self, service: Service, selector: Mapping[str, str], families: Sequence[str], uid: str, created: int
    ) -> None:
        # The controller puts pods into one slice as long as their resolved ports agree, and one slice has one family.
        groups: dict[tuple[tuple[str, int, str], ...], list[Pod]] = {}
        for pod in self.pods:
            in_namespace = pod.workload.namespace == service.namespace and pod.ended is None
            if in_namespace and all(pod.labels.get(key) == value for key, value in selector.items()):
                groups.setdefault(_resolved_ports(pod, service), []).append(pod)
        pod_uids = {obj["metadata"]["name"]: obj["metadata"]["uid"] for obj in self.objects["Pod"]}
        for family in families:
            for ports, pods in sorted(groups.items()):
                endpoints = [_slice_endpoint(pod, family, pod_uids[pod.name]) for pod in pods]
                self.endpoint_slice(service, family, ports, endpoints, owner_uid=uid, created=created)

    def endpoint_slice(
        self,
        service: Service,
        family: str,
        ports: Iterable[tuple[str, int, str]],
        endpoints: Sequence[Obj],
        *,
        owner_uid: str,
        created: int,
    ) -> None:
        """Declare one EndpointSlice of a Service."""
        meta = self.metadata(
            f"{service.name}-{self.suffix(5)}",
            created,
            service.namespace,
            generateName=f"{service.name}-",
            labels={
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                "kubernetes.io/service-name": service.name,
            },
            ownerReferences=[owner_reference("v1", "Service", service.name, owner_uid)],
        )
        self.add(
            "EndpointSlice",
            {
                "addressType": family,
                "apiVersion": "discovery.k8s.io/v1",
                "endpoints": list(endpoints),
                "kind": "EndpointSlice",
                "metadata": meta,
                "ports": [{"name": name, "port": port, "protocol": protocol} for name, port, protocol in ports],
            },
        )

    def running(self, key: str, when: int, port: int | None = None, protocol: str = "TCP") -> list[Pod]:
        """The workload's pods alive at a time, and listening on a port where one is asked for."""
        found = [pod for pod in self.pods if pod.workload.key == key and pod.alive(when)]
        return found if port is None else [pod for pod in found if pod.listens(port, protocol)]

    def inventory(self) -> Obj:
        """Everything, in the order of `kubectl get pods,svc,endpointslices,ns,nodes,...`, sorted."""
        items: list[Obj] = []
        for kind in INVENTORY_ORDER:
            found = self.objects.get(kind, [])
            items += sorted(found, key=lambda obj: (obj["metadata"].get("namespace", ""), obj["metadata"]["name"]))
        return {"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}}


INVENTORY_ORDER = (
    "Pod",
    "Service",
    "EndpointSlice",
    "Namespace",
    "Node",
    "Deployment",
    "ReplicaSet",
    "StatefulSet",
    "DaemonSet",
    "Job",
    "CronJob",
    "NetworkPolicy",
)


def owner_reference(api_version: str, kind: str, name: str, uid: str) -> Obj:
    """A controller's ownerReference."""
    reference = {"apiVersion": api_version, "blockOwnerDeletion": True, "controller": True, "kind": kind}
    return {**reference, "name": name, "uid": uid}


def pod_template_spec(workload: Workload, containers: Sequence[Container], *, host_network: bool = False) -> Obj:
    """The `spec` of a pod or pod template, with the fields that a policy tool may look at."""
    spec: Obj = {
        "containers": [_container(container) for container in containers],
        "dnsPolicy": "ClusterFirst",
        "restartPolicy": "OnFailure" if workload.kind == "CronJob" else "Always",
        "serviceAccountName": workload.name,
    }
    return {**spec, "hostNetwork": True} if host_network else spec


def _container(container: Container) -> Obj:
    out: Obj = {"image": container.image, "imagePullPolicy": "IfNotPresent", "name": container.name}
    if container.ports:
        out["ports"] = [
            {"containerPort": port.number, "protocol": port.protocol, **({"name": port.name} if port.name else {})}
            for port in container.ports
        ]
    if container.probe is not None:
        out["readinessProbe"] = {"periodSeconds": 10, "tcpSocket": {"port": container.probe}}
    return out


def _slice_endpoint(pod: Pod, family: str, uid: str) -> Obj:
    address = next(ip for ip in pod.ips if (":" in ip) == (family == "IPv6"))
    target = {"kind": "Pod", "name": pod.name, "namespace": pod.workload.namespace, "uid": uid}
    conditions = {"ready": True, "serving": True, "terminating": False}
    return {"addresses": [address], "conditions": conditions, "nodeName": pod.node.name, "targetRef": target}


def _resolved_ports(pod: Pod, service: Service) -> tuple[tuple[str, int, str], ...]:
    named = {(port.name, port.protocol): port.number for port in pod.ports}
    resolved = []
    for name, _, target, protocol in service.ports:
        number = target if isinstance(target, int) else named[target, protocol]
        resolved.append((name, number, protocol))
    return tuple(resolved)


def _mac(rng: random.Random) -> str:
    first = (rng.getrandbits(8) & 0xFC) | 0x02  # locally administered, unicast
    return ":".join(f"{octet:02x}" for octet in (first, *(rng.getrandbits(8) for _ in range(5))))


def _filtered_by_cilium(key: str) -> bool:
    if key.startswith("app.kubernetes.io/"):
        return False
    prefix = key.partition("/")[0] if "/" in key else ""
    hashes = {"pod-template-hash", "controller-revision-hash", "pod-template-generation", "controller-uid"}
    return key in hashes or prefix.endswith("kubernetes.io")
