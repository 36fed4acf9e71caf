"""Who could take part in a connection: the live pods of each workload, grouped as far as policies can tell them apart.

A workload without live pods is represented by the inventory's stand-in for its template, else by the last pods it had:
the question is then about the next pod it will run.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import TYPE_CHECKING

from netpol_gen.evaluate.match import OutsideView, PodView, View
from netpol_gen.inventory.objects import Labels, Node, Pod
from netpol_gen.model import Workload
from netpol_gen.policy import ALL, NetworkPolicy, Peer, Rule
from netpol_gen.selectors import LabelSelector
from netpol_gen.sets import Address, Network, network_interval
from netpol_gen.tiers import NodesPeer, TierPeer, TierPolicy, TierRule

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
    label_values: frozenset[tuple[str, str]]
    """Pairs that some selector asks for; a key's other values are all alike."""
    cuts: tuple[tuple[int, ...], tuple[int, ...]]
    """First addresses of the pieces of the IPv4 and the IPv6 space."""
    nodes: bool = False
    """Whether some peer selects nodes."""

    @classmethod
    def of(
        cls, policies: Iterable[NetworkPolicy], tiers: Iterable[TierPolicy] = (), nodes: Iterable[Node] = ()
    ) -> InPlay:
        """Of NetworkPolicies and cluster-wide policies; the latter can look at `nodes`."""
        seen = _Seen()
        for policy in policies:
            seen.selector(policy.pod_selector)
            seen.rules((*policy.ingress, *policy.egress))
        for tier in tiers:
            seen.peer(tier.subject)
            seen.rules((*tier.ingress, *tier.egress))
        if seen.nodes:
            seen.networks.update(ip_network(a) for node in nodes for a in node.addresses)
        cuts = (_cuts(seen.networks, 4), _cuts(seen.networks, 6))
        return cls(frozenset(seen.keys), frozenset(seen.names), frozenset(seen.values), cuts, seen.nodes)

    def labels(self, labels: Labels) -> Labels:
        """What selectors can see of these labels; `*`, which no label value is, stands for any other value."""
        return tuple(
            pair if pair in self.label_values else (pair[0], "*") for pair in labels if pair[0] in self.label_keys
        )

    def piece(self, address: Address) -> tuple[int, int]:
        """Which piece of the address space holds `address`: equal pieces, equal answers of every ipBlock."""
        return address.version, bisect_right(self.cuts[0 if address.version == 4 else 1], int(address))


class _Seen:
    """Collects what policies look at."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.values: set[tuple[str, str]] = set()
        self.names: set[str] = set()
        self.networks: set[Network] = set()
        self.nodes = False

    def selector(self, selector: LabelSelector | None) -> None:
        if selector is not None:
            self.keys |= selector.keys
            self.values.update(selector.match_labels)
            self.values.update((r.key, v) for r in selector.match_expressions for v in r.values)

    def peer(self, peer: TierPeer) -> None:
        if isinstance(peer, Peer):
            self.selector(peer.pod_selector)
            if peer.ip_block is not None:
                self.networks.update((peer.ip_block.cidr, *peer.ip_block.except_))
        self.nodes = self.nodes or isinstance(peer, NodesPeer)

    def rules(self, rules: Iterable[Rule | TierRule]) -> None:
        for rule in rules:
            if rule.ports is not ALL:
                self.names.update(p.port for p in rule.ports if isinstance(p.port, str))
            if rule.peers is not ALL:
                for peer in rule.peers:
                    self.peer(peer)


def _cuts(networks: Iterable[Network], version: int) -> tuple[int, ...]:
    ends = [network_interval(n) for n in networks if n.version == version]
    return tuple(sorted({cut for low, high in ends for cut in (low, high + 1)}))


def pods_wanted(inventory: Inventory, workload: Workload) -> int:
    """How many pods a controller asks for; two where nobody says, as for a DaemonSet or a Job."""
    controller = inventory.workload(workload)
    return 2 if controller is None or controller.replicas is None else max(1, controller.replicas)


def current(pods: Iterable[Pod]) -> list[Pod]:
    """The pods of a workload that speak for it: the live ones, and of those the ones that were dumped, if any was.

    A dump is complete: a pod that only flows know was not there then.
    """
    live = [p for p in pods if p.live]
    return [p for p in live if not p.observed] or live


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
        live = current(pods)
        together: dict[object, list[Pod]] = {}
        for pod in live or pods:
            together.setdefault(self.signature(pod), []).append(pod)
        return tuple(self._group_of(members, ended=not live) for members in together.values())

    def signature(self, pod: Pod) -> object:
        """Pods of one namespace with equal signatures are told apart by nothing in play."""
        play = self._in_play
        return (
            play.labels(pod.labels),
            tuple(p for p in pod.ports if p.name in play.port_names) if play.port_names else (),
            tuple(play.piece(a) for a in pod.addresses),
            pod.host_network,
            pod.node if play.nodes and pod.host_network else "",
            pod.observed,
        )

    def _group_of(self, members: list[Pod], *, ended: bool) -> Group:
        first = members[0]
        view = self.view(first)
        nodes = frozenset({""}) if ended else frozenset(p.node for p in members)
        if ended and isinstance(view, PodView):
            # The next run has the labels but not the address.
            view = replace(view, addresses=())
        size = pods_wanted(self._inventory, first.workload) if first.template or ended else len(members)
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
