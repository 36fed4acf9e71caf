"""What is said of places: short enough for a terminal, and never without the name of the file and the line."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netpol_gen.errors import BadRecordsError, InputError, Place, printable_path, printable_place
from netpol_gen.flowtable import Ledger, Reason
from netpol_gen.report.summary import ledger_text

NAME = "123456789012_vpcflowlogs_eu-west-1_fl-0123456789abcdef0_20260102T0005Z_8f4b2a1c.log.gz"
HIVE = f"aws-account-id=123456789012/aws-service=vpcflowlogs/aws-region=eu-west-1/year=2026/month=01/day=02/{NAME}"


@pytest.mark.parametrize(
    ("place", "limit", "shown"),
    [
        ("a/b.log:12: dstport http", 100, "a/b.log:12: dstport http"),
        (f"logs/{HIVE}:12", 110, f"…/month=01/day=02/{NAME}:12"),
        (f"logs/{HIVE}:12: dstport http", 126, f"…/month=01/day=02/{NAME}:12: dstport http"),
        (f"logs/{HIVE}:12: dstport http", 60, f"…/{NAME}:12: dstport http"),
        (
            "d/" * 100 + "x.log:7: " + "detail " * 100,
            60,
            "…/d/d/d/d/d/d/d/d/d/d/d/d/d/x.log:7: detail detail detail d…",
        ),
        (f"{'d' * 200}/README.md: no flow log, left out", 60, "…/README.md: no flow log, left out"),
        (f"{'d' * 200}/x:1: y.log:12: detail", 30, "…/x:1: y.log:12: detail"),
        (f"{'d' * 200}/07:08:09.log:12", 30, "…/07:08:09.log:12"),
        ("n" * 400 + ".log:12: detail", 60, "…" + "n" * 250 + ".log:12: detail"),
        (f"{'d' * 90}/x.log:12: src/dst " + "y" * 90, 60, "…/x.log:12: src/dst " + "y" * 39 + "…"),
        ("aws-vpc: " + "words " * 20, 60, "aws-vpc: words words words words words words words words wo…"),
    ],
)
def test_places_are_cut_where_it_matters_least(place, limit, shown):
    assert printable_place(place, limit) == shown


@given(
    folders=st.lists(
        st.text(st.characters(exclude_characters="/:\0", exclude_categories=["Cs"]), max_size=40), max_size=30
    ),
    name=st.text("abc.-_=12", min_size=1, max_size=120),
    line=st.integers(1, 10**9),
    detail=st.text(max_size=300),
    limit=st.integers(40, 400),
)
def test_the_name_of_the_file_and_the_line_are_always_there(folders, name, line, detail, limit):
    shown = printable_place("/".join([*folders, name]) + f":{line}" + (f": {detail}" if detail else ""), limit)
    assert re.search(rf"(?:^|/){re.escape(name)}:{line}(?:$|: )", shown)
    assert len(shown) <= max(limit, len(f"…/{name}:{line}") + 30)
    assert shown.isprintable()


def test_a_path_is_cut_at_its_beginning():
    assert printable_path(f"/srv/{HIVE}", 120) == f"…/year=2026/month=01/day=02/{NAME}"
    assert printable_path("a\nb") == "a\\nb"
    deep = "/".join(["d" * 100] * 20) + "/flows.jsonl"
    assert str(InputError("no", Place(deep, 7))).endswith("/flows.jsonl:7: no")
    assert f"{deep[-40:]}:7: x" in str(BadRecordsError("bad", [f"{deep}:7: x"]))


def test_the_ledger_of_a_long_path():
    ledger = Ledger(read=1)
    ledger.aside(Reason.BAD_FIELD, 1, f"AWSLogs/123456789012/vpcflowlogs/eu-west-1/2026/01/02/{NAME}:12: dstport http")
    assert f"/{NAME}:12: dstport http)\n" in ledger_text(ledger, ["aws-vpc"])
