"""The compiled decoder gives the table, the ledger and the notes that the others give without it."""

from __future__ import annotations

import io
import ipaddress
import os
import random
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from netpol_gen.readers import conntrack, conntrack_lines
from netpol_gen.readers.conntrack_addresses import Addresses
from netpol_gen.readers.conntrack_meaning import STATES
from netpol_gen.readers.conntrack_times import LAST_SECOND, UNKNOWN_TIME
from netpol_gen.readers.files import Block, expand
from netpol_gen.readers.rows import Window
from netpol_gen.readers.vpc import Options
from tests.bench import conntrack as bench
from tests.conftest import absent
from tests.readers.test_conntrack_fast import ECHO, EDITS, LAB, PLAIN, agreed, decoded, edited, entries
from tests.readers.test_hubble_whole import outcome


@pytest.fixture(scope="module", autouse=True)
def built():
    if conntrack_lines.module() is None:
        absent("the compiled module is not built: a C compiler, then `make venv`", os.environ)


def both(data, window=None, **more):
    """What comes of reading these bytes with and without the compiled module: the same."""

    def read():
        flows = conntrack.read(expand(["-"], io.BytesIO(data)), Options(window or Window()), **more)
        return outcome(flows), flows.notes

    found = read()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conntrack_lines, "module", lambda: None)
        assert read() == found
    return found


def left(data):
    """The numbers of the lines that the compiled module leaves."""
    addresses = Addresses()
    found = decoded(conntrack_lines.decode, data, addresses)
    agreed(data, found, addresses)
    return [line for line, _ in found.rest]


# --- whole files ------------------------------------------------------------------------------------------------------


def real(directory):
    return sorted(path for path in directory.rglob("*") if path.suffix in {".txt", ".err"})


def test_the_lab():
    for path in real(LAB):
        both(path.read_bytes())
        if path.suffix == ".txt" and "xml" not in path.name:
            assert left(path.read_bytes()) == []


def test_real_files(shared_data):
    paths = real(shared_data / "conntrack")
    assert paths
    for path in paths:
        both(path.read_bytes())


@pytest.mark.parametrize(
    "how", ["shuffled", "carriage returns", "blank lines", "no last newline", "numbered", "spaced"]
)
def test_files_in_other_shapes(how):
    lines = [line for path in real(LAB) if "xml" not in path.name for line in path.read_bytes().splitlines()]
    if how == "shuffled":
        random.Random(5).shuffle(lines)
    elif how == "blank lines":
        lines = [each for line in lines for each in (line, b"", b" \t", b"\r", b"\0")]
    elif how == "numbered":
        lines = [b"%6d\t%b" % each for each in enumerate(lines)]
    elif how == "spaced":
        lines = [line.replace(b" ", b"  ") for line in lines]
    both((b"\r\n" if how == "carriage returns" else b"\n").join(lines) + (b"" if how == "no last newline" else b"\n"))


@pytest.mark.parametrize("v6", [False, True])
def test_the_generated_tables_of_the_benchmark(v6):
    data = "".join(f"{line}\n" for line in bench.table(v6=v6, count=8000)).encode()
    assert left(data) == []
    both(data)
    both(data, snapshot=1_795_384_800 * 10**9)


@pytest.mark.parametrize(("since", "until"), [(1795387973, None), (None, 1795387973), (1795387972, 1795387974)])
def test_windows(since, until):
    window = Window(*(None if second is None else second * 10**9 for second in (since, until)))
    both((LAB / "n1_E_extended.txt").read_bytes(), window)


def test_blocks_in_threads(monkeypatch, tmp_path):
    path = tmp_path / "table"
    path.write_text("".join(f"{line}\nno entry\n" for line in bench.table(v6=True, count=3000)), encoding="ascii")
    whole = outcome(conntrack.read(expand([path]), Options()))
    monkeypatch.setattr(conntrack, "BLOCK", 16384)
    monkeypatch.setattr(conntrack, "_LARGE", 1)
    assert outcome(conntrack.read(expand([path]), Options(threads=3))) == whole


@settings(max_examples=300)
@given(lines=st.lists(entries() | st.just(ECHO), min_size=1, max_size=4), edits=EDITS)
@example(lines=[PLAIN, ECHO], edits=[])
def test_damaged_lines(lines, edits):
    both(edited("\n".join([*lines, PLAIN]).encode(), edits))


@pytest.mark.slow
@settings(max_examples=5000)
@given(lines=st.lists(entries() | st.just(ECHO) | st.just(PLAIN), min_size=1, max_size=3), edits=EDITS)
def test_each_line_that_is_taken_is_read_as_the_tolerant_decoder_reads_it(lines, edits):
    left(edited("\n".join(lines).encode(), edits))


def test_every_cut_of_a_line():
    for line in (PLAIN.encode(), ECHO.encode()):
        for size in range(len(line)):
            left(line[:size])
            left(line[size:])
            left(line[:size] + line[size + 1 :])


# --- addresses --------------------------------------------------------------------------------------------------------

GROUP = st.text("0123456789abcdefAF", min_size=1, max_size=4)
GROUPS = st.lists(GROUP, max_size=8).map(":".join)
NEARLY = st.one_of(
    st.lists(GROUP | st.just(""), max_size=9).map(":".join),
    st.tuples(GROUPS, GROUPS).map("::".join),
    st.lists(st.integers(0, 300).map(str), min_size=3, max_size=5).map(".".join),
    st.text("0123456789abcdef:.%", max_size=46),
)


