"""What commands say of rows of the flow table: whose they are, and what of them was left out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from netpol_gen.flowio import write_flows
from netpol_gen.flowtable import Reason
from tests.flowrows import flows_of, row

WEB, TWICE, NOBODY = "10.0.1.10", "10.0.2.12", "10.0.9.9"
PODS = """\
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop, labels: {app: web}},
   status: {phase: Running, podIP: 10.0.1.10}}
- {apiVersion: v1, kind: Pod, metadata: {name: one, namespace: shop, labels: {app: one}},
   status: {phase: Running, podIP: 10.0.2.12}}
- {apiVersion: v1, kind: Pod, metadata: {name: two, namespace: shop, labels: {app: two}},
   status: {phase: Running, podIP: 10.0.2.12}}
"""
POLICY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress]}
"""


@pytest.fixture
def run(tmp_path: Path):
    (tmp_path / "pods.yaml").write_text(PODS, encoding="utf-8")
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    called = [("203.0.113.7", 443), (TWICE, 8080), (NOBODY, 5432)]
    rows = [row(WEB, dst, port, src_names=[], dst_names=[]) for dst, port in called]
    write_flows(flows_of(*rows), tmp_path / "flows.csv")

    def command(text: str) -> subprocess.CompletedProcess[str]:
        arguments = [sys.executable, "-m", "netpol_gen.cli.main", *text.split(), "-i", "pods.yaml"]
        ran = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ran.returncode < 2, ran.stderr
        return ran

    return command


@pytest.mark.parametrize(
    "command",
    [
        "edges flows.csv",
        "ports flows.csv",
        "coverage flows.csv",
        "generate flows.csv --out out",
        "verify policy.yaml --flows flows.csv",
        "diff policy.yaml policy.yaml --flows flows.csv",
        "lint policy.yaml --flows flows.csv",
    ],
)
def test_two_living_pods_with_one_address_are_told(run, command):
    said = f"NPG210 warning {TWICE}: 2 living pods hold this address (shop/one, shop/two); its flows are ambiguous"
    assert run(command).stderr.count(said) == 1


def test_all_edges_are_with_those_that_were_left_out(run):
    shown = run("edges flows.csv --all --pod-cidr 10.0.0.0/16").stdout.splitlines()
    assert [line.split("  ")[-1].strip() for line in shown[1:]] == [Reason.AMBIGUOUS, Reason.UNKNOWN_PARTY, "accepted"]
    assert [TWICE in shown[1], NOBODY in shown[2]] == [True, True]
    assert len(run("edges flows.csv --pod-cidr 10.0.0.0/16").stdout.splitlines()) == 2


FIELDS = "srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status tcp-flags"
LOG = f"""\
version account-id interface-id {FIELDS}
2 123456789010 eni-1 10.0.1.10 10.0.2.11 40001 8080 6 10 800 1760000000 1760000050 ACCEPT OK 2
2 123456789010 eni-1 10.0.2.11 10.0.1.10 8080 40001 6 10 800 1760000000 1760000050 ACCEPT OK 18
\x1b[1m**no** record
"""


@pytest.fixture
def convert(tmp_path: Path):
    (tmp_path / "aws.log").write_text(LOG, encoding="utf-8")

    def command(text: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        arguments = [sys.executable, "-m", "netpol_gen.cli.main", *text.split()]
        return subprocess.run(arguments, cwd=tmp_path, input=stdin, capture_output=True, text=True, check=True)

    return command


def test_flows_says_what_became_of_the_records(convert):
    said = convert("flows aws.log --out t.csv").stderr
    assert "records: 4 read (aws-vpc) = 2 in 1 row + 2 set aside\n" in said
    assert "1  malformed record  (aws.log:4: 2 fields, 15 wanted)\n" in said
    assert "about the input: aws-vpc: records without pkt-srcaddr" in said
    assert "not idle, but never shown by aws-vpc: " in said
    assert said.splitlines()[-1] == "the ledger and the notes are beside the table, in t.csv.ledger.json"
    assert "\x1b" not in said
    assert convert("flows aws.log --out t.csv -q").stderr == ""


def test_what_a_pipe_loses_is_said_and_what_a_file_keeps_is_there(convert):
    piped = convert("flows aws.log")
    sentence = "the ledger and the notes are not in what was written: --out FILE keeps them, beside the table\n"
    assert sentence in piped.stderr
    assert "records: 2 read" in convert("flows - --out again.csv", piped.stdout).stderr
    convert("flows aws.log --out t.jsonl")
    again = convert("flows t.jsonl").stderr
    assert again.replace(sentence, "") == piped.stderr.replace(sentence, "")
    assert "within the table" in convert("flows aws.log --out t.parquet").stderr


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("command", ["edges", "flows"])
def test_what_is_no_file_is_not_replaced_by_one(convert, tmp_path, command, form):
    """For root, that was `/dev/null`, too."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    held = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        said = convert(f"{command} aws.log -o {form} --out pipe").stderr
        assert os.read(held, 1 << 16).startswith({"csv": b"", "parquet": b"PAR1"}[form])
    finally:
        os.close(held)
    assert pipe.is_fifo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["aws.log", "pipe"]
    assert ("not in what was written" in said) == ((command, form) == ("flows", "csv"))


def test_nothing_is_left_beside_a_place_that_cannot_be_written(convert, tmp_path):
    (tmp_path / "taken").mkdir()
    for form in ("csv", "parquet"):
        for command in ("edges", "flows"):
            with pytest.raises(subprocess.CalledProcessError) as caught:
                convert(f"{command} aws.log -q -o {form} --out taken")
            assert caught.value.returncode == 2
            assert caught.value.stderr.startswith("netpol-gen: taken: ")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["aws.log", "taken"]
    convert("edges aws.log -q -o parquet --out new/folder/edges.parquet")
    assert (tmp_path / "new/folder/edges.parquet").is_file()
