"""The action's steps, run one after the other as on a runner, with the program that its own install step installed."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.action.runner import Job, commands, use
from tests.forge.github import GitHubServer
from tests.forge.repository import ENVIRONMENT

pytestmark = pytest.mark.slow

INSTALL = "Install netpol-gen"
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
# What calls payments is api-gateway; this lets toolbox alone.
WRONG = WIDE.replace("podSelector: {}", "podSelector: {matchLabels: {app: toolbox}}")
PROPOSE = {"command": "propose", "flows": "exports/flows.jsonl", "inventory": "exports/inventory.yaml", "path": "k8s"}
REVIEW = {**PROPOSE, "command": "review"}


def git(directory: Path, *arguments: str) -> str:
    environment = ENVIRONMENT | {"HOME": str(directory)}
    ran = subprocess.run(
        ["git", *arguments], cwd=directory, env=environment, capture_output=True, text=True, check=True
    )
    return ran.stdout.strip()


def checkout(directory: Path, repository: Path, files: dict[str, str]) -> None:
    """A repository of manifests as a workflow has it, with what was exported beside them."""
    directory.mkdir()
    git(directory, "init", "--quiet", "--initial-branch=main")
    for path, text in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text, encoding="utf-8")
    git(directory, "add", ".")
    git(directory, "commit", "--quiet", "-m", "first")
    (directory / "exports").mkdir()
    for name in ("flows.jsonl", "inventory.yaml"):
        shutil.copy(repository / "sample-flows" / "payments" / name, directory / "exports")


@pytest.fixture(scope="module")
def temp(tmp_path_factory) -> Path:
    """The runner's scratch directory: the program is installed there once, by the action itself."""
    place = tmp_path_factory.mktemp("runner")
    temp, files = place / "temp dir", place / "files"
    for each in (temp, files):
        each.mkdir()
    used = use(Job(files, temp, files, {"token": ""}), {"command": "review"}, only=INSTALL)
    assert not used.failed, used.log
    return temp


@pytest.fixture
def job(tmp_path, temp, repository) -> Job:
    workspace, files = tmp_path / "work", tmp_path / "files"
    files.mkdir()
    checkout(workspace, repository, {"k8s/policies.yaml": WIDE})
    github = {"token": "", "repository": "acme/infra", "event_name": "schedule", "event": {}}
    environment = {"GITHUB_REPOSITORY": "acme/infra", "GITHUB_EVENT_NAME": "schedule"}
    return Job(workspace, temp, files, github, environment)


def on_pull_request(job: Job, head: str = "acme/infra", token: str = "", **environment: str) -> Job:
    """The same checkout, in a run about a request: the last commit on top of the one before."""
    base, tip = git(job.workspace, "rev-parse", "HEAD~1"), git(job.workspace, "rev-parse", "HEAD")
    event = {
        "pull_request": {
            "number": 1,
            "base": {"sha": base, "repo": {"full_name": "acme/infra"}},
            "head": {"sha": tip, "repo": {"full_name": head}},
        }
    }
    file = job.files / "event.json"
    file.write_text(json.dumps(event), encoding="utf-8")
    github = {**job.github, "event_name": "pull_request", "event": event, "token": token}
    said = {"GITHUB_EVENT_NAME": "pull_request", "GITHUB_EVENT_PATH": str(file), **environment}
    return replace(job, github=github, environment={**job.environment, **said})


def change(job: Job, text: str) -> None:
    (job.workspace / "k8s/policies.yaml").write_text(text, encoding="utf-8")
    git(job.workspace, "commit", "--quiet", "--all", "-m", "second")


def untouched(job: Job) -> bool:
    return git(job.workspace, "status", "--porcelain", "--untracked-files=no") == ""


# --- propose ----------------------------------------------------------------------------------------------------------


