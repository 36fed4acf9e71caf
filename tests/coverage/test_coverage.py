"""The statement: states and their reasons, losses and whom they touch, jobs, and what nobody called."""

from __future__ import annotations

import json
import random
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from typer.testing import CliRunner

from netpol_gen.cli.main import app
from netpol_gen.config import Config
from netpol_gen.coverage import COLUMNS, Coverage, Estimate, Exercise, Line, State, measure, parse_level
from netpol_gen.coverage.state import Facts, judge
from netpol_gen.edges import Edges, find_edges
from netpol_gen.errors import NetpolGenError, OptionError
from netpol_gen.flowtable import Reason
from netpol_gen.inventory import Inventory
from netpol_gen.inventory.objects import Controller
from netpol_gen.model import Workload
from netpol_gen.report.coverage import coverage_json, coverage_svg, coverage_text
from tests.bench.coverage import simulate
from tests.flowrows import HOUR, flows_of, inventory_of, node, pod, row, service

START = 488_904  # a Friday at midnight: 2025-10-10T00:00Z
WEB, API, DB, JOB = "10.0.1.1", "10.0.1.2", "10.0.1.3", "10.0.1.4"
BACKUP = Workload("shop", "CronJob", "backup")
PODS = (
    pod("web-1", "web", WEB),
    pod("api-1", "api", API, 8080),
    pod("db-1", "db", DB, 5432, node="n2"),
)
CLUSTER = inventory_of(*PODS, node("n1", "192.168.0.1"), node("n2", "192.168.0.2"))


def call(src: str, dst: str, port: int, *hours: int, **facts: Any) -> dict[str, Any]:
    """A conversation seen in these hours of the window."""
    first, last = (START + hours[0]) * HOUR, (START + hours[-1]) * HOUR
    return row(src, dst, port, hours=[START + h for h in hours], first_seen=first, last_seen=last, **facts)


def always(days: int) -> range:
    return range(24 * days)


def edges_of(*rows: dict[str, Any], inventory: Inventory = CLUSTER) -> Edges:
    return find_edges(flows_of(*rows), inventory)


def cover(*rows: dict[str, Any], inventory: Inventory = CLUSTER, **settings: Any) -> Coverage:
    return measure(edges_of(*rows, inventory=inventory), Config(**settings))


def line(coverage: Coverage, name: str) -> Line:
    return next(x for x in coverage.lines if x.name == name)


def with_controllers(*controllers: Controller, inventory: Inventory = CLUSTER) -> Inventory:
    stand_ins = tuple(
        replace(PODS[0], name=c.workload.name, workload=c.workload, addresses=(), template=True, node="")
        for c in controllers
    )
    return replace(
        inventory,
        controllers=MappingProxyType({c.workload: c for c in controllers}),
        pods=tuple(sorted((*inventory.pods, *stand_ins), key=lambda p: p.name)),
    )


