"""Who held an address at a time.

Every pod claims its addresses from its start to its end, widened by the guard on both sides because clocks differ and a
record may be written late. One claim is an owner; two claims by different pods are no owner at all: the flow is
ambiguous, and a wrong guess would open a policy to a stranger. Claims become a step function per address, so that
millions of flows are looked up with two binary searches each.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from operator import itemgetter
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from netpol_gen.codes import ranked
from netpol_gen.errors import InvariantError
from netpol_gen.handovers import Handovers
from netpol_gen.inventory.base import Inventory
from netpol_gen.inventory.objects import Node, Pod, Service
from netpol_gen.model import Diagnostic
from netpol_gen.sets import Address, Interval, parse_address

Int64 = NDArray[np.int64]
Int32 = NDArray[np.int32]

_MIN = -(2**62)
_MAX = 2**62
"""Beyond every time: 2**62 ns is the year 2116."""


class Owner(IntEnum):
    """What an address is when it is not one pod; a pod is its index in `Inventory.pods`."""

    UNKNOWN_INSIDE = -1
    """Within the cluster's own ranges and nobody's at that time, or no address at all. Never an ipBlock."""
    AMBIGUOUS = -2
    """Changed hands too close to that time, or two pods claim it."""
    NODE = -3
    VIP = -4
    """A Service's cluster IP, external IP or load balancer address, now or at another time."""
    OUTSIDE = -5


@dataclass(frozen=True, slots=True)
class _Claim:
    """A pod's hold on one address, or a node's (`Owner.NODE`): inclusive, `None` open, sure to `sure_until`."""

    code: int
    pod: int
    start: int | None
    end: int | None
    sure_until: int | None


@dataclass(frozen=True, slots=True)
class _Steps:
    """Owners of all claimed addresses as one sorted table of (address code, time from which, owner)."""

    times: Int64
    """Distinct times, ascending; a time's rank in it stands for it, so that code and rank fit one 64-bit key."""
    keys: Int64
    owners: Int64

    def find(self, codes: Int64, times: Int64) -> Int64:
        """The step in force, for addresses that have steps."""
        ranks = np.searchsorted(self.times, np.clip(times, _MIN, _MAX - 1), side="right")
        key = codes * (len(self.times) + 1) + ranks
        return np.searchsorted(self.keys, key, side="right") - 1

    def codes_and_times(self) -> tuple[Int64, Int64]:
        """Of every step its address and the time from which it is in force."""
        codes, ranks = np.divmod(self.keys, len(self.times) + 1)
        return codes, self.times[ranks - 1]

    def throughout(self, codes: Int64, first: Int64, last: Int64) -> Int64:
        """The owner of each address from first to last, `AMBIGUOUS` where it changed."""
        at, then = self.find(codes, first), self.find(codes, last)
        return np.where(at == then, self.owners[at], int(Owner.AMBIGUOUS))


