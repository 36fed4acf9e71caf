"""The ledger beside a flow table of text: written, found, matched, and refused where it is another's."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from netpol_gen.edges import find_edges
from netpol_gen.errors import InputError
from netpol_gen.flowio import beside, write_flows
from netpol_gen.flowtable import Flows, Ledger, Reason
from netpol_gen.inventory import empty
from netpol_gen.readers import read_flows
from tests.flowrows import flows_of, row

ROW = row("10.0.0.1", "10.0.0.2", 80, src_names=[], dst_names=[])
OTHER = row("10.0.0.1", "10.0.0.2", 81, src_names=[], dst_names=[])
TEXT_FORMS = ("csv", "jsonl")


def made(*rows, notes=("a note <b>of\x1b[1m",)) -> Flows:
    flows = flows_of(*(rows or (ROW,)))
    ledger = Ledger(
        read=flows.ledger.read + 3,
        set_aside={Reason.MALFORMED: 2, Reason.ICMP: 1},
        places={Reason.MALFORMED: ["a.log:2: 3 fields", "a.log:9"]},
        files={"a.log": flows.ledger.read + 3},
    )
    ledger.lose("n1", 498718, "ring", 12)
    return Flows(flows.table, ledger, {"hubble": ledger.read}, notes)


@pytest.fixture(params=TEXT_FORMS)
def table(request, tmp_path: Path) -> Path:
    path = tmp_path / f"flows.{request.param}"
    write_flows(made(), path)
    return path


def alone(flows: Flows) -> None:
    """Only the records of the rows are counted."""
    assert flows.ledger.read == 1
    assert flows.ledger.set_aside == {}
    find_edges(flows, empty()).ledger.close()


def test_ledger_and_notes_come_back(table):
    again, flows = read_flows([table]), made()
    assert beside(table).name == f"{table.name}.ledger.json"
    assert again.ledger.read == flows.ledger.read
    assert (again.ledger.set_aside, again.ledger.places) == (flows.ledger.set_aside, flows.ledger.places)
    assert (again.ledger.losses, again.sources, again.notes) == (flows.ledger.losses, flows.sources, flows.notes)
    find_edges(again, empty()).ledger.close()


def test_other_tools_find_nothing_but_rows_in_the_table(table):
    assert len(table.read_bytes().splitlines()) == (2 if table.suffix == ".csv" else 1)
    assert b"ledger" not in table.read_bytes()


def test_parquet_has_it_within(tmp_path):
    write_flows(made(), tmp_path / "flows.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["flows.parquet"]
    assert read_flows([tmp_path / "flows.parquet"]).notes == made().notes


def test_a_compressed_table_keeps_it(table):
    packed = table.with_name(f"{table.name}.gz")
    packed.write_bytes(gzip.compress(table.read_bytes()))
    table.unlink()
    assert read_flows([packed]).ledger.set_aside == made().ledger.set_aside


@pytest.mark.parametrize("packed", [False, True])
def test_a_link_leads_to_it(table, packed):
    if packed:
        table = table.rename(table.with_name(f"{table.name}.gz"))
        table.write_bytes(gzip.compress(table.read_bytes()))
    folder = table.parent / "links"
    folder.mkdir()
    (folder / "latest").symlink_to(os.path.relpath(table, folder))
    assert read_flows([folder / "latest"]).ledger.set_aside == made().ledger.set_aside
    write_flows(made(notes=()), folder / "latest", "csv")
    assert read_flows([folder / "latest"]).notes == ()


@pytest.mark.parametrize("form", TEXT_FORMS)
def test_a_table_without_rows_has_one_too(form, tmp_path):
    bare = made()
    nothing = Flows(bare.table.slice(0, 0), Ledger(read=3, set_aside={Reason.ICMP: 3}), {"hubble": 3})
    write_flows(nothing, tmp_path / f"flows.{form}")
    for path in (tmp_path / f"flows.{form}", tmp_path):
        assert read_flows([path]).ledger.set_aside == {Reason.ICMP: 3}
    plain = tmp_path / f"flows.{form}"
    plain.with_name(f"{plain.name}.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    for path in (tmp_path / f"flows.{form}.gz", tmp_path):
        assert read_flows([path]).ledger.set_aside == {Reason.ICMP: 3}


@pytest.mark.parametrize("named", ["directory", "glob", "both"])
def test_it_is_no_flow_log_of_its_own(table, named):
    paths = {"directory": [table.parent], "glob": [table.parent / "*"], "both": [table, beside(table)]}[named]
    again = read_flows(paths)
    assert again.ledger.set_aside == made().ledger.set_aside
    assert {Path(name).name for name in again.ledger.files} == {"a.log", table.name}


def test_one_of_a_table_that_changed_is_not_used(table):
    data = table.read_bytes().replace(b"10.0.0.2", b"10.0.0.3")
    table.write_bytes(data)
    again = read_flows([table])
    alone(again)
    (note,) = again.notes
    assert note == (
        f"{table}: {table.name}.ledger.json beside it was written for other rows, and is not used: only the records of "
        "the rows are counted"
    )


def test_rows_that_follow_by_hand_do_not_count_as_set_aside_before(table):
    """Wrong accounting is what the digest is for: here the sums would still close."""
    write_flows(made(OTHER), table)
    saved = beside(table).read_bytes()
    write_flows(made(ROW), table)
    beside(table).write_bytes(saved)
    alone(read_flows([table]))


DAMAGED = {
    "cut": (lambda text: text[:40], "cannot be read as a ledger"),
    "no JSON": (lambda _: "\x1b[1m", "cannot be read as a ledger"),
    "empty": (lambda _: "", "cannot be read as a ledger"),
    "another file": (lambda _: "{}", "cannot be read as a ledger"),
    "sums": (lambda text: text.replace('"read": 4', '"read": 5'), "does not close"),
    "negative": (lambda text: text.replace('"icmp": 1', '"icmp": -1'), "negative"),
    "unknown reason": (lambda text: text.replace('"icmp"', '"boredom"'), "boredom"),
    "later version": (lambda text: text.replace('"version": 1', '"version": 2'), "version 2"),
}


@pytest.mark.parametrize(("change", "problem"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_one_is_an_error_that_names_it(change, problem, tmp_path):
    table = tmp_path / "flows.csv"
    write_flows(made(), table)
    beside(table).write_text(change(beside(table).read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(InputError, match=problem) as caught:
        read_flows([table])
    assert str(caught.value).startswith(f"{beside(table)}: ")
    assert "\x1b" not in str(caught.value)


def test_what_is_no_regular_file_is_not_opened(tmp_path):
    table = tmp_path / "flows.csv"
    write_flows(made(), table)
    beside(table).unlink()
    os.mkfifo(beside(table))
    with pytest.raises(InputError, match="is no regular file"):
        read_flows([table])


def test_one_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("netpol_gen.flowio.MAX_LEDGER", 100)
    write_flows(made(), tmp_path / "flows.csv")
    with pytest.raises(InputError, match="larger than 100 bytes"):
        read_flows([tmp_path / "flows.csv"])


def test_a_file_of_that_name_beside_nothing_is_told_as_any_other(tmp_path):
    (tmp_path / "flows.csv.ledger.json").write_text(json.dumps({"a": 1}), encoding="utf-8")
    with pytest.raises(InputError):
        read_flows([tmp_path])


def test_both_appear_or_none(tmp_path):
    with pytest.raises(InputError):
        write_flows(made(), tmp_path / "missing" / "flows.csv")
    (tmp_path / "flows.csv.ledger.json").mkdir()
    with pytest.raises(InputError):
        write_flows(made(), tmp_path / "flows.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["flows.csv.ledger.json"]


def test_same_table_same_bytes(tmp_path):
    for name in ("a.csv", "b.csv"):
        write_flows(made(), tmp_path / name)
    assert beside(tmp_path / "a.csv").read_bytes() == beside(tmp_path / "b.csv").read_bytes()
