"""What was lost before it was a record, on which nodes, and which workloads that touches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from netpol_gen.coverage.model import Touched, Unseen
from netpol_gen.edges import Edges
from netpol_gen.flowtable import Loss
from netpol_gen.inventory import Inventory
from netpol_gen.model import Workload


def short(node: str) -> str:
    """A node's own name: sources put the cluster's before it (`prod/worker-3`)."""
    return node.rpartition("/")[2]


def homes(workloads: Iterable[Workload], inventory: Inventory) -> dict[Workload, frozenset[str]]:
    """The nodes that a workload's pods run or ran on."""
    return {w: frozenset(short(p.node) for p in inventory.pods_of(w) if p.node) for w in workloads}


def touched(
    edges: Edges, of: Mapping[Workload, frozenset[str]], seen_on: Mapping[Workload, frozenset[str]]
) -> tuple[Touched, ...]:
    """Losses by node. A workload is touched where its pods run; where that is not known, where its flows were seen."""
    by_node: dict[str, list[Loss]] = {}
    for (node, hour, stage), events in edges.ledger.losses.items():
        by_node.setdefault(short(node), []).append(Loss(node, hour, stage, events))
    return tuple(
        Touched(
            node,
            tuple(sorted(losses)),
            tuple(sorted(w for w, on in of.items() if not node or node in (on or seen_on.get(w, frozenset())))),
        )
        for node, losses in sorted(by_node.items())
    )


def silent_nodes(edges: Edges, inventory: Inventory) -> tuple[Unseen, ...]:
    """Nodes with running pods that no record names, where the source names nodes at all."""
    heard = {short(n) for o in edges.observations for n in o.evidence.nodes}
    if not heard:
        return ()
    heard |= {short(node) for node, _, _ in edges.ledger.losses}
    pods: dict[str, int] = {}
    for pod in inventory.pods:
        if pod.node and pod.live and not pod.host_network:
            pods[short(pod.node)] = pods.get(short(pod.node), 0) + 1
    return tuple(
        Unseen("Node", node, f"{number} pods run there, and it reported no flow: its export may be missing")
        for node, number in sorted(pods.items())
        if node not in heard
    )
