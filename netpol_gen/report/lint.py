"""Lint findings as text and as JSON, the exact line of each, and the rule reference.

JSON (`"format": "netpol-gen/lint", "version": 1`):

| key | content |
|---|---|
| findings | rule, name, severity, file, document, line, field, subject, message, fix, suppressed (a reason or empty) |
| counts | active findings by severity, and `suppressed` |
| not_run | rule and what it lacked |
| looked_at | NetworkPolicies that were looked at |
| other | objects in the given files that no rule looks at, by `Kind.group` |

`document` and `line` count from 1; 0 means that there is no file. A version number changes when a key disappears or
changes its meaning; new keys may appear within a version.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import yaml

from netpol_gen.errors import Place, printable, printable_path
from netpol_gen.lint import ANNOTATION, FILE_NAME, Finding, Report, Rule
from netpol_gen.model import Severity
from netpol_gen.report.text import count

FORMAT = "netpol-gen/lint"
VERSION = 1
MAX_BYTES = 8 * 2**20
"""Larger files keep the line of their document: finding the very line means parsing them once more."""
_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


# --- the exact line ---------------------------------------------------------------------------------------------------


def pinpoint(report: Report, read: Callable[[str], str | None]) -> Report:
    """The same findings with the line of their field instead of the line of their document.

    `read` gives a file's text, or `None` where there is none to be had (standard input, packed files).
    """
    texts: dict[str, list[yaml.Node | None]] = {}
    findings = []
    for finding in report.findings:
        place = finding.place
        if place.path and place.path not in texts:
            texts[place.path] = _nodes(read(place.path))
        findings.append(replace(finding, place=_exact(place, texts.get(place.path, []))))
    return replace(report, findings=tuple(sorted(findings, key=lambda f: f.key)))


def _nodes(text: str | None) -> list[yaml.Node | None]:
    if text is None or len(text) > MAX_BYTES:
        return []
    nodes: list[yaml.Node | None] = []
    try:
        nodes.extend(yaml.compose_all(text, Loader=yaml.CSafeLoader))
    except yaml.YAMLError:
        # It was read well enough to be linted (JSON with tabs, say); the document's own line has to do.
        return []
    return nodes


def _exact(place: Place, nodes: Sequence[yaml.Node | None]) -> Place:
    if not 0 < place.document <= len(nodes):
        return place
    line = place.line
    node = nodes[place.document - 1]
    for index, key in _STEP.findall(place.field):
        found = _child(node, int(index) if index else key)
        if found is None:
            break
        line, node = found
    return replace(place, line=line)


def _child(node: yaml.Node | None, step: int | str) -> tuple[int, yaml.Node] | None:
    """The line, from 1, and the node of a key or an item."""
    if isinstance(node, yaml.MappingNode) and isinstance(step, str):
        for key, value in node.value:
            if key.value == step:
                return key.start_mark.line + 1, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        item = node.value[step]
        return item.start_mark.line + 1, item
    return None


# --- text and JSON ----------------------------------------------------------------------------------------------------


def lint_text(report: Report, *, verbose: bool = False) -> str:
    """One finding per paragraph: place, severity, rule, message, fix."""
    parts = [_paragraph(f) for f in report.active]
    suppressed = [f for f in report.findings if f.suppressed]
    if verbose:
        parts += [f"{_paragraph(f)}    suppressed: {printable(f.suppressed, 200)}\n" for f in suppressed]
    return "".join(parts) + _tail(report, len(suppressed), verbose=verbose)


def _paragraph(f: Finding) -> str:
    where = f"{printable_path(f.place.path, 400)}:{f.place.line}" if f.place.path else printable(f.subject, 200)
    field = f" ({printable(f.place.field, 200)})" if f.place.field else ""
    subject = f"{printable(f.subject, 200)}: " if f.place.path else ""
    return (
        f"{where}: {f.severity} {f.rule} {f.name}{field}\n"
        f"    {subject}{printable(f.message, 400)}\n    fix: {printable(f.fix, 300)}\n"
    )


def _tail(report: Report, suppressed: int, *, verbose: bool) -> str:
    counts = [
        (s, sum(f.severity is s for f in report.active)) for s in (Severity.ERROR, Severity.WARNING, Severity.INFO)
    ]
    shown = ", ".join(f"{n} {s}" for s, n in counts if n) or "no findings"
    text = f"{count(report.looked_at, 'policy', 'policies')}: {shown}"
    text += f"; {suppressed} suppressed{'' if verbose else ' (-v shows them)'}\n" if suppressed else "\n"
    if report.not_run:
        rules = "; ".join(f"{rule} {why}" for rule, why in report.not_run)
        text += f"not run: {rules}\n"
    if report.other:
        kinds = ", ".join(f"{number} {printable(kind, 80)}" for kind, number in report.other.items())
        text += f"not looked at: {kinds}\n"
    return text


def lint_json(report: Report) -> str:
    """The document described above, ending with a newline."""
    active = report.active
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "findings": [
            {
                "rule": f.rule,
                "name": f.name,
                "severity": str(f.severity),
                "file": f.place.path,
                "document": f.place.document,
                "line": f.place.line,
                "field": f.place.field,
                "subject": f.subject,
                "message": f.message,
                "fix": f.fix,
                "suppressed": f.suppressed,
            }
            for f in report.findings
        ],
        "counts": {
            **{str(s): sum(f.severity is s for f in active) for s in Severity},
            "suppressed": len(report.findings) - len(active),
        },
        "not_run": [{"rule": rule, "reason": why} for rule, why in report.not_run],
        "looked_at": report.looked_at,
        "other": dict(report.other),
    }
    return json.dumps(document, indent=2, ensure_ascii=True) + "\n"


# --- the reference ----------------------------------------------------------------------------------------------------


def reference(rules: Sequence[Rule]) -> str:
    """`docs/lint.md`, from the table of rules."""
    return "\n".join([_HEAD, *_overview(rules), "", *_sections(rules)])


_HEAD = f"""# Lint rules

