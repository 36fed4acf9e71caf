"""`netpol-gen report` as a user runs it."""

from __future__ import annotations

import json
import re

from typer.testing import CliRunner

from netpol_gen.cli.main import app

SAMPLE = ["sample-flows/payments/flows.jsonl", "-i", "sample-flows/payments/inventory.yaml"]


def run(*arguments):
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


def test_page_goes_to_a_file_or_to_stdout(repository, monkeypatch, tmp_path):
    monkeypatch.chdir(repository)
    written = run(*SAMPLE, "--out", tmp_path / "r.html", "--title", "Payments <1>")
    assert written.exit_code == 0, written.output
    assert f"wrote {tmp_path / 'r.html'}, 0." in written.stderr
    assert written.stdout == ""
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<title>Payments &lt;1&gt;</title>" in page
    assert "sample-flows/payments/flows.jsonl:" in page
    shown = run(*SAMPLE, "--out", "-", "-q", "--title", "Payments <1>")
    assert shown.stdout == page
    assert shown.stderr == ""


def test_plots_are_written_beside(repository, monkeypatch, tmp_path):
    monkeypatch.chdir(repository)
    written = run(*SAMPLE, "--out", tmp_path / "r.html", "--plots", tmp_path / "plots")
    assert written.exit_code == 0, written.output
    assert "wrote 8 plots" in written.stderr
    assert sorted(p.name for p in (tmp_path / "plots").glob("*.svg")) == [
        "accumulation.svg",
        "edges-over-time.svg",
        "port-heat-map.svg",
        "size-against-over-permission.svg",
    ]
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in (tmp_path / "plots").glob("*.png"))


def test_existing_policies_are_what_is_compared_with(repository, monkeypatch, tmp_path):
    monkeypatch.chdir(repository)
    policies = tmp_path / "policies.yaml"
    policies.write_text(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: lock, namespace: backend}\n"
        "spec: {podSelector: {matchLabels: {app: payments}}, policyTypes: [Ingress]}\n",
        encoding="utf-8",
    )
    page = run(*SAMPLE, "--out", "-", "-q", "--existing", policies).stdout
    assert '"name":"lock"' in page
    assert '"opened"' in page


def test_policies_that_are_in_force_already_change_nothing(repository, monkeypatch, tmp_path):
    monkeypatch.chdir(repository)
    generated = CliRunner().invoke(app, ["generate", *SAMPLE, "--out", str(tmp_path / "policies")])
    assert generated.exit_code == 0, generated.output
    shown = run(*SAMPLE, "--out", "-", "-q", "--existing", tmp_path / "policies")
    assert shown.exit_code == 0, shown.output
    document = json.loads(re.search(r'<script[^>]* id="data">(.*?)</script>', shown.stdout, re.DOTALL)[1])
    before, after = (document["sides"][name] for name in ("before", "after"))
    assert before == after
    # Each of them is there once, whichever side has it.
    assert sorted(before["policies"]) == list(range(len(document["policies"])))
    assert len({(p["ns"], p["name"]) for p in document["policies"]}) == len(document["policies"]) > 1
