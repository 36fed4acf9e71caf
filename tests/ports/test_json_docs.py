"""The JSON shapes are documented where they are written, and in docs/json.md."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from netpol_gen.coverage import measure
from netpol_gen.edges import find_edges
from netpol_gen.errors import Place
from netpol_gen.lint import Finding, Material, Report, run
from netpol_gen.model import Severity
from netpol_gen.ports import collect
from netpol_gen.report import coverage, lint, ports, proposal, review
from tests.flowrows import flows_of, inventory_of, pod, row
from tests.propose.made import A_TO_B, OURS, manifest, proposal_of
from tests.propose.test_bodies import ONLY_A, reviewed

MODULES = (coverage, lint, ports, proposal, review)
HEAD = """# JSON of `coverage`, `lint`, `ports`, `propose` and `review`

Made from the modules that write it by `make goldens`; a test compares it.
"""


def section(module) -> str:
    first, _, rest = (module.__doc__ or "").partition("\n\n")
    name = module.FORMAT.rpartition("/")[2]
    assert first
    # A row of a table that is too long for a line of Python is one line in Markdown.
    text = re.sub(r"(\|[^\n]*[^|\n])\n(?=[^|\n])", r"\1 ", rest.strip())
    return f"## {name}\n\n{text}\n"


def test_document(repository: Path, update_goldens: bool):
    text = "\n".join([HEAD, *map(section, MODULES)])
    path = repository / "docs" / "json.md"
    if update_goldens:
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


EDGES = find_edges(
    flows_of(row("10.0.1.1", "10.0.1.2", 8080)),
    inventory_of(pod("web-1", "web", "10.0.1.1"), pod("api-1", "api", "10.0.1.2", 8080)),
)
OPEN_B = manifest("b", "b", more=OURS)


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (coverage, coverage.coverage_json(measure(EDGES))),
        (lint, lint.lint_json(run(Material(())))),
        (ports, ports.ports_json(collect(EDGES))),
        (proposal, proposal.proposal_json(proposal_of({"b.yaml": OPEN_B}, A_TO_B))),
        (review, review.review_json([reviewed({"b.yaml": OPEN_B}, {"b.yaml": ONLY_A}, A_TO_B)])),
    ],
    ids=["coverage", "lint", "ports", "proposal", "review"],
)
def test_every_key_is_documented(module, text):
    document = json.loads(text)
    rows = re.findall(r"^\| ([a-z_, ]+) \|", module.__doc__, re.MULTILINE)
    listed = {key for row in rows for key in row.split(", ")}
    assert listed == set(document) - {"format", "version"} | {"key"}
    words = set(re.findall(r"[a-z_]+", module.__doc__))
    nested = {key for value in document.values() if isinstance(value, list) for item in value for key in item}
    assert nested <= words


def test_lint_findings_have_the_documented_keys():
    found = Finding("NPL001", "x", Severity.INFO, Place("a.yaml", 1), "s", "m", "f")
    (keys,) = json.loads(lint.lint_json(Report((found,))))["findings"]
    row = next(line for line in (lint.__doc__ or "").splitlines() if line.startswith("| findings |"))
    assert row.partition("(")[0].split("| ")[2].replace(" ", "").split(",") == list(keys)
