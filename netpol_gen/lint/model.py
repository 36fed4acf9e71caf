"""Findings, rules and what rules look at, as values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from netpol_gen.errors import Place
from netpol_gen.model import Severity

if TYPE_CHECKING:
    import pandas as pd

    from netpol_gen.lint.material import Material

_RANK = {Severity.INFO: 0, Severity.WARNING: 1, Severity.ERROR: 2}


class Need(StrEnum):
    """What a rule cannot do without."""

    INVENTORY = "an inventory (-i)"
    FLOWS = "flows (--flows)"
    CNI = "the CNI (--cni)"


@dataclass(frozen=True, slots=True)
class Hit:
    """What a rule's check yields: where, about what, what is wrong, and the one-line fix for this very case."""

    place: Place
    subject: str
    message: str
    fix: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table. `why` and the default `severity` go into the reference; `id` never changes its meaning."""

    id: str
    name: str
    severity: Severity
    summary: str
    why: str
    check: Callable[[Material], Iterator[Hit]]
    needs: tuple[Need, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """A hit with its rule's id and severity. `suppressed` says why it does not count; empty if it does.

    `in_source`: it was the object's own annotation that suppressed it.
    """

    rule: str
    name: str
    severity: Severity
    place: Place
    subject: str
    message: str
    fix: str
    suppressed: str = ""
    in_source: bool = False

    @property
    def key(self) -> tuple[Any, ...]:
        """Total order: by place, then rule, then text."""
        p = self.place
        return (p.path, p.document, p.line, p.field, self.rule, self.subject, self.message)


@dataclass(frozen=True, slots=True)
class Report:
    """All findings in order, suppressed ones included.

    `not_run` has the rules that lacked something, with what; `looked_at` counts NetworkPolicies, `other` the objects in
    the given files that no rule looks at, by `Kind.group`.
    """

    findings: tuple[Finding, ...]
    not_run: tuple[tuple[str, str], ...] = ()
    looked_at: int = 0
    other: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def active(self) -> tuple[Finding, ...]:
        """Those that count."""
        return tuple(f for f in self.findings if not f.suppressed)

    def at_least(self, severity: Severity) -> tuple[Finding, ...]:
        """Active findings of a severity or worse."""
        return tuple(f for f in self.active if _RANK[f.severity] >= _RANK[severity])

    def to_frame(self) -> pd.DataFrame:
        """One line per finding; columns as in `COLUMNS`, Arrow-backed dtypes."""
        import pandas as pd  # noqa: PLC0415 - half a second that `--help` must not pay

        rows = [
            (
                f.rule,
                f.name,
                str(f.severity),
                f.place.path or None,
                f.place.document or None,
                f.place.line or None,
                f.place.field or None,
                f.subject,
                f.message,
                f.fix,
                f.suppressed or None,
            )
            for f in self.findings
        ]
        return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


COLUMNS: Mapping[str, str] = {
    "rule": "string[pyarrow]",
    "name": "string[pyarrow]",
    "severity": "string[pyarrow]",
    "file": "string[pyarrow]",
    "document": "int64[pyarrow]",
    "line": "int64[pyarrow]",
    "field": "string[pyarrow]",
    "subject": "string[pyarrow]",
    "message": "string[pyarrow]",
    "fix": "string[pyarrow]",
    "suppressed": "string[pyarrow]",
}
"""Columns of `Report.to_frame()`; `suppressed` is null for findings that count."""


def rank(severity: Severity) -> int:
    """0 is the least."""
    return _RANK[severity]
