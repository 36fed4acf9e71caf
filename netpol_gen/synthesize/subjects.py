"""Which labels name a workload: its controller's own selector, else a ladder of stable keys.

A selector must hit every pod of the workload, those that the template will make next included, and no other pod of
the namespace. Where labels alone cannot do that, a key that only the others carry can (`DoesNotExist`); where that
fails too, the selector hits several workloads and says which.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

from netpol_gen.inventory import Inventory
from netpol_gen.model import Workload
from netpol_gen.selectors import LabelSelector, Operator, Requirement, valid_label_key, valid_label_value
from netpol_gen.synthesize.universe import Row, Universe
from netpol_gen.synthesize.volatile import per_instance, per_release, volatile

_IDENTITY = ("app.kubernetes.io/name", "app", "k8s-app", "name")
_PARTS = ("app.kubernetes.io/component", "component", "tier", "role")
_LADDER = (*_IDENTITY, *_PARTS, "app.kubernetes.io/instance", "release")
# Stable only as long as nobody releases: the last resort.
_VERSIONS = frozenset({"version", "release-version", "app-version", "track", "slot"})
_MAX_TRIES = 20_000


@dataclass(frozen=True, slots=True)
class Subject:
    """How a workload is selected. `selector` is `None` where nothing can, and `problem` says why.

    `also` are other workloads that the selector hits too: empty if it is exact.
    """

    workload: Workload
    selector: LabelSelector | None = None
    also: tuple[Workload, ...] = ()
    problem: str = ""

    @property
    def exact(self) -> bool:
        """Whether it selects this workload's pods and no other."""
        return self.selector is not None and not self.also


def choose(universe: Universe, workload: Workload) -> Subject:
    """The selector of a workload."""
    if workload in universe.host_network:
        return Subject(workload, problem="its pods share their node's network, where no policy selects them")
    own = universe.rows(workload)
    if not own:
        return Subject(workload, problem="none of its pods is known")
    base = _controller_selector(universe, workload, own)
    if base is None:
        candidates = stable_labels(universe, workload, own)
        if not candidates:
            return Subject(workload, problem="its pods carry no label that is theirs to keep")
        return _narrow(universe, workload, LabelSelector(), candidates)
    if _others(universe, workload, base):
        return _narrow(universe, workload, base, stable_labels(universe, workload, own))
    return Subject(workload, base)


def relies_on_version(inventory: Inventory, subject: Subject) -> bool:
    """Whether the selector, unless it is the controller's own, needs a label that a release may change."""
    controller = inventory.workload(subject.workload)
    own = controller.selector.keys if controller is not None and controller.selector is not None else frozenset()
    keys = subject.selector.keys if subject.selector is not None else frozenset()
    return any(key.rpartition("/")[2] in _VERSIONS or volatile(key) for key in keys - own)


def within(universe: Universe, workload: Workload, allowed: Mapping[str, str]) -> LabelSelector | None:
    """The smallest exact selector out of these labels only (a Service's selector), if there is one."""
    own = universe.rows(workload)
    labels = [(k, v) for k, v in stable_labels(universe, workload, own) if allowed.get(k) == v]
    if not labels:
        return None
    found = _narrow(universe, workload, LabelSelector(), labels, absent=False)
    return found.selector if found.exact else None


def _controller_selector(universe: Universe, workload: Workload, own: Sequence[Row]) -> LabelSelector | None:
    """The controller's own selector, without what changes with a release where it stays as exact without."""
    controller = universe.inventory.workload(workload)
    selector = controller.selector if controller is not None else None
    if selector is None or selector.is_empty or any(per_instance(k) for k in selector.keys):
        return None
    selector = selector.normalised()
    if not all(selector.matches(dict(row.labels)) for row in own if not row.observed):
        return None
    kept = LabelSelector(
        tuple((k, v) for k, v in selector.match_labels if not per_release(k)),
        tuple(r for r in selector.match_expressions if not per_release(r.key)),
    )
    if kept.is_empty or len(_others(universe, workload, kept)) > len(_others(universe, workload, selector)):
        return selector
    return kept


def _others(universe: Universe, workload: Workload, selector: LabelSelector) -> tuple[Workload, ...]:
    return tuple(sorted({r.workload for r in universe.selected(workload.namespace, selector)} - {workload}))


