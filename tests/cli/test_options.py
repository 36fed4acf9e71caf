"""Options and netpol-gen.toml become one Config, or a clear error."""

from __future__ import annotations

from dataclasses import fields

import pytest

from netpol_gen.cli.options import _SETTINGS, make_config, parse_time
from netpol_gen.config import Cni, Config, Exclusion, MinEvidence
from netpol_gen.errors import InputError, OptionError
from netpol_gen.model import ObservedVerdict


def test_nothing_given_is_the_default():
    assert make_config(None) == Config()


def test_every_setting_of_the_file(tmp_path):
    file = tmp_path / "netpol-gen.toml"
    file.write_text(
        """
        namespace = ["shop", "pay"]
        accept = "audit,unanswered"
        cni = "cilium"
        min-evidence = "strong"
        max-extra-addresses = 16
        max-bad = 0.1
        pod-cidr = "10.0.0.0/8"
        [names]
        "shop/Deployment/web" = "front"
        [labels]
        team = "red"
        [[exclude]]
        reason = "load test"
        src = "shop/load-*"
        port = 80
        """
    )
    config = make_config(file)
    assert config.namespaces == {"shop", "pay"}
    assert config.accept == {ObservedVerdict.FORWARDED, ObservedVerdict.AUDIT}
    assert config.accept_unanswered
    assert config.cni is Cni.CILIUM
    assert config.min_evidence is MinEvidence.STRONG
    assert config.exclude == (Exclusion("load test", "shop/load-*", port=80),)
    assert config.names == {"shop/Deployment/web": "front"}


def test_options_win_over_the_file(tmp_path):
    file = tmp_path / "netpol-gen.toml"
    file.write_text('cni = "cilium"\nmax-extra-addresses = 4\n')
    config = make_config(file, cni=Cni.CALICO)
    assert (config.cni, config.max_extra_addresses) == (Cni.CALICO, 4)


def test_zero_is_a_value(tmp_path):
    assert make_config(None, scan_threshold=0).scan_threshold == 0


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("unknown = 1", "unknown setting"),
        ('cni = "weave"', "is not one of"),
        ("max-bad = 2", "ratio"),
        ("strict = 1", "true or false"),
        ('accept = ["dropped"]', "is not audit"),
        ('pod-cidr = ["10.0.0.0/99"]', "pod-cidr"),
        ('labels = {"a b" = "c"}', "is not a label"),
        ("[[exclude]]\nsrc = 'x'", "reason"),
        ("[[exclude]]\nreason = 'x'\nport = '80'", "port is a number"),
        ("names = 3", "table of texts"),
        ("since = 'yesterday'", "neither a time"),
        ("since = 2026-11-02\nuntil = 2026-11-01", "not before"),
        ("guard-seconds = -1", "guard-seconds: .*seconds"),
    ],
)
def test_a_wrong_setting_names_itself(tmp_path, text, wanted):
    file = tmp_path / "netpol-gen.toml"
    file.write_text(text)
    with pytest.raises(OptionError, match=wanted):
        make_config(file)


def test_a_broken_or_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        make_config(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("a = [")
    with pytest.raises(InputError, match="no TOML"):
        make_config(broken)


def test_times():
    assert parse_time("2026-11-01T00:00:00Z", "--since") == 1_793_491_200_000_000_000
    assert parse_time("2026-11-01T01:00:00+01:00", "--since") == parse_time("2026-11-01", "--since")
    assert parse_time("1h", "--since") < parse_time("30m", "--since")
    with pytest.raises(OptionError, match="neither a time"):
        parse_time("1 fortnight", "--since")


def test_every_field_of_the_settings_has_a_key(tmp_path):
    """But for those that one key or option gives in pairs."""
    known = {field for field, _ in _SETTINGS.values()}
    assert {f.name for f in fields(Config)} - known == {"accept", "accept_unanswered"}
    file = tmp_path / "netpol-gen.toml"
    file.write_text("guard-seconds = 2.5")
    assert make_config(file).guard_seconds == 2.5
