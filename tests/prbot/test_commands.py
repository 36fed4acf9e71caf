"""`propose` and `review` as users run them: processes, Git over HTTP, a GitHub held to its own description."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.forge.github import GitHubServer
from tests.forge.gitlab import GitLabServer
from tests.propose.made import OURS, manifest

ROOT = Path(__file__).resolve().parent.parent.parent
SAMPLE = ROOT / "sample-flows" / "payments"
EVIDENCE = [str(SAMPLE / "flows.jsonl"), "-i", str(SAMPLE / "inventory.yaml"), "-q"]
OPEN = manifest("payments", "payments", more=OURS, namespace="backend").decode()
FILES = {
    "k8s/payments.yaml": f"# reviewed by hand\n{OPEN}",
    "k8s/kustomization.yaml": "resources:\n- payments.yaml\n",
    "CODEOWNERS": "/k8s/ @acme/network\n",
}


@dataclass
class World:
    """A forge with a repository of manifests, and a clone of it."""

    server: GitHubServer | GitLabServer
    clone: Path
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments, code=0, stdin="", **environment):
        command = [sys.executable, "-m", "netpol_gen.cli.main", *arguments]
        plain = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "CI_", "GITLAB_", "NETPOL_GEN_"))}
        done = subprocess.run(
            command, env={**plain, **self.environment, **environment}, cwd=self.clone, text=True, input=stdin,
            capture_output=True, check=False, timeout=120,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        for token in (self.server.token, getattr(self.server, "actions_token", ""), self.server.read_only_token):
            assert not token or token not in done.stdout + done.stderr
        return done

    def propose(self, *arguments, evidence=EVIDENCE, **more):
        return self.run("propose", *evidence, "--path", "k8s", *arguments, **more)

    def writes(self):
        return [(a.method, a.path) for a in self.server.requests if a.method != "GET"]


def cloned(server, tmp_path):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(server.git.path), str(clone)], check=True)
    subprocess.run(["git", "-C", str(clone), "remote", "set-url", "origin", server.git_url], check=True)
    return clone


@pytest.fixture
def hub(tmp_path):
    with GitHubServer(tmp_path / "server", files=FILES) as server:
        environment = {
            "GITHUB_REPOSITORY": server.repository,
            "GITHUB_API_URL": server.url,
            "GITHUB_SERVER_URL": server.origin,
            "GITHUB_TOKEN": server.token,
        }
        yield World(server, cloned(server, tmp_path), environment)


@pytest.fixture
def lab(tmp_path):
    with GitLabServer(tmp_path / "server", files=FILES) as server:
        environment = {
            "GITLAB_CI": "true",
            "CI_PROJECT_PATH": server.repository,
            "CI_SERVER_URL": server.origin,
            "GITLAB_TOKEN": server.token,
        }
        yield World(server, cloned(server, tmp_path), environment)


def tree(clone):
    """All that a run must not change in a clone, apart from Git's own objects."""
    status = subprocess.run(
        ["git", "-C", str(clone), "status", "--porcelain"], text=True, capture_output=True, check=True
    )
    refs = subprocess.run(
        ["git", "-C", str(clone), "for-each-ref", "refs/heads"], text=True, capture_output=True, check=True
    )
    return status.stdout, refs.stdout, (clone / ".git" / "config").read_text()


def test_a_dry_run_prints_text_and_patch_and_sends_nothing(hub):
    before = tree(hub.clone)
    done = hub.propose()
    assert "## Would break: 0" in done.stdout
    assert "-# reviewed by hand" not in done.stdout
    assert "port: 8443" in done.stdout
    assert hub.server.requests == []
    assert hub.server.git_requests == []
    assert tree(hub.clone) == before
    patch = hub.propose("-o", "patch").stdout
    subprocess.run(["git", "-C", str(hub.clone), "apply", "--check"], input=patch, text=True, check=True)


