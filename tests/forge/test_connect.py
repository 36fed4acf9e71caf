"""The one way to a forge: what it refuses before it asks anything, and what it does without the libraries."""

from __future__ import annotations

import subprocess
import sys

import pytest

from netpol_gen.errors import OptionError
from netpol_gen.prbot.calls import AppKey, seconds_to_wait, seconds_until
from netpol_gen.prbot.connect import Kind, open_forge

SECRET = "ghp_" + "s3cret" * 6


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("token", ["", " ", f"{SECRET}\nX-Evil: 1", f"{SECRET} x", f"{SECRET}é"])
def test_a_token_that_can_stand_in_no_header(kind, token):
    with pytest.raises(OptionError, match="the forge's token") as told:
        open_forge(kind, "acme/infra", token)
    assert SECRET not in str(told.value)


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize(
    "url",
    [
        "api.github.com",
        "ftp://api.github.com",
        "file:///etc/passwd",
        "https://",
        "https://host:port",
        "https://host:99999",
        f"https://user:{SECRET}@host",
        f"https://host/?private_token={SECRET}",
        "https://host/#x",
        "https://host/\nx",
        "https://[::1",
    ],
)
def test_an_address_that_is_none(kind, url):
    with pytest.raises(OptionError, match="the forge's address") as told:
        open_forge(kind, "acme/infra", "t", url=url)
    assert SECRET not in str(told.value)


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize(
    "name", ["", "infra", "/infra", "acme/", "acme/../x", "acme/..", "acme/in fra", "acme/a?b", "a/b\n"]
)
def test_a_repository_that_is_none(kind, name):
    with pytest.raises(OptionError, match="is not the full name of a repository"):
        open_forge(kind, name, "t")


def test_three_parts_are_a_gitlab_project_only():
    open_forge(Kind.GITLAB, "a/b/c", "t").close()
    with pytest.raises(OptionError):
        open_forge(Kind.GITHUB, "a/b/c", "t")


def test_a_job_token_is_gitlabs():
    with pytest.raises(OptionError, match="GitHub has no job tokens"):
        open_forge(Kind.GITHUB, "a/b", "t", job_token=True)


def test_a_key_without_a_key():
    with pytest.raises(OptionError, match="no RSA key in PEM form"):
        open_forge(Kind.GITHUB, "a/b", AppKey(1, ""))


@pytest.mark.parametrize("kind", list(Kind))
def test_without_the_library_it_says_what_to_install(kind):
    program = (
        "import sys\n"
        f"sys.modules[{kind.value!r}] = None\n"
        "from netpol_gen.prbot.connect import Kind, open_forge\n"
        "from netpol_gen.errors import OptionError\n"
        f"try:\n    open_forge(Kind({kind.value!r}), 'a/b', 't')\n"
        "except OptionError as error:\n    print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'netpol-gen[bot]'" in ran.stdout


@pytest.mark.parametrize(
    ("headers", "want"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "Thu, 01 Jan 2026 00:01:00 GMT", "date": "Thu, 01 Jan 2026 00:00:00 GMT"}, 60),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:00 GMT", "date": "Thu, 01 Jan 2026 00:01:00 GMT"}, 0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "9" * 40}, None),
        ({}, None),
    ],
)
def test_what_retry_after_asks_for(headers, want):
    assert seconds_to_wait(headers) == want


def test_the_forges_clock_decides():
    headers = {"date": "Thu, 01 Jan 2026 00:00:00 GMT"}
    assert seconds_until("1767225660", headers) == 61
    assert seconds_until("1767225000", headers) == 1
    assert seconds_until("never", headers) is None