@dataclass(slots=True)
class Timeline:
    """Answers from an inventory. Make one with `build`; what is looked up often is remembered inside."""

    inventory: Inventory
    diagnostics: tuple[Diagnostic, ...]
    """`NPG210`: two pods alive at once with one address."""
    _claims: tuple[_Claim, ...]
    _codes: dict[Address, int]
    _contested: frozenset[int]
    _services: Mapping[Address, tuple[Service, ...]]
    _inside: tuple[Sequence[Interval], Sequence[Interval]]
    _known: dict[str, int] = field(default_factory=dict)
    _steps: dict[int, _Steps] = field(default_factory=dict)

    @classmethod
    def of(cls, inventory: Inventory) -> Self:
        """`build`, once for each inventory; what was looked up is forgotten with each answer."""
        kept = inventory.derived.get(cls)
        if kept is None:
            kept = inventory.derived[cls] = cls.build(inventory)
        return replace(kept, _known={})

    @classmethod
    def build(cls, inventory: Inventory) -> Self:
        """Index the claims of an inventory's pods.

        Pods on the host's network claim nothing: the address is the node's. A node claims what a pod holds at another
        time, as where both take their addresses from one subnet.
        """
        codes: dict[Address, int] = {}
        claims: list[_Claim] = []
        for index, pod in enumerate(inventory.pods):
            if pod.host_network:
                continue
            for address in dict.fromkeys(pod.addresses):
                code = codes.setdefault(address, len(codes))
                claims.append(_claim(code, index, pod))
        claims += _node_claims(inventory, codes)
        services = _by_address(inventory.services)
        inside = inventory.pod_ranges | inventory.service_ranges
        return cls(
            inventory,
            _duplicates(inventory.pods, claims, codes),
            tuple(claims),
            codes,
            frozenset(codes[a] for a in inventory.index.ever_at if a in codes),
            services,
            (inside.v4, inside.v6),
        )

    def owners(self, addresses: Iterable[Any], times: Int64, guard_ns: int) -> Int32:
        """Owner of `addresses[i]` at `times[i]` (nanoseconds since the epoch): a pod's index or an `Owner`.

        Addresses are text (or ASCII bytes, or `ipaddress` values), each distinct one parsed once. What is no address is
        `UNKNOWN_INSIDE`.
        """
        return self.owners_between(addresses, times, times, guard_ns)

    def owners_between(self, addresses: Iterable[Any], first: Int64, last: Int64, guard_ns: int) -> Int32:
        """Owner throughout `first[i]` to `last[i]`; `AMBIGUOUS` where it was not the same all that time."""
        return self._held(self._address_codes(addresses), first, last, guard_ns)

    def owners_of(self, distinct: Sequence[Any], which: Int64, first: Int64, last: Int64, guard_ns: int) -> Int32:
        """`owners_between` of `distinct[which[i]]`: no text is looked at for each time."""
        return self._held(self._codes_of(distinct, which), first, last, guard_ns)

    def groups_of(
        self, distinct: Sequence[Any], which: Int64, first: Int64, last: Int64, guard_ns: int, groups: Int64
    ) -> Int64:
        """Whose pods alone held `distinct[which[i]]` throughout, one after another or at once; `groups` is by pod.

        `AMBIGUOUS` where it was another group's at any time, nobody's, or not surely somebody's.
        """
        out = np.full(len(which), int(Owner.AMBIGUOUS), dtype=np.int64)
        codes = self._codes_of(distinct, which)
        at = np.flatnonzero(codes >= 0)
        if len(at):
            asked = set(codes[at].tolist())
            claims = _united((c for c in self._claims if c.code in asked), groups.tolist(), guard_ns)
            steps = _make_steps(claims, sorted(asked), self._contested, guard_ns)
            found = steps.throughout(codes[at], np.asarray(first)[at], np.asarray(last)[at])
            out[at] = np.where(found >= 0, found, int(Owner.AMBIGUOUS))
        return out

    def handovers(self, guard_ns: int) -> Handovers:
        """When addresses get another owner, nobody or doubt among them: what no row of flows may span.

        The first known holder's beginning is one, too: somebody may have gone before anybody looked.
        """
        if not self._codes:
            return Handovers()
        steps = self._steps_for(guard_ns)
        codes, times = steps.codes_and_times()
        texts = {code: str(address) for address, code in self._codes.items() if self._code(address) == code}
        place = np.full(len(self._codes), -1)
        changing = np.zeros(len(self._codes), dtype=bool)
        changes = (times > _MIN) & (times < _MAX)
        changing[codes[changes]] = True
        ordered = sorted(((text, code) for code, text in texts.items() if changing[code]))
        place[[code for _, code in ordered]] = np.arange(len(ordered))
        kept = np.flatnonzero(changes & (place[codes] >= 0))
        # Times of one address ascend already.
        kept = kept[np.argsort(place[codes[kept]], kind="stable")]
        offsets = np.searchsorted(place[codes[kept]], np.arange(len(ordered) + 1))
        return Handovers(tuple(text for text, _ in ordered), offsets, times[kept])

    def _codes_of(self, distinct: Sequence[Any], which: Int64) -> Int64:
        """The code of each `distinct[which[i]]`, as `_address_codes` has it."""
        used = np.zeros(len(distinct), dtype=bool)
        used[which] = True
        at = np.flatnonzero(used)
        codes = np.full(len(distinct), int(Owner.UNKNOWN_INSIDE), dtype=np.int64)
        codes[at] = self._address_codes([distinct[i] for i in at.tolist()])
        return codes[which]

    def _held(self, out: Int64, first: Int64, last: Int64, guard_ns: int) -> Int32:
        """From codes of claimed addresses to their owners."""
        first, last = np.asarray(first, dtype=np.int64), np.asarray(last, dtype=np.int64)
        if not len(out) == len(first) == len(last):
            raise InvariantError(f"{len(out)} addresses, {len(first)} and {len(last)} times")
        claimed = np.flatnonzero(out >= 0)
        if len(claimed):
            out[claimed] = self._steps_for(guard_ns).throughout(out[claimed], first[claimed], last[claimed])
        return out.astype(np.int32)

    def _steps_for(self, guard_ns: int) -> _Steps:
        if guard_ns < 0:
            raise InvariantError(f"a guard of {guard_ns} ns")
        steps = self._steps.get(guard_ns)
        if steps is None:
            steps = _make_steps(self._claims, range(len(self._codes)), self._contested, guard_ns)
            self._steps[guard_ns] = steps
        return steps

    def owner(self, address: Address | str, time: int, guard_ns: int) -> Pod | Owner:
        """One address at one time."""
        found = int(self.owners([str(address)], np.array([time], dtype=np.int64), guard_ns)[0])
        return Owner(found) if found < 0 else self.inventory.pods[found]

    def node_of(self, address: Address | str) -> Node | None:
        """The node that answers at an address."""
        parsed = _parse(address)
        return None if parsed is None else self.inventory.node_at(parsed)

    def services_of(self, address: Address | str) -> tuple[Service, ...]:
        """Services that have an address as cluster IP, external IP or load balancer address."""
        parsed = _parse(address)
        return () if parsed is None else self._services.get(parsed, ())

    def _address_codes(self, addresses: Iterable[Any]) -> Int64:
        """The code of each address that pods have claimed, and the `Owner` of each other one."""
        items = addresses.tolist() if isinstance(addresses, np.ndarray) else list(addresses)
        known = self._known
        for item in set(items).difference(known):
            known[item] = self._code(item)
        return np.fromiter(map(known.__getitem__, items), dtype=np.int64, count=len(items))

    def _code(self, item: Any) -> int:
        address = _parse(item)
        if address is None:
            return int(Owner.UNKNOWN_INSIDE)
        node, code = self.inventory.node_at(address), self._codes.get(address)
        if code is not None:
            return code
        if node is not None:
            return int(Owner.NODE)
        if address in self.inventory.index.ever_at:
            return int(Owner.VIP)
        return int(Owner.UNKNOWN_INSIDE if _within(address, self._inside) else Owner.OUTSIDE)