def test_apply_opens_one_request_and_a_second_run_changes_nothing(hub):
    before = tree(hub.clone)
    done = hub.propose("--apply")
    (pull,) = hub.server.state.open_pulls()
    assert done.stderr.startswith(f"opened {hub.server.origin}")
    assert pull.branch.startswith("netpol-gen/")
    assert "8443" in hub.server.git.files(pull.branch)["k8s/payments.yaml"]
    assert hub.server.git.files(pull.branch)["k8s/payments.yaml"].startswith("# reviewed by hand\n")
    assert "`@acme/network`" in pull.body
    assert tree(hub.clone) == before
    heads, writes = hub.server.git.heads(), hub.writes()
    again = hub.propose("--apply")
    assert again.stderr.startswith("unchanged")
    assert hub.server.git.heads() == heads
    # A personal token may not write checks; that it tried is all that is new.
    assert [w for w in hub.writes()[len(writes) :] if "check-runs" not in w[1]] == []


def test_other_evidence_updates_the_same_request(hub, tmp_path):
    hub.propose("--apply")
    (first,) = hub.server.state.open_pulls()
    tip, body = hub.server.git.head(first.branch), first.body
    # As if nobody had called payments on that port: the records of the other workloads are left.
    lines = [line for line in (SAMPLE / "flows.jsonl").read_text().splitlines(keepends=True) if "8443" not in line]
    other = tmp_path / "other.jsonl"
    other.write_text("".join([*lines, *_calls_to_another_port()]))
    done = hub.propose("--apply", evidence=[str(other), *EVIDENCE[1:]])
    (second,) = hub.server.state.open_pulls()
    assert second.number == first.number
    assert done.stderr.startswith("updated")
    assert hub.server.git.head(second.branch) != tip
    assert second.body != body
    assert "9443" in hub.server.git.files(second.branch)["k8s/payments.yaml"]


def _calls_to_another_port():
    return [
        line.replace("8443", "9443")
        for line in (SAMPLE / "flows.jsonl").read_text().splitlines(keepends=True)
        if "8443" in line
    ]


def test_a_request_that_is_not_needed_any_more_is_closed_with_the_reason(hub):
    hub.propose("--apply")
    (pull,) = hub.server.state.open_pulls()
    content = hub.server.git.files(pull.branch)["k8s/payments.yaml"]
    hub.server.git.commit("main", {"k8s/payments.yaml": content}, "the same, by hand")
    done = hub.propose("--apply")
    assert done.stderr.startswith("closed")
    assert hub.server.state.open_pulls() == []
    assert any("as the evidence has it" in c.body for c in hub.server.state.comments_of(pull.number))
    assert pull.branch not in hub.server.git.heads()
    assert hub.propose("--apply").stderr.startswith("nothing")


def test_a_branch_that_somebody_pushed_to_is_left_as_it_is(hub, tmp_path):
    hub.propose("--apply")
    (pull,) = hub.server.state.open_pulls()
    theirs = hub.server.git.commit(
        pull.branch, {"k8s/note.txt": "mine"}, "by hand", parent=hub.server.git.head(pull.branch)
    )
    other = tmp_path / "other.jsonl"
    other.write_text("".join(_calls_to_another_port()))
    done = hub.propose("--apply", evidence=[str(other), *EVIDENCE[1:]])
    assert done.stderr.startswith("held")
    assert hub.server.git.head(pull.branch) == theirs


def test_a_token_that_may_only_read_leaves_a_summary_and_an_artifact(hub, tmp_path):
    summary, output = tmp_path / "summary.md", tmp_path / "output"
    done = hub.propose(
        "--apply", "--artifacts", str(tmp_path / "kept"),
        GITHUB_TOKEN=hub.server.read_only_token, GITHUB_STEP_SUMMARY=str(summary), GITHUB_OUTPUT=str(output),
    )  # fmt: skip
    assert "nothing was pushed or opened" in done.stderr
    assert "## Would break: 0" in summary.read_text()
    assert "outcome=read-only" in output.read_text().splitlines()
    assert {p.name for p in (tmp_path / "kept").iterdir()} == {
        f"proposal.{e}" for e in ("md", "patch", "json", "sarif")
    }
    assert hub.server.state.open_pulls() == []


