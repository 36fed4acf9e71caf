"""Golden cases: `tests/golden/<case>/`, where the folder's name states the trap.

| file | by | holds |
|---|---|---|
| `flows.jsonl`, `inventory.yaml`, `later.yaml` | `make.py` | the capture, what the cluster held and holds later |
| `existing.yaml`, `options.toml` | hand | policies in force, settings |
| `wanted.toml` | hand | what has to come out: edges, policies, ledger counts, texts that may not occur |
| `probes.csv`, `probes-later.csv` | hand | connections and what the policies have to say of them |
| `expected/` | `--update-goldens` | everything that comes out, to the byte |

A golden says that nothing has changed; a probe says that it is right.
"""

from __future__ import annotations

import csv
import io
import ipaddress
import json
import os
import random
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import yaml

from netpol_gen import api
from netpol_gen.cli.options import make_config
from netpol_gen.emit import render_tree
from netpol_gen.evaluate import Judge
from netpol_gen.inventory import Inventory
from netpol_gen.inventory.objects import Node, Pod
from netpol_gen.model import Decision, Protocol
from netpol_gen.pipeline import Plan

GOLDEN = Path(__file__).resolve().parent / "golden"
CASES = sorted(path.parent.name for path in GOLDEN.glob("*/probes.csv"))
OPEN: dict[str, str] = {}
"""Cases that are right and that the product does not meet yet."""
MARKED = [pytest.param(c, marks=pytest.mark.xfail(strict=True, reason=OPEN[c])) if c in OPEN else c for c in CASES]
ANSWERED = (
    "cross-namespace-peers",
    "dns-both-protocols",
    "helm-two-releases-one-chart",
    "service-backends-named-target-port",
    "statefulset-scales",
)
"""Cases all of whose edges are conversations with data both ways, between pods."""
SHUFFLES = (1, 2, 3)
THROUGH_THE_CLI = ("service-backends-named-target-port", "existing-policy-stays-in-force")


@dataclass(frozen=True)
class Probe:
    src: str
    dst: str
    protocol: Protocol | None
    port: int
    want: Decision
    why: str


def probes_of(case, file="probes.csv"):
    path = GOLDEN / case / file
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return [
            Probe(
                row["src"], row["dst"], Protocol(row["protocol"]) if row["protocol"] != "ICMP" else None,
                int(row["port"]), Decision(row["want"]), row["why"],
            )
            for row in csv.DictReader(stream)
        ]  # fmt: skip


def wanted_of(case):
    return tomllib.loads((GOLDEN / case / "wanted.toml").read_text(encoding="utf-8"))


def run(case, flows=None, inventory=None) -> Plan:
    """What `generate` makes of a case, from its own files or from others."""
    folder = GOLDEN / case
    options, existing = folder / "options.toml", folder / "existing.yaml"
    inventory = inventory or folder / "inventory.yaml"
    config = make_config(options if options.exists() else None)
    held = api.read_inventory([inventory] if inventory.exists() else [])
    in_force = api.read_policies([existing]).policies if existing.exists() else None
    table = api.load_flows(flows or [folder / "flows.jsonl"], config=config)
    return api.generate(table, held, config, in_force)


@cache
def plan_of(case) -> Plan:
    return run(case)


def outputs(plan) -> dict[str, str]:
    """Everything that a case keeps under `expected/`."""
    files = {f"policies/{path}": text for path, text in render_tree(plan.policies, plan.notes).items()}
    frame = plan.edges.to_frame()
    rows = [
        (r.status, _cell(r.src_kind, r.src_namespace, r.src_name), _cell(r.dst_kind, r.dst_namespace, r.dst_name),
         r.protocol, r.port)
        for r in frame.astype(object).where(frame.notna(), None).itertuples(index=False)
    ]  # fmt: skip
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("status", "src", "dst", "protocol", "port"))
    writer.writerows(rows)
    files["edges.csv"] = text.getvalue()
    files["ledger.txt"] = "".join(f"{n}\t{b}{f': {r}' if r else ''}\n" for b, r, n in plan.edges.ledger.rows())
    files["findings.txt"] = "".join(f"{line!r}\n" for line in sorted(findings(plan) | gaps(plan)))
    return files


def _cell(kind, namespace, name):
    text = (f"{kind} {name}" if name else kind) if namespace is None else f"{namespace}/{kind}/{name}"
    # Hostile names are kept in a form that opens in any editor.
    return text.encode("unicode_escape").decode()


def findings(plan):
    return {f"{d.code} {d.subject}" for d in plan.diagnostics}


def gaps(plan):
    return {f"gap {g.workload} {g.direction}" for g in plan.gaps}


def ledger(plan):
    return {reason or bucket: count for bucket, reason, count in plan.edges.ledger.rows()}


# --- what was there before is there now -----------------------------------------------------------------------------


