"""What both forges' servers share: HTTP on loopback, a log of requests, faults on cue, Git behind `http-backend`."""

from __future__ import annotations

import base64
import binascii
import json
import re
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

from tests.forge.repository import ENVIRONMENT, Bare


class Asked(NamedTuple):
    """A request that came in: the path with its query, as it was sent, and the status of the answer (0: cut off)."""

    method: str
    path: str
    status: int


@dataclass(frozen=True)
class Call:
    """A request to the API. `path` is without the server's prefix and query, and not unquoted."""

    method: str
    path: str
    query: Mapping[str, Sequence[str]]
    headers: Mapping[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw) if self.raw else None

    def asked(self, name: str, default: str = "") -> str:
        """The last value of a query parameter."""
        return next(reversed(self.query.get(name, ())), default)


@dataclass(frozen=True)
class Reply:
    """An answer. `data` is JSON; None is no body."""

    status: int
    data: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    kind: str = "application/json; charset=utf-8"

    @property
    def body(self) -> bytes:
        if self.raw is not None:
            return self.raw
        return b"" if self.data is None else json.dumps(self.data).encode()


@dataclass
class Fault:
    """What the server does to one of the next requests whose method and path it fits (see `Server.fail_next`)."""

    method: str
    path: re.Pattern[str]
    times: int
    reply: Reply | None
    after: bool
    cut: bool
    delay: float

    def fits(self, method: str, path: str) -> bool:
        return self.times > 0 and (not self.method or self.method == method) and bool(self.path.search(path))


class Handler(BaseHTTPRequestHandler):
    """Hands requests to the server, and writes what it answers."""

    protocol_version = "HTTP/1.1"
    server: Socket
    # An idle connection is dropped, so that no thread outlives its test by long.
    timeout = 30

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def handle_any(self) -> None:
        self.server.owner.handle(self)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_any  # noqa: N815 - http.server names them so

    def content(self) -> bytes:
        """The request's body; Git sends a large one in chunks, which http.server leaves to us."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def answer(self, reply: Reply) -> None:
        body = reply.body
        self.send_response_only(reply.status)
        headers = {"Date": self.date_time_string(), "Content-Type": reply.kind, **reply.headers}
        if reply.status == 204:
            headers.pop("Content-Type")
        else:
            headers["Content-Length"] = str(len(body))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def hang_up(self) -> None:
        """Close the connection without a word."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


class Socket(ThreadingHTTPServer):
    """Listens on a free port of the loopback."""

    daemon_threads = True

    def __init__(self, owner: Server) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.owner = owner

    def handle_error(self, *_: object) -> None:
        """A client that went away is what some tests are about; anything else is a defect of ours."""
        if not isinstance(sys.exc_info()[1], OSError):
            self.owner.violations.append(f"the server failed: {traceback.format_exc()}")