Made from the table in `netpol_gen/lint/table.py` by `make goldens`; a test compares it.

`netpol-gen lint POLICIES [-i INVENTORY] [--flows FLOWS] [--cni CNI]` looks at NetworkPolicies (`networking.k8s.io/v1`).
Rules that need an inventory, flows or the CNI are listed as not run where that is missing. An id never changes its
meaning.

Severities are changed, and findings suppressed, in `{FILE_NAME}` in the working directory (or `--lint-config`), or
in the `[lint]` table of `netpol-gen.toml`:

```toml
broad-below = 0.5            # share of use below which NPL021 calls a rule too broad
sensitive-ports = [22, 3389] # instead of the built-in list of NPL017

[severity]
NPL003 = "error"             # info, warning, error or off

[[ignore]]
reason = "the old shop goes away in March"
rules = ["NPL001", "NPL002"]
path = "legacy/*.yaml"       # globs; what is left out matches everything
policy = "shop/*"            # namespace/name, or a namespace for NPL001 and NPL002
```

or by an annotation on the policy itself: `{ANNOTATION}: NPL003, NPL004`.

Suppressed findings are counted, kept in JSON and SARIF, and do not count for `--fail-on`.
"""


def _overview(rules: Sequence[Rule]) -> Iterator[str]:
    yield "| id | name | severity | needs | finds |"
    yield "|---|---|---|---|---|"
    for r in rules:
        needs = ", ".join(map(str, r.needs))
        yield f"| [{r.id}](#{r.id.lower()}-{r.name}) | {r.name} | {r.severity} | {needs} | {r.summary} |"


def _sections(rules: Sequence[Rule]) -> Iterator[str]:
    for r in rules:
        yield f"## {r.id} {r.name}\n\n{r.summary} Severity: {r.severity}.\n\n{r.why}\n"
