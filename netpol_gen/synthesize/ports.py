"""How a rule names a port: by number, or by the container port's name where all pods behind it agree."""

from __future__ import annotations

import re
from collections.abc import Sequence

from netpol_gen.config import Config, NamedPorts
from netpol_gen.model import Protocol
from netpol_gen.policy import PolicyPort
from netpol_gen.profiles import PROFILES
from netpol_gen.synthesize.universe import Row

_PORT_NAME = re.compile(r"(?=.{1,15}$)(?=.*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]*[a-z0-9])?")


def policy_port(protocol: Protocol, number: int, rows: Sequence[Row], config: Config) -> PolicyPort:
    """`rows` are the pods at the server's end; none if that is no pod."""
    named = config.named_ports is NamedPorts.AUTO and PROFILES[config.cni].port_names
    name = shared_name(protocol, number, rows) if named else ""
    return PolicyPort(protocol, name or number)


def shared_name(protocol: Protocol, number: int, rows: Sequence[Row]) -> str:
    """The name that means exactly this port on every one of the pods, the first of several; empty if there is none.

    A name resolves on each pod by itself (semantics 4.1 no. 10), so one that is missing or means another number
    somewhere would deny there what was seen. Pods known only from flows have declared nothing.
    """
    shared: set[str] | None = None
    for row in rows:
        if row.observed:
            return ""
        names = {p.name for p in row.ports if (p.number, p.protocol) == (number, protocol)}
        names = {n for n in names if _PORT_NAME.fullmatch(n) and _numbers(row, n, protocol) == {number}}
        shared = names if shared is None else shared & names
        if not shared:
            return ""
    return min(shared) if shared else ""


def _numbers(row: Row, name: str, protocol: Protocol) -> set[int]:
    return {p.number for p in row.ports if (p.name, p.protocol) == (name, protocol)}