class Server:
    """A forge: an API that a subclass answers for, and one Git repository. A context manager.

    It listens, and has an address, in the context only. At the end of the context it raises AssertionError for every
    request and answer that broke the contract.
    """

    prefix = ""
    """Where the API begins."""

    def __init__(self, root: Path, repository: str = "acme/infra", files: Mapping[str, str] | None = None) -> None:
        self.repository = repository
        self.git = Bare(root / "git", repository)
        self.git.create(files or {"README.md": "# infra\n"})
        self.requests: list[Asked] = []
        """API requests, in the order in which they were answered."""
        self.git_requests: list[Asked] = []
        self.violations: list[str] = []
        self.lock = threading.RLock()
        self._faults: list[Fault] = []
        self._stopping = threading.Event()
        self._socket: Socket
        self._thread: threading.Thread

    # --- life ---

    def __enter__(self) -> Self:
        # Not before: nobody would close the socket of a server whose construction ended early, in a skip for example.
        self._socket = Socket(self)
        self._thread = threading.Thread(target=self._socket.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stopping.set()
        self._socket.shutdown()
        self._thread.join()
        self._socket.server_close()
        if kind is None:
            self.check()

    def check(self) -> None:
        """Raise if the contract was broken so far."""
        if self.violations:
            raise AssertionError("not as published:\n" + "\n".join(self.violations[:20]))

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._socket.server_port}"

    @property
    def url(self) -> str:
        """The API's base."""
        return self.origin + self.prefix

    @property
    def git_url(self) -> str:
        return f"{self.origin}/{self.repository}.git"

    # --- for tests ---

    def fail_next(
        self,
        status: int = 0,
        *,
        method: str = "",
        path: str = "",
        times: int = 1,
        message: str = "",
        headers: Mapping[str, str] | None = None,
        html: str = "",
        after: bool = False,
        cut: bool = False,
        delay: float = 0.0,
    ) -> None:
        """Spoil the next `times` API requests whose method and path (a regular expression, searched) fit.

        `status` is answered instead of the real answer, with `message` (a usual one if empty) or with an HTML page;
        `cut` closes the connection instead; `delay` is waited in seconds first. With `after` the request has taken
        effect by then; a delay alone always lets it take effect.
        """
        reply = None
        if status and html:
            reply = Reply(status, raw=html.encode(), headers=headers or {}, kind="text/html")
        elif status:
            reply = self.error(status, message, headers or {})
        self._faults.append(Fault(method, re.compile(path), times, reply, after, cut, delay))

    def count(self, method: str, path: str = "") -> int:
        """How many API requests of a method there were to paths in which a regular expression is found."""
        return sum(each.method == method and bool(re.search(path, each.path)) for each in self.requests)

    # --- what a subclass says ---

    def respond(self, call: Call) -> Reply:
        """Answer a request, and change what it changes."""
        raise NotImplementedError

    def judge_request(self, call: Call) -> list[str]:
        """What is wrong with a request, by the forge's own contract."""
        raise NotImplementedError

    def judge_reply(self, call: Call, reply: Reply) -> list[str]:
        """What is wrong with an answer, by the forge's own contract."""
        raise NotImplementedError

    def error(self, status: int, message: str = "", headers: Mapping[str, str] | None = None) -> Reply:
        raise NotImplementedError

    def may_git(self, user: str, password: str, *, write: bool) -> bool | None:
        """Whether Git may read or push with these; None if nobody knows them."""
        raise NotImplementedError

    # --- requests ---

    def handle(self, handler: Handler) -> None:
        parts = urlsplit(handler.path)
        raw = handler.content()
        if parts.path.startswith(f"/{self.repository}.git/"):
            reply = self._git(handler, parts.path, parts.query, raw)
            self.git_requests.append(Asked(handler.command, handler.path, reply.status))
            handler.answer(reply)
            return
        path = parts.path.removeprefix(self.prefix)
        query = parse_qs(parts.query, keep_blank_values=True)
        call = Call(handler.command, path, query, dict(handler.headers.items()), raw)
        fault = next((each for each in self._faults if each.fits(call.method, path)), None)
        reply: Reply | None = None
        if fault is None or fault.after or (fault.reply is None and not fault.cut):
            with self.lock:
                reply = self._answer(call)
        if fault is not None:
            fault.times -= 1
            self._stopping.wait(fault.delay)
            if fault.cut:
                self.requests.append(Asked(call.method, handler.path, 0))
                handler.hang_up()
                return
            if fault.reply is not None:
                self._note(call, self.judge_reply(call, fault.reply))
                reply = fault.reply
        if reply is None:
            raise AssertionError("a fault without an effect")
        self.requests.append(Asked(call.method, handler.path, reply.status))
        handler.answer(reply)

    def _answer(self, call: Call) -> Reply:
        if wrong := self.judge_request(call):
            self._note(call, wrong)
            return self.error(400, "not as published")
        reply = self.respond(call)
        self._note(call, self.judge_reply(call, reply))
        return reply

    def _note(self, call: Call, wrong: Sequence[str]) -> None:
        self.violations += [f"{call.method} {call.path}: {each}" for each in wrong]

    # --- Git ---

    def _git(self, handler: Handler, path: str, query: str, raw: bytes) -> Reply:
        write = "git-receive-pack" in (parse_qs(query).get("service", [""])[0], path.rpartition("/")[2])
        user, password = basic(handler.headers.get("Authorization", ""))
        allowed = self.may_git(user, password, write=write) if password else None
        if allowed is None:
            challenge = {"WWW-Authenticate": 'Basic realm="Git"'}
            return Reply(401, raw=b"Authentication required.\n", headers=challenge, kind="text/plain")
        if not allowed:
            return Reply(403, raw=b"Write access to repository not granted.\n", kind="text/plain")
        names = {"CONTENT_TYPE": "Content-Type", "HTTP_CONTENT_ENCODING": "Content-Encoding"}
        sent = {name: handler.headers.get(header, "") for name, header in names.items()}
        environment = {
            **ENVIRONMENT,
            **{name: value for name, value in sent.items() if value},
            "GIT_PROJECT_ROOT": str(self.git.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": handler.headers.get("Git-Protocol", ""),
            "REQUEST_METHOD": handler.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REMOTE_USER": user,
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_LENGTH": str(len(raw)),
        }
        command = ["git", "http-backend"]
        ran = subprocess.run(command, env=environment, input=raw, capture_output=True, check=True, cwd=self.git.root)
        head, _, body = ran.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        status = int(headers.pop("Status", "200").split()[0])
        kind = headers.pop("Content-Type", "text/plain")
        return Reply(status, raw=body, headers=headers, kind=kind)


def basic(header: str) -> tuple[str, str]:
    """User and password of an Authorization header, empty if it is none."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        user, _, password = base64.b64decode(value).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user, password