@pytest.mark.parametrize("case", MARKED)
def test_output_is_unchanged(case, update_goldens):
    found = outputs(plan_of(case))
    folder = GOLDEN / case / "expected"
    if update_goldens:
        _rewrite(folder, found)
    kept = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert sorted(found) == sorted(kept)
    for path, text in found.items():
        assert text.encode() == kept[path], path


def _rewrite(folder, files):
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file() and path.relative_to(folder).as_posix() not in files:
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    for name, text in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text.encode())


# --- and it is right ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", MARKED)
def test_probes(case):
    plan = plan_of(case)
    kept = [p for p in plan.existing if p.ref not in {n.ref for n in plan.policies} | set(plan.replaces)]
    assert answers(probes_of(case), Judge((*kept, *plan.policies), plan.edges.inventory), plan.edges.inventory) == []


@pytest.mark.parametrize("case", [c for c in CASES if (GOLDEN / c / "probes-later.csv").exists()])
def test_probes_later(case):
    """The same policies over the cluster as it is after the next scaling, rollout or run."""
    later = api.read_inventory([GOLDEN / case / "later.yaml"])
    assert answers(probes_of(case, "probes-later.csv"), Judge(plan_of(case).policies, later), later) == []


def answers(probes, judge, inventory):
    """Probes that got another answer than they want, with the reason."""
    wrong = []
    for probe in probes:
        for src in ends_of(probe.src, inventory):
            for dst in ends_of(probe.dst, inventory):
                verdict = judge.connection(src, dst, probe.protocol, probe.port)
                if verdict.decision is not probe.want:
                    wrong.append((probe, str(verdict.decision), verdict.reason))
    return wrong


