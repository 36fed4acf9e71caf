"""What the environment says of the forge and the run: GitHub Actions, GitLab CI, or a shell with a token in it.

The environment is given as a mapping. Secrets are kept out of every `repr`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netpol_gen.errors import InputError, Place

GITHUB = "github"
GITLAB = "gitlab"
GITHUB_API = "https://api.github.com"
GITLAB_URL = "https://gitlab.com"


@dataclass(frozen=True, slots=True)
class App:
    """A GitHub App's installation: its key makes short-lived tokens."""

    app_id: str
    private_key: str = field(repr=False)
    installation_id: int = 0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a run takes place. Empty is what is not known.

    `forge` is `github` or `gitlab`. `url` is the address of GitHub's API or of the GitLab instance, `server` that of
    its Git repositories, the only one that is ever given the token. `token` is taken
    from the first of `NETPOL_GEN_TOKEN`, `GITHUB_TOKEN`, `GH_TOKEN`, `GITLAB_TOKEN` and `CI_JOB_TOKEN` that is set
    (`job_token` says that it was the last). `base` and `head` are the commits of the request that the run is about,
    `number` is its number, and `fork` says that it comes from a fork. `summary` and `outputs` are files that the runner
    reads, `run_url` is where people find the run and what it attached.
    """

    forge: str = ""
    repository: str = ""
    url: str = ""
    token: str = field(default="", repr=False)
    job_token: bool = False
    app: App | None = None
    number: int = 0
    base: str = ""
    head: str = ""
    fork: bool = False
    server: str = ""
    summary: str = ""
    outputs: str = ""
    run_url: str = ""


def surroundings(environment: Mapping[str, str], forge: str = "") -> Surroundings:
    """What the environment says; `forge` overrides what it says of that.

    Raises:
        InputError: the runner's event file cannot be read.

    """
    kind = forge or _kind(environment)
    if kind == GITHUB:
        return _github(environment)
    return _gitlab(environment) if kind == GITLAB else Surroundings(token=environment.get("NETPOL_GEN_TOKEN", ""))


def _kind(environment: Mapping[str, str]) -> str:
    if environment.get("GITHUB_ACTIONS") or environment.get("GITHUB_REPOSITORY"):
        return GITHUB
    return GITLAB if environment.get("GITLAB_CI") or environment.get("CI_PROJECT_PATH") else ""


def _first(environment: Mapping[str, str], *names: str) -> str:
    return next((environment[name] for name in names if environment.get(name)), "")


def _github(environment: Mapping[str, str]) -> Surroundings:
    repository = environment.get("GITHUB_REPOSITORY", "")
    server, run = environment.get("GITHUB_SERVER_URL", ""), environment.get("GITHUB_RUN_ID", "")
    event = _event(environment.get("GITHUB_EVENT_PATH", ""))
    request = _mapping(event, "pull_request")
    base, head = _mapping(request, "base"), _mapping(request, "head")
    # A fork that was deleted leaves no repository behind.
    source = str(_mapping(head, "repo").get("full_name", ""))
    return Surroundings(
        GITHUB,
        repository,
        environment.get("GITHUB_API_URL") or GITHUB_API,
        _first(environment, "NETPOL_GEN_TOKEN", "GITHUB_TOKEN", "GH_TOKEN"),
        False,
        _app(environment),
        _number(request.get("number", 0)),
        str(base.get("sha", "")),
        str(head.get("sha", "")),
        bool(request) and source != repository,
        server or server_of(GITHUB, environment.get("GITHUB_API_URL") or GITHUB_API),
        environment.get("GITHUB_STEP_SUMMARY", ""),
        environment.get("GITHUB_OUTPUT", ""),
        f"{server}/{repository}/actions/runs/{run}" if server and repository and run else "",
    )


def server_of(forge: str, url: str) -> str:
    """Where repositories are, told from where the API is: only github.com has the two under different names."""
    if forge == GITHUB and url.rstrip("/") == GITHUB_API:
        return "https://github.com"
    return url.rstrip("/").removesuffix("/api/v3")


def _app(environment: Mapping[str, str]) -> App | None:
    app, key = environment.get("NETPOL_GEN_APP_ID", ""), environment.get("NETPOL_GEN_APP_PRIVATE_KEY", "")
    installation = environment.get("NETPOL_GEN_APP_INSTALLATION_ID", "")
    return App(app, key, _number(installation)) if app and key else None


def _gitlab(environment: Mapping[str, str]) -> Surroundings:
    token = _first(environment, "NETPOL_GEN_TOKEN", "GITLAB_TOKEN")
    source = environment.get("CI_MERGE_REQUEST_SOURCE_PROJECT_PATH", "")
    number = _number(environment.get("CI_MERGE_REQUEST_IID", ""))
    project = environment.get("CI_MERGE_REQUEST_PROJECT_PATH") or environment.get("CI_PROJECT_PATH", "")
    return Surroundings(
        GITLAB,
        project,
        environment.get("CI_SERVER_URL") or GITLAB_URL,
        token or environment.get("CI_JOB_TOKEN", ""),
        not token and bool(environment.get("CI_JOB_TOKEN")),
        None,
        number,
        environment.get("CI_MERGE_REQUEST_DIFF_BASE_SHA", ""),
        environment.get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA") or environment.get("CI_COMMIT_SHA", ""),
        bool(number) and source not in ("", project),
        environment.get("CI_SERVER_URL") or GITLAB_URL,
        "",
        "",
        environment.get("CI_JOB_URL", ""),
    )


def _event(path: str) -> Mapping[str, Any]:
    if not path:
        return {}
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", Place(path)) from None
    except ValueError:
        raise InputError("the runner's event is no JSON", Place(path)) from None
    return data if isinstance(data, dict) else {}


def _mapping(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> int:
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0
