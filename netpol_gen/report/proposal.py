"""A proposal as the text of a request: what a reviewer decides from, what would break first.

JSON (`"format": "netpol-gen/proposal", "version": 1`):

| key | content |
|---|---|
| target, base, scope | the branch it is for, the commit it was made from, what it is proposed for |
| files | path, state (`changed`, `removed`), owners |
| environments | name, path, mode, unchanged and broken (counts), changes, left_alone, denied_before, difference |
| environments[].changes | action (`add`, `edit`, `remove`), policy, path, adopted, why, rules |
| environments[].changes[].rules | direction, rule, edge, flows, first_seen, last_seen (RFC 3339, UTC, or null) |
| environments[].left_alone | policy, path (empty: in no file), reason |
| environments[].denied_before | accepted edges that are denied with the changes and were without them |
| environments[].difference | as `netpol-gen diff -o json` |

A version number changes when a key disappears or changes its meaning; new keys may appear within a version.
"""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from typing import Any

from netpol_gen.errors import printable
from netpol_gen.model import Edge, Severity
from netpol_gen.proposal import Action, EnvironmentProposal, PolicyChange, Proposal
from netpol_gen.report import changes as parts
from netpol_gen.report.changes import SEEN, columns, seen_cells
from netpol_gen.report.difference import diff_json
from netpol_gen.report.evidence import edge_dict, timestamp
from netpol_gen.report.parts import Section
from netpol_gen.report.text import code, count, markdown_row

FORMAT = "netpol-gen/proposal"
VERSION = 1
MAX_TITLE = 120
_VERB = {Action.ADD: "add", Action.EDIT: "tighten", Action.REMOVE: "remove"}
_PLAIN_PATH = re.compile(r"[A-Za-z0-9._/@+-]+")
_SAID = ("NPG403", "NPG404")
"""Diagnostics that have a place of their own: what is left alone, what is adopted."""
_COMMANDS = 20
"""So many emergency commands are written out."""


def proposal_title(proposal: Proposal) -> str:
    """One line of plain text. Namespaces are DNS labels, so nothing in it can be taken for markup."""
    counts = Counter(c.action for c in proposal.changes)
    verbs = [f"{_verb(proposal, action)} {counts[action]}" for action in Action if counts[action]]
    namespaces = sorted({c.policy.namespace for c in proposal.changes})
    shown = ", ".join(namespaces[:3]) + (f" and {len(namespaces) - 3} more" if len(namespaces) > 3 else "")
    if not verbs:
        return "Network policies: nothing to change"
    title = f"Network policies: {', '.join(verbs)} ({shown})"
    return title if len(title) <= MAX_TITLE else f"{title[: MAX_TITLE - 1]}…"


def _verb(proposal: Proposal, action: Action) -> str:
    """An edit that opens something is no tightening, and is not called one."""
    opens = any(parts.has_opened(e.difference) for e in proposal.environments)
    return "change" if action is Action.EDIT and opens else _VERB[action]


def commit_message(proposal: Proposal) -> str:
    """Subject, blank line, what happens to which policy."""
    lines = [f"- {_VERB[c.action] if c.action is not Action.EDIT else 'change'} {c.ref}" for c in proposal.changes[:50]]
    if len(proposal.changes) > 50:
        lines.append(f"- and {len(proposal.changes) - 50} more")
    return f"{proposal_title(proposal)}\n\n" + "\n".join(lines) + "\n"


def nothing_to_do(proposal: Proposal) -> str:
    """Why nothing is proposed, as a sentence."""
    unchanged = sum(e.unchanged for e in proposal.environments)
    left = sum(len(e.left_alone) for e in proposal.environments)
    if left:
        those = f"{count(left, 'policy', 'policies')} left alone, {unchanged:,} as the evidence has it"
        return f"Nothing is proposed: {those}."
    return f"Nothing is proposed: {count(unchanged, 'policy', 'policies')} compared, all as the evidence has it."


def proposal_sections(proposal: Proposal) -> list[Section]:
    """The whole text, in the order in which a reviewer wants it."""
    out = [Section(_head(proposal))]
    several = len(proposal.environments) > 1
    for environment in proposal.environments:
        if several:
            out.append(Section(f"# {code(environment.name)}\n\n{_counts(environment)}\n"))
        out += _environment(environment)
    out += [_owners(proposal), _roll_back(proposal)]
    return out


