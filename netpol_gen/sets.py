"""Exact sets of ports, connections and addresses, as sorted disjoint intervals.

`PortSet` is a set of ports 1-65535, `ConnectionSet` one `PortSet` per protocol, `AddressSet` a set of IPv4 and IPv6
addresses. All are immutable, hashable, and obey the laws of sets (`tests/test_sets.py` names them).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Self

from netpol_gen.model import Protocol

MIN_PORT = 1
MAX_PORT = 65535

Interval = tuple[int, int]
"""Inclusive at both ends."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@lru_cache(maxsize=1 << 14)
def parse_address(text: str) -> Address:
    """`ipaddress.ip_address` of a text, which flows, inventory and look-ups say again: each time takes 6 µs.

    Raises:
        ValueError: it is no address.

    """
    return ipaddress.ip_address(text)


def merge_intervals(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """Sorted, disjoint and not even touching."""
    out: list[Interval] = []
    for low, high in sorted(intervals):
        if out and low <= out[-1][1] + 1:
            if high > out[-1][1]:
                out[-1] = (out[-1][0], high)
        else:
            out.append((low, high))
    return tuple(out)


def intersect_intervals(a: tuple[Interval, ...], b: tuple[Interval, ...]) -> tuple[Interval, ...]:
    """Both already merged."""
    out: list[Interval] = []
    i = j = 0
    while i < len(a) and j < len(b):
        low, high = max(a[i][0], b[j][0]), min(a[i][1], b[j][1])
        if low <= high:
            out.append((low, high))
        if a[i][1] < b[j][1]:
            i += 1
        else:
            j += 1
    return tuple(out)


def subtract_intervals(a: tuple[Interval, ...], b: tuple[Interval, ...]) -> tuple[Interval, ...]:
    """What is in `a` and not in `b`, both already merged."""
    out: list[Interval] = []
    j = 0
    for low, high in a:
        start = low
        while j < len(b) and b[j][1] < start:
            j += 1
        k = j
        while k < len(b) and b[k][0] <= high:
            if b[k][0] > start:
                out.append((start, b[k][0] - 1))
            start = b[k][1] + 1
            k += 1
        if start <= high:
            out.append((start, high))
    return tuple(out)


@dataclass(frozen=True, slots=True)
class PortSet:
    """A set of ports, as merged inclusive intervals within 1-65535."""

    intervals: tuple[Interval, ...] = ()

    @classmethod
    def of(cls, *ports: int | Interval) -> PortSet:
        """From single ports and inclusive ranges."""
        return cls(merge_intervals((p, p) if isinstance(p, int) else p for p in ports))

    @classmethod
    def everything(cls) -> PortSet:
        """Ports 1-65535."""
        return cls(((MIN_PORT, MAX_PORT),))

    def __or__(self, other: PortSet) -> PortSet:
        """Union."""
        if not other.intervals or self.intervals == other.intervals:
            return self
        return PortSet(merge_intervals((*self.intervals, *other.intervals))) if self.intervals else other

    def __and__(self, other: PortSet) -> PortSet:
        """Intersection."""
        return PortSet(intersect_intervals(self.intervals, other.intervals))

    def __sub__(self, other: PortSet) -> PortSet:
        """Difference."""
        return PortSet(subtract_intervals(self.intervals, other.intervals))

    def __contains__(self, port: int) -> bool:
        """Membership."""
        return any(low <= port <= high for low, high in self.intervals)

    def __le__(self, other: PortSet) -> bool:
        """Subset."""
        return not (self - other)

    def __bool__(self) -> bool:
        """Whether it has any port."""
        return bool(self.intervals)

    def __len__(self) -> int:
        """How many ports."""
        return sum(high - low + 1 for low, high in self.intervals)

    def __iter__(self) -> Iterator[int]:
        """Ports in ascending order."""
        for low, high in self.intervals:
            yield from range(low, high + 1)

    def __str__(self) -> str:
        """`80,443,8000-8010`."""
        return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in self.intervals)


NO_PORTS = PortSet()
ALL_PORTS = PortSet.everything()


