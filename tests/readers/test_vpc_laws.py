"""Laws of the columnar readers: no input stops them, every record is accounted for, order leaves no trace."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netpol_gen.errors import InputError
from netpol_gen.flowtable import Flows
from netpol_gen.readers import read_flows
from netpol_gen.readers.vpc import Engine
from tests.readers import test_aws, test_aws_ocsf, test_azure, test_gcp

LAWS = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])

WORDS = st.one_of(
    st.sampled_from(
        ["-", "", "0", "-1", "65535", "65536", "8080.0", "1e9", "nan", "9" * 30, "ACCEPT", "OK", "NODATA", "SKIPDATA"]
    ),
    st.sampled_from(
        ["10.0.0.1", "::1", "fe80::1%eth0", "1.2.3", "srcaddr", '"', "a,b", "#", "\\", "\x00", "\x1f", "é", "\ud800"]
    ),
    st.text(max_size=8),
    st.integers(-(2**70), 2**70).map(str),
)


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def read(data: bytes, source: str, **options: Any) -> Flows | None:
    """The flows, or None where the whole input was refused in words."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "flows")
        path.write_bytes(data)
        try:
            flows = read_flows([path], source=source, processes=1, **options)
        except InputError:
            return None
    records = sum(flows.table.column("records").to_pylist())
    assert flows.ledger.read == records + sum(flows.ledger.set_aside.values())
    assert flows.ledger.read == sum(flows.ledger.files.values())
    assert all(len(places) <= 5 for places in flows.ledger.places.values())
    for row in flows.table.to_pylist():
        assert 1 <= row["flows"] <= row["records"]
        assert 0 <= row["replies"] <= row["records"]
        assert 0 <= row["dst_port"] <= 65535
        assert (row["src_port"] is None) == (row["direction"] is not None)
    for name, said in flows.columns.made.items():
        told = [said.values[code] if code >= 0 else None for code in said.codes.tolist()]
        assert told == flows.table.column(name).to_pylist()
    return flows


@st.composite
def damaged_records(draw: st.DrawFn) -> bytes:
    """AWS lines under a header, some with other words in them or with too many or few."""
    names = test_aws.V5.split()
    lines = [test_aws.V5] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 12))):
        record = test_aws.record(srcport=draw(st.integers(0, 65535)), tcp_flags=draw(st.integers(0, 255)))
        for name in draw(st.lists(st.sampled_from(names), max_size=3)):
            record[name] = draw(WORDS)
        words = [record[name] for name in names]
        if draw(st.integers(0, 9)) == 0:
            words = draw(st.lists(WORDS, max_size=25))
        lines.append(" ".join(words))
    return encoded(draw(st.sampled_from(["\n", "\r\n", "\n\n"])).join(lines))


@LAWS
@given(damaged_records())
def test_aws_text(data):
    read(data, "aws-vpc", aws_format=test_aws.V5)


@LAWS
@given(damaged_records())
def test_aws_lines_in_json(data):
    lines = [json.dumps({"message": line.decode(errors="replace")}) for line in data.splitlines()]
    read("\n".join(lines).encode(), "aws-vpc", aws_format=test_aws.V5)


@LAWS
@given(damaged_records(), st.data())
def test_aws_order_leaves_no_trace(data, draw):
    lines = [line for line in data.splitlines() if line and not line.startswith(b"version")]
    shuffled = draw.draw(st.permutations(lines))
    found = [read(b"\n".join([test_aws.V5.encode(), *each, b""]), "aws-vpc") for each in (lines, shuffled)]
    tables = [flows.table.drop_columns(["sample"]) for flows in found if flows is not None]
    assert tables[0].equals(tables[1])
    assert found[0].ledger.set_aside == found[1].ledger.set_aside


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(WORDS, inner, max_size=4)),
    max_leaves=8,
)


def changed(draw: st.DrawFn, value: Any) -> Any:
    """`value` with one thing somewhere within it replaced or taken away."""
    if isinstance(value, dict) and value and draw(st.integers(0, 4)):
        key = draw(st.sampled_from(sorted(value)))
        rest = {k: v for k, v in value.items() if k != key}
        return rest if draw(st.integers(0, 3)) == 0 else rest | {key: changed(draw, value[key])}
    if isinstance(value, list) and value and draw(st.integers(0, 4)):
        return [changed(draw, value[0]), *value[1:]]
    return draw(JSON)


