"""GitLab on loopback: merge requests, notes, labels and commit statuses, with state, held to its documentation.

with GitLabServer(tmp_path) as server:
    ...  # the client uses server.url, server.git_url, server.repository, server.token
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode
from zlib import crc32

from tests.forge import gitlab_contract
from tests.forge.github_shapes import START, timedelta
from tests.forge.web import Call, Reply, Server

PROJECT = 42
BODY_LIMIT = 1_000_000
# A line that begins so is carried out, with the rights of who wrote it.
QUICK_ACTION = re.compile(r"^/(close|merge|assign|label|approve|title)\b", re.MULTILINE)


@dataclass(frozen=True)
class Account:
    username: str
    write: bool = True
    job: bool = False

    @property
    def id(self) -> int:
        return crc32(self.username.encode())


@dataclass
class MergeRequest:
    iid: int
    username: str
    title: str
    description: str | None
    source_branch: str
    target_branch: str
    sha: str | None
    source_project: int | None = PROJECT
    state: str = "opened"
    labels: list[str] = field(default_factory=list)
    merge_commit: str | None = None
    created: int = 0
    closed: int = 0


@dataclass
class Note:
    id: int
    iid: int
    username: str
    body: str
    system: bool = False
    created: int = 0


@dataclass
class Status:
    id: int
    sha: str
    name: str
    state: str
    description: str | None
    username: str


def when(tick: int) -> str:
    return (START + timedelta(seconds=tick)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


class GitLabServer(Server):
    """See the module.

    `token` is a project access token of `netpol-bot`, `read_only_token` one of a guest, `job_token` a CI job's.
    """

    def __init__(
        self, root: Path, repository: str = "acme/platform/infra", files: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(root, repository, files)
        self.prefix = "/api/v4"
        self.token, self.read_only_token, self.job_token = (
            "glpat-" + "a1" * 10,
            "glpat-" + "b2" * 10,
            "glcbt-" + "c3" * 10,
        )
        self.accounts = {
            self.token: Account("netpol-bot"),
            self.read_only_token: Account("guest", write=False),
            self.job_token: Account("netpol-bot", write=False, job=True),
        }
        self.default_branch = "main"
        self.merge_requests: dict[int, MergeRequest] = {}
        self.notes: dict[int, Note] = {}
        self.statuses: list[Status] = []
        self.labels = {"bug"}
        self.quick_actions: list[str] = []
        """What was carried out because a text said so."""
        self._iids, self._ids, self._ticks = count(1), count(1001), count(1)

    @property
    def url(self) -> str:
        """The instance's address, as people give it."""
        return self.origin

    # --- what others do ---

    def open_merge_request(
        self,
        branch: str,
        base: str = "main",
        title: str = "A change",
        description: str | None = "",
        *,
        username: str = "mallory",
        project: int | None = PROJECT,
    ) -> MergeRequest:
        sha = self.git.head(branch) or "f" * 40
        made = MergeRequest(next(self._iids), username, title, description, branch, base, sha, project)
        made.created = next(self._ticks)
        self.merge_requests[made.iid] = made
        return made

    def say(self, iid: int, body: str, *, username: str = "mallory", system: bool = False) -> Note:
        note = Note(next(self._ids), iid, username, body, system, next(self._ticks))
        self.notes[note.id] = note
        return note

    def merge(self, iid: int) -> str:
        """Merge a request, for real. Returns the merge commit's id."""
        self.refresh()
        found = self.merge_requests[iid]
        found.merge_commit = self.git.merge(found.sha or "", found.target_branch)
        found.state, found.closed = "merged", next(self._ticks)
        return found.merge_commit

    def refresh(self) -> None:
        """Heads follow their branches; a request whose branch is gone stays open in GitLab."""
        heads = self.git.heads()
        for each in self.merge_requests.values():
            if each.state == "opened" and each.source_project == PROJECT:
                each.sha = heads.get(each.source_branch, each.sha)

    # --- Server ---

    def may_git(self, user: str, password: str, *, write: bool) -> bool | None:
        account = self.accounts.get(password)
        if account is None or (account.job and user != "gitlab-ci-token"):
            return None
        return account.write or not write

    def judge_request(self, call: Call) -> list[str]:
        return gitlab_contract.request(call.method, call.path, call.query, call.body, has_body=bool(call.raw))

    def judge_reply(self, call: Call, reply: Reply) -> list[str]:
        if not reply.kind.startswith("application/json"):
            return []
        return gitlab_contract.response(call.method, call.path, reply.status, reply.data)

    def error(self, status: int, message: Any = "", headers: Mapping[str, str] | None = None) -> Reply:
        usual = {401: "401 Unauthorized", 403: "403 Forbidden", 404: "404 Not Found", 429: "429 Too Many Requests"}
        return Reply(status, {"message": message or usual.get(status, f"{status} Error")}, headers or {})

    def respond(self, call: Call) -> Reply:
        headers = {name.lower(): value for name, value in call.headers.items()}
        account = self.accounts.get(headers.get("private-token", ""))
        if account is None:
            account = self.accounts.get(headers.get("job-token", ""))
            if account is None or not account.job:
                return self.error(401)
        elif account.job:
            return self.error(401)
        self.refresh()
        if call.path == "/user":
            return Reply(200, self.user(account.username)) if not account.job else self.error(401)
        home = f"/projects/{quote(self.repository, safe='')}"
        if call.path != home and not call.path.startswith(f"{home}/"):
            return self.error(404, "404 Project Not Found")
        if account.job and (call.method != "GET" or "/notes" in call.path):
            return self.error(401)
        if call.method != "GET" and not account.write:
            return self.error(403)
        return Answers(self, call, account).find(call.path.removeprefix(home))

    # --- shapes ---

    def user(self, username: str) -> dict[str, Any]:
        return {
            "id": crc32(username.encode()), "username": username, "name": username, "state": "active", "locked": False,
            "avatar_url": None, "web_url": f"{self.origin}/{username}",
        }  # fmt: skip

    def project(self) -> dict[str, Any]:
        path, name = self.repository, self.repository.rpartition("/")[2]
        return {
            "id": PROJECT, "description": None, "name": name, "name_with_namespace": path.replace("/", " / "),
            "path": name, "path_with_namespace": path, "created_at": when(0), "default_branch": self.default_branch,
            "ssh_url_to_repo": f"git@localhost:{path}.git", "http_url_to_repo": self.git_url, "archived": False,
            "web_url": f"{self.origin}/{path}", "visibility": "private", "last_activity_at": when(0),
        }  # fmt: skip

    def branch(self, name: str) -> dict[str, Any]:
        sha, protected = self.git.head(name), name in self.git.protected
        who = {f"{role}_{what}": "x" for role in ("author", "committer") for what in ("name", "email")}
        commit = {
            "id": sha, "short_id": sha[:8], "created_at": when(0), "parent_ids": [], "title": "t", "message": "t",
            **who, "authored_date": when(0), "committed_date": when(0),
            "web_url": f"{self.origin}/-/commit/{sha}",
        }  # fmt: skip
        return {
            "name": name, "merged": False, "protected": protected, "default": name == self.default_branch,
            "developers_can_push": False, "developers_can_merge": False, "can_push": not protected,
            "web_url": f"{self.origin}/{self.repository}/-/tree/{quote(name)}", "commit": commit,
        }  # fmt: skip

    def merge_request(self, each: MergeRequest) -> dict[str, Any]:
        return {
            "id": 9000 + each.iid, "iid": each.iid, "project_id": PROJECT, "title": each.title, "state": each.state,
            "description": each.description, "created_at": when(each.created), "updated_at": when(each.created),
            "merged_at": when(each.closed) if each.state == "merged" else None,
            "closed_at": when(each.closed) if each.state == "closed" else None, "target_branch": each.target_branch,
            "source_branch": each.source_branch, "author": self.user(each.username), "labels": sorted(each.labels),
            "source_project_id": each.source_project, "target_project_id": PROJECT, "draft": False, "sha": each.sha,
            "merge_commit_sha": each.merge_commit, "detailed_merge_status": "mergeable",
            "user_notes_count": sum(n.iid == each.iid and not n.system for n in self.notes.values()),
            "web_url": f"{self.origin}/{self.repository}/-/merge_requests/{each.iid}",
        }  # fmt: skip

    def note(self, each: Note) -> dict[str, Any]:
        return {
            "id": each.id, "body": each.body, "author": self.user(each.username), "created_at": when(each.created),
            "updated_at": when(each.created), "system": each.system, "noteable_id": 9000 + each.iid,
            "noteable_type": "MergeRequest", "noteable_iid": each.iid, "project_id": PROJECT, "resolvable": False,
            "confidential": False, "internal": False,
        }  # fmt: skip

    def status(self, each: Status) -> dict[str, Any]:
        return {
            "id": each.id, "sha": each.sha, "ref": None, "status": each.state, "name": each.name, "target_url": None,
            "description": each.description, "created_at": when(0), "started_at": None, "finished_at": when(0),
            "allow_failure": False, "author": self.user(each.username), "pipeline_id": 1,
        }  # fmt: skip


