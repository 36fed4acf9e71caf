"""Rules about what the chosen CNI ignores or refuses.

Facts with their source; a CNI that is not in a table is not known to differ, which is no promise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from netpol_gen.config import Cni
from netpol_gen.lint.material import Material
from netpol_gen.lint.model import Hit
from netpol_gen.model import Protocol
from netpol_gen.policy import ALL

END_PORT: Mapping[Cni, str] = MappingProxyType(
    {
        # https://github.com/Azure/AKS/issues/2857
        Cni.AZURE_NPM: "Azure Network Policy Manager ignores endPort: only the first port is admitted",
        # https://github.com/cilium/cilium/issues/28684; port ranges came with 1.16.
        Cni.CILIUM: "Cilium before 1.16 ignores endPort: only the first port is admitted",
    }
)
NAMED_PORT: Mapping[Cni, str] = MappingProxyType(
    {
        # https://github.com/ovn-kubernetes/ovn-kubernetes/issues/2117
        Cni.OVN_KUBERNETES: "OVN-Kubernetes does not resolve port names; the rule may admit every port of the protocol",
    }
)
MAX_PORTS: Mapping[Cni, tuple[int, str]] = MappingProxyType(
    {
        # "Considerations" of the EKS user guide on network policies.
        Cni.EKS_VPC_CNI: (24, "Amazon VPC CNI takes at most 24 combinations of port and protocol for a peer"),
        # https://github.com/cilium/cilium/issues/16622
        Cni.CILIUM: (40, "Cilium takes at most 40 ports in one rule"),
    }
)
MIXED_FAMILIES: Mapping[Cni, str] = MappingProxyType(
    {Cni.EKS_VPC_CNI: "Amazon VPC CNI enforces one address family: that of the cluster"}
)


def end_port_ignored(material: Material) -> Iterator[Hit]:
    """A range that the CNI takes for its first port."""
    if (why := END_PORT.get(material.config.cni)) is None:
        return
    for at in material.rules:
        for path, port in at.ports():
            if port.end_port is not None and port.end_port != port.port:
                yield Hit(at.document.at(f"{path}.endPort"), at.subject, why, "list the ports one by one")


def named_port_ignored(material: Material) -> Iterator[Hit]:
    """A port name that the CNI does not resolve."""
    if (why := NAMED_PORT.get(material.config.cni)) is None:
        return
    for at in material.rules:
        for path, port in at.ports():
            if isinstance(port.port, str):
                yield Hit(at.document.at(f"{path}.port"), at.subject, why, "write the port's number")


def beyond_limits(material: Material) -> Iterator[Hit]:
    """More in one rule than the CNI takes."""
    cni = material.config.cni
    for at in material.rules:
        ports = () if at.rule.ports is ALL else at.rule.ports
        limit, why = MAX_PORTS.get(cni, (len(ports), ""))
        if len(ports) > limit:
            yield Hit(
                at.document.at(f"{at.path}.ports"),
                at.subject,
                f"{why}; this rule has {len(ports)}",
                "split the rule, or join ports into ranges with endPort",
            )
        families = {peer.ip_block.cidr.version for _, peer in at.peers() if peer.ip_block is not None}
        if len(families) > 1 and cni in MIXED_FAMILIES:
            yield Hit(
                at.place,
                at.subject,
                f"{MIXED_FAMILIES[cni]}; this rule has IPv4 and IPv6 blocks",
                "keep the blocks of the cluster's address family",
            )
        if cni is Cni.CILIUM and any(p.protocol is Protocol.SCTP for p in ports):
            # Listed as beta in its documentation ("SCTP support").
            yield Hit(
                at.document.at(f"{at.path}.ports"),
                at.subject,
                "Cilium enforces SCTP only where its SCTP support (beta) is switched on",
                "switch it on, or leave SCTP out",
            )
