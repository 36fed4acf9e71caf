"""Places, suppressions, severities; text, JSON, SARIF and the reference."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from netpol_gen.cli.main import app
from netpol_gen.errors import CheckFailedError, OptionError, Place
from netpol_gen.lint import (
    COLUMNS,
    RULE_IDS,
    RULES,
    Finding,
    LintSettings,
    Material,
    Report,
    parse_settings,
    policy_documents,
    read_documents,
    run,
)
from netpol_gen.manifests import read_manifests, read_policies
from netpol_gen.model import Severity
from netpol_gen.report.lint import lint_json, lint_text, pinpoint, reference
from netpol_gen.report.sarif import MAX_RESULTS, left_out, lint_sarif, relative_uri

POLICY = """\
# A comment, so that lines and fields differ.
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: web
  namespace: shop
spec:
  podSelector:
    matchLabels:
      app: web
  policyTypes: [Ingress]
  ingress:
    - from:
        - podSelector:
            matchLabels: {app: a}
      ports:
        - protocol: TCP
          port: 80
    - ports:
        - port: 53
"""
LIST = """\
apiVersion: v1
kind: List
items:
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: a, namespace: shop, annotations: {netpol-gen.dev/lint-ignore: 'NPL003, NPL019'}}
  spec:
    podSelector: {matchLabels: {a: b}}
    ingress:
    - from: [{podSelector: {}}]
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: b, namespace: shop}
  spec:
    podSelector: {matchLabels: {a: b}}
    ingress:
    - from: [{podSelector: {}}]