@dataclass(frozen=True)
class Answers:
    """One request to the project, and the answer to it. Each method takes the variable parts of the path."""

    server: GitLabServer
    call: Call
    account: Account

    def find(self, path: str) -> Reply:
        for method, pattern, answer in ROUTES:
            found = re.fullmatch(pattern, path)
            if method == self.call.method and found:
                return answer(self, *map(unquote, found.groups()))
        return self.server.error(404)

    def page(self, items: Sequence[Any], shape: Callable[[Any], Any]) -> Reply:
        size, page = min(int(self.call.asked("per_page", "20")), 100), int(self.call.asked("page", "1"))
        last = max(1, -(-len(items) // size))
        kept = {name: values[-1] for name, values in self.call.query.items()}
        address = f"{self.server.origin}{self.server.prefix}{self.call.path}"
        others = {"next": page + 1} if page < last else {}
        links = [
            f'<{address}?{urlencode({**kept, "page": n})}>; rel="{rel}"' for rel, n in {**others, "first": 1}.items()
        ]
        headers = {"Link": ", ".join(links), "X-Page": str(page), "X-Per-Page": str(size), "X-Total": str(len(items))}
        headers["X-Next-Page"] = str(page + 1) if page < last else ""
        return Reply(200, [shape(each) for each in items[(page - 1) * size : page * size]], headers)

    def ordered(self, items: Sequence[Any]) -> Sequence[Any]:
        """GitLab gives the newest first unless told otherwise."""
        return items if self.call.asked("sort", "desc") == "asc" else items[::-1]

    def act(self, text: str) -> None:
        self.server.quick_actions += [found.group() for found in QUICK_ACTION.finditer(text)]

    def project(self) -> Reply:
        return Reply(200, self.server.project())

    def branch(self, name: str) -> Reply:
        if not self.server.git.head(name):
            return self.server.error(404, "404 Branch Not Found")
        return Reply(200, self.server.branch(name))

    def list(self) -> Reply:
        state, branch = self.call.asked("state", "all"), self.call.asked("source_branch")
        found = [
            each
            for each in self.server.merge_requests.values()
            if state in {"all", each.state} and branch in {"", each.source_branch}
        ]
        return self.page(self.ordered(found), self.server.merge_request)

    def get(self, iid: str) -> Reply:
        found = self.server.merge_requests.get(int(iid))
        return Reply(200, self.server.merge_request(found)) if found else self.server.error(404)

    def create(self) -> Reply:
        asked = self.call.body
        branch, base = asked["source_branch"], asked["target_branch"]
        for each in self.server.merge_requests.values():
            known = (each.source_branch, each.target_branch, each.state, each.source_project)
            if known == (branch, base, "opened", PROJECT):
                message = f"Another open merge request already exists for this source branch: !{each.iid}"
                return self.server.error(409, [message])
        if len(asked["title"]) > 255:
            return self.server.error(400, {"title": ["is too long (maximum is 255 characters)"]})
        if not self.server.git.head(branch):
            return self.server.error(400, {"source_branch": ["does not exist"]})
        self.act(asked.get("description", ""))
        made = self.server.open_merge_request(
            branch, base, asked["title"], asked.get("description"), username=self.account.username
        )
        return Reply(201, self.server.merge_request(made))

    def update(self, iid: str) -> Reply:
        found, asked = self.server.merge_requests.get(int(iid)), self.call.body
        if found is None:
            return self.server.error(404)
        self.act(asked.get("description", ""))
        found.title, found.description = asked.get("title", found.title), asked.get("description", found.description)
        if asked.get("state_event") == "close":
            if found.state != "opened":
                return self.server.error(422, "cannot be closed")
            found.state, found.closed = "closed", found.created + 1
        for name in filter(None, asked.get("add_labels", "").split(",")):
            self.server.labels.add(name)
            found.labels = sorted({*found.labels, name})
        return Reply(200, self.server.merge_request(found))

    def notes(self, iid: str) -> Reply:
        if int(iid) not in self.server.merge_requests:
            return self.server.error(404)
        found = [each for each in self.server.notes.values() if each.iid == int(iid)]
        return self.page(self.ordered(found), self.server.note)

    def add_note(self, iid: str) -> Reply:
        body = self.call.body["body"]
        if int(iid) not in self.server.merge_requests:
            return self.server.error(404)
        if len(body) > BODY_LIMIT:
            return self.server.error(400, {"note": [f"is too long (maximum is {BODY_LIMIT} characters)"]})
        self.act(body)
        return Reply(201, self.server.note(self.server.say(int(iid), body, username=self.account.username)))

    def edit_note(self, _iid: str, note: str) -> Reply:
        found = self.server.notes.get(int(note))
        if found is None:
            return self.server.error(404)
        if found.username != self.account.username:
            return self.server.error(403)
        self.act(self.call.body["body"])
        found.body = self.call.body["body"]
        return Reply(200, self.server.note(found))

    def delete_note(self, _iid: str, note: str) -> Reply:
        return Reply(204) if self.server.notes.pop(int(note), None) else self.server.error(404)

    def statuses(self, sha: str) -> Reply:
        name = self.call.asked("name")
        found = [each for each in self.server.statuses if each.sha == sha and name in {"", each.name}]
        # Only the newest of a name, unless all are asked for: the others count as retried.
        newest = {each.name: each for each in found}
        return self.page(found if self.call.asked("all") else list(newest.values()), self.server.status)

    def set_status(self, sha: str) -> Reply:
        asked = self.call.body
        made = Status(
            len(self.server.statuses) + 1, sha, asked.get("name", "default"), asked["state"], asked.get("description"),
            self.account.username,
        )  # fmt: skip
        self.server.statuses.append(made)
        return Reply(201, self.server.status(made))


ROUTES: tuple[tuple[str, str, Callable[..., Reply]], ...] = (
    ("GET", r"", Answers.project),
    ("GET", r"/repository/branches/([^/]+)", Answers.branch),
    ("GET", r"/merge_requests", Answers.list),
    ("POST", r"/merge_requests", Answers.create),
    ("GET", r"/merge_requests/(\d+)", Answers.get),
    ("PUT", r"/merge_requests/(\d+)", Answers.update),
    ("GET", r"/merge_requests/(\d+)/notes", Answers.notes),
    ("POST", r"/merge_requests/(\d+)/notes", Answers.add_note),
    ("PUT", r"/merge_requests/(\d+)/notes/(\d+)", Answers.edit_note),
    ("DELETE", r"/merge_requests/(\d+)/notes/(\d+)", Answers.delete_note),
    ("GET", r"/repository/commits/([0-9a-f]+)/statuses", Answers.statuses),
    ("POST", r"/statuses/([0-9a-f]+)", Answers.set_status),
)
