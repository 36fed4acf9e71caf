"""What the network plug-ins do differently, and which one a cluster has.

A fact stands here with its source. What is not in a profile is not known to differ, which is no promise. Every profile
here lets a pod's own node reach it (semantics 4.1 no. 15), so kubelet probes need no rule; Cilium does so unless it is
set to `--allow-localhost=policy`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from netpol_gen.config import Cni
from netpol_gen.inventory import Inventory


@dataclass(frozen=True, slots=True)
class Profile:
    """How a plug-in reads a NetworkPolicy.

    `ranges`: whether it heeds `endPort`. `port_names`: whether it resolves them. `ports_of_rule`: most ports in one
    rule, `ports_of_peer`: most combinations of protocol and port for one peer in a policy, 0 for no known limit.
    `families`: whether IPv4 and IPv6 blocks may stand in one policy. `bare_pods`: whether pods without a controller
    are enforced.
    """

    name: str
    ranges: bool = True
    port_names: bool = True
    ports_of_rule: int = 0
    ports_of_peer: int = 0
    families: bool = True
    bare_pods: bool = True


PROFILES: Mapping[Cni, Profile] = MappingProxyType(
    {
        # github.com/cilium/cilium/issues/16622: 40 ports in a rule.
        Cni.CILIUM: Profile("Cilium", ports_of_rule=40),
        Cni.GKE_DPV2: Profile("GKE Dataplane V2", ports_of_rule=40),
        Cni.CALICO: Profile("Calico"),
        # "Considerations" of the EKS user guide on network policies.
        Cni.EKS_VPC_CNI: Profile("Amazon VPC CNI", ports_of_peer=24, families=False, bare_pods=False),
        # github.com/ovn-kubernetes/ovn-kubernetes/issues/2117: names of ports are not resolved.
        Cni.OVN_KUBERNETES: Profile("OVN-Kubernetes", port_names=False),
        # github.com/Azure/AKS/issues/2857: only the first port of a range.
        Cni.AZURE_NPM: Profile("Azure Network Policy Manager", ranges=False),
        Cni.ANTREA: Profile("Antrea"),
        # Written so that every one of the above takes it, wherever that can be.
        Cni.GENERIC: Profile("generic", ports_of_rule=40),
    }
)


@dataclass(frozen=True, slots=True, order=True)
class Detected:
    """A plug-in that a cluster seems to have, and what shows it."""

    cni: Cni
    why: str


_DAEMON_SETS: tuple[tuple[str, Cni], ...] = (
    ("anetd", Cni.GKE_DPV2),
    ("antrea-agent", Cni.ANTREA),
    ("azure-npm", Cni.AZURE_NPM),
    ("azure-npm-win", Cni.AZURE_NPM),
    ("calico-node", Cni.CALICO),
    ("canal", Cni.CALICO),
    ("cilium", Cni.CILIUM),
    ("ovnkube-node", Cni.OVN_KUBERNETES),
    ("rke2-canal", Cni.CALICO),
)
_NAMESPACES = frozenset({"kube-system", "calico-system", "cilium", "openshift-ovn-kubernetes", "ovn-kubernetes"})
_NODE_LABELS: tuple[tuple[str, str, Cni], ...] = (
    ("kubernetes.azure.com/ebpf-dataplane", "cilium", Cni.CILIUM),
    ("kubernetes.azure.com/network-policy", "azure", Cni.AZURE_NPM),
    ("kubernetes.azure.com/network-policy", "calico", Cni.CALICO),
)
_AWS_NODE = "aws-node"
_AWS_GROUP = "networking.k8s.aws"
"""The group of PolicyEndpoints, without which Amazon's plug-in enforces nothing."""
_GROUPS: tuple[tuple[str, Cni], ...] = (
    ("crd.antrea.io", Cni.ANTREA),
    ("k8s.ovn.org", Cni.OVN_KUBERNETES),
)
_UNENFORCED = ("kindnet", "kube-flannel-ds", "kube-flannel", "weave-net")


def detect(inventory: Inventory) -> tuple[Detected, ...]:
    """Plug-ins that the inventory shows signs of, none, one or several, with the best sign of each.

    A DaemonSet in a system namespace is the best sign, then a node's label, then an API group: groups stay behind when
    a plug-in is removed.
    """
    best: dict[Cni, str] = {}
    for cni, why in (*_by_daemon_sets(inventory), *_by_labels(inventory)):
        best.setdefault(cni, why)
    if not best:
        for cni, why in _by_groups(inventory):
            best.setdefault(cni, why)
    if Cni.GKE_DPV2 in best:
        # It is made of Cilium, and shows Cilium's signs too.
        best.pop(Cni.CILIUM, None)
    return tuple(sorted(Detected(cni, why) for cni, why in best.items()))


def unenforced(inventory: Inventory) -> str:
    """A DaemonSet of a plug-in that enforces no policy by itself (kindnet before 2024, flannel); empty if none."""
    names = [w.name for w in inventory.controllers if w.kind == "DaemonSet" and w.name in _UNENFORCED]
    return min(names, default="")


def _daemon_sets(inventory: Inventory) -> list[tuple[str, str]]:
    found = [w for w in inventory.controllers if w.kind == "DaemonSet" and w.namespace in _NAMESPACES]
    return [(w.namespace, w.name) for w in found]


def _by_daemon_sets(inventory: Inventory) -> Iterator[tuple[Cni, str]]:
    known = dict(_DAEMON_SETS)
    for namespace, name in sorted(_daemon_sets(inventory)):
        if name in known:
            yield known[name], f"DaemonSet {namespace}/{name}"
        elif name == _AWS_NODE and _AWS_GROUP in inventory.api_groups:
            yield Cni.EKS_VPC_CNI, f"DaemonSet {namespace}/{name} and API group {_AWS_GROUP}"


def _by_labels(inventory: Inventory) -> Iterator[tuple[Cni, str]]:
    labels = {pair for node in inventory.nodes.values() for pair in node.labels}
    for key, value, cni in _NODE_LABELS:
        if (key, value) in labels:
            yield cni, f"node label {key}={value}"


def _by_groups(inventory: Inventory) -> Iterator[tuple[Cni, str]]:
    kinds = " ".join(inventory.other)
    for group, cni in _GROUPS:
        if group in inventory.api_groups or group in kinds:
            yield cni, f"API group {group}"
