"""Calls to a forge: when to ask again, how long to wait for that, and what is said when it does not help.

A forge's client library raises; the forge's own module says what each exception means (`Failure`); what follows from
it is the same for all forges and is here. The libraries' own retries are switched off: they wait as long as the forge
asks, which may be an hour, and they repeat what may have been carried out.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import TypeVar
from urllib.parse import urlsplit

from netpol_gen.errors import OptionError, ReadOnlyError, RemoteError, printable

T = TypeVar("T")

ATTEMPTS = 6


@dataclass(frozen=True, slots=True)
class Limits:
    """How long to go on, in seconds."""

    max_wait: float = 300.0
    """For waiting and for calls that fail, together, in the whole life of a forge's object."""
    timeout: int = 30
    """For one answer."""
    pause: float = 1.0
    """The first wait where the forge does not say how long; then twice as long each time."""


DEFAULT_LIMITS = Limits()


class Fate(Enum):
    """What became of a request that failed."""

    FINAL = auto()
    """Refused for good."""
    BUSY = auto()
    """Not carried out, but may be later."""
    LOST = auto()
    """Nobody knows: it may have been carried out."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a call failed. `problem` may quote the forge; `wait` are the seconds that it asks for, if it does."""

    problem: str
    fate: Fate = Fate.FINAL
    status: int = 0
    wait: float | None = None
    read_only: bool = False


class RefusalError(RemoteError):
    """The forge answered, and its answer is no."""

    def __init__(self, message: str, status: int, problem: str) -> None:
        """`message` is for people, `problem` the part of it that the forge said."""
        super().__init__(message)
        self.status = status
        self.problem = problem


@dataclass
class Patience:
    """How many seconds may still be spent on calls that fail, and the first pause between two."""

    left: float
    pause: float

    def spend(self, seconds: float) -> None:
        """Count time that is gone."""
        self.left -= seconds

    def sleep(self, seconds: float) -> None:
        """Wait, which must have been found affordable."""
        time.sleep(seconds)
        self.spend(seconds)


@dataclass(frozen=True)
class Caller:
    """Carries out calls.

    `explain` says what an exception of `errors` means, given whether the call was to change something.
    """

    forge: str
    """What messages begin with."""
    errors: tuple[type[Exception], ...]
    explain: Callable[[Exception, bool], Failure]
    patience: Patience
    secrets: list[str] = field(default_factory=list, repr=False)
    """Texts that no message may contain, whoever quotes them."""

    def __call__(
        self, what: str, action: Callable[[], T], *, write: bool = False, recover: Callable[[], T | None] | None = None
    ) -> T:
        """What `action` returns, after as many attempts as are due. `what` completes "cannot …".

        `recover` is for an action that must not be carried out twice: it looks whether a lost request was carried out
        after all, and returns what the action would have returned.

        Raises:
            RefusalError: the forge said no.
            ReadOnlyError: it said that the token may not do this.
            RemoteError: no usable answer came in the time there is.

        """
        attempt = 0
        while True:
            started = time.monotonic()
            try:
                return action()
            except self.errors as error:
                failure = self.explain(error, write)
            # What is raised below is raised out here: the library's exceptions carry requests, and these the token.
            self.patience.spend(time.monotonic() - started)
            attempt += 1
            if failure.fate is Fate.FINAL:
                raise self._final(what, failure)
            self._wait(what, failure, attempt)
            if failure.fate is Fate.LOST and recover is not None:
                found = recover()
                if found is not None:
                    return found

    def _wait(self, what: str, failure: Failure, attempt: int) -> None:
        """Wait before the next attempt, or raise if there is to be none."""
        wait = self.patience.pause * 2 ** (attempt - 1) if failure.wait is None else failure.wait
        if attempt < ATTEMPTS and wait <= self.patience.left:
            self.patience.sleep(wait)
            return
        problem = f"{self.forge}: cannot {self.hide(what)}: {self.hide(failure.problem)}"
        if failure.wait is not None:
            until = datetime.now(UTC) + timedelta(seconds=wait)
            problem += f"; try again after {until:%Y-%m-%d %H:%M:%S} UTC, in {wait:.0f} s"
        raise RemoteError(f"{problem} (attempts: {attempt})")

    def _final(self, what: str, failure: Failure) -> RemoteError:
        problem = self.hide(failure.problem)
        message = f"{self.forge}: cannot {self.hide(what)}: {problem}"
        return ReadOnlyError(message) if failure.read_only else RefusalError(message, failure.status, problem)

    def hide(self, text: str) -> str:
        """`text` for people: no secrets, no control characters, not too long."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return printable(text, 400)


@dataclass(frozen=True, slots=True)
class AppKey:
    """A GitHub App's identity. `installation` 0: the one for the repository, which GitHub is asked for."""

    app: int | str
    private_key: str = field(repr=False)
    installation: int = 0