def test_a_workflow_token_reports_a_check(hub):
    hub.propose("--apply", GITHUB_TOKEN=hub.server.actions_token)
    (pull,) = hub.server.state.open_pulls()
    (check,) = hub.server.state.checks.values()
    assert (check.name, check.conclusion) == ("netpol-gen proposal", "success")
    assert check.head == hub.server.git.head(pull.branch)


def test_an_app_pushes_and_opens_under_its_own_name(hub):
    app = {
        "NETPOL_GEN_APP_ID": str(hub.server.app.id),
        "NETPOL_GEN_APP_PRIVATE_KEY": hub.server.app_key,
        "GITHUB_TOKEN": "",
    }
    done = hub.propose("--apply", **app)
    (pull,) = hub.server.state.open_pulls()
    assert pull.login == f"{hub.server.app.slug}[bot]"
    assert hub.server.app_key not in done.stdout + done.stderr
    assert hub.propose("--apply", **app).stderr.startswith("unchanged")


def test_nothing_goes_to_another_server_than_the_forge(hub, tmp_path):
    with GitHubServer(tmp_path / "other", files=FILES) as other:
        subprocess.run(["git", "-C", str(hub.clone), "remote", "set-url", "origin", other.git_url], check=True)
        hub.propose("--apply", code=3)
        assert all(hub.server.token not in str(asked) for asked in other.git_requests)


def test_a_protected_target_is_never_pushed_to_and_a_protected_prefix_is_said(hub):
    hub.server.git.protect("main")
    head = hub.server.git.head("main")
    hub.propose("--apply")
    (pull,) = hub.server.state.open_pulls()
    assert hub.server.git.head("main") == head
    assert pull.base == "main"


def test_without_a_token_or_a_forge_the_error_says_what_is_missing(hub):
    assert "no token in the environment" in hub.propose("--apply", code=2, GITHUB_TOKEN="").stderr
    nowhere = {"GITHUB_REPOSITORY": "", "GITHUB_API_URL": "", "GITHUB_SERVER_URL": "", "GITHUB_TOKEN": ""}
    assert "--forge" in hub.propose("--apply", code=2, **nowhere).stderr


def test_environments_of_the_settings_file(hub, tmp_path):
    settings = tmp_path / "netpol-gen.toml"
    settings.write_text(
        f'[[propose.environment]]\nname = "prod"\npath = "k8s"\nflows = "{SAMPLE}/flows.jsonl"\n'
        f'inventory = ["{SAMPLE}/inventory.yaml"]\n'
    )
    done = hub.run("propose", "--config", str(settings), "--environment", "prod", "-o", "json")
    assert [e["name"] for e in json.loads(done.stdout)["environments"]] == ["prod"]
    assert "staging" in hub.run("propose", "--config", str(settings), "--environment", "staging", code=2).stderr
    # What would be ignored is refused: rendered output would have become a request of its own.
    for option in (["--path", "-"], ["--layout", "{namespace}/{policy}.yaml"], ["-i", EVIDENCE[2]]):
        assert "--path, -i and --layout" in hub.run("propose", "--config", str(settings), *option, code=2).stderr
    both = ["--base", "HEAD", "--path", "k8s", "--environment", "prod"]
    assert "--environment names" in hub.run("review", "--config", str(settings), *both, code=2).stderr
    settings.write_text('[[propose.environment]]\nname = "prod"\npath = "k8s"\nflows = "nosuch://bucket/f"\n')
    assert "nosuch://bucket/f" in hub.run("propose", "--config", str(settings), code=2).stderr
    settings.write_text('[[propose.environment]]\nname = "prod"\npath = "../x"\nflows = "f"\n')
    assert "no folder of the repository" in hub.run("propose", "--config", str(settings), code=2).stderr


