"""One file with everything in it: style, script, data. No network, and a policy inside the page that forbids it.

The Content-Security-Policy names the style and the script by their hashes and allows nothing else: no inline handler,
no `eval`, no request, and, by Trusted Types, no text that becomes markup. The data is JSON that no parser can leave.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup

from netpol_gen.emit import template_dir
from netpol_gen.report.html.document import document
from netpol_gen.report.html.material import Material
from netpol_gen.report.html.overview import overview
from netpol_gen.report.html.parties import text

TEMPLATE = "report.html.j2"
_STYLES = ("page.css", "views.css")
_SCRIPTS = ("base.js", "tables.js", "matrix.js", "workload.js", "search.js", "main.js")


def render(material: Material, version: str = "") -> str:
    """The page as HTML text, ending with a newline. The same material gives the same bytes.

    `version` is the program's, for the foot of the page.
    """
    data = json_data(document(material))
    style, script = _asset(_STYLES), _asset(_SCRIPTS)
    page: str = (
        _environment()
        .get_template(TEMPLATE)
        .render(
            title=text(material.title),
            version=version,
            csp=content_security_policy(style, script),
            style=Markup(style),  # noqa: S704 - our own file
            script=Markup(script),  # noqa: S704 - our own file
            data=Markup(data),  # noqa: S704 - escaped by json_data
            digest=hashlib.sha256(data.encode()).hexdigest(),
            **overview(material),
        )
    )
    return page


def json_data(value: Any) -> str:
    """JSON in ASCII without `<`, `>` and `&`: nothing in it can end the element or be read as markup."""
    found = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return found.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def content_security_policy(style: str, script: str) -> str:
    """Nothing but this very style and this very script."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src '{_hash(style)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )


def _hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


@cache
def _asset(names: tuple[str, ...]) -> str:
    """Files of `templates/report/`, one after the other, exactly as they stand between their tags."""
    directory = template_dir() / "report"
    return "\n" + "".join((directory / name).read_text(encoding="utf-8") for name in names)


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(template_dir(), encoding="utf-8"),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