class TestStates:
    def test_nothing_at_all(self):
        found = cover()
        assert found.window is None
        assert found.whole.state is State.LEARNING
        assert found.whole.reason == "nothing was observed"

    def test_never_more_than_learning_below_a_day(self):
        found = cover(call(WEB, API, 8080, *range(23)))
        assert (found.whole.state, found.whole.reason) == (
            State.LEARNING,
            "only 23 h of flows, less than a day",
        )

    def test_two_quiet_days_are_stabilizing_at_most(self):
        found = cover(call(WEB, API, 8080, *always(2)))
        assert (found.whole.state, found.whole.reason) == (
            State.STABILIZING,
            "2 d of flows, less than a week",
        )

    def test_ten_quiet_days_are_stable(self):
        found = cover(call(WEB, API, 8080, *always(10)))
        assert line(found, "shop/api[Deployment] Ingress").state is State.STABLE
        assert line(found, "shop/api[Deployment] Ingress").reason == "no new edge for 9 d 23 h of 10 d"

    def test_a_new_edge_within_the_last_bins_is_learning(self):
        found = cover(call(WEB, API, 8080, *always(10)), call(API, DB, 5432, *range(24 * 7 + 5, 240)))
        assert line(found, "shop/db[Deployment] Ingress").state is State.LEARNING
        assert line(found, "shop/db[Deployment] Ingress").reason == (
            "a new edge 2 d 18 h before the end: shop/api[Deployment] -> shop/db[Deployment] TCP 5432"
        )
        assert line(found, "shop/api[Deployment] Ingress").state is State.STABLE

    def test_the_third_quiet_bin_ends_learning(self):
        found = cover(call(WEB, API, 8080, *always(10)), call(API, DB, 5432, *range(24 * 6, 240)))
        assert line(found, "shop/db[Deployment] Ingress").state is State.STABILIZING
        assert "less than a third of the window" in line(found, "shop/db[Deployment] Ingress").reason

    def test_time_since_the_last_new_edge(self):
        found = cover(call(WEB, API, 8080, *always(10)), call(API, DB, 5432, 24 * 6 + 5, 24 * 8))
        assert line(found, "shop/db[Deployment] Ingress").quiet_hours == 239 - (24 * 6 + 5)
        assert line(found, "shop/web[Deployment] Egress").quiet_hours == 239

    def test_a_direction_without_evidence_is_no_shortfall(self):
        found = cover(call(WEB, API, 8080, *always(10)))
        assert line(found, "shop/web[Deployment] Ingress").reason == "nothing was observed"
        assert found.short_of(State.STABLE) == ()

    def test_a_gate_names_what_is_below_it(self):
        found = cover(call(WEB, API, 8080, *always(2)))
        assert found.short_of(State.LEARNING) == ()
        assert found.short_of(State.STABILIZING) == ()
        assert [x.name for x in found.short_of(State.STABLE)] == [
            "whole",
            "shop",
            "shop/api[Deployment] Ingress",
            "shop/web[Deployment] Egress",
        ]

    @pytest.mark.parametrize(
        ("estimate", "state", "reason"),
        [
            (Estimate(40, 14, 4, 2, 4.0, 1.0, 9.0, 0.3, 0.9), State.STABILIZING, "about 4 edges may be unseen (1 to 9"),
            (Estimate(40, 14, 1, 2, 1.0, 0.0, 3.0, 0.1, 0.9), State.STABLE, "no new edge for 9 d of 14 d"),
            (Estimate(40, 14, 1, 2, 0.5, 0.0, 3.0, 0.1, 0.9, moved=True), State.STABILIZING, "the estimate changes"),
            (Estimate(40, 14, 9, 0, why_not="because"), State.STABILIZING, "not estimable: because"),
            (Estimate(3, 14, 1, 1, why_not="only 3 edges"), State.STABLE, "no new edge"),
        ],
    )
    def test_the_estimate_decides_what_quiet_alone_does_not(self, estimate, state, reason):
        found = judge(Facts(14 * 24, 14, 40, 9, 216.0, "", estimate))
        assert found[0] is state
        assert found[1].startswith(reason)

    def test_levels_have_names(self):
        assert parse_level("stable") is State.STABLE
        with pytest.raises(OptionError):
            parse_level("safe")

    def test_other_namespaces_are_out_of_scope(self):
        found = cover(call(WEB, API, 8080, *always(2)), namespaces=frozenset({"other"}))
        assert [x.name for x in found.lines] == ["whole"]
        assert found.whole.edges == 0

    def test_clients_outside_are_one_class(self):
        rows = [call(f"203.0.113.{n}", WEB, 443, 24 * n, 24 * n + 1) for n in range(10)]
        found = cover(*rows, call(WEB, API, 8080, *always(10)))
        assert line(found, "shop/web[Deployment] Ingress").edges == 1
        assert line(found, "shop/web[Deployment] Ingress").newest_edge == "world -> shop/web[Deployment] TCP 443"
        assert line(found, "shop/web[Deployment] Ingress").quiet_hours == 239


