"""The fewest CIDRs that cover a set of addresses with at most so many addresses more. Exact, on the prefix tree.

Leaves are the largest CIDRs that hold nothing but wanted addresses; an inner node is the smallest CIDR over two
subtrees. A best cover consists of leaves and inner nodes only: any other block can shrink to one of them. For each
node `cost[s]` is the fewest extra addresses for which its subtree needs at least `s` CIDRs fewer than it has leaves;
children combine by a minimum over the ways to share `s`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from netpol_gen.sets import AddressSet, Network, network_interval

_NEVER = np.int64(1) << np.int64(62)
"""More than any budget, and twice it still fits."""
_Costs = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Cover:
    """CIDRs, IPv4 first, ascending; how many addresses were wanted and how many more they cover."""

    networks: tuple[Network, ...]
    wanted: int
    extra: int


@dataclass(slots=True)
class _Node:
    network: Network | None
    """`None` at the root that joins the two families: no CIDR covers both."""
    leaves: int
    size: int
    cost: _Costs
    whole: int
    """Extra addresses if this node's own CIDR is used; above every budget where it may not be."""
    children: tuple[_Node, _Node] | None = None


def cover(wanted: AddressSet, budget: int = 0, forbidden: AddressSet | None = None) -> Cover:
    """The fewest CIDRs over `wanted` with at most `budget` other addresses, none of them in `forbidden`.

    Of covers with the same number of CIDRs, one with the fewest extra addresses. `wanted` addresses that are forbidden
    are covered, alone.
    """
    exact = wanted.networks()
    if budget <= 0 or len(exact) <= 1:
        return Cover(exact, wanted.size, 0)
    budget = min(budget, int(_NEVER) - 1)
    blocked = forbidden or AddressSet()
    trees = [
        _tree(family, budget, blocked)
        for family in ([n for n in exact if n.version == 4], [n for n in exact if n.version == 6])
        if family
    ]
    root = trees[0] if len(trees) == 1 else _join(None, trees[0], trees[1], budget, int(_NEVER))
    saved = len(root.cost) - 1
    chosen: list[Network] = []
    _collect(root, saved, chosen)
    return Cover(tuple(chosen), wanted.size, int(root.cost[saved]))


def _tree(leaves: Sequence[Network], budget: int, forbidden: AddressSet) -> _Node:
    """`leaves` are sorted, disjoint CIDRs of one family. Recursion is as deep as an address is long."""
    if len(leaves) == 1:
        only = leaves[0]
        return _Node(only, 1, only.num_addresses, np.zeros(1, dtype=np.int64), 0)
    top = _common(leaves[0], leaves[-1])
    middle = int(top.network_address) + top.num_addresses // 2
    low, high = 0, len(leaves)
    while low < high:
        at = (low + high) // 2
        low, high = (at + 1, high) if int(leaves[at].network_address) < middle else (low, at)
    left, right = _tree(leaves[:low], budget, forbidden), _tree(leaves[low:], budget, forbidden)
    whole = top.num_addresses - left.size - right.size
    if whole > budget or touches(forbidden, top):
        whole = int(_NEVER)
    return _join(top, left, right, budget, whole)


def touches(addresses: AddressSet, network: Network) -> bool:
    """Whether a CIDR shares an address with a set, found by bisection."""
    low, high = network_interval(network)
    intervals = addresses.v4 if network.version == 4 else addresses.v6
    at = bisect_right(intervals, high, key=itemgetter(0))
    return at > 0 and intervals[at - 1][1] >= low


def _common(first: Network, last: Network) -> Network:
    """The smallest CIDR over two, both of one family."""
    differ = int(first.network_address) ^ int(last.network_address)
    length = min(first.prefixlen, last.prefixlen, first.max_prefixlen - differ.bit_length())
    return first.supernet(new_prefix=length)


def _join(network: Network | None, left: _Node, right: _Node, budget: int, whole: int) -> _Node:
    leaves = left.leaves + right.leaves
    cost = _share(left.cost, right.cost)
    if whole <= budget:
        longer = np.full(max(len(cost), leaves), _NEVER, dtype=np.int64)
        longer[: len(cost)] = cost
        cost = np.minimum(longer, whole)
    # `cost` never falls, so what the budget cannot pay lies at the end.
    cost = cost[: int(np.searchsorted(cost, budget, side="right"))]
    return _Node(network, leaves, left.size + right.size, cost, whole, (left, right))


def _share(a: _Costs, b: _Costs) -> _Costs:
    """`out[s]` = minimum of `a[i] + b[j]` over `i + j = s`; it never falls if neither of them does."""
    if len(a) > len(b):
        a, b = b, a
    out = np.full(len(a) + len(b) - 1, _NEVER, dtype=np.int64)
    for i, each in enumerate(a):
        view = out[i : i + len(b)]
        np.minimum(view, b + each, out=view)
    return out


def _collect(node: _Node, saved: int, out: list[Network]) -> None:
    """The CIDRs of a best cover that saves at least `saved`; splitting is preferred where it costs no more."""
    if saved == 0 and node.children is not None:
        for child in node.children:
            _collect(child, 0, out)
        return
    if node.children is None:
        if node.network is not None:
            out.append(node.network)
        return
    left, right = node.children
    target = int(node.cost[saved])
    for i in range(max(0, saved - len(right.cost) + 1), min(saved, len(left.cost) - 1) + 1):
        if int(left.cost[i]) + int(right.cost[saved - i]) == target:
            _collect(left, i, out)
            _collect(right, saved - i, out)
            return
    if node.network is not None:
        out.append(node.network)
