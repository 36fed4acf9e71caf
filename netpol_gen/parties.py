"""The parties of a run by code, and the ways from what a record says of an end to its party."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from netpol_gen.codes import numbered, occurring
from netpol_gen.direction import port_key
from netpol_gen.identity import Facts
from netpol_gen.inventory import Inventory
from netpol_gen.inventory.objects import Pod
from netpol_gen.inventory.timeline import Owner, Timeline
from netpol_gen.model import External, ExternalKind, Party, Protocol
from netpol_gen.sets import AddressSet, parse_address

END = ("ip", "namespace", "pod", "labels", "workload", "entities", "uid")
"""What a flow table says of an end: the names of its columns without `src_` or `dst_`."""
PROTOCOLS = tuple(Protocol)
_PROTOCOL = {protocol: code for code, protocol in enumerate(PROTOCOLS)}
_PRIVATE = AddressSet.of(
    *map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))
)
AMBIGUOUS = -2
"""Party code of an address whose holder cannot be told."""


NOBODY, WORKLOAD, VIP = -1, 0, 1
KIND = {kind: number for number, kind in enumerate(ExternalKind, VIP + 1)}


@dataclass(frozen=True, slots=True, order=True)
class Vip:
    """A Service's address, not yet resolved to what stands behind it."""

    address: str


@dataclass(frozen=True, slots=True)
class Times:
    """The first and last time of each row (int64, nanoseconds), and how close to a hand-over is too close."""

    first: np.ndarray
    last: np.ndarray
    guard: int

    def of(self, rows: np.ndarray) -> Times:
        """Those of some rows."""
        return Times(self.first[rows], self.last[rows], self.guard)

    def whole(self, count: int) -> Times:
        """So many rows, each with all the time that any row has."""
        low = min(self.first.min(), self.last.min())
        high = max(self.first.max(), self.last.max())
        return Times(np.full(count, low), np.full(count, high), self.guard)