def _head(proposal: Proposal) -> str:
    if not proposal.changes:
        return f"{nothing_to_do(proposal)}\n"
    policies = count(len(proposal.changes), "policy", "policies")
    totals = " ".join(_counts(e) for e in proposal.environments) if len(proposal.environments) == 1 else ""
    if not proposal.files:
        # Rendered output: whoever renders it has the files.
        return f"netpol-gen would change {policies} where this is rendered from. {totals}".rstrip() + "\n"
    return f"netpol-gen changes {policies} in {count(len(proposal.files), 'file')}. {totals}".rstrip() + "\n"


def _counts(environment: EnvironmentProposal) -> str:
    difference = environment.difference
    numbers = parts.change_counts(difference)
    doubt = f", {len(difference.doubtful):,} in doubt" if difference.doubtful else ""
    return f"**{numbers['broken']:,} would break, {numbers['opened']:,} open, {numbers['closed']:,} close{doubt}.**"


def _environment(environment: EnvironmentProposal) -> Iterator[Section]:
    difference = environment.difference
    yield parts.broken(difference, environment.evidence)
    if environment.denied_before:
        text = f"\n### Observed, and denied with and without this: {len(environment.denied_before):,}\n"
        lines = tuple(f"- {code(edge)}" for edge in environment.denied_before)
        yield Section(text, lines, "", count(len(lines), "connection"))
    yield parts.opened(difference)
    yield parts.closed(difference)
    yield from parts.doubtful(difference)
    yield from _policies(environment)
    concerned = [line for change in environment.changes for line in change.coverage]
    yield from parts.coverage_sections(environment.coverage, concerned)
    yield from _left_alone(environment)
    yield from _to_know(environment)


def _policies(environment: EnvironmentProposal) -> Iterator[Section]:
    rows = tuple(
        markdown_row((change.action, change.ref, change.path, "yes" if change.adopted else "", change.why))
        for change in environment.changes
    )
    text = f"## Policies: {len(environment.changes):,}\n"
    if environment.unchanged:
        text += f"\n{count(environment.unchanged, 'policy', 'policies')} already say what the evidence calls for.\n"
    if rows or environment.unchanged:
        yield Section(text, rows, columns(("change", "policy", "file", "adopted", "why")))
    for change in environment.changes:
        if change.notes:
            yield _evidence(environment, change)


def _evidence(environment: EnvironmentProposal, change: PolicyChange) -> Section:
    """What stands behind each rule of a policy."""
    rows = []
    for note in change.notes:
        for edge in note.edges:
            evidence = environment.evidence.get(edge)
            how = "" if evidence is None else f"{evidence.direction}" + ("" if evidence.strong else " (weak)")
            rows.append(markdown_row((note.direction, edge, *seen_cells(evidence), how, note.widened)))
        if note.inferred:
            what = _inferred(note.inferred_edges)
            rows.append(markdown_row((note.direction, what, "", "", "", "", note.inferred, "")))
    head = ("direction", "connection", *SEEN, "known from", "widened")
    return Section("", tuple(rows), columns(head), f"Evidence for <code>{change.ref}</code>: {count(len(rows), 'row')}")


def _inferred(edges: tuple[Edge, ...]) -> str:
    return "; ".join(map(str, edges)) or "inferred"


def _left_alone(environment: EnvironmentProposal) -> Iterator[Section]:
    if environment.left_alone:
        rows = tuple(markdown_row((e.ref, e.path, e.reason)) for e in environment.left_alone)
        head = columns(("policy", "file", "why"))
        yield Section(f"## Left alone: {len(rows):,}\n", rows, head, parts.folded(rows))
    if environment.gaps:
        rows = tuple(markdown_row((g.workload, g.direction, g.reason)) for g in environment.gaps)
        head = columns(("workload", "direction", "why"))
        folded = count(len(rows), "direction")
        yield Section("## Left open: directions without a rule\n", rows, head, folded)


def _to_know(environment: EnvironmentProposal) -> Iterator[Section]:
    lines = [f"- {code(note)}" for note in environment.notes]
    lines += [
        f"- {d.code} {code(d.subject)}: {code(d.message)}"
        for d in environment.diagnostics
        if d.severity is not Severity.INFO and d.code not in _SAID
    ]
    if lines:
        yield Section("## To know\n", tuple(lines), "", parts.folded(lines))


