"""What GitLab means by its refusals, and what python-gitlab raises besides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urljoin, urlsplit

import gitlab
import requests
import urllib3
from gitlab.exceptions import GitlabError, GitlabHttpError, GitlabParsingError, RedirectError

from netpol_gen.prbot.calls import Failure, Fate, seconds_to_wait, seconds_until

# python-gitlab takes the shape of JSON for granted. `action`s are only its calls and look-ups in what they return, so a
# defect of ours is not mistaken for one of an answer.
SHAPE = (AttributeError, KeyError, TypeError, ValueError)
ERRORS: tuple[type[Exception], ...] = (GitlabError, requests.RequestException, urllib3.exceptions.HTTPError, *SHAPE)


class LeadsAwayError(requests.RequestException):
    """An answer that leads to another host, where the token must not go."""


class Client(gitlab.Gitlab):
    """The library's client, without its own waiting, and with the headers of the last answer: its errors have none."""

    last: Mapping[str, str] = {}

    def watch(self) -> None:
        """Look at every answer from now on."""
        self.session.hooks["response"].append(self._note)

    def _note(self, response: requests.Response, **_: object) -> None:
        self.last = {name.lower(): value for name, value in response.headers.items()}
        if response.is_redirect:
            target = urlsplit(urljoin(response.url, response.headers["location"]))
            origin = urlsplit(response.url)
            # requests takes `Authorization` off on the way to another host, and knows nothing of GitLab's own headers.
            safe = target.scheme in {origin.scheme, "https"} and target.hostname == origin.hostname
            if not safe:
                raise LeadsAwayError

    def http_request(self, verb: str, path: str, *args: Any, **options: Any) -> requests.Response:
        """As the library's, asking once."""
        options |= {"obey_rate_limit": False, "retry_transient_errors": False}
        return super().http_request(verb, path, *args, **options)


def explain(client: Client, error: Exception, *, write: bool, job_token: bool) -> Failure:
    """What an exception means. `write`: the call was to change something."""
    if isinstance(error, GitlabParsingError):
        return Failure("the answer is not what GitLab's API gives")
    if isinstance(error, RedirectError | LeadsAwayError):
        return Failure("the server leads elsewhere; give the address that it leads to, if it is the right one")
    if isinstance(error, GitlabHttpError) or (isinstance(error, GitlabError) and error.response_code):
        return _refused(error, client.last, write=write, job_token=job_token)
    if isinstance(error, requests.exceptions.SSLError):
        return Failure(f"the connection is not secure: {error}")
    if isinstance(error, requests.exceptions.Timeout):
        return Failure("no answer in time", Fate.LOST)
    if isinstance(error, requests.exceptions.JSONDecodeError):
        return Failure("the answer is not what GitLab's API gives")
    if isinstance(error, requests.RequestException | urllib3.exceptions.HTTPError):
        return Failure(f"no connection, or it broke ({type(error).__name__})", Fate.LOST)
    return Failure(f"the answer is not what GitLab's API gives ({type(error).__name__})")


def _refused(error: GitlabError, headers: Mapping[str, str], *, write: bool, job_token: bool) -> Failure:
    status = int(error.response_code or 0)
    problem = f"{told(error.error_message)[:300] or 'no reason given'} ({status})"
    if status == 429:
        wait = seconds_to_wait(headers)
        if wait is None and headers.get("ratelimit-remaining", "").strip() == "0":
            wait = seconds_until(headers.get("ratelimit-reset", ""), headers)
        return Failure(problem, Fate.BUSY, status, wait)
    if status >= 500 or status == 408:
        return Failure(problem, Fate.LOST, status, seconds_to_wait(headers))
    if status == 409 and "resource lock" in problem.lower():
        return Failure(problem, Fate.BUSY, status)
    if write and job_token and status in {401, 403, 404}:
        problem += ": a job's token may read little and write nothing; use a project access token"
        return Failure(problem, status=status, read_only=True)
    if status == 401:
        return Failure(f"{problem}: the token is not accepted; it may have expired", status=status)
    if status == 403 and write:
        return Failure(f"{problem}: the token may not do this", status=status, read_only=True)
    if status == 404:
        return Failure(f"{problem}: there is no such thing, or the token may not see it", status=status)
    return Failure(problem, status=status)


def told(message: object) -> str:
    """The message of an answer: a text, a list of texts, or lists of them by field."""
    if isinstance(message, bytes):
        return message.decode(errors="replace")
    if isinstance(message, Mapping):
        return "; ".join(f"{name}: {told(value)}" for name, value in message.items())
    if isinstance(message, Sequence) and not isinstance(message, str):
        return ", ".join(map(told, message))
    return str(message or "")
