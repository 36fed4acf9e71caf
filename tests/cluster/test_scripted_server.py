"""What a real API server does not do on demand: broken pages, cut connections, pages of a proxy, clocks that differ."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from netpol_gen.cluster import Access, Api, Snapshot, take_snapshot
from netpol_gen.cluster.http import ATTEMPTS, MAX_WAIT
from netpol_gen.errors import RemoteError
from tests.cluster.scripted import Answer, cut, html, in_turn, listing, refusal, say, serving

PODS = "/api/v1/pods"
ESSENTIAL = {
    "apps": ("v1", ["deployments", "replicasets", "statefulsets", "daemonsets"]),
    "batch": ("v1", ["jobs"]),
    "networking.k8s.io": ("v1", ["networkpolicies"]),
}
GROUPS: Answer = say(
    {"groups": [{"name": name, "versions": [{"version": version}]} for name, (version, _) in ESSENTIAL.items()]}
)


def pod(name: str, **metadata: object) -> dict[str, object]:
    return {"metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}", **metadata}}


class Run:
    """One snapshot of a scripted server, with the pauses that it would have made."""

    def __init__(self, tmp_path, answers: dict[str, Answer], now: datetime | None = None) -> None:
        self.pauses: list[float] = []
        with serving({"/apis": GROUPS, **answers}) as server:
            options = {} if now is None else {"now": lambda: now}
            with Api(Access(server.kubeconfig(tmp_path)), pause=self.pauses.append) as api:
                try:
                    self.taken: Snapshot | None = take_snapshot(api, **options)
                    self.error = ""
                except RemoteError as error:
                    self.taken, self.error = None, str(error)
            self.asked = server.asked

    @property
    def pods(self) -> list[str]:
        assert self.taken is not None, self.error
        return [key[3] for key in self.taken.objects if key[1] == "Pod"]


# --- pages ------------------------------------------------------------------------------------------------------------


def test_pages_are_put_together(tmp_path):
    run = Run(tmp_path, {PODS: in_turn(listing(pod("a"), more="t1"), listing(pod("b"), more="t2"), listing(pod("c")))})
    assert run.pods == ["a", "b", "c"]
    assert [path for path in run.asked if path.startswith(PODS)] == [
        f"{PODS}?limit=500", f"{PODS}?limit=500&continue=t1", f"{PODS}?limit=500&continue=t2",
    ]  # fmt: skip


def test_an_expired_list_is_begun_again(tmp_path):
    script = in_turn(
        listing(pod("gone"), pod("b"), more="t1"), refusal(410), listing(pod("b"), more="t2"), listing(pod("c"))
    )
    assert Run(tmp_path, {PODS: script}).pods == ["b", "c"]


def test_a_list_that_expires_again_and_again_is_asked_for_in_one_piece(tmp_path):
    first, expired = listing(pod("a"), more="t"), refusal(410)
    run = Run(tmp_path, {PODS: in_turn(first, expired, first, expired, listing(pod("a"), pod("b")))})
    assert run.pods == ["a", "b"]
    assert [path for path in run.asked if path.startswith(PODS)][-1] == PODS


def test_a_list_that_always_expires_ends(tmp_path):
    assert "expired although it was asked for in one piece" in Run(tmp_path, {PODS: refusal(410)}).error


def test_the_same_page_for_ever_ends(tmp_path):
    assert "same page again and again" in Run(tmp_path, {PODS: listing(pod("a"), more="t")}).error


@pytest.mark.parametrize(
    "data",
    [
        {"items": "none", "metadata": {}},
        {"items": [5], "metadata": {}},
        {"items": [{"metadata": None}], "metadata": {}},
        {"items": [{"metadata": {"namespace": "x"}}], "metadata": {}},
        {"items": []},
        {"items": [], "metadata": "x"},
        [],
        "text",
    ],
)
def test_what_is_no_list_is_an_error(tmp_path, data):
    run = Run(tmp_path, {PODS: say(data)})
    assert "Kubernetes API?" in run.error


def test_a_list_without_items_is_empty(tmp_path):
    # Go writes a nil slice as null.
    assert Run(tmp_path, {PODS: say({"items": None, "metadata": {}})}).pods == []


# --- what passes, and what does not -----------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [refusal(500), refusal(503), refusal(504), refusal(429), cut(), cut(b"")])
def test_what_passes_is_tried_again(tmp_path, trouble):
    run = Run(tmp_path, {PODS: in_turn(trouble, trouble, listing(pod("a")))})
    assert run.pods == ["a"]
    assert run.pauses == [0.5, 1.0]


def test_half_a_page_is_tried_again(tmp_path):
    def half(handler, _query) -> None:
        handler.send(200, b'{"metadata": {}, "items": [{"metadata": {"name": "x"')

    assert Run(tmp_path, {PODS: in_turn(half, listing(pod("a")))}).pods == ["a"]


def test_trouble_that_stays_is_an_error_within_bounds(tmp_path):
    run = Run(tmp_path, {PODS: refusal(503)})
    assert f"status 503, {ATTEMPTS} times" in run.error
    assert len(run.pauses) == ATTEMPTS - 1
    assert sum(run.pauses) < 20


def test_retry_after_is_heeded(tmp_path):
    assert Run(tmp_path, {PODS: in_turn(refusal(429, Retry_After="7"), listing())}).pauses == [7.0]


def test_retry_after_is_bounded(tmp_path):
    assert Run(tmp_path, {PODS: in_turn(refusal(429, Retry_After="86400"), listing())}).pauses == [MAX_WAIT]


def test_retry_after_as_a_date_is_by_the_servers_clock(tmp_path):
    # A server whose clock is years off: the wait is the difference of its own two dates.
    date = datetime(2001, 1, 1, tzinfo=UTC)
    later = format_datetime(date + timedelta(seconds=9), usegmt=True)
    busy = refusal(429, Date=format_datetime(date, usegmt=True), Retry_After=later)
    assert Run(tmp_path, {PODS: in_turn(busy, listing())}).pauses == [9.0]


@pytest.mark.parametrize("word", ["soon", "-5", "1e9", "Mon, 99 Foo 2001"])
def test_a_retry_after_that_means_nothing_is_not_heeded(tmp_path, word):
    assert Run(tmp_path, {PODS: in_turn(refusal(429, Retry_After=word), listing())}).pauses == [0.5]


@pytest.mark.parametrize("status", [200, 302, 403, 404])
def test_a_page_of_a_proxy_is_no_answer(tmp_path, status):
    run = Run(tmp_path, {PODS: html(status)})
    assert "text/html instead of JSON; is a proxy or a login page in between?" in run.error
    assert run.pauses == []


def test_a_proxy_that_is_out_of_order_is_tried_again(tmp_path):
    assert Run(tmp_path, {PODS: in_turn(html(502), listing(pod("a")))}).pods == ["a"]


def test_a_redirect_is_not_followed(tmp_path):
    with serving({}) as elsewhere:
        target = f"http://127.0.0.1:{elsewhere.server_port}{PODS}"
        run = Run(tmp_path, {PODS: refusal(307, Location=target)})
        assert "status 307" in run.error
        assert elsewhere.asked == []


def test_a_refusal_that_holds_escapes_is_shown_without_them(tmp_path):
    run = Run(tmp_path, {PODS: say({"message": "\x1b[31mred"}, 400)})
    assert "\x1b" not in run.error
    assert "red" in run.error


def test_nobody_there(tmp_path):
    with serving({}) as server:
        config = server.kubeconfig(tmp_path)
    pauses: list[float] = []
    with Api(Access(config), pause=pauses.append) as api, pytest.raises(RemoteError, match="Connection refused"):
        take_snapshot(api)
    assert len(pauses) == ATTEMPTS - 1


def test_an_extension_that_is_down_does_not_keep_the_rest_from_being_read(tmp_path):
    groups = [{"name": n, "versions": [{"version": v}]} for n, (v, _) in ESSENTIAL.items()]
    groups.append({"name": "projectcalico.org", "versions": [{"version": "v3"}]})
    run = Run(
        tmp_path,
        {
            "/apis": say({"groups": groups}),
            PODS: listing(pod("a")),
            "/apis/projectcalico.org/v3/networkpolicies": refusal(503),
        },
    )
    assert run.pods == ["a"]
    assert run.taken is not None
    kinds = ["globalnetworkpolicies", "ippools", "networkpolicies"]
    assert [(n.kind, n.reason) for n in run.taken.not_read] == [
        (f"{kind}.projectcalico.org", "its API does not answer") for kind in kinds
    ]
    assert len(run.pauses) == ATTEMPTS - 1, "each kind of the group was waited for"


def test_a_server_without_pods_is_no_cluster(tmp_path):
    assert "the server has no pods" in Run(tmp_path, {PODS: refusal(404)}).error


# --- clocks -----------------------------------------------------------------------------------------------------------


def test_the_snapshot_bears_the_servers_time(tmp_path):
    there = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
    script = {PODS: listing(pod("a"), Date=format_datetime(there, usegmt=True))}
    run = Run(tmp_path, script, now=there + timedelta(hours=2))
    assert run.taken is not None
    assert run.taken.taken_at == there
    assert run.taken.skew == 7200
    near = Run(tmp_path, script, now=there + timedelta(seconds=5))
    assert near.taken is not None
    assert near.taken.skew == 0


@pytest.mark.parametrize("date", ["", "yesterday", "Fri, 01 May 2026 12:00:00"])
def test_a_server_that_tells_no_time_leaves_it_to_this_machine(tmp_path, date):
    here = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
    run = Run(tmp_path, {PODS: listing(pod("a"), Date=date)}, now=here)
    assert run.taken is not None
    assert run.taken.taken_at == here
