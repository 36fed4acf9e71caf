"""The one screen after `generate`: what was written, from how much, what is proved, and what is not known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from netpol_gen.edges import Edges
from netpol_gen.errors import printable, printable_place
from netpol_gen.flowtable import Bucket, Flows, Ledger, Reason
from netpol_gen.model import Diagnostic, Direction, Severity
from netpol_gen.plan import Plan
from netpol_gen.readers.cards import CARDS
from netpol_gen.report.text import count, table
from netpol_gen.verify import Replay

_LINES = 8
"""So many gaps or diagnostics are shown before the rest is only counted; `-v` shows all."""


# What a user can do about records set aside, where anything can be done.
_HINTS = {
    str(Reason.AUDIT): "; --accept audit takes them",
    str(Reason.UNANSWERED): "; --accept unanswered takes them",
    str(Reason.SCAN): "; --scan-threshold 0 takes them",
    str(Reason.UNKNOWN_PARTY): "; an inventory (-i) of that time may tell",
    str(Reason.NO_BACKEND): "; an inventory (-i) with Services and EndpointSlices of that time may tell",
}


def summary(plan: Plan, *, verbose: bool = False) -> str:
    """Text, ends with a newline."""
    accepted = plan.edges.accepted
    namespaces = {p.namespace for p in plan.policies}
    written = f"{count(len(plan.policies), 'policy', 'policies')} in {count(len(namespaces), 'namespace')}"
    parts = [f"{written} from {count(len(accepted), 'accepted edge')}\n"]
    if plan.policies:
        parts.append(_policies(plan))
    parts.append(replay_text(plan.replay))
    parts.append(input_text(plan.edges, verbose=verbose, where="-v shows all"))
    limit = None if verbose else _LINES
    gaps = [f"{g.workload} {g.direction}: {g.reason}" for g in plan.gaps]
    parts.append(_list("left open", gaps, limit, "every direction with evidence is covered"))
    if notes := notes_text(plan.diagnostics, verbose=verbose):
        parts.append(notes)
    if plan.replaces:
        parts.append(_list("stands in for", plan.replaces, limit, ""))
    return "\n".join(parts)


def notes_text(diagnostics: Iterable[Diagnostic], *, verbose: bool = False, where: str = "-v shows all") -> str:
    """Diagnostics, the gravest first; those that only inform are told to those who ask for all. Empty for none.

    `where` says how to see what is only counted here.
    """
    shown = [
        f"{d.code} {d.severity} {d.subject}: {d.message}"
        for d in sorted(diagnostics, key=lambda d: (list(Severity)[::-1].index(d.severity), d))
        if verbose or d.severity is not Severity.INFO
    ]
    return _list("notes", shown, None if verbose else _LINES, "", where)


def found_text(edges: Edges) -> str:
    """What commands that make no policies say about their input: the ledger, its sources, and the diagnostics."""
    notes = identity_text(edges)
    return input_text(edges) + (f"\n{notes}" if notes else "")


def identity_text(edges: Edges) -> str:
    """What is wrong with what is known of the parties; empty for nothing."""
    return notes_text(edges.inventory.diagnostics, where="generate -v shows all")


def _policies(plan: Plan) -> str:
    rows = []
    for policy in plan.policies:
        sides = [
            str(sum(1 for _ in policy.rules(d))) + " rules" if d in policy.policy_types else "open" for d in Direction
        ]
        rows.append((policy.namespace, policy.name, str(policy.pod_selector), *sides))
    return table(("namespace", "policy", "selects", "ingress", "egress"), rows)


def replay_text(replay: Replay) -> str:
    """How many edges hold, and the first that do not."""
    text = (
        f"replay: {len(replay.allowed):,} of {count(len(replay.rows), 'accepted edge')} allowed at both ends, "
        f"{len(replay.denied):,} denied, {len(replay.unknown):,} unknown\n"
    )
    for word, rows in (("denied ", replay.denied), ("unknown", replay.unknown)):
        for row in rows[:_LINES]:
            why = row.verdict.missing or row.verdict.reason
            text += f"  {word} {printable(row.edge, 200)}: {printable(why, 200)}\n"
        if len(rows) > _LINES:
            text += f"  … and {len(rows) - _LINES:,} more\n"
    return text


def input_text(edges: Edges, *, verbose: bool = False, where: str = "coverage shows all") -> str:
    """The ledger, what there is to know about the input, and what its sources can never show.

    `where` says how to see what is only counted here.
    """
    text = ledger_text(edges.ledger, edges.sources)
    return text + _sources_text(edges.sources, edges.notes, verbose=verbose, where=where)


def flows_text(flows: Flows) -> str:
    """What was read into a flow table: how many records became rows, what was set aside, what its sources can show."""
    ledger = flows.ledger
    aside = sum(ledger.set_aside.values())
    kept = f"{ledger.read - ledger.accounted:,} in {count(flows.table.num_rows, 'row')}"
    text = f"records: {_read(ledger, flows.sources)} = {kept} + {aside:,} set aside\n"
    return text + _aside_text(ledger) + _sources_text(flows.sources, flows.notes)


def _sources_text(
    sources: Iterable[str], notes: Iterable[str], *, verbose: bool = False, where: str = "coverage shows all"
) -> str:
    text = "".join(f"about the input: {printable_place(note, 400)}\n" for note in notes)
    for source in sorted(sources):
        known = next((c for c in CARDS if c.source == source), None)
        if known is not None:
            text += f"{source} looks at {known.sampling}\n"
        if known is not None and known.unseen:
            shown = known.unseen if verbose else known.never_shows[:2] or known.unseen[:1]
            more = len(known.unseen) - len(shown)
            rest = f" (and {more} more, {where})" if more else ""
            text += f"not idle, but never shown by {source}: {'; '.join(shown)}{rest}\n"
    return text


def ledger_text(ledger: Ledger, sources: Iterable[str]) -> str:
    """Where every record went, and what was lost before it was a record."""
    aside = sum(ledger.set_aside.values())
    text = (
        f"records: {_read(ledger, sources)} = {ledger.used:,} used + {ledger.duplicate:,} duplicate + "
        f"{ledger.reply:,} reply + {aside:,} set aside\n"
    )
    return text + _aside_text(ledger)


def _read(ledger: Ledger, sources: Iterable[str]) -> str:
    return f"{ledger.read:,} read ({', '.join(printable(s, 60) for s in sorted(sources)) or 'none'})"


def _aside_text(ledger: Ledger) -> str:
    """What was set aside, by reason with a place, and what was lost."""
    text = ""
    aside = {reason: number for bucket, reason, number in ledger.rows() if bucket == Bucket.SET_ASIDE}
    for reason, number in sorted(aside.items(), key=lambda item: (-item[1], item[0])):
        places = next((p for r, p in ledger.places.items() if r == reason), [])
        shown = f"  ({printable_place(places[0], 100)})" if places else ""
        text += f"  {number:>8,}  {reason}{_HINTS.get(reason, '')}{shown}\n"
    if ledger.lost:
        nodes = Counter[str]()
        for (node, _, _), events in ledger.losses.items():
            nodes[node or "unknown node"] += events
        shown = ", ".join(f"{printable(n, 60)} {e:,}" for n, e in sorted(nodes.items()))
        text += f"lost before reading: {ledger.lost:,} events ({shown}): edges seen only there and then are missing\n"
    else:
        text += "lost before reading: no loss reported by the source\n"
    return text


def _list(title: str, items: Iterable[str], limit: int | None, nothing: str, where: str = "-v shows all") -> str:
    lines = list(items)
    if not lines:
        return f"{title}: {nothing}\n" if nothing else ""
    shown = lines if limit is None else lines[:limit]
    text = f"{title}: {len(lines):,}\n" + "".join(f"  {printable(line, 240)}\n" for line in shown)
    if len(shown) < len(lines):
        text += f"  … and {len(lines) - len(shown):,} more ({where})\n"
    return text
