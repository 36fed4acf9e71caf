"""What GitHub's API answers about one repository, and what a request changes there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlencode

from tests.forge.github_shapes import Shapes
from tests.forge.github_state import Account, CheckRun, Pull, State
from tests.forge.web import Call, Reply

if TYPE_CHECKING:
    from tests.forge.github import GitHubServer

BODY_LIMIT = 65_536


@dataclass(frozen=True)
class Answers:
    """One request to the repository, and the answer to it. Each method takes the variable parts of the path."""

    server: GitHubServer
    call: Call
    account: Account

    @property
    def state(self) -> State:
        return self.server.state

    @property
    def shapes(self) -> Shapes:
        return self.server.shapes

    def find(self, path: str) -> Reply:
        for method, pattern, answer in ROUTES:
            found = re.fullmatch(pattern, path)
            if method == self.call.method and found:
                return answer(self, *map(unquote, found.groups()))
        return self.server.error(404)

    def page(self, items: Sequence[Any], shape: Callable[[Any], Any], key: str = "") -> Reply:
        """One page of a list, and links to the others. `key` is where the list lies in an object that counts it."""
        size = min(int(self.call.asked("per_page", "30")), self.server.page_limit)
        page, last = int(self.call.asked("page", "1")), max(1, -(-len(items) // size))
        shown = [shape(each) for each in items[(page - 1) * size : page * size]]
        others = {"prev": page - 1, "next": page + 1, "last": last, "first": 1}
        kept = {name: values[-1] for name, values in self.call.query.items()}
        links = [
            f'<{self.server.url}{self.call.path}?{urlencode({**kept, "page": number})}>; rel="{name}"'
            for name, number in others.items()
            if (page < last if name in {"next", "last"} else page > 1)
        ]
        data = {"total_count": len(items), key: shown} if key else shown
        return Reply(200, data, {"Link": ", ".join(links)} if links else {})

    def too_long(self, text: str | None, resource: str) -> Reply | None:
        if text is None or len(text) <= BODY_LIMIT:
            return None
        return self.server.invalid(f"body is too long (maximum is {BODY_LIMIT} characters)", resource, field="body")

    # --- the repository ---

    def repository(self) -> Reply:
        return Reply(200, self.shapes.full_repo())

    def branch(self, name: str) -> Reply:
        if not self.state.git.head(name):
            return self.server.error(404, "Branch not found")
        return Reply(200, self.shapes.branch(name, protected=name in self.state.git.protected))

    def rules(self, name: str) -> Reply:
        return self.page(self.state.rules.get(name, []), self.shapes.rule)

    # --- pull requests ---

    def pulls(self) -> Reply:
        state, head, base = (self.call.asked(name) for name in ("state", "head", "base"))
        owner, _, branch = head.partition(":")
        found = [
            each
            for each in self.state.pulls.values()
            if state == "all" or each.state == (state or "open")
            # Without an owner GitHub ignores the filter, as it does with one that it does not understand.
            if not branch or (owner, branch) == ((each.fork or self.server.repository).partition("/")[0], each.branch)
            if not base or each.base == base
        ]
        descending = self.call.asked("direction", "desc" if self.call.asked("sort", "created") == "created" else "asc")
        return self.page(sorted(found, key=lambda p: p.number, reverse=descending == "desc"), self.shapes.pull)

    def pull(self, number: str) -> Reply:
        pull = self.state.pulls.get(int(number))
        return Reply(200, self.shapes.full_pull(pull)) if pull else self.server.error(404)

    def open_pull(self) -> Reply:
        sent = self.call.body
        branch, base = sent["head"].removeprefix(self.server.repository.partition("/")[0] + ":"), sent["base"]
        heads = self.state.git.heads()
        for name, field in ((branch, "head"), (base, "base")):
            if name not in heads:
                return self.server.invalid(code="invalid", field=field)
        if any((p.branch, p.base, p.fork) == (branch, base, "") for p in self.state.open_pulls()):
            owner = self.server.repository.partition("/")[0]
            return self.server.invalid(f"A pull request already exists for {owner}:{branch}.")
        if self.state.git.contains(base, heads[branch]):
            return self.server.invalid(f"No commits between {base} and {branch}")
        if refused := self.too_long(sent.get("body"), "PullRequest"):
            return refused
        account, title, body = self.account, sent.get("title", ""), sent.get("body")
        pull = self.state.open_pull(branch, base, title, body, login=account.login, kind=account.kind)
        return Reply(201, self.shapes.full_pull(pull), {"Location": self.shapes.pull(pull)["url"]})

    def edit_pull(self, number: str) -> Reply:
        pull, sent = self.state.pulls.get(int(number)), self.call.body
        if pull is None:
            return self.server.error(404)
        if refused := self.too_long(sent.get("body"), "Issue"):
            return refused
        if sent.get("state") == "open" and pull.state == "closed":
            return self._reopen(pull)
        pull.title, pull.body = sent.get("title", pull.title), sent.get("body", pull.body)
        pull.base, pull.updated = sent.get("base", pull.base), next(self.state.ticks)
        if sent.get("state") == "closed":
            self.state.close(pull.number)
        return Reply(200, self.shapes.full_pull(pull))

    def _reopen(self, pull: Pull) -> Reply:
        if pull.merged or not self.state.git.head(pull.branch):
            return self.server.invalid("state cannot be changed. The branch has been deleted.", field="state")
        pull.state, pull.closed = "open", 0
        return Reply(200, self.shapes.full_pull(pull))

    # --- labels ---

    def labels(self) -> Reply:
        return self.page(sorted(self.state.labels), self.shapes.label)

    def _label(self, name: str) -> str | None:
        """The label as it is spelled: GitHub does not tell case apart."""
        return next((known for known in self.state.labels if known.lower() == name.lower()), None)

    def label(self, name: str) -> Reply:
        known = self._label(name)
        return Reply(200, self.shapes.label(known)) if known else self.server.error(404)

    def make_label(self) -> Reply:
        sent = self.call.body
        if self._label(sent["name"]):
            return self.server.invalid(resource="Label", code="already_exists", field="name")
        if len(sent["name"]) > 50:
            return self.server.invalid("name is too long (maximum is 50 characters)", "Label", field="name")
        self.state.labels[sent["name"]] = sent.get("color", "ededed")
        return Reply(201, self.shapes.label(sent["name"]), {"Location": f"{self.shapes.repo_url}/labels/x"})

    def pull_labels(self, number: str) -> Reply:
        pull = self.state.pulls.get(int(number))
        return self.page(pull.labels, self.shapes.label) if pull else self.server.error(404)

    def add_labels(self, number: str) -> Reply:
        pull = self.state.pulls.get(int(number))
        if pull is None:
            return self.server.error(404)
        for name in self.call.body["labels"]:
            known = self._label(name) or name
            self.state.labels.setdefault(known, "ededed")
            if known not in pull.labels:
                pull.labels.append(known)
        return Reply(200, [self.shapes.label(name) for name in pull.labels])

    # --- comments ---

    def comments(self, number: str) -> Reply:
        if int(number) not in self.state.pulls:
            return self.server.error(404)
        return self.page(self.state.comments_of(int(number)), self.shapes.comment)

    def add_comment(self, number: str) -> Reply:
        body = self.call.body["body"]
        if int(number) not in self.state.pulls:
            return self.server.error(404)
        if not body.strip():
            return self.server.invalid(resource="IssueComment", code="missing_field", field="body")
        if refused := self.too_long(body, "IssueComment"):
            return refused
        made = self.state.say(int(number), body, login=self.account.login, kind=self.account.kind)
        shown = self.shapes.comment(made)
        return Reply(201, shown, {"Location": shown["url"]})

    def edit_comment(self, comment: str) -> Reply:
        found = self.state.comments.get(int(comment))
        if found is None:
            return self.server.error(404)
        if refused := self.too_long(self.call.body["body"], "IssueComment"):
            return refused
        found.body, found.updated = self.call.body["body"], next(self.state.ticks)
        return Reply(200, self.shapes.comment(found))

    def delete_comment(self, comment: str) -> Reply:
        found = self.state.comments.pop(int(comment), None)
        return Reply(204) if found else self.server.error(404)

    # --- checks ---

    def check(self, run: str) -> Reply:
        found = self.state.checks.get(int(run))
        return Reply(200, self.shapes.check(found)) if found else self.server.error(404)

    def checks_of(self, ref: str) -> Reply:
        name, app, heads = self.call.asked("check_name"), self.call.asked("app_id"), self.state.git.heads()
        head = heads.get(ref.removeprefix("refs/heads/").removeprefix("heads/"), ref)
        found = [c for c in self.state.checks.values() if c.head == head and (not name or c.name == name)]
        found = [c for c in found if not app or str(self.shapes.app(c.app)["id"]) == app]
        if self.call.asked("filter", "latest") == "latest":
            found = list({(c.app, c.name): c for c in found}.values())
        return self.page(found[::-1], self.shapes.check, "check_runs")

    def make_check(self) -> Reply:
        if not self.account.app:
            return self.server.error(403, "You must authenticate via a GitHub App.")
        sent, number = self.call.body, next(self.state.ids)
        if sent["head_sha"] not in self.state.git.git("rev-list", "--all").split():
            return self.server.invalid(f"No commit found for SHA: {sent['head_sha']}", "CheckRun")
        run = CheckRun(number, self.account.app, sent["name"], sent["head_sha"], "queued", None)
        run.created = next(self.state.ticks)
        self.state.checks[number] = run
        return self._change(run, sent, 201)

    def edit_check(self, run: str) -> Reply:
        found = self.state.checks.get(int(run))
        if found is None:
            return self.server.error(404)
        if found.app != self.account.app:
            return self.server.error(
                403, f"Invalid app_id `{self.server.app.id}` - check run can only be modified by its app"
            )
        return self._change(found, self.call.body, 200)

    def _change(self, run: CheckRun, sent: Mapping[str, Any], status: int) -> Reply:
        run.name, run.status = sent.get("name", run.name), sent.get("status", run.status)
        run.external_id = sent.get("external_id", run.external_id)
        if "conclusion" in sent:
            run.conclusion, run.status = sent["conclusion"], "completed"
        if output := sent.get("output"):
            run.title, run.summary = output["title"], output["summary"]
            run.text = output.get("text", run.text)
            # As published: "annotations are appended to the list of annotations that already exist".
            run.annotations += output.get("annotations", [])
        return Reply(status, self.shapes.check(run))

    def annotations(self, run: str) -> Reply:
        found = self.state.checks.get(int(run))
        if found is None:
            return self.server.error(404)
        return self.page(found.annotations, lambda sent: self.shapes.annotation(found, sent))


ROUTES: tuple[tuple[str, str, Callable[..., Reply]], ...] = (
    ("GET", r"", Answers.repository),
    ("GET", r"/branches/(.+)", Answers.branch),
    ("GET", r"/rules/branches/(.+)", Answers.rules),
    ("GET", r"/pulls", Answers.pulls),
    ("POST", r"/pulls", Answers.open_pull),
    ("GET", r"/pulls/(\d+)", Answers.pull),
    ("PATCH", r"/pulls/(\d+)", Answers.edit_pull),
    ("GET", r"/labels", Answers.labels),
    ("POST", r"/labels", Answers.make_label),
    ("GET", r"/labels/([^/]+)", Answers.label),
    ("GET", r"/issues/(\d+)/labels", Answers.pull_labels),
    ("POST", r"/issues/(\d+)/labels", Answers.add_labels),
    ("GET", r"/issues/(\d+)/comments", Answers.comments),
    ("POST", r"/issues/(\d+)/comments", Answers.add_comment),
    ("PATCH", r"/issues/comments/(\d+)", Answers.edit_comment),
    ("DELETE", r"/issues/comments/(\d+)", Answers.delete_comment),
    ("POST", r"/check-runs", Answers.make_check),
    ("GET", r"/check-runs/(\d+)", Answers.check),
    ("PATCH", r"/check-runs/(\d+)", Answers.edit_check),
    ("GET", r"/check-runs/(\d+)/annotations", Answers.annotations),
    ("GET", r"/commits/(.+)/check-runs", Answers.checks_of),
)
"""What this server knows of GitHub: a closed set. Anything else is 404, and often a violation, too."""
