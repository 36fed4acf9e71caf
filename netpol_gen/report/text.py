"""Plain text tables and safe cells. What comes from a log or a manifest is made printable before it is shown."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from netpol_gen.errors import printable

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def table(head: Sequence[str], rows: Iterable[Sequence[object]], limit: int = 60) -> str:
    """Columns padded with two spaces between them, numbers to the right; ends with a newline."""
    cells = [[printable(c, limit) for c in row] for row in rows]
    widths = [max(len(h), *(len(row[i]) for row in cells)) if cells else len(h) for i, h in enumerate(head)]
    numeric = [bool(cells) and all(_is_number(row[i]) for row in cells) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        padded = [c.rjust(w) if n else c.ljust(w) for c, w, n in zip(row, widths, numeric, strict=True)]
        return "  ".join(padded).rstrip()

    return "\n".join([line(head), *(line(row) for row in cells)]) + "\n"


def _is_number(text: str) -> bool:
    return text.replace(",", "").lstrip("-").isdigit()


def csv_text(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """CSV whose cells a spreadsheet cannot take for formulas and a terminal not for commands."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([_cell(c) for c in row] for row in rows)
    return out.getvalue()


def _cell(value: object) -> object:
    if value is None or isinstance(value, int | float):
        return "" if value is None else value
    text = printable(value, 10_000)
    return f"'{text}" if text.startswith(_FORMULA) and not _is_number(text) else text


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A GitHub table; every cell is code, so that no name can become a link, a mention or a new column."""
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join(" --- " for _ in head) + "|"]
    lines += [markdown_row(row) for row in rows]
    return "\n".join(lines) + "\n"


def markdown_row(cells: Iterable[object]) -> str:
    """One row of such a table, without its newline."""
    return "| " + " | ".join(code(c) for c in cells) + " |"


def code(value: object) -> str:
    """`value` as inline code that cannot be left: backticks, pipes and control characters are made harmless."""
    text = printable("" if value is None else value, 300)
    # Look-alikes: nothing can be escaped within inline code.
    text = text.replace("`", "\N{MODIFIER LETTER GRAVE ACCENT}").replace("|", "\N{BROKEN BAR}")
    return f"`{text}`" if text else ""


def count(number: int, singular: str, plural: str = "") -> str:
    """`1 policy`, `1,234 policies`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"
