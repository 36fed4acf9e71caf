"""Comments of ours on a request of ours: one of each kind, edited rather than repeated."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from netpol_gen.errors import InvariantError
from netpol_gen.prbot.forge import Forge
from netpol_gen.prbot.marker import kind_of, marked, same

HELD = "held"
CLOSED = "closed"
OF_A_PROPOSAL = frozenset({"part", HELD, CLOSED})
"""Families of comments on a request that the bot opened itself; a review of that request is of another."""


def part(number: int) -> str:
    """The kind of a continuation; the body is the first part, so they begin with 2."""
    return f"part {number}"


def put(forge: Forge, number: int, wanted: Mapping[str, str], *, surplus: Collection[str] = ()) -> bool:
    """Have the comments in `wanted` (text by kind) on a request, each once. Whether anything had to change.

    A kind's first word is its family; other comments of ours of the families in `surplus` go. Comments by others, or
    without a mark, are never touched.
    """
    changed = False
    missing = {kind: _bounded(forge, marked(kind, text)) for kind, text in wanted.items()}
    for comment in forge.comments(number):
        kind = kind_of(comment.body) if comment.ours else ""
        text = missing.pop(kind, None)
        if text is not None and not same(comment.body, text):
            forge.edit_comment(number, comment.id, text)
            changed = True
        # A second one of a kind: two runs wrote it at the same time.
        elif text is None and kind and (kind in wanted or kind.partition(" ")[0] in surplus):
            forge.delete_comment(number, comment.id)
            changed = True
    for text in missing.values():
        forge.add_comment(number, text)
    return changed or bool(missing)


def _bounded(forge: Forge, text: str) -> str:
    if len(text) > forge.comment_limit:
        raise InvariantError(f"a comment of {len(text)} characters, of {forge.comment_limit} that are allowed")
    return text


def fenced(patch: str, room: int) -> str:
    """A patch as Markdown that shows every character of it, in at most `room` characters."""
    shown = "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape", "surrogatepass").decode() for c in patch
    )
    ticks = max(map(len, re.findall("`+", shown)), default=0)
    fence = "`" * max(3, ticks + 1)
    room -= 2 * len(fence) + 80
    cut = ""
    if len(shown) > room:
        end = shown.rfind("\n", 0, max(room, 0)) + 1
        cut = f"\n\n({shown.count(chr(10), end)} more lines are left out.)"
        shown = shown[:end]
    return f"{fence}diff\n{shown.rstrip(chr(10))}\n{fence}{cut}"
