"""The order of a flow table's rows is found from integers: it is the order that Arrow gives to its columns."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from netpol_gen.codes import Texts
from netpol_gen.readers.columns import array, chosen, sequence, written
from netpol_gen.readers.vpc_table import ordered
from tests.flowrows import NOW, flows_of, row

KEYS = ("first_seen", "last_seen", "src_ip", "dst_ip", "dst_port", "src_port", "protocol", "observed_verdict")
KEYS += ("drop_reason", "direction", "source", "src_namespace", "src_pod", "dst_namespace", "dst_pod", "sample")
ADDRESS = st.sampled_from(["10.0.0.9", "10.0.0.10", "2001:db8::1"])
ROWS = st.builds(
    row,
    ADDRESS,
    ADDRESS,
    st.sampled_from([80, 443]),
    src_port=st.sampled_from([None, 40_000, 0]),
    first_seen=st.sampled_from([NOW, NOW - 7]),
    last_seen=st.sampled_from([NOW, NOW + 10**9]),
    protocol=st.sampled_from(["TCP", "UDP"]),
    observed_verdict=st.sampled_from(["forwarded", "dropped"]),
    direction=st.sampled_from([None, "syn", "initiator"]),
    src_pod=st.sampled_from([None, "a-1", "b"]),
    sample=st.sampled_from([None, "a:1", "a:10", "a:9", "b:1"]),
)


@given(st.lists(ROWS, max_size=25))
def test_rows_are_in_the_order_of_their_columns(rows):
    table = flows_of(*rows).table
    wanted = table.sort_by([(name, "ascending") for name in KEYS]).select(KEYS).to_pylist()
    assert ordered(table).select(KEYS).to_pylist() == wanted


INTEGERS = st.one_of(st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1))


@given(st.lists(st.tuples(INTEGERS, st.integers(0, 9), INTEGERS, st.integers(-2, 2)), max_size=30))
def test_keys_of_any_range_can_be_packed(rows):
    order, same = sequence(*(np.array([r[i] for r in rows], dtype=np.int64) for i in range(4)))
    found = [rows[i] for i in order.tolist()]
    assert found == sorted(rows)
    assert same.tolist() == [i > 0 and found[i] == found[i - 1] for i in range(len(found))]


@given(st.lists(st.one_of(st.none(), st.integers(-(2**31), 2**31 - 1))))
def test_arrays_from_numpy_are_those_of_arrow(values):
    numbers = np.array([v or 0 for v in values], dtype=np.int64)
    missing = np.array([v is None for v in values], dtype=bool)
    for kind in (pa.int32(), pa.int64(), pa.timestamp("ns", tz="UTC")):
        assert array(numbers, kind, missing).equals(pa.array(values, kind))
    assert chosen([None, "x"], missing).to_pylist() == ["x" if v is None else None for v in values]


LOG = "2 123456789012 eni-1 10.0.0.1 10.0.0.2 40000 443 6 5 500 1700000000 1700000060 ACCEPT OK\n"
TABLE = (
    "ipv4 2 tcp 6 9 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=40000 dport=443 src=10.0.0.2 dst=10.0.0.1 sport=443 "
)
TABLE += "dport=40000 [ASSURED] mark=0 use=1\n"


def test_files_become_edges_without_pandas(tmp_path):
    """It takes half a second and 40 MB to import, more than a small run needs for all else."""
    (tmp_path / "a.log").write_text(LOG)
    (tmp_path / "nf_conntrack").write_text(TABLE)
    program = (
        "import sys; from netpol_gen.edges import find_edges; from netpol_gen.inventory import Inventory; "
        "from netpol_gen.readers import read_flows; "
        "print([len(find_edges(read_flows([path]), Inventory()).observations) for path in sys.argv[1:]], "
        "'pandas' in sys.modules)"
    )
    command = [sys.executable, "-c", program, *map(str, sorted(tmp_path.iterdir()))]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.split()[-1] == "False"


@given(st.lists(st.sampled_from([-1, 0, 1, 2])), st.booleans())
def test_texts_from_numbers(codes, alike):
    codes = codes[:1] * len(codes) if alike else codes
    values = ["one", "zwei", "è"]
    made = written(Texts(np.array(codes, dtype=np.int64), values))
    assert made.equals(pa.array([None if c < 0 else values[c] for c in codes], pa.string()))
