"""Values as YAML that every reader understands alike, and back.

kubectl reads YAML 1.1 with JSON's types, others read 1.2. A string is written bare only where no version could take it
for a boolean, a number, a date or nothing; everything else is quoted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from typing import Any

import yaml

try:
    # libyaml writes the same text and is several times faster; not every platform's wheel has it.
    from yaml import CSafeDumper as SafeDumper
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # pragma: no cover - depends on the platform
    from yaml import SafeDumper, SafeLoader  # type: ignore[assignment]

WIDTH = 1 << 20
"""No value is longer: lines are never folded."""

# What begins with a letter or an underscore is a word in all versions, apart from these.
_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_CIDR4 = re.compile(r"\d{1,3}(\.\d{1,3}){3}/\d{1,2}")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf", "infinity"})


class _Dumper(SafeDumper):
    """Block style, no aliases, strings quoted unless they are plainly words."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _string(dumper: SafeDumper, value: str) -> yaml.ScalarNode:
    bare = (_BARE.fullmatch(value) and value.lower() not in _WORDS) or _CIDR4.fullmatch(value)
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if bare else '"')


_Dumper.add_representer(str, _string)


class DuplicateKeyError(yaml.YAMLError):
    """A mapping with a key twice: the last one wins in some readers, others refuse."""


class _Loader(SafeLoader):
    """As kubectl does, refuses a key that comes twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if len({repr(k) for k in keys}) != len(keys):
            raise DuplicateKeyError(f"a key comes twice in line {node.start_mark.line + 1}")
        return super().construct_mapping(node, deep)


def dump(value: Any) -> str:
    """Plain data as block YAML, without a newline at its end. Mappings keep their order."""
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=WIDTH, allow_unicode=False)
    # A lone scalar comes with an end-of-document mark.
    return text.removesuffix("\n...\n").removesuffix("\n")


def load(text: str) -> list[Any]:
    """The documents of a YAML text.

    Raises:
        yaml.YAMLError: not YAML, or a key that comes twice.

    """
    return list(yaml.load_all(text, Loader=_Loader))


def same(a: Any, b: Any) -> bool:
    """Equality of plain data with its types: unlike in Python, 1 is neither true nor 1.0."""
    return json.dumps(a, sort_keys=True, default=repr) == json.dumps(b, sort_keys=True, default=repr)
