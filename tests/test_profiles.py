"""Which network plug-in a cluster has, told from its objects."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from netpol_gen.config import Cni
from netpol_gen.inventory import empty
from netpol_gen.inventory.objects import Controller, Node
from netpol_gen.model import Workload
from netpol_gen.profiles import PROFILES, detect, unenforced


def cluster(*daemon_sets: str, labels: tuple[tuple[str, str], ...] = (), groups: str = "", kinds: str = ""):
    controllers = {}
    for text in daemon_sets:
        namespace, _, name = text.partition("/")
        workload = Workload(namespace, "DaemonSet", name)
        controllers[workload] = Controller(workload, None, ())
    return replace(
        empty(),
        controllers=MappingProxyType(controllers),
        nodes=MappingProxyType({"n": Node("n", labels=labels)}),
        api_groups=frozenset(groups.split()),
        other=MappingProxyType(dict.fromkeys(kinds.split(), 1)),
    )


@pytest.mark.parametrize(
    ("inventory", "found"),
    [
        (cluster("kube-system/cilium"), [Cni.CILIUM]),
        (cluster("kube-system/anetd"), [Cni.GKE_DPV2]),
        (cluster("kube-system/anetd", "kube-system/cilium"), [Cni.GKE_DPV2]),
        (cluster("calico-system/calico-node"), [Cni.CALICO]),
        (cluster("openshift-ovn-kubernetes/ovnkube-node"), [Cni.OVN_KUBERNETES]),
        (cluster("kube-system/antrea-agent"), [Cni.ANTREA]),
        (cluster("kube-system/azure-npm"), [Cni.AZURE_NPM]),
        (cluster("kube-system/aws-node", groups="networking.k8s.aws"), [Cni.EKS_VPC_CNI]),
        # Without policy endpoints Amazon's plug-in enforces nothing; Calico beside it does.
        (cluster("kube-system/aws-node"), []),
        (cluster("kube-system/aws-node", "calico-system/calico-node"), [Cni.CALICO]),
        (cluster("team/cilium"), []),
        (cluster(labels=(("kubernetes.azure.com/ebpf-dataplane", "cilium"),)), [Cni.CILIUM]),
        (cluster(groups="crd.antrea.io"), [Cni.ANTREA]),
        (cluster(kinds="ClusterNetworkPolicy.crd.antrea.io"), [Cni.ANTREA]),
        # Its group stayed behind when it was removed.
        (cluster("kube-system/cilium", groups="crd.antrea.io"), [Cni.CILIUM]),
        (cluster("kube-system/cilium", "calico-system/calico-node"), [Cni.CALICO, Cni.CILIUM]),
        (cluster("kube-system/kindnet"), []),
        (empty(), []),
    ],
)
def test_detect(inventory, found):
    assert [d.cni for d in detect(inventory)] == found
    assert all(d.why for d in detect(inventory))


def test_a_plug_in_that_enforces_nothing_is_known():
    assert unenforced(cluster("kube-flannel/kube-flannel-ds")) == "kube-flannel-ds"
    assert unenforced(cluster("kube-system/cilium")) == ""


def test_every_choice_has_a_profile():
    assert set(PROFILES) == set(Cni)
