"""Differences between policy sets, as text, CSV, JSON and Markdown."""

from __future__ import annotations

from typing import Any

from netpol_gen.diff import Change, Difference, DiffRow
from netpol_gen.errors import printable
from netpol_gen.report.connectivity import WIDE, json_text, ports_json
from netpol_gen.report.text import code, count, csv_text, markdown_table, table

HEAD = ("change", "src", "dst", "before", "after")
_WITH_FLOWS = (Change.BROKEN, Change.OPENED, Change.CLOSED)
_WITHOUT = (Change.ADDED, Change.REMOVED, Change.CHANGED)


def summary(difference: Difference) -> str:
    """One line: counts, or that both sets mean the same."""
    if difference.same:
        return "no difference in meaning"
    kinds = _WITH_FLOWS if difference.observed else _WITHOUT
    parts = [f"{difference.count(kind):,} {kind}" for kind in kinds]
    if difference.doubtful:
        parts.append(f"{len(difference.doubtful):,} in doubt")
    for word, those in (("new", difference.new), ("gone", difference.gone)):
        if those:
            parts.append(count(len(those), f"{word} workload"))
    return ", ".join(parts)


def diff_csv(difference: Difference) -> str:
    """Columns `change,src,dst,before,after`; new and gone workloads are rows with only `src`."""
    rows: list[tuple[object, ...]] = [(r.change, r.src, r.dst, r.before, r.after) for r in difference.rows]
    rows += [(word, w, "", "", "") for word, those in _existence(difference) for w in those]
    return csv_text(HEAD, rows)


def _existence(difference: Difference) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    return (("new", difference.new), ("gone", difference.gone))


def diff_text(difference: Difference) -> str:
    """The summary, then the rows, then what is in doubt; ends with a newline."""
    out = [summary(difference) + "\n"]
    if difference.rows:
        out.append("\n" + table(*_columns(difference, difference.rows), WIDE))
    if difference.doubtful:
        out.append("\nin doubt, because the CNI or the pod decides (what is possible, before and after):\n")
        out.append(table(HEAD, [_doubtful(r) for r in difference.doubtful], WIDE))
    if difference.unsure:
        out.append("\nobserved and allowed before, in doubt after:\n")
        out += [f"{printable(edge, WIDE)}\n" for edge in difference.unsure]
    for word, those in _existence(difference):
        if those:
            out.append(f"\n{word} workloads: {', '.join(printable(w) for w in those)}\n")
    return "".join(out)


def _columns(difference: Difference, rows: tuple[DiffRow, ...]) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """With a note only where one has something to say."""
    notes = [_note(difference, r) for r in rows]
    cells: list[tuple[object, ...]] = [(r.change, r.src, r.dst, r.before, r.after) for r in rows]
    if not any(notes):
        return HEAD, cells
    return (*HEAD, "note"), [(*cell, note) for cell, note in zip(cells, notes, strict=True)]


def _note(difference: Difference, row: DiffRow) -> str:
    used = ", ".join(f"{e.protocol} {e.port}" for e in row.edges)
    return "; ".join(part for part in (f"observed {used}" if used else "", difference.info(row)) if part)


def _doubtful(row: DiffRow) -> tuple[object, ...]:
    return (row.change, row.src, row.dst, row.perhaps_before, row.perhaps_after)


def diff_markdown(difference: Difference) -> str:
    """Counts, then one table for each kind of change, what would break first."""
    out = [f"**{summary(difference)}**\n"]
    for kind in (*_WITH_FLOWS, *_WITHOUT):
        rows = tuple(r for r in difference.rows if r.change is kind)
        if rows:
            head, cells = _columns(difference, rows)
            out.append(f"\n### {kind.capitalize()} ({len(rows):,})\n\n")
            out.append(markdown_table(head[1:], [c[1:] for c in cells]))
    if difference.doubtful:
        out.append(f"\n### In doubt ({len(difference.doubtful):,})\n\nThe CNI or the pod decides.\n\n")
        out.append(markdown_table(HEAD, [_doubtful(r) for r in difference.doubtful]))
    if difference.unsure:
        out.append("\n### Observed, in doubt after the change\n\n")
        out += [f"- {code(edge)}\n" for edge in difference.unsure]
    for word, those in _existence(difference):
        if those:
            out.append(f"\n### {word.capitalize()} workloads\n\n")
            out += [f"- {code(w)}\n" for w in those]
    return "".join(out)


def diff_json(difference: Difference) -> str:
    """`{"same", "rows", "doubtful", "new", "gone", "unsure"}`; rows with sets as text and as port intervals."""
    return json_text(
        {
            "same": difference.same,
            "rows": [_row_json(difference, r) for r in difference.rows],
            "doubtful": [_row_json(difference, r) for r in difference.doubtful],
            "new": [str(w) for w in difference.new],
            "gone": [str(w) for w in difference.gone],
            "unsure": [str(e) for e in difference.unsure],
        }
    )


def _row_json(difference: Difference, row: DiffRow) -> dict[str, Any]:
    return {
        "change": str(row.change),
        "src": str(row.src),
        "dst": str(row.dst),
        "before": str(row.before),
        "after": str(row.after),
        "ports": {"before": ports_json(row.before), "after": ports_json(row.after)},
        "possible": {"before": str(row.perhaps_before), "after": str(row.perhaps_after)},
        "edges": [str(e) for e in row.edges],
        "info": difference.info(row),
    }
