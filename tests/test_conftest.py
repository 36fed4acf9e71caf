"""The promises of conftest.py: in CI nothing is skipped and no golden rewrites itself."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import absent, in_ci, must_have_everything


@pytest.mark.parametrize("value", ["true", "1", "yes"])
def test_it_is_ci(value):
    assert in_ci({"CI": value})


@pytest.mark.parametrize("value", ["false", "0", ""])
def test_it_is_not_ci(value):
    assert not in_ci({"CI": value})


def test_without_the_variable_it_is_not_ci():
    assert not in_ci({})


@pytest.mark.parametrize("environment", [{"CI": "true"}, {"NETPOL_GEN_REQUIRE_SHARED": "1"}])
def test_what_is_absent_fails_where_it_was_promised(environment):
    assert must_have_everything(environment)
    with pytest.raises(pytest.fail.Exception, match="no data"):
        absent("no data", environment)


def test_what_is_absent_is_skipped_elsewhere():
    with pytest.raises(pytest.skip.Exception, match="no data"):
        absent("no data", {"CI": "false", "NETPOL_GEN_REQUIRE_SHARED": "0"})


def test_ci_refuses_to_rewrite_goldens(repository):
    command = [sys.executable, "-m", "pytest", "--update-goldens", "--collect-only", "-q", "tests/test_conftest.py"]
    ran = subprocess.run(
        command, cwd=repository, env=os.environ | {"CI": "true"}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 4
    assert "refused in CI" in ran.stderr