class TestLoss:
    rows = (call(WEB, API, 8080, *always(10)), call(API, DB, 5432, *always(10)))

    def lossy(self, node: str, hours: int) -> Coverage:
        edges = edges_of(*self.rows)
        for hour in range(hours):
            edges.ledger.lose(node, START + hour, "HUBBLE_RING_BUFFER", 100)
        return measure(edges)

    def test_only_workloads_of_the_lossy_node_are_touched(self):
        found = self.lossy("cluster/n2", 60)
        assert [(t.node, t.events) for t in found.losses] == [("n2", 6000)]
        assert [str(w) for w in found.losses[0].workloads] == ["shop/db[Deployment]"]
        assert line(found, "shop/db[Deployment] Ingress").state is State.STABILIZING
        assert line(found, "shop/db[Deployment] Ingress").reason == "events were lost in 60 of 240 hours"
        assert line(found, "shop/api[Deployment] Ingress").state is State.STABLE
        assert line(found, "shop/api[Deployment] Ingress").lost == 0

    def test_a_little_loss_is_reported_and_no_more(self):
        found = self.lossy("n2", 2)
        assert line(found, "shop/db[Deployment] Ingress").state is State.STABLE
        assert line(found, "shop/db[Deployment] Ingress").lost == 200

    def test_loss_without_a_node_touches_all(self):
        found = self.lossy("", 60)
        assert {x.state for x in found.lines if x.edges} == {State.STABILIZING}

    def test_too_much_loss_is_not_estimable(self):
        simulated = simulate(1, 10)
        for hour in range(100):
            simulated.edges.ledger.lose("", START + hour, "x", 1)
        assert measure(simulated.edges).whole.estimate.why_not == "events were lost in 100 of 240 hours"

    def test_a_node_without_a_record_is_named(self):
        found = cover(*(dict(r, nodes=["n1"]) for r in self.rows))
        assert [u.name for u in found.silent_nodes] == ["n2"]

    def test_sources_that_name_no_nodes_say_nothing_about_them(self):
        assert cover(*self.rows).silent_nodes == ()


class TestJobs:
    weekly = Controller(BACKUP, None, (), schedule="0 3 * * 0")

    def with_job(self, *extra: dict[str, Any], days: int, schedule: str = "0 3 * * 0") -> Coverage:
        job = pod("backup-1", "", JOB, workload=BACKUP)
        base = replace(CLUSTER, pods=tuple(sorted((*CLUSTER.pods, job), key=lambda p: p.name)))
        held = with_controllers(replace(self.weekly, schedule=schedule), inventory=base)
        return cover(call(WEB, API, 8080, *always(days)), *extra, inventory=held)

    def test_a_weekly_job_is_not_due_in_three_days_that_end_on_a_saturday(self):
        found = self.with_job(days=2)
        assert [(j.exercise, j.due, j.next_due) for j in found.jobs] == [(Exercise.NOT_DUE, 0, "2025-10-12T03:00:00Z")]
        assert "scheduled job" not in found.whole.reason or found.whole.state is State.STABILIZING

    def test_a_job_that_did_not_run_keeps_its_namespace_from_being_stable(self):
        found = self.with_job(days=10, schedule="0 3 1 * *")
        assert line(found, "shop").state is State.STABILIZING
        assert line(found, "shop").reason == "scheduled job shop/backup[CronJob] did not run within the window"
        assert line(found, "shop/api[Deployment] Ingress").state is State.STABLE

    def test_due_and_not_seen(self):
        assert self.with_job(days=10).jobs[0].exercise is Exercise.DUE_UNSEEN

    def test_seen_runs_are_counted_against_the_schedule(self):
        found = self.with_job(call(JOB, DB, 5432, 51, 52), days=15)
        job = found.jobs[0]
        assert (job.exercise, job.due, job.runs, job.edges) == (Exercise.SEEN, 2, 1, 1)

    def test_its_edges_are_no_part_of_the_estimate(self):
        simulated = simulate(1, 14, known_jobs=True)
        found = measure(simulated.edges).whole
        periodic = sum(s for s, k in zip(simulated.seen, simulated.kinds, strict=True) if k not in ("steady", "rare"))
        assert periodic > 0
        assert found.edges - found.estimate.seen - found.estimate.periodic == periodic

    def test_a_job_seen_late_does_not_make_its_server_learn(self):
        found = self.with_job(call(API, DB, 5432, *always(10)), call(JOB, DB, 5432, 24 * 9 + 3), days=10)
        assert line(found, "shop/db[Deployment] Ingress").state is State.STABLE
        assert line(found, "shop/backup[CronJob] Egress").state is State.LEARNING
        assert line(found, "shop/backup[CronJob] Egress").reason == "its job was seen 1 time, fewer than 3"

    def test_a_schedule_that_nobody_understands(self):
        found = self.with_job(days=10, schedule="TZ=Europe/Paris 0 3 * * 0")
        assert found.jobs[0].exercise is Exercise.UNKNOWN
        assert "Europe/Paris" in found.jobs[0].note


