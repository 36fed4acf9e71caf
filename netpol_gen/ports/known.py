"""Ports whose number says what usually listens there, as far as that decides how carefully to open them.

A number is a hint, never evidence: `ports` marks, `lint` warns, nothing is decided by this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from netpol_gen.model import Protocol


@dataclass(frozen=True, slots=True)
class Known:
    """What a port is. `control`: whoever reaches it can read or change what runs (administration, debugging)."""

    what: str
    control: bool = True


_TCP: Mapping[int, Known] = MappingProxyType(
    {
        22: Known("SSH"),
        23: Known("Telnet"),
        135: Known("Windows RPC", control=False),
        139: Known("NetBIOS", control=False),
        445: Known("SMB", control=False),
        1099: Known("Java RMI and JMX"),
        2345: Known("Delve debugger"),
        2375: Known("Docker API without TLS"),
        2376: Known("Docker API"),
        2379: Known("etcd clients"),
        2380: Known("etcd peers"),
        3306: Known("MySQL", control=False),
        3389: Known("Remote Desktop"),
        4194: Known("cAdvisor"),
        5005: Known("Java debugger"),
        5432: Known("PostgreSQL", control=False),
        5678: Known("Python debugger"),
        5900: Known("VNC"),
        6060: Known("Go profiler"),
        6379: Known("Redis", control=False),
        6443: Known("Kubernetes API server"),
        8001: Known("kubectl proxy"),
        9200: Known("Elasticsearch", control=False),
        9229: Known("Node.js inspector"),
        9901: Known("Envoy administration"),
        10248: Known("kubelet health"),
        10249: Known("kube-proxy metrics"),
        10250: Known("kubelet API"),
        10255: Known("kubelet API without authentication"),
        10256: Known("kube-proxy health"),
        10257: Known("kube-controller-manager"),
        10259: Known("kube-scheduler"),
        11211: Known("memcached", control=False),
        15000: Known("Istio proxy administration"),
        27017: Known("MongoDB", control=False),
    }
)
_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "admin": "administration",
        "debug": "debugger",
        "debugger": "debugger",
        "delve": "Delve debugger",
        "jdwp": "Java debugger",
        "jmx": "Java RMI and JMX",
        "management": "administration",
        "mgmt": "administration",
        "pprof": "Go profiler",
        "profiler": "profiler",
        "profiling": "profiler",
        "ssh": "SSH",
    }
)

UDP_SERVICES: Mapping[int, str] = MappingProxyType(
    {
        53: "DNS",
        67: "DHCP",
        68: "DHCP",
        69: "TFTP",
        123: "NTP",
        161: "SNMP",
        162: "SNMP traps",
        500: "IKE",
        514: "syslog",
        1194: "OpenVPN",
        1812: "RADIUS",
        1813: "RADIUS accounting",
        3478: "STUN",
        4500: "IPsec",
        4789: "VXLAN",
        5353: "DNS",
        6081: "Geneve",
        8125: "StatsD",
        8472: "VXLAN",
        51820: "WireGuard",
    }
)
"""Numbers that are UDP at least as often as TCP."""

SENSITIVE: frozenset[int] = frozenset(_TCP)
"""TCP ports that the whole internet has no business with."""


def known_port(protocol: Protocol, number: int) -> Known | None:
    """What usually listens on a port, if the table has it."""
    return _TCP.get(number) if protocol is Protocol.TCP else None


def control_port(protocol: Protocol, number: int, names: tuple[str, ...] = ()) -> str:
    """What is administered or debugged there, from its number or its names; empty if nothing is known to be."""
    found = known_port(protocol, number)
    if found is not None and found.control:
        return found.what
    for name in names:
        for part in (name, *name.split("-")):
            if part in _NAMES:
                return _NAMES[part]
    return ""
