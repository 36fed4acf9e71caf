"""What would break, open and close as SARIF 2.1.0, so that code scanning shows it at the policies' lines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from netpol_gen.diff import Change, Difference, DiffRow
from netpol_gen.errors import printable
from netpol_gen.lint import Report
from netpol_gen.model import Workload
from netpol_gen.proposal import Proposal, Review
from netpol_gen.report.sarif import MAX_RESULTS, SCHEMA, VERSION, lint_sarif, relative_uri

_RULES: Mapping[Change, tuple[str, str, str, str]] = {
    Change.BROKEN: ("NPC001", "would-break", "error", "An observed connection would be denied."),
    Change.OPENED: ("NPC002", "opens", "warning", "A connection would be allowed that is not allowed today."),
    Change.CLOSED: ("NPC003", "closes", "note", "A connection would be denied that was never observed in use."),
    Change.ADDED: ("NPC004", "allows-more", "warning", "A connection would be allowed; no flows were replayed."),
    Change.REMOVED: ("NPC005", "allows-less", "warning", "A connection would be denied; no flows were replayed."),
    Change.CHANGED: ("NPC006", "allows-other", "warning", "Other ports would be allowed; no flows were replayed."),
}
_INDEX = {change: i for i, change in enumerate(_RULES)}
Places = Mapping[str, tuple[str, int]]
"""File and line by what it is about: `namespace` for the first policy there."""


def proposal_sarif(proposal: Proposal, *, tool_version: str) -> str:
    """The changes of a proposal as one run; each is placed at a touched file of its namespace."""
    results: list[dict[str, Any]] = []
    for environment in proposal.environments:
        places = {c.policy.namespace: (c.path or ".", 1) for c in reversed(environment.changes)}
        results += _results(environment.difference, places, environment.path)
    return _document([_run(results, tool_version)])


def review_sarif(reviews: Sequence[Review], *, tool_version: str, root: str = "") -> str:
    """The changes in meaning as one run, the findings in changed files as another."""
    results: list[dict[str, Any]] = []
    for review in reviews:
        places: dict[str, tuple[str, int]] = {}
        for ref, place in sorted(review.places.items()):
            places.setdefault(ref.partition("/")[0], place)
        results += _results(review.difference, places, review.path)
    findings = Report(tuple(f for review in reviews for f in review.findings))
    lint = json.loads(lint_sarif(findings, tool_version=tool_version, root=root))["runs"]
    return _document([_run(results, tool_version), *lint])


def _document(runs: list[dict[str, Any]]) -> str:
    for number, run in enumerate(runs):
        # Two runs of one tool need a category each, or the second takes the place of the first.
        run["automationDetails"] = {"id": "netpol-gen/lint/" if number else "netpol-gen/changes/"}
    return json.dumps({"$schema": SCHEMA, "version": VERSION, "runs": runs}, indent=2, ensure_ascii=True) + "\n"


def _run(results: Sequence[dict[str, Any]], tool_version: str) -> dict[str, Any]:
    rules = [
        {
            "id": identity,
            "name": name,
            "shortDescription": {"text": text},
            "defaultConfiguration": {"level": level},
            "properties": {"tags": ["kubernetes", "network-policy"]},
        }
        for identity, name, level, text in _RULES.values()
    ]
    left_out = len(results) - MAX_RESULTS
    notes = [{"level": "note", "message": {"text": f"{left_out} results were left out"}}] if left_out > 0 else []
    return {
        "tool": {"driver": {"name": "netpol-gen", "semanticVersion": tool_version, "rules": rules}},
        "columnKind": "unicodeCodePoints",
        "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": notes}],
        "results": list(results[:MAX_RESULTS]),
    }


def _results(difference: Difference, places: Places, fallback: str) -> Iterable[dict[str, Any]]:
    """Rows are in the order of their weight, what would break first: the limit cuts the rest."""
    for row in difference.rows:
        identity, _, level, text = _RULES[row.change]
        path, line = _place(row, places, fallback)
        said = f"{text[:-1]}: {row.src} to {row.dst}, {row.before} before, {row.after} after"
        if row.edges:
            said += f"; observed {', '.join(f'{e.protocol} {e.port}' for e in row.edges)}"
        key = "\0".join((identity, str(row.src), str(row.dst), str(row.before), str(row.after)))
        yield {
            "ruleId": identity,
            "ruleIndex": _INDEX[row.change],
            "level": level,
            "message": {"text": printable(said, 1_000)},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": relative_uri(path, "")},
                        "region": {"startLine": max(1, line)},
                    }
                }
            ],
            "partialFingerprints": {
                "primaryLocationLineHash": hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:16] + ":1"
            },
        }


def _place(row: DiffRow, places: Places, fallback: str) -> tuple[str, int]:
    for end in (row.dst, row.src):
        if isinstance(end, Workload) and end.namespace in places:
            return places[end.namespace]
    return (fallback or ".", 1)