def ends_of(text: str, inventory: Inventory) -> list[Pod | Node | ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """`namespace/pod`, `namespace/Kind/name` (all its pods), `node/name` or an address."""
    parts = text.split("/")
    if len(parts) == 1:
        return [ipaddress.ip_address(text)]
    if parts[0] == "node":
        return [inventory.nodes[parts[1]]]
    if len(parts) == 2:
        found = [inventory.pod(*parts)]
    else:
        pods = [p for p in inventory.pods if [p.namespace, p.workload.kind, p.workload.name] == parts]
        # As for the judge: pods of the dump speak for a workload, else its template, else those that flows know.
        dumped = [p for p in pods if p.live and not p.observed]
        found = dumped or [p for p in pods if p.template or p.live] or pods
    assert all(found), f"{text}: nobody has that name"
    assert found, f"{text}: nobody has that name"
    return found


@pytest.mark.parametrize("case", MARKED)
def test_what_is_wanted(case):
    plan, wanted = plan_of(case), wanted_of(case)
    if "accepted" in wanted:
        assert {str(e) for e in plan.edges.accepted} == set(wanted["accepted"])
    assert not plan.replay.denied
    if "policies" in wanted:
        assert {p.ref for p in plan.policies} == set(wanted["policies"])
    counts = ledger(plan)
    assert {name: counts.get(name, 0) for name in wanted.get("ledger", {})} == wanted.get("ledger", {})
    assert set(wanted.get("gaps", [])) <= {g.removeprefix("gap ") for g in gaps(plan)}
    assert set(wanted.get("findings", [])) <= findings(plan)
    texts = "".join(text for path, text in outputs(plan).items() if path.startswith("policies/"))
    assert [text for text in wanted.get("absent", []) if text in texts] == []
    assert [text for text in wanted.get("present", []) if text not in texts] == []
    assert set(wanted) <= {"accepted", "policies", "ledger", "gaps", "findings", "absent", "present"}


@pytest.mark.parametrize("case", CASES)
def test_probes_have_teeth(case):
    """With nothing generated, some probe of every case that generates something is answered wrongly."""
    plan = plan_of(case)
    if plan.policies:
        judge = Judge(() if case.startswith(("missing-only", "existing")) else plan.existing, plan.edges.inventory)
        assert answers(probes_of(case), judge, plan.edges.inventory) != []


@pytest.mark.parametrize("case", CASES)
def test_every_record_is_accounted_for(case):
    plan = plan_of(case)
    plan.edges.ledger.close()
    lines = (GOLDEN / case / "flows.jsonl").read_text(encoding="utf-8").splitlines()
    assert plan.edges.ledger.read == sum(1 for line in lines if line.strip())


# --- whatever the order ---------------------------------------------------------------------------------------------


def lines_of(case):
    return (GOLDEN / case / "flows.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)


@pytest.mark.parametrize("case", CASES)
def test_order_of_records_leaves_no_trace(case, tmp_path):
    wanted = outputs(plan_of(case))
    for seed in SHUFFLES:
        lines = lines_of(case)
        random.Random(seed).shuffle(lines)
        path = tmp_path / f"shuffled-{seed}.jsonl"
        path.write_text("".join(lines), encoding="utf-8")
        assert outputs(run(case, [path])) == wanted, f"seed {seed}"


@pytest.mark.parametrize("case", CASES)
def test_files_and_their_order_leave_no_trace(case, tmp_path):
    lines = lines_of(case)
    random.Random(7).shuffle(lines)
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    paths[0].write_text("".join(lines[::2]), encoding="utf-8")
    paths[1].write_text("".join(lines[1::2]), encoding="utf-8")
    wanted = outputs(plan_of(case))
    assert outputs(run(case, paths)) == wanted
    assert outputs(run(case, paths[::-1])) == wanted


@pytest.mark.parametrize("case", [c for c in CASES if (GOLDEN / c / "inventory.yaml").exists()])
def test_order_of_objects_leaves_no_trace(case, tmp_path):
    document = yaml.load((GOLDEN / case / "inventory.yaml").read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    random.Random(5).shuffle(document["items"])
    path = tmp_path / "inventory.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    assert outputs(run(case, inventory=path)) == outputs(plan_of(case))


# --- and whatever part of a conversation was captured -----------------------------------------------------------------


def turned_round(record):
    """The same packet written down from its receiver's side."""
    flow = record["flow"]
    ((protocol, layer4),) = flow["l4"].items()
    ip, ports = flow["IP"], ("source_port", "destination_port")
    swapped = {
        **flow,
        "is_reply": not flow["is_reply"],
        "IP": {**ip, "source": ip["destination"], "destination": ip["source"]},
        "l4": {protocol: {**layer4, ports[0]: layer4[ports[1]], ports[1]: layer4[ports[0]]}},
        "source": flow["destination"],
        "destination": flow["source"],
    }
    return {**record, "flow": swapped}


def opens(record):
    return "SYN" in record["flow"]["l4"].get("TCP", {}).get("flags", {})


@pytest.mark.parametrize("case", ANSWERED)
def test_any_part_of_a_conversation_tells_the_same_edges(case, tmp_path):
    records = [json.loads(line) for line in lines_of(case)]
    without_syn = [r for r in records if not opens(r)]
    parts = {
        "no SYN was captured": without_syn,
        "calls alone": [r for r in records if not r["flow"]["is_reply"]],
        "answers alone": [r for r in records if r["flow"]["is_reply"]],
        "turned round": [turned_round(r) for r in without_syn],
        "one node's records": [r for r in records if r["node_name"] == "demo/n2"],
    }
    wanted = set(plan_of(case).edges.accepted)
    for part, kept in parts.items():
        assert 0 < len(kept) < len(records), part
        path = tmp_path / f"{part}.jsonl"
        path.write_text("".join(json.dumps(r) + "\n" for r in kept), encoding="utf-8")
        assert set(run(case, [path]).edges.accepted) == wanted, part


# --- cases that belong together, the generator, the command line ------------------------------------------------------


def test_both_views_of_a_service_give_one_policy():
    dialled, backends = (outputs(plan_of(f"service-{view}-named-target-port")) for view in ("dialled", "backends"))
    policies = {path for path in backends if path.startswith("policies/")}
    assert {p: dialled.get(p) for p in policies} == {p: backends[p] for p in policies}
    assert dialled["edges.csv"] == backends["edges.csv"]


def test_every_folder_is_a_case_that_make_py_makes():
    folders = {path.parent.name for path in GOLDEN.glob("*/flows.jsonl")}
    assert folders == set(CASES)
    done = subprocess.run(
        [sys.executable, str(GOLDEN / "make.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def command_line(case, out, *options):
    folder = GOLDEN / case
    command = [sys.executable, "-m", "netpol_gen.cli.main", "generate", "flows.jsonl", "--out", str(out), *options]
    for name, option in (("inventory.yaml", "-i"), ("options.toml", "--config"), ("existing.yaml", "--existing")):
        if (folder / name).exists():
            command += [option, name]
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(GOLDEN.parent.parent)}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)


@pytest.mark.parametrize("case", THROUGH_THE_CLI)
def test_the_command_line_writes_the_same(case, tmp_path):
    done = command_line(case, tmp_path)
    assert done.returncode == 0, done.stderr
    kept = GOLDEN / case / "expected" / "policies"
    written = {p.relative_to(tmp_path).as_posix(): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert written == {p.relative_to(kept).as_posix(): p.read_bytes() for p in kept.rglob("*") if p.is_file()}


def test_hostile_names_reach_neither_the_terminal_nor_other_folders(tmp_path):
    out = tmp_path / "deep" / "er" / "out"
    done = command_line("hostile-names", out, "--verbose")
    assert done.returncode == 0, done.stderr
    shown = done.stdout + done.stderr
    assert "owned" in shown, "the names are not shown at all"
    assert not {c for c in shown if c < " " and c != "\n"} | ({"\x7f"} & set(shown))
    everything = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert all(path.startswith("deep/er/out/shop/") for path in everything)
    (stream := command_line("hostile-names", "-")).check_returncode()
    documents = list(yaml.load_all(stream.stdout, Loader=yaml.CSafeLoader))
    assert {d["kind"] for d in documents} == {"NetworkPolicy"}
    assert {d["metadata"]["namespace"] for d in documents} == {"shop"}
