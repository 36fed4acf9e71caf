"""Rows as text, CSV, JSON, Markdown and DOT: what they say, and that no name can leave its place."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess

import pytest

from netpol_gen.connectivity import connections, exposure
from netpol_gen.diff import compare
from netpol_gen.evaluate.matrix import Decision
from netpol_gen.model import DirectionEvidence, Edge, Evidence, Protocol, Signal, Workload
from netpol_gen.report.connectivity import dot_id, list_csv, list_dot, list_json, list_markdown, list_text
from netpol_gen.report.difference import diff_csv, diff_json, diff_markdown, diff_text, summary
from netpol_gen.report.verdicts import replay_csv, replay_json, replay_markdown, replay_text
from netpol_gen.verify import replay
from tests.evaluate.cluster import inventory, pod, policies

WEB, DB = pod("web"), pod("db", ports={"sql": 5432})
CLUSTER = inventory(WEB, DB)
TEXT = """
podSelector: {}
policyTypes: [Ingress, Egress]
ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: sql}, {port: 8080, endPort: 8090}]}]
egress:
- to: [{podSelector: {matchLabels: {app: db}}}]
- {to: [{ipBlock: {cidr: 203.0.113.0/24}}], ports: [{port: 443}]}
"""
ROWS = [
    ["shop/db[Deployment]", "203.0.113.0/24", "TCP 443"],
    ["shop/web[Deployment]", "shop/db[Deployment]", "TCP 5432,8080-8090"],
    ["shop/web[Deployment]", "203.0.113.0/24", "TCP 443"],
]


def listed():
    return connections(policies(TEXT), CLUSTER, ipblock_matches_pods=Decision.DENY)


def read(text):
    return list(csv.reader(io.StringIO(text)))


def test_list_as_csv():
    assert read(list_csv(listed())) == [["src", "dst", "connections"], *ROWS]


def test_list_as_text_and_markdown_and_json_say_the_same():
    lines = list_text(listed()).splitlines()
    assert [re.split(r"  +", line) for line in lines] == [["src", "dst", "connections"], *ROWS]
    table = [[c.strip(" `") for c in line.strip("|").split("|")] for line in list_markdown(listed()).splitlines()]
    assert [table[0], *table[2:]] == [["src", "dst", "connections"], *ROWS]
    data = json.loads(list_json(listed()))
    assert [[r["src"], r["dst"], r["connections"]] for r in data["rows"]] == ROWS
    assert data["rows"][1]["ports"] == {"TCP": [[5432, 5432], [8080, 8090]]}
    assert "exposure" not in data


def test_what_is_only_possible_has_a_column_of_its_own_where_there_is_some():
    text = "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{ipBlock: {cidr: 203.0.113.0/24}}]}]}"
    unsure = connections(policies(text), inventory(pod("web", ip="203.0.113.1"), DB))
    assert "perhaps" in list_text(unsure).splitlines()[0]
    pair = ("shop/web[Deployment]", "shop/db[Deployment]")
    found = [r for r in json.loads(list_json(unsure))["rows"] if (r["src"], r["dst"]) == pair]
    assert [(r["connections"], r["possible"]) for r in found] == [("none", "all")]
    assert not any(tuple(row[:2]) == pair for row in read(list_csv(unsure)))


def test_list_with_exposure():
    exposed = exposure(policies(TEXT), CLUSTER)
    assert "pods app=web in shop" in list_text(listed(), exposed)
    assert "pods app=web in shop" in list_markdown(listed(), exposed)
    assert {e["peer"] for e in json.loads(list_json(listed(), exposed))["exposure"]} == {
        "pods app=web in shop",
        "pods app=db in shop",
    }


def test_list_as_dot(tmp_path):
    text = list_dot(listed(), exposure(policies(TEXT), CLUSTER))
    assert '"shop/web[Deployment]" -> "shop/db[Deployment]" [label="TCP 5432,8080-8090"];' in text
    assert text.count("{") == text.count("}") == 1
    dot = shutil.which("dot")
    if dot:
        subprocess.run([dot, "-Tsvg", "-o", tmp_path / "x.svg"], input=text, text=True, check=True)


def difference():
    return compare(policies(TEXT), policies(TEXT.replace("8090", "8091")), CLUSTER, CLUSTER)


def test_diff_in_all_forms():
    row = ["changed", "shop/web[Deployment]", "shop/db[Deployment]", "TCP 5432,8080-8090", "TCP 5432,8080-8091"]
    found = difference()
    assert summary(found) == "0 added, 0 removed, 1 changed"
    assert read(diff_csv(found)) == [["change", "src", "dst", "before", "after"], row]
    assert re.split(r"  +", diff_text(found).splitlines()[-1]) == row
    assert "### Changed (1)" in diff_markdown(found)
    data = json.loads(diff_json(found))["rows"]
    assert [data[0][k] for k in ("change", "src", "dst", "before", "after")] == row
    frame = found.to_frame()
    assert frame.loc[0].tolist() == [*row, ""]


def test_no_difference_is_one_line():
    found = compare(policies(TEXT), policies(TEXT), CLUSTER, CLUSTER)
    assert diff_text(found) == "no difference in meaning\n"
    assert read(diff_csv(found)) == [["change", "src", "dst", "before", "after"]]
    assert json.loads(diff_json(found))["same"] is True


def test_new_and_gone_workloads_are_shown_in_every_form():
    found = compare((), (), inventory(WEB), inventory(DB))
    rows = read(diff_csv(found))
    assert ["new", "shop/db[Deployment]", "", "", ""] in rows
    assert ["gone", "shop/web[Deployment]", "", "", ""] in rows
    assert "new workloads: shop/db[Deployment]" in diff_text(found)
    assert "### Gone workloads" in diff_markdown(found)
    assert json.loads(diff_json(found))["new"] == ["shop/db[Deployment]"]


def evidence(flows):
    return Evidence(flows, flows, 0, 0, 0, DirectionEvidence.SYN, Signal.SYN, samples=("flows.jsonl:3",))


def test_replay_in_all_forms():
    web, db = WEB.workload, DB.workload
    edges = {Edge(web, db, Protocol.TCP, 5432): evidence(7), Edge(db, web, Protocol.TCP, 1): evidence(2)}
    found = replay(policies(TEXT), CLUSTER, edges)
    assert not found.holds
    assert [len(x) for x in (found.denied, found.unknown, found.allowed)] == [1, 0, 1]
    text = replay_text(found)
    assert text.splitlines()[0] == "2 edges: 1 denied, 0 unknown, 1 allowed"
    assert "deny  shop/db[Deployment] -> shop/web[Deployment] TCP 1  (2 flows)" in text
    assert "egress: deny: shop/db is isolated for egress by shop/p1, and no rule admits TCP 1 to shop/web" in text
    assert "ingress: deny: shop/web is isolated for ingress by shop/p1" in text
    assert "seen at flows.jsonl:3" in text
    assert [row[0] for row in read(replay_csv(found))] == ["decision", "deny", "allow"]
    assert json.loads(replay_json(found))["denied"] == 1
    assert replay_markdown(found).count("| `deny` |") == 1
    frame = found.to_frame()
    assert frame["decision"].tolist() == ["deny", "allow"]
    assert frame["port"].tolist() == [1, 5432]
    assert replay(policies(TEXT), CLUSTER, {}).holds


# Names cannot come from the API server like this, but they can from a file.
HOSTILE = [
    '=cmd|"/c calc"!A1',
    "a`b`|c",
    'x"]; evil [label="',
    "\x1b[31mred\x07",
    "two\nlines",
    "<script>",
    "\u202eevil",
    "\\",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_where_they_are(name):
    a = pod("a", {"app": "a"}, namespace=name, workload=name)
    cluster = inventory(a, DB)
    found, changed = connections((), cluster), compare((), (), inventory(DB), cluster)
    edge = Edge(Workload(name, "Deployment", name), DB.workload, Protocol.TCP, 1)
    replayed = replay(policies("{podSelector: {}, policyTypes: [Ingress]}"), cluster, {edge: evidence(1)})
    texts = [
        *(f(found) for f in (list_text, list_csv, list_markdown, list_json, list_dot)),
        *(f(changed) for f in (diff_text, diff_csv, diff_markdown, diff_json)),
        *(f(replayed) for f in (replay_text, replay_csv, replay_markdown, replay_json)),
    ]
    for text in texts:
        assert "\x1b" not in text
        assert "\x07" not in text
        assert "\u202e" not in text
    for text in (list_csv(found), diff_csv(changed), replay_csv(replayed)):
        assert not any(cell.startswith(("=", "+", "@", "-")) for row in read(text) for cell in row)
    for text in (list_markdown(found), diff_markdown(changed), replay_markdown(replayed)):
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert all(len({line.count("|") for line in block}) == 1 for block in blocks(text))
        assert rows
    for line in list_dot(found).splitlines()[1:-1]:
        quoted = re.sub(r'"(?:[^"\\]|\\.)*"', "", line)
        assert '"' not in quoted
        assert re.fullmatch(r"  (rankdir=LR;|node \[shape=box\];|( -> )?( \[(shape=ellipse|label=)\])?;)", quoted), line


def blocks(text):
    """Tables, each as its lines."""
    out, block = [], []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            block.append(line)
        elif block:
            out.append(block)
            block = []
    return out


def test_dot_ids_cannot_be_left():
    assert dot_id('a"b\\') == '"a\\"b\\\\"'