@st.composite
def damaged_objects(draw: st.DrawFn, whole: Any) -> bytes:
    """Good objects with damaged ones between them, as lines, as an array or cut off."""
    made = [whole, *(changed(draw, whole) for _ in range(draw(st.integers(1, 5)))), whole]
    form = draw(st.integers(0, 3))
    if form == 0:
        return encoded(json.dumps(made))
    if form == 1:
        return encoded(json.dumps({"records": made, "events": [], "x": 1}, indent=draw(st.sampled_from([None, 1]))))
    text = encoded("\n".join(json.dumps(each) for each in made))
    return text if form == 2 else text[: draw(st.integers(0, len(text)))]


@LAWS
@given(damaged_objects(test_gcp.entry(src_gke_details=test_gcp.gke("a", "b", name="c"))))
def test_gcp_objects(data):
    read(data, "gcp-vpc")


@LAWS
@given(damaged_objects(test_gcp.in_text(test_gcp.entry())))
def test_gcp_payloads_in_texts(data):
    read(data, "gcp-vpc")


@LAWS
@given(damaged_objects({"message": {"data": test_gcp.packed(test_gcp.entry())}}))
def test_gcp_messages(data):
    read(data, "gcp-vpc")


@LAWS
@given(damaged_objects(test_azure.nsg(test_azure.v2(), test_azure.v1())))
def test_azure_groups(data):
    read(data, "azure-vnet")


@LAWS
@given(damaged_objects(test_azure.flat(test_azure.v4())))
def test_azure_flat(data):
    read(data, "azure-vnet")


@LAWS
@given(damaged_objects({name.replace("-", "_"): value for name, value in test_aws.record().items()}))
def test_aws_objects(data):
    read(data, "aws-vpc")


@LAWS
@given(damaged_objects(test_aws_ocsf.event(test_aws.record())))
def test_aws_events(data):
    read(data, "aws-vpc")


@LAWS
@given(st.lists(WORDS, min_size=13, max_size=13), st.integers(0, 13))
def test_azure_tuples(words, at):
    line = test_azure.v2().split(",")
    line = [*words[:at], *line[at:]]
    read(
        test_azure.blob(test_azure.nsg(test_azure.v2(), ",".join(line).encode("utf-8", "replace").decode())),
        "azure-vnet",
    )


@pytest.mark.parametrize("source", ["aws-vpc", "gcp-vpc", "azure-vnet"])
@settings(max_examples=40, deadline=None)
@given(data=st.binary(max_size=400))
def test_any_bytes(source, data):
    read(data, source)


@LAWS
@given(st.integers(0, 3000), st.binary(max_size=6))
def test_damaged_parquet(at, patch):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "a.parquet")
        test_aws.parquet(path, [test_aws.record(srcport=port) for port in range(40000, 40040)])
        data = bytearray(path.read_bytes())
        at %= len(data)
        data[at : at + len(patch)] = patch
        read(bytes(data), "aws-vpc")


def test_a_table_in_another_order_is_not_taken_for_what_the_reader_had_as_numbers():
    flows = read(test_aws.text(*(test_aws.record(pkt_srcaddr=f"10.0.0.{n}") for n in (1, 2, 3))), "aws-vpc")
    assert flows is not None
    assert flows.columns.made
    turned = replace(flows, table=flows.table.take([2, 0, 1]))
    said = turned.columns.texts("src_ip")
    assert [said.values[code] for code in said.codes.tolist()] == turned.table.column("src_ip").to_pylist()


def test_an_engine_leaves_nothing_behind(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Engine() as engine:
        batches = list(engine.query("SELECT range AS number FROM range(100000)"))
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())
    assert sum(sum(batch.column("number").to_pylist()) for batch in batches) == 99_999 * 50_000
    # It is gone, too, where nobody asked it anything, and where it could not be opened.
    with pytest.raises(InputError, match="before the first query"), Engine():
        raise InputError("before the first query")
    with pytest.raises(duckdb.Error, match="Memory"), Engine(memory="much") as engine:
        list(engine.query("SELECT 1"))
    assert not list(tmp_path.iterdir())


def test_the_engine_draws_nothing_where_people_look_on():
    # In a session, and in `python -c`, it would draw its progress on standard output, among the data.
    ask = "SELECT current_setting('enable_progress_bar') AS drawn"
    code = f'from netpol_gen.readers.vpc import Engine\nwith Engine() as e: print(next(e.query("{ask}")).to_pylist())'
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[{'drawn': False}]\n"
