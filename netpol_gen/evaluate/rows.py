"""For one class of pods and one direction: which connections its policies let pass, for every possible peer at once.

A row is a partition of the universe into cells; all members of a cell get the same `(sure, may)` pair of connection
sets. Classes with the same policies share a row.
"""

from __future__ import annotations

from collections.abc import Sequence

from netpol_gen.evaluate.clauses import Clause, PortReader, Row, cells_of, merged
from netpol_gen.evaluate.match import PodView
from netpol_gen.evaluate.table import ALL_ID, ConnectionTable
from netpol_gen.evaluate.tiered import Tiers
from netpol_gen.evaluate.tierrows import TierRows
from netpol_gen.evaluate.universe import NOBODY, Universe
from netpol_gen.inventory.objects import ContainerPort
from netpol_gen.model import Direction
from netpol_gen.policy import ALL, NetworkPolicy, Rule


class RowMaker:
    """Rows of all classes under one set of policies."""

    def __init__(
        self, universe: Universe, policies: Sequence[NetworkPolicy], tiers: Tiers, table: ConnectionTable
    ) -> None:
        self._universe = universe
        self._policies = tuple(policies)
        self._table = table
        self._reader = PortReader(universe, table)
        self._tiers = TierRows(universe, tiers, table, self._reader)
        self._clauses: dict[tuple[int, Direction, tuple[ContainerPort, ...] | None], list[Clause]] = {}
        self._rows: dict[object, Row] = {}
        self._selecting = {d: self._find_selecting(d) for d in Direction}
        self._has_names = [_has_names(p) for p in self._policies]
        self.open: Row = [(universe.everybody, (ALL_ID, ALL_ID))]

    def _find_selecting(self, direction: Direction) -> list[list[int]]:
        """For each class the policies that select it."""
        out: list[list[int]] = [[] for _ in self._universe.views]
        for number, policy in enumerate(self._policies):
            if direction not in policy.policy_types:
                continue
            sure, _ = self._universe.selected(policy.pod_selector)
            left = sure & self._universe.in_namespace(policy.namespace)
            while left:
                low = left & -left
                out[low.bit_length() - 1].append(number)
                left ^= low
        return out

    def key(self, direction: Direction, position: int) -> object:
        """Classes with equal keys have equal rows."""
        view = self._universe.views[position]
        if not isinstance(view, PodView):
            return None
        chosen = tuple(self._selecting[direction][position])
        tiers = self._tiers.selecting(position)
        named = direction is Direction.INGRESS and (
            any(self._has_names[n] for n in chosen) or (tiers and self._tiers.has_names)
        )
        return (direction, chosen, tiers, (view.ports, view.ports_known) if named else None)

    def row(self, direction: Direction, position: int) -> Row:
        """The row of a class of pods: of those on their node's network, everything passes."""
        key = self.key(direction, position)
        found = self._rows.get(key)
        if found is None:
            found = self._rows[key] = self._make(direction, position)
        return found

    def _make(self, direction: Direction, position: int) -> Row:
        subject = self._universe.views[position]
        if not isinstance(subject, PodView):
            return self.open
        chosen = self._selecting[direction][position]
        namespaced: Row | None = None
        if chosen:
            clauses = [c for n in chosen for c in self._policy_clauses(n, direction, subject)]
            namespaced = cells_of(clauses, self._universe.everybody, self._table)
        tiers = self._tiers.selecting(position)
        if not tiers:
            return namespaced or self.open
        return merged(self._tiers.around(namespaced, tiers, direction, subject))

    def _policy_clauses(self, number: int, direction: Direction, subject: PodView) -> list[Clause]:
        # Only port names of the subject itself make a policy's ingress differ between the pods that it selects.
        looks = direction is Direction.INGRESS and self._has_names[number]
        key = (number, direction, subject.ports if looks and subject.ports_known else None)
        found = self._clauses.get(key)
        if found is None or (looks and not subject.ports_known):
            policy = self._policies[number]
            found = [c for r in policy.rules(direction) for c in self._rule_clauses(r, policy, direction, subject)]
            if not (looks and not subject.ports_known):
                self._clauses[key] = found
        return found

    def _rule_clauses(self, rule: Rule, policy: NetworkPolicy, direction: Direction, subject: PodView) -> list[Clause]:
        if rule.peers is ALL:
            everybody = (self._universe.everybody, self._universe.everybody)
            return self._reader.clauses(rule.ports, direction, subject, everybody, names=True)
        selected, blocks = NOBODY, NOBODY
        for peer in rule.peers:
            if peer.ip_block is not None:
                s, m = self._universe.block(peer.ip_block)
                blocks = (blocks[0] | s, blocks[1] | m)
            else:
                s, m = self._universe.peer(peer, policy.namespace)
                selected = (selected[0] | s, selected[1] | m)
        to_block = direction is Direction.EGRESS
        return [
            *self._reader.clauses(rule.ports, direction, subject, selected, names=True),
            *self._reader.clauses(rule.ports, direction, subject, blocks, names=not to_block),
        ]


def _has_names(policy: NetworkPolicy) -> bool:
    return any(
        isinstance(port.port, str) for rule in policy.ingress for port in (() if rule.ports is ALL else rule.ports)
    )
