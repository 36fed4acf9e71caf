"""What GitHub means by its refusals, and what PyGithub raises besides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import github
import jwt
import requests
import urllib3

from netpol_gen.prbot.calls import Failure, Fate, seconds_to_wait, seconds_until

# PyGithub asserts what it expects of an answer and of the addresses in it, and takes the shape of JSON for granted: a
# page of a proxy ends in any of these. `action`s are only its calls and attribute look-ups, so a defect of ours is not
# mistaken for one of an answer.
SHAPE = (AssertionError, AttributeError, KeyError, RuntimeError, TypeError, ValueError)
ERRORS: tuple[type[Exception], ...] = (
    github.GithubException,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    jwt.PyJWTError,
    *SHAPE,
)

# GitHub: "If the retry-after response header is not present […] wait for at least one minute".
SECONDARY_WAIT = 60.0


def explain(error: Exception, write: bool) -> Failure:  # noqa: FBT001 - the signature that `Caller` asks for
    """What an exception means. `write`: the call was to change something."""
    if isinstance(error, github.BadAttributeException | github.IncompletableObject):
        return Failure("the answer is not what GitHub's API gives")
    if isinstance(error, github.GithubException):
        return _refused(error, write=write)
    if isinstance(error, requests.exceptions.SSLError):
        return Failure(f"the connection is not secure: {error}")
    if isinstance(error, requests.exceptions.Timeout):
        return Failure("no answer in time", Fate.LOST)
    if isinstance(error, requests.RequestException | urllib3.exceptions.HTTPError):
        return Failure(f"no connection, or it broke ({type(error).__name__})", Fate.LOST)
    if isinstance(error, RuntimeError):
        # Only redirections to elsewhere are reported so; the token must not follow them.
        return Failure(str(error))
    return Failure(f"the answer is not what GitHub's API gives ({type(error).__name__})")


def _refused(error: github.GithubException, *, write: bool) -> Failure:
    status, headers = error.status, {name.lower(): str(value) for name, value in (error.headers or {}).items()}
    said = told(error.data)
    if status in {403, 429} and (limit := _limit(said, headers, status)) is not None:
        return limit
    problem = f"{said or 'no reason given'} ({status})"
    if status >= 500 or status == 408:
        return Failure(problem, Fate.LOST, status, seconds_to_wait(headers))
    if status == 401:
        return Failure(f"{problem}: the token is not accepted; it may have expired", status=status)
    if status == 403 and write:
        return Failure(f"{problem}: the token may not do this", status=status, read_only=True)
    if status == 404:
        return Failure(f"{problem}: there is no such thing, or the token may not see it", status=status)
    return Failure(problem, status=status)


def _limit(said: str, headers: Mapping[str, str], status: int) -> Failure | None:
    """A refusal for having asked too much; None if it is none."""
    text = said.lower()
    secondary = "secondary rate limit" in text or "abuse detection" in text
    spent = headers.get("x-ratelimit-remaining", "").strip() == "0"
    if not (status == 429 or secondary or spent or "retry-after" in headers or "rate limit exceeded" in text):
        return None
    wait = seconds_to_wait(headers)
    if wait is None and spent:
        wait = seconds_until(headers.get("x-ratelimit-reset", ""), headers)
    if wait is None and secondary:
        wait = SECONDARY_WAIT
    return Failure(f"{said or 'too many requests'} ({status})", Fate.BUSY, status, wait)


def told(data: Any) -> str:
    """The message of an answer, with the details that GitHub gives beside it."""
    if not isinstance(data, dict):
        return ""
    if "data" in data and "message" not in data:
        # PyGithub puts a text that is no JSON there: an error page, of which the beginning says enough.
        return str(data["data"])[:200]
    parts = [str(data.get("message") or "")]
    errors = data.get("errors")
    for each in errors if isinstance(errors, list) else []:
        if not isinstance(each, dict):
            parts.append(str(each))
            continue
        place = ".".join(str(each[name]) for name in ("resource", "field") if each.get(name))
        detail = str(each.get("message") or each.get("code") or "")
        parts.append(f"{place} {detail}".strip())
    return ": ".join(part for part in parts if part)
