"""What `action.yml`, the example workflows and the GitLab template are, told from their text."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from netpol_gen.prbot import ci
from netpol_gen.prbot.submission import Done
from tests.action.expressions import UnknownExpressionError, filled, holds
from tests.action.runner import PINNED, ROOT, read_action

EXAMPLES = ROOT / "docs" / "examples"
WORKFLOWS = sorted(EXAMPLES.glob("github-*.yml"))
TEMPLATE = EXAMPLES / "netpol-gen.gitlab-ci.yml"
# Of a job: what each example may ask for, and nothing else.
PERMISSIONS = {
    "github-propose": {"contents": "write", "pull-requests": "write", "checks": "write"},
    "github-review": {"contents": "read", "pull-requests": "write", "checks": "write", "security-events": "write"},
}


def workflow(path: Path) -> dict[Any, Any]:
    # YAML 1.1 reads the key `on` as true.
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def steps_of(path: Path) -> Iterator[dict[str, Any]]:
    if path.name == "action.yml":
        yield from read_action()["runs"]["steps"]
        return
    for job in workflow(path)["jobs"].values():
        yield from job["steps"]


ALL = [ROOT / "action.yml", *WORKFLOWS]
each_file = pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


# --- everywhere -------------------------------------------------------------------------------------------------------


@each_file
def test_actions_of_others_are_pinned_by_commit_and_say_their_version(path):
    used = [step["uses"] for step in steps_of(path) if "uses" in step]
    assert used
    for name in used:
        assert PINNED.fullmatch(name), name
    for line in path.read_text(encoding="utf-8").splitlines():
        if re.match(r"\s*(- )?uses:", line) and "OWNER/" not in line:
            assert re.search(r"@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line


def test_one_commit_for_each_action():
    """A pin that is moved in one file and forgotten in another is two programs to trust."""
    pins: dict[str, set[str]] = {}
    for path in ALL:
        for step in steps_of(path):
            name, _, commit = step.get("uses", "").partition("@")
            pins.setdefault(name, set()).add(commit)
    assert all(len(commits) == 1 for commits in pins.values()), pins


@each_file
def test_no_expression_in_a_script(path):
    scripts = [step["run"] for step in steps_of(path) if "run" in step]
    assert scripts
    for script in scripts:
        assert "${{" not in script
        assert bash_reads(script) == ""


def bash_reads(script: str) -> str:
    return subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False).stderr


def test_bash_reads_only_what_is_right():
    assert bash_reads("if true; then echo")


# --- the action -------------------------------------------------------------------------------------------------------


def test_every_input_is_used_and_no_other():
    action = read_action()
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"inputs\.([a-z-]+)", text)) == set(action["inputs"])
    for name, about in action["inputs"].items():
        assert about["description"].strip(), name
        assert about.get("required") or "default" in about
    ids = {step["id"] for step in action["runs"]["steps"] if "id" in step}
    assert set(re.findall(r"steps\.([a-z-]+)\.", text)) <= ids


def test_every_output_is_one_that_the_program_or_the_script_writes():
    sources = [(ROOT / "netpol_gen/cli" / f"{name}.py").read_text(encoding="utf-8") for name in ("publish", "review")]
    script = next(step["run"] for step in read_action()["runs"]["steps"] if step.get("id") == "run")
    kinds = {"broken", "opened", "closed"}  # str() of the kinds of a difference
    for name, about in read_action()["outputs"].items():
        assert about["value"] == f"${{{{ steps.run.outputs.{name} }}}}"
        assert name in kinds or f'"{name}"' in "".join(sources) or f"{name}=" in script, name


def test_every_outcome_is_named_where_people_look():
    sources = [(ROOT / "netpol_gen/cli" / f"{name}.py").read_text(encoding="utf-8") for name in ("publish", "review")]
    said = set()
    for line in re.findall(r'"outcome": (.*)', "".join(sources)):
        said |= set(re.findall(r'"([a-z-]+)"', line.partition(", ")[0]))
    assert {"read-only", "refused", "commented", "dry-run", "passed", "failed"} <= said
    words = re.findall(r"[a-z-]+", read_action()["outputs"]["outcome"]["description"])
    assert said | set(Done) <= set(words)
    about = (ROOT / "docs/pr-bot.md").read_text(encoding="utf-8")
    assert all(f"`{each}`" in about for each in (said - {"passed", "failed"}) | set(Done))


def test_secrets_go_through_the_environment_that_the_program_reads():
    (step,) = (step for step in read_action()["runs"]["steps"] if step.get("id") == "run")
    source = Path(ci.__file__).read_text(encoding="utf-8")
    secrets = {k for k, v in step["env"].items() if re.search(r"inputs\.(token|app-)", v)}
    assert secrets == set(re.findall(r'"(NETPOL_GEN_[A-Z_]+)"', source))
    assert not any(name in step["run"] for name in secrets)


def test_what_it_installs_is_all_that_is_needed():
    lines = (ROOT / "action-constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    for text in [*wanted, *project["project"]["optional-dependencies"]["bot"]]:
        requirement = Requirement(text)
        version = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{text}: {version}; make pins"
    assert lines[-len(pinned) :] == sorted(lines[-len(pinned) :])
    python = next(s["with"]["python-version"] for s in read_action()["runs"]["steps"] if "setup-python" in str(s))
    assert f"Python {python}" in lines[0]
    assert project["project"]["requires-python"] == f">={python}"


# --- workflows --------------------------------------------------------------------------------------------------------


@each_workflow
def test_a_workflow_asks_for_no_more_than_it_needs(path):
    text = workflow(path)
    assert text["permissions"] == {}
    (job,) = text["jobs"].values()
    assert job["permissions"] == PERMISSIONS[path.stem]
    assert job["timeout-minutes"] <= 60
    assert "concurrency" in text


@each_workflow
def test_a_workflow_gives_the_action_inputs_that_it_has(path):
    uses = [step for step in steps_of(path) if step.get("uses", "").startswith("OWNER/netpol-gen@")]
    (step,) = uses
    assert set(step["with"]) <= set(read_action()["inputs"])
    assert all(isinstance(value, str) for value in step["with"].values()), 'true and "true" are not the same'
    outputs = re.findall(r"steps\.netpol-gen\.outputs\.([a-z-]+)", path.read_text(encoding="utf-8"))
    assert set(outputs) <= set(read_action()["outputs"])


@each_workflow
def test_a_checkout_leaves_no_token_behind(path):
    (step,) = (step for step in steps_of(path) if step.get("uses", "").startswith("actions/checkout@"))
    assert step["with"]["persist-credentials"] is False


def test_triggers():
    propose, review = (workflow(EXAMPLES / f"github-{name}.yml")[True] for name in ("propose", "review"))
    assert set(propose) == {"schedule", "workflow_dispatch"}
    assert set(review) == {"pull_request"}


def test_every_example_is_looked_at_here():
    assert {path.stem for path in WORKFLOWS} == set(PERMISSIONS)
    assert {path.name for path in EXAMPLES.iterdir()} == {TEMPLATE.name, *(path.name for path in WORKFLOWS)}


# --- GitLab -----------------------------------------------------------------------------------------------------------


def template() -> tuple[dict[str, Any], dict[str, Any]]:
    header, jobs = yaml.safe_load_all(TEMPLATE.read_text(encoding="utf-8"))
    return header["spec"]["inputs"], jobs


def test_the_template_uses_every_input_outside_of_scripts():
    inputs, jobs = template()
    used = re.findall(r"\$\[\[ inputs\.(\w+) \]\]", TEMPLATE.read_text(encoding="utf-8"))
    assert set(used) == set(inputs)
    assert "default" not in inputs["package"]
    for job in jobs.values():
        for line in (*job.get("before_script", ()), *job.get("script", ())):
            assert "$[[" not in line


def test_the_template_runs_what_it_says(tmp_path):
    """Its scripts, with a program in place of ours that says what it was given."""
    _, jobs = template()
    base = jobs[".netpol-gen"]
    given = {
        "NG_PACKAGE": "x", "NG_PATH": "a b", "NG_FLOWS": "--flows $(touch spot)", "NG_INVENTORY": "i;j",
        "NG_FAIL_ON": "breaks", "CI_DEFAULT_BRANCH": "main", "PATH": "/usr/bin:/bin",
    }  # fmt: skip
    said = 'netpol-gen() { printf "<%s>" "$@"; }\n'
    names = [name for name in jobs if not name.startswith(".")]
    assert names == ["netpol-gen propose", "netpol-gen review"]
    for name in names:
        job = jobs[name]
        assert job["extends"] == ".netpol-gen"
        lines = [*base["before_script"], *job["script"]]
        assert bash_reads("\n".join(lines)) == ""
        # Installing is left out; the rest runs as it is.
        script = "\n".join(line for line in lines if "pip install" not in line and "-m venv" not in line)
        script = said + script.replace("/tmp/netpol-gen/bin/netpol-gen", "netpol-gen")
        for apply in ("true", "false"):
            ran = subprocess.run(
                ["bash", "-c", script], cwd=tmp_path, env=given | {"NG_APPLY": apply}, capture_output=True, text=True,
                check=True,
            )  # fmt: skip
            assert ("<--apply>" in ran.stdout) == (apply == "true")
            assert "<--path=a b>" in ran.stdout
            assert "--flows $(touch spot)" in ran.stdout
    assert not (tmp_path / "spot").exists()


def test_the_template_tells_schedules_from_requests():
    _, jobs = template()
    (propose,) = jobs["netpol-gen propose"]["rules"]
    (review,) = jobs["netpol-gen review"]["rules"]
    assert '"schedule"' in propose["if"]
    assert "$CI_DEFAULT_BRANCH" in propose["if"]
    assert review["if"] == '$CI_PIPELINE_SOURCE == "merge_request_event"'
    assert jobs[".netpol-gen"]["artifacts"]["when"] == "always"


# --- the evaluator of the tests themselves ----------------------------------------------------------------------------

CONTEXTS = {
    "github": {"event_name": "push", "event": {"a": {"b": "x"}}},
    "steps": {"run": {"outputs": {}}},
    "inputs": {"a-b": "It"},
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${{ inputs.a-b }}!", "It!"),
        ("${{ github.event.a.b }}${{ github.event.nothing.there }}", "x"),
        ("${{ steps.run.outputs.url }}", ""),
        ("${{ inputs.a-b == 'it' && 'yes' || 'no' }}", "yes"),
        ("${{ !(inputs.a-b != 'it') }}", "true"),
        ("${{ github.event.none == inputs.a-b }}", "false"),
        ("plain", "plain"),
    ],
)
def test_expressions(text, value):
    assert filled(text, CONTEXTS) == value


@pytest.mark.parametrize(
    "text",
    ["env.X", "inputs.c", "github.token", "fromJSON('1')", "steps.run", "github.event", "a b", "1 +", "'x' == 1"],
)
def test_an_unknown_expression_is_an_error(text):
    with pytest.raises(UnknownExpressionError):
        filled(f"${{{{ {text} }}}}", CONTEXTS)


def test_conditions():
    assert holds("success()", CONTEXTS, failed=False)
    assert not holds("inputs.a-b == 'it'", CONTEXTS, failed=True)
    assert holds("${{ always() && inputs.a-b != '' }}", CONTEXTS, failed=True)
