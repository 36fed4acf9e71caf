"""What workloads offer to, and can reach of, pods and namespaces that nobody has created yet.

For every pattern that a policy names, and for "any pod at all", a stranger is imagined that has what the pattern asks
for and of which nothing else is known. What certainly passes to or from such a stranger is an open door, even in an
empty cluster. Only the known workload's policies are asked: the stranger's own are not written yet.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netpol_gen.evaluate.bits import members
from netpol_gen.evaluate.match import PodView
from netpol_gen.evaluate.matrix import Matrix
from netpol_gen.evaluate.table import ConnectionTable
from netpol_gen.model import Decision, Direction, Workload
from netpol_gen.policy import ALL, NetworkPolicy, Peer
from netpol_gen.selectors import LabelSelector, Operator
from netpol_gen.sets import ConnectionSet
from netpol_gen.tiers import TierPolicy

if TYPE_CHECKING:
    from netpol_gen.inventory import Inventory

ANYBODY = "any pod in any namespace"


@dataclass(frozen=True, slots=True)
class Exposed:
    """A pod that fits `peer` can open `connections` on the workload (Ingress), or the workload on it (Egress).

    `seen` counts the workloads with a pod that fits today. `possible` contains what the stranger's unknown labels and
    port names may add; a door that is only possible is none. A more special peer is listed only where more passes than
    for any pod at all.
    """

    workload: Workload
    direction: Direction
    peer: str
    connections: ConnectionSet
    possible: ConnectionSet
    seen: int


@dataclass(frozen=True, slots=True)
class _Pattern:
    """Who is meant: a namespace by name or by selector, and pods in it."""

    namespace: str
    namespaces: LabelSelector | None
    pods: LabelSelector

    @property
    def shown(self) -> str:
        """For people."""
        pods = "any pod" if self.pods.is_empty else f"pods {self.pods}"
        if self.namespaces is None:
            return f"{pods} in {self.namespace}"
        where = "any namespace" if self.namespaces.is_empty else f"namespaces {self.namespaces}"
        return f"{pods} in {where}"

    def stranger(self, number: int, inventory: Inventory) -> PodView | None:
        """A pod that has what the pattern asks for; None if nothing can fit.

        Nothing else is known of it, unless the pattern asks for something to be absent: then it has nothing else.
        """
        labels = _fitting(self.pods)
        if labels is None:
            return None
        complete = _asks_absence(self.pods)
        if self.namespaces is None:
            where = self.namespace in inventory.namespaces
            return _view(self.namespace, inventory.namespace_labels(self.namespace), labels, known=(where, complete))
        where_labels = _fitting(self.namespaces)
        if where_labels is None:
            return None
        # No namespace can have such a name.
        return _view(f"/{number}", where_labels, labels, known=(_asks_absence(self.namespaces), complete))


def _view(namespace: str, where: dict[str, str], labels: dict[str, str], *, known: tuple[bool, bool]) -> PodView:
    return PodView(
        namespace,
        tuple(sorted(labels.items())),
        labels_known=known[1],
        namespace_labels=tuple(sorted(where.items())),
        namespace_known=known[0],
        ports=(),
        ports_known=False,
        addresses=(),
        shown="",
    )


def _fitting(selector: LabelSelector) -> dict[str, str] | None:
    """Labels that a selector asks for; None if it asks for the impossible."""
    labels = dict(selector.match_labels)
    for requirement in selector.match_expressions:
        if requirement.operator is Operator.IN:
            labels.setdefault(requirement.key, requirement.values[0])
        elif requirement.operator is Operator.EXISTS:
            labels.setdefault(requirement.key, "any")
    return labels if all(r.matches(labels) for r in selector.match_expressions) else None


def _asks_absence(selector: LabelSelector) -> bool:
    return any(r.operator in (Operator.NOT_IN, Operator.DOES_NOT_EXIST) for r in selector.match_expressions)


def exposure(
    policies: Iterable[NetworkPolicy],
    inventory: Inventory,
    *,
    tiers: Iterable[TierPolicy] = (),
    ipblock_matches_pods: Decision = Decision.UNKNOWN,
) -> tuple[Exposed, ...]:
    """What strangers could reach, and what workloads could reach of them; by workload, direction and peer."""
    policies, tiers = tuple(policies), tuple(tiers)
    patterns = [_Pattern("", LabelSelector(), LabelSelector()), *_patterns(policies, tiers)]
    strangers = [(p, s) for i, p in enumerate(patterns) if (s := p.stranger(i, inventory)) is not None]
    table = ConnectionTable()
    matrix = Matrix(
        policies,
        inventory,
        tiers=tiers,
        ipblock_matches_pods=ipblock_matches_pods,
        table=table,
        strangers=[s for _, s in strangers],
    )
    seen = [_count(p, inventory) for p, _ in strangers]
    found: set[Exposed] = set()
    for workload, numbers in matrix.classes.of.items():
        for direction in Direction:
            given = [_of_strangers(matrix, direction, n) for n in numbers]
            anybody = _together(table, [g[0] for g in given])
            # Strangers in the cell of "any pod" get no more than any pod does.
            for i in sorted({0}.union(*given)):
                sure, may = _together(table, [g.get(i, g[0]) for g in given])
                if sure and (i == 0 or not sure <= anybody[0]):
                    shown = ANYBODY if i == 0 else strangers[i][0].shown
                    found.add(Exposed(workload, direction, shown, sure, may, seen[i]))
    return tuple(sorted(found, key=lambda e: (e.workload, e.direction, e.peer != ANYBODY, e.peer)))


def _patterns(policies: Iterable[NetworkPolicy], tiers: Iterable[TierPolicy]) -> list[_Pattern]:
    found: set[_Pattern] = set()
    for policy in policies:
        for direction in policy.policy_types:
            for rule in policy.rules(direction):
                for peer in () if rule.peers is ALL else rule.peers:
                    found |= _pattern(peer, policy.namespace)
    for tier in tiers:
        for tier_rule in (*tier.ingress, *tier.egress):
            for tier_peer in tier_rule.peers:
                if isinstance(tier_peer, Peer):
                    found |= _pattern(tier_peer, "")
    return sorted(found, key=lambda p: (p.namespace, p.shown))


def _pattern(peer: Peer, own_namespace: str) -> set[_Pattern]:
    if peer.ip_block is not None:
        return set()
    pods = (peer.pod_selector or LabelSelector()).normalised()
    if peer.namespace_selector is None:
        return {_Pattern(own_namespace, None, pods)}
    return {_Pattern("", peer.namespace_selector.normalised(), pods)}


def _count(pattern: _Pattern, inventory: Inventory) -> int:
    """Workloads with a pod that fits a pattern."""

    def fits(namespace: str) -> bool:
        if pattern.namespaces is None:
            return namespace == pattern.namespace
        return pattern.namespaces.matches(inventory.namespace_labels(namespace))

    live = [p for p in inventory.pods if p.live and not p.host_network]
    chosen = {n for n in {p.namespace for p in live} if fits(n)}
    return len({p.workload for p in live if p.namespace in chosen and pattern.pods.matches(dict(p.labels))})


def _of_strangers(matrix: Matrix, direction: Direction, position: int) -> dict[int, tuple[int, int]]:
    """What passes between a class and each stranger; those who fare as "any pod", number 0, are left out."""
    found: dict[int, tuple[int, int]] = {}
    everyone = (1 << len(matrix.strangers)) - 1
    for bits, ids in matrix.row(direction, position):
        here = bits >> matrix.size & everyone
        for i in [0] if here & 1 else members(here):
            found[int(i)] = ids
    return found


def _together(table: ConnectionTable, given: list[tuple[int, int]]) -> tuple[ConnectionSet, ConnectionSet]:
    """Over all classes of a workload: what passes to every one for certain, and to any perhaps."""
    sure, may = given[0]
    for s, m in given[1:]:
        sure, may = table.common(sure, s), table.union(may, m)
    return table.sets[sure], table.sets[may]
