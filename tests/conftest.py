"""What tests share: where real data and the independent policy engine are, and when goldens may be rewritten.

Neither the real flow exports nor the engine is part of the repository. A test that needs one is skipped where it is
absent and fails in CI, where `.ci/run` sets NETPOL_GEN_REQUIRE_SHARED: a skipped proof is not a proof.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

# The same examples on every run, so that a red test is red for the next reader too; no deadline: machines are shared.
settings.register_profile(
    "house", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("house")


def in_ci(environment: Mapping[str, str]) -> bool:
    """CI systems set CI to something true; `CI=false` is how people turn it off."""
    return environment.get("CI", "").lower() not in {"", "0", "false"}


def must_have_everything(environment: Mapping[str, str]) -> bool:
    return in_ci(environment) or environment.get("NETPOL_GEN_REQUIRE_SHARED", "") not in {"", "0"}


def absent(what: str, environment: Mapping[str, str]) -> NoReturn:
    """Skip where a developer may lack it, fail where it was promised."""
    if must_have_everything(environment):
        pytest.fail(what)
    pytest.skip(what)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-goldens", action="store_true", help="rewrite the expected files of the golden cases (refused in CI)"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--update-goldens") and in_ci(os.environ):
        msg = "--update-goldens is refused in CI: a golden that rewrites itself proves nothing"
        raise pytest.UsageError(msg)


@pytest.fixture(scope="session")
def update_goldens(request: pytest.FixtureRequest) -> bool:
    """Whether golden cases write their expected files instead of comparing with them."""
    return bool(request.config.getoption("--update-goldens"))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The top of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real exports, beside the checkout: `hubble/`, `aws-vpc/`, `conntrack/` and others."""
    directory = ROOT.parent / "shared" / "data"
    if not directory.is_dir():
        absent(f"no real data at {directory}", os.environ)
    return directory


@pytest.fixture(scope="session")
def nca() -> Path:
    """The `nca` program of network-config-analyzer: NETPOL_GEN_NCA, else what `make nca` made, else the one on PATH."""
    named = os.environ.get("NETPOL_GEN_NCA")
    if named:
        candidates = [Path(named)]
    else:
        on_path = shutil.which("nca")
        candidates = [ROOT / ".venv-nca" / "bin" / "nca", *([Path(on_path)] if on_path else [])]
    for candidate in candidates:
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate
    return absent(f"no nca at {', '.join(map(str, candidates))}; `make nca` installs it", os.environ)
