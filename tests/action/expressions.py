"""The expressions that `action.yml` uses, evaluated as the runner does; an unknown one is an error, not an empty text.

Null is the empty text where a text is wanted, texts are compared without regard to case, `&&` and `||` give an operand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<word>[A-Za-z_][\w-]*)|(?P<number>\d+)|(?P<sign>==|!=|&&|\|\||[!().]))"
)
EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
WORDS = {"true": True, "false": False, "null": None}


class UnknownExpressionError(Exception):
    """What the runner would make of it is not known here."""


@dataclass
class Parser:
    """One expression. `contexts` are the values by name; `failed` is whether an earlier step failed."""

    text: str
    contexts: Mapping[str, Any]
    failed: bool

    def __post_init__(self) -> None:
        self.tokens: list[tuple[str, str]] = []
        at = 0
        while self.text[at:].strip():
            found = TOKEN.match(self.text, at)
            if found is None:
                raise UnknownExpressionError(f"{self.text!r} at {at}")
            self.tokens.append((str(found.lastgroup), found[str(found.lastgroup)]))
            at = found.end()

    def value(self) -> Any:
        found = self.either()
        if self.tokens:
            raise UnknownExpressionError(f"{self.text!r}: {self.tokens[0][1]!r} is left over")
        return found

    def next_is(self, *signs: str) -> str:
        if self.tokens and self.tokens[0][0] == "sign" and self.tokens[0][1] in signs:
            return self.tokens.pop(0)[1]
        return ""

    def either(self) -> Any:
        left = self.both()
        while self.next_is("||"):
            right = self.both()
            left = left if truth(left) else right
        return left

    def both(self) -> Any:
        left = self.compared()
        while self.next_is("&&"):
            right = self.compared()
            left = right if truth(left) else left
        return left

    def compared(self) -> Any:
        left = self.negated()
        while sign := self.next_is("==", "!="):
            right = self.negated()
            left = equal(left, right) is (sign == "==")
        return left

    def negated(self) -> Any:
        if self.next_is("!"):
            return not truth(self.negated())
        if self.next_is("("):
            found = self.either()
            self.expect(")")
            return found
        return self.atom()

    def expect(self, sign: str) -> None:
        if not self.next_is(sign):
            raise UnknownExpressionError(f"{self.text!r}: {sign} is missing")

    def atom(self) -> Any:
        if not self.tokens:
            raise UnknownExpressionError(f"{self.text!r} ends too early")
        kind, token = self.tokens.pop(0)
        if kind == "text":
            return token[1:-1].replace("''", "'")
        if kind != "word":
            raise UnknownExpressionError(f"{self.text!r}: {token!r}")
        if token in WORDS:
            return WORDS[token]
        if self.next_is("("):
            self.expect(")")
            return self.call(token)
        return self.looked_up(token)

    def call(self, name: str) -> bool:
        if name not in {"always", "success", "failure"}:
            raise UnknownExpressionError(f"function {name}")
        return {"always": True, "success": not self.failed, "failure": self.failed}[name]

    def looked_up(self, name: str) -> Any:
        """A property of a context. Only the event may lack one: what an event is about depends on its name."""
        path, value = name, self.contexts.get(name)
        if name not in self.contexts:
            raise UnknownExpressionError(f"context {name}")
        while self.next_is("."):
            kind, key = self.tokens.pop(0)
            if kind != "word":
                raise UnknownExpressionError(f"{self.text!r}: {key!r}")
            path += f".{key}"
            if isinstance(value, Mapping) and key in value:
                value = value[key]
            elif path.startswith("github.event."):
                value = None
            elif re.fullmatch(r"steps\.[a-z-]+\.outputs\.[a-z-]+", path):
                value = ""
            else:
                raise UnknownExpressionError(f"{path} is nothing that is known")
        if isinstance(value, Mapping):
            raise UnknownExpressionError(f"{path} is no plain value")
        return value


def truth(value: Any) -> bool:
    return value not in (None, False, 0, "")


def equal(left: Any, right: Any) -> bool:
    if isinstance(left, str) and isinstance(right, str):
        return left.casefold() == right.casefold()
    if type(left) is type(right):
        return bool(left == right)
    if None in (left, right) and "" in (left, right):
        return True
    if None in (left, right):
        return False
    raise UnknownExpressionError(f"{left!r} compared with {right!r}")


def written(value: Any) -> str:
    return {None: "", True: "true", False: "false"}.get(value, str(value)) if not isinstance(value, str) else value


def filled(text: str, contexts: Mapping[str, Any]) -> str:
    """A text with its expressions replaced by their values."""
    return EXPRESSION.sub(lambda found: written(Parser(found[1], contexts, failed=False).value()), text)


def holds(condition: str, contexts: Mapping[str, Any], *, failed: bool) -> bool:
    """Whether a step's `if` lets it run. Without a function of the status, it means `success() && …`."""
    whole = EXPRESSION.fullmatch(condition.strip())
    text = whole[1] if whole else condition
    if not re.search(r"\b(always|success|failure)\(\)", text):
        text = f"success() && ({text})"
    return truth(Parser(text, contexts, failed).value())
