"""Names that were chosen to break out of a file, a path, a comment or a terminal."""

from __future__ import annotations

from maker.capture import world
from maker.case import Case
from maker.cluster import Pod

ESCAPE = "\x1b]0;owned\x07\x1b[2J"
NEWLINE = "web\n---\nkind: Namespace\nmetadata: {name: owned}"


def hostile_names(case: Case) -> None:
    case.cluster, h = None, case.flows
    api = Pod("shop", "api-7d9c5f6b8-x2x4z", ("10.0.2.11",), "n2", {"app": "api"}, ("Deployment", "api"))
    hostile = [
        Pod("../../etc", "web-0", ("10.0.1.10",), "n1", {"app": "web"}, ("Deployment", "web")),
        Pod("shop", "../../../tmp/owned", ("10.0.1.11",), "n1", {"app": "up"}, ("Deployment", "../../../tmp/owned")),
        Pod("shop", NEWLINE, ("10.0.1.12",), "n1", {"app": "newline"}, ("Deployment", NEWLINE)),
        Pod("shop", f"esc{ESCAPE}", ("10.0.1.13",), "n1", {"app": "escape"}, ("Deployment", f"esc{ESCAPE}")),
        Pod("shop", "yes-0", ("10.0.1.14",), "n1", {"app": "on", "tier": "1e3", "no": "null"}, ("Deployment", "null")),
        Pod("shop", "badlabel-0", ("10.0.1.15",), "n1", {"app": "x]}\n- {}", "#": "a: b"}, ("Deployment", "badlabel")),
        Pod("shop", "kustomization-0", ("10.0.1.16",), "n1", {"app": "kust"}, ("Deployment", "kustomization")),
        Pod("shop", "dd-0", ("10.0.1.17",), "n1", {"app": "dd"}, ("Deployment", "default-deny")),
        Pod("shop\n", "nl", ("10.0.1.18",), "n1", {"app": "nl"}, ("Deployment", "nl")),
        Pod("shop", "web_a-0", ("10.0.1.19",), "n1", {"app": "web_a"}, ("Deployment", "web_a")),
        Pod("shop", "web.a-0", ("10.0.1.20",), "n1", {"app": "web.a"}, ("Deployment", "web.a")),
        Pod("shop", "kind-0", ("10.0.1.21",), "n1", {"app": "kind"}, ("Deploy\nment/../x", "kind")),
    ]
    for pod in hostile:
        h.call(pod, api, 8080)
    h.call(hostile[4], world("203.0.113.7", f"api{ESCAPE}.example\n- {{}}"), 443)


CASES = {"hostile_names": hostile_names}
