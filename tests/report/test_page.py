"""The page as text: one file, the same bytes, nothing from a log as markup, and numbers that are right."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

import netpol_gen
from netpol_gen.config import Cni, Mode
from netpol_gen.errors import InputError, OptionError
from netpol_gen.evaluate import Judge
from netpol_gen.inventory.objects import Controller
from netpol_gen.judged import Page, as_policies, diff, evaluate, report, verify
from netpol_gen.model import UNKNOWN_TIME, Decision, Edge, External, Protocol, Workload
from netpol_gen.policy import Peer, PolicyPort
from netpol_gen.report.html import gather, render
from netpol_gen.report.html.allowed import run_lengths, unfold
from netpol_gen.report.html.charts import Part, bar
from netpol_gen.report.html.document import DECISIONS, EDGE_COLUMNS, document
from netpol_gen.report.html.flowmap import flow_map, link
from netpol_gen.report.html.parties import find_parties
from netpol_gen.report.html.rules import peer_text, port_text
from netpol_gen.selectors import LabelSelector
from tests.flowrows import NOW, flows_of, inventory_of, row
from tests.report import pages


@pytest.fixture(scope="module")
def material():
    return pages.material()


@pytest.fixture(scope="module")
def page(material):
    return render(material, "1.2.3")


@pytest.fixture(scope="module")
def data(material):
    return document(material)


class Elements(HTMLParser):
    """Every element with its attributes, and the text inside the given ones."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.found = []
        self.inside = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.found:
            self.inside.setdefault(self.found[-1][0], []).append(data)


def policy_of(page):
    (content,) = (a["content"] for t, a in Elements(page).found if a.get("http-equiv") == "Content-Security-Policy")
    return dict(part.split(" ", 1) for part in content.split("; "))


def body_of(page, tag):
    """Contents of the elements of one kind, exactly as a browser hashes them."""
    return re.findall(rf"<{tag}(?: [^>]*)?>(.*?)</{tag}>", page, re.DOTALL)


def test_the_policy_allows_this_style_and_this_script_and_nothing_else(page):
    def digest(text):
        return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"

    (style,) = body_of(page, "style")
    scripts = body_of(page, "script")
    assert len(scripts) == 2
    assert json.loads(scripts[0])["format"] == "netpol-gen/report"
    assert policy_of(page) == {
        "default-src": "'none'",
        "script-src": digest(scripts[1]),
        "style-src": digest(style),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }


def test_no_inline_handlers_or_styles_and_nothing_from_elsewhere(page):
    for tag, attributes in Elements(page).found:
        assert not [n for n in attributes if n.startswith("on") or n == "style"], tag
        for name in ("src", "href", "action", "data", "srcset"):
            assert attributes.get(name, "#").startswith(("#", "data:,")), (tag, attributes)
    assert not [a for t, a in Elements(page).found if t in ("iframe", "object", "embed", "base", "form", "img")]


def test_names_from_logs_are_text(page):
    elements = Elements(page)
    assert [t for t, _ in elements.found].count("script") == 2
    assert pages.HOSTILE in "".join(elements.inside["title"])
    assert f"<{pages.HOSTILE[2:8]}>window.hacked" not in page.replace("</script><script>", "", 1)
    (found,) = re.findall(r'id="data">(.*?)</script>', page, re.DOTALL)
    assert "<" not in found
    names = [p["name"] for p in json.loads(found)["parties"]]
    assert pages.HOSTILE in names


def test_controls_and_overrides_are_spelled_out():
    strange = row("10.0.0.1", "203.0.113.9", 443, dst_names=["a\u202eb\x1b[31mc\x00"], sample="f:1")
    found = json.dumps(document(gather(pages.plan(strange))))
    assert "a\\\\u202eb\\\\x1b[31mc\\\\x00" in found


def test_same_bytes_whatever_the_order_of_records(page):
    shuffled = pages.rows()[::-1]
    held = pages.plan().edges.inventory
    from netpol_gen import pipeline

    plan = pipeline.generate(flows_of(*shuffled), held)
    notes = (pages.HOSTILE,)
    assert render(gather(plan, title=f"Report {pages.HOSTILE}", notes=notes), "1.2.3") == page


@pytest.mark.slow
def test_same_bytes_whatever_the_hash_seed(page, repository):
    program = "from tests.report import pages; from netpol_gen.report.html import render; import sys;"
    program += "sys.stdout.buffer.write(render(pages.material(), '1.2.3').encode())"
    for seed in ("1", "2"):
        ran = subprocess.run(
            [sys.executable, "-c", program],
            cwd=repository,
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            check=True,
        )
        assert ran.stdout.decode() == page


