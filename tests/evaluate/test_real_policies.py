"""The hand-written policies of a real application, Online Boutique, against what its authors meant."""

from __future__ import annotations

import pytest

from netpol_gen.connectivity import connections
from netpol_gen.diff import Change, compare
from netpol_gen.inventory import load_inventory
from netpol_gen.manifests import read_policies

# From the policies, read by hand: who may call whom, on which port. Everything may go out, and everybody may call the
# frontend; the load generator has egress rules only, so deny-all closes its ingress.
CALLS = {
    "adservice": (9555, ["frontend"]),
    "cartservice": (7070, ["frontend", "checkoutservice"]),
    "checkoutservice": (5050, ["frontend"]),
    "currencyservice": (7000, ["frontend", "checkoutservice"]),
    "emailservice": (8080, ["checkoutservice"]),
    "paymentservice": (50051, ["checkoutservice"]),
    "productcatalogservice": (3550, ["frontend", "checkoutservice", "recommendationservice"]),
    "recommendationservice": (8080, ["frontend"]),
    "redis-cart": (6379, ["cartservice"]),
    "shippingservice": (50051, ["frontend", "checkoutservice"]),
}
ALL = {*CALLS, "frontend", "loadgenerator"}


@pytest.fixture(scope="module")
def boutique(shared_data):
    folder = shared_data / "online-boutique"
    return load_inventory([folder / "manifests"]), read_policies([folder / "policies"]).policies


def name(end):
    return getattr(end, "name", str(end))


def test_the_policies_are_listed_as_they_were_meant(boutique):
    inventory, policies = boutique
    found = {(name(r.src), name(r.dst)): str(r.connections) for r in connections(policies, inventory).rows()}
    expected = {(src, dst): f"TCP {port}" for dst, (port, sources) in CALLS.items() for src in sources}
    expected |= {(src, "frontend"): "all" for src in ALL - {"frontend"}}
    expected |= {(src, outside): "all" for src in ALL for outside in ("0.0.0.0/0", "::/0")}
    expected |= {(outside, "frontend"): "all" for outside in ("0.0.0.0/0", "::/0")}
    assert found == expected


def test_the_policies_against_none_close_everything_else(boutique):
    inventory, policies = boutique
    found = compare((), policies, inventory, inventory)
    pairs = {(name(r.src), name(r.dst)): (r.change, str(r.after)) for r in found.rows}
    calls = {(src, dst): (Change.CHANGED, f"TCP {port}") for dst, (port, sources) in CALLS.items() for src in sources}
    inside = {(a, b) for a in ALL for b in ALL - {"frontend"} if a != b}
    closed = dict.fromkeys(inside - set(calls), (Change.REMOVED, "none"))
    from_outside = {
        (outside, dst): (Change.REMOVED, "none") for outside in ("0.0.0.0/0", "::/0") for dst in ALL - {"frontend"}
    }
    assert pairs == {**calls, **closed, **from_outside}
    assert not found.new
    assert not found.gone
    assert compare(policies, policies[::-1], inventory, inventory).same
