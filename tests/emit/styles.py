"""The same values as people of different habits would write them, with comments everywhere."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

from netpol_gen.emit import yamltext


class Hand:
    """One person's way to write YAML. Comments are numbered, so that each can be told from all others."""

    def __init__(self, r: random.Random, *, anchors: bool = False) -> None:
        self.r = r
        self.step = r.choice((2, 2, 2, 3, 4))
        self.offset = r.choice((0, 0, 2, 1))
        self.gap = r.choice((2, 2, 2, 4))
        self.flow = r.choice((0.0, 0.1, 0.4))
        self.noise = r.choice((0.0, 0.1, 0.4))
        self.aliases = 0.3 if anchors else 0.0
        self.known: list[tuple[str, str]] = []
        self.count = 0

    def comment(self) -> str:
        self.count += 1
        return f"# note {self.count}: {self.r.choice(('why', '{}', 'a: b', '- x', '😀', '*a &b'))}"

    def document(self, value: Any) -> str:
        """One document, without dashes."""
        self.known = []
        return "".join(f"{line}\n" for line in self.block(value))

    def scalar(self, value: Any) -> str:
        if isinstance(value, str) and value.isprintable() and self.r.random() < 0.3:
            return "'" + value.replace("'", "''") + "'"
        if isinstance(value, str) and self.r.random() < 0.3:
            return json.dumps(value)
        return yamltext.dump(value)

    def flowed(self, value: Any) -> str:
        sep = self.r.choice((", ", ",", " , "))
        pad = self.r.choice(("", " "))
        end = self.r.choice(("", "", ","))
        if isinstance(value, dict) and value:
            inner = sep.join(f"{self.scalar(k)}: {self.flowed(v)}" for k, v in value.items())
            return f"{{{pad}{inner}{end}{pad}}}"
        if isinstance(value, list) and value:
            return f"[{pad}{sep.join(self.flowed(v) for v in value)}{end}{pad}]"
        return self.scalar(value)

    def above(self) -> list[str]:
        """What stands between two entries."""
        if self.r.random() >= self.noise:
            return []
        return self.r.choice(([""], [self.comment()], [self.comment(), self.comment()], ["", self.comment()]))

    def behind(self, line: str) -> str:
        return f"{line}  {self.comment()}" if self.r.random() < self.noise else line

    def hung(self, name: str, value: Any, pad: int) -> list[str]:
        """A value behind its key or dash."""
        same = json.dumps(value, sort_keys=True)
        names = [n for n, text in self.known if text == same]
        if names and self.r.random() < 0.6:
            return [self.behind(f"{name}*{self.r.choice(names)}")]
        anchor = ""
        if self.r.random() < self.aliases:
            self.count += 1
            anchor = f"a{self.count}"
        plain = not isinstance(value, dict | list) or not value or self.r.random() < self.flow
        if plain:
            lines = [self.behind(f"{name}{f'&{anchor} ' if anchor else ''}{self.flowed(value)}")]
        elif name.startswith("-") and not anchor:
            first, *rest = self.block(value, leading=False)
            lines = [name + first, *(" " * pad + line if line else line for line in rest)]
        else:
            inner = [" " * pad + line if line else line for line in self.block(value)]
            lines = [self.behind(f"{name}{f'&{anchor}' if anchor else ''}".rstrip()), *inner]
        if anchor:
            self.known.append((anchor, same))
        return lines

    def block(self, value: Any, *, leading: bool = True) -> list[str]:
        out: list[str] = []
        entries: Sequence[Any] = list(value.items()) if isinstance(value, dict) else value
        for i, entry in enumerate(entries):
            if i or leading:
                out += self.above()
            if isinstance(value, dict):
                key, inner = entry
                pad = self.step if isinstance(inner, dict) else self.offset
                out += self.hung(f"{self.scalar(key)}: ", inner, pad)
            else:
                out += self.hung("-".ljust(self.gap), entry, self.gap)
        return out


def shuffled(value: Any, r: random.Random) -> Any:
    """The same value with keys and items in another order."""
    if isinstance(value, dict):
        keys = list(value)
        r.shuffle(keys)
        return {key: shuffled(value[key], r) for key in keys}
    if isinstance(value, list):
        items = [shuffled(each, r) for each in value]
        r.shuffle(items)
        return items
    return value
