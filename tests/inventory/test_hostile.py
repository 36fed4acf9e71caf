"""No manifest crashes: whatever stands where something else should, the answer is an inventory or an InputError."""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netpol_gen.errors import InputError
from netpol_gen.inventory import Inventory
from tests.inventory.made import at, controller, endpoint_slice, listed, load, node, obj, pod, service

DONE = {
    "phase": "Failed",
    "containerStatuses": [{"state": {"terminated": {"finishedAt": at(5)}}}],
    "hostIP": "192.168.0.1",
}
RULES = {"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]}
OBJECTS = [
    pod(
        "p",
        ["10.1.0.1", "fd00::1"],
        labels={"a": "b"},
        owner=("ReplicaSet", "x-1"),
        ports=[{"containerPort": 80, "name": "h"}],
        start=1,
    ),
    pod("q", "10.1.0.2", status=DONE, metadata={"deletionTimestamp": at(9), "uid": "u"}, namespace="kube-system"),
    controller("Deployment", "d", {"a": "b"}, spec={"replicas": 2}),
    controller("CronJob", "c", {"a": "b"}, version="batch/v1"),
    service(
        "s", {"a": "b"}, [{"port": 80, "targetPort": "h", "nodePort": 30080}], ip="10.96.0.1", externalIPs=["192.0.2.1"]
    ),
    endpoint_slice("e", "s", {"10.1.0.1": "p"}, [{"name": "", "port": 80}]),
    obj("Endpoints", "s", subsets=[{"addresses": [{"ip": "10.1.0.1"}], "ports": [{"port": 80}]}]),
    node("n", "192.168.0.1", "10.1.0.0/24", annotations={"k8s.ovn.org/node-subnets": "{}"}),
    obj("Namespace", "shop", None, labels={}),
    obj("IPPool", "i", None, version="projectcalico.org/v3", spec={"cidr": "10.0.0.0/8"}),
    obj("ServiceCIDR", "i", None, version="networking.k8s.io/v1", spec={"cidrs": ["10.0.0.0/8"]}),
    obj("NetworkPolicy", "n", version="networking.k8s.io/v1", spec=RULES),
]
ODD = st.sampled_from(
    [None, True, 0, -1, 2**70, 0.5, "", "x", "\x1b[31m", "..", [], [None], [[]], {}, {"a": 1}, {"": None}, "9999-99-99"]
)


def paths(value: Any, path: tuple = ()) -> list[tuple]:
    """Every place within a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, each in inner for found in paths(each, (*path, key)))]


@st.composite
def broken(draw) -> Any:
    document = copy.deepcopy(draw(st.sampled_from(OBJECTS)))
    for _ in range(draw(st.integers(1, 3))):
        found = paths(document)[1:]
        if not found:
            break
        *way, last = draw(st.sampled_from(found))
        inner = document
        for key in way:
            inner = inner[key]
        if isinstance(inner, dict) and draw(st.booleans()):
            del inner[last]
        else:
            inner[last] = copy.deepcopy(draw(ODD))
    return document


def test_they_are_read_unbroken():
    inventory = load(*OBJECTS)
    assert (len(inventory.pods), len(inventory.backends), inventory.other) == (4, 1, {})


@given(broken())
def test_broken_ones_are_refused_or_read(document):
    with suppress(InputError):
        assert isinstance(load(document), Inventory)


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_of_objects_leaves_no_trace(order):
    found = load(listed(*OBJECTS[::order]), *OBJECTS[3:7])
    assert found == load(*OBJECTS)
    assert repr(found.pods) == repr(load(*OBJECTS).pods)
