"""One name per workload, the same on every run, and never a path."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netpol_gen.config import Config
from netpol_gen.errors import OptionError
from netpol_gen.model import Workload
from netpol_gen.synthesize.names import is_namespace, policy_names
from tests.synthesize.build import w


def names(*workloads, **given_names):
    config = Config(names={k.replace("__", "/"): v for k, v in given_names.items()})
    return policy_names(workloads, config)


def test_the_workloads_own_name():
    assert names(w("shop/web")) == {w("shop/web"): "web"}


def test_the_given_name():
    assert names(w("b/payments"), b__Deployment__payments="internal") == {w("b/payments"): "internal"}


def test_two_kinds_of_one_name_both_get_a_hash():
    # The first eight digits of the SHA-256 of `shop/Deployment/web` and `shop/StatefulSet/web`.
    found = names(w("shop/web"), w("shop/StatefulSet/web"))
    assert found == {w("shop/web"): "web-84b75d05", w("shop/StatefulSet/web"): "web-5f0fddf8"}


def test_the_same_name_elsewhere_is_no_collision():
    assert set(names(w("a/web"), w("b/web")).values()) == {"web"}


def test_long_names_are_cut_and_told_apart():
    long = "x" * 80
    found = names(w(f"shop/{long}1"), w(f"shop/{long}2"))
    assert len(set(found.values())) == 2
    assert all(len(n) == 63 and n.startswith("x" * 54 + "-") for n in found.values())


def test_sixty_three_characters_are_not_cut():
    assert names(w(f"shop/{'x' * 63}")) == {w(f"shop/{'x' * 63}"): "x" * 63}


@pytest.mark.parametrize(
    ("hostile", "want"),
    [
        ("My.App", "my-app"),
        ("../../etc/passwd", "etc-passwd"),
        ("a\nb: c", "a-b-c"),
        ("...", "workload"),
        ("", "workload"),
    ],
)
def test_hostile_names(hostile, want):
    assert policy_names([Workload("shop", "Pod", hostile)], Config()) == {Workload("shop", "Pod", hostile): want}


@pytest.mark.parametrize("reserved", ["default-deny", "kustomization"])
def test_reserved_names(reserved):
    (found,) = names(w(f"shop/{reserved}")).values()
    assert found.startswith(f"{reserved}-")


@pytest.mark.parametrize("bad", ["default-deny", "kustomization", "Upper", "../x", "a" * 64, ""])
def test_a_given_name_that_cannot_be(bad):
    with pytest.raises(OptionError, match="cannot be the name"):
        names(w("shop/web"), shop__Deployment__web=bad)


def test_a_name_given_twice():
    with pytest.raises(OptionError, match="given to two workloads"):
        names(w("shop/a"), w("shop/b"), shop__Deployment__a="x", shop__Deployment__b="x")


def test_a_given_name_pushes_the_workload_of_that_name_aside():
    found = names(w("shop/a"), w("shop/b"), shop__Deployment__a="b")
    assert found[w("shop/a")] == "b"
    assert re.fullmatch(r"b-[0-9a-f]{8}", found[w("shop/b")])


def test_a_workload_named_like_anothers_hash():
    found = names(w("shop/web"), w("shop/StatefulSet/web"), w("shop/web-5f0fddf8"))
    assert len(set(found.values())) == 3


@given(st.sets(st.tuples(st.sampled_from("AB"), st.text(max_size=70)), max_size=8))
def test_always_a_label_and_never_twice(pairs):
    found = policy_names([Workload("ns", kind, name) for kind, name in pairs], Config())
    assert len(set(found.values())) == len(found)
    assert all(is_namespace(name) for name in found.values())


@pytest.mark.parametrize("name", ["../x", "a/b", "", "A", "a.b", "-a", "a" * 64])
def test_no_namespace(name):
    assert not is_namespace(name)
