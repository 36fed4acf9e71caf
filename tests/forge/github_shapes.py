"""The state as GitHub's API shows it. Whether it is right is not decided here: the contract judges every answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zlib import crc32

from tests.forge.github_state import CheckRun, Comment, Pull, State

START = datetime(2026, 1, 1, tzinfo=UTC)


def when(tick: int) -> str:
    return (START + timedelta(seconds=tick)).strftime("%Y-%m-%dT%H:%M:%SZ")


def number_of(text: str) -> int:
    """An id that is the same for the same name."""
    return crc32(text.encode())


@dataclass(frozen=True)
class Shapes:
    """`api` is the API's base, `site` that of the pages for people."""

    state: State
    repository: str
    api: str
    site: str

    @property
    def repo_url(self) -> str:
        return f"{self.api}/repos/{self.repository}"

    def user(self, login: str, kind: str = "User") -> dict[str, Any]:
        at = f"{self.api}/users/{login}"
        links = {
            "followers_url": "followers", "following_url": "following{/other_user}", "gists_url": "gists{/gist_id}",
            "starred_url": "starred{/owner}{/repo}", "subscriptions_url": "subscriptions",
            "organizations_url": "orgs", "repos_url": "repos", "events_url": "events{/privacy}",
            "received_events_url": "received_events",
        }  # fmt: skip
        # A link with braces is a template, and the description calls some of them plain links.
        plain = {name: f"{at}/{rest}" for name, rest in links.items()}
        return {
            "login": login, "id": number_of(login), "node_id": f"U_{number_of(login)}", "gravatar_id": "",
            "avatar_url": f"{self.site}/avatars/{number_of(login)}", "url": at, "html_url": f"{self.site}/{login}",
            "type": kind, "user_view_type": "public", "site_admin": False, **plain,
        }  # fmt: skip

    def public_user(self, login: str) -> dict[str, Any]:
        return {
            **self.user(login), "name": login, "company": None, "blog": "", "location": None, "email": None,
            "hireable": None, "bio": None, "twitter_username": None, "public_repos": 0, "public_gists": 0,
            "followers": 0, "following": 0, "created_at": when(0), "updated_at": when(0),
        }  # fmt: skip

    def repo(self, full_name: str = "") -> dict[str, Any]:
        full_name = full_name or self.repository
        owner, _, name = full_name.partition("/")
        at = f"{self.api}/repos/{full_name}"
        links = {
            "archive": "/{archive_format}{/ref}", "assignees": "/assignees{/user}", "blobs": "/git/blobs{/sha}",
            "branches": "/branches{/branch}", "collaborators": "/collaborators{/collaborator}",
            "comments": "/comments{/number}", "commits": "/commits{/sha}", "compare": "/compare/{base}...{head}",
            "contents": "/contents/{+path}", "contributors": "/contributors", "deployments": "/deployments",
            "downloads": "/downloads", "events": "/events", "forks": "/forks", "git_commits": "/git/commits{/sha}",
            "git_refs": "/git/refs{/sha}", "git_tags": "/git/tags{/sha}", "hooks": "/hooks",
            "issue_comment": "/issues/comments{/number}", "issue_events": "/issues/events{/number}",
            "issues": "/issues{/number}", "keys": "/keys{/key_id}", "labels": "/labels{/name}",
            "languages": "/languages", "merges": "/merges", "milestones": "/milestones{/number}",
            "notifications": "/notifications{?since,all,participating}", "pulls": "/pulls{/number}",
            "releases": "/releases{/id}", "stargazers": "/stargazers", "statuses": "/statuses/{sha}",
            "subscribers": "/subscribers", "subscription": "/subscription", "tags": "/tags", "teams": "/teams",
            "trees": "/git/trees{/sha}",
        }  # fmt: skip
        open_count = sum(each.state == "open" for each in self.state.pulls.values())
        return {
            "id": number_of(full_name), "node_id": f"R_{number_of(full_name)}", "name": name, "full_name": full_name,
            "owner": self.user(owner), "private": True, "html_url": f"{self.site}/{full_name}", "description": None,
            "fork": full_name != self.repository, "url": at, **{f"{k}_url": at + rest for k, rest in links.items()},
            "clone_url": f"{self.site}/{full_name}.git", "git_url": f"git://localhost/{full_name}.git",
            "ssh_url": f"git@localhost:{full_name}.git", "svn_url": f"{self.site}/{full_name}", "mirror_url": None,
            "homepage": None, "language": None, "forks": 0, "forks_count": 0, "stargazers_count": 0,
            "watchers": 0, "watchers_count": 0, "size": 1, "default_branch": self.state.default_branch,
            "open_issues": open_count, "open_issues_count": open_count, "has_issues": True, "has_projects": False,
            "has_wiki": False, "has_downloads": False, "has_pages": False, "has_discussions": False,
            "archived": False, "disabled": False,
            "license": None, "pushed_at": when(0), "created_at": when(0), "updated_at": when(0),
        }  # fmt: skip

    def full_repo(self) -> dict[str, Any]:
        return {**self.repo(), "network_count": 0, "subscribers_count": 0}

    def label(self, name: str) -> dict[str, Any]:
        number = number_of(name)
        return {
            "id": number, "node_id": f"L_{number}", "url": f"{self.repo_url}/labels/{number}", "name": name,
            "color": self.state.labels[name], "default": False, "description": None,
        }  # fmt: skip

    def pull(self, pull: Pull) -> dict[str, Any]:
        """As in a list."""
        at, issue = f"{self.repo_url}/pulls/{pull.number}", f"{self.repo_url}/issues/{pull.number}"
        html = f"{self.site}/{self.repository}/pull/{pull.number}"
        links = {
            "self": at, "html": html, "issue": issue, "comments": f"{issue}/comments", "commits": f"{at}/commits",
            "review_comments": f"{at}/comments", "review_comment": f"{self.repo_url}/pulls/comments{{/number}}",
            "statuses": f"{self.repo_url}/statuses/{pull.head}",
        }  # fmt: skip
        return {
            "url": at, "id": 7000 + pull.number, "node_id": f"PR_{pull.number}", "number": pull.number,
            "html_url": html, "diff_url": f"{html}.diff", "patch_url": f"{html}.patch", "issue_url": issue,
            **{f"{name}_url": links[name] for name in ("comments", "commits", "review_comments", "review_comment")},
            "statuses_url": links["statuses"], "state": pull.state, "locked": False, "title": pull.title,
            "user": self.user(pull.login, pull.kind), "body": pull.body, "milestone": None, "assignee": None,
            "labels": [self.label(name) | {"description": ""} for name in pull.labels], "assignees": [],
            "requested_reviewers": [], "requested_teams": [], "created_at": when(pull.created),
            "updated_at": when(pull.updated), "closed_at": when(pull.closed) if pull.closed else None,
            "merged_at": when(pull.closed) if pull.merged else None, "merge_commit_sha": pull.merge_commit,
            "head": self._end(pull.fork or self.repository, pull.branch, pull.head, gone=pull.fork_deleted),
            "base": self._end(self.repository, pull.base, self.state.git.head(pull.base) or "0" * 40),
            "_links": {name: {"href": link} for name, link in links.items()},
            "author_association": "CONTRIBUTOR", "auto_merge": None, "draft": pull.draft,
        }  # fmt: skip

    def _end(self, full_name: str, ref: str, sha: str, *, gone: bool = False) -> dict[str, Any]:
        owner = full_name.partition("/")[0]
        return {
            "label": f"{owner}:{ref}", "ref": ref, "sha": sha,
            "user": None if gone else self.user(owner), "repo": None if gone else self.repo(full_name),
        }  # fmt: skip

    def full_pull(self, pull: Pull) -> dict[str, Any]:
        """As by itself."""
        return {
            **self.pull(pull), "merged": pull.merged, "mergeable": None, "rebaseable": None,
            "mergeable_state": "unknown", "merged_by": self.user("maintainer") if pull.merged else None,
            "comments": len(self.state.comments_of(pull.number)), "review_comments": 0,
            "maintainer_can_modify": False, "commits": 1, "additions": 1, "deletions": 0, "changed_files": 1,
        }  # fmt: skip

    def comment(self, comment: Comment) -> dict[str, Any]:
        return {
            "id": comment.id, "node_id": f"IC_{comment.id}", "body": comment.body,
            "url": f"{self.repo_url}/issues/comments/{comment.id}",
            "html_url": f"{self.site}/{self.repository}/pull/{comment.number}#issuecomment-{comment.id}",
            "issue_url": f"{self.repo_url}/issues/{comment.number}", "user": self.user(comment.login, comment.kind),
            "created_at": when(comment.created), "updated_at": when(comment.updated),
            "author_association": "NONE", "performed_via_github_app": None,
        }  # fmt: skip

    def app(self, slug: str) -> dict[str, Any]:
        return {
            "id": number_of(slug) % 100_000, "slug": slug, "node_id": f"A_{slug}", "owner": self.user("acme"),
            "name": slug, "description": None, "external_url": self.site, "html_url": f"{self.site}/apps/{slug}",
            "created_at": when(0), "updated_at": when(0), "permissions": {"checks": "write"}, "events": [],
        }  # fmt: skip

    def check(self, run: CheckRun) -> dict[str, Any]:
        at, done = f"{self.repo_url}/check-runs/{run.id}", run.status == "completed"
        return {
            "id": run.id, "node_id": f"CR_{run.id}", "head_sha": run.head, "external_id": run.external_id or "",
            "url": at, "html_url": f"{self.site}/{self.repository}/runs/{run.id}", "details_url": self.site,
            "status": run.status, "conclusion": run.conclusion, "started_at": when(run.created),
            "completed_at": when(run.created) if done else None, "name": run.name, "app": self.app(run.app),
            "check_suite": {"id": number_of(f"{run.app} {run.head}")}, "pull_requests": [],
            "output": {
                "title": run.title, "summary": run.summary, "text": run.text,
                "annotations_count": len(run.annotations), "annotations_url": f"{at}/annotations",
            },
        }  # fmt: skip

    def annotation(self, run: CheckRun, sent: Mapping[str, Any]) -> dict[str, Any]:
        wanted = (
            "path",
            "start_line",
            "end_line",
            "start_column",
            "end_column",
            "annotation_level",
            "title",
            "message",
        )
        blob = f"{self.site}/{self.repository}/blob/{run.head}/{sent['path']}".replace(" ", "%20")
        return {**{name: sent.get(name) for name in wanted}, "raw_details": sent.get("raw_details"), "blob_href": blob}

    def branch(self, name: str, *, protected: bool) -> dict[str, Any]:
        sha = self.state.git.head(name)
        at = f"{self.repo_url}/branches/{name}"
        commit = f"{self.repo_url}/commits/{sha}"
        person = {"name": "Tester", "email": "tester@example.com", "date": when(0)}
        verification = {
            "verified": False,
            "reason": "unsigned",
            "signature": None,
            "payload": None,
            "verified_at": None,
        }
        return {
            "name": name, "protected": protected, "protection_url": f"{at}/protection",
            "protection": {"enabled": protected, "required_status_checks": {"contexts": [], "checks": []}},
            "_links": {"self": at, "html": f"{self.site}/{self.repository}/tree/{name}"},
            "commit": {
                "sha": sha, "node_id": f"C_{sha}", "url": commit, "html_url": f"{self.site}/commit/{sha}",
                "comments_url": f"{commit}/comments", "author": None, "committer": None, "parents": [],
                "commit": {
                    "author": person, "committer": person, "message": "a commit", "url": commit, "comment_count": 0,
                    "tree": {"sha": sha, "url": f"{self.repo_url}/git/trees/{sha}"}, "verification": verification,
                },
            },
        }  # fmt: skip

    def rule(self, kind: str) -> dict[str, Any]:
        parameters = {"pull_request": {
            "dismiss_stale_reviews_on_push": False, "require_code_owner_review": False,
            "require_last_push_approval": False, "required_approving_review_count": 1,
            "required_review_thread_resolution": False,
        }}.get(kind)  # fmt: skip
        source = {"ruleset_source_type": "Repository", "ruleset_source": self.repository, "ruleset_id": 42}
        return {"type": kind, **source, **({"parameters": parameters} if parameters else {})}