class TestSilence:
    def test_workloads_that_no_flow_names(self):
        idle = Controller(Workload("shop", "Deployment", "idle"), None, (), replicas=0)
        held = with_controllers(idle)
        found = cover(call(WEB, API, 8080, *always(2)), inventory=held)
        assert [(u.name, u.note.partition(":")[0]) for u in found.unseen] == [
            ("shop/db[Deployment]", "never seen, as client or as server"),
            ("shop/idle[Deployment]", "zero replicas"),
        ]

    def test_what_was_only_denied_was_seen(self):
        rows = (call(WEB, API, 8080, *always(2)), call(API, DB, 5432, 5, observed_verdict="dropped"))
        assert cover(*rows).unseen == ()

    def test_services_without_flows(self):
        held = inventory_of(
            *PODS,
            service("api", "api", "10.96.0.20", 80, 8080),
            service("db", "db", "10.96.0.21", 5432, 5432),
            service("ghost", "ghost", "10.96.0.22", 80, 80),
        )
        found = cover(call(WEB, API, 8080, *always(2)), inventory=held)
        assert [(u.name, u.note) for u in found.unseen if u.kind == "Service"] == [
            ("shop/db", "no flow to any of its backends"),
            ("shop/ghost", "no backends"),
        ]

    def test_without_an_inventory(self):
        facts = {"src_namespace": "shop", "src_pod": "a-1", "src_workload": "Deployment/a", "dst_namespace": "shop"}
        seen = call("10.0.0.1", "10.0.0.2", 80, *always(2), **facts, dst_pod="b-1", dst_workload="Deployment/b")
        found = cover(seen, inventory=Inventory())
        assert [x.name for x in found.lines if x.edges][-2:] == [
            "shop/a[Deployment] Egress",
            "shop/b[Deployment] Ingress",
        ]
        assert found.unseen == ()

    def test_records_that_may_hide_an_edge(self):
        edges = edges_of(call(WEB, API, 8080, *always(2)))
        edges.ledger.aside(Reason.AMBIGUOUS, 3)
        edges.ledger.aside(Reason.ICMP, 5)
        assert dict(measure(edges).set_aside) == {str(Reason.AMBIGUOUS): 3}

    def test_blind_spots_of_the_sources_used(self):
        edges = edges_of(call(WEB, API, 8080, *always(2)))
        found = measure(edges, blind_spots={"hubble": ("host firewall",), "aws-vpc": ("DNS",)})
        assert dict(found.blind_spots) == {"hubble": ("host firewall",)}


def samples() -> list[Coverage]:
    return [
        cover(),
        cover(call(WEB, API, 8080, *range(23))),
        cover(call(WEB, API, 8080, *always(10))),
        TestLoss().lossy("n2", 60),
        TestJobs().with_job(days=10),
        measure(simulate(1, 14).edges),
        measure(simulate(1, 1).edges),
    ]


