"""The port inventory: what is declared, served, used, allowed; marks; forms; what changed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from netpol_gen import api
from netpol_gen.cli.main import app
from netpol_gen.config import Config
from netpol_gen.edges import find_edges
from netpol_gen.errors import CheckFailedError, InputError, OptionError
from netpol_gen.inventory import Inventory
from netpol_gen.inventory.objects import ContainerPort
from netpol_gen.model import UNKNOWN_TIME, Protocol
from netpol_gen.ports import (
    COLUMNS,
    Allowed,
    Answer,
    ChangeKind,
    Mark,
    PortInventory,
    PortRow,
    changes,
    collect,
    snapshot,
)
from netpol_gen.report.ports import (
    changes_csv,
    changes_json,
    changes_markdown,
    changes_text,
    ports_csv,
    ports_json,
    ports_markdown,
    ports_text,
    read_snapshot,
)
from tests.evaluate.cluster import policies as parsed
from tests.flowrows import HOUR, NOW, flows_of, inventory_of, pod, row, service

WEB, API, API2, DB = "10.0.1.1", "10.0.1.2", "10.0.1.3", "10.0.1.4"
CLUSTER = inventory_of(
    pod("web-1", "web", WEB),
    pod("api-1", "api", API, (8080, "http"), (9090, "metrics")),
    pod("db-1", "db", DB, 5432),
    service("api", "api", "10.96.0.20", 80, "http"),
    service("db", "db", "10.96.0.21", 5432, 5432),
)
CALL = row(WEB, API, 8080)


def listed(*rows: dict[str, Any], inventory: Inventory = CLUSTER, text: str = "", **config: Any) -> PortInventory:
    edges = find_edges(flows_of(*(rows or (CALL,))), inventory)
    return collect(edges, Config(**config), parsed(text) if text else None)


def port(inventory: PortInventory, name: str, number: int) -> PortRow:
    return next(r for r in inventory.rows if (r.workload.name, r.number) == (name, number))


def ingress(selector: str, *rules: str) -> str:
    return f"---\nspec: {{podSelector: {{{selector}}}, policyTypes: [Ingress], ingress: [{', '.join(rules)}]}}\n"


class TestRows:
    def test_declared_served_and_used(self):
        found = port(listed(), "api", 8080)
        assert (found.names, found.declared, found.seen) == (("http",), Answer.YES, Answer.YES)
        assert [str(s) for s in found.services] == ["shop/api 80→http"]
        assert [c.name for c in found.clients] == ["shop/web[Deployment]"]
        assert (found.first_seen, found.last_seen, found.flows) == (NOW, NOW, 1)

    def test_every_declared_port_is_a_row_once(self):
        assert [(r.workload.name, r.protocol, r.number) for r in listed().rows] == [
            ("api", "TCP", 8080),
            ("api", "TCP", 9090),
            ("db", "TCP", 5432),
        ]

    def test_one_number_on_two_protocols_is_two_rows(self):
        dns = pod("dns-1", "dns", DB, ports=(ContainerPort(53, Protocol.UDP), ContainerPort(53, Protocol.TCP)))
        found = listed(inventory=inventory_of(pod("web-1", "web", WEB), pod("api-1", "api", API, 8080), dns))
        assert [r.protocol for r in found.rows if r.workload.name == "dns"] == ["TCP", "UDP"]

    def test_times_span_all_clients(self):
        found = port(listed(CALL, row(DB, API, 8080, first_seen=NOW - HOUR, last_seen=NOW + HOUR)), "api", 8080)
        assert (found.first_seen, found.last_seen, len(found.clients)) == (NOW - HOUR, NOW + HOUR, 2)

    def test_clients_outside_are_counted_by_class(self):
        rows = [row(f"203.0.113.{n}", API, 8080) for n in range(1, 4)]
        (client,) = port(listed(*rows), "api", 8080).clients
        assert (client.name, client.addresses, client.flows) == ("world", 3, 3)

    def test_what_was_only_denied_is_not_use(self):
        found = listed(row(WEB, API, 9090, observed_verdict="dropped"))
        assert port(found, "api", 9090).seen is Answer.NO

    def test_scope(self):
        assert listed(namespaces=frozenset({"other"})).rows == ()

    def test_without_an_inventory_nothing_is_known_to_be_undeclared(self):
        facts = {"src_namespace": "a", "src_pod": "x-1", "dst_namespace": "a", "dst_pod": "y-1"}
        found = listed(row("10.0.0.1", "10.0.0.2", 80, **facts), inventory=Inventory())
        (only,) = found.rows
        assert (only.declared, only.seen, only.allowed, only.marks) == (
            Answer.UNKNOWN,
            Answer.YES,
            Allowed.UNKNOWN,
            (),
        )

    def test_use_on_the_nodes_network_is_unknown(self):
        agent = pod("agent-1", "agent", "192.168.0.1", (9100, "metrics"), host_network=True)
        found = listed(inventory=inventory_of(*CLUSTER.pods, agent))
        assert port(found, "agent", 9100).seen is Answer.UNKNOWN
        assert port(found, "agent", 9100).marks == ()

    def test_flows_without_a_time_are_of_no_year(self):
        untimed = {"first_seen": UNKNOWN_TIME, "last_seen": UNKNOWN_TIME, "hours": []}
        alone = listed(CALL | untimed)
        assert (port(alone, "api", 8080).flows, port(alone, "api", 8080).last_seen, alone.end) == (1, None, None)
        assert "flows that tell no time" in ports_markdown(alone)
        among = listed(CALL | untimed, CALL)
        assert (port(among, "api", 8080).last_seen, among.start, among.end) == (NOW, NOW, NOW)


class TestMarks:
    def test_none(self):
        assert port(listed(row(WEB, DB, 5432)), "db", 5432).marks == ()

    def test_used_but_not_declared(self):
        assert port(listed(row(WEB, API, 7000)), "api", 7000).marks == (Mark.UNDECLARED,)

    def test_declared_but_never_used(self):
        assert port(listed(), "db", 5432).marks == (Mark.UNUSED,)

    def test_a_service_port_that_differs_from_its_target(self):
        assert port(listed(), "api", 8080).marks == (Mark.SERVICE_DIFFERS,)

    def test_allowed_but_never_used(self):
        found = listed(text=ingress("matchLabels: {app: db}", "{ports: [{port: 5433}]}"))
        assert port(found, "db", 5433).marks == (Mark.ALLOWED_UNUSED,)

    def test_a_wide_rule_does_not_mark_each_port(self):
        found = listed(text=ingress("matchLabels: {app: db}", "{}"))
        assert port(found, "db", 5432).marks == (Mark.UNUSED,)
        assert [(w.ports, w.allowed_by) for w in found.wide] == [("all", "shop/p1 ingress[0]")]

    def test_used_but_not_allowed(self):
        found = listed(text=ingress("matchLabels: {app: api}", "{ports: [{port: 9090}]}"))
        assert port(found, "api", 8080).allowed is Allowed.CLOSED
        assert Mark.NOT_ALLOWED in port(found, "api", 8080).marks

    @pytest.mark.parametrize("second", [((9999, "http"),), ((8080, "http"),)])
    def test_one_name_for_different_numbers(self, second):
        held = inventory_of(pod("web-1", "web", WEB), pod("api-1", "api", API, (8080, "http")),
                            pod("api-2", "api", API2, *second))  # fmt: skip
        marked = Mark.NAME_DIFFERS in port(listed(inventory=held), "api", 8080).marks
        assert marked is (second == ((9999, "http"),))

    def test_one_name_for_different_numbers_behind_a_service(self):
        labels = (("tier", "x"),)
        held = inventory_of(
            pod("a-1", "a", API, (8080, "http"), labels=labels),
            pod("b-1", "b", API2, (9090, "http"), labels=labels),
            replace(service("s", "", "10.96.0.9", 80, "http"), selector=labels),
        )
        found = listed(inventory=held)
        assert Mark.NAME_DIFFERS in port(found, "a", 8080).marks
        assert Mark.NAME_DIFFERS in port(found, "b", 9090).marks

    @pytest.mark.parametrize(
        ("declared", "what"),
        [((5005, "http"), "Java debugger"), ((8081, "admin"), "administration"), ((8081, "http-pprof"), "Go profiler")],
    )
    def test_administration_and_debugging(self, declared, what):
        held = inventory_of(pod("web-1", "web", WEB), pod("api-1", "api", API, declared))
        found = port(listed(row(WEB, API, declared[0]), inventory=held), "api", declared[0])
        assert (found.control, found.marks) == (what, (Mark.CONTROL,))

    def test_a_database_is_no_administration(self):
        assert port(listed(row(WEB, DB, 5432)), "db", 5432).control == ""


class TestAllowed:
    @pytest.mark.parametrize(
        ("text", "allowed"),
        [
            ("", Allowed.UNKNOWN),
            (ingress("matchLabels: {app: db}"), Allowed.OPEN),
            (ingress("matchLabels: {app: api}"), Allowed.CLOSED),
            (ingress("matchLabels: {app: api}", "{ports: [{port: http}]}"), Allowed.ADMITTED),
            (ingress("matchLabels: {app: api}", "{ports: [{port: 80}]}"), Allowed.CLOSED),
            (ingress("matchLabels: {app: api}", "{ports: [{protocol: UDP, port: 8080}]}"), Allowed.CLOSED),
            (ingress("matchLabels: {app: api}", "{ports: [{port: 8000, endPort: 9000}]}"), Allowed.ADMITTED),
            (ingress("", "{ports: [{protocol: TCP}]}"), Allowed.ADMITTED),
            (ingress("", "{ports: [{protocol: UDP}]}"), Allowed.CLOSED),
            ("---\nspec: {podSelector: {}, policyTypes: [Egress]}\n", Allowed.OPEN),
        ],
    )
    def test_by_the_policies_given(self, text, allowed):
        assert port(listed(text=text), "api", 8080).allowed is allowed

    def test_policies_of_the_inventory(self):
        held = replace(CLUSTER, policies=parsed(ingress("matchLabels: {app: api}")))
        assert port(listed(inventory=held), "api", 8080).allowed is Allowed.CLOSED

    def test_the_rule_is_named(self):
        found = listed(text=ingress("matchLabels: {app: api}", "{ports: [{port: 1}]}", "{ports: [{port: http}]}"))
        assert port(found, "api", 8080).allowed_by == ("shop/p1 ingress[1]",)


HOSTILE = inventory_of(pod("web-1", "web", WEB), pod("x|y`\x1b[31m", "=cmd()", API, (8080, "http")))


class TestForms:
    def test_markdown_has_a_section_per_namespace_and_no_way_out_of_a_cell(self):
        text = ports_markdown(listed(inventory=HOSTILE))
        assert "## Namespace `shop`" in text
        assert "\x1b" not in text
        for line in text.splitlines():
            if line.startswith("| `"):
                assert line.count("|") == 10

    def test_csv_has_the_frames_columns_and_no_formulas(self):
        lines = ports_csv(listed(inventory=HOSTILE)).splitlines()
        assert lines[0].split(",") == list(COLUMNS)
        assert ",'=cmd()," in lines[1]

    def test_json_has_its_shape(self):
        document = json.loads(ports_json(listed()))
        assert (document["format"], document["version"]) == ("netpol-gen/ports", 1)
        assert document["ports"][0] == {
            "workload": "shop/api[Deployment]",
            "protocol": "TCP",
            "port": 8080,
            "port_names": ["http"],
            "declared": "yes",
            "services": [{"service": "shop/api", "port": 80, "target": "http"}],
            "seen": "yes",
            "flows": 1,
            "first_seen": "2025-10-09T08:53:20Z",
            "last_seen": "2025-10-09T08:53:20Z",
            "clients": [{"name": "shop/web[Deployment]", "addresses": 0, "flows": 1}],
            "allowed": "unknown",
            "allowed_by": [],
            "control": "",
            "marks": ["Service port differs from its target"],
        }

    def test_frame(self):
        frame = listed().to_frame()
        assert list(frame.columns) == list(COLUMNS)
        assert frame["port"].tolist() == [8080, 9090, 5432]
        assert frame["clients"].isna().tolist() == [False, True, True]

    def test_text_names_wide_rules(self):
        text = ports_text(listed(text=ingress("matchLabels: {app: db}", "{ports: [{port: 1000, endPort: 2000}]}")))
        assert "shop/db[Deployment]: TCP 1000-2000 ports admitted by shop/p1 ingress[0]" in text

    def test_records_in_any_order_same_bytes(self):
        rows = [CALL, row(DB, API, 8080), row(WEB, DB, 5432)]
        assert ports_json(listed(*rows)) == ports_json(listed(*rows[::-1]))


class TestChanges:
    def test_a_run_against_itself(self):
        old = read_snapshot(ports_json(listed()), "old.json")
        assert old == snapshot(listed())
        assert changes(old, snapshot(listed())) == ()

    def test_counts_and_times_are_no_change(self):
        later = row(WEB, API, 8080, first_seen=NOW + HOUR, last_seen=NOW + 2 * HOUR, flows=9, records=9)
        assert changes(snapshot(listed()), snapshot(listed(later))) == ()

    def test_each_kind(self):
        old = snapshot(listed(CALL, row(WEB, API, 7000)))
        new = snapshot(listed(CALL, row(DB, API, 8080), row(WEB, API, 7001)))
        assert [(c.port, c.kind, c.field, c.before, c.after) for c in changes(old, new)] == [
            (7000, ChangeKind.REMOVED, "", "", ""),
            (7001, ChangeKind.ADDED, "", "", ""),
            (
                8080,
                ChangeKind.CHANGED,
                "clients",
                "shop/web[Deployment]",
                "shop/db[Deployment]; shop/web[Deployment]",
            ),
        ]

    def test_forms(self):
        found = changes(snapshot(listed()), snapshot(listed(row(WEB, DB, 5432))))
        assert "1 change" not in changes_text(())
        assert changes_text(found).startswith(f"{len(found)} changes\n")
        assert changes_markdown(found).count("\n") == len(found) + 2
        assert changes_csv(found).count("\n") == len(found) + 1
        assert json.loads(changes_json(found))["format"] == "netpol-gen/ports-diff"

    @pytest.mark.parametrize(
        "text",
        [
            "{",
            "[]",
            "{}",
            '{"format": "netpol-gen/ports", "version": 2, "ports": []}',
            '{"format": "netpol-gen/ports", "version": 1}',
            '{"format": "netpol-gen/ports", "version": 1, "ports": [{}]}',
            '{"format": "netpol-gen/ports", "version": 1, "ports": [3]}',
            "[" * 100_000,
        ],
    )
    def test_what_is_no_inventory(self, text):
        with pytest.raises(InputError, match=r"^old\.json"):
            read_snapshot(text, "old.json")


def run_cli(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["ports", *arguments])
    if isinstance(result.exception, CheckFailedError | OptionError):
        return result.exception.exit_code, result.stdout
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout


def test_command(repository: Path, tmp_path: Path):
    sample = repository / "sample-flows" / "payments"
    given = [str(sample / "flows.jsonl"), "-i", str(sample / "inventory.yaml")]
    old = tmp_path / "old.json"
    assert run_cli(*given, "-o", "json", "--out", str(old)) == (0, "")
    assert run_cli(*given, "--diff", str(old), "--exit-code") == (0, "no change\n")
    assert run_cli(*given, "--diff", str(old), "--exit-code", "-n", "nowhere")[0] == 1
    assert run_cli(*given, "--diff", str(old), "-n", "nowhere")[0] == 0
    assert run_cli(*given, "--exit-code")[0] == 2


def test_library_twins(repository: Path):
    sample = repository / "sample-flows" / "payments"
    flows = api.read_flows(sample / "flows.jsonl")
    held = api.read_inventory(sample / "inventory.yaml")
    assert api.ports(flows, held)["port"].tolist() == [r.number for r in collect(api.find_edges(flows, held)).rows]
    assert api.ports(flows, held, namespaces=frozenset({"nowhere"})).empty
    assert api.coverage(flows, held)["scope"].tolist()[:2] == ["whole", "namespace"]
    values = parsed(ingress("", "{}"))
    assert api.lint(values)["rule"].tolist() == ["NPL001", "NPL002", "NPL003", "NPL004", "NPL006"]
    assert set(api.lint(values, held, flows)["rule"]) >= {"NPL020"}


def test_library_lint_reads_paths(tmp_path: Path):
    path = tmp_path / "p.yaml"
    path.write_text("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: a}\nspec: {}\n")
    for given in (path, [path]):
        assert "NPL006" in api.lint(given)["rule"].tolist()
