"""The texts of requests and comments: golden bodies, and what no name may do in them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from netpol_gen import __version__
from netpol_gen.config import Config, Mode
from netpol_gen.diff import Change
from netpol_gen.model import Workload
from netpol_gen.propose import Reviewed, propose, read_tree, review
from netpol_gen.report.parts import pack, size
from netpol_gen.report.proposal import commit_message, proposal_json, proposal_sections, proposal_title
from netpol_gen.report.review import review_json, review_sections, review_title
from netpol_gen.report.sarif_changes import proposal_sarif, review_sarif
from tests.flowrows import flows_of, inventory_of, pod, row
from tests.propose.made import A_TO_B, B_TO_C, C_TO_B, OURS, PODS, environment, manifest, proposal_of

BODIES = Path(__file__).parent / "bodies"
OPEN_B = manifest("b", "b", more=OURS)
OWNERS = {"CODEOWNERS": b"* @platform\n/k8s/ @net-team security@example.com\n"}
HOSTILE = "x`](https://evil.example) <img src=x> @everyone |\n# h \x1b[31m\u202e"


def reviewed(before, after, *rows, changed=("b.yaml",), pods=PODS, observe=True, **facts):
    flows = flows_of(*rows) if observe else None
    trees = read_tree(before), read_tree(after)
    return review(Reviewed("prod", *trees, inventory_of(*pods), flows, Config(), changed=changed, **facts))


CLOSED_B = manifest("b", "b", "policyTypes: [Ingress]")
ONLY_A = manifest(
    "b", "b", "policyTypes: [Ingress]\ningress: [{from: [{podSelector: {matchLabels: {app: a}}}], ports: [{port: 80}]}]"
)


def proposals():
    files = {**OWNERS, "k8s/b.yaml": OPEN_B}
    tighten = proposal_of(files, A_TO_B, path="k8s")
    yield "tighten", tighten
    yield "nothing", proposal_of({**files, **tighten.files}, A_TO_B, path="k8s")
    yield "adopt", proposal_of({"k8s/b.yaml": manifest("wide", "b")}, A_TO_B, path="k8s", adopt=True)
    yield "left-alone", proposal_of({"k8s/b.yaml": manifest("wide", "b")}, A_TO_B, path="k8s")
    yield "full", proposal_of(files, A_TO_B, B_TO_C, C_TO_B, mode=Mode.FULL, path="k8s")
    yield "opens", proposal_of({"b.yaml": CLOSED_B}, A_TO_B, mode=Mode.MISSING_ONLY)
    two = [environment(A_TO_B, name="eu", path="eu"), environment(A_TO_B, C_TO_B, name="us", path="us")]
    yield "two-environments", propose(two, {"eu/b.yaml": OPEN_B, "us/b.yaml": OPEN_B}, target="main", base="1" * 40)
    breaking = reviewed({"b.yaml": manifest("b", "b")}, {"b.yaml": CLOSED_B}, A_TO_B).difference
    broken = replace(tighten.environments[0], difference=breaking)
    yield "would-break", replace(tighten, environments=(broken,))


def reviews():
    open_b = {"b.yaml": manifest("b", "b")}
    yield "review-same", [reviewed(open_b, {"b.yaml": b"# comment\n" + open_b["b.yaml"]}, A_TO_B, changed=())]
    yield "review-breaks", [reviewed(open_b, {"b.yaml": CLOSED_B}, A_TO_B)]
    yield "review-closes", [reviewed(open_b, {"b.yaml": ONLY_A}, A_TO_B)]
    yield "review-without-flows", [reviewed(open_b, {"b.yaml": ONLY_A}, observe=False)]
    yield "review-removed", [reviewed(open_b, {}, A_TO_B)]


def golden(name, text, update):
    path = BODIES / f"{name}.md"
    if update:
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "proposal"), [pytest.param(*p, id=p[0]) for p in proposals()])
def test_golden_proposals(name, proposal, update_goldens):
    text = f"{commit_message(proposal)}\n---\n{pack(proposal_sections(proposal), 1 << 62)[0]}"
    golden(name, text, update_goldens)


@pytest.mark.parametrize(("name", "found"), [pytest.param(*r, id=r[0]) for r in reviews()])
def test_golden_reviews(name, found, update_goldens):
    golden(name, f"{review_title(found)}\n---\n{pack(review_sections(found), 1 << 62)[0]}", update_goldens)


def test_what_would_break_is_said_first_and_with_its_evidence():
    found = dict(reviews())["review-breaks"]
    text = pack(review_sections(found), 1 << 62)[0]
    assert [r.change for r in found[0].broken] == [Change.BROKEN]
    assert text.index("## Would break: 1") < text.index("## Opens") < text.index("## Closes")
    assert "`shop/a[Deployment]` | `shop/b[Deployment]` | `TCP 80` | `1` | `2025-10-09T08:53:20Z`" in text


def test_no_difference_is_one_line():
    text = pack(review_sections(dict(reviews())["review-same"]), 1 << 62)[0]
    assert text.count("\n") == 1


def test_findings_are_those_of_the_changed_files_only():
    wide = {"b.yaml": manifest("b", "b"), "c.yaml": manifest("c", "c")}
    after = {**wide, "b.yaml": manifest("b", "b", "policyTypes: [Ingress, Egress]\ningress: [{}]\negress: [{}]")}
    found = reviewed(wide, after, A_TO_B, changed=("b.yaml",))
    assert found.findings
    assert {f.place.path for f in found.findings} == {"b.yaml"}
    assert all(f.place.line >= 1 for f in found.findings)


def test_without_flows_nothing_is_called_broken_or_harmless():
    text = pack(review_sections(dict(reviews())["review-without-flows"]), 1 << 62)[0]
    assert "what would break is not known" in text
    assert "Would break" not in text


# --- hostile names ----------------------------------------------------------------------------------------------------


def inert(text):
    """What a forge would render outside of code, with every link, image and piece of HTML it would make."""
    tokens = MarkdownIt("gfm-like", {"html": True, "linkify": False}).parse(text)
    words, bad = [], []
    stack = list(tokens)
    while stack:
        token = stack.pop()
        stack += token.children or []
        if token.type in ("link_open", "image"):
            bad.append(token.type)
        elif token.type in ("html_block", "html_inline"):
            left = token.content
            for known in ("<details>", "</details>", "<summary>", "</summary>", "<code>", "</code>", "<code>shop/"):
                left = left.replace(known, "")
            if "<" in left:
                bad.append(token.content)
            words.append(left)
        elif token.type == "text":
            words.append(token.content)
    return " ".join(words), bad


def test_hostile_names_are_no_markup_no_link_and_no_mention():
    bad_pods = (
        *PODS,
        pod("e-1", "e", "10.0.0.5", workload=Workload("shop", "Deployment", HOSTILE), labels=(("app", "e"),)),
    )
    path = "k8s/`](https://evil.example) @team <script>.yaml"
    files = {
        path: OPEN_B,
        "k8s/c.yaml": manifest("c", "c"),
        "CODEOWNERS": b"* @[x](https://evil.example) @everyone<img>\n",
    }
    rows = (A_TO_B, row("10.0.0.5", "10.0.0.3", 90), row("10.0.0.5", "10.0.0.2", 80))
    text = pack(proposal_sections(proposal_of(files, *rows, pods=bad_pods)), 1 << 62)[0]
    assert "evil.example" in text
    words, bad = inert(text)
    assert bad == []
    assert "@" not in words
    assert "evil.example" not in words
    assert all(c.isprintable() or c == "\n" for c in text)
    assert path not in "".join(text.partition("## How to roll back")[2:])
    found = reviewed({}, {"b.yaml": CLOSED_B}, *rows, pods=bad_pods)
    words, bad = inert(pack(review_sections([found]), 1 << 62)[0])
    assert bad == []
    assert "evil.example" not in words


def test_a_large_proposal_fits_and_loses_no_row():
    pods = tuple(pod(f"w{i}-1", f"w{i}", f"10.1.{i // 250}.{i % 250 + 1}") for i in range(300))
    rows = [row(f"10.1.{i // 250}.{i % 250 + 1}", "10.1.0.1", 8000 + i) for i in range(1, 300)]
    files = {"b.yaml": manifest("w0", "w0", more=OURS)}
    sections = proposal_sections(proposal_of(files, *rows, pods=pods))
    parts = pack(sections, 60_000)
    assert len(parts) > 1
    assert all(size(p) <= 60_000 for p in parts)
    whole = {line for line in pack(sections, 1 << 62)[0].split("\n") if line.startswith("| `")}
    assert whole <= {line for part in parts for line in part.split("\n")}


# --- machines ---------------------------------------------------------------------------------------------------------


def test_json_says_the_same():
    for name, proposal in proposals():
        data = json.loads(proposal_json(proposal))
        assert data["scope"] == proposal.scope, name
        assert [c["policy"] for e in data["environments"] for c in e["changes"]] == [c.ref for c in proposal.changes]
    data = json.loads(review_json(dict(reviews())["review-breaks"]))
    assert data["environments"][0]["broken"] == 1


def test_sarif_places_a_break_at_a_policy_of_the_change():
    found = dict(reviews())["review-breaks"]
    runs = json.loads(review_sarif(found, tool_version=__version__))["runs"]
    assert [run["automationDetails"]["id"] for run in runs] == ["netpol-gen/changes/", "netpol-gen/lint/"]
    first = runs[0]["results"][0]
    assert (first["ruleId"], first["level"]) == ("NPC001", "error")
    assert runs[0]["tool"]["driver"]["rules"][first["ruleIndex"]]["id"] == "NPC001"
    assert first["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "b.yaml"
    assert json.loads(proposal_sarif(dict(proposals())["tighten"], tool_version=__version__))["runs"][0]["results"]


def test_an_edit_that_opens_is_not_called_tightening():
    opens = dict(proposals())["tighten"]
    assert "tighten 1" in proposal_title(opens)
    wider = reviewed({"b.yaml": CLOSED_B}, {"b.yaml": manifest("b", "b")}, A_TO_B).difference
    changed = replace(opens, environments=(replace(opens.environments[0], difference=wider),))
    assert "change 1" in proposal_title(changed)
    assert "tighten" not in proposal_title(changed)


def test_what_cannot_be_judged_is_not_called_the_same():
    """A CiliumNetworkPolicy may cut everything off: `no difference in meaning` would be a lie."""
    cilium = b"apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: x, namespace: shop}\nspec: {}\n"
    before = {"b.yaml": ONLY_A}
    found = [reviewed(before, {**before, "c.yaml": cilium}, A_TO_B, changed=("c.yaml",))]
    text = pack(review_sections(found), 1 << 62)[0]
    assert "## Not judged: 1" in text
    assert "`CiliumNetworkPolicy.cilium.io shop/x`" in text
    assert "1 not judged" in review_title(found)
    assert json.loads(review_json(found))["environments"][0]["unjudged"] == ["CiliumNetworkPolicy.cilium.io shop/x"]
    same = {**before, "c.yaml": cilium}
    assert review_title([reviewed(same, same, A_TO_B, changed=())]) == "No difference in meaning"
    notes = proposal_of({"c.yaml": cilium}, A_TO_B).environments[0].notes
    assert any("not judged" in note and "1 CiliumNetworkPolicy.cilium.io" in note for note in notes)
