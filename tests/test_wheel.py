"""What a user gets: a wheel built from the source archive, installed into a clean environment, run away from here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.slow

# What `make demo` runs, sample by sample: the arguments after the export itself.
SAMPLES = ("payments", "shop")

# `payments` is called by `api-gateway` on TCP 8443 and by nobody else; its policy says that and nothing more.
PAYMENTS = {
    "podSelector": {"matchLabels": {"app": "payments"}},
    "policyTypes": ["Ingress"],
    "ingress": [
        {
            "from": [{"podSelector": {"matchLabels": {"app": "api-gateway"}}}],
            "ports": [{"protocol": "TCP", "port": 8443}],
        }
    ],
}


def attempt(*command, cwd, **more):
    """Run without what this environment would lend: no PYTHONPATH, no active environment."""
    kept = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}}
    words = list(map(str, command))
    return subprocess.run(words, cwd=cwd, env=kept | more, capture_output=True, text=True, check=False)


def run(*command, cwd, **more):
    ran = attempt(*command, cwd=cwd, **more)
    assert ran.returncode == 0, f"{command}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory, repository):
    """The source archive and, built from it and not from the checkout, the wheel."""
    directory = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", directory, repository, cwd=directory)
    return directory


@pytest.fixture(scope="module")
def wheel(dist):
    (found,) = dist.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The `bin` of an environment that holds the wheel and what it depends on, and nothing for development."""
    directory = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", directory / "venv", cwd=directory)
    pip = (directory / "venv" / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-input")
    run(*pip, wheel, cwd=directory)
    return directory / "venv" / "bin"


def unpacked(dist, directory):
    """The source archive, in a directory that has nothing else."""
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        # `filter="data"` where Python has it, which is from 3.11.4 on.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(directory)  # noqa: S202 - an archive of our own
    (source,) = directory.iterdir()
    return source


def demo(program, work, repository):
    """Every file that the demo writes, by its path, run on a copy of the samples in `work`."""
    shutil.copytree(repository / "sample-flows", work / "sample-flows")
    for sample in SAMPLES:
        inputs = Path("sample-flows") / sample
        command = [program, "generate", next(inputs.glob("flows.jsonl*")), "--inventory", inputs / "inventory.yaml"]
        config = inputs / "netpol-gen.toml"
        if (work / config).exists():
            command += ["--config", config]
        run(*command, "--out", Path("out") / sample, cwd=work)
    return {
        path.relative_to(work / "out").as_posix(): path.read_bytes()
        for path in sorted((work / "out").rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def from_wheel(installed, tmp_path_factory, repository):
    return demo(installed / "netpol-gen", tmp_path_factory.mktemp("from-wheel"), repository)


def policies(files, sample):
    """Policies by namespace and name, of the files under one sample."""
    found = {}
    for path, content in files.items():
        if path.startswith(f"{sample}/"):
            for document in yaml.safe_load_all(content):
                if document and document.get("kind") == "NetworkPolicy":
                    found[document["metadata"]["namespace"], document["metadata"]["name"]] = document
    return found


def test_wheel_holds_the_package_and_its_templates(wheel, repository):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        packed = {
            name.removeprefix("netpol_gen/_templates/"): archive.read(name)
            for name in names
            if name.startswith("netpol_gen/_templates/") and not name.endswith("/")
        }
    templates = repository / "templates"
    assert packed == {p.relative_to(templates).as_posix(): p.read_bytes() for p in templates.rglob("*") if p.is_file()}
    assert "networkpolicy.yaml.j2" in packed
    assert "netpol_gen/py.typed" in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"netpol_gen"}, "something else is in the wheel"


def test_wheel_holds_the_compiled_modules_for_all_later_pythons(wheel, installed, tmp_path):
    assert "-cp311-abi3-" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        compiled = {name for name in archive.namelist() if name.startswith("netpol_gen/readers/_") and "__" not in name}
    names = ("_conntrack_lines", "_hubble_known")
    assert compiled == {f"netpol_gen/readers/{name}.{end}" for name in names for end in ("abi3.so", "pyi")}
    ask = "from netpol_gen.readers import {0}; print({0}.module() is not None)"
    for name in ("conntrack_lines", "hubble_known"):
        assert run(installed / "python", "-c", ask.format(name), cwd=tmp_path) == "True\n"


def test_a_module_that_cannot_be_compiled_takes_no_other_along(dist, tmp_path):
    source = unpacked(dist, tmp_path)
    (source / "netpol_gen" / "readers" / "_conntrack_lines.c").write_text("#error\n", encoding="ascii")
    ran = attempt(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, source, cwd=tmp_path)
    assert ran.returncode == 0
    assert "going without the compiled _conntrack_lines" in ran.stdout + ran.stderr
    (made,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(made) as archive:
        compiled = [name for name in archive.namelist() if name.endswith(".so")]
    assert compiled == ["netpol_gen/readers/_hubble_known.abi3.so"]


@pytest.mark.parametrize(
    ("environment", "built"),
    [({"NETPOL_GEN_COMPILE": "0"}, True), ({"CC": "false"}, True), ({"CC": "false", "NETPOL_GEN_COMPILE": "1"}, False)],
)
def test_a_wheel_can_be_built_without_a_compiler(dist, tmp_path, environment, built):
    source = unpacked(dist, tmp_path)
    ran = attempt(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, source, cwd=tmp_path, **environment)
    assert (ran.returncode == 0) is built
    assert ("going without the compiled _" in ran.stdout + ran.stderr) is ("CC" in environment and built)
    for wheel in tmp_path.glob("*.whl"):
        assert wheel.name.endswith("-py3-none-any.whl")
        with zipfile.ZipFile(wheel) as archive:
            assert not [name for name in archive.namelist() if name.endswith((".so", ".c", ".h"))]


def test_source_archive_holds_what_is_needed_to_build_and_test(dist):
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        top = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    assert {"LICENSE", "Makefile", "README.md", "netpol_gen", "pyproject.toml"} <= top
    assert {"sample-flows", "templates", "tests"} <= top


def test_demo_from_the_wheel(from_wheel):
    payments = policies(from_wheel, "payments")
    assert payments["backend", "internal-port-restrict"]["spec"] == PAYMENTS
    assert policies(from_wheel, "shop")


def test_wheel_and_checkout_write_the_same_bytes(from_wheel, tmp_path, repository):
    assert demo(Path(sys.executable).with_name("netpol-gen"), tmp_path, repository) == from_wheel


def test_kubectl_finds_the_plugin(installed, tmp_path):
    """`kubectl netpol-gen` runs `kubectl-netpol_gen` from PATH."""
    assert run(installed / "kubectl-netpol_gen", "--help", cwd=tmp_path) == run(
        installed / "netpol-gen", "--help", cwd=tmp_path
    ).replace("netpol-gen [OPTIONS]", "kubectl-netpol_gen [OPTIONS]")