def test_rendered_output_is_commented_on_once(hub):
    hub.server.git.commit("topic", {"x": "1"}, "topic")
    number = hub.server.state.open_pull("topic", login="mallory").number
    arguments = ["propose", *EVIDENCE, "--path", "-", "--pull-request", str(number), "--apply"]
    hub.run(*arguments, stdin=OPEN)
    (comment,) = hub.server.state.comments_of(number)
    assert "`backend/payments`" in comment.body
    assert "unchanged" in hub.run(*arguments, stdin=OPEN).stderr
    assert len(hub.server.state.comments_of(number)) == 1
    said = hub.run(*arguments[:-3], stdin=OPEN).stdout
    assert "would change 1 policy where this is rendered from" in said
    assert "roll back" not in said


def test_rendered_output_is_tightened_as_files_would_be(hub):
    """That it cannot be edited is no reason to have nothing to say of it."""
    done = hub.run("propose", *EVIDENCE, "--path", "-", "-o", "json", stdin=OPEN)
    (environment,) = json.loads(done.stdout)["environments"]
    (change,) = environment["changes"]
    assert (change["action"], change["policy"]) == ("edit", "backend/payments")
    assert environment["left_alone"] == []
    assert json.loads(done.stdout)["files"] == []


def test_a_folder_that_is_not_there_is_an_error(hub):
    assert "k9s: the commit has no file there" in hub.run("propose", *EVIDENCE, "--path", "k9s", code=2).stderr
    new = hub.run("propose", *EVIDENCE, "--path", "k9s", "--mode", "full", "-o", "json")
    assert json.loads(new.stdout)["files"]
    reviewed = hub.run("review", *REVIEW[1:-1], "k9s", "--base", "HEAD", code=2)
    assert "k9s: the commit has no file there" in reviewed.stderr


# --- review -----------------------------------------------------------------------------------------------------------


def request(hub, content, login="mallory"):
    """A request by somebody, and the runner's event about it."""
    base = hub.server.git.head("main")
    head = hub.server.git.commit("feature", {"k8s/payments.yaml": content}, "my policy", parent=base)
    pull = hub.server.state.open_pull("feature", login=login)
    subprocess.run(["git", "-C", str(hub.clone), "fetch", "-q", str(hub.server.git.path), "feature"], check=True)
    event = {
        "pull_request": {
            "number": pull.number,
            "base": {"sha": base, "repo": {"full_name": hub.server.repository}},
            "head": {"sha": head, "repo": {"full_name": hub.server.repository}},
        }
    }
    file = hub.clone.parent / "event.json"
    file.write_text(json.dumps(event))
    hub.environment |= {"GITHUB_EVENT_PATH": str(file), "GITHUB_TOKEN": hub.server.actions_token}
    return pull, head


CLOSED = manifest("payments", "payments", "policyTypes: [Ingress]", more=OURS, namespace="backend").decode()
REVIEW = ["review", "--flows", EVIDENCE[0], *EVIDENCE[1:], "--path", "k8s"]


def test_a_change_that_breaks_is_said_in_one_comment_and_a_failed_check(hub):
    pull, head = request(hub, CLOSED)
    done = hub.run(*REVIEW, "--apply", code=1)
    assert "## Would break: 1" in done.stdout
    (comment,) = hub.server.state.comments_of(pull.number)
    assert "## Would break: 1" in comment.body
    (check,) = hub.server.state.checks.values()
    assert (check.name, check.conclusion, check.head) == ("netpol-gen review", "failure", head)
    hub.run(*REVIEW, "--apply", code=1)
    assert len(hub.server.state.comments_of(pull.number)) == 1
    assert len(hub.server.state.checks) == 1
    assert hub.run(*REVIEW, "--fail-on", "never").returncode == 0