def test_propose_is_a_dry_run_unless_told_otherwise(job):
    used = use(job, PROPOSE)
    assert not used.failed, used.log
    assert used.outputs["outcome"] == "dry-run"
    assert (used.outputs["policies"], used.outputs["broken"]) == ("1", "0")
    assert (used.outputs["opened"], used.outputs["closed"]) == ("0", "3")
    assert (used.outputs["url"], used.outputs["number"], used.outputs["branch"]) == ("", "", "")
    assert "Would break: 0" in used.summary
    assert "+        - podSelector:" in used.log or "app: api-gateway" in used.log
    assert untouched(job)
    assert git(job.workspace, "branch", "--format=%(refname:short)") == "main"
    upload = used.inputs_of("actions/upload-artifact")
    kept = {path.name for path in Path(upload["path"]).iterdir()}
    assert kept == {"proposal.md", "proposal.json", "proposal.patch", "proposal.sarif"}
    assert used.outputs["sarif"] == str(Path(upload["path"]) / "proposal.sarif")
    assert used.inputs_of("github/codeql-action/upload-sarif") is None
    assert used.inputs_of("actions/setup-python")["update-environment"] is False


def test_nothing_to_propose(job):
    change(
        job,
        WIDE.replace("podSelector: {}", "podSelector: {matchLabels: {app: api-gateway}}")
        + "    ports:\n    - protocol: TCP\n      port: 8443\n",
    )
    used = use(job, PROPOSE)
    assert not used.failed, used.log
    assert (used.outputs["outcome"], used.outputs["policies"]) == ("dry-run", "0")


def test_rendered_manifests_are_read_from_a_file(job):
    (job.workspace / "out put.yaml").write_text(WIDE, encoding="utf-8")
    used = use(job, {k: v for k, v in PROPOSE.items() if k != "path"} | {"rendered": "out put.yaml"})
    assert not used.failed, used.log
    assert used.outputs["outcome"] == "dry-run"
    assert "policies.yaml" in {path.name for path in Path(used.outputs["artifacts"]).iterdir()}


def test_environments_of_a_file(job):
    (job.workspace / "netpol-gen.toml").write_text(
        '[[propose.environment]]\nname = "prod"\npath = "k8s"\nflows = ["exports/flows.jsonl"]\n'
        'inventory = "exports/inventory.yaml"\n',
        encoding="utf-8",
    )
    given = {"command": "propose", "config": "netpol-gen.toml"}
    assert use(job, given).outputs["policies"] == "1"
    assert use(job, {**given, "environment": "prod\n"}).outputs["policies"] == "1"
    used = use(job, {**given, "environment": "prod\nstage\n"})
    assert used.failed
    assert "--environment stage: the file has prod" in used.log


# --- review -----------------------------------------------------------------------------------------------------------


def test_review_of_a_request_that_breaks_something(job):
    change(job, WRONG)
    used = use(on_pull_request(job), {**REVIEW, "sarif": "true"})
    assert used.failed
    assert used.log.endswith("exit code 1\n")
    assert used.outputs["outcome"] == "failed"
    assert (used.outputs["broken"], used.outputs["opened"], used.outputs["closed"]) == ("1", "0", "3")
    assert int(used.outputs["findings"]) > 0
    assert "Would break: 1" in used.summary
    sarif = used.inputs_of("github/codeql-action/upload-sarif")
    assert json.loads(Path(sarif["sarif_file"]).read_text(encoding="utf-8"))["version"] == "2.1.0"
    assert sarif["category"] == "netpol-gen-review"
    assert used.inputs_of("actions/upload-artifact")["name"] == "netpol-gen"


def test_review_that_may_not_fail(job):
    change(job, WRONG)
    used = use(on_pull_request(job), {**REVIEW, "fail-on": "never", "artifact-name": ""})
    assert not used.failed, used.log
    assert (used.outputs["outcome"], used.outputs["broken"]) == ("passed", "1")
    assert used.inputs_of("actions/upload-artifact") is None


