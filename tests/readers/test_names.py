"""Inputs that can be read only once, and files whose names mean something to Arrow, to the engine or to a terminal."""

from __future__ import annotations

import functools
import gzip
import io
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from netpol_gen.errors import InputError, NotAFlowLogError
from netpol_gen.flowio import dump_ledger, write_flows
from netpol_gen.flowtable import Flows, Reason
from netpol_gen.readers import files, read_flows
from tests.readers.making import asides, flow
from tests.readers.test_aws import arrow, record, text

LAB = Path(__file__).parent / "conntrack"
ICMP = record(protocol="1", srcport="0", dstport="0")
NOT_UTF8 = os.fsdecode(b"\xff\xfe")


def aws(records: int = 1, *more: dict[str, str]) -> bytes:
    out = io.BytesIO()
    pq.write_table(arrow([*(record(srcport=30000 + i, vpc_id=f"vpc-{i}") for i in range(records)), *more]), out)
    return out.getvalue()


@functools.cache
def long() -> bytes:
    """A flow log longer than the head that is read of an input."""
    data = aws(30_000)
    assert len(data) > 2 * files.HEAD
    return data


@functools.cache
def canonical() -> bytes:
    """A flow table without the ledger of its first reading."""
    out = io.BytesIO()
    pq.write_table(read_flows(["-"], stdin=io.BytesIO(text(record()))).table, out)
    return out.getvalue()


class Pipe:
    """A named pipe that gives its bytes once. Who opens it again waits for ever: see `apart`."""

    def __init__(self, path: Path, data: bytes) -> None:
        self.path = path
        os.mkfifo(path)
        self._writer = threading.Thread(target=self._write, args=(data,), daemon=True)
        self._writer.start()

    def _write(self, data: bytes) -> None:
        try:
            self.path.write_bytes(data)
        except BrokenPipeError:
            return

    def join(self) -> None:
        self._writer.join(60)
        assert not self._writer.is_alive()


def apart(code: str, *arguments: object) -> str:
    """What Python prints, in a process of its own that is ended where it hangs."""
    ran = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr.decode()
    return ran.stdout.decode()


READ = """
import json, sys
from netpol_gen.errors import InputError
from netpol_gen.readers import read_flows
try:
    flows = read_flows(sys.argv[1:])
except InputError as error:
    sys.exit(print(json.dumps(f"{type(error).__name__}: {error}")))
samples = flows.table.column("sample").to_pylist()
print(json.dumps([flows.ledger.read, flows.ledger.files, sorted(flows.ledger.places.values()), samples[:1]]))
"""


# --- what can be read only once ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("make", [aws, long, canonical])
def test_parquet_through_a_named_pipe(make, packed, tmp_path):
    data = make()
    (tmp_path / "same.parquet").write_bytes(data)
    direct = read_flows([tmp_path / "same.parquet"])
    pipe = Pipe(tmp_path / "a.parquet", gzip.compress(data) if packed else data)
    read, counts, _, sample = json.loads(apart(READ, pipe.path))
    pipe.join()
    assert (read, counts) == (direct.ledger.read, dict.fromkeys(counts, read))
    assert sample == [s.replace("same.parquet", "a.parquet") for s in direct.table.column("sample").to_pylist()[:1]]


