"""Numbers as cloud flow logs write them: whole ones, in digits, or with the `.0` of tables that made them fractions.

The engine's own casts round what is no whole number, and read `0x50`, `8_080` and `4e4`: a wrong port, without a word.
"""

from __future__ import annotations

import re

_WHOLE = r"\s*[+-]?[0-9]{1,18}(\.0{1,9})?\s*"
_ABSENT = r"\s*(-|null|none|nan|)\s*"


def whole(text: str, kind: str = "BIGINT") -> str:
    """SQL: the whole number that a text is, null where it is none.

    What is written the way the engine would write it is nearly all there is, and quicker to see than by a pattern.
    """
    number = f"try_cast({text} AS {kind})"
    written = f"WHEN {number}::VARCHAR = {text} THEN {number}"
    return f"CASE {written} WHEN regexp_full_match({text}, '{_WHOLE}') THEN {number} END"


def odd(text: str, number: str) -> str:
    """SQL: whether a value of which `whole` made nothing is there all the same."""
    return f"({number} IS NULL AND NOT regexp_full_match({text}, '{_ABSENT}', 'i'))"


def absent(word: object) -> bool:
    """Whether a value of a record stands for one that is not there."""
    return re.fullmatch(_ABSENT, str(word), re.ASCII | re.IGNORECASE) is not None


def read(word: object) -> int | None:
    """The same for a single value, to say in words what is wrong with a record."""
    text = str(word)
    return int(text.partition(".")[0]) if re.fullmatch(_WHOLE, text, re.ASCII) else None
