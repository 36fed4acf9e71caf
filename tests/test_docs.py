"""What the documents quote is what the program prints."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import subprocess
import sys
from enum import Enum
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import netpol_gen
from netpol_gen.cli.main import app
from netpol_gen.flowtable import COLUMNS, TIMES, schema
from netpol_gen.model import DirectionEvidence, Signal
from netpol_gen.readers.canonical_check import NEVER_NULL, REQUIRED
from tests.apidoc import ORDER, api_markdown

HEAD = """# Command line

Made from `--help` by `make goldens`; a test compares it. Exit codes: 0 done, 1 the check that was asked for found
something, 2 bad input or bad options, 3 a remote system said no. Data goes to stdout, messages to stderr, `-` is stdin
or stdout. Nothing ever writes to a cluster.

Any option can stand in `netpol-gen.toml` (`--config`) under its long name, and so can:

- `[names]`: policy names by workload, as `"namespace/Kind/name" = "policy-name"`
- `[labels]`: labels that every written policy carries
- `[[exclude]]`: accepted edges to set aside, with a `reason` and any of `src`, `dst` (`namespace/name` globs, or
  `world`, `node`), `protocol`, `port`
"""


def command_names() -> list[str]:
    return list(get_command(app).commands)  # type: ignore[attr-defined]


def help_text(*command: str) -> str:
    result = CliRunner(env={"COLUMNS": "110", "TERMINAL_WIDTH": "110", "NO_COLOR": "1"}).invoke(
        app, [*command, "--help"], prog_name="netpol-gen"
    )
    assert result.exit_code == 0, result.output
    return "\n".join(line.rstrip() for line in result.output.strip().splitlines())


def test_command_line_reference(repository: Path, update_goldens: bool):
    parts = [HEAD, f"```text\n{help_text()}\n```\n"]
    parts += [f"## {name}\n\n```text\n{help_text(name)}\n```\n" for name in command_names()]
    text = "\n".join(parts)
    path = repository / "docs" / "cli.md"
    if update_goldens:
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


def test_library_reference(repository: Path, update_goldens: bool):
    assert sorted(ORDER) == sorted(netpol_gen.__all__)
    path = repository / "docs" / "api.md"
    text = api_markdown()
    if update_goldens:
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


def demo(repository: Path, out: Path) -> str:
    """What `make demo` shows for the payments sample, as a user sees it."""
    sample = "sample-flows/payments"
    command = f"generate {sample}/flows.jsonl -i {sample}/inventory.yaml --config {sample}/netpol-gen.toml"
    ran = subprocess.run(
        [sys.executable, "-m", "netpol_gen.cli.main", *command.split(), "--out", str(out)],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    policy = (out / "backend" / "internal-port-restrict.yaml").read_text(encoding="utf-8")
    ran_text = f"$ netpol-gen {command} --out policies\n{ran.stderr.replace(str(out), 'policies')}"
    return f"```console\n{ran_text}\n$ cat policies/backend/internal-port-restrict.yaml\n{policy}```\n"


def test_readme_quotes_the_demo(repository: Path, update_goldens: bool, tmp_path: Path):
    path = repository / "README.md"
    text = path.read_text(encoding="utf-8")
    begin, end = "<!-- demo:begin -->\n", "<!-- demo:end -->"
    shown = demo(repository, tmp_path / "policies")
    new = re.sub(f"{begin}.*?{end}", lambda _: f"{begin}{shown}{end}", text, flags=re.DOTALL)
    if update_goldens:
        path.write_text(new, encoding="utf-8")
        text = new
    assert text == new


def described(kind: type[Enum]) -> dict[str, str]:
    """The members of an enumeration, and the sentences below them in its source."""
    body = ast.parse(inspect.getsource(kind)).body[0].body  # type: ignore[attr-defined]
    out: dict[str, str] = {}
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.Assign):
            said = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            out[node.targets[0].id] = after.value.value if said else ""
    return out


def column_table() -> str:
    lines = ["| column | type | meaning | null | if the column is not there |", "|---|---|---|---|---|"]
    lines += [
        f"| `{c.name}` | `{c.kind}` | {c.meaning} | {c.null or 'never'} | {c.absent or 'error'} |" for c in COLUMNS
    ]
    return "\n".join(lines) + "\n"


def direction_list() -> str:
    told = described(DirectionEvidence)
    values = [d for d in DirectionEvidence if d is not DirectionEvidence.NONE]
    return "".join(f"- `{d}`{'' if d.strong else ', weak'}{told[d.name] and f': {told[d.name]}'}\n" for d in values)


def signal_table() -> str:
    rows = [f"| {int(Signal[name])} | {name} | {text} |" for name, text in described(Signal).items()]
    return "\n".join(["| bit | name | seen |", "|---|---|---|", *rows]) + "\n"


def test_flow_table_reference(repository: Path, update_goldens: bool):
    path = repository / "docs" / "flow-table.md"
    text = new = path.read_text(encoding="utf-8")
    for name, made in {"columns": column_table(), "direction": direction_list(), "signals": signal_table()}.items():
        begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
        assert new.count(begin) == new.count(end) == 1
        before, rest = new.split(begin)
        new = before + begin + made + end + rest.split(end)[1]
    if update_goldens:
        path.write_text(new, encoding="utf-8")
        text = new
    assert text == new


def test_columns_are_those_that_readers_check():
    assert [column.name for column in COLUMNS] == schema().names
    assert {c.name for c in COLUMNS if not c.absent} == set(REQUIRED)
    # A time that is null is filled before anything is checked.
    assert {c.name for c in COLUMNS if not c.null} | set(TIMES) == set(NEVER_NULL)
    assert all(str(schema().field(c.name).type).replace("item: ", "") == c.kind for c in COLUMNS)


WIDE = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: internal-port-restrict
  namespace: backend
  labels:
    app.kubernetes.io/managed-by: netpol-gen
spec:
  podSelector:
    matchLabels:
      app: payments
  policyTypes:
  - Ingress
  ingress:
  - from:
    - podSelector: {}
"""