class TestOutput:
    @pytest.mark.parametrize("found", samples())
    def test_it_never_says_safe(self, found):
        for text in (coverage_text(found, verbose=True), coverage_json(found), coverage_svg(found)):
            assert "safe" not in text.lower()

    @pytest.mark.parametrize("found", samples())
    def test_json_has_its_shape(self, found):
        document = json.loads(coverage_json(found))
        assert (document["format"], document["version"]) == ("netpol-gen/coverage", 1)
        assert list(document) == [
            "format", "version", "window", "lines", "jobs", "losses", "silent_nodes", "unseen", "blind_spots",
            "set_aside", "curve",
        ]  # fmt: skip
        for each in document["lines"]:
            assert (each["estimate"]["unseen"] is None) == bool(each["estimate"]["not_estimable"])

    @pytest.mark.parametrize("found", samples())
    def test_the_plot_is_an_image(self, found):
        root = ET.fromstring(coverage_svg(found))  # noqa: S314 - our own
        assert root.tag == "{http://www.w3.org/2000/svg}svg"

    def test_the_curve_rises_with_new_edges_only(self):
        found = cover(call(WEB, API, 8080, *always(10)), call(API, DB, 5432, 24 * 6))
        assert [p.edges for p in found.curve] == [1] * 6 + [2] * 4
        assert [p.hours for p in found.curve] == [24 * d for d in range(1, 11)]

    def test_frame(self):
        frame = cover(call(WEB, API, 8080, *always(10))).to_frame()
        assert {c: str(t) for c, t in frame.dtypes.items()} == {
            c: t.replace("string[pyarrow]", "string") for c, t in COLUMNS.items()
        }
        assert frame["state"].tolist()[0] == "Stable"

    def test_records_shuffled_same_bytes(self):
        edges = simulate(2, 7).edges
        mixed = list(edges.observations)
        random.Random(1).shuffle(mixed)
        again = replace(edges, observations=tuple(mixed))
        assert coverage_json(measure(again)) == coverage_json(measure(edges))

    def test_hostile_names_stay_on_their_line(self):
        held = with_controllers(Controller(Workload("shop", "CronJob", "x"), None, (), schedule="\x1b[31m\n* * *"))
        text = coverage_text(cover(call(WEB, API, 8080, *always(2)), inventory=held))
        assert "\x1b" not in text


def run_cli(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["coverage", *arguments])
    if isinstance(result.exception, NetpolGenError):
        return result.exception.exit_code, result.stdout
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout


class TestCommand:
    def test_gate_and_plot(self, repository: Path, tmp_path: Path):
        sample = repository / "sample-flows" / "payments"
        given = [str(sample / "flows.jsonl"), "-i", str(sample / "inventory.yaml")]
        code, text = run_cli(*given, "--plot", str(tmp_path / "curve.svg"))
        assert (code, text.startswith("window: 2026-11-19T09:01:07Z")) == (0, True)
        assert "  hubble: looks at every new connection" in text
        assert (tmp_path / "curve.svg").read_text().startswith("<svg ")
        assert run_cli(*given, "--require", "learning")[0] == 0
        code, text = run_cli(*given, "--require", "stable", "-o", "json")
        assert (code, json.loads(text)["lines"][0]["state"]) == (1, "Learning")
        assert run_cli(*given, "--require", "certain")[0] == 2


def test_edges_that_no_record_dates_take_no_part():
    from netpol_gen.edges import find_edges
    from netpol_gen.model import UNKNOWN_TIME
    from tests.flowrows import HOUR as HOUR_NS
    from tests.flowrows import NOW, flows_of, inventory_of, pod, row

    cluster = inventory_of(pod("a-1", "a", "10.0.0.1"), pod("b-1", "b", "10.0.0.2", 80))
    untimed = {"first_seen": UNKNOWN_TIME, "last_seen": UNKNOWN_TIME, "hours": [UNKNOWN_TIME // HOUR_NS]}
    alone = measure(find_edges(flows_of(row("10.0.0.1", "10.0.0.2", 80, **untimed)), cluster), blind_spots={})
    assert alone.window is None
    both = find_edges(flows_of(row("10.0.0.1", "10.0.0.2", 80, **untimed), row("10.0.0.1", "10.0.0.2", 81)), cluster)
    found = measure(both, blind_spots={})
    assert found.window is not None
    assert (found.window.start, found.window.end) == (NOW, NOW)
    assert found.set_aside["of edges that no record dates, which take no part here"] == 1
