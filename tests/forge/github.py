"""GitHub on loopback: pull requests, comments, labels and checks, with state, held to GitHub's own description.

with GitHubServer(tmp_path) as server:
    server.git.commit("topic", {"a.yaml": "x"}, "a change")
    server.state.open_pull("topic", login="mallory")
    server.fail_next(429, headers={"Retry-After": "1"})
    ...  # the client uses server.url, server.git_url, server.repository, server.token
    assert server.state.open_pulls()
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.forge import contract
from tests.forge.github_answers import Answers
from tests.forge.github_shapes import Shapes, when
from tests.forge.github_state import Account, State
from tests.forge.web import Call, Reply, Server

ACTIONS = "github-actions"
DOCS = "https://docs.github.com/rest"
MESSAGES = {
    401: "Bad credentials",
    403: "Resource not accessible by integration",
    404: "Not Found",
    409: "Conflict",
    429: "API rate limit exceeded",
}


@functools.cache
def key_pair() -> rsa.RSAPrivateKey:
    """An app's key, made once: it takes longer than a test."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass(frozen=True)
class App:
    """A GitHub App with one installation."""

    id: int = 4711
    installation: int = 815
    slug: str = "netpol-app"


class GitHubServer(Server):
    """See the module. `prefix="/api/v3"` makes it an Enterprise Server.

    Tokens: `token` is a personal one of `netpol-bot`; `actions_token` is what a workflow gets, `read_only_token` what
    the workflow of a fork's request gets; `app`, `app_key` are an app that may write, too. `grant` adds others.
    """

    def __init__(
        self,
        root: Path,
        repository: str = "acme/infra",
        files: Mapping[str, str] | None = None,
        *,
        prefix: str = "",
    ) -> None:
        super().__init__(root, repository, files)
        self.contract = contract.github()
        self.prefix = prefix
        self.state = State(self.git)
        self.app = App()
        self._public = key_pair().public_key()
        self.app_key = (
            key_pair()
            .private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
            )
            .decode()
        )
        self.token, self.actions_token, self.read_only_token = (
            "ghp_" + "a1" * 18,
            "ghs_" + "b2" * 18,
            "ghs_" + "c3" * 18,
        )
        self.accounts = {
            self.token: Account("netpol-bot"),
            self.actions_token: Account(f"{ACTIONS}[bot]", app=ACTIONS),
            self.read_only_token: Account(f"{ACTIONS}[bot]", write=False, app=ACTIONS),
        }
        self.remaining = 4999
        self.page_limit = 100
        """How many items a page has at most."""

    def grant(self, token: str, login: str, *, write: bool = True, app: str = "") -> str:
        """Make a token known. Returns it."""
        self.accounts[token] = Account(login, write, app)
        return token

    # --- Server ---

    def may_git(self, user: str, password: str, *, write: bool) -> bool | None:
        account = self.accounts.get(password)
        if account is None or (account.app and user != "x-access-token"):
            return None
        return account.write or not write

    def judge_request(self, call: Call) -> list[str]:
        operation = self.contract.operation(call.method, call.path)
        if operation is None:
            return ["is not in the description"]
        return operation.request(call.query, call.body, has_body=bool(call.raw))

    def judge_reply(self, call: Call, reply: Reply) -> list[str]:
        operation = self.contract.operation(call.method, call.path)
        # A page that a proxy writes is nothing that GitHub publishes.
        if operation is None or not reply.kind.startswith("application/json"):
            return []
        return operation.response(reply.status, reply.data, has_body=reply.data is not None)

    def error(self, status: int, message: str = "", headers: Mapping[str, str] | None = None) -> Reply:
        if status == 422:
            return self.invalid(message or "no reason")
        text = message or MESSAGES.get(status, "Server Error")
        return Reply(status, {"message": text, "documentation_url": DOCS, "status": str(status)}, headers or {})

    def invalid(self, message: str = "", resource: str = "PullRequest", code: str = "custom", field: str = "") -> Reply:
        detail = {"resource": resource, "code": code}
        detail |= {"message": message} if message else {}
        detail |= {"field": field} if field else {}
        return Reply(422, {"message": "Validation Failed", "errors": [detail], "documentation_url": DOCS})

    def respond(self, call: Call) -> Reply:
        self.remaining -= 1
        reply = self._route(call)
        limits = {
            "Limit": "5000",
            "Remaining": str(self.remaining),
            "Reset": "1767229200",
            "Used": "1",
            "Resource": "core",
        }
        named = {f"X-RateLimit-{name}": value for name, value in limits.items()}
        return Reply(reply.status, reply.data, {**named, "X-GitHub-Request-Id": "0:1:2", **reply.headers})

    def _route(self, call: Call) -> Reply:
        scheme, _, secret = call.headers.get("Authorization", "").partition(" ")
        if scheme == "Bearer" and secret.count(".") == 2:
            return self._as_app(call, secret)
        account = self.accounts.get(secret) if scheme.lower() in {"token", "bearer"} else None
        if account is None:
            return self.error(401)
        self.state.refresh()
        if call.path == "/user" and call.method == "GET":
            if account.app:
                return self.error(403)
            return Reply(200, self.shapes.public_user(account.login))
        home = f"/repos/{self.repository}"
        if call.path != home and not call.path.startswith(f"{home}/"):
            return self.error(404)
        if call.method != "GET" and not account.write:
            return self.error(403)
        return Answers(self, call, account).find(call.path.removeprefix(home))

    def _as_app(self, call: Call, secret: str) -> Reply:
        """What an app may ask before it is an installation."""
        try:
            claims = jwt.decode(secret, self._public, algorithms=["RS256"])
        except jwt.InvalidTokenError:
            return self.error(401, "A JSON web token could not be decoded")
        if str(claims.get("iss")) != str(self.app.id):
            return self.error(401, "'Issuer' claim ('iss') must be an Integer")
        if call.method == "GET" and call.path == "/app":
            return Reply(200, self.shapes.app(self.app.slug))
        if call.method == "GET" and call.path == f"/repos/{self.repository}/installation":
            return Reply(200, self._installation())
        if call.method == "POST" and call.path == f"/app/installations/{self.app.installation}/access_tokens":
            token = self.grant("ghs_" + "d4" * 18, f"{self.app.slug}[bot]", app=self.app.slug)
            data = {"token": token, "expires_at": "2099-01-01T00:00:00Z", "permissions": {"checks": "write"}}
            return Reply(201, {**data, "repository_selection": "selected"})
        return self.error(404)

    def _installation(self) -> dict[str, Any]:
        number, owner = self.app.installation, self.repository.partition("/")[0]
        return {
            "id": number, "account": self.shapes.user(owner), "repository_selection": "selected",
            "access_tokens_url": f"{self.url}/app/installations/{number}/access_tokens",
            "repositories_url": f"{self.url}/installation/repositories", "app_id": self.app.id,
            "html_url": f"{self.origin}/settings/installations/{number}", "app_slug": self.app.slug, "target_id": 1,
            "target_type": "Organization", "permissions": {"checks": "write"}, "events": [], "single_file_name": None,
            "created_at": when(0), "updated_at": when(0), "suspended_by": None, "suspended_at": None,
        }  # fmt: skip

    @property
    def shapes(self) -> Shapes:
        return Shapes(self.state, self.repository, self.url, self.origin)