def test_the_digest_in_the_foot_is_that_of_the_data(page):
    (found,) = re.findall(r'id="data">(.*?)</script>', page, re.DOTALL)
    assert f"<code>{hashlib.sha256(found.encode()).hexdigest()}</code>" in page


# --- the document -----------------------------------------------------------------------------------------------------


def cell(data, side, src, dst):
    """Certain and possible connections between two parties, and whether more is allowed than was seen."""
    names = [p.get("name") for p in data["parties"]]
    i, j = names.index(src), names.index(dst)
    value = list(unfold(data["sides"][side]["rows"][i]))[j]
    return data["texts"][value], i * len(names) + j in data["sides"][side]["more"]


def test_cells_by_hand(data):
    # The policy in force admits two ports from the namespace; one of them was used.
    assert cell(data, "before", "web", "api") == (["TCP 9090-9091"], True)
    # The generated egress of web narrows it to what was seen.
    assert cell(data, "after", "web", "api") == (["TCP 9090"], False)
    # Nothing was seen leaving batch, so its egress stays open and the API's policy decides.
    assert cell(data, "after", "batch", "api") == (["TCP 9090-9091"], False)
    assert cell(data, "after", "batch", "db") == (["none"], False)
    assert cell(data, "before", "web", "db") == (["all"], False)
    assert cell(data, "before", "web", "outside the cluster") == (["all"], True)
    assert cell(data, "after", "web", "outside the cluster") == (["TCP 443"], False)


def test_cells_agree_with_the_judge(material, data):
    parties = find_parties(material).shown
    judged = {"before": Judge(material.before.policies, material.plan.edges.inventory)}
    judged["after"] = Judge(material.after.policies, material.plan.edges.inventory)
    checked = 0
    for side, judge in judged.items():
        for i, src in enumerate(parties):
            values = list(unfold(data["sides"][side]["rows"][i]))
            for j, dst in enumerate(parties):
                if i == j or isinstance(src, External) or isinstance(dst, External):
                    continue
                for port in (9090, 9091, 5432, 80):
                    verdict = judge.edge(Edge(src, dst, Protocol.TCP, port))
                    assert verdict.decision is not Decision.UNKNOWN
                    text = data["texts"][values[j]][0]
                    allowed = text == "all" or any(
                        int(low) <= port <= int(high or low)
                        for low, high in re.findall(r"(\d+)(?:-(\d+))?", text.partition(";")[0])
                    )
                    assert allowed == verdict.allowed, (side, str(src), str(dst), port, text)
                    checked += 1
    assert checked == 2 * 5 * 4 * 4


