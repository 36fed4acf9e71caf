"""New values as text, in the habits of the document they go into."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from netpol_gen.emit import yamltext
from netpol_gen.emit.edit.source import Source
from netpol_gen.emit.edit.tree import Kind, Node

# JSON allows these as they are, YAML reads some of them as line breaks and refuses others.
_NOT_RAW = re.compile("[\x7f-\xa0\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Habits:
    """How a document is laid out: columns by which a mapping and a list lie deeper than the key above them."""

    mapping: int = 2
    sequence: int = 0
    gap: int = 2
    """Columns from a list's dash to its item."""
    json: bool = False


def habits_of(source: Source, root: Node) -> Habits:
    """What is most frequent in a tree; where two are equally so, the first."""
    if root.flow:
        pairs = root.pairs
        quoted = bool(pairs) and pairs[0][0].style == '"'
        step = source.column(pairs[0][0].start) - source.column(root.start) if pairs else 0
        return Habits(max(step, 1), json=quoted)
    mappings: Counter[int] = Counter()
    sequences: Counter[int] = Counter()
    gaps: Counter[int] = Counter()
    for node in root.walk():
        for key, value in node.pairs if not node.flow else ():
            if value.flow or value.anchored or not (value.items or value.pairs):
                continue
            inner = source.column(value.body) - source.column(key.start)
            (mappings if value.kind is Kind.MAPPING else sequences)[inner] += 1
            if value.kind is Kind.SEQUENCE and value.items[0].start > value.body + 1:
                gaps[value.items[0].start - value.body] += 1
    return Habits(
        _usual((m for m in mappings.elements() if m > 0), 2),
        _usual((s for s in sequences.elements() if s >= 0), 0),
        _usual((g for g in gaps.elements() if g < 10), 2),
    )


def _usual(values: Iterable[int], default: int) -> int:
    found = Counter(values).most_common(1)
    return found[0][0] if found else default


def is_block(value: Any) -> bool:
    """Whether block style can write a value: empty collections have brackets only."""
    return isinstance(value, dict | list) and bool(value)


def scalar_text(value: Any, habits: Habits) -> str:
    """A scalar or an empty collection."""
    if habits.json:
        return _NOT_RAW.sub(lambda m: f"\\u{ord(m[0]):04x}", json.dumps(value, ensure_ascii=False))
    return yamltext.dump(value)


def block_lines(value: Any, habits: Habits, gap: int = 0) -> list[str]:
    """The lines of a value, the first one at column 0. `gap` is that of its own dashes, if it is a list."""
    if isinstance(value, dict) and value:
        return [line for key, inner in value.items() for line in entry_lines(key, inner, habits)]
    if isinstance(value, list) and value:
        return [line for item in value for line in item_lines(item, habits, gap or habits.gap)]
    return [scalar_text(value, habits)]


def entry_lines(key: str, value: Any, habits: Habits) -> list[str]:
    """`key: value` as lines."""
    name = scalar_text(key, habits)
    if not is_block(value):
        return [f"{name}: {scalar_text(value, habits)}"]
    pad = " " * (habits.mapping if isinstance(value, dict) else habits.sequence)
    return [f"{name}:", *(pad + line for line in block_lines(value, habits))]


def item_lines(value: Any, habits: Habits, gap: int) -> list[str]:
    """`- value` as lines."""
    first, *rest = block_lines(value, habits)
    return [f"{'-'.ljust(gap)}{first}", *(" " * gap + line for line in rest)]


def flow_text(value: Any, habits: Habits) -> str:
    """A value in brackets, on one line."""
    if isinstance(value, Mapping) and value:
        return "{" + ", ".join(pair_text(key, inner, habits) for key, inner in value.items()) + "}"
    if isinstance(value, list) and value:
        return "[" + ", ".join(flow_text(item, habits) for item in value) + "]"
    return scalar_text(value, habits)


def pair_text(key: str, value: Any, habits: Habits) -> str:
    """`key: value` within braces."""
    return f"{scalar_text(key, habits)}: {flow_text(value, habits)}"


def json_lines(value: Any, habits: Habits) -> list[str]:
    """JSON over several lines, as `kubectl get -o json` writes it."""
    text = json.dumps(value, ensure_ascii=False, indent=habits.mapping)
    return _NOT_RAW.sub(lambda m: f"\\u{ord(m[0]):04x}", text).split("\n")
