"""What a selector can hit: live pods and what templates will make, by namespace, indexed by label."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from netpol_gen.inventory import Inventory
from netpol_gen.inventory.objects import ContainerPort, Labels, Pod
from netpol_gen.model import Workload
from netpol_gen.selectors import LabelSelector
from netpol_gen.synthesize.volatile import per_instance


@dataclass(frozen=True, slots=True, order=True)
class Row:
    """Pods of one workload with the same labels and ports. Per-instance labels are gone: nothing may select on them."""

    workload: Workload
    labels: Labels
    ports: tuple[ContainerPort, ...]
    observed: bool = False
    """Known from flows only: the ports are not known, the labels perhaps not all."""


@dataclass(slots=True)
class _Namespace:
    rows: list[Row] = field(default_factory=list)
    by_label: dict[tuple[str, str], set[int]] = field(default_factory=dict)
    by_workload: dict[Workload, list[int]] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        index = len(self.rows)
        self.rows.append(row)
        self.by_workload.setdefault(row.workload, []).append(index)
        for label in row.labels:
            self.by_label.setdefault(label, set()).add(index)

    def select(self, selector: LabelSelector) -> list[int]:
        """Indices of the rows that a selector hits, ascending."""
        found = set(range(len(self.rows)))
        for label in selector.match_labels:
            found &= self.by_label.get(label, set())
        if selector.match_expressions:
            rest = LabelSelector((), selector.match_expressions)
            found = {i for i in found if rest.matches(dict(self.rows[i].labels))}
        return sorted(found)


class Universe:
    """Rows of every workload. `mentioned` are workloads that edges speak of."""

    def __init__(self, inventory: Inventory, mentioned: Collection[Workload]) -> None:
        """A workload whose pods have all ended counts only if an edge speaks of it."""
        self.inventory = inventory
        self._namespaces: dict[str, _Namespace] = {}
        self.host_network: set[Workload] = set()
        pods: dict[Workload, list[Pod]] = {}
        for pod in inventory.pods:
            pods.setdefault(pod.workload, []).append(pod)
        controllers = set(inventory.controllers)
        self.workloads = tuple(sorted({*pods, *controllers, *mentioned}))
        for workload in self.workloads:
            rows, host = self._rows(workload, pods.get(workload, ()), mentioned=workload in mentioned)
            if host:
                # No podSelector hits them (semantics 4.1 no. 17).
                self.host_network.add(workload)
                continue
            space = self._namespaces.setdefault(workload.namespace, _Namespace())
            for row in sorted(rows):
                space.add(row)

    def _rows(self, workload: Workload, pods: Iterable[Pod], *, mentioned: bool) -> tuple[set[Row], bool]:
        controller = self.inventory.workload(workload)
        dumped = [p for p in pods if not p.observed]
        chosen = [p for p in dumped if p.live]
        if controller is None and not chosen:
            # Ended pods never come back; they tell the labels of a workload that flows still speak of.
            chosen = (dumped or [p for p in pods if p.observed]) if mentioned else [p for p in pods if p.observed]
        rows = {_row(workload, p.labels, p.ports, p.observed) for p in chosen if not p.host_network}
        if controller is not None and not controller.host_network:
            rows.add(_row(workload, controller.template_labels, controller.ports))
        host = controller.host_network if controller is not None else bool(chosen) and not rows
        return rows, host

    def rows(self, workload: Workload) -> list[Row]:
        """What belongs to a workload."""
        space = self._namespaces.get(workload.namespace)
        return [space.rows[i] for i in space.by_workload.get(workload, ())] if space else []

    def namespace_rows(self, namespace: str) -> list[Row]:
        """Everything that a selector could hit in a namespace."""
        space = self._namespaces.get(namespace)
        return space.rows if space else []

    def selected(self, namespace: str, selector: LabelSelector) -> list[Row]:
        """What a selector hits there."""
        space = self._namespaces.get(namespace)
        return [space.rows[i] for i in space.select(selector)] if space else []


def _row(workload: Workload, labels: Labels, ports: tuple[ContainerPort, ...], observed: bool = False) -> Row:  # noqa: FBT001, FBT002
    kept = tuple(sorted((k, v) for k, v in labels if not per_instance(k)))
    return Row(workload, kept, tuple(sorted(ports)), observed)
