"""Names of ports only where every pod means the same by them."""

from __future__ import annotations

import pytest

from netpol_gen.config import Config, NamedPorts
from netpol_gen.model import Protocol
from netpol_gen.policy import PolicyPort
from netpol_gen.synthesize.ports import policy_port
from netpol_gen.synthesize.universe import Row
from tests.synthesize.build import ports, w


def row(declared, observed=False):
    return Row(w("shop/web"), (("app", "web"),), ports(declared), observed)


def named(number, *rows, protocol=Protocol.TCP, config=None):
    return policy_port(protocol, number, rows, config or Config()).port


def test_every_pod_declares_it():
    assert named(8080, row("http:8080"), row("http:8080 admin:9000")) == "http"


def test_one_pod_does_not():
    assert named(8080, row("http:8080"), row(":8080")) == 8080


def test_a_rollout_changes_the_number():
    """Both numbers were seen; the name would stand for one of them on each pod."""
    rows = row("http:8080"), row("http:9090")
    assert (named(8080, *rows), named(9090, *rows)) == (8080, 9090)


def test_the_same_number_under_two_names():
    assert named(8080, row("http:8080"), row("web:8080")) == 8080


def test_the_protocol_is_part_of_it():
    rows = row("dns:53/UDP dns-tcp:53"), row("dns:53/UDP dns-tcp:53")
    assert named(53, *rows, protocol=Protocol.UDP) == "dns"
    assert named(53, *rows) == "dns-tcp"


def test_a_name_for_two_numbers_is_no_name():
    assert named(8080, row("http:8080 http:9090")) == 8080


def test_the_same_name_for_another_protocol_does_no_harm():
    assert policy_port(Protocol.TCP, 53, [row("dns:53 dns:5353/UDP")], Config()) == PolicyPort(Protocol.TCP, "dns")


def test_undeclared():
    assert named(8443, row("http:8080")) == 8443


def test_observed_pods_have_declared_nothing():
    assert named(8080, row("http:8080", observed=True)) == 8080


def test_no_pods_no_name():
    assert named(443) == 443


def test_turned_off():
    assert named(8080, row("http:8080"), config=Config(named_ports=NamedPorts.NEVER)) == 8080


@pytest.mark.parametrize("name", ["8080", "a--b", "Upper", "-a", "a-", "far-too-long-name", "a\nb"])
def test_what_the_api_server_would_not_take_for_a_name(name):
    assert named(8080, Row(w("shop/web"), (), (ports(":8080")[0].__class__(8080, Protocol.TCP, name),))) == 8080