def seconds_to_wait(headers: Mapping[str, str]) -> float | None:
    """What `Retry-After` asks for, in seconds; None if it does not say. Names of headers in lower case."""
    asked = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}", asked):
        return float(asked)
    if asked:
        moment = moment_of(asked)
        return None if moment is None else max(0.0, (moment - here_and_now(headers)).total_seconds())
    return None


def seconds_until(epoch: str, headers: Mapping[str, str]) -> float | None:
    """Seconds until a moment in seconds since 1970, by the forge's clock; None if that is no moment."""
    if not re.fullmatch(r"\d{1,11}", epoch.strip()):
        return None
    # One more, because both are cut to whole seconds.
    return max(0.0, float(epoch) - here_and_now(headers).timestamp()) + 1


def here_and_now(headers: Mapping[str, str]) -> datetime:
    """The forge's time as its answer gives it, else ours: a runner's clock may be minutes off."""
    return moment_of(headers.get("date", "")) or datetime.now(UTC)


def moment_of(text: str) -> datetime | None:
    """A date as HTTP writes it."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def clean(text: str) -> str:
    """`text` as a forge takes it: NUL and halves of surrogate pairs, which none stores, are marked as unknown."""
    return "".join("\ufffd" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in text)


def fitting(text: str, limit: int, what: str) -> str:
    """`clean` of a text that is not longer than the forge takes.

    Raises:
        RemoteError: it is longer. GitHub answers some such requests with success and keeps the old text.

    """
    text = clean(text)
    if len(text) > limit:
        raise RemoteError(f"{what} has {len(text):,} characters, and the forge takes {limit:,}")
    return text


def as_stored(text: str | None) -> str:
    """A text of the forge's with the line ends that we write: an edit in a browser leaves CRLF."""
    return (text or "").replace("\r\n", "\n")


def same(one: str, other: str) -> bool:
    """Whether two texts are the same to a forge, which may cut what surrounds them."""
    return as_stored(one).strip() == as_stored(other).strip()


def checked_token(token: str) -> str:
    """A token that can stand in a header. The message does not quote it.

    Raises:
        OptionError: it cannot.

    """
    token = token.strip()
    if not token:
        raise OptionError("the forge's token is empty")
    if not re.fullmatch(r"[!-~]+", token):
        raise OptionError("the forge's token has characters that no token has")
    return token


def checked_url(url: str) -> str:
    """The address of a forge's API, without a slash at its end.

    Raises:
        OptionError: it is none. An address with credentials in it is refused too, and not quoted.

    """
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        named = False
    if not named or parts.scheme not in {"http", "https"} or not re.fullmatch(r"[!-~]+", url):
        raise OptionError("the forge's address is not http:// or https:// with a host")
    if parts.username is not None or parts.query or parts.fragment:
        raise OptionError("the forge's address has credentials, a query or a fragment in it; it must have none")
    return url.rstrip("/")


def checked_repository(name: str, least: int, most: int) -> str:
    """The full name of a repository, of `least` to `most` parts.

    Raises:
        OptionError: it is none.

    """
    parts = name.split("/")
    if not least <= len(parts) <= most or not all(re.fullmatch(r"[\w.-]+", part) and part.strip(".") for part in parts):
        raise OptionError(f"{printable(name)} is not the full name of a repository, such as owner/name")
    return name
