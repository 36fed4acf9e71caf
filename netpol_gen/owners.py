"""CODEOWNERS, as GitHub and GitLab read it: who is asked when a path changes.

The last matching line of a section speaks for a path; GitLab has several sections, GitHub one. Patterns are those of
`.gitignore` without negation. Owners are shown as they stand there, never turned into mentions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

PLACES = (".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS", ".gitlab/CODEOWNERS")
"""Where a forge looks, in its order; the first one there is counts."""
_SECTION = re.compile(r"\^?\[(?P<name>[^\]]+)\](\[\d+\])?\s*(?P<owners>.*)")
_WORD = re.compile(r"(?:\\.|[^\s\\])+")


@dataclass(frozen=True, slots=True)
class OwnerRule:
    """One line. `pattern` matches paths from the top of the repository; no owners means that nobody is asked."""

    section: str
    pattern: re.Pattern[str]
    owners: tuple[str, ...]


def read_codeowners(files: Mapping[str, bytes]) -> tuple[OwnerRule, ...]:
    """The rules of a repository, empty if it has no CODEOWNERS. Lines that a forge would not understand are skipped."""
    for place in PLACES:
        if place in files:
            return parse_codeowners(files[place].decode("utf-8", "replace"))
    return ()


def parse_codeowners(text: str) -> tuple[OwnerRule, ...]:
    """The rules of a file, in its order."""
    out: list[OwnerRule] = []
    section = ""
    section_owners: tuple[str, ...] = ()
    for line in text.splitlines():
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if found := _SECTION.fullmatch(stripped):
            section, section_owners = found["name"].strip().lower(), tuple(_owners(found["owners"].split()))
            continue
        words = _WORD.findall(stripped)
        if not words:
            continue
        pattern, owners = words[0], tuple(_owners(words[1:]))
        if not pattern.startswith("!"):
            out.append(OwnerRule(section, _matching(pattern), owners or section_owners))
    return tuple(out)


def owners_of(rules: Sequence[OwnerRule], path: str) -> tuple[str, ...]:
    """Who owns a path: of each section the last line that matches, joined in the order of the file."""
    last: dict[str, OwnerRule] = {}
    for rule in rules:
        if rule.pattern.fullmatch(path):
            last[rule.section] = rule
    return tuple(dict.fromkeys(owner for rule in last.values() for owner in rule.owners))


def _owners(words: Iterable[str]) -> Iterable[str]:
    for word in words:
        if word.startswith("#"):
            return
        if "@" in word:
            yield word


def _matching(pattern: str) -> re.Pattern[str]:
    """A pattern of `.gitignore` as an expression for whole paths.

    It is anchored if it has a slash anywhere but at its end; what it names may be a folder, and then all in it is meant
    (`docs/*` alone means the files of that folder only).
    """
    plain = pattern.replace("\\ ", " ").replace("\\#", "#")
    anchored = "/" in plain.rstrip("/")
    body = plain.strip("/")
    parts = [_part(part) for part in body.split("/")]
    text = "/".join(parts).replace("(?:.*)/", "(?:.*/)?").replace("/(?:.*)", "/.+")
    folder = plain.endswith("/")
    direct = anchored and not folder and body.rpartition("/")[2] == "*"
    tail = "/.+" if folder else "" if direct else "(?:/.+)?"
    return re.compile(("" if anchored else "(?:.+/)?") + text + tail, re.DOTALL)


def _part(part: str) -> str:
    if part == "**":
        return "(?:.*)"
    out = ""
    for char in part:
        out += "[^/]*" if char == "*" else "[^/]" if char == "?" else re.escape(char)
    return out
