"""GET requests to the API server: patient with what passes, quick with what does not, and never anything but GET."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self
from urllib.parse import urlencode

import urllib3
from urllib3.exceptions import HTTPError, SSLError

from netpol_gen.cluster.connect import Access, Connection
from netpol_gen.errors import RemoteError, printable

ATTEMPTS = 6
"""Tries of one request; the pauses between them add up to some 15 s unless the server asks for longer ones."""
MAX_WAIT = 60.0
"""Longest pause that a Retry-After is granted, in seconds."""
TIMEOUT = urllib3.Timeout(connect=10, read=60)

_OVERLOADED = frozenset({429, 500, 502, 503, 504})
_UNAUTHORIZED = 401


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer: `data` is the decoded JSON object. `date` is the server's own clock, if it told it."""

    status: int
    data: Mapping[str, Any]
    date: datetime | None = None

    @property
    def reason(self) -> str:
        """What the server says about a refusal."""
        return printable(self.data.get("message") or self.data.get("reason") or f"status {self.status}", 300)


@dataclass(slots=True)
class Api:
    """One API server. `pause` and `now` are for tests that must not wait; `retries` counts what was tried again."""

    access: Access = field(default_factory=Access)
    pause: Callable[[float], object] = time.sleep
    connection: Connection = field(init=False)
    retries: int = 0

    def __post_init__(self) -> None:
        """Read the credentials; nothing is sent yet."""
        self.connection = self.access.open()

    def close(self) -> None:
        """Close idle connections."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, path: str, query: Mapping[str, str | int] | None = None) -> Reply:
        """An answer with any status below 500, retried within bounds while the server is overloaded or unreachable.

        Raises:
            RemoteError: unreachable, overloaded for too long, no credentials that it takes, or no Kubernetes API.

        """
        problem, renewed = "", False
        for attempt in range(ATTEMPTS):
            wait = 0.0
            try:
                response = self._send(path, query, TIMEOUT)
                with contextlib.closing(response):
                    body = response.read()
                if response.status == _UNAUTHORIZED and not renewed:
                    # A token may have run out; the files or the plugin may have a newer one.
                    renewed = True
                    self._renew()
                    continue
                if response.status not in _OVERLOADED:
                    return self._reply(response, body)
                problem = f"status {response.status}"
                wait = _retry_after(response)
            except SSLError as error:
                raise self._error(path, f"TLS: {error}") from None
            except HTTPError as error:
                problem = _plain(error)
            except _BrokenBodyError as error:
                problem = str(error)
            if attempt + 1 < ATTEMPTS:
                self.retries += 1
                self.pause(max(wait, 0.5 * 2**attempt))
        raise self._error(path, f"{problem}, {ATTEMPTS} times")

    @contextlib.contextmanager
    def stream(self, path: str, query: Mapping[str, str | int], read_timeout: float) -> Iterator[Any]:
        """An answer that is read while it comes: urllib3's response, whatever its status. Not retried.

        Raises:
            urllib3.exceptions.HTTPError: no connection, or it broke.

        """
        response = self._send(path, query, urllib3.Timeout(connect=10, read=read_timeout))
        with contextlib.closing(response):
            yield response

    def renew(self) -> None:
        """Read the credentials again."""
        self._renew()

    def _renew(self) -> None:
        old = self.connection
        self.connection = self.access.open()
        old.close()

    def _send(self, path: str, query: Mapping[str, str | int] | None, timeout: urllib3.Timeout) -> Any:
        connection = self.connection
        url = f"{connection.host}{path}"
        if query:
            url += f"?{urlencode(query)}"
        headers = {**connection.headers, **connection.credentials()}
        # Redirects are not followed: a token belongs to the server it was made for.
        return connection.pool.request(
            "GET", url, headers=headers, timeout=timeout, retries=False, redirect=False, preload_content=False
        )

    def _reply(self, response: Any, body: bytes) -> Reply:
        """The decoded answer.

        Raises:
            RemoteError: what answered is no Kubernetes API, or does not know us.
            _BrokenBodyError: the answer ends in the middle.

        """
        kind = str(response.headers.get("Content-Type", "")).partition(";")[0].strip().lower()
        status = int(response.status)
        if status == _UNAUTHORIZED:
            raise self._error("", self._unknown_user())
        if kind not in ("application/json", ""):
            what = f"status {status} with {printable(kind, 60)} instead of JSON"
            raise self._error("", f"{what}; is a proxy or a login page in between?")
        try:
            data = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise _BrokenBodyError(f"an answer that is not JSON ({printable(error, 80)})") from None
        if not isinstance(data, dict):
            raise self._error("", f"status {status} with JSON that is no object; is this a Kubernetes API?")
        return Reply(status, data, _date(response))

    def _unknown_user(self) -> str:
        if self.connection.has_credentials:
            return "the credentials are not accepted (401)"
        return "no credentials (401): the user entry has none, or its credential plugin failed"

    def _error(self, path: str, problem: str) -> RemoteError:
        return RemoteError(f"{printable(self.connection.host, 200)}{printable(path, 200)}: {printable(problem, 500)}")


class _BrokenBodyError(Exception):
    """An answer that ends in the middle: worth another try."""


def _plain(error: HTTPError) -> str:
    """Without the object addresses that urllib3 puts into its messages."""
    text = str(error.args[-1] if error.args else error)
    return f"{type(error).__name__}: {text.rpartition('>: ')[2]}"


def _retry_after(response: Any) -> float:
    """Seconds that the server asks to wait, within bounds; 0 if it asks for none."""
    text = str(response.headers.get("Retry-After", "")).strip()
    if text.isdigit():
        return min(float(text), MAX_WAIT)
    when, sent = _moment(text), _date(response)
    if when is None or sent is None:
        return 0.0
    # Both from the server's clock: ours may differ.
    return min(max((when - sent).total_seconds(), 0.0), MAX_WAIT)


def _date(response: Any) -> datetime | None:
    return _moment(str(response.headers.get("Date", "")))


def _moment(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
