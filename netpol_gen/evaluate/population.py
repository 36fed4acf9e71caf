"""Who could take part in a connection: the live pods of each workload, grouped as far as policies can tell them apart.

A workload without live pods is represented by the inventory's stand-in for its template, else by the last pods it had:
the question is then about the next pod it will run.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from netpol_gen.evaluate.match import OutsideView, PodView, View
from netpol_gen.inventory.objects import Labels, Node, Pod
from netpol_gen.model import Workload
from netpol_gen.policy import ALL, NetworkPolicy, Peer
from netpol_gen.selectors import LabelSelector
from netpol_gen.sets import Address, Network, network_interval
from netpol_gen.tiers import TierPolicy

if TYPE_CHECKING:
    from netpol_gen.inventory import Inventory


@dataclass(frozen=True, slots=True)
class Group:
    """Pods of one workload that no policy can tell apart. `view` is the first of them by name.

    `nodes` are those they run on, `""` where that is not known. `size` counts pods; a template stands for as many as
    its controller asks for, and for two where nobody says.
    """

    view: View
    nodes: frozenset[str]
    size: int


@dataclass(frozen=True, slots=True)
class InPlay:
    """What a set of policies looks at: label keys, port names, and the cuts that CIDRs make in the address space.

    Two pods in one namespace that agree on these are told apart by no policy of the set.
    """

    label_keys: frozenset[str]
    port_names: frozenset[str]
    cuts: tuple[tuple[int, ...], tuple[int, ...]]
    """First addresses of the pieces of the IPv4 and the IPv6 space."""

    @classmethod
    def of(cls, policies: Iterable[NetworkPolicy], tiers: Iterable[TierPolicy] = ()) -> InPlay:
        """Of NetworkPolicies and cluster-wide policies."""
        keys: set[str] = set()
        names: set[str] = set()
        networks: set[Network] = set()
        everything: list[NetworkPolicy | TierPolicy] = [*policies, *tiers]
        for policy in everything:
            keys |= _keys(policy.pod_selector if isinstance(policy, NetworkPolicy) else policy.subject.pod_selector)
            for rule in (*policy.ingress, *policy.egress):
                names |= {p.port for p in (() if rule.ports is ALL else rule.ports) if isinstance(p.port, str)}
                for peer in () if rule.peers is ALL else rule.peers:
                    if isinstance(peer, Peer):
                        keys |= _keys(peer.pod_selector)
                        networks |= _networks(peer)
        return cls(frozenset(keys), frozenset(names), (_cuts(networks, 4), _cuts(networks, 6)))

    def piece(self, address: Address) -> tuple[int, int]:
        """Which piece of the address space holds `address`: equal pieces, equal answers of every ipBlock."""
        return address.version, bisect_right(self.cuts[0 if address.version == 4 else 1], int(address))


def _keys(selector: LabelSelector | None) -> frozenset[str]:
    return selector.keys if selector else frozenset()


def _networks(peer: Peer) -> set[Network]:
    return set() if peer.ip_block is None else {peer.ip_block.cidr, *peer.ip_block.except_}


def _cuts(networks: Iterable[Network], version: int) -> tuple[int, ...]:
    ends = [network_interval(n) for n in networks if n.version == version]
    return tuple(sorted({cut for low, high in ends for cut in (low, high + 1)}))


class Population:
    """The inventory as the judge needs it, with everything looked up once."""

    def __init__(self, inventory: Inventory, in_play: InPlay) -> None:
        self._in_play = in_play
        self._inventory = inventory
        self._holders: dict[Address, list[Pod]] = {}
        for pod in inventory.pods:
            if pod.live and not pod.host_network:
                for address in pod.addresses:
                    self._holders.setdefault(address, []).append(pod)
        self._groups: dict[Workload, tuple[Group, ...]] = {}

    @property
    def workloads(self) -> tuple[Workload, ...]:
        """Those that have live pods or a template, in order."""
        return tuple(sorted({p.workload for p in self._inventory.pods if p.live}))

    def holders(self, address: Address) -> tuple[Pod, ...]:
        """Live pods with this address of their own."""
        return tuple(self._holders.get(address, ()))

    def node_at(self, address: Address) -> Node | None:
        """The node that has this address."""
        return self._inventory.node_at(address)

    def groups(self, workload: Workload) -> tuple[Group, ...]:
        """The groups of a workload, at least one."""
        if workload not in self._groups:
            self._groups[workload] = self._group(workload)
        return self._groups[workload]

    def _group(self, workload: Workload) -> tuple[Group, ...]:
        pods = self._inventory.pods_of(workload)
        if not pods:
            return (self._unheard_of(workload),)
        live = [p for p in pods if p.live]
        together: dict[object, list[Pod]] = {}
        for pod in live or pods:
            together.setdefault(self._signature(pod), []).append(pod)
        return tuple(self._group_of(members, ended=not live) for members in together.values())

    def _signature(self, pod: Pod) -> object:
        play = self._in_play
        return (
            tuple(pair for pair in pod.labels if pair[0] in play.label_keys),
            tuple(p for p in pod.ports if p.name in play.port_names) if play.port_names else (),
            tuple(play.piece(a) for a in pod.addresses),
            pod.host_network,
            pod.observed,
        )

    def _group_of(self, members: list[Pod], *, ended: bool) -> Group:
        first = members[0]
        view = self.view(first)
        nodes = frozenset({""}) if ended else frozenset(p.node for p in members)
        if ended and isinstance(view, PodView):
            # The next run has the labels but not the address.
            view = replace(view, addresses=())
        controller = self._inventory.workload(first.workload)
        size = len(members)
        if first.template or ended:
            size = 2 if controller is None or controller.replicas is None else max(1, controller.replicas)
        return Group(view, nodes, size)

    def _unheard_of(self, workload: Workload) -> Group:
        """A workload of which the inventory knows nothing but the namespace that it was seen in."""
        labels, known = self.namespace_labels(workload.namespace)
        view = PodView(
            workload.namespace,
            (),
            labels_known=False,
            namespace_labels=labels,
            namespace_known=known,
            ports=(),
            ports_known=False,
            addresses=(),
            shown=str(workload),
        )
        return Group(view, frozenset({""}), 2)

    def view(self, pod: Pod) -> View:
        """A pod as policies see it; one on its node's network is its node (semantics 4.1 no. 17)."""
        shown = str(pod.workload) if pod.template else f"{pod.namespace}/{pod.name}"
        if pod.host_network:
            # The node's list is complete, the pod's status may name only one of its addresses.
            node = next((n for a in pod.addresses if (n := self.node_at(a))), self._inventory.nodes.get(pod.node))
            addresses = node.addresses if node else pod.addresses
            return OutsideView(f"hostNetwork pod {shown}", addresses, maybe_node=not pod.node, node=node)
        labels, known = self.namespace_labels(pod.namespace)
        return PodView(
            pod.namespace,
            pod.labels,
            labels_known=True,
            namespace_labels=labels,
            namespace_known=known,
            ports=pod.ports,
            ports_known=not pod.observed,
            addresses=pod.addresses,
            shown=shown,
        )

    def namespace_labels(self, namespace: str) -> tuple[Labels, bool]:
        """Labels of a namespace, and whether the inventory has the object itself."""
        labels = self._inventory.namespace_labels(namespace)
        return tuple(sorted(labels.items())), namespace in self._inventory.namespaces
