"""The real `git` as a child process: what it may see of the environment, how long it may take, and what it said.

A token reaches it through `GIT_CONFIG_*` variables only, for one web origin only: arguments are readable by every user
of the machine, and a remote's URL or a configuration file outlives the run.
"""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from netpol_gen.errors import OptionError, RemoteError, printable

LOCAL_SECONDS = 120
REMOTE_SECONDS = 600

# Variables of Git's that are about the machine and its network. All others are dropped: they point at another
# repository or index (as they do inside a hook), or write logs that hold what was sent.
KEPT = frozenset(
    {
        "GIT_ASKPASS",
        "GIT_CEILING_DIRECTORIES",
        "GIT_CONFIG_GLOBAL",
        "GIT_CONFIG_NOSYSTEM",
        "GIT_CONFIG_SYSTEM",
        "GIT_DISCOVERY_ACROSS_FILESYSTEM",
        "GIT_EXEC_PATH",
        "GIT_PROXY_COMMAND",
        "GIT_SSH",
        "GIT_SSH_COMMAND",
        "GIT_SSH_VARIANT",
        "GIT_SSL_CAINFO",
        "GIT_SSL_CAPATH",
        "GIT_SSL_CERT",
        "GIT_SSL_KEY",
    }
)

ALWAYS = {
    "LC_ALL": "C",
    "LANGUAGE": "",
    "GIT_TERMINAL_PROMPT": "0",
    # `git status` would otherwise refresh the user's index while looking.
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    # A user's trace2.* settings may write arguments, variables and configuration to a file.
    "GIT_TRACE2": "0",
    "GIT_TRACE2_EVENT": "0",
    "GIT_TRACE2_PERF": "0",
}