def test_edges_carry_their_evidence_and_both_verdicts(data):
    rows = [dict(zip(EDGE_COLUMNS, row, strict=True)) for row in data["edges"]]
    by_port = {(data["parties"][r["src"]].get("name"), r["port"]): r for r in rows}
    web = by_port["web", 9090]
    assert (web["flows"], web["samples"], web["strong"], web["direction"]) == (40, ["flows.jsonl:7"], 1, "syn")
    assert (web["first"], web["last"]) == (NOW // 10**9, NOW // 10**9)
    assert DECISIONS[web["before"]] is DECISIONS[web["after"]] is Decision.ALLOW
    denied = by_port["batch", 5432]
    assert data["statuses"][denied["status"]] == "currently denied by policy"
    # No policy of the inventory explains the denial; with the generated ones it stays denied.
    assert DECISIONS[denied["before"]] is Decision.ALLOW
    assert DECISIONS[denied["after"]] is Decision.DENY
    assert by_port["web", 443]["dst_address"] == "203.0.113.9"


def test_rules_point_to_their_edges(data):
    policies = {p["name"]: p for p in data["policies"]}
    assert policies["allow-api"]["generated"] is False
    used, unused = policies["allow-api"]["rules"][0], policies["db"]["rules"][0]
    # Both clients of the API; the rule of a policy that somebody wrote has its evidence too.
    assert len(used["edges"]) == 2
    assert [data["parties"][data["edges"][i][0]]["name"] for i in unused["edges"]] == ["api"]
    assert used["ports"] == ["TCP 9090", "TCP 9091"]
    assert used["peers"] == ["any pod"]
    assert policies["db"]["yaml"].startswith("# Written by netpol-gen.")
    assert policies["allow-api"]["yaml"].startswith("apiVersion")


def test_changes_between_workloads_follow_from_the_two_sides(material, data):
    """Rows in the page plus those that its script derives are the rows of the difference."""
    parties = find_parties(material)
    told = {(c[0], c[1], c[2]) for c in data["changes"]}
    for i, _ in enumerate(parties.shown):
        before, after = (list(unfold(data["sides"][s]["rows"][i])) for s in ("before", "after"))
        for j, pair in enumerate(zip(before, after, strict=True)):
            if all(isinstance(parties.shown[k], Workload) for k in (i, j)):
                told |= {(c, i, j) for c in data["turned"].get(f"{pair[0]}-{pair[1]}", ())}
    wanted = {
        (str(r.change), *(parties.index[e] if isinstance(e, Workload) else str(e) for e in (r.src, r.dst)))
        for r in material.difference.rows
    }
    assert told == wanted
    assert data["unlisted"] == 0


def test_gaps_pods_and_declared_ports_are_shown(data):
    parties = {p.get("name"): p for p in data["parties"]}
    assert {g[0] for g in parties["batch"]["gaps"]} == {"Ingress", "Egress"}
    assert parties["web"]["pods"] == 1
    assert parties["api"]["declared"] == [["TCP", 9090, "grpc"], ["TCP", 9091, ""]]
    assert {f[0] for f in data["findings"]} >= {"open"}


def test_the_business_need_comes_from_the_workloads_annotation():
    from netpol_gen import pipeline

    need = (("netpol-gen.dev/need", "card payments, ticket 17"),)
    held = inventory_of(
        *pages.pods(), controllers={pages.WEB: Controller(pages.WEB, None, (("app", "web"),), annotations=need)}
    )
    found = document(gather(pipeline.generate(flows_of(*pages.rows()), held)))
    assert [p["need"] for p in found["parties"] if "need" in p] == ["card payments, ticket 17"]


def test_a_page_about_nothing():
    from netpol_gen import pipeline

    page = render(gather(pipeline.generate(flows_of(), inventory_of())))
    assert "No edge was accepted." in page
    assert "0 records read" in page


def test_edges_without_a_time_have_none():
    """A conntrack table says what is open now, not when: no year 2116."""
    from netpol_gen import pipeline

    rows = [r | {"first_seen": UNKNOWN_TIME, "last_seen": UNKNOWN_TIME, "hours": []} for r in pages.rows()]
    material = gather(pipeline.generate(flows_of(*rows), pages.plan().edges.inventory))
    found = document(material)
    assert {(e[11], e[12]) for e in found["edges"]} == {(0, 0)}
    assert "2116" not in render(material)


# --- pieces -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [[], [0], [1, 1, 1], [0, 1, 1, 0, 2]])
def test_run_lengths_come_back(values):
    assert list(unfold(run_lengths(values))) == values


def test_run_lengths_are_short():
    assert run_lengths([7] * 500) == [7, 500]


def test_flow_map_draws_many_namespaces_together():
    counts = {(f"n{i:02}", "db"): i + 1 for i in range(20)}
    shown = flow_map(counts)
    labels = re.findall(r'text-anchor="end">([^<]*) <tspan class="n">([\d,]+)', shown)
    assert len(labels) == 14
    assert labels[-1] == ("others", str(sum(i + 1 for i in range(7))))
    assert sum(int(n) for _, n in labels) == sum(counts.values())
    assert shown.count('<a href="#/matrix') == 13


def test_flow_map_escapes_and_links():
    shown = flow_map({(pages.HOSTILE, "a/b c"): 1})
    assert "<script" not in shown
    assert 'href="#/matrix?src=%3C%2Fscript%3E' in shown
    assert link("a&b", "c") == "#/matrix?src=a%26b&dst=c"
    assert "<a " not in flow_map({("world", "node"): 3}, ["world", "node"])
    assert flow_map({}) == ""


def test_bar_shows_even_one_record_among_millions():
    shown = bar([Part("used", 5_000_000, "ok"), Part("bad <x>", 1, "a0"), Part("none", 0, "a1")], "label")
    widths = [float(w) for w in re.findall(r'width="([\d.]+)" height', shown)]
    assert len(widths) == 2
    assert min(widths) >= 0.9
    assert "bad &lt;x&gt;: 1" in shown
    assert bar([], "label") == ""


@pytest.mark.parametrize(
    ("peer", "wanted"),
    [
        (Peer(pod_selector=LabelSelector()), "any pod"),
        (Peer(pod_selector=LabelSelector((("app", "a"),))), "pods app=a"),
        (Peer(namespace_selector=LabelSelector()), "any pod in any namespace"),
        (
            Peer(namespace_selector=LabelSelector((("kubernetes.io/metadata.name", "x"),))),
            "any pod in namespace x",
        ),
        (Peer(namespace_selector=LabelSelector((("team", "x"),))), "any pod in namespaces team=x"),
    ],
)
def test_peers_in_words(peer, wanted):
    assert peer_text(peer) == wanted


@pytest.mark.parametrize(
    ("port", "wanted"),
    [
        (PolicyPort(), "TCP, all ports"),
        (PolicyPort(Protocol.UDP, 53), "UDP 53"),
        (PolicyPort(Protocol.TCP, 8000, 8010), "TCP 8000-8010"),
        (PolicyPort(Protocol.TCP, "http"), "TCP http"),
    ],
)
def test_ports_in_words(port, wanted):
    assert port_text(port) == wanted


# --- the library twins ------------------------------------------------------------------------------------------------


def test_public_functions_stay_functions_when_their_modules_are_imported(repository):
    """`netpol_gen.edges` is a module too; importing it must not take the place of the function."""
    program = (
        "import netpol_gen as ng, netpol_gen.edges, netpol_gen.diff, netpol_gen.coverage.bins, netpol_gen.ports,"
        " netpol_gen.lint, netpol_gen.verify, netpol_gen.evaluate.judge, netpol_gen.report.text;"
        "from netpol_gen.edges import find_edges;"
        "print([n for n in ng.__all__ if n not in ('plots', 'Config', 'Inventory', 'Environment', 'Reviewed')"
        " and type(getattr(ng, n)).__name__ != 'function'])"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=repository, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_verify_evaluate_and_diff_return_frames():
    plan = pages.plan()
    inventory = plan.edges.inventory
    flows = flows_of(*pages.rows())
    replayed = verify(plan, flows, inventory)
    assert list(replayed["decision"]) == ["allow"] * 4
    nobody = pages.wide_policy().__class__("shop", "none", LabelSelector(), pages.wide_policy().policy_types)
    assert set(verify([nobody], flows, inventory)["decision"]) == {"allow", "deny"}
    allowed = evaluate(plan, inventory)
    assert list(allowed.columns) == ["src", "dst", "connections", "possible"]
    assert "TCP 5432" in set(allowed[allowed["dst"] == str(pages.DB)]["connections"])
    changed = diff([], plan, inventory, flows)
    assert set(changed["change"]) == {"closed"}
    assert set(diff([], [nobody], inventory, flows)["change"]) == {"broken", "closed"}
    assert diff(plan, plan, inventory).empty


def test_policies_in_every_form(tmp_path):
    plan = pages.plan()
    path = tmp_path / "p.yaml"
    path.write_text(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: a, namespace: b}\n"
        "spec: {podSelector: {}}\n",
        encoding="utf-8",
    )
    assert [p.ref for p in as_policies(path).policies] == ["b/a"]
    assert [p.ref for p in as_policies([path, pages.wide_policy()]).policies] == ["shop/allow-api", "b/a"]
    assert as_policies(as_policies([])).policies == ()
    assert {p.ref for p in as_policies(plan).policies} >= {"shop/allow-api", "shop/db"}


def test_settings_by_name_may_be_words():
    """`mode="tighten"` was taken for a setting of another kind, and `cni="cilium"` ended in an AttributeError."""
    flows, inventory = flows_of(*pages.rows()), pages.plan().edges.inventory
    by_word = netpol_gen.generate(flows, inventory, mode="missing-only", cni="cilium")
    by_value = netpol_gen.generate(flows, inventory, mode=Mode.MISSING_ONLY, cni=Cni.CILIUM)
    assert by_word == by_value
    with pytest.raises(OptionError, match="mode: all is not one of full, missing-only, tighten"):
        netpol_gen.generate(flows, inventory, mode="all")
    with pytest.raises(OptionError, match="colour is no setting"):
        netpol_gen.edges(flows, inventory, colour="red")


def test_the_page_is_saved_and_shown_apart(tmp_path):
    page = report(pages.plan(), title="T")
    page.save(tmp_path / "r.html")
    assert (tmp_path / "r.html").read_text(encoding="utf-8") == page.html
    (frame, attributes) = Elements(page._repr_html_()).found[0]
    assert frame == "iframe"
    assert attributes["sandbox"] == "allow-scripts"
    assert attributes["srcdoc"] == page.html
    with pytest.raises(InputError, match="cannot be written"):
        Page("x").save(tmp_path / "no" / "r.html")
