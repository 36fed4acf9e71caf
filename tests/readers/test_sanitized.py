"""The compiled modules under the address and undefined-behaviour sanitizers: no line makes it look beyond itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.bench import conntrack, hubble
from tests.conftest import absent
from tests.readers.making import WORLD, flow, ip, lines, reply, udp

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent
SOURCES = HERE.parent.parent / "netpol_gen" / "readers"


@pytest.fixture(scope="module", params=["_hubble_known", "_conntrack_lines"])
def sanitized(request, tmp_path_factory):
    """The module, built to watch itself, and the library that must be loaded before Python for that."""
    compiler = shutil.which("gcc")
    headers = sysconfig.get_path("include")
    if compiler is None or not Path(headers, "Python.h").exists():
        absent("no gcc, or no Python headers", os.environ)
    target = tmp_path_factory.mktemp("sanitized") / f"{request.param}.so"
    flags = ["-g", "-O1", "-shared", "-fPIC", "-fno-omit-frame-pointer", "-fsanitize=address,undefined"]
    flags += ["-fno-sanitize-recover=all", "-Wall", "-Wextra", "-Werror", f"-I{headers}"]
    subprocess.run([compiler, *flags, "-o", target, SOURCES / f"{request.param}.c"], check=True)
    names = ("libasan.so", "libubsan.so")
    found = [subprocess.check_output([compiler, f"-print-file-name={name}"], text=True).strip() for name in names]
    return target, " ".join(found)


def records(name):
    if name == "_conntrack_lines":
        lab = [path.read_bytes() for path in sorted((HERE / "conntrack").glob("n*.txt")) if "xml" not in path.name]
        made = [f"{line}\n".encode() for v6 in (False, True) for line in conntrack.table(v6=v6, count=20)]
        # Each of the four addresses is another.
        ends = "src=fd00::1 dst=fd00::2 sport=1 dport=2 src=fd00::3 dst=fd00::4 sport=3 dport=4"
        return b"".join([*lab, *made, f"tcp      6 {ends} use=1\n".encode()])
    out = flow(destination=WORLD, IP=ip("10.0.0.1", "203.0.113.7"), destination_names=["api.example.org"])
    odd = [flow(l4=udp(40000, 53)), flow(l4={"ICMPv4": {"type": 8}}), flow(l7={"type": "REQUEST"}), flow(node_name="")]
    return lines(flow(), reply(), out, *odd) + "".join(hubble.records(20, 3, 1)).encode()


@pytest.mark.parametrize("seed", range(3))
def test_memory_is_kept_to(sanitized, seed):
    module, preloaded = sanitized
    # The interpreter itself does not give back all that it takes; Python's own allocator would hide the rest.
    environment = {**os.environ, "LD_PRELOAD": preloaded, "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc"}
    command = [sys.executable, HERE / "sanitized.py", module, str(seed), "20000"]
    ran = subprocess.run(command, input=records(module.stem), env=environment, capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr.decode(errors="replace")[-4000:]
    assert b"counted" in ran.stdout
