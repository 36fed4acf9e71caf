"""The commands as a user runs them: exit codes, what goes where, and errors that name the place."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PAYMENTS = "sample-flows/payments"
FLOWS = [f"{PAYMENTS}/flows.jsonl"]
INVENTORY = ["-i", f"{PAYMENTS}/inventory.yaml"]


@pytest.fixture
def run(repository: Path):
    def command(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        ran = subprocess.run(
            [sys.executable, "-m", "netpol_gen.cli.main", *map(str, arguments)],
            cwd=repository,
            input=stdin,
            capture_output=True,
            check=False,
        )
        out, err = ran.stdout.decode(), ran.stderr.decode()
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(ran.args, ran.returncode, out, err)

    return command


@pytest.fixture
def policies(run, tmp_path):
    out = tmp_path / "policies"
    config = ["--config", f"{PAYMENTS}/netpol-gen.toml"]
    assert run("generate", *FLOWS, *INVENTORY, *config, "--out", out).returncode == 0
    return out


def test_generate_writes_a_stream_to_stdout_and_the_summary_to_stderr(run):
    ran = run("generate", *FLOWS, *INVENTORY)
    assert ran.returncode == 0
    assert ran.stdout.count("kind: NetworkPolicy") == 2
    assert "allowed at both ends" in ran.stderr
    assert run("generate", *FLOWS, *INVENTORY, "-q").stderr == ""


def test_flows_from_stdin_mean_the_same(run, repository):
    data = (repository / FLOWS[0]).read_bytes()
    assert run("generate", "-", *INVENTORY, stdin=data).stdout == run("generate", *FLOWS, *INVENTORY).stdout


def test_flows_in_a_file_whose_name_is_not_utf8(run, repository, tmp_path):
    flows = tmp_path / os.fsdecode(b"\xff\xfe|<b>.jsonl")
    flows.write_bytes((repository / FLOWS[0]).read_bytes())
    shown, out = "\\\\xff\\\\xfe", tmp_path / "out"
    for form in ("parquet", "csv", "jsonl"):
        assert run("flows", flows, "--out", out.with_suffix(f".{form}")).returncode == 0
    assert shown in out.with_suffix(".jsonl").read_text()
    for command in ("edges", "ports"):
        for form in ("text", "csv", "json", "md"):
            assert run(command, flows, *INVENTORY, "-o", form).returncode == 0
    assert run("generate", flows, *INVENTORY, "--out", out, "--evidence", out.with_suffix(".json")).returncode == 0
    assert shown in out.with_suffix(".json").read_text()
    assert run("report", flows, *INVENTORY, "--out", out.with_suffix(".html")).returncode == 0
    assert run("verify", out, "--flows", flows, *INVENTORY, "-o", "json").returncode == 0
    ran = run("flows", tmp_path / os.fsdecode(b"no\xff"))
    assert (ran.returncode, ran.stderr) == (2, f"netpol-gen: {tmp_path}/no\\xff: no such file or directory\n")


def test_long_paths_are_cut_for_terminals_alone(run, repository, tmp_path):
    deep = tmp_path.joinpath(*["d" * 100] * 6, "flows.jsonl")
    deep.parent.mkdir(parents=True)
    deep.write_bytes((repository / FLOWS[0]).read_bytes() + b'{"flow": {"time"\n')
    file = tmp_path / "evidence.json"
    ran = run("generate", deep, *INVENTORY, "--out", tmp_path / "p", "--evidence", file)
    assert "malformed record  (…/flows.jsonl:268: " in ran.stderr
    [place] = json.loads(file.read_text())["ledger"]["places"]["malformed record"]
    assert place.startswith(f"{deep}:268: ")
    assert "/flows.jsonl:268: " in run("edges", deep, "--strict").stderr


def test_evidence_accounts_for_every_record(run, tmp_path):
    file = tmp_path / "evidence.json"
    run("generate", *FLOWS, *INVENTORY, "--out", tmp_path / "p", "--evidence", file)
    document = json.loads(file.read_text())
    ledger = document["ledger"]
    assert ledger["read"] == sum(b["records"] for b in ledger["buckets"]) > 0
    assert all(edge["replay"]["decision"] == "allow" for edge in document["edges"])
    assert {rule["policy"] for rule in document["rules"]} == {"backend/api-gateway", "backend/payments"}


def test_an_existing_policy_that_denies_what_was_observed_stops_the_run(run, tmp_path):
    # The API has no deny rule, so only a cluster-wide policy can deny what generated rules admit.
    tiers = tmp_path / "anp.yaml"
    tiers.write_text(
        "apiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: {name: stop}\n"
        "spec:\n  priority: 1\n  subject: {namespaces: {}}\n  ingress:\n  - {action: Deny, from: [{namespaces: {}}]}\n"
    )
    out = tmp_path / "out"
    ran = run("generate", *FLOWS, *INVENTORY, "-i", tiers, "--out", out)
    assert ran.returncode == 1
    assert "would be denied, nothing was written" in ran.stderr
    assert not out.exists()


def test_verify(run, policies):
    ran = run("verify", policies, *INVENTORY, "--flows", *FLOWS)
    assert ran.returncode == 0
    (policies / "backend" / "api-gateway.yaml").unlink()
    broken = (policies / "backend" / "internal-port-restrict.yaml").read_text().replace("8443", "8444")
    (policies / "backend" / "internal-port-restrict.yaml").write_text(broken)
    ran = run("verify", policies, *INVENTORY, "--flows", *FLOWS)
    assert ran.returncode == 1
    assert "api-gateway" in ran.stdout
    assert "8443" in ran.stdout


@pytest.mark.parametrize(
    ("form", "wanted"), [("csv", "backend/payments"), ("json", "backend/payments"), ("md", "**5 edges: 0 denied")]
)
def test_verify_forms(run, policies, form, wanted):
    ran = run("verify", policies, *INVENTORY, "--flows", *FLOWS, "-o", form)
    assert ran.returncode == 0
    assert wanted in ran.stdout


def test_explain(run, policies):
    allowed = run("explain", policies, *INVENTORY, "backend/api-gateway", "backend/payments", "8443")
    assert allowed.returncode == 0
    denied = run("explain", policies, *INVENTORY, "backend/toolbox", "backend/payments", "8443/tcp")
    assert denied.returncode == 1
    assert "internal-port-restrict" in denied.stdout
    unknown = run("explain", policies, *INVENTORY, "backend/nobody", "backend/payments", "8443")
    assert unknown.returncode == 2
    assert "backend/nobody" in unknown.stderr


def test_list_and_diff(run, policies):
    rows = list(csv.DictReader(io.StringIO(run("list", policies, *INVENTORY, "-o", "csv").stdout)))
    server = "backend/payments[Deployment]"
    wanted = {"src": "backend/api-gateway[Deployment]", "dst": server, "connections": "TCP 8443"}
    assert wanted in rows
    assert not [r for r in rows if r["dst"] == server and r != wanted]
    same = run("diff", policies, policies, *INVENTORY)
    assert (same.returncode, same.stdout) == (0, "no difference in meaning\n")
    opened = run("diff", policies, "none", *INVENTORY, "-o", "csv")
    assert opened.returncode == 1
    assert "added,backend/toolbox[Pod],backend/payments[Deployment],none,all" in opened.stdout.splitlines()
    closed = run("diff", "none", policies, *INVENTORY, "--flows", *FLOWS)
    assert closed.returncode == 1
    assert closed.stdout.startswith("0 broken, 0 opened, ")


def test_edges_forms(run):
    rows = list(csv.DictReader(io.StringIO(run("edges", *FLOWS, *INVENTORY, "-o", "csv", "--all").stdout)))
    assert {r["status"] for r in rows} > {"accepted", "refused"}
    lines = run("edges", *FLOWS, *INVENTORY, "-o", "json").stdout.splitlines()
    assert {json.loads(line)["status"] for line in lines} == {"accepted"}
    assert run("edges", *FLOWS, *INVENTORY, "-o", "md").stdout.startswith("| client |")


def test_flows_go_to_stdout_or_into_a_file_that_reads_back(run, tmp_path, repository):
    ran = run("flows", *FLOWS)
    assert ran.returncode == 0
    assert ran.stdout.startswith('"first_seen",')
    assert not (repository / "-").exists()
    file = tmp_path / "flows.parquet"
    assert run("flows", *FLOWS, "--out", file).returncode == 0
    assert run("edges", file, *INVENTORY, "-q").stdout == run("edges", *FLOWS, *INVENTORY, "-q").stdout


def test_edges_as_parquet_have_the_documented_columns(run, tmp_path):
    import pandas as pd

    from netpol_gen.edges import COLUMNS

    file = tmp_path / "edges.parquet"
    assert run("edges", *FLOWS, *INVENTORY, "-o", "parquet", "--out", file).returncode == 0
    assert list(pd.read_parquet(file).columns) == list(COLUMNS)
    assert run("edges", *FLOWS, *INVENTORY, "-o", "parquet").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["edges", "nothing-here.json"], "nothing-here.json"),
        (["edges", "README.md"], "README.md"),
        (["edges", *FLOWS, "-i", "README.md"], "README.md"),
        (["edges", *FLOWS, "--source", "pcap"], "pcap"),
        (["edges", *FLOWS, "--since", "yesterday"], "--since"),
        (["edges", "s3://bucket/flows"], "s3://bucket/flows"),
        (["generate", *FLOWS, "--cni", "weave"], "weave"),
        (["generate"], "FLOWS"),
        (["list", "nowhere", *INVENTORY], "nowhere"),
        (["verify", f"{PAYMENTS}/inventory.yaml"], "--flows"),
        (["bogus"], "bogus"),
    ],
)
def test_bad_input_is_exit_2_and_names_the_thing(run, arguments, wanted):
    ran = run(*arguments)
    assert ran.returncode == 2
    assert wanted in ran.stderr
    assert ran.stdout == ""


def test_a_hostile_file_name_cannot_command_the_terminal(run, tmp_path):
    file = tmp_path / "a\x1b[31mred\n.json"
    file.write_text("what is this\n")
    ran = run("edges", file)
    assert ran.returncode == 2
    assert "\x1b" not in ran.stderr


def test_strict_and_max_bad(run, tmp_path, repository):
    file = tmp_path / "flows.jsonl"
    file.write_bytes((repository / FLOWS[0]).read_bytes() + b'{"flow": {"time"\n')
    ran = run("edges", file, "--strict")
    assert ran.returncode == 2
    assert "flows.jsonl:268" in ran.stderr
    assert run("edges", file).returncode == 0
    assert run("edges", file, "--max-bad", "0.5").returncode == 0
    assert run("edges", file, "--max-bad", "0.001").returncode == 2


def test_a_reader_that_goes_away_is_no_error(repository):
    command = f"{sys.executable} -m netpol_gen.cli.main edges {FLOWS[0]} -q | head -n 1"
    ran = subprocess.run(["bash", "-c", command], cwd=repository, capture_output=True, text=True, check=False)
    assert ran.stdout.startswith("client")
    assert ran.stderr == ""


def test_missing_only_into_the_directory_of_an_earlier_run_takes_nothing_away(run, policies, tmp_path, repository):
    """Whoever applies the directory with pruning would lose what was left out of it."""
    before = {p.relative_to(policies) for p in policies.rglob("*.yaml")}
    more = tmp_path / "more.jsonl"
    more.write_text((repository / FLOWS[0]).read_text().replace('_port":8443', '_port":9443'))
    flows = [*FLOWS, more]
    options = ["--mode", "missing-only", "--existing", policies, "--out", policies]
    assert run("generate", *flows, *INVENTORY, *options).returncode == 0
    assert before < {p.relative_to(policies) for p in policies.rglob("*.yaml")}
    for folder in policies.iterdir():
        listed = {line.removeprefix("- ") for line in (folder / "kustomization.yaml").read_text().splitlines()}
        assert {p.name for p in folder.iterdir()} - {"kustomization.yaml"} <= listed
    assert run("verify", policies, *INVENTORY, "--flows", more).returncode == 0


def test_the_package_is_the_command(run, repository):
    command = [sys.executable, "-m", "netpol_gen", "--version"]
    ran = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
    assert ran.stdout == run("--version").stdout != ""
