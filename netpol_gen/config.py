"""Settings as one frozen value. Every field is a command line option of the same name or a key of `netpol-gen.toml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from netpol_gen.model import Decision, ObservedVerdict
from netpol_gen.sets import Network


class Cni(StrEnum):
    """What will enforce the policies."""

    GENERIC = "generic"
    CILIUM = "cilium"
    CALICO = "calico"
    EKS_VPC_CNI = "eks-vpc-cni"
    OVN_KUBERNETES = "ovn-kubernetes"
    AZURE_NPM = "azure-npm"
    ANTREA = "antrea"
    GKE_DPV2 = "gke-dpv2"

    @property
    def ipblock_matches_pods(self) -> Decision:
        """Whether it matches an ipBlock against a pod's address (semantics 4.1 no. 9); unknown unless documented."""
        return _IPBLOCK.get(self, Decision.UNKNOWN)


# cilium/cilium#9209 and #35212: CIDR rules do not match managed endpoints. projectcalico/calico#6634: they do.
_IPBLOCK = {Cni.CILIUM: Decision.DENY, Cni.GKE_DPV2: Decision.DENY, Cni.CALICO: Decision.ALLOW}


class Mode(StrEnum):
    """How generated policies relate to the existing ones."""

    FULL = "full"
    """Policies for every workload with evidence, whatever exists."""
    MISSING_ONLY = "missing-only"
    """Only for accepted edges that existing policies do not already admit explicitly."""
    TIGHTEN = "tighten"
    """Only for workloads that existing policies select, to replace what is broader than the evidence."""


class NamedPorts(StrEnum):
    """Whether rules use container port names."""

    AUTO = "auto"
    """Where every selected pod declares the name for that number."""
    NEVER = "never"


class SnatClients(StrEnum):
    """What to admit when clients from outside were hidden behind a node's address."""

    NODES = "nodes"
    WORLD = "world"


class MinEvidence(StrEnum):
    """Weakest direction evidence that still makes an edge."""

    WEAK = "weak"
    STRONG = "strong"


SYSTEM_NAMESPACES = frozenset(
    {
        "kube-system",
        "kube-public",
        "kube-node-lease",
        "calico-system",
        "calico-apiserver",
        "tigera-operator",
        "cilium-secrets",
        "gatekeeper-system",
        "gke-managed-system",
        "gmp-system",
        "local-path-storage",
    }
)
"""Namespaces that get no policies of their own unless named with `-n`; they stay as peers."""
SYSTEM_PREFIXES = ("kube-", "openshift-")
"""So do those that Kubernetes and OpenShift keep for themselves, the resolver's among them."""


@dataclass(frozen=True, slots=True)
class Exclusion:
    """One entry of the exclusion list: accepted edges that match every given field are set aside, and counted.

    `src` and `dst` are `namespace/name` globs (`*/debug-*`) or an external kind (`world`, `node`); empty matches all.
    """

    reason: str
    src: str = ""
    dst: str = ""
    protocol: str = ""
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """How to read, judge and write. Durations are seconds, times nanoseconds since the epoch, UTC."""

    accept: frozenset[ObservedVerdict] = frozenset({ObservedVerdict.FORWARDED})
    accept_unanswered: bool = False
    min_evidence: MinEvidence = MinEvidence.WEAK
    scan_threshold: int = 10
    """So many different one-touch ports or hosts from one source make it a scan. 0 turns the check off."""
    exclude: tuple[Exclusion, ...] = ()
    since: int | None = None
    until: int | None = None
    strict: bool = False
    max_bad: float | None = None
    max_loss: float | None = None
    namespaces: frozenset[str] | None = None
    """Namespaces that policies are written for; `None` means all but `SYSTEM_NAMESPACES`."""
    all_namespaces: bool = False
    """`-A`: system namespaces as well."""
    cni: Cni = Cni.GENERIC
    mode: Mode = Mode.FULL
    named_ports: NamedPorts = NamedPorts.AUTO
    snat_clients: SnatClients = SnatClients.NODES
    max_extra_addresses: int = 0
    default_deny: bool = False
    names: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Policy names by workload, as `namespace/Kind/name`."""
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """House labels that every written policy carries."""
    pod_cidrs: tuple[Network, ...] = ()
    service_cidrs: tuple[Network, ...] = ()
    guard_seconds: float = 5.0
    """Half-width of the band round an address hand-over in which its owner is ambiguous."""

    @property
    def guard_ns(self) -> int:
        """`guard_seconds` in nanoseconds."""
        return int(self.guard_seconds * 1e9)

    def in_scope(self, namespace: str) -> bool:
        """Whether policies are written for this namespace."""
        if self.namespaces is not None:
            return namespace in self.namespaces
        own = namespace not in SYSTEM_NAMESPACES and not namespace.startswith(SYSTEM_PREFIXES)
        return self.all_namespaces or own