def bot(repository: Path, manifests: Path) -> str:
    """A dry run of the bot on a repository with one wide policy: what breaks, opens and closes, and the patch."""
    (manifests / "clusters/prod").mkdir(parents=True)
    (manifests / "clusters/prod/payments.yaml").write_text(WIDE, encoding="utf-8")
    who = ["-c", "user.name=Tester", "-c", "user.email=tester@example.com"]
    for command in (
        ["init", "--quiet", "--initial-branch=main"],
        ["add", "."],
        [*who, "commit", "--quiet", "-m", "one"],
    ):
        subprocess.run(["git", *command], cwd=manifests, check=True, env={"PATH": os.environ["PATH"]})
    sample = "sample-flows/payments"
    command = f"propose {sample}/flows.jsonl -i {sample}/inventory.yaml"
    ran = subprocess.run(
        [sys.executable, "-m", "netpol_gen.cli.main", *command.split(), "--repo", manifests, "--path", "clusters/prod"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    first, _, rest = ran.stdout.partition("## Policies: 1\n")
    patch = rest[rest.index("## Patch") :]
    left_out = "*… the evidence behind each rule, coverage, what stays open, code owners, how to roll back …*\n\n"
    return f"```console\n$ netpol-gen {command} --repo ../manifests --path clusters/prod\n```\n\n" + "".join(
        f"> {line}".rstrip() + "\n" for line in (first + left_out + patch).rstrip().splitlines()
    )


def test_readme_quotes_the_bot(repository: Path, update_goldens: bool, tmp_path: Path):
    path = repository / "README.md"
    text = path.read_text(encoding="utf-8")
    begin, end = "<!-- bot:begin -->\n", "<!-- bot:end -->"
    shown = bot(repository, tmp_path / "manifests")
    new = re.sub(f"{begin}.*?{end}", lambda _: f"{begin}{shown}{end}", text, flags=re.DOTALL)
    if update_goldens:
        path.write_text(new, encoding="utf-8")
        text = new
    assert begin in text
    assert text == new


LINKED = re.compile(r"\]\((?!https?:|#)([^)#\s]+)(?:#([^)\s]+))?\)")


@pytest.mark.parametrize("name", ["README.md", "docs/pr-bot.md"])
def test_links_lead_somewhere(repository: Path, name: str):
    text = (repository / name).read_text(encoding="utf-8")
    for path, _ in LINKED.findall(text):
        assert ((repository / name).parent / path).exists(), path
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    headings = {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= headings


def notebooks() -> list[Path]:
    return sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", notebooks(), ids=lambda p: p.stem)
def test_notebooks_are_stored_without_outputs(path: Path):
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["cells"]
    for cell in document["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("path", notebooks(), ids=lambda p: p.stem)
def test_notebooks_use_the_public_api_only(path: Path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    assert "import netpol_gen as ng" in code
    assert not re.search(r"from netpol_gen|import netpol_gen\.|\bng\.[a-z_]+\._|\._[a-z]", code)
    assert set(re.findall(r"\bng\.([A-Za-z_]+)", code)) <= set(netpol_gen.__all__)


@pytest.mark.slow
@pytest.mark.parametrize("path", notebooks(), ids=lambda p: p.stem)
def test_notebooks_run_from_a_clean_kernel(path: Path):
    import nbformat
    from nbclient import NotebookClient

    document = nbformat.read(path, as_version=4)
    here = {"metadata": {"path": str(path.parent)}}
    NotebookClient(document, timeout=300, kernel_name="python3", resources=here).execute()
    shown = [output for cell in document.cells for output in cell.get("outputs", [])]
    assert shown
    assert not [o for o in shown if o.output_type == "error"]
    drawn = sum("ng.plots." in cell.source for cell in document.cells if cell.cell_type == "code")
    assert sum("image/png" in output.get("data", {}) for output in shown) >= drawn
