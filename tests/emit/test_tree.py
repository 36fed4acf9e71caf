"""Files go where they belong, whole or not at all, and leave those of others alone."""

from __future__ import annotations

import os

import pytest
import yaml

from netpol_gen.emit import earlier_files, render_stream, render_tree, write_tree
from netpol_gen.errors import InvariantError, OptionError
from netpol_gen.model import Direction
from netpol_gen.policy import NetworkPolicy
from netpol_gen.selectors import LabelSelector
from netpol_gen.synthesize.baseline import MANAGED_BY, default_deny


def policy(name, namespace="shop"):
    return NetworkPolicy(
        namespace, name, LabelSelector.of({"app": name}), frozenset({Direction.INGRESS}), labels=(MANAGED_BY,)
    )


TREE = render_tree([policy("web"), default_deny("shop"), policy("api"), policy("web", "backend")])


def files(directory):
    return {str(p.relative_to(directory)): p.read_text() for p in sorted(directory.rglob("*")) if p.is_file()}


def test_layout():
    assert list(TREE) == [
        "backend/kustomization.yaml",
        "backend/web.yaml",
        "shop/api.yaml",
        "shop/default-deny.yaml",
        "shop/kustomization.yaml",
        "shop/web.yaml",
    ]


def test_what_denies_comes_last():
    assert yaml.safe_load(TREE["shop/kustomization.yaml"])["resources"] == ["api.yaml", "web.yaml", "default-deny.yaml"]


def test_one_stream():
    documents = list(yaml.safe_load_all(render_stream([policy("web"), policy("api"), policy("x", "backend")])))
    assert [d["metadata"]["name"] for d in documents] == ["x", "api", "web"]
    assert render_stream([]) == ""


@pytest.mark.parametrize(
    ("namespace", "name"), [("../etc", "x"), ("a/b", "x"), ("a", "../x"), ("a", "kustomization"), ("", "x")]
)
def test_no_name_leads_elsewhere(namespace, name):
    with pytest.raises(InvariantError):
        render_tree([policy(name, namespace)])


def test_two_policies_of_one_name():
    with pytest.raises(InvariantError, match="would overwrite"):
        render_tree([policy("web"), policy("web")])


def test_written_and_unchanged(tmp_path):
    first = write_tree(TREE, tmp_path / "new" / "out")
    assert first.written == tuple(TREE)
    assert files(tmp_path / "new" / "out") == dict(TREE)
    second = write_tree(TREE, tmp_path / "new" / "out")
    assert (second.written, second.unchanged, second.removed) == ((), tuple(TREE), ())


def test_unchanged_files_are_not_touched(tmp_path):
    write_tree(TREE, tmp_path)
    os.utime(tmp_path / "shop/web.yaml", ns=(0, 0))
    write_tree(TREE, tmp_path)
    assert (tmp_path / "shop/web.yaml").stat().st_mtime_ns == 0


def test_no_temporary_files_stay(tmp_path):
    write_tree(TREE, tmp_path)
    assert set(files(tmp_path)) == set(TREE)
    assert (tmp_path / "shop/web.yaml").stat().st_mode & 0o777 == 0o644


def test_policies_of_an_earlier_run_are_removed(tmp_path):
    write_tree(TREE, tmp_path)
    result = write_tree(render_tree([policy("web")]), tmp_path)
    assert result.removed == ("shop/api.yaml", "shop/default-deny.yaml")
    assert sorted(files(tmp_path)) == [
        "backend/kustomization.yaml",
        "backend/web.yaml",
        "shop/kustomization.yaml",
        "shop/web.yaml",
    ]


def test_files_of_others_are_not_removed(tmp_path):
    write_tree(TREE, tmp_path)
    (tmp_path / "shop/api.yaml").write_text("kind: NetworkPolicy\nmetadata: {name: api}\n")
    (tmp_path / "shop/notes.yaml").write_text("x: 1\n")
    assert write_tree(render_tree([policy("web")]), tmp_path).removed == ("shop/default-deny.yaml",)
    assert {"shop/api.yaml", "shop/notes.yaml"} <= set(files(tmp_path))


@pytest.mark.parametrize("name", ["web.yaml", "kustomization.yaml"])
def test_a_file_of_others_in_the_way(tmp_path, name):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / name).write_text("kind: Kustomization\nresources: [mine.yaml]\n")
    with pytest.raises(OptionError, match="was not written by netpol-gen"):
        write_tree(TREE, tmp_path)
    assert set(files(tmp_path)) == {f"shop/{name}"}, "something was written before the error"


def test_a_directory_that_leads_away(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "shop").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OptionError, match="symbolic link"):
        write_tree(TREE, tmp_path / "out")
    assert files(tmp_path / "elsewhere") == {}
    assert not (tmp_path / "out" / "backend").exists()


def test_a_file_that_leads_away(tmp_path):
    (tmp_path / "target").write_text("precious")
    (tmp_path / "out" / "shop").mkdir(parents=True)
    (tmp_path / "out" / "shop" / "web.yaml").symlink_to(tmp_path / "target")
    with pytest.raises(OptionError, match="symbolic link"):
        write_tree(TREE, tmp_path / "out")
    assert (tmp_path / "target").read_text() == "precious"


def test_the_directory_itself_may_be_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real")
    assert len(write_tree(TREE, tmp_path / "out")) == len(TREE)


@pytest.mark.parametrize("path", ["../x.yaml", "/etc/x.yaml", "a/../../x.yaml", "a\\b.yaml", "", "a\0b"])
def test_paths_that_lead_away(tmp_path, path):
    with pytest.raises(OptionError, match="leads out"):
        write_tree({path: "x"}, tmp_path)


def test_a_file_where_the_directory_should_be(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(OptionError, match=r"cannot write|in the way"):
        write_tree(TREE, tmp_path / "out")


def test_a_kustomization_listing_paths_is_not_followed(tmp_path):
    write_tree(TREE, tmp_path / "out")
    (tmp_path / "precious.yaml").write_text(TREE["shop/web.yaml"])
    kustomization = tmp_path / "out/shop/kustomization.yaml"
    kustomization.write_text(TREE["shop/kustomization.yaml"] + "- ../../precious.yaml\n")
    assert write_tree(render_tree([policy("web")]), tmp_path / "out").removed == (
        "shop/api.yaml",
        "shop/default-deny.yaml",
    )
    assert (tmp_path / "precious.yaml").exists()


def test_what_stays_from_an_earlier_run_is_listed_and_left(tmp_path):
    write_tree(TREE, tmp_path)
    (tmp_path / "shop" / "web.yaml").write_text("not: ours\n")
    new = [policy("api-2")]
    beside = earlier_files(new, tmp_path)
    assert beside == {"shop": ("api.yaml", "default-deny.yaml")}
    assert write_tree(render_tree(new, beside=beside), tmp_path).removed == ()
    listed = yaml.safe_load((tmp_path / "shop" / "kustomization.yaml").read_text())["resources"]
    assert listed == ["api-2.yaml", "api.yaml", "default-deny.yaml"]
    assert earlier_files(new, tmp_path, {"shop/api"}) == {"shop": ("api-2.yaml", "default-deny.yaml")}