def _owners(proposal: Proposal) -> Section:
    """Owners are shown as code: the forge asks them itself, and a text must not."""
    if not proposal.owners:
        nobody = "## Who should review\n\nNo code owner is named for the touched files.\n"
        return Section(nobody if proposal.files else "")
    paths: dict[tuple[str, ...], list[str]] = {}
    for path in proposal.files:
        paths.setdefault(proposal.owners.get(path, ()), []).append(path)
    rows = tuple(
        markdown_row((" ".join(owners) or "nobody", f"{printable(those[0], 100)}{_and_more(those)}"))
        for owners, those in sorted(paths.items())
    )
    return Section("## Who should review\n\nBy CODEOWNERS:\n", rows, columns(("owners", "files")))


def _and_more(items: list[str]) -> str:
    return f" and {len(items) - 1} more" if len(items) > 1 else ""


def _roll_back(proposal: Proposal) -> Section:
    if not proposal.files:
        return Section("")
    text = "## How to roll back\n\nRevert the merge commit, which restores every file named above:\n\n"
    text += "```sh\ngit revert --mainline 1 MERGE_COMMIT    # git revert COMMIT, if it was squashed or rebased\n```\n"
    commands, left_out = _emergency(proposal)
    if commands:
        text += "\nAt once in the cluster, while the revert is on its way"
        text += f" ({left_out} more policies by the same pattern)" if left_out else ""
        text += ":\n\n```sh\n" + "\n".join(commands) + "\n```\n"
    return Section(text)


def _emergency(proposal: Proposal) -> tuple[list[str], int]:
    """Commands that bring a cluster back by hand. Only plain paths: a command is no place for a strange name."""
    out: list[str] = []
    for change in proposal.changes:
        namespace, name = change.policy.namespace, change.policy.name
        if change.before is None:
            out.append(f"kubectl --namespace {namespace} delete networkpolicies.networking.k8s.io {name}")
        elif _PLAIN_PATH.fullmatch(change.path) and proposal.base:
            what = shlex.quote(f"{proposal.base}:{change.path}")
            out.append(f"git show {what} | kubectl --namespace {namespace} apply --filename -")
    kept = list(dict.fromkeys(out))
    return kept[:_COMMANDS], max(0, len(kept) - _COMMANDS)


# --- JSON -------------------------------------------------------------------------------------------------------------


def proposal_json(proposal: Proposal) -> str:
    """Text, keys in a fixed order, ends with a newline."""
    document = {
        "format": FORMAT,
        "version": VERSION,
        "target": proposal.target,
        "base": proposal.base,
        "scope": proposal.scope,
        "files": [
            {
                "path": path,
                "state": "removed" if content is None else "changed",
                "owners": list(proposal.owners.get(path, ())),
            }
            for path, content in proposal.files.items()
        ],
        "environments": [_environment_json(e) for e in proposal.environments],
    }
    return json.dumps(document, indent=2, ensure_ascii=True) + "\n"


def _environment_json(environment: EnvironmentProposal) -> dict[str, Any]:
    return {
        "name": environment.name,
        "path": environment.path,
        "mode": str(environment.mode),
        "unchanged": environment.unchanged,
        "broken": len(environment.broken),
        "changes": [
            {
                "action": str(c.action),
                "policy": c.ref,
                "path": c.path,
                "adopted": c.adopted,
                "why": c.why,
                "rules": _rules_json(environment, c),
            }
            for c in environment.changes
        ],
        "left_alone": [{"policy": e.ref, "path": e.path, "reason": e.reason} for e in environment.left_alone],
        "denied_before": [edge_dict(e) for e in environment.denied_before],
        "difference": json.loads(diff_json(environment.difference)),
    }


def _rules_json(environment: EnvironmentProposal, change: PolicyChange) -> list[dict[str, Any]]:
    out = []
    for note in change.notes:
        for edge in note.edges:
            seen = environment.evidence.get(edge)
            timed = seen is not None and seen.timed
            out.append(
                {
                    "direction": str(note.direction),
                    "rule": note.rule,
                    "edge": edge_dict(edge),
                    "flows": seen.flows if seen is not None else 0,
                    "first_seen": timestamp(seen.first_seen) if seen is not None and timed else None,
                    "last_seen": timestamp(seen.last_seen) if seen is not None and timed else None,
                }
            )
    return out