@settings(max_examples=1000)
@given(text=NEARLY)
def test_addresses(text):
    line = f"tcp      6 src={text} dst=fd00::2 sport=1 dport=2 src=fd00::2 dst={text} sport=2 dport=1 use=1"
    taken = not left(line.encode())
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        assert not taken
    else:
        # What has an IPv4 address in its end, or a scope, is left.
        assert taken is (isinstance(address, ipaddress.IPv4Address) or not set(text) & set(".%"))


def test_more_addresses_than_the_table_has_slots_for():
    draw = random.Random(3)
    pool = [str(ipaddress.IPv6Address(draw.getrandbits(128))) for _ in range(10_000)]
    # Of one half alone they are the same.
    pool += [half for number in range(1, 15_000) for half in (f"fd00::{number:x}:1", f"fd00:{number:x}:1::")]
    pool += [f"::ffff:{number:x}:1" for number in range(1, 9)] + ["10.0.0.1"]
    data = "\n".join(
        f"udp      17 1 src={a} dst={b} sport=5 dport=6 src={b} dst={a} sport=6 dport=5 use=1"
        for a, b in zip(pool, reversed(pool), strict=True)
    ).encode()
    assert left(data) == []


# --- the module -------------------------------------------------------------------------------------------------------

LIMITS = (16384, LAST_SECOND, UNKNOWN_TIME)
WORDS = tuple(name.encode() for name in STATES[1:])


def scan(data, rows=4, others=4, wide=16, *, limits=LIMITS, states=WORDS):
    kept, used, other = (np.full((columns, room), -7) for columns, room in ((10, rows), (12, rows), (3, others)))
    halves = np.empty((wide, 2), dtype=np.uint64)
    counts = conntrack_lines.module().scan(data, limits, states, kept, used, other, halves)
    return counts, kept, used, other


def test_without_room_for_a_row_the_line_is_left():
    data = f"{PLAIN}\n\n{PLAIN}\n{ECHO}\n".encode()
    counts, kept, used, other = scan(data, rows=1, others=3)
    assert counts == (1, 2, 0, 3)
    assert other[:, :2].T.tolist() == [[2, len(PLAIN) + 2, 2 * len(PLAIN) + 2], [3, -1, -1]]
    assert kept[0].tolist() == [0]
    assert used[0].tolist() == [STATES.index("ESTABLISHED")]
    wide = PLAIN.replace("src=10.0.0.1", "src=fd00::1").encode()
    assert scan(wide, wide=3)[0] == (0, 1, 0, 1)
    assert scan(wide, wide=4)[0] == (1, 0, 1, 1)
    assert scan(b"", rows=0, others=0, wide=0)[0] == (0, 0, 0, 0)


def test_misuse_is_an_error_and_no_crash():
    data = f"{PLAIN}\n{ECHO}\nno entry\n".encode()
    with pytest.raises(ValueError, match="room"):
        scan(data, others=1)
    for states in ((), WORDS * 2):
        with pytest.raises(ValueError, match="states"):
            scan(data, states=states)
    with pytest.raises(TypeError):
        scan(data, states=("text",))
    with pytest.raises(ValueError, match="late"):
        scan(data, limits=(1, 1 << 60, 0))
    with pytest.raises(OverflowError):
        scan(data, limits=(1 << 70, 1, 0))
    module = conntrack_lines.module()
    kept, used, other, wide = (np.empty((columns, 2), dtype=np.int64) for columns in (10, 12, 3, 8))
    for buffers in (
        (kept[:, 0].copy(), used, other, wide),
        (bytearray(81), used, other, wide),
        (kept, used, memoryview(bytearray(200))[4:28], wide),
    ):
        with pytest.raises(ValueError, match="buffer"):
            module.scan(data, LIMITS, WORDS, *buffers)
    for buffers in ((kept.tobytes(), used, other, wide), (kept[:, :1], used, other, wide)):
        with pytest.raises((BufferError, TypeError, ValueError)):
            module.scan(data, LIMITS, WORDS, *buffers)
    assert module.scan(data, LIMITS, WORDS, kept, used, other, wide) == (1, 2, 0, 3)


def test_a_module_of_another_version_is_not_used(monkeypatch):
    monkeypatch.setitem(sys.modules, "netpol_gen.readers._conntrack_lines", SimpleNamespace(VERSION=0))
    monkeypatch.setattr("netpol_gen.readers._conntrack_lines", SimpleNamespace(VERSION=0))
    assert conntrack_lines.module() is None
    assert conntrack.read(expand(["-"], io.BytesIO(PLAIN.encode())), Options()).ledger.read == 1


def test_columns_are_where_they_are_expected():
    found = conntrack_lines.decode(Block(PLAIN.encode(), 9, 1), Addresses()).entries
    assert (found.line.tolist(), found.client_port.tolist(), found.dialled_port.tolist()) == ([9], [40001], [80])
    assert (found.server_port.tolist(), found.seen_port.tolist()) == ([80], [40001])
    assert (found.packets.tolist(), found.octets.tolist()) == ([1], [60])


def test_sources_are_found_by_the_build():
    # What is compiled is in the build hook's list, and has its types beside it.
    readers = Path(conntrack_lines.__file__).parent
    hook = (readers.parent.parent / "hatch_build.py").read_text(encoding="utf-8")
    for source in readers.glob("*.c"):
        assert f'"netpol_gen.readers.{source.stem}"' in hook
        assert source.with_suffix(".pyi").exists()