def test_a_change_without_meaning_is_one_line_and_replaces_what_was_said(hub):
    pull, _ = request(hub, CLOSED)
    hub.run(*REVIEW, "--apply", code=1)
    hub.server.git.commit(
        "feature", {"k8s/payments.yaml": "# hello\n" + OPEN}, "back", parent=hub.server.git.head("main")
    )
    head = hub.server.git.head("feature")
    subprocess.run(["git", "-C", str(hub.clone), "fetch", "-q", str(hub.server.git.path), "feature"], check=True)
    done = hub.run(*REVIEW, "--head", head, "--apply")
    assert "no difference in meaning" in done.stdout
    (comment,) = hub.server.state.comments_of(pull.number)
    assert "no difference in meaning" in comment.body


def test_a_comment_of_somebody_else_with_our_mark_is_not_touched(hub):
    pull, _ = request(hub, CLOSED)
    hub.run(*REVIEW, "--apply", code=1)
    (ours,) = hub.server.state.comments_of(pull.number)
    theirs = hub.server.state.say(pull.number, ours.body + "\nMINE", login="mallory")
    hub.run(*REVIEW, "--apply", code=1)
    assert theirs.body.endswith("MINE")
    assert len(hub.server.state.comments_of(pull.number)) == 2


def test_a_fork_s_token_falls_back_to_the_summary(hub, tmp_path):
    pull, _ = request(hub, CLOSED)
    hub.environment["GITHUB_TOKEN"] = hub.server.read_only_token
    summary = tmp_path / "summary.md"
    done = hub.run(*REVIEW, "--apply", code=1, GITHUB_STEP_SUMMARY=str(summary))
    assert "no comment was written" in done.stderr
    assert "## Would break: 1" in summary.read_text()
    assert hub.server.state.comments_of(pull.number) == []


def test_a_rendered_change_is_reviewed_from_two_files(hub, tmp_path):
    (tmp_path / "old.yaml").write_text(OPEN)
    arguments = [*REVIEW[:-2], "--before", str(tmp_path / "old.yaml"), "--after", "-", "-o", "sarif"]
    done = hub.run(*arguments, stdin=CLOSED, code=1)
    results = json.loads(done.stdout)["runs"][0]["results"]
    assert results[0]["ruleId"] == "NPC001"


def test_without_an_inventory_the_manifests_own_workloads_are_judged(hub):
    deployment = (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: payments, namespace: backend}\n"
        "spec: {selector: {matchLabels: {app: payments}}, template: {metadata: {labels: {app: payments}}}}\n"
    )
    base = hub.server.git.commit("main", {"k8s/deploy.yaml": deployment}, "deploy", parent=hub.server.git.head("main"))
    head = hub.server.git.commit("f", {"k8s/payments.yaml": CLOSED}, "close", parent=base)
    subprocess.run(["git", "-C", str(hub.clone), "fetch", "-q", str(hub.server.git.path), "f"], check=True)
    done = hub.run("review", "--path", "k8s", "--base", base, "--head", head)
    assert "what would break is not known" in done.stdout
    assert "`backend/payments[Deployment]`" in done.stdout


def committed(hub, files, branch="f"):
    """A commit on main with these files, in the clone."""
    sha = hub.server.git.commit(branch, files, "change", parent=hub.server.git.head("main"))
    subprocess.run(["git", "-C", str(hub.clone), "fetch", "-q", str(hub.server.git.path), branch], check=True)
    return sha


def test_the_manifests_own_workloads_are_where_a_kustomization_puts_them(hub):
    deployment = (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: payments}\n"
        "spec: {selector: {matchLabels: {app: payments}}, template: {metadata: {labels: {app: payments}}}}\n"
    )
    kustomization = "namespace: backend\nresources: [d.yaml, payments.yaml]\n"
    files = {"k8s/d.yaml": deployment, "k8s/kustomization.yaml": kustomization}
    base, head = committed(hub, files), committed(hub, {**files, "k8s/payments.yaml": CLOSED}, "g")
    done = hub.run("review", "--path", "k8s", "--base", base, "--head", head)
    # The two branches have main in common, where nobody takes the workload in.
    assert "`backend/payments[Deployment]`" in done.stdout