def _parse(item: Any) -> Address | None:
    if isinstance(item, ipaddress.IPv4Address):
        return item
    try:
        text = item.decode("ascii", "replace") if isinstance(item, bytes) else str(item)
        address = item if isinstance(item, ipaddress.IPv6Address) else parse_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _within(address: Address, inside: tuple[Sequence[Interval], Sequence[Interval]]) -> bool:
    ranges = inside[0] if isinstance(address, ipaddress.IPv4Address) else inside[1]
    value = int(address)
    low, high = 0, len(ranges)
    while low < high:
        middle = (low + high) // 2
        if ranges[middle][1] < value:
            low = middle + 1
        else:
            high = middle
    return low < len(ranges) and ranges[low][0] <= value


def _by_address(services: Iterable[Service]) -> Mapping[Address, tuple[Service, ...]]:
    out: dict[Address, list[Service]] = {}
    for service in services:
        for address in dict.fromkeys((*service.cluster_ips, *service.external_ips)):
            out.setdefault(address, []).append(service)
    return {address: tuple(found) for address, found in out.items()}


def _claim(code: int, index: int, pod: Pod) -> _Claim:
    sure = pod.unsure_from
    if pod.ended is None and sure is None and not pod.live:
        # Completed at an unknown time: nobody can say when the address became free.
        sure = _MIN if pod.started is None else pod.started
    return _Claim(code, index, pod.started, pod.ended, sure)


def _node_claims(inventory: Inventory, codes: Mapping[Address, int]) -> Iterator[_Claim]:
    """Claims of nodes to their own addresses, where pods have claims."""
    spans: dict[tuple[str, Address], tuple[int | None, int | None, int | None]] = {}
    lives: dict[str, tuple[int | None, int | None, int | None]] = {}
    for versions in inventory.index.past.nodes:
        first, last = versions[0], versions[-1]
        lives[last.value.name] = (first.since, last.until, last.sure_until)
        for each in versions:
            for address in codes.keys() & set(each.value.addresses):
                start = spans.get((each.value.name, address), (each.since,))[0]
                spans[each.value.name, address] = (start, each.until, each.sure_until)
    for node in inventory.nodes.values():
        for address in codes.keys() & set(node.addresses):
            # Pods name addresses of their node that its object does not have.
            spans.setdefault((node.name, address), lives.get(node.name, (None, None, None)))
    for (_, address), (start, until, sure) in sorted(spans.items(), key=lambda item: (item[0][0], str(item[0][1]))):
        yield _Claim(codes[address], int(Owner.NODE), start, until, sure)