# What a user's configuration must not decide: programs of the repository's are not run, nothing goes on in the
# background, and the same input gives the same objects and the same patch everywhere.
SETTINGS: tuple[tuple[str, str], ...] = (
    ("core.hooksPath", os.devnull),
    ("core.fsmonitor", "false"),
    ("core.splitIndex", "false"),
    ("core.protectHFS", "true"),
    ("core.protectNTFS", "true"),
    ("index.sparse", "false"),
    ("protocol.ext.allow", "never"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("fetch.prune", "false"),
    ("fetch.writeCommitGraph", "false"),
    ("submodule.recurse", "false"),
    ("push.followTags", "false"),
    ("push.gpgSign", "false"),
    ("push.recurseSubmodules", "no"),
    ("i18n.commitEncoding", "UTF-8"),
    ("http.followRedirects", "false"),
    ("http.lowSpeedLimit", "100"),
    ("http.lowSpeedTime", "60"),
)


@dataclass(frozen=True, slots=True)
class Login:
    """A token for one web origin (`https://github.com`), and for no other.

    `user` is the name that the forge wants beside it: `x-access-token` on GitHub, `oauth2` on GitLab.
    """

    token: str = field(repr=False)
    origin: str
    user: str = "x-access-token"

    def __post_init__(self) -> None:
        """A header ends at a line's end, so a token with one in it would write headers of its own."""
        if not self.token or not self.token.isprintable() or " " in self.token:
            raise OptionError("the token is empty, or has blanks or control characters in it")
        if not origin_of(self.origin):
            raise OptionError(f"{printable(self.origin)} is not a web address that a token can be for")

    @property
    def header(self) -> str:
        """The header that carries it."""
        pair = base64.b64encode(f"{self.user}:{self.token}".encode()).decode()
        return f"Authorization: Basic {pair}"

    def hidden(self, environment: Mapping[str, str]) -> dict[str, str]:
        """An environment without the variables that hold the token: what `git` starts has no use for them."""
        return {name: value for name, value in environment.items() if value != self.token}

    def scrub(self, text: str) -> str:
        """`text` without the token, in either form."""
        return text.replace(self.header.rpartition(" ")[2], "***").replace(self.token, "***")


def origin_of(url: str) -> str:
    """Scheme, host and port of a web address, in one spelling; empty for every other kind of remote."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    scheme, host = parts.scheme.lower(), parts.hostname or ""
    if scheme not in {"http", "https"} or not host or not re.fullmatch(r"[!-\[\]-~]+", url):
        return ""
    host = f"[{host}]" if ":" in host else host
    usual = {"http": 80, "https": 443}[scheme]
    return f"{scheme}://{host}" if port in {None, usual} else f"{scheme}://{host}:{port}"


@dataclass(frozen=True, slots=True)
class Finished:
    """How a call of `git` ended. `err` is scrubbed of the token and of passwords in addresses."""

    code: int
    out: bytes
    err: str

    @property
    def why(self) -> str:
        """The lines that say what went wrong, as one printable sentence."""
        lines = [line.strip() for line in self.err.splitlines()]
        said = [line for line in lines if line.startswith(("fatal:", "error:", "remote:", "ERROR:"))]
        texts = [line.partition(":")[2].strip() for line in said] or [line for line in lines if line]
        return printable("; ".join(text for text in texts if text), 500) or f"exit code {self.code}"


@dataclass(frozen=True, slots=True)
class Git:
    """Calls of `git` in one directory. `environment` is the caller's; `login` is used for its own origin only."""

    directory: Path
    environment: Mapping[str, str] = field(repr=False)
    login: Login | None = None

    def run(
        self,
        arguments: Sequence[str],
        *,
        stdin: bytes = b"",
        extra: Mapping[str, str] | None = None,
        url: str = "",
        seconds: int = LOCAL_SECONDS,
    ) -> Finished:
        """One call. `url` is the remote it talks to, if any; `extra` are variables for this call alone."""
        child = self._child(url) | dict(extra or {})
        try:
            process = subprocess.Popen(  # noqa: S603 - a list, without a shell
                ["git", *arguments],  # noqa: S607 - the git that the user has on PATH
                cwd=self.directory,
                env=child,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # Its helpers (git-remote-https, ssh) must die with it, and none of them may ask at the terminal.
                start_new_session=True,
            )
        except OSError as error:
            raise OptionError(f"cannot run git in {printable(self.directory)}: {error.strerror}") from error
        except ValueError as error:
            # A NUL, or half of a character: no argument of any program can have it.
            raise OptionError(f"git {arguments[0]} cannot be asked about such a name: {printable(error)}") from error
        with process:
            try:
                out, err = process.communicate(stdin, timeout=seconds)
            except subprocess.TimeoutExpired:
                _end(process)
                what = f"git {arguments[0]} took longer than {seconds} seconds"
                raise RemoteError(what) from None
            except BaseException:
                _end(process)
                raise
        return Finished(process.returncode, out, self._scrub(err.decode("utf-8", "replace")))

    def _scrub(self, text: str) -> str:
        text = self.login.scrub(text) if self.login else text
        return re.sub(r"(?<=://)[^/@\s']+@", "***@", text)

    def _child(self, url: str) -> dict[str, str]:
        kept = {name: value for name, value in self.environment.items() if not name.startswith("GIT_") or name in KEPT}
        settings = [*_configured(self.environment), *SETTINGS, *self._header(url)]
        numbered = {"GIT_CONFIG_COUNT": str(len(settings))}
        for index, (key, value) in enumerate(settings):
            numbered |= {f"GIT_CONFIG_KEY_{index}": key, f"GIT_CONFIG_VALUE_{index}": value}
        # With a token, nothing else is asked when it is refused: it must be seen that it was.
        return kept | ALWAYS | numbered | ({"GIT_ASKPASS": ""} if self.login else {})

    def _header(self, url: str) -> list[tuple[str, str]]:
        """The token's header: for its whole origin, and once more for exactly the remote's address.

        Git takes the settings of the most specific address, so that another token left in the repository's
        configuration (as CI systems do) would win or be sent as well. An empty value empties the list first.
        """
        if self.login is None:
            return []
        origin = origin_of(self.login.origin)
        scopes = [f"{origin}/"]
        if origin_of(url) == origin:
            scopes.append(origin + urlsplit(url).path)
        settings = [("credential.helper", "")]
        for scope in scopes:
            settings += [
                (f"http.{scope}.followRedirects", "false"),
                (f"http.{scope}.extraHeader", ""),
                (f"http.{scope}.extraHeader", self.login.header),
            ]
        return settings


def _configured(environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """Settings that the caller's environment already carries this way (`safe.directory`, say). Ours come after."""
    count = environment.get("GIT_CONFIG_COUNT", "")
    found = []
    for index in range(int(count) if count.isdecimal() and len(count) < 5 else 0):
        key, value = (environment.get(f"GIT_CONFIG_{part}_{index}") for part in ("KEY", "VALUE"))
        if key is not None and value is not None:
            found.append((key, value))
    return found


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a call and all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()
