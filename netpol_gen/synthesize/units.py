"""Which workloads share a policy: one each, unless labels cannot tell them apart."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from netpol_gen.model import Workload
from netpol_gen.selectors import LabelSelector
from netpol_gen.synthesize.subjects import Subject


@dataclass(frozen=True, slots=True)
class Unit:
    """A policy to be: its selector, the workload it is named after, and every workload that it selects."""

    workload: Workload
    selector: LabelSelector
    members: tuple[Workload, ...]

    @property
    def shared(self) -> tuple[Workload, ...]:
        """The others."""
        return tuple(m for m in self.members if m != self.workload)


def exact_units(subjects: Iterable[Subject]) -> list[Unit]:
    """One for every workload that can be told apart."""
    return [Unit(s.workload, s.selector, (s.workload,)) for s in subjects if s.selector is not None and not s.also]


def shared_units(subjects: Collection[Subject]) -> list[Unit]:
    """As few as cover every workload that cannot be told apart: the selectors that hit most come first."""
    units = [
        Unit(s.workload, s.selector, tuple(sorted((s.workload, *s.also))))
        for s in subjects
        if s.selector is not None and s.also
    ]
    covered: set[Workload] = set()
    out = []
    for unit in sorted(units, key=lambda u: (-len(u.members), u.workload)):
        if unit.workload not in covered:
            covered.update(unit.members)
            out.append(unit)
    return out
