"""Which item of an old list becomes which of a wanted one.

The order of a policy's lists means nothing, so equal items are matched wherever they stand: a list that people keep in
an order of their own is not sorted by an edit. Of the others, those that have most in common are the same item changed,
and what stands inside it, comments too, stays.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from netpol_gen.emit.edit.meaning import Role, reading
from netpol_gen.emit.edit.tree import equal

_MOST_COMPARED = 10_000
"""Pairs of items that are compared for what they have in common; of longer lists, items are taken in order."""


def align(old: Sequence[Any], wanted: Sequence[Any], role: Role) -> dict[int, int]:
    """Index in `old` to index in `wanted`, each at most once; `role` is the items'."""
    pairs = _equal(old, wanted, role)
    rest_old = [i for i in range(len(old)) if i not in pairs]
    taken = set(pairs.values())
    rest_new = [j for j in range(len(wanted)) if j not in taken]
    if len(rest_old) == len(rest_new) == 1:
        return pairs | {rest_old[0]: rest_new[0]}
    if len(rest_old) * len(rest_new) > _MOST_COMPARED:
        return pairs | dict(zip(rest_old, rest_new, strict=False))
    return pairs | _alike({i: old[i] for i in rest_old}, {j: wanted[j] for j in rest_new})


def _equal(old: Sequence[Any], wanted: Sequence[Any], role: Role) -> dict[int, int]:
    waiting: defaultdict[Any, list[int]] = defaultdict(list)
    for j, value in enumerate(wanted):
        waiting[_Plain(value) if (key := reading(value, role)) is None else key].append(j)
    pairs: dict[int, int] = {}
    for i, value in enumerate(old):
        if found := waiting.get(_Plain(value) if (key := reading(value, role)) is None else key):
            pairs[i] = found.pop(0)
    return pairs


class _Plain:
    """A value as a key: equal with its types, and cheap to tell apart from most others."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        return hash(self.value if isinstance(self.value, str | int) else type(self.value))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Plain) and equal(self.value, other.value)


def _alike(old: dict[int, Any], wanted: dict[int, Any]) -> dict[int, int]:
    """Greedily, those with most leaves in common first, then by their order."""
    leaves = {j: Counter(_leaves(value)) for j, value in wanted.items()}
    scored = []
    for i, value in old.items():
        mine = Counter(_leaves(value))
        scored += [(-(mine & theirs).total(), i, j) for j, theirs in leaves.items()]
    pairs: dict[int, int] = {}
    for score, i, j in sorted(scored):
        if score < 0 and i not in pairs and j not in pairs.values():
            pairs[i] = j
    return pairs


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            # Nearly every port is TCP: that two are says nothing.
            if key != "protocol":
                yield from _leaves(inner, (*path, key))
    elif isinstance(value, list) and value:
        for inner in value:
            yield from _leaves(inner, path)
    else:
        yield path, str(value)