def stable_labels(universe: Universe, workload: Workload, own: Sequence[Row]) -> list[tuple[str, str]]:
    """Labels that every pod of the workload carries and will carry, best first."""
    common = set.intersection(*(set(row.labels) for row in own)) if own else set()
    names = _pod_names(universe, workload)
    kept = [
        (k, v) for k, v in common if valid_label_key(k) and valid_label_value(v) and not volatile(k) and v not in names
    ]
    return sorted(kept, key=_rank)


def _pod_names(universe: Universe, workload: Workload) -> frozenset[str]:
    """Names of single pods: a label with such a value names a pod, not the workload."""
    if workload.kind == "Pod":
        return frozenset()
    return frozenset(p.name for p in universe.inventory.pods_of(workload)) - {workload.name}


def _rank(label: tuple[str, str]) -> tuple[int, str, str]:
    key, value = label
    if key in _LADDER:
        return (_LADDER.index(key), key, value)
    return (len(_LADDER) + (key.rpartition("/")[2] in _VERSIONS), key, value)


def _narrow(
    universe: Universe,
    workload: Workload,
    base: LabelSelector,
    labels: Sequence[tuple[str, str]],
    *,
    absent: bool = True,
) -> Subject:
    """Add the fewest labels to `base` that leave only this workload; then, if need be, keys that must be absent."""
    given = set(base.match_labels)
    labels = [label for label in labels if label not in given]
    rest = LabelSelector((), base.match_expressions)
    hit = [dict(row.labels) for row in universe.selected(workload.namespace, base) if row.workload != workload]
    chosen = _fewest(labels, [_misses(labels, other) for other in hit], start=base.is_empty)
    extra = [labels[i] for i in chosen]
    selector = LabelSelector(tuple(sorted({*given, *extra})), rest.match_expressions)
    if absent and _others(universe, workload, selector):
        selector = _without(universe, workload, selector)
    return Subject(workload, selector, _others(universe, workload, selector))


def _misses(labels: Sequence[tuple[str, str]], other: Mapping[str, str]) -> int:
    """Which of the labels another pod does not carry, as bits."""
    return sum(1 << i for i, (k, v) in enumerate(labels) if other.get(k) != v)


def _without(universe: Universe, workload: Workload, selector: LabelSelector) -> LabelSelector:
    """Leave out, by a key that only they carry, those of the others that carry all of this workload's labels."""
    mine = {k for row in universe.rows(workload) for k, _ in row.labels}
    hit = [dict(r.labels) for r in universe.selected(workload.namespace, selector) if r.workload != workload]
    theirs = {k for other in hit for k in other if k not in mine and valid_label_key(k) and not volatile(k)}
    keys = sorted(theirs, key=lambda k: _rank((k, "")))
    chosen = _fewest(keys, [sum(1 << i for i, k in enumerate(keys) if k in other) for other in hit])
    absent = [Requirement(keys[i], Operator.DOES_NOT_EXIST) for i in chosen]
    return LabelSelector(selector.match_labels, tuple(sorted({*selector.match_expressions, *absent})))


def _fewest(items: Sequence[object], masks: Iterable[int], *, start: bool = False) -> tuple[int, ...]:
    """The smallest choice of items that tells apart all that can be told apart; the best ranked of equals.

    Each mask holds the items that exclude one other pod. `start`: the choice may not be empty, and holds a key of
    identity if there is one, so that `component` or `instance` alone never stands for a workload.
    """
    wanted = sorted({m for m in masks if m})
    identity = sum(1 << i for i, item in enumerate(items) if isinstance(item, tuple) and item[0] in _IDENTITY)
    if start:
        wanted.append(identity or (1 << len(items)) - 1)
    # A mask that contains another one is met whenever that one is.
    wanted = [m for m in wanted if not any(o != m and o & m == o for o in wanted)]
    for size in range(len(items) + 1):
        if comb(len(items), size) > _MAX_TRIES:
            break
        for choice in combinations(range(len(items)), size):
            bits = sum(1 << i for i in choice)
            if all(bits & m for m in wanted):
                return choice
    return _thinned(len(items), wanted)


def _thinned(count: int, wanted: Sequence[int]) -> tuple[int, ...]:
    """A choice without a needless item, where there are too many to try them all: the worst ranked go first."""
    bits = (1 << count) - 1
    for i in reversed(range(count)):
        less = bits & ~(1 << i)
        if all(less & m for m in wanted):
            bits = less
    return tuple(i for i in range(count) if bits >> i & 1)