@dataclass(frozen=True, slots=True)
class ConnectionSet:
    """Ports per protocol. What lies outside TCP, UDP and SCTP is undefined in NetworkPolicy and not held here."""

    tcp: PortSet = NO_PORTS
    udp: PortSet = NO_PORTS
    sctp: PortSet = NO_PORTS

    ALL: ClassVar[Self]
    NONE: ClassVar[Self]

    @classmethod
    def of(cls, protocol: Protocol, ports: PortSet) -> ConnectionSet:
        """One protocol."""
        return cls(**{protocol.lower(): ports})

    def ports(self, protocol: Protocol) -> PortSet:
        """The ports of one protocol."""
        match protocol:
            case Protocol.TCP:
                return self.tcp
            case Protocol.UDP:
                return self.udp
            case Protocol.SCTP:
                return self.sctp

    def __or__(self, other: ConnectionSet) -> ConnectionSet:
        """Union."""
        return ConnectionSet(self.tcp | other.tcp, self.udp | other.udp, self.sctp | other.sctp)

    def __and__(self, other: ConnectionSet) -> ConnectionSet:
        """Intersection."""
        return ConnectionSet(self.tcp & other.tcp, self.udp & other.udp, self.sctp & other.sctp)

    def __sub__(self, other: ConnectionSet) -> ConnectionSet:
        """Difference."""
        return ConnectionSet(self.tcp - other.tcp, self.udp - other.udp, self.sctp - other.sctp)

    def __le__(self, other: ConnectionSet) -> bool:
        """Subset."""
        return self.tcp <= other.tcp and self.udp <= other.udp and self.sctp <= other.sctp

    def __bool__(self) -> bool:
        """Whether anything is in it."""
        return bool(self.tcp or self.udp or self.sctp)

    def __str__(self) -> str:
        """`TCP 8080,8443; UDP 53`, or `all`, or `none`."""
        if self == ConnectionSet.ALL:
            return "all"
        parts = [f"{p} {self.ports(p)}" for p in Protocol if self.ports(p)]
        return "; ".join(parts) or "none"


ConnectionSet.ALL = ConnectionSet(ALL_PORTS, ALL_PORTS, ALL_PORTS)
ConnectionSet.NONE = ConnectionSet()

_V4_MAX = (1 << 32) - 1
_V6_MAX = (1 << 128) - 1


def network_interval(network: Network) -> Interval:
    """First and last address as integers."""
    return int(network.network_address), int(network.broadcast_address)


@dataclass(frozen=True, slots=True)
class AddressSet:
    """Addresses of both families, each as merged inclusive integer intervals."""

    v4: tuple[Interval, ...] = ()
    v6: tuple[Interval, ...] = ()

    @classmethod
    def of(cls, *networks: Network | Address) -> AddressSet:
        """From networks and single addresses."""
        v4: list[Interval] = []
        v6: list[Interval] = []
        for item in networks:
            if isinstance(item, ipaddress.IPv4Network | ipaddress.IPv6Network):
                interval = network_interval(item)
            else:
                interval = (int(item), int(item))
            (v4 if item.version == 4 else v6).append(interval)
        return cls(merge_intervals(v4), merge_intervals(v6))

    @classmethod
    def everything(cls) -> AddressSet:
        """0.0.0.0/0 and ::/0."""
        return cls(((0, _V4_MAX),), ((0, _V6_MAX),))

    def __or__(self, other: AddressSet) -> AddressSet:
        """Union."""
        return AddressSet(merge_intervals((*self.v4, *other.v4)), merge_intervals((*self.v6, *other.v6)))

    def __and__(self, other: AddressSet) -> AddressSet:
        """Intersection."""
        return AddressSet(intersect_intervals(self.v4, other.v4), intersect_intervals(self.v6, other.v6))

    def __sub__(self, other: AddressSet) -> AddressSet:
        """Difference."""
        return AddressSet(subtract_intervals(self.v4, other.v4), subtract_intervals(self.v6, other.v6))

    def __le__(self, other: AddressSet) -> bool:
        """Subset."""
        return not (self - other)

    def __bool__(self) -> bool:
        """Whether it has any address."""
        return bool(self.v4 or self.v6)

    def __contains__(self, address: Address) -> bool:
        """Membership."""
        value = int(address)
        side = self.v4 if isinstance(address, ipaddress.IPv4Address) else self.v6
        return any(low <= value <= high for low, high in side)

    def __len__(self) -> int:
        """How many addresses; use `size` where IPv6 ranges exceed what `len` can return."""
        return self.size

    @property
    def size(self) -> int:
        """How many addresses, both families together."""
        return sum(high - low + 1 for low, high in (*self.v4, *self.v6))

    def networks(self) -> tuple[Network, ...]:
        """The smallest list of CIDRs that covers exactly this set, IPv4 first, ascending."""
        out: list[Network] = []
        for low, high in self.v4:
            out += ipaddress.summarize_address_range(ipaddress.IPv4Address(low), ipaddress.IPv4Address(high))
        for low, high in self.v6:
            out += ipaddress.summarize_address_range(ipaddress.IPv6Address(low), ipaddress.IPv6Address(high))
        return tuple(out)

    def __str__(self) -> str:
        """CIDRs joined by commas."""
        return ",".join(map(str, self.networks())) or "none"