def _united(claims: Iterable[_Claim], groups: Sequence[int], guard: int) -> list[_Claim]:
    """Claims of groups instead of pods: sure ones that leave no time between them, with the guard, are one."""
    out: list[_Claim] = []
    sure: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for claim in claims:
        group = groups[claim.pod] if claim.pod >= 0 else claim.pod
        if claim.sure_until is not None:
            out.append(replace(claim, pod=group))
            continue
        start, end = _MIN if claim.start is None else claim.start, _MAX if claim.end is None else claim.end
        sure.setdefault((claim.code, group), []).append((start, end))
    for (code, group), spans in sure.items():
        spans.sort(key=itemgetter(0))
        start, end = spans[0]
        for begin, until in spans[1:]:
            if begin - guard > end + guard + 1:
                out.append(_Claim(code, group, start, end, None))
                start = begin
                end = until
            end = max(end, until)
        out.append(_Claim(code, group, start, end, None))
    return out


def _make_steps(claims: Sequence[_Claim], addresses: Iterable[int], contested: frozenset[int], guard: int) -> _Steps:
    """Sum the openings and closings of claims over time, for every address at once."""
    rows: list[tuple[int, int, int, int, int]] = []
    for code in addresses:
        # A step from the beginning of time, so that every look-up finds one; contested addresses have no owner.
        rows.append((code, _MIN, 0, 0, int(code in contested)))
        rows.append((code, _MAX, 0, 0, -int(code in contested)))
    for c in claims:
        low = _MIN if c.start is None else _clip(c.start - guard)
        high = _MAX if c.end is None else max(low, _clip(c.end + guard + 1))
        rows.append((c.code, low, 1, c.pod, 0))
        rows.append((c.code, high, -1, -c.pod, 0))
        if c.sure_until is not None:
            unsure = min(max(_clip(c.sure_until + 1), low), high)
            rows.append((c.code, unsure, 0, 0, 1))
            rows.append((c.code, high, 0, 0, -1))
    table = np.array(rows, dtype=np.int64).reshape(-1, 5)
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    codes, times = table[:, 0], table[:, 1]
    # Every claim is closed at the end of its address, so running sums start from zero at the next one.
    count, pod, unsure_count = (np.cumsum(table[:, column]) for column in (2, 3, 4))
    owners = np.where(count == 1, pod, int(Owner.UNKNOWN_INSIDE))
    owners = np.where((count > 1) | ((unsure_count > 0) & (count > 0)), int(Owner.AMBIGUOUS), owners)
    last = np.append((codes[1:] != codes[:-1]) | (times[1:] != times[:-1]), True)  # of the events at one time
    codes, times, owners = codes[last], times[last], owners[last]
    # Neighbours with one owner become one step: then "the same step" means "the same owner all the while".
    change = np.append(True, (codes[1:] != codes[:-1]) | (owners[1:] != owners[:-1]))
    codes, times, owners = codes[change], times[change], owners[change]
    moments, number = ranked(times)
    return _Steps(moments, codes * (len(moments) + 1) + number + 1, owners)


def _clip(time: int) -> int:
    return min(max(time, _MIN), _MAX)


def _duplicates(pods: Sequence[Pod], claims: Iterable[_Claim], codes: Mapping[Address, int]) -> tuple[Diagnostic, ...]:
    """Addresses that two or more pods hold now: a broken dump, or pods that share an address in a way unknown here."""
    alive: dict[int, list[int]] = {}
    for claim in claims:
        if claim.pod >= 0 and pods[claim.pod].live and not pods[claim.pod].observed:
            alive.setdefault(claim.code, []).append(claim.pod)
    out = []
    for address, code in codes.items():
        holders = alive.get(code, [])
        if len(holders) > 1:
            names = ", ".join(f"{pods[i].namespace}/{pods[i].name}" for i in holders[:3])
            text = f"{len(holders)} living pods hold this address ({names}); its flows are ambiguous"
            out.append(Diagnostic("NPG210", str(address), text))
    return tuple(sorted(out))
