"""What the YAML and the JSON reader hand over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Document:
    """One document that is not empty, numbered from 1 within its file.

    `items` are the entries of a top-level list named `items`, each with its line, decoded as they are asked for;
    `data["items"]` is empty then. Without such a list `items` is `None`.
    """

    number: int
    line: int
    data: Any
    items: Iterator[tuple[int, Any]] | None = None
