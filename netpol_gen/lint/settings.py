"""Settings of `lint`, from `.netpol-gen-lint.toml` or the `[lint]` table of `netpol-gen.toml`.

```toml
broad-below = 0.5            # a rule that uses less than this share of what it allows is too broad (NPL021)
sensitive-ports = [22, 3389] # instead of the built-in list (NPL017)

[severity]
NPL003 = "error"             # info, warning, error or off

[[ignore]]
reason = "the old shop goes away in March"
rules = ["NPL001", "NPL002"]
path = "legacy/*.yaml"       # globs; what is left out matches everything
policy = "shop/*"            # namespace/name
```
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any

from netpol_gen.errors import OptionError, printable
from netpol_gen.model import Severity
from netpol_gen.ports.known import SENSITIVE

ANNOTATION = "netpol-gen.dev/lint-ignore"
"""On a NetworkPolicy: rule ids, comma-separated, that are not to be reported for it."""
FILE_NAME = ".netpol-gen-lint.toml"
OFF = "off"
_KNOWN = frozenset({"broad-below", "sensitive-ports", "severity", "ignore"})
_IGNORE = frozenset({"reason", "rules", "path", "policy"})


@dataclass(frozen=True, slots=True)
class Ignore:
    """Findings of `rules` at a path and about a policy are suppressed, for a reason that someone wrote down."""

    reason: str
    rules: frozenset[str]
    path: str = "*"
    policy: str = "*"

    def covers(self, rule: str, path: str, subject: str) -> bool:
        """Whether it suppresses a finding; `subject` is `namespace/name` or a namespace."""
        return rule in self.rules and fnmatchcase(path, self.path) and fnmatchcase(subject, self.policy)


@dataclass(frozen=True, slots=True)
class LintSettings:
    """`severity` by rule id; `None` turns a rule off."""

    severity: Mapping[str, Severity | None] = field(default_factory=lambda: MappingProxyType({}))
    ignore: tuple[Ignore, ...] = ()
    broad_below: float = 0.5
    sensitive_ports: frozenset[int] = SENSITIVE


def parse_settings(data: Any, where: str, known_rules: frozenset[str]) -> LintSettings:
    """Settings from TOML; `where` is the file, for messages.

    Raises:
        OptionError: an unknown key, rule or severity, or a value of the wrong type.

    """
    if not isinstance(data, dict):
        raise OptionError(f"{where}: a table is wanted")
    _only(data, _KNOWN, where)
    return LintSettings(
        MappingProxyType(_severities(data.get("severity", {}), f"{where}: severity", known_rules)),
        tuple(_ignore(entry, f"{where}: ignore", known_rules) for entry in _list(data, "ignore", where)),
        _share(data.get("broad-below", 0.5), f"{where}: broad-below"),
        frozenset(_port(p, f"{where}: sensitive-ports") for p in _list(data, "sensitive-ports", where))
        if "sensitive-ports" in data
        else SENSITIVE,
    )


def merge(first: LintSettings, second: LintSettings) -> LintSettings:
    """Both; where they differ the second wins."""
    default = LintSettings()
    return LintSettings(
        MappingProxyType({**first.severity, **second.severity}),
        (*first.ignore, *second.ignore),
        first.broad_below if second.broad_below == default.broad_below else second.broad_below,
        first.sensitive_ports if second.sensitive_ports == default.sensitive_ports else second.sensitive_ports,
    )


def check_rule(rule: str, where: str, known_rules: frozenset[str]) -> str:
    """A rule's id.

    Raises:
        OptionError: there is no such rule.

    """
    if rule not in known_rules:
        raise OptionError(f"{where}: there is no rule {printable(rule)}")
    return rule


def parse_severity(text: object, where: str) -> Severity | None:
    """`info`, `warning`, `error`, or `off` (`None`).

    Raises:
        OptionError: none of them.

    """
    if text == OFF:
        return None
    if text not in tuple(Severity):
        raise OptionError(f"{where}: {printable(text)} is not info, warning, error or off")
    return Severity(str(text))


def _severities(data: Any, where: str, known_rules: frozenset[str]) -> dict[str, Severity | None]:
    if not isinstance(data, dict):
        raise OptionError(f"{where}: a table of rule ids is wanted")
    return {check_rule(rule, where, known_rules): parse_severity(v, f"{where}: {rule}") for rule, v in data.items()}


def _ignore(entry: Any, where: str, known_rules: frozenset[str]) -> Ignore:
    if not isinstance(entry, dict):
        raise OptionError(f"{where}: tables are wanted ([[ignore]])")
    _only(entry, _IGNORE, where)
    texts = {k: entry.get(k, "*") for k in ("reason", "path", "policy")}
    if "reason" not in entry or not all(isinstance(v, str) and v for v in texts.values()):
        raise OptionError(f"{where}: an entry has a reason, rules, and perhaps path and policy, all of them texts")
    rules = _list(entry, "rules", where)
    if not rules or not all(isinstance(r, str) for r in rules):
        raise OptionError(f"{where}: rules is a list of rule ids")
    return Ignore(
        texts["reason"],
        frozenset(check_rule(r, where, known_rules) for r in rules),
        texts["path"],
        texts["policy"],
    )


def _only(data: dict[str, Any], known: frozenset[str], where: str) -> None:
    if unknown := sorted(set(data) - known):
        raise OptionError(f"{where}: unknown setting {printable(unknown[0])}")


def _list(data: dict[str, Any], key: str, where: str) -> list[Any]:
    value = data.get(key, [])
    if not isinstance(value, list):
        raise OptionError(f"{where}: {key} is a list")
    return value


def _share(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise OptionError(f"{where}: {printable(value)} is not a share from 0 to 1")
    return float(value)


def _port(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65535:
        raise OptionError(f"{where}: {printable(value)} is not a port")
    return value
