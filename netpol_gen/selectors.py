"""Label selectors, as the Kubernetes API defines them.

An *empty* selector selects everything; an *absent* one is `None` and selects nothing by itself. Both exist in
manifests and mean opposite things, so they are different values here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from netpol_gen.errors import InputError, Place, printable

_NAME = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_DNS1123_SUBDOMAIN = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
_MAX_PREFIX = 253


def valid_label_key(key: str) -> bool:
    """`[prefix/]name` as the API server accepts it."""
    prefix, slash, name = key.rpartition("/")
    if slash and not (len(prefix) <= _MAX_PREFIX and _DNS1123_SUBDOMAIN.fullmatch(prefix)):
        return False
    return _NAME.fullmatch(name) is not None


def valid_label_value(value: str) -> bool:
    """At most 63 characters of `[-A-Za-z0-9_.]`, or empty."""
    return value == "" or _NAME.fullmatch(value) is not None


class Operator(StrEnum):
    """Operators of a selector requirement."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, slots=True, order=True)
class Requirement:
    """One entry of `matchExpressions`; `values` are sorted and distinct."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """`NotIn` matches an absent key: that is what the API server does."""
        value = labels.get(self.key)
        match self.operator:
            case Operator.IN:
                return value is not None and value in self.values
            case Operator.NOT_IN:
                return value is None or value not in self.values
            case Operator.EXISTS:
                return value is not None
            case Operator.DOES_NOT_EXIST:
                return value is None


@dataclass(frozen=True, slots=True, order=True)
class LabelSelector:
    """`matchLabels` and `matchExpressions`, all of which must hold. `LabelSelector()` selects everything."""

    match_labels: tuple[tuple[str, str], ...] = ()
    match_expressions: tuple[Requirement, ...] = ()

    @classmethod
    def of(cls, labels: Mapping[str, str]) -> LabelSelector:
        """Selector for exactly these labels."""
        return cls(tuple(sorted(labels.items())))

    @property
    def is_empty(self) -> bool:
        """Whether it selects everything."""
        return not self.match_labels and not self.match_expressions

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is selected."""
        return all(labels.get(k) == v for k, v in self.match_labels) and all(
            r.matches(labels) for r in self.match_expressions
        )

    @property
    def keys(self) -> frozenset[str]:
        """Label keys that decide the outcome."""
        return frozenset(k for k, _ in self.match_labels) | frozenset(r.key for r in self.match_expressions)

    def normalised(self) -> LabelSelector:
        """One form for selectors of equal structure: single-valued `In` becomes a label, everything sorted."""
        labels = dict(self.match_labels)
        rest = set()
        for r in self.match_expressions:
            # A second value for one key (a selector that selects nothing) must stay an expression.
            if r.operator is Operator.IN and len(set(r.values)) == 1 and labels.get(r.key, r.values[0]) == r.values[0]:
                labels[r.key] = r.values[0]
            else:
                rest.add(Requirement(r.key, r.operator, tuple(sorted(set(r.values)))))
        return LabelSelector(tuple(sorted(labels.items())), tuple(sorted(rest)))

    def dump(self) -> dict[str, Any]:
        """The manifest form."""
        out: dict[str, Any] = {}
        if self.match_labels:
            out["matchLabels"] = dict(self.match_labels)
        if self.match_expressions:
            out["matchExpressions"] = [
                {"key": r.key, "operator": str(r.operator), **({"values": list(r.values)} if r.values else {})}
                for r in self.match_expressions
            ]
        return out

    def __str__(self) -> str:
        """`app=web,tier in (a,b)`; `<all>` for the empty selector."""
        if self.is_empty:
            return "<all>"
        return ",".join([*(f"{k}={v}" for k, v in self.match_labels), *(_show(r) for r in self.match_expressions)])


def _show(r: Requirement) -> str:
    match r.operator:
        case Operator.EXISTS:
            return r.key
        case Operator.DOES_NOT_EXIST:
            return f"!{r.key}"
        case Operator.IN | Operator.NOT_IN:
            return f"{r.key} {r.operator.lower()} ({','.join(r.values)})"


def parse_selector(data: Any, place: Place) -> LabelSelector:
    """A selector from a manifest. `data` may be `None` or `{}` (both empty: the caller decides what absence means).

    Raises:
        InputError: a wrong type, an unknown field, operator or an impossible value list, with the field's path.

    """
    if data is None:
        return LabelSelector()
    if not isinstance(data, Mapping):
        raise InputError(f"a label selector is a mapping, not {_kind(data)}", place)
    if unknown := sorted(str(k) for k in set(data) - {"matchLabels", "matchExpressions"}):
        raise InputError(f"unknown field {printable(unknown[0])} in a label selector", place)
    return LabelSelector(
        _parse_labels(data.get("matchLabels"), place.at("matchLabels")),
        _parse_requirements(data.get("matchExpressions"), place.at("matchExpressions")),
    )


def _parse_labels(data: Any, place: Place) -> tuple[tuple[str, str], ...]:
    if data is None:
        return ()
    if not isinstance(data, Mapping):
        raise InputError(f"matchLabels is a mapping, not {_kind(data)}", place)
    for key, value in data.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise InputError(f"label {printable(key)}: {printable(value)} is not a string (quote it)", place)
        _check_key(key, place)
        _check_value(value, place)
    return tuple(sorted(data.items()))


def _parse_requirements(data: Any, place: Place) -> tuple[Requirement, ...]:
    if data is None:
        return ()
    if not isinstance(data, list):
        raise InputError(f"matchExpressions is a list, not {_kind(data)}", place)
    return tuple(_parse_requirement(item, place.at(f"[{i}]")) for i, item in enumerate(data))


def _parse_requirement(item: Any, place: Place) -> Requirement:
    if not isinstance(item, Mapping):
        raise InputError(f"a requirement is a mapping, not {_kind(item)}", place)
    if unknown := sorted(str(k) for k in set(item) - {"key", "operator", "values"}):
        raise InputError(f"unknown field {printable(unknown[0])} in a requirement", place)
    key, operator, values = item.get("key"), item.get("operator"), item.get("values")
    if not isinstance(key, str):
        raise InputError("key is missing or not a string", place.at("key"))
    _check_key(key, place.at("key"))
    if operator not in tuple(Operator):
        raise InputError(f"{printable(operator)} is not In, NotIn, Exists or DoesNotExist", place.at("operator"))
    values = [] if values is None else values
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        raise InputError("values is a list of strings", place.at("values"))
    for value in values:
        _check_value(value, place.at("values"))
    wants = operator in (Operator.IN, Operator.NOT_IN)
    if wants != bool(values):
        raise InputError(f"{operator} {'needs' if wants else 'takes no'} values", place.at("values"))
    return Requirement(key, Operator(operator), tuple(sorted(set(values))))


def _check_key(key: str, place: Place) -> None:
    if not valid_label_key(key):
        raise InputError(f"{printable(key)} is not a label key", place)


def _check_value(value: str, place: Place) -> None:
    if not valid_label_value(value):
        raise InputError(f"{printable(value)} is not a label value", place)


def _kind(data: Any) -> str:
    return {list: "a list", dict: "a mapping", str: "a string", bool: "a boolean"}.get(type(data), type(data).__name__)
