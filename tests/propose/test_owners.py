"""CODEOWNERS as the forges read it: the documentation of GitHub and of GitLab says what each line here says."""

from __future__ import annotations

import pytest

from netpol_gen.owners import owners_of, parse_codeowners, read_codeowners


@pytest.mark.parametrize(
    ("pattern", "owned", "others"),
    [
        ("*", ["a", "b/c.yaml"], []),
        ("*.yaml", ["a.yaml", "b/c.yaml"], ["a.yml"]),
        ("/a.yaml", ["a.yaml"], ["b/a.yaml"]),
        ("docs/*", ["docs/a"], ["docs/b/c", "x/docs/a"]),
        ("docs/", ["docs/a", "docs/b/c", "x/docs/a"], ["docs"]),
        ("/docs/", ["docs/a", "docs/b/c"], ["x/docs/a"]),
        ("apps", ["apps", "apps/x", "y/apps/x"], ["apps2"]),
        ("/k8s/**/np.yaml", ["k8s/np.yaml", "k8s/a/b/np.yaml"], ["np.yaml"]),
        ("**/logs", ["logs", "a/logs", "a/logs/b"], ["alogs"]),
        ("a/**", ["a/b", "a/b/c"], ["b/a/c"]),
        ("with\\ blank.yaml", ["with blank.yaml"], ["with"]),
        ("a?.yaml", ["ab.yaml"], ["a/.yaml", "abc.yaml"]),
    ],
)
def test_patterns(pattern, owned, others):
    rules = parse_codeowners(f"{pattern} @team\n")
    assert [p for p in owned if owners_of(rules, p) != ("@team",)] == []
    assert [p for p in others if owners_of(rules, p)] == []


def test_the_last_line_that_matches_speaks_also_when_it_names_nobody():
    rules = parse_codeowners("* @all\n/k8s/ @net net@example.com # not me@example.com\n/k8s/open/\n")
    assert owners_of(rules, "README.md") == ("@all",)
    assert owners_of(rules, "k8s/a.yaml") == ("@net", "net@example.com")
    assert owners_of(rules, "k8s/open/a.yaml") == ()


def test_sections_of_gitlab_each_have_a_say():
    rules = parse_codeowners("* @all\n[Network] @net\n/k8s/\n^[Docs][2]\n*.md @docs\n")
    assert owners_of(rules, "k8s/a.yaml") == ("@all", "@net")
    assert owners_of(rules, "k8s/a.md") == ("@all", "@net", "@docs")


def test_the_first_place_that_a_forge_looks_at_counts():
    files = {"docs/CODEOWNERS": b"* @docs\n", ".github/CODEOWNERS": b"* @github\n"}
    assert owners_of(read_codeowners(files), "a") == ("@github",)
    assert read_codeowners({}) == ()


@pytest.mark.parametrize("line", ["\\", "\\ @x", "/ @x", "[", "[] @x", "^[a", "!", "@x"])
def test_a_line_that_says_nothing_is_skipped(line):
    assert owners_of(parse_codeowners(f"* @all\n{line}\n"), "k8s/a.yaml") == ("@all",)
