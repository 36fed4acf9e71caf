"""An HTTP server that does on cue what a real API server will not do on demand. Standard library, loopback only."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Answer = Callable[["Handler", Mapping[str, str]], None]
"""Writes an answer; gets the request's query."""


class Handler(BaseHTTPRequestHandler):
    """Looks the path up in the server's script; what is not in it is an empty list."""

    protocol_version = "HTTP/1.1"
    server: Script

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        self.server.asked.append(self.path)
        answer = self.server.answers.get(parts.path)
        if answer is None and parts.path == "/apis":
            answer = say({"kind": "APIGroupList", "groups": []})
        (answer or listing())(self, query)

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def send(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in {"Date": self.date_time_string(), **named}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class Script(ThreadingHTTPServer):
    """Answers by path, and what was asked."""

    daemon_threads = True

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = dict(answers)
        self.asked: list[str] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what some tests are about."""

    def kubeconfig(self, folder: Path) -> str:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.server_port}"}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        path = folder / "scripted-kubeconfig"
        path.write_text(json.dumps(config), encoding="utf-8")
        return str(path)


@contextmanager
def serving(answers: Mapping[str, Answer]) -> Iterator[Script]:
    server = Script(answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def say(data: Any, status: int = 200, **headers: str) -> Answer:
    return lambda handler, _query: handler.send(status, json.dumps(data).encode(), **headers)


def html(status: int, text: str = "<html>Sign in</html>") -> Answer:
    return lambda handler, _query: handler.send(status, text.encode(), "text/html")


def listing(*items: Mapping[str, Any], more: str = "", **headers: str) -> Answer:
    metadata = {"resourceVersion": "7", **({"continue": more} if more else {})}
    return say({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": list(items)}, **headers)


def refusal(status: int, **headers: str) -> Answer:
    return say({"kind": "Status", "message": f"refused with {status}", "code": status}, status, **headers)


def cut(after: bytes = b'{"kind": "List", "items": [') -> Answer:
    """Promises more than it sends, then hangs up."""

    def answer(handler: Handler, _query: Mapping[str, str]) -> None:
        handler.send_response_only(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        handler.wfile.write(after)
        handler.close_connection = True

    return answer


def in_turn(*answers: Answer) -> Answer:
    """One after another; the last one stays."""
    left = list(answers)

    def answer(handler: Handler, query: Mapping[str, str]) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(handler, query)

    return answer