def test_review_of_rendered_manifests(job):
    for name, text in (("old.yaml", WIDE), ("new.yaml", WRONG)):
        (job.workspace / name).write_text(text, encoding="utf-8")
    given = {k: v for k, v in REVIEW.items() if k != "path"} | {"old-path": "old.yaml", "new-path": "new.yaml"}
    used = use(job, given)
    assert (used.failed, used.outputs["outcome"], used.outputs["broken"]) == (True, "failed", "1"), used.log


def test_findings_of_a_fork_are_attached_but_not_handed_to_code_scanning(job):
    change(job, WRONG)
    used = use(on_pull_request(job, head="mallory/infra"), {**REVIEW, "sarif": "true", "fail-on": "never"})
    assert not used.failed, used.log
    assert used.inputs_of("github/codeql-action/upload-sarif") is None
    assert used.inputs_of("actions/upload-artifact") is not None


def test_a_request_of_a_deleted_fork_is_one_of_a_fork(job):
    change(job, WRONG)
    asked = on_pull_request(job)
    asked.github["event"]["pull_request"]["head"]["repo"] = None
    used = use(asked, {**REVIEW, "sarif": "true"})
    assert used.inputs_of("github/codeql-action/upload-sarif") is None


# --- with a forge -----------------------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path) -> Iterator[GitHubServer]:
    with GitHubServer(tmp_path / "forge", files={"k8s/policies.yaml": WIDE}) as github:
        yield github


@pytest.fixture
def cloned(job, server) -> Job:
    """The job's checkout is one of the server's repository, and the token is the workflow's own."""
    git(job.workspace, "remote", "add", "origin", server.git_url)
    git(job.workspace, "fetch", "--quiet", str(server.git.path), "main")
    git(job.workspace, "reset", "--quiet", "--hard", "FETCH_HEAD")
    named = {"GITHUB_API_URL": server.url, "GITHUB_SERVER_URL": server.origin, "GITHUB_RUN_ID": "77"}
    return replace(job, github={**job.github, "token": server.actions_token}, environment={**job.environment, **named})


def test_propose_opens_one_request_and_leaves_it_alone_the_second_time(cloned, server):
    used = use(cloned, {**PROPOSE, "apply": "true"})
    assert not used.failed, used.log
    (pull,) = server.state.open_pulls()
    assert used.outputs["outcome"] == "opened"
    assert used.outputs["number"] == str(pull.number)
    assert used.outputs["branch"] == pull.branch
    assert used.outputs["url"].endswith(f"/pull/{pull.number}")
    assert server.git.files(pull.branch)["k8s/policies.yaml"] != WIDE.rstrip()
    assert server.git.files("main")["k8s/policies.yaml"] == WIDE.rstrip()
    assert [check.conclusion for check in server.state.checks.values()] == ["success"]
    assert untouched(cloned)
    again = use(cloned, {**PROPOSE, "apply": "true"})
    assert (again.failed, again.outputs["outcome"]) == (False, "unchanged"), again.log
    assert again.outputs["number"] == used.outputs["number"]
    assert len(server.state.open_pulls()) == 1
    assert server.actions_token not in used.log + used.summary


def test_propose_without_apply_asks_nothing_of_the_forge(cloned, server):
    used = use(cloned, PROPOSE)
    assert (used.failed, used.outputs["outcome"]) == (False, "dry-run"), used.log
    assert server.requests == server.git_requests == []


def test_propose_with_a_token_that_may_only_read(cloned, server):
    used = use(cloned, {**PROPOSE, "apply": "true", "token": server.read_only_token})
    assert not used.failed, used.log
    assert used.outputs["outcome"] == "read-only"
    assert "Would break: 0" in used.summary
    assert used.inputs_of("actions/upload-artifact") is not None
    assert server.state.open_pulls() == []
    assert set(server.git.heads()) == {"main"}