def test_a_base_outside_of_the_folder_is_part_of_what_is_reviewed(hub):
    overlay = {"o/prod/kustomization.yaml": "resources: [../../k8s]\n"}
    hub.server.git.commit("main", overlay, "overlay", parent=hub.server.git.head("main"))
    head = committed(hub, {"k8s/payments.yaml": CLOSED})
    base = committed(hub, {"x": "1"}, "g")
    arguments = ["review", "--flows", EVIDENCE[0], *EVIDENCE[1:], "--path", "o/prod", "--base", base, "--head", head]
    assert "## Would break: 1" in hub.run(*arguments, code=1).stdout


def test_a_folder_that_is_not_there_is_no_green_result(hub):
    head = committed(hub, {"k8s/payments.yaml": CLOSED})
    base = hub.server.git.head("main")
    done = hub.run("review", "--path", "k8S", "--base", base, "--head", head, code=2)
    assert "k8S: the commit has no file there" in done.stderr
    assert "is a file" in hub.run("review", "--path", "CODEOWNERS", "--base", base, "--head", head, code=2).stderr
    assert "k8S: the commit has no file there" in hub.run("propose", *EVIDENCE, "--path", "k8S", code=2).stderr
    assert "is a file" in hub.run("propose", *EVIDENCE, "--path", "k8s/payments.yaml", code=2).stderr
    assert "`k8S/backend/payments.yaml`" in hub.run("propose", *EVIDENCE, "--path", "k8S", "--mode", "full").stdout


def test_links_are_said(hub):
    subprocess.run(["git", "-C", str(hub.clone), "switch", "-qc", "links"], check=True)
    (hub.clone / "k8s" / "other.yaml").symlink_to("payments.yaml")
    subprocess.run(["git", "-C", str(hub.clone), "add", "-A"], check=True)
    author = ["-c", "user.name=x", "-c", "user.email=x@example.invalid"]
    subprocess.run(["git", "-C", str(hub.clone), *author, "commit", "-qm", "link"], check=True)
    done = hub.propose("--base", "links")
    assert "links or submodules: k8s/other.yaml" in done.stderr


# --- GitLab -----------------------------------------------------------------------------------------------------------


def test_a_merge_request_is_opened_once_and_updated(lab):
    done = lab.propose("--apply")
    assert done.stderr.startswith("opened")
    writes = len(lab.writes())
    assert lab.propose("--apply").stderr.startswith("unchanged")
    assert [w for w in lab.writes()[writes:] if "statuses" not in w[1]] == []
    assert any(branch.startswith("netpol-gen/") for branch in lab.server.git.heads())


def test_a_merge_request_of_somebody_is_reviewed_in_one_note(lab):
    base = lab.server.git.head("main")
    head = lab.server.git.commit("feature", {"k8s/payments.yaml": CLOSED}, "close", parent=base)
    iid = lab.server.open_merge_request("feature").iid
    subprocess.run(["git", "-C", str(lab.clone), "fetch", "-q", str(lab.server.git.path), "feature"], check=True)
    facts = {
        "CI_MERGE_REQUEST_IID": str(iid),
        "CI_MERGE_REQUEST_DIFF_BASE_SHA": base,
        "CI_COMMIT_SHA": head,
        "CI_MERGE_REQUEST_SOURCE_PROJECT_PATH": lab.server.repository,
    }
    done = lab.run(*REVIEW, "--apply", code=1, **facts)
    assert "## Would break: 1" in done.stdout
    assert "comment on 1 written" in done.stderr
    assert "unchanged" in lab.run(*REVIEW, "--apply", code=1, **facts).stderr