@pytest.mark.parametrize("make", [aws, long, canonical])
def test_parquet_through_a_process_substitution(make, tmp_path):
    (tmp_path / "a.parquet").write_bytes(make())
    ran = subprocess.run(
        ["bash", "-c", f'exec "$0" -c "$1" <(cat {tmp_path}/a.parquet)', sys.executable, READ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr.decode()
    read, counts, _, _ = json.loads(ran.stdout)
    [name] = counts
    assert name.startswith("/dev/fd/")
    assert read == read_flows([tmp_path / "a.parquet"]).ledger.read


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("make", [aws, long, canonical])
def test_parquet_on_standard_input_is_not_a_file_named_like_it(make, packed, tmp_path, monkeypatch):
    data = make()
    (tmp_path / "same.parquet").write_bytes(data)
    (tmp_path / "-").write_bytes(b"PAR1 nothing PAR1")
    monkeypatch.chdir(tmp_path)
    stdin = io.BytesIO(gzip.compress(data) if packed else data)
    assert read_flows(["-"], stdin=stdin).ledger.read == read_flows(["same.parquet"]).ledger.read


def test_a_file_named_like_standard_input_does_not_speak_for_it(tmp_path, monkeypatch):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    (tmp_path / "-").write_bytes(aws())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotAFlowLogError, match="Parquet"):
        read_flows(["-"], stdin=io.BytesIO((tmp_path / "other.parquet").read_bytes()))


@pytest.mark.parametrize("make", [aws, long, canonical])
def test_compressed_parquet(make, tmp_path):
    data = make()
    (tmp_path / "a.parquet").write_bytes(data)
    (tmp_path / "a.parquet.gz").write_bytes(gzip.compress(data))
    assert read_flows([tmp_path / "a.parquet.gz"]).ledger.read == read_flows([tmp_path / "a.parquet"]).ledger.read


def test_compressed_parquet_that_ends_early_is_set_aside_whole(tmp_path):
    packed = gzip.compress(aws(3))
    (tmp_path / "a.parquet").write_bytes(aws(1))
    (tmp_path / "b.parquet.gz").write_bytes(packed[:-4])
    flows = read_flows([tmp_path])
    assert asides(flows) == {"MALFORMED": 1}
    assert flows.ledger.places[Reason.MALFORMED] == [f"{tmp_path}/b.parquet.gz:1: gzip data ends early"]
    out = io.BytesIO(gzip.compress(canonical())[:-4])
    with pytest.raises(InputError, match=r"^-: gzip data ends early"):
        read_flows(["-"], stdin=out)


@pytest.mark.parametrize("make", [aws, canonical])
def test_a_pipe_that_breaks_off_is_damaged_as_a_file_is(make, tmp_path):
    (tmp_path / "same.parquet").write_bytes(make()[:-6])
    pipe = Pipe(tmp_path / "a.parquet", make()[:-6])
    told = apart(READ, pipe.path)
    pipe.join()
    assert re.search(r"/a\.parquet:1: damaged Parquet file|NotAFlowLogError: .*/a\.parquet: .* a Parquet file", told)
    assert told.replace("/a.", "/same.") == apart(READ, tmp_path / "same.parquet")


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_parquet_that_must_be_held_whole_is_bounded(packed, tmp_path):
    data = long()
    pipe = Pipe(tmp_path / "a.parquet", gzip.compress(data) if packed else data)
    (tmp_path / "b.parquet").write_bytes(data)
    bounded = f"from netpol_gen.readers import files; files.MAX_WHOLE = {len(data) - 1}\n{READ}"
    told = json.loads(apart(bounded, pipe.path))
    pipe.join()
    assert told.startswith(f"InputError: {pipe.path}: a Parquet file of more than ")
    assert json.loads(apart(bounded, tmp_path / "b.parquet"))[0] == 30_000


def test_pipes_and_files_together(tmp_path):
    for name in ("a", "c", "e[1]"):
        (tmp_path / f"{name}.parquet").write_bytes(aws(len(name), ICMP))
    pipes = [Pipe(tmp_path / "b.parquet", aws(2, ICMP)), Pipe(tmp_path / "d.parquet", aws(3, ICMP))]
    (tmp_path / "f.log").write_bytes(text(record(), ICMP))
    read, counts, places, _ = json.loads(apart(READ, tmp_path))
    for pipe in pipes:
        pipe.join()
    names = [f"{tmp_path}/{name}" for name in ("a.parquet", "b.parquet", "c.parquet", "d.parquet", "e[1].parquet")]
    log = f"{tmp_path}/f.log"
    assert counts == {**dict(zip(names, [2, 3, 2, 4, 5], strict=True)), log: counts[log]}
    assert read == sum(counts.values())
    icmp = [f"{name}:{line}" for name, line in zip(names, [2, 3, 2, 4, 5], strict=True)]
    assert places == [icmp, [f"{log}:1: header"]]


# --- names ------------------------------------------------------------------------------------------------------------

NAMES = {
    "a scheme": "ab:c.parquet",
    "an object store": "s3:x.parquet",
    "a file URL": "file:x.parquet",
    "a home": "~a.parquet",
    "only a tilde": "~",
    "a home above": "~d/a.parquet",
    "a scheme above": "s3:/a.parquet",
    "quotes": 'it\'s "x".parquet',
    "newlines": "a\nb\r\nc.parquet",
    "spaces": "  a b .parquet ",
    "a dash": "-a.parquet",
    "an option": "--out.parquet",
    "a range": "[x].parquet",
    "braces": "{a,b}.parquet",
    "a star": "a*?.parquet",
    "a backslash": "a\\b.parquet",
    "escapes of URLs": "a%41#b?c=d&e.parquet",
    "an escape": "\x1b[31m.parquet",
    "long": "x" * 247 + ".parquet",
    "no ending": "x",
    "not ASCII": "é\u202e.parquet",
    "not UTF-8": f"a{NOT_UTF8}.parquet",
    "not UTF-8 above": f"d{NOT_UTF8}/a.parquet",
    "not UTF-8, a home": f"~{NOT_UTF8}[x].parquet",
}


def named(name: str) -> str:
    """The name as a user sees it."""
    return name.replace("\\", "\\\\").replace(NOT_UTF8, "\\xff\\xfe") if NOT_UTF8 in name else name


def kept(flows: Flows) -> None:
    """All that goes further of a table can be written."""
    for form in ("parquet", "csv", "jsonl"):
        write_flows(flows, io.BytesIO(), form)
    dump_ledger(flows)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_parquet_of_any_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    Path(name).parent.mkdir(exist_ok=True)
    for make, source in ((aws, "aws-vpc"), (canonical, "flows")):
        Path(name).write_bytes(make())
        for given in (name, tmp_path / name):
            flows = read_flows([given])
            shown = named(str(given))
            assert (flows.ledger.files, list(flows.sources.values())) == ({shown: 1}, [1])
            if source == "aws-vpc":
                assert flows.table.column("sample").to_pylist() == [f"{shown}:1"]
            kept(flows)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_damaged_parquet_of_any_name_is_named(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(exist_ok=True)
    data = bytearray(aws(200))
    # Values, not the footer: that the file is damaged comes out when the engine or Arrow reads it.
    data[4:2000] = b"\xff" * 1996
    Path(name).write_bytes(data)
    with pytest.raises(InputError) as told:
        read_flows([name])
    assert told.value.place is not None
    assert told.value.place.path == named(name)
    assert str(told.value).isprintable()
    Path(name).write_bytes(aws() + aws()[:100])
    with pytest.raises(InputError) as told:
        read_flows([name], source="flows")
    assert told.value.place is not None
    assert told.value.place.path == named(name)


def test_a_home_in_a_directory_named_like_a_pattern(tmp_path, monkeypatch):
    where = tmp_path / "[ab]"
    for directory, count in ((where, 1), (tmp_path / "a", 5)):
        directory.mkdir()
        (directory / "~a.parquet").write_bytes(aws(count))
    monkeypatch.chdir(where)
    assert read_flows(["~a.parquet"]).ledger.files == {"~a.parquet": 1}


def test_a_column_of_the_name_that_places_have(tmp_path):
    table = pq.read_table(io.BytesIO(aws(2, ICMP)))
    table = table.append_column("place", pa.array([7, 7, 7]))
    for name in ("a.parquet", "[b].parquet"):
        pq.write_table(table, tmp_path / name)
        flows = read_flows([tmp_path / name])
        assert flows.ledger.places == {Reason.ICMP: [f"{tmp_path}/{name}:3"]}


OTHERS = {
    "aws": text(record(), ICMP, record(srcport="70000")),
    "aws, gzip": gzip.compress(text(record(), ICMP)),
    "hubble": b"".join(json.dumps(each).encode() + b"\n" for each in (flow(), flow(time=None))),
    "conntrack": (LAB / "n1_L_extended.txt").read_bytes(),
}


@pytest.mark.parametrize("data", OTHERS.values(), ids=OTHERS)
def test_other_sources_of_names_that_are_not_utf8(data, tmp_path):
    path = tmp_path / f"a{NOT_UTF8}.log"
    path.write_bytes(data)
    flows = read_flows([path])
    assert list(flows.ledger.files) == [named(str(path))]
    assert {s.rpartition(":")[0] for s in flows.table.column("sample").to_pylist()} == {named(str(path))}
    assert flows.ledger.read
    kept(flows)


def test_names_that_are_not_utf8_are_not_taken_for_others(tmp_path):
    names = [f"a{NOT_UTF8}", "a\\xff\\xfe", f"a\\xff{os.fsdecode(bytes([0xFE]))}"]
    for count, name in enumerate(names, 1):
        (tmp_path / name).write_bytes(text(*[ICMP] * count))
    ledger = read_flows([tmp_path]).ledger
    counted = dict(ledger.files)
    assert len(counted) == 3
    assert sum(counted.values()) == ledger.read
    assert all(name.isprintable() for name in counted)


def test_nothing_of_a_name_that_is_not_utf8(tmp_path):
    with pytest.raises(InputError, match=r"a\\xff\\xfe: no such file or directory$"):
        read_flows([tmp_path / f"a{NOT_UTF8}"])
    (tmp_path / f"d{NOT_UTF8}").mkdir()
    with pytest.raises(InputError, match=r"d\\xff\\xfe: no files in this directory$"):
        read_flows([tmp_path / f"d{NOT_UTF8}"])
    (tmp_path / f"x{NOT_UTF8}").write_text("nothing")
    with pytest.raises(NotAFlowLogError, match=r"x\\xff\\xfe: not a flow log") as told:
        read_flows([tmp_path / f"x{NOT_UTF8}"])
    assert str(told.value).isprintable()


def test_a_name_longer_than_names_can_be(tmp_path):
    with pytest.raises(InputError, match="file name too long"):
        read_flows([tmp_path / ("x" * 300)])