def test_propose_as_an_app(cloned, server):
    app = {"app-id": str(server.app.id), "app-private-key": server.app_key, "token": ""}
    used = use(cloned, {**PROPOSE, "apply": "true", **app})
    assert not used.failed, used.log
    (pull,) = server.state.open_pulls()
    assert pull.login == f"{server.app.slug}[bot]"
    assert "PRIVATE KEY" not in used.log + used.summary


def test_propose_without_any_token(cloned):
    used = use(cloned, {**PROPOSE, "apply": "true", "token": ""})
    assert (used.failed, used.outputs["outcome"]) == (True, "error")
    assert "Traceback" not in used.log


def requested(job: Job, server: GitHubServer, **other: str) -> Job:
    """A request that breaks something, and the run about it."""
    change(job, WRONG)
    git(job.workspace, "push", "--quiet", str(server.git.path), "HEAD:refs/heads/topic")
    server.state.open_pull("topic", fork=other.get("fork", ""))
    return on_pull_request(job, head=other.get("fork", "acme/infra"), token=other.get("token", server.actions_token))


def test_review_keeps_one_comment_and_reports_a_check(cloned, server):
    asked = requested(cloned, server)
    used = use(asked, {**REVIEW, "apply": "true"})
    assert used.failed
    assert used.outputs["outcome"] == "failed", used.log
    (comment,) = server.state.comments_of(1)
    assert "1 would break" in comment.body
    (check,) = server.state.checks.values()
    assert (check.name, check.conclusion) == ("netpol-gen review", "failure")
    assert {each["path"] for each in check.annotations} == {"k8s/policies.yaml"}
    again = use(asked, {**REVIEW, "apply": "true", "fail-on": "never"})
    assert not again.failed, again.log
    (comment,) = server.state.comments_of(1)
    assert [each.conclusion for each in server.state.checks.values()] == ["success"]


def test_review_of_a_fork_falls_back_to_summary_and_artifact(cloned, server):
    asked = requested(cloned, server, fork="mallory/infra", token=server.read_only_token)
    used = use(asked, {**REVIEW, "apply": "true", "sarif": "true", "fail-on": "never"})
    assert not used.failed, used.log
    assert used.outputs["broken"] == "1"
    assert server.state.comments_of(1) == []
    assert not server.state.checks
    assert "Would break: 1" in used.summary
    assert used.inputs_of("actions/upload-artifact") is not None
    assert used.inputs_of("github/codeql-action/upload-sarif") is None
    assert "no comment was written" in used.log


def test_review_of_a_fork_still_fails_when_it_should(cloned, server):
    asked = requested(cloned, server, fork="mallory/infra", token=server.read_only_token)
    used = use(asked, {**REVIEW, "apply": "true"})
    assert used.failed
    assert used.log.endswith("exit code 1\n")
    assert used.inputs_of("actions/upload-artifact") is not None


# --- what inputs may be -----------------------------------------------------------------------------------------------

HOSTILE = [
    "$(touch {spot})",
    "`touch {spot}`",
    '"; touch {spot}; "',
    "'; touch {spot}; '",
    "k8s\ntouch {spot}",
    "${{{{ github.token }}}}",
    "--apply",
    "a b\tc",
    "|| touch {spot}",
    "$HOME",
    "*",
]


@pytest.mark.parametrize("name", ["command", "path", "config", "base", "repo", "mode", "apply", "output-format"])
def test_a_hostile_input_is_no_program(job, name):
    spot = job.files / "spot"
    for text in HOSTILE:
        used = use(job, {**PROPOSE, name: text.format(spot=spot)})
        assert used.failed, text
        assert used.outputs["outcome"] == "error"
        assert not spot.exists()
        assert "Traceback" not in used.log
        assert commands(used.log) == []


