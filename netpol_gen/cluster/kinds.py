"""What a snapshot holds: one literal table of kinds, with where they are served and what is kept of them."""

from __future__ import annotations

from dataclasses import dataclass

from netpol_gen.cluster import strip
from netpol_gen.cluster.strip import Strip


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of objects. `versions` are tried in this order; the group is left alone where the server lacks it.

    `essential` kinds are part of every cluster: a server that cannot list them is in trouble. `without` says what
    cannot be told where they may not be read. `instead_of` names a group in whose presence this one is not read.
    """

    group: str
    versions: tuple[str, ...]
    resource: str
    name: str
    strip: Strip
    namespaced: bool = True
    essential: bool = False
    without: str = "they play no part"
    instead_of: str = ""

    @property
    def full_name(self) -> str:
        """`networkpolicies.networking.k8s.io`, as kubectl and roles write it."""
        return f"{self.resource}.{self.group}" if self.group else self.resource

    def path(self, version: str, namespace: str = "") -> str:
        """Where the list is."""
        root = f"/apis/{self.group}/{version}" if self.group else f"/api/{version}"
        return f"{root}/namespaces/{namespace}/{self.resource}" if namespace else f"{root}/{self.resource}"

    def api_version(self, version: str) -> str:
        """The `apiVersion` of the objects."""
        return f"{self.group}/{version}" if self.group else version


_WORKLOADS = "pods count as workloads of their own where their owners cannot be told from names"
_BACKENDS = "what is behind a Service is told from its selector alone"
_IN_FORCE = "policies in force are not all known"
_CALLERS = "what the API server calls in the cluster is not known"
_PODS = "addresses cannot be told to be pods"
_NODES = "addresses of nodes are known only as far as pods name them"
_RANGES = "address ranges are known only from single addresses"

_V1 = ("v1",)
_ADMISSION = "admissionregistration.k8s.io"
_TIERED = "policy.networking.k8s.io"
_CALICO = "projectcalico.org"
_CALICO_CRD = "crd.projectcalico.org"
_ANTREA = "crd.antrea.io"

NAMESPACES = Kind("", _V1, "namespaces", "Namespace", strip.named, False, True, "labels of namespaces are not known")
PODS = Kind("", _V1, "pods", "Pod", strip.pod, essential=True, without=_PODS)
SLICES = Kind(
    "discovery.k8s.io", ("v1", "v1beta1"), "endpointslices", "EndpointSlice", strip.endpoint_slice, without=_BACKENDS
)
ENDPOINTS = Kind("", _V1, "endpoints", "Endpoints", strip.endpoints, without=_BACKENDS)
"""Read only where EndpointSlices cannot be."""

# Pods first: their moment is the snapshot's. Namespaces come before all else, to know where to ask.
KINDS: tuple[Kind, ...] = (
    PODS,
    Kind("", _V1, "nodes", "Node", strip.node, False, True, _NODES),
    Kind("", _V1, "services", "Service", strip.service, essential=True, without="addresses of Services are not known"),
    SLICES,
    Kind("apps", _V1, "deployments", "Deployment", strip.controller, essential=True, without=_WORKLOADS),
    Kind("apps", _V1, "replicasets", "ReplicaSet", strip.controller, essential=True, without=_WORKLOADS),
    Kind("apps", _V1, "statefulsets", "StatefulSet", strip.controller, essential=True, without=_WORKLOADS),
    Kind("apps", _V1, "daemonsets", "DaemonSet", strip.controller, essential=True, without=_WORKLOADS),
    Kind("batch", _V1, "jobs", "Job", strip.controller, essential=True, without=_WORKLOADS),
    Kind("batch", ("v1", "v1beta1"), "cronjobs", "CronJob", strip.controller, without=_WORKLOADS),
    Kind("", _V1, "replicationcontrollers", "ReplicationController", strip.controller, without=_WORKLOADS),
    Kind("argoproj.io", ("v1alpha1",), "rollouts", "Rollout", strip.controller, without=_WORKLOADS),
    Kind("apps.openshift.io", _V1, "deploymentconfigs", "DeploymentConfig", strip.controller, without=_WORKLOADS),
    Kind(
        "networking.k8s.io", _V1, "networkpolicies", "NetworkPolicy", strip.whole_spec,
        essential=True, without=_IN_FORCE,
    ),
    Kind(
        _TIERED, ("v1alpha1",), "adminnetworkpolicies", "AdminNetworkPolicy", strip.whole_spec,
        False, False, _IN_FORCE,
    ),
    Kind(
        _TIERED, ("v1alpha1",), "baselineadminnetworkpolicies", "BaselineAdminNetworkPolicy", strip.whole_spec,
        False, False, _IN_FORCE,
    ),
    Kind(
        _TIERED, ("v1alpha2",), "clusternetworkpolicies", "ClusterNetworkPolicy", strip.whole_spec,
        False, False, _IN_FORCE,
    ),
    Kind("cilium.io", ("v2",), "ciliumnetworkpolicies", "CiliumNetworkPolicy", strip.whole_spec, without=_IN_FORCE),
    Kind(
        "cilium.io", ("v2",), "ciliumclusterwidenetworkpolicies", "CiliumClusterwideNetworkPolicy", strip.whole_spec,
        False, False, _IN_FORCE,
    ),
    Kind("cilium.io", ("v2",), "ciliumnodes", "CiliumNode", strip.range_spec, False, False, _RANGES),
    Kind(_CALICO, ("v3",), "networkpolicies", "NetworkPolicy", strip.whole_spec, without=_IN_FORCE),
    Kind(_CALICO, ("v3",), "globalnetworkpolicies", "GlobalNetworkPolicy", strip.whole_spec, False, False, _IN_FORCE),
    Kind(_CALICO, ("v3",), "ippools", "IPPool", strip.range_spec, False, False, _RANGES),
    Kind(_CALICO_CRD, _V1, "networkpolicies", "NetworkPolicy", strip.whole_spec, True, False, _IN_FORCE, _CALICO),
    Kind(
        _CALICO_CRD, _V1, "globalnetworkpolicies", "GlobalNetworkPolicy", strip.whole_spec,
        False, False, _IN_FORCE, _CALICO,
    ),
    Kind(_CALICO_CRD, _V1, "ippools", "IPPool", strip.range_spec, False, False, _RANGES, _CALICO),
    Kind(_ANTREA, ("v1beta1", "v1alpha1"), "networkpolicies", "NetworkPolicy", strip.whole_spec, without=_IN_FORCE),
    Kind(
        _ANTREA, ("v1beta1", "v1alpha1"), "clusternetworkpolicies", "ClusterNetworkPolicy", strip.whole_spec,
        False, False, _IN_FORCE,
    ),
    Kind(
        "networking.k8s.io", ("v1", "v1beta1"), "servicecidrs", "ServiceCIDR", strip.range_spec,
        False, False, _RANGES,
    ),
    Kind(
        _ADMISSION, ("v1", "v1beta1"), "validatingwebhookconfigurations", "ValidatingWebhookConfiguration",
        strip.webhooks, False, False, _CALLERS,
    ),
    Kind(
        _ADMISSION, ("v1", "v1beta1"), "mutatingwebhookconfigurations", "MutatingWebhookConfiguration",
        strip.webhooks, False, False, _CALLERS,
    ),
    Kind("apiregistration.k8s.io", _V1, "apiservices", "APIService", strip.api_service, False, False, _CALLERS),
)  # fmt: skip

CNI_GROUPS = (
    "cilium.io",
    "crd.projectcalico.org",
    "crd.antrea.io",
    "k8s.ovn.org",
    "networking.k8s.aws",
    "vpcresources.k8s.aws",
    "operator.openshift.io",
    "projectcalico.org",
    "networking.gke.io",
    "acn.azure.com",
)
"""API groups that network plug-ins bring along."""
