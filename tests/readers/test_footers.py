"""The beginnings of Parquet footers, against Arrow's own reading of them."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netpol_gen.readers.footers import MAGIC, beginning, footer

KINDS = (pa.int32(), pa.int64(), pa.string(), pa.bool_(), pa.timestamp("ms", tz="UTC"), pa.list_(pa.int16()))
# Of 22 letters, the length looks like the header of the number of rows.
ROWS = st.integers(0, 300)
NAMES = st.text("abp_\u00e9", min_size=1, max_size=12) | st.just("packets_lost_blackhole")


def written(columns: dict[str, pa.DataType], rows: int) -> bytes:
    table = pa.table({name: pa.nulls(rows, kind) for name, kind in columns.items()})
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


def end_of(data: bytes) -> bytes:
    return data[-8 - int.from_bytes(data[-8:-4], "little") :]


@given(st.dictionaries(NAMES, st.sampled_from(KINDS), min_size=1, max_size=20), ROWS, ROWS)
def test_rows_are_those_that_arrow_reads(columns: dict[str, pa.DataType], rows: int, others: int) -> None:
    first, second = end_of(written(columns, rows)), end_of(written(columns, others))
    found = beginning(first)
    assert found is not None
    assert found.rows == rows
    assert second.startswith(found.columns)
    assert beginning(second, found.columns) == (found.columns, others)


def test_other_columns_have_another_beginning() -> None:
    found = beginning(end_of(written({"srcaddr": pa.string()}, 5)))
    assert found is not None
    for columns in ({"srcaddr": pa.int64()}, {"srcaddr": pa.string(), "b": pa.string()}, {"dstaddr": pa.string()}):
        assert not end_of(written(columns, 5)).startswith(found.columns)


@given(st.integers(0, 400), st.integers(0, 400), st.binary(max_size=8))
def test_damage_is_no_beginning_or_one_of_its_own(start: int, size: int, instead: bytes) -> None:
    end = end_of(written({"srcaddr": pa.string(), "dstaddr": pa.string()}, 5))
    found = beginning(end[:start] + instead + end[start + size :])
    assert found is None or found.rows >= 0


@pytest.mark.parametrize("data", [b"", b"\x15", b"\x15\x04\x19", b"\x15\x04\x19\xfc", b"\x15\x04" + b"\x19" * 5000])
def test_what_is_cut_off_is_no_beginning(data: bytes) -> None:
    assert beginning(data) is None


def test_a_footer_is_read_from_its_beginning(tmp_path: Path) -> None:
    data = written({f"column_{i}": pa.string() for i in range(400)}, 3)
    (tmp_path / "a.parquet").write_bytes(data)
    (tmp_path / "cut.parquet").write_bytes(data[:-2])
    assert end_of(data).startswith(footer(MAGIC, str(tmp_path / "a.parquet")))
    assert beginning(footer(MAGIC, str(tmp_path / "a.parquet"))) == beginning(end_of(data))
    assert footer(MAGIC, str(tmp_path / "cut.parquet")) == data[:-2][-64 * 1024 :]
    assert footer(b"head", str(tmp_path)) == b"head"