"""


def lint(path: Path, settings: LintSettings | None = None) -> Report:
    documents = read_documents(read_manifests([path]))
    return pinpoint(run(Material(documents, settings=settings or LintSettings())), lambda p: Path(p).read_text())


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path("policies/web.yaml")
    path.parent.mkdir()
    path.write_text(f"---\nkind: X\napiVersion: v1\n---\n---\n{POLICY}")
    return path


def settings_of(**data: Any) -> LintSettings:
    return parse_settings(data, "x.toml", RULE_IDS)


class TestPlaces:
    def test_file_document_and_line_of_the_field(self, written):
        found = {f.rule: f.place for f in lint(written).findings}
        assert str(found["NPL013"]) == "policies/web.yaml:25: document 3: spec.ingress[1].ports[0]"
        assert str(found["NPL004"]) == "policies/web.yaml:24: document 3: spec.ingress[1]"

    def test_items_of_a_list(self, tmp_path):
        path = tmp_path / "list.yaml"
        path.write_text(LIST)
        found = [f.place for f in lint(path).findings if f.rule == "NPL003"]
        assert [(p.line, p.field) for p in found] == [
            (10, "items[0].spec.ingress[0]"),
            (17, "items[1].spec.ingress[0]"),
        ]

    def test_json(self, tmp_path):
        path = tmp_path / "web.json"
        spec = {"podSelector": {"matchLabels": {"a": "b"}}, "ingress": [{}]}
        manifest = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "a"}}
        path.write_text(json.dumps({**manifest, "spec": spec}, indent=1))
        assert [f.place.line for f in lint(path).findings if f.rule == "NPL003"] == [14]

    def test_without_a_text_the_documents_own_line_stays(self, written):
        documents = read_documents(read_manifests([written]))
        report = pinpoint(run(Material(documents)), lambda _: None)
        assert {f.place.line for f in report.findings} == {7}

    def test_packed_files(self, tmp_path):
        path = tmp_path / "web.yaml.gz"
        path.write_bytes(gzip.compress(POLICY.encode()))
        result = CliRunner().invoke(app, ["lint", str(path), "--fail-on", "never"])
        assert result.exit_code == 0
        assert f"{path}:2: warning NPL004" in result.output

    def test_values_without_a_file(self, written):
        values = read_policies([written]).policies
        assert {f.rule for f in run(Material(policy_documents(values))).findings} >= {"NPL004"}


class TestSuppression:
    def test_by_annotation_of_the_object_itself(self, tmp_path):
        path = tmp_path / "list.yaml"
        path.write_text(LIST)
        report = lint(path)
        assert [(f.subject, bool(f.suppressed), f.in_source) for f in report.findings if f.rule == "NPL003"] == [
            ("shop/a", True, True),
            ("shop/b", False, False),
        ]
        assert "shop/a: this ingress rule has no ports" not in lint_text(report)
        assert "shop/a: this ingress rule has no ports" in lint_text(report, verbose=True)

    @pytest.mark.parametrize(
        ("entry", "suppressed"),
        [
            ({"rules": ["NPL013"]}, True),
            ({"rules": ["NPL013"], "path": "policies/*.yaml"}, True),
            ({"rules": ["NPL013"], "path": "other/*"}, False),
            ({"rules": ["NPL013"], "policy": "shop/w*"}, True),
            ({"rules": ["NPL013"], "policy": "web"}, False),
            ({"rules": ["NPL003"]}, False),
        ],
    )
    def test_by_file(self, written, entry, suppressed):
        report = lint(written, settings_of(ignore=[{"reason": "known", **entry}]))
        found = next(f for f in report.findings if f.rule == "NPL013")
        assert found.suppressed == ("known" if suppressed else "")
        assert (found in report.active) is not suppressed

    def test_severity_and_off(self, written):
        report = lint(written, settings_of(severity={"NPL013": "error", "NPL004": "off"}))
        assert {f.rule: f.severity for f in report.findings}["NPL013"] is Severity.ERROR
        assert ("NPL004", "switched off") in report.not_run

    @pytest.mark.parametrize(
        "data",
        [
            {"severity": {"NPL999": "error"}},
            {"severity": {"NPL001": "fatal"}},
            {"severity": ["NPL001"]},
            {"ignore": [{"rules": ["NPL001"]}]},
            {"ignore": [{"rules": [], "reason": "x"}]},
            {"ignore": [{"rules": ["NPL999"], "reason": "x"}]},
            {"ignore": [{"rules": ["NPL001"], "reason": "x", "file": "y"}]},
            {"ignore": {"rules": ["NPL001"], "reason": "x"}},
            {"broad-below": 2},
            {"sensitive-ports": [0]},
            {"colour": True},
        ],
    )
    def test_mistakes_in_the_file_are_errors(self, data):
        with pytest.raises(OptionError, match=r"^x\.toml: "):
            parse_settings(data, "x.toml", RULE_IDS)


class TestNotRun:
    def test_rules_that_lack_something_are_named(self, written):
        assert dict(lint(written).not_run) == {
            "NPL005": "needs an inventory (-i)",
            "NPL007": "needs an inventory (-i)",
            "NPL012": "needs an inventory (-i)",
            "NPL020": "needs flows (--flows)",
            "NPL021": "needs an inventory (-i) and flows (--flows)",
            "NPL022": "needs the CNI (--cni)",
            "NPL023": "needs the CNI (--cni)",
            "NPL024": "needs the CNI (--cni)",
            "NPL029": "needs an inventory (-i)",
        }

    def test_objects_that_no_rule_looks_at_are_counted(self, written):
        assert dict(lint(written).other) == {"X": 1}


def sarif(report: Report, **more: Any) -> dict[str, Any]:
    document = json.loads(lint_sarif(report, tool_version="1.2.3", **more))
    assert isinstance(document, dict)
    return document


class TestSarif:
    """No package on the index ships the SARIF schema, so its required properties are checked here by hand."""

    def test_shape(self, written):
        document = sarif(lint(written))
        assert document["version"] == "2.1.0"
        (one,) = document["runs"]
        driver = one["tool"]["driver"]
        assert [r["id"] for r in driver["rules"]] == [r.id for r in RULES]
        assert len(driver["rules"]) <= 25_000
        for each in driver["rules"]:
            assert each["shortDescription"]["text"]
            assert each["fullDescription"]["text"]
            assert each["help"]["text"]
            assert each["defaultConfiguration"]["level"] in ("error", "warning", "note")
            assert len(each["properties"]["tags"]) <= 20
        for result in one["results"]:
            assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
            assert result["level"] in ("error", "warning", "note")
            assert result["message"]["text"]
            (location,) = result["locations"]
            physical = location["physicalLocation"]
            assert physical["region"]["startLine"] >= 1
            assert not physical["artifactLocation"]["uri"].startswith("/")

    def test_a_result(self, written):
        found = next(r for r in sarif(lint(written))["runs"][0]["results"] if r["ruleId"] == "NPL013")
        assert found["level"] == "warning"
        assert found["locations"][0]["physicalLocation"] == {
            "artifactLocation": {"uri": "policies/web.yaml"},
            "region": {"startLine": 25},
        }
        assert found["message"]["text"].startswith("shop/web: no protocol means TCP")

    def test_fingerprints_survive_moved_lines_and_tell_findings_apart(self, written):
        def prints() -> dict[str, str]:
            results = sarif(lint(written))["runs"][0]["results"]
            return {r["partialFingerprints"]["primaryLocationLineHash"]: r["ruleId"] for r in results}

        before = prints()
        assert len(before) == len(lint(written).findings)
        written.write_text(written.read_text().replace("# A comment", "# One more\n\n# A comment"))
        assert prints() == before

    def test_suppressions(self, tmp_path):
        path = tmp_path / "list.yaml"
        path.write_text(LIST)
        report = lint(path, settings_of(ignore=[{"reason": "known", "rules": ["NPL001"]}]))
        results = sarif(report)["runs"][0]["results"]
        found = {(r["ruleId"], r["suppressions"][0]["kind"]) for r in results if "suppressions" in r}
        assert found == {("NPL001", "external"), ("NPL003", "inSource")}

    def test_the_cut_keeps_the_worst(self):
        def some(severity: Severity, number: int) -> list[Finding]:
            return [Finding("NPL001", "x", severity, Place("a.yaml", n + 1), "s", "m", "f") for n in range(number)]

        findings = (*some(Severity.INFO, 10), *some(Severity.ERROR, 3), *some(Severity.WARNING, MAX_RESULTS))
        kept = sarif(Report(findings))["runs"][0]
        levels = [r["level"] for r in kept["results"]]
        assert (levels.count("error"), levels.count("warning"), levels.count("note")) == (3, MAX_RESULTS - 3, 0)
        assert left_out(Report(findings)) == 13
        assert kept["invocations"][0]["toolExecutionNotifications"][-1]["message"]["text"] == (
            "13 findings of the lowest severities were left out"
        )

    def test_hostile_text(self, tmp_path):
        path = tmp_path / "x.yaml"
        path.write_text(POLICY.replace("port: 53", 'port: "\\u202e\\e[31m"'))
        for text in (lint_text(lint(path)), lint_json(lint(path)), lint_sarif(lint(path), tool_version="1")):
            assert "\u202e" not in text
            assert "\x1b" not in text

    @pytest.mark.parametrize(
        ("path", "uri"),
        [
            ("a/b.yaml", "a/b.yaml"),
            ("./a/b.yaml", "a/b.yaml"),
            ("/repo/a/b c.yaml", "a/b%20c.yaml"),
            ("/other/b.yaml", "other/b.yaml"),
            ("-", "stdin"),
            ("ä%.yaml", "%C3%A4%25.yaml"),
            ("a\udcff.yaml", "a%FF.yaml"),
        ],
    )
    def test_uris_are_relative(self, path, uri):
        assert relative_uri(path, "/repo") == uri


class TestOtherForms:
    def test_json(self, written):
        document = json.loads(lint_json(lint(written)))
        assert (document["format"], document["version"]) == ("netpol-gen/lint", 1)
        assert list(document) == ["format", "version", "findings", "counts", "not_run", "looked_at", "other"]
        assert document["findings"][0]["file"] == "policies/web.yaml"

    def test_frame(self, written):
        frame = lint(written).to_frame()
        assert list(frame.columns) == list(COLUMNS)
        assert frame["rule"].tolist() == [f.rule for f in lint(written).findings]
        assert frame.loc[frame["rule"] == "NPL013", "line"].tolist() == [25]

    def test_order_of_files_does_not_matter(self, tmp_path):
        for name in ("a", "b", "c"):
            (tmp_path / f"{name}.yaml").write_text(POLICY.replace("name: web", f"name: {name}"))
        paths = [tmp_path / "a.yaml", tmp_path / "b.yaml", tmp_path / "c.yaml"]
        assert run(Material(read_documents(read_manifests(paths)))) == run(
            Material(read_documents(read_manifests(paths[::-1])))
        )

    def test_reference(self, repository: Path, update_goldens: bool):
        path = repository / "docs" / "lint.md"
        if update_goldens:
            path.write_text(reference(RULES), encoding="utf-8")
        assert path.read_text(encoding="utf-8") == reference(RULES)

    def test_ids_are_in_order_and_names_are_unique(self):
        assert [r.id for r in RULES] == [f"NPL{i:03}" for i in range(1, len(RULES) + 1)]
        assert len({r.name for r in RULES}) == len(RULES)


def run_cli(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["lint", *arguments])
    if isinstance(result.exception, CheckFailedError):
        return 1, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


class TestCommand:
    def test_exit_codes(self, written):
        # The worst finding is a warning.
        assert run_cli(str(written))[0] == 1
        assert run_cli(str(written), "--fail-on", "error")[0] == 0
        assert run_cli(str(written), "--fail-on", "error", "--severity", "NPL013=error")[0] == 1
        assert run_cli(str(written), "--fail-on", "never")[0] == 0

    def test_the_file_in_the_working_directory(self, written):
        Path(".netpol-gen-lint.toml").write_text('[severity]\nNPL013 = "error"\n')
        assert run_cli(str(written), "--fail-on", "error")[0] == 1

    def test_the_table_in_the_general_file(self, written):
        Path("netpol-gen.toml").write_text('[lint.severity]\nNPL013 = "error"\n')
        assert run_cli(str(written), "--fail-on", "error", "--config", "netpol-gen.toml")[0] == 1

    def test_sarif_from_an_absolute_path(self, written):
        code, text = run_cli(str(written.resolve()), "-o", "sarif", "--fail-on", "never")
        assert code == 0
        uri = json.loads(text)["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        assert uri == "policies/web.yaml"
