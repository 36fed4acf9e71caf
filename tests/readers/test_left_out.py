"""Files beside flow logs: what is left out of a directory, and what is never left out."""

from __future__ import annotations

import gzip
import io
import os
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from netpol_gen import api
from netpol_gen.config import Config
from netpol_gen.errors import InputError, NotAFlowLogError
from netpol_gen.flowtable import BAD, Flows
from netpol_gen.readers import read_flows
from netpol_gen.readers.files import expand
from tests.readers.making import asides, flow, lines, reply

LOG = lines(flow(), reply())
README = b"# Flow logs\n\nExported with `hubble observe -o jsonpb`; AWS ones begin with `version account-id`.\n"
INVENTORY = b"apiVersion: v1\nkind: List\nitems: []\n"
AWS = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"
)
PLAIN = "2 123456789012 eni-0a1b2c3d 10.0.0.1 10.0.0.2 40000 5432 6 10 1000 1714979289 1714979319 ACCEPT OK\n"


def parquet(**columns: list[object]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("flows.jsonl", LOG)
    return out.getvalue()


OTHERS = {
    "README.md": README,
    "inventory.yaml": INVENTORY,
    "inventory.json": b'{"kind": "List", "apiVersion": "v1", "items": [{"data": {"x": "\\"verdict\\": 1"}}]}\n',
    "part-0.crc": b"crc\x00\x00\x00\x02\x00\x12\x34",
    "report.html": b"<!doctype html><p>x",
    "table.csv": b"name,team\nweb,shop\n",
    "other.json": b'[{"team": "shop"}]\n',
    "other.parquet": parquet(team=["shop"]),
    "notes.md.gz": gzip.compress(README),
    "capture.pcap": b"\xd4\xc3\xb2\xa1\x02\x00\x04\x00" + bytes(16),
}
DAMAGED = {
    "hubble.jsonl": b'{"flow": {"time": "2024-05-06T07:0',
    "gcp.json": b'[{"jsonPayload": {"connection": {"src_ip": "10.0.0.1", "de',
    "pubsub.json": b'{"receivedMessages": [{"ackId": "x", "message": {"da',
    "azure.json": b'{"records": [{"category": "NetworkSecurityGroupFlowEv',
    "aws.log": b"\x00\x00\x00\n" + PLAIN.encode(),
    "aws-custom.log": PLAIN.removeprefix("2 ").encode(),
    "aws-header.log": b"version interface-id srcaddr action\n2 eni-0a 10.0.0.1 ACCEPT\n",
    "aws.parquet": parquet(srcaddr=["10.0.0.1"], dstaddr=["10.0.0.2"])[:-9],
    "nothing.parquet": parquet(team=["shop"])[:-9],
    "calico.json": b'{"start_time": 1714979289, "source_name_aggr": "web-*", "dest_na',
    "conntrack.txt": b"?? 6 431999 src=10.0.0.1 dst=10.0.0.2 sport=40000\n",
    "flows.csv": b"first_seen,src_ip,dst_ip\n2024-05-06T07:08:09Z,10.0.0.1,10.0.0.2\n",
    "observe.txt": b"May  6 07:08:09.123: a/b:1 (ID:5) -> c/d:80 (ID:6) to-endpoint FORWARDED (TCP Flags: SYN)\n",
    "flows.jsonl.bz2": b"BZh91AY&SY",
    "flows.zip": archive(),
    "flows.jsonl.gz": bytes(64),
    "cut.gz": gzip.compress(README * 1000)[:40] + b"\xff" * 40,
}


def read(*paths: Path | str, **options: object) -> Flows:
    settings = {name: options.pop(name) for name in ("strict",) if name in options}
    return read_flows(list(paths), processes=1, config=Config(**settings), **options)


@pytest.fixture
def logs(tmp_path):
    (tmp_path / "flows.jsonl").write_bytes(LOG)
    return tmp_path


def noted(flows: Flows) -> list[str]:
    return [note.rpartition("/")[2] for note in flows.notes]


@pytest.mark.parametrize("name", OTHERS)
def test_a_file_of_another_kind_in_a_directory_is_left_out_and_told(logs, name):
    file = logs / name
    file.write_bytes(OTHERS[name])
    for given in (logs, f"{logs}/*", f"{logs.parent}/{logs.name}*"):
        flows = read(given)
        assert (flows.ledger.read, asides(flows)) == (2, {})
        assert noted(flows)[0].startswith(f"{name}: no flow log, left out; it looks like ")
        assert len(flows.notes) == 1
        assert list(flows.ledger.files) == [str(logs / "flows.jsonl")]
    with pytest.raises(NotAFlowLogError, match=name):
        read(file)
    with pytest.raises(NotAFlowLogError, match=name):
        read(logs, file)
    with pytest.raises(NotAFlowLogError, match=r"--strict leaves no file out$"):
        read(logs, strict=True)


@pytest.mark.parametrize("name", OTHERS)
def test_a_directory_without_any_flow_log_is_an_error(logs, name):
    sub = logs / "sub"
    sub.mkdir()
    (sub / name).write_bytes(OTHERS[name])
    (sub / "_SUCCESS").touch()
    assert noted(read(logs))[0].startswith(f"{name}: no flow log")
    for given in ([sub], [logs / "flows.jsonl", sub], [logs, sub], [logs, f"{sub}/*"]):
        with pytest.raises(NotAFlowLogError, match=name):
            read(*given)
    # What is named there is a flow log that was found there.
    (sub / "more.jsonl").write_bytes(LOG)
    assert read(sub / "more.jsonl", sub).ledger.read == 2


def outcome(path: Path) -> str:
    """What a user sees of bad input: the error, or the notes and the places of bad records."""
    try:
        flows = read(path)
    except InputError as error:
        return str(error)
    return " ".join([*flows.notes, *(place for reason in BAD for place in flows.ledger.places.get(reason, ()))])


@pytest.mark.parametrize("name", DAMAGED)
def test_what_may_be_a_flow_log_is_never_left_out(logs, name):
    (logs / name).write_bytes(DAMAGED[name])
    told = outcome(logs)
    assert name in told
    assert "left out" not in told


def test_empty_and_hidden_files_are_no_matter(logs):
    for name in ("_SUCCESS", ".part-0.crc", "blank.log"):
        (logs / name).write_bytes(b"" if name != "blank.log" else b"\n \n")
    flows = read(logs, strict=True)
    assert (flows.ledger.read, flows.notes) == (2, ())


def test_only_the_first_names_are_told_and_all_are_counted(logs):
    for number in range(8):
        (logs / f"{number}.md").write_bytes(README)
    notes = noted(read(logs))
    assert [note.partition(":")[0] for note in notes[:5]] == ["0.md", "1.md", "2.md", "3.md", "4.md"]
    assert notes[5:] == ["3 more files are no flow log, left out: 8 of 9"]
    with pytest.raises(NotAFlowLogError, match=r"0\.md.*--strict leaves no file out \(there are 8\)$"):
        read(logs, strict=True)


@pytest.mark.parametrize("source", ["aws-vpc", "hubble", "conntrack", "gcp-vpc"])
def test_a_named_source_reads_what_may_be_its_own(tmp_path, source):
    logs = {"aws-vpc": f"{AWS}\n{PLAIN}".encode(), "hubble": LOG}
    (tmp_path / "a.log").write_bytes(logs.get(source, b""))
    (tmp_path / "README.md").write_bytes(README)
    if source not in logs:
        with pytest.raises(NotAFlowLogError, match=f"README.md: not a {source} flow log"):
            read(tmp_path, source=source)
        return
    assert noted(read(tmp_path, source=source))[0].startswith("README.md: no flow log")
    (tmp_path / "damaged.jsonl").write_bytes(b'{"verdict": \n')
    if source == "hubble":
        assert asides(read(tmp_path, source=source)) == {"MALFORMED": 1}
    else:
        with pytest.raises(NotAFlowLogError, match=r"damaged\.jsonl"):
            read(tmp_path, source=source)


def test_headerless_records_in_the_order_given_are_not_left_out(tmp_path):
    (tmp_path / "a.log").write_text("10.0.0.1 10.0.0.2 40000 5432 6 1714979289 ACCEPT\n")
    (tmp_path / "README.md").write_bytes(README)
    flows = read(tmp_path, aws_format="srcaddr dstaddr srcport dstport protocol start action")
    assert flows.ledger.read == 1
    assert noted(flows)[0].startswith("README.md: no flow log")


def test_names_of_files_that_are_left_out_obey_no_one(logs):
    (logs / "a\x1b[31m\n.md").write_bytes(README)
    [note] = read(logs).notes
    assert note.endswith("/a\\x1b[31m\\n.md: no flow log, left out; it looks like text that begins `# Flow logs`")


def test_frames_tell_what_was_left_out(logs):
    (logs / "README.md").write_bytes(README)
    frame = api.read_flows(logs)
    [note] = frame.attrs["netpol_gen.notes"]
    assert "README.md: no flow log" in note
    assert api.find_edges(frame).notes == (note,)


def test_inputs_know_how_they_were_found(logs):
    file = logs / "flows.jsonl"
    (logs / "b.jsonl").write_bytes(LOG)
    (logs / "link.jsonl").symlink_to(file)
    both = [str(logs), f"{logs}/*"]
    assert [(i.named, sorted(i.sought)) for i in expand([logs, f"{logs}/*", logs / "link.jsonl"])] == [
        (False, both),
        (True, both),
    ]
    assert [(i.named, i.sought) for i in expand([file])] == [(True, frozenset())]


def test_a_directory_that_cannot_be_read_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "flows.jsonl").write_bytes(LOG)
    if os.geteuid():
        secret = tmp_path / "secret"
        secret.mkdir(mode=0)
        deep = "secret"
    else:
        # Permissions do not stop root; a path longer than the system takes does.
        monkeypatch.chdir(tmp_path)
        deep = "d" * 200
        for _ in range(25):
            Path(deep).mkdir()
            os.chdir(deep)
    with pytest.raises(InputError, match=deep):
        read(tmp_path)