@pytest.mark.parametrize("name", ["flows", "inventory", "environment", "arguments"])
def test_a_hostile_line_is_no_program(job, name):
    spot = job.files / "spot"
    for text in HOSTILE:
        used = use(job, {**PROPOSE, name: text.format(spot=spot)})
        # The tool's own glob, in which the exports are and all else is left out: no shell has expanded it.
        glob = text == "*" and name in ("flows", "arguments")
        assert used.failed is not glob, text
        assert not spot.exists()
        assert "Traceback" not in used.log


def test_names_with_blanks_and_quotes_are_names(job):
    strange = """our exports/it's "$(touch x)" & more"""
    (job.workspace / strange).mkdir(parents=True)
    for name in ("flows.jsonl", "inventory.yaml"):
        (job.workspace / "exports" / name).rename(job.workspace / strange / name)
    folder = "k8s of $HOME; `id`"
    git(job.workspace, "mv", "k8s", folder)
    git(job.workspace, "commit", "--quiet", "-m", "moved")
    given = {"flows": f"{strange}/flows.jsonl\n", "inventory": f"\n{strange}/inventory.yaml\n", "path": f"{folder}\n"}
    used = use(job, {**PROPOSE, **given})
    assert not used.failed, used.log
    assert used.outputs["policies"] == "1"
    assert not (job.workspace / "x").exists()


def test_an_input_of_the_other_command_is_refused(job):
    for given, said in (
        ({**REVIEW, "adopt": "true"}, "input adopt is for propose"),
        ({**PROPOSE, "fail-on": "any"}, "input fail-on is for review"),
        ({**PROPOSE, "command": ""}, "propose or review is wanted"),
        ({**PROPOSE, "apply": "yes"}, "true or false is wanted"),
        ({**PROPOSE, "rendered": "x.yaml"}, "exclude each other"),
    ):
        used = use(job, given)
        assert used.failed
        assert said in used.log
        assert used.log.endswith("exit code 2\n")


def test_more_arguments_one_a_line(job):
    used = use(
        job,
        {
            **PROPOSE,
            "arguments": "--layout={namespace}/x {policy}.yaml\n--max-loss=1.0\n",
            "mode": "full",
            "path": "new",
        },
    )
    assert not used.failed, used.log
    assert used.outputs["policies"] == "2"
    assert "new/backend/x payments.yaml" in used.log


def test_what_is_printed_is_no_command_of_the_runner(job):
    """All of it stands where the runner takes nothing for a command, until it reads a word that nobody could know."""
    logs = [use(job, {**PROPOSE, "output-format": form}).log for form in ("patch", "patch", "json")]
    keys = []
    for log in logs:
        start, *inside, end = log.strip().splitlines()
        assert start.startswith("::stop-commands::")
        keys.append(start.removeprefix("::stop-commands::"))
        assert end == f"::{keys[-1]}::"
        assert any("internal-port-restrict" in line or "podSelector" in line for line in inside)
        assert keys[-1] not in "".join(inside)
    assert len(set(keys)) == len(keys)
    assert all(len(key) == 32 for key in keys)


def test_secrets_stay_out_of_log_and_results(job):
    secret = "ghs_" + "5e" * 18
    key = "-----BEGIN RSA PRIVATE KEY-----\nc2VjcmV0\n-----END RSA PRIVATE KEY-----\n"
    refused = use(job, {**PROPOSE, "apply": "true", "token": secret, "app-id": "1", "app-private-key": key})
    assert "no RSA key in PEM form" in refused.log
    assert secret not in refused.log
    assert "c2VjcmV0" not in refused.log
    used = use(job, {**PROPOSE, "token": secret})
    assert not used.failed, used.log
    kept = [path.read_text(encoding="utf-8") for path in Path(used.outputs["artifacts"]).iterdir()]
    for text in (used.log, used.summary, *kept, *used.outputs.values()):
        assert secret not in text


def test_the_log_guard_would_be_noticed():
    assert commands("::error::x\n::stop-commands::k\n::error::y\n::k::\n::warning::z") == ["::error::x", "::warning::z"]
    assert commands("  ##[group]x") == ["##[group]x"]