class Book:
    """Parties by code, and the ways from an end to its party."""

    def __init__(self, inventory: Inventory, timeline: Timeline) -> None:
        self.inventory = inventory
        self.timeline = timeline
        self.parties: list[Party | Vip] = []
        self._kinds: list[int] = []
        self._codes: dict[Party | Vip, int] = {}
        self._pod_party = np.array([self.code(self.party_of(pod)) for pod in inventory.pods], dtype=np.int64)
        self._pod_index = {_pod_key(pod): i for i, pod in enumerate(inventory.pods)}
        self.vips = {text: self.code(Vip(text)) for text in map(str, inventory.index.ever_at)}
        """Codes of the addresses of Services, be it at another time."""

    def code(self, party: Party | Vip) -> int:
        """The code of a party, a new one if need be."""
        if party not in self._codes:
            self._codes[party] = len(self.parties)
            self.parties.append(party)
            self._kinds.append(_kind(party))
        return self._codes[party]

    def kinds(self) -> np.ndarray:
        """What each party is: `WORKLOAD`, `VIP`, or one of `KIND`. One more at the end, for codes that are none."""
        return np.array([*self._kinds, NOBODY], dtype=np.int8)

    def pod_index(self, pod: Pod | None) -> int:
        """Index into the inventory's pods, -1 for none."""
        return -1 if pod is None else self._pod_index.get(_pod_key(pod), -1)

    def party_of(self, pod: Pod) -> Party:
        """The pod's workload, or its node if it shares the node's network."""
        if pod.host_network:
            # No podSelector matches it: it is its node (semantics 4.1 no. 17).
            return External(ExternalKind.NODE, str(pod.addresses[0]) if pod.addresses else "")
        return pod.workload

    def static(self, end: tuple[str, ...], fact: Facts, pod: Pod | None) -> int:
        """The party's code where it does not depend on time, else -1 (look the address up)."""
        address = end[0]
        if pod is not None:
            return self.code(self.party_of(pod))
        entities = fact.entities
        if "host" in entities and "remote-node" not in entities:
            return self.code(External(ExternalKind.OWN_NODE, address))
        if "kube-apiserver" in entities:
            return self.code(External(ExternalKind.API_SERVER, self.node_address(address)))
        if "remote-node" in entities:
            return self.code(External(ExternalKind.NODE, self.node_address(address)))
        if "ingress" in entities:
            return self.code(External(ExternalKind.INGRESS_PROXY, address))
        if not address:
            kind = ExternalKind.WORLD if any(e.startswith("world") for e in entities) else ExternalKind.UNKNOWN
            return self.code(External(kind))
        return -1

    def node_address(self, address: str) -> str:
        """The node's own address where the record shows another of its addresses (router, tunnel)."""
        node = self.timeline.node_of(parse_address(address)) if address else None
        if node is None or not node.addresses or parse_address(address) in node.addresses:
            return address
        return str(node.addresses[0])

    def at(
        self, addresses: Sequence[str], outside: np.ndarray, which: np.ndarray, static: np.ndarray, times: Times
    ) -> tuple[np.ndarray, np.ndarray]:
        """Party code (`AMBIGUOUS`: the address changed hands too close to the flow) and pod index per row.

        `which` is the end of each row. By end: its address, whether the source says that it is outside, and `static`.
        """
        out, pods = static[which], np.full(len(which), -1, dtype=np.int64)
        todo = np.flatnonzero(out < 0)
        if len(todo):
            asked = which[todo]
            found, pods[todo] = self.by_address(addresses, asked, times.of(todo))
            out[todo] = np.where(outside[asked], found, self._unless_private(found))
        return out, pods

    def _unless_private(self, codes: np.ndarray) -> np.ndarray:
        """The world at a private address is nobody known, where neither the source nor any pod range says more."""
        there = codes >= 0
        other: dict[int, int] = {}
        for code in occurring(codes[there], len(self.parties)).tolist():
            party = self.parties[code]
            if isinstance(party, External) and party.kind is ExternalKind.WORLD:
                address, ranges = parse_address(party.address), self.inventory.pod_ranges
                if address in _PRIVATE and not (ranges.v4 if address.version == 4 else ranges.v6):
                    other[code] = self.code(External(ExternalKind.UNKNOWN, party.address))
        if not other:
            return codes
        meant = np.arange(len(self.parties))
        meant[list(other)] = list(other.values())
        out = codes.copy()
        out[there] = meant[codes[there]]
        return out

    def by_address(self, addresses: Sequence[str], which: np.ndarray, times: Times) -> tuple[np.ndarray, np.ndarray]:
        """Owners of `addresses[which]` over each row's whole time span: party code and pod index.

        Where pods of one workload, and of no other, had the address one after the other, the pod is -1.
        """
        out, pods = self._by_each(addresses, which, times)
        doubt = np.flatnonzero(out == AMBIGUOUS)
        if len(doubt):
            of, asked = self.timeline, times.of(doubt)
            out[doubt] = of.groups_of(addresses, which[doubt], asked.first, asked.last, asked.guard, self._pod_party)
        return out, pods

    def _by_each(self, addresses: Sequence[str], which: np.ndarray, times: Times) -> tuple[np.ndarray, np.ndarray]:
        """The same for one pod throughout."""
        if len(which) <= len(addresses):
            return self._by_address(addresses, which, times)
        # Most addresses have one owner in all the time that is asked for: those are looked up once.
        asked = occurring(which, len(addresses))
        whole = times.whole(len(asked))
        party, pod = np.full(len(addresses), AMBIGUOUS, dtype=np.int64), np.full(len(addresses), -1, dtype=np.int64)
        party[asked], pod[asked] = self._by_address(addresses, asked, whole)
        out, pods = party[which], pod[which]
        again = np.flatnonzero(out == AMBIGUOUS)
        if len(again):
            out[again], pods[again] = self._by_address(addresses, which[again], times.of(again))
        return out, pods

    def _by_address(self, addresses: Sequence[str], which: np.ndarray, times: Times) -> tuple[np.ndarray, np.ndarray]:
        """The same, looking up every row by its time."""
        owner = self.timeline.owners_of(addresses, which, times.first, times.last, times.guard).astype(np.int64)
        out = np.full(len(owner), AMBIGUOUS, dtype=np.int64)
        pods = owner >= 0
        out[pods] = self._pod_party[owner[pods]]
        others = np.flatnonzero((owner < 0) & (owner != int(Owner.AMBIGUOUS)))
        example, number = numbered(owner[others], which[others])
        made = [
            self.code(self._address_party(Owner(value), addresses[at]))
            for value, at in zip(owner[others][example].tolist(), which[others][example].tolist(), strict=True)
        ]
        out[others] = np.array(made, dtype=np.int64)[number]
        return out, np.where(pods, owner, -1)

    def _address_party(self, owner: Owner, address: str) -> Party | Vip:
        ip = parse_address(address)
        if any(ip == known for known, _ in self.inventory.api_server):
            return External(ExternalKind.API_SERVER, address)
        match owner:
            case Owner.VIP:
                return Vip(address)
            case Owner.NODE:
                return External(ExternalKind.NODE, self.node_address(address))
            case Owner.OUTSIDE:
                return External(ExternalKind.WORLD, address)
            case _:
                return External(ExternalKind.UNKNOWN, address)

    @cached_property
    def listening(self) -> np.ndarray:
        """Keys of the ports that parties declare or that Services lead to, ascending."""
        keys: set[tuple[int, int, int]] = set()
        for owner, pod in zip(self._pod_party.tolist(), self.inventory.pods, strict=True):
            keys |= {(owner, _PROTOCOL[p.protocol], p.number) for p in pod.ports}
        for address, services in self.inventory.index.ever_at.items():
            vip = self.code(Vip(str(address)))
            ports = (port for each in services for version in each for port in version.value.ports)
            keys |= {(vip, _PROTOCOL[p.protocol], p.port) for p in ports}
        for backend in self.inventory.backends:
            namespace, _, name = backend.pod.partition("/")
            target = self.inventory.pod(namespace, name) if backend.pod else None
            if target is not None:
                keys.add((self.code(self.party_of(target)), _PROTOCOL[backend.protocol], backend.port))
        table = np.array(sorted(keys), dtype=np.int64).reshape(-1, 3)
        return port_key(table[:, 0], table[:, 1], table[:, 2])


def _kind(party: Party | Vip) -> int:
    return KIND[party.kind] if isinstance(party, External) else VIP if isinstance(party, Vip) else WORKLOAD


def _pod_key(pod: Pod) -> tuple[str, str, str, int]:
    return (pod.namespace, pod.name, pod.uid, pod.started or 0)
