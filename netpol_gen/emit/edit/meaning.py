"""When two pieces of a policy mean the same although they are written differently: their text is left alone then.

A piece is read as part of a policy that is otherwise empty, by the parser that reads all policies, so there is no
second opinion about defaults, empty lists and forms of selectors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any

from netpol_gen.emit.edit.tree import equal
from netpol_gen.errors import InputError, Place
from netpol_gen.policy import NetworkPolicy, parse_policy


class Role(Enum):
    """What part of a policy a value is; `PLAIN` is everything that means only itself."""

    OBJECT = "object"
    METADATA = "metadata"
    SPEC = "spec"
    SELECTOR = "selector"
    TYPES = "policyTypes"
    INGRESS = "ingress rules"
    EGRESS = "egress rules"
    INGRESS_RULE = "ingress rule"
    EGRESS_RULE = "egress rule"
    PEERS = "peers"
    PEER = "peer"
    PORTS = "ports"
    PORT = "port"
    BLOCK = "ipBlock"
    PLAIN = "plain"

    def under(self, key: str) -> Role:
        """The role of a field."""
        return _FIELDS.get(self, {}).get(key, Role.PLAIN)

    @property
    def item(self) -> Role:
        """The role of what is in a list."""
        return _ITEMS.get(self, Role.PLAIN)


_FIELDS: Mapping[Role, Mapping[str, Role]] = MappingProxyType(
    {
        Role.OBJECT: {"spec": Role.SPEC, "metadata": Role.METADATA},
        Role.SPEC: {
            "podSelector": Role.SELECTOR,
            "policyTypes": Role.TYPES,
            "ingress": Role.INGRESS,
            "egress": Role.EGRESS,
        },
        Role.INGRESS_RULE: {"from": Role.PEERS, "ports": Role.PORTS},
        Role.EGRESS_RULE: {"to": Role.PEERS, "ports": Role.PORTS},
        Role.PEER: {"podSelector": Role.SELECTOR, "namespaceSelector": Role.SELECTOR, "ipBlock": Role.BLOCK},
    }
)
_ITEMS: Mapping[Role, Role] = MappingProxyType(
    {
        Role.INGRESS: Role.INGRESS_RULE,
        Role.EGRESS: Role.EGRESS_RULE,
        Role.PEERS: Role.PEER,
        Role.PORTS: Role.PORT,
    }
)
_SPECS: Mapping[Role, Callable[[Any], Any]] = MappingProxyType(
    {
        Role.SPEC: lambda v: v,
        Role.SELECTOR: lambda v: {"podSelector": v},
        Role.TYPES: lambda v: {"policyTypes": v},
        Role.INGRESS: lambda v: {"ingress": v},
        Role.EGRESS: lambda v: {"egress": v},
        Role.INGRESS_RULE: lambda v: {"ingress": [v]},
        Role.EGRESS_RULE: lambda v: {"egress": [v]},
        Role.PEERS: lambda v: {"ingress": [{"from": v}]},
        Role.PEER: lambda v: {"ingress": [{"from": [v]}]},
        Role.PORTS: lambda v: {"ingress": [{"ports": v}]},
        Role.PORT: lambda v: {"ingress": [{"ports": [v]}]},
        Role.BLOCK: lambda v: {"ingress": [{"from": [{"ipBlock": v}]}]},
    }
)


def reading(value: Any, role: Role) -> NetworkPolicy | None:
    """A piece as the policy that it would make alone; `None` if its role has no meaning of its own or it is broken."""
    wrap = _SPECS.get(role)
    if wrap is None or (role is Role.TYPES and not value):
        # What an empty list of types means is decided by the rules beside it.
        return None
    try:
        return parse_policy({"metadata": {"name": "x"}, "spec": wrap(value)}, Place()).canonical()
    except InputError:
        return None


def same(old: Any, wanted: Any, role: Role) -> bool:
    """Whether two pieces mean the same."""
    if equal(old, wanted):
        return True
    found = reading(old, role)
    return found is not None and found == reading(wanted, role)


def absent(key: str, value: Any) -> bool:
    """Whether a field that is there means what it would mean if it were not.

    An empty selector is not among these: it selects everything.
    """
    return value is None or value == [] or (key == "matchLabels" and value == {})


def implied(key: str, wanted: Mapping[str, Any], role: Role) -> bool:
    """Whether a field of `wanted` need not be written where the old text has none."""
    if role is Role.PORT:
        return key == "protocol" and wanted[key] == "TCP"
    return role is Role.SPEC and same(dict(wanted), {k: v for k, v in wanted.items() if k != key}, role)
