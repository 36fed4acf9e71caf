"""Whole files: shares and processes, order, memory of what was met, any bytes at all, and real exports."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from netpol_gen.config import Config
from netpol_gen.errors import NotAFlowLogError
from netpol_gen.readers import files, read_flows, sniff, table, work
from netpol_gen.readers.files import Part, Stream
from netpol_gen.readers.rows import Window
from tests.readers.making import DB, TIME, WEB, WORLD, flow, ip, lines, reply, tcp, udp, wrapped


def capture(count=600, seed=7):
    """A capture with something of everything, in file order."""
    rng = random.Random(seed)
    lost = {"lost_events": {"source": "HUBBLE_RING_BUFFER", "num_events_lost": "3"}, "node_name": "b", "time": TIME}
    out = []
    for number in range(count):
        port = 40000 + rng.randrange(100)
        when = f"2024-05-06T{rng.randrange(24):02d}:08:09.{rng.randrange(10**9):09d}Z"
        common = {"time": when, "node_name": rng.choice(["a", "default/b"])}
        near = {"ID": 4, **DB, "workloads": [{"kind": "StatefulSet", "name": "db"}]}
        overlay = {"is_reply": None, "trace_observation_point": "TO_OVERLAY"}
        outside = {"IP": ip("10.0.0.1", "203.0.113.7"), "destination": WORLD, "destination_names": [f"n{port % 3}"]}
        shapes = (
            flow(l4=tcp(port, 5432, "SYN"), destination=rng.choice([DB, near]), **common),
            reply(l4=tcp(5432, port, "ACK"), source=rng.choice([DB, near]), **common),
            flow(l4=tcp(port, 5432, "ACK"), **overlay, **common),
            flow(l4=udp(port, 53), IP=ip("10.0.0.1", f"10.0.1.{port % 7}"), destination={}, **common),
            flow(**outside, **common),
            flow(verdict="DROPPED", drop_reason_desc="POLICY_DENIED", event_type={"type": 1}, **common),
            flow(l4={"ICMPv4": {"type": 8}}, **common),
            flow(l4={"TCP": {"source_port": str(port), "destination_port": "5432"}}, **common),
            f"garbage {number}",
            json.dumps(lost),
            "",
        )
        out.append(rng.choice(shapes))
    return out


def outcome(flows, *, with_places=True):
    """Everything but the name of the directory; without places, what the order of records must not touch."""
    columns = [name for name in flows.table.column_names if with_places or name != "sample"]
    ledger = flows.ledger
    told = [
        flows.table.select(columns).to_pylist(),
        ledger.read,
        sorted(ledger.set_aside.items()),
        sorted(ledger.losses.items()),
        flows.sources,
    ]
    return [*told, sorted(ledger.places.items()), ledger.files] if with_places else told


def read_parts(path, parts, processes=1):
    """Read a file cut into these parts, whatever its size."""
    [item] = files.expand([path])
    source = sniff.by_name("hubble")
    numbers = [0 if part.step > 1 else index for index, part in enumerate(parts)]
    jobs = [work.Job(number, source.name, item, part) for number, part in zip(numbers, parts, strict=True)]
    partials = work.run(jobs, processes, Window())
    return table.build([table.Share(item.name, source.name) for _ in sorted(set(numbers))], partials)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_conversation_may_be_seen_by_any_number_of_nodes(tmp_path, processes):
    names = [f"node-{number:03}" for number in range(100)]
    path = tmp_path / "flows.jsonl"
    path.write_bytes(lines(*(flow(node_name=name) for name in [*names, "", *names[::-1]])))
    size = path.stat().st_size
    flows = read_parts(path, [Part(0, size // 3), Part(size // 3, size)], processes)
    assert flows.table.column("nodes").to_pylist() == [names]


@pytest.fixture
def plain(tmp_path):
    path = tmp_path / "flows.jsonl"
    path.write_bytes(lines(*capture()))
    return path


@pytest.mark.parametrize("count", [2, 3, 7, 40])
def test_shares_of_a_plain_file_change_nothing(plain, count):
    size = plain.stat().st_size
    parts = [Part(size * i // count, size * (i + 1) // count) for i in range(count)]
    assert outcome(read_parts(plain, parts)) == outcome(read_flows([plain], processes=1))


def test_any_cut_of_a_small_file(tmp_path):
    path = tmp_path / "flows.jsonl"
    path.write_bytes(lines("{}", "x", "", flow(), "{}")[:-1])
    whole = outcome(read_flows([path], processes=1))
    size = path.stat().st_size
    for cut in range(0, size + 1, 5):
        assert outcome(read_parts(path, [Part(0, cut), Part(cut, size)])) == whole, cut


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_shares_of_a_compressed_file_change_nothing(plain, compress):
    packed = plain.with_suffix(".packed")
    packed.write_bytes(compress(plain.read_bytes() * 5))
    whole = read_flows([packed], processes=1)
    assert len(list(Stream(files.expand([packed])[0]).blocks())) > 3, "one block shows nothing"
    thirds = [Part(phase=phase, step=3) for phase in range(3)]
    assert outcome(read_parts(packed, thirds, 3)) == outcome(whole)
    packed.write_bytes(packed.read_bytes()[:-9])
    parts = [Part(phase=0, step=2), Part(phase=1, step=2)]
    assert outcome(read_parts(packed, parts, 2)) == outcome(read_flows([packed], processes=1))


def test_processes_change_nothing(tmp_path):
    for number in range(5):
        (tmp_path / f"{number}.jsonl").write_bytes(lines(*capture(200, seed=number)))
    one = outcome(read_flows([tmp_path], processes=1))
    assert outcome(read_flows([tmp_path], processes=2)) == one
    assert outcome(read_flows([tmp_path], processes=3)) == one


def test_large_files_are_cut_up(monkeypatch, plain):
    monkeypatch.setattr(files, "MIN_PART", 10_000)
    [item] = files.expand([plain])
    jobs, count = work.plan([(item, sniff.by_name("hubble"))], 2)
    assert (len(jobs), count, [job.share for job in jobs]) == (2, 2, [0, 1])
    assert outcome(read_flows([plain], processes=2)) == outcome(read_flows([plain], processes=1))


@pytest.mark.parametrize("cheap", [True, False])
def test_cheap_records_are_shared_out_later(monkeypatch, plain, cheap):
    from netpol_gen.readers import hubble_known

    monkeypatch.setattr(hubble_known, "module", lambda: object if cheap else None)
    monkeypatch.setattr(files, "MIN_PART", 10_000)
    monkeypatch.setattr(work, "LARGE", plain.stat().st_size // 2)
    monkeypatch.setattr(work.os, "cpu_count", lambda: 2)
    packed = plain.with_name("flows.jsonl.gz")
    packed.write_bytes(gzip.compress(plain.read_bytes(), 0))
    source = sniff.by_name("hubble")
    for processes, path, shares in ((None, plain, 1 if cheap else 2), (2, plain, 2), (2, packed, 1 if cheap else 2)):
        jobs, count = work.plan([(item, source) for item in files.expand([path])], processes)
        assert (len(jobs), count) == (shares, shares)


def test_an_error_in_another_process_is_the_same_error(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(lines(flow()))
    items = files.expand([tmp_path])
    jobs = [work.Job(n, "hubble", item, files.WHOLE) for n, item in enumerate(items)]
    (tmp_path / "b").unlink()
    with pytest.raises(files.InputError, match="no such file"):
        work.run(jobs, 2, Window())


def test_the_order_of_records_leaves_no_trace(tmp_path):
    records = [record for record in capture() if record]
    path = tmp_path / "flows.jsonl"
    path.write_bytes(lines(*records))
    before = read_flows([path], processes=1)
    for seed in range(3):
        random.Random(seed).shuffle(records)
        path.write_bytes(lines(*records))
        after = read_flows([path], processes=1)
        assert outcome(after, with_places=False) == outcome(before, with_places=False)
        assert after.table.drop_columns(["sample"]).equals(before.table.drop_columns(["sample"]))


def test_the_order_and_number_of_files_leave_no_trace(tmp_path):
    records = [record for record in capture() if record]
    (tmp_path / "one").write_bytes(lines(*records))
    for name, share in (("z", records[::3]), ("a", records[1::3]), ("k", records[2::3])):
        (tmp_path / "many").mkdir(exist_ok=True)
        (tmp_path / "many" / name).write_bytes(lines(*share))
    one = read_flows([tmp_path / "one"], processes=1)
    many = read_flows([tmp_path / "many"], processes=2)
    assert outcome(many, with_places=False) == outcome(one, with_places=False)


def test_forgetting_what_was_worked_out_changes_nothing(plain, monkeypatch):
    from netpol_gen.readers import hubble_decode, hubble_fold, hubble_known

    before = outcome(read_flows([plain], processes=1))
    monkeypatch.setattr(hubble_known, "module", lambda: None)
    for module in (hubble_fold, hubble_decode):
        monkeypatch.setattr(module, "MEMO_LIMIT", 3)
    assert outcome(read_flows([plain], processes=1)) == before


def test_folding_the_log_often_changes_nothing(plain, monkeypatch):
    from netpol_gen.readers import rows

    before = outcome(read_flows([plain], processes=1))
    monkeypatch.setattr(rows, "_LOG_LIMIT", 5)
    assert outcome(read_flows([plain], processes=1)) == before


def test_the_hash_seed_leaves_no_trace(plain, repository):
    import subprocess
    import sys

    program = (
        "import sys; from netpol_gen.readers import read_flows; flows = read_flows([sys.argv[1]], processes=1);"
        "print(flows.table.to_pylist(), flows.ledger.rows(), flows.ledger.places)"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", program, str(plain)],
            capture_output=True,
            check=True,
            cwd=repository,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(repository)},
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(told) == 1


def test_memory_grows_with_conversations_not_with_records(tmp_path):
    """20,000 records of one conversation: the file is 10 MB, what reading it holds at most is not."""
    import tracemalloc

    path = tmp_path / "flows.jsonl"
    block = lines(*(flow(l4=tcp(port, 5432, "ACK")) for port in range(32768, 33768)))
    with path.open("wb") as out:
        for _ in range(20):
            out.write(block)
    read_flows([path], processes=1)  # what is imported stays
    tracemalloc.start()
    flows = read_flows([path], processes=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert flows.ledger.read == 20_000
    assert peak < path.stat().st_size / 2


def test_many_connections_are_estimated(tmp_path):
    path = tmp_path / "flows.jsonl"
    path.write_bytes(lines(*(flow(l4=tcp(port, 5432, "ACK")) for port in range(20_000, 30_000))))
    [count] = read_flows([path], processes=1).table.column("flows").to_pylist()
    assert 7_000 < count < 13_000


# --- any bytes at all -------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
RARE = {"reply", "l7", "drop_reason", "drop_reason_desc", "trace_reason", "aggregate", "source_names"}
FIELDS = sorted(RARE | flow().keys())


@st.composite
def spoiled(draw):
    """A flow with a few fields replaced by anything, in an envelope or not."""
    record = flow(**{name: draw(JSON) for name in draw(st.lists(st.sampled_from(FIELDS), max_size=3, unique=True))})
    inner = draw(st.sampled_from(["IP", "l4", "source", "event_type"]))
    if isinstance(record.get(inner), dict) and record[inner]:
        key = draw(st.sampled_from(sorted(record[inner])))
        record[inner] = {**record[inner], key: draw(JSON)}
    shapes = (wrapped(record), record, {"log": json.dumps(record)}, [record, wrapped(record)])
    return json.dumps(draw(st.sampled_from(shapes))).encode()


def closes(path, data):
    path.write_bytes(data)
    flows = read_flows([path], source="hubble", processes=1, config=Config())
    records = sum(flows.table.column("records").to_pylist())
    assert flows.ledger.read == records + sum(flows.ledger.set_aside.values()) == sum(flows.ledger.files.values())
    return flows


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("any") / "flows.jsonl"


@given(data=st.binary(max_size=300))
def test_no_bytes_crash_it(scratch, data):
    try:
        closes(scratch, data)
    except NotAFlowLogError:
        return


@given(pieces=st.lists(spoiled() | st.binary(max_size=30), min_size=1, max_size=6))
def test_no_record_crashes_it_and_none_is_lost(scratch, pieces):
    first = lines(flow())
    flows = closes(scratch, first + b"\n".join(pieces))
    assert sum(flows.table.column("records").to_pylist()) >= 1


@given(cuts=st.lists(st.integers(0, 3000), max_size=4), junk=st.binary(max_size=4))
def test_no_damage_to_good_lines_crashes_it(scratch, cuts, junk):
    data = bytearray(lines(flow(), reply(), flow(l4=udp(1, 2))))
    for at in cuts:
        data[at % len(data) : at % len(data) + 1] = junk
    try:
        closes(scratch, bytes(data))
    except NotAFlowLogError:
        return


@given(data=st.binary(max_size=200), pretty=st.booleans())
def test_no_document_crashes_it(scratch, data, pretty):
    good = json.dumps([flow(), reply()], indent=1 if pretty else None).encode()
    closes(scratch, good[:-1] + b"," + data + b"]")


# --- real exports -----------------------------------------------------------------------------------------------------


def named(row, side):
    labels = json.loads(row[f"{side}_labels"] or "{}")
    pod = (row[f"{side}_pod"] or "").rsplit("-", 1)[0]
    return labels.get("app") or labels.get("k8s-app") or pod or row[f"{side}_entities"]


def decided_edges(path: Path):
    rows = read_flows([path], processes=1).table.to_pylist()
    return {
        (named(row, "src"), named(row, "dst"), row["protocol"], row["dst_port"])
        for row in rows
        if row["direction"] and row["observed_verdict"] == "forwarded"
    }


def test_bookinfo_tcp(shared_data):
    edges = decided_edges(shared_data / "hubble" / "basic-sample-400-tcp-flows.json")
    assert edges >= {
        ("productpage", "details", "TCP", 9080),
        ("productpage", "reviews", "TCP", 9080),
        ("ratings", "productpage", "TCP", 9080),
        ("reviews", "ratings", "TCP", 9080),
        ("otelcol-hubble-collector", "jaeger", "TCP", 14250),
    }
    assert {port for *_, port in edges} == {9080, 14250, 14269, 4244}
    # What ratings sent from its port 9080 were answers, to the proxy on the other node: not a node's calls either.
    assert not {edge for edge in edges if edge[0] in {"host", "remote-node"} and edge[3] == 9080}


def test_bookinfo_udp(shared_data):
    rows = read_flows([shared_data / "hubble" / "basic-sample-400-udp-flows.json"], processes=1).table.to_pylist()
    known = [row for row in rows if row["direction"]]
    assert {(named(row, "src"), named(row, "dst"), row["protocol"], row["dst_port"]) for row in known} == {
        ("productpage", "kube-dns", "UDP", 53),
        ("ratings", "kube-dns", "UDP", 53),
    }
    # 74 look-ups: proxied requests, answers and verdicts of each are one connection.
    assert sum(row["flows"] for row in known) == 37
    assert all(row["direction"] == "policy-verdict" for row in known)


def test_ten_flows_of_cilium_1_9(shared_data):
    flows = read_flows([shared_data / "hubble" / "basic-sample-10-flows.json"], processes=1)
    rows = flows.table.to_pylist()
    assert [(row["dst_port"], row["direction"], row["records"], row["replies"]) for row in rows] == [
        (15020, "is-reply", 2, 1),
        (15090, "is-reply", 2, 1),
        (9901, "is-reply", 2, 1),
        (443, "is-reply", 2, 1),
        (10054, "syn", 2, 1),
    ]


def test_l7_samples(shared_data):
    assert decided_edges(shared_data / "hubble" / "basic-sample-5-dns-flows.json") == {
        ("node-local-dns", "kube-dns", "TCP", 53)
    }
    http = read_flows([shared_data / "hubble" / "basic-sample-5-http-flows.json"], processes=1).table.to_pylist()
    assert {(row["dst_pod"], row["dst_entities"], row["dst_port"]) for row in http} == {
        (None, "world", 9990),
        ("kube-dns-b4f5c58c7-7qmtw", "world", 10054),
        ("node-local-dns-r99x7", "world", 9253),
        ("node-local-dns-6jnx9", "world", 9253),
    }


def test_all_real_exports_account_for_every_record(shared_data):
    flows = read_flows([shared_data / "hubble"])
    assert flows.ledger.read == 820
    assert {reason.name: count for reason, count in flows.ledger.set_aside.items()} == {"HEALTH": 1}
    assert sorted(flows.ledger.files.values()) == [5, 5, 10, 400, 400]
    assert WEB["pod_name"] == "web-1"
