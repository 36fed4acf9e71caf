"""The shape of the code, checked on its syntax trees and, for `--help`, on a running process.

Every rule is a function from a tree of sources to the places that break it, so that each can be shown to fire on a
small bad tree: a rule that never fires checks nothing.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "netpol_gen"
MAX_LINES = 450


@dataclass(frozen=True, slots=True)
class Layer:
    """A row of the table in docs/adr/0005: what belongs to it, what lies below it, what it may take from outside."""

    name: str
    modules: frozenset[str]
    below: frozenset[str]
    third_party: frozenset[str]


def layer(name: str, modules: str, below: str, third_party: str) -> Layer:
    return Layer(name, *(frozenset(words.split()) for words in (modules, below, third_party)))


# A name stands for the module or the package and all in it. `netpol_gen/__init__.py` offers what `api` offers, and so
# belongs to its layer.
# Writing and judging are siblings, neither below the other: the judge is not the author.
LAYERS: tuple[Layer, ...] = (
    layer("ground", "errors model sets selectors policy config tiers labels", "", "numpy"),
    layer(
        "reading",
        "readers flowtable flowio handovers manifests codes memory",
        "ground",
        "numpy pandas pyarrow msgspec isal zstandard duckdb yaml",
    ),
    layer(
        "knowing",
        "accept behind edges evidence store owners lines resolve parties direction identity inventory profiles "
        "smallest",
        "ground reading",
        "numpy pandas pyarrow msgspec yaml",
    ),
    layer("writing", "synthesize", "ground reading knowing", "numpy"),
    layer(
        "judging",
        "evaluate verify diff lint explain coverage connectivity ports",
        "ground reading knowing",
        "numpy pandas",
    ),
    # The only place where what was written and what was judged meet, as values.
    layer("planning", "plan proposal", "ground reading knowing writing judging", "pandas"),
    layer(
        "showing",
        "report emit plots",
        "ground reading knowing writing judging planning",
        "jinja2 markupsafe yaml numpy matplotlib",
    ),
    layer(
        "whole",
        "pipeline api judged propose",
        "ground reading knowing writing judging planning showing",
        "numpy pandas pyarrow",
    ),
    layer("outside", "cluster", "ground reading knowing", "kubernetes urllib3 yaml"),
    # It carries out what it is handed, and needs no more than values for that.
    layer("hands", "prbot", "ground", "github gitlab jwt requests urllib3"),
    layer(
        "faces",
        "cli __main__",
        "ground reading knowing writing judging planning showing whole outside hands",
        "typer",
    ),
)
ROOT_LAYER = "whole"

# What a reader of the repository expects to find at its top, besides what .gitignore names.
TOP_LEVEL = frozenset(
    {
        ".ci",
        ".gitignore",
        "action-constraints.txt",
        "action.yml",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "LICENSE",
        "Makefile",
        "README.md",
        "docs",
        "hatch_build.py",
        "netpol_gen",
        "notebooks",
        "pyproject.toml",
        "sample-flows",
        "templates",
        "tests",
    }
)

# Each of these takes longer to import than most runs take: they are imported by the call that needs them.
HEAVY = ("pandas", "pyarrow", "kubernetes", "github", "gitlab")


# --- reading the tree -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module, `target` absolute; `at_start` when importing the importer imports it too."""

    importer: str
    target: str
    line: int
    at_start: bool


@dataclass(frozen=True, slots=True)
class Tree:
    """Sources by dotted module name; a package goes by its own name and is listed in `packages`."""

    sources: Mapping[str, str]
    packages: frozenset[str] = frozenset({PACKAGE})
    parsed: dict[str, ast.Module] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.parsed.update({name: ast.parse(source) for name, source in self.sources.items()})


def real_tree() -> Tree:
    sources: dict[str, str] = {}
    packages: set[str] = set()
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
            packages.add(".".join(parts))
        sources[".".join(parts)] = path.read_text(encoding="utf-8")
    return Tree(sources, frozenset(packages))


def is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def statements(body: list[ast.stmt], *, at_start: bool = True) -> Iterator[tuple[ast.stmt, bool]]:
    """Every statement, and whether it runs when the module is imported."""
    for node in body:
        yield node, at_start
        inside = at_start and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for name in ("body", "orelse", "finalbody"):
            inner = getattr(node, name, [])
            types_only = name == "body" and isinstance(node, ast.If) and is_type_checking(node.test)
            yield from statements(inner, at_start=inside and not types_only)
        for handler in getattr(node, "handlers", []):
            yield from statements(handler.body, at_start=inside)
        for case in getattr(node, "cases", []):
            yield from statements(case.body, at_start=inside)


def imports(tree: Tree) -> Iterator[Import]:
    for importer, module in tree.parsed.items():
        for node, at_start in statements(module.body):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(importer, alias.name, node.lineno, at_start)
            elif isinstance(node, ast.ImportFrom):
                base = absolute(importer, node, tree.packages)
                for alias in node.names:
                    # `from netpol_gen import sets` imports the module netpol_gen.sets, not what __init__ offers.
                    submodule = f"{base}.{alias.name}"
                    yield Import(importer, submodule if submodule in tree.sources else base, node.lineno, at_start)


def absolute(importer: str, node: ast.ImportFrom, packages: frozenset[str]) -> str:
    if not node.level:
        return node.module or ""
    parts = importer.split(".")
    base = parts[: len(parts) - node.level + (importer in packages)]
    return ".".join([*base, *([node.module] if node.module else [])])


def layers_of(module: str) -> list[Layer]:
    """The layers that claim a module of the package: one, if all is well."""
    _, _, inner = module.partition(".")
    head = inner.partition(".")[0]
    if not head:
        return [each for each in LAYERS if each.name == ROOT_LAYER]
    return [each for each in LAYERS if head in each.modules]


def ours(name: str) -> bool:
    return name == PACKAGE or name.startswith(PACKAGE + ".")


# --- the rules --------------------------------------------------------------------------------------------------------


def in_one_layer(tree: Tree) -> list[str]:
    return [
        f"{name}: in {len(found)} layers: {', '.join(each.name for each in found) or 'add it to the table'}"
        for name in tree.sources
        if len(found := layers_of(name)) != 1
    ]


def imports_go_down(tree: Tree) -> list[str]:
    broken = []
    for each in imports(tree):
        if not ours(each.target):
            continue
        for importer in layers_of(each.importer):
            for target in layers_of(each.target):
                if target.name not in importer.below | {importer.name}:
                    place = f"{each.importer}:{each.line}"
                    broken.append(f"{place}: {importer.name} imports {each.target}, which is {target.name}")
    return broken


def third_party_as_listed(tree: Tree) -> list[str]:
    broken = []
    for each in imports(tree):
        distribution = each.target.partition(".")[0]
        if ours(each.target) or distribution in sys.stdlib_module_names:
            continue
        broken.extend(
            f"{each.importer}:{each.line}: {importer.name} imports {distribution}"
            for importer in layers_of(each.importer)
            if distribution not in importer.third_party
        )
    return broken


def no_cycles(tree: Tree) -> list[str]:
    """Cycles of imports that run at import; one inside a function or for types only is no cycle.

    A package counts as importing nothing by being the parent of what is imported, only by its own statements.
    """
    graph: dict[str, set[str]] = {name: set() for name in tree.sources}
    for each in imports(tree):
        if each.at_start and each.target in graph and each.target != each.importer:
            graph[each.importer].add(each.target)
    # What is left after taking away, again and again, every module that imports nothing that is left.
    while free := {name for name, targets in graph.items() if not targets}:
        graph = {name: targets - free for name, targets in graph.items() if name not in free}
    on_a_cycle = {name for name in graph if name in reachable(graph, name)}
    return [
        f"{name}: on an import cycle with {', '.join(sorted(graph[name] & on_a_cycle))}" for name in sorted(on_a_cycle)
    ]


def reachable(graph: Mapping[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    todo = list(graph[start])
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo.extend(graph.get(name, ()))
    return seen


def not_too_long(tree: Tree) -> list[str]:
    return [
        f"{name}: {lines} lines, more than {MAX_LINES}"
        for name, source in tree.sources.items()
        if (lines := source.count("\n")) > MAX_LINES
    ]


def no_blanket_except(tree: Tree) -> list[str]:
    """No handler for everything, unless it ends by raising the same again after cleaning up; no suppress(Exception)."""
    broken = []
    for name, module in tree.parsed.items():
        for node in ast.walk(module):
            if isinstance(node, ast.ExceptHandler):
                last = node.body[-1]
                raises_again = isinstance(last, ast.Raise) and last.exc is None
                blanket = node.type is None or any(map(is_everything, alternatives(node.type)))
                if blanket and not raises_again:
                    broken.append(f"{name}:{node.lineno}: catches everything")
            elif isinstance(node, ast.Call) and suppresses(node) and any(map(is_everything, node.args)):
                broken.append(f"{name}:{node.lineno}: suppresses everything")
    return broken


def suppresses(node: ast.Call) -> bool:
    return ast.unparse(node.func).rpartition(".")[2] == "suppress"


def alternatives(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple) else [node]


def is_everything(node: ast.expr) -> bool:
    return ast.unparse(node).rpartition(".")[2] in {"Exception", "BaseException"}


def no_environment(tree: Tree) -> list[str]:
    """The environment is an input like any other: the command line reads it and passes it on."""
    names = {"environ", "environb", "getenv", "getenvb"}
    broken = []
    for name, module in tree.parsed.items():
        if name.startswith(f"{PACKAGE}.cli"):
            continue
        for node in ast.walk(module):
            attribute = isinstance(node, ast.Attribute) and node.attr in names and ast.unparse(node.value) == "os"
            imported = isinstance(node, ast.ImportFrom) and node.module == "os" and {a.name for a in node.names} & names
            if attribute or imported:
                broken.append(f"{name}:{node.lineno}: reads the environment")
    return broken


def unexpected_at_top(entries: set[str], ignored: set[str]) -> list[str]:
    return sorted(entries - TOP_LEVEL - ignored - {".git"})


RULES = (
    in_one_layer,
    imports_go_down,
    third_party_as_listed,
    no_cycles,
    not_too_long,
    no_blanket_except,
    no_environment,
)


# --- the package keeps them -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_package_keeps(rule):
    tree = real_tree()
    assert len(tree.sources) > 1, "no sources found"
    assert rule(tree) == []


def test_every_name_is_in_one_row_of_the_table():
    names = [name for each in LAYERS for name in each.modules]
    assert len(names) == len(set(names))


def test_the_table_has_no_layer_above_itself():
    done: set[str] = set()
    for each in LAYERS:
        assert each.below <= done, f"{each.name} lists a layer that comes after it"
        done.add(each.name)


def test_top_level_of_the_repository():
    ignored = {line.rstrip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()}
    assert unexpected_at_top({path.name for path in ROOT.iterdir()}, ignored) == []


def heavy_imports(program: str) -> set[str]:
    """Which heavy libraries a Python program has imported by its end, in a process of its own."""
    report = f"print('\\nHEAVY', *sorted(set({HEAVY!r}) & set(sys.modules)))"
    source = f"import sys\ntry:\n    {program}\nexcept SystemExit as end:\n    assert not end.code\n{report}\n"
    ran = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr
    return set(ran.stdout.splitlines()[-1].split()[1:])


def test_help_imports_nothing_heavy():
    assert heavy_imports("sys.argv = ['netpol-gen', '--help']; from netpol_gen.cli.main import main; main()") == set()


def test_importing_the_package_imports_nothing_heavy():
    assert heavy_imports("import netpol_gen") == set()


# --- and each rule fires ----------------------------------------------------------------------------------------------

BAD: dict[str, tuple[object, dict[str, str], str]] = {
    "a module of no layer": (in_one_layer, {"utils": ""}, "netpol_gen.utils: in 0 layers"),
    "ground imports reading": (
        imports_go_down,
        {"sets": "from netpol_gen import flowtable\n", "flowtable": ""},
        "netpol_gen.sets:1: ground imports netpol_gen.flowtable",
    ),
    "the judge imports the author": (
        imports_go_down,
        {"evaluate.pods": "from netpol_gen.synthesize import build\n", "synthesize": ""},
        "netpol_gen.evaluate.pods:1: judging imports netpol_gen.synthesize",
    ),
    "the author imports the judge, in a function": (
        imports_go_down,
        {"synthesize": "def check():\n    import netpol_gen.verify\n", "verify": ""},
        "netpol_gen.synthesize:2: writing imports netpol_gen.verify",
    ),
    "for types only is an import all the same": (
        imports_go_down,
        {"errors": "if TYPE_CHECKING:\n    from .edges import Edge\n", "edges": ""},
        "netpol_gen.errors:2: ground imports netpol_gen.edges",
    ),
    "a relative import": (
        imports_go_down,
        {"readers": "", "readers.hubble": "from ..edges import Edge\n", "edges": ""},
        "netpol_gen.readers.hubble:1: reading imports netpol_gen.edges",
    ),
    "what __init__ offers": (
        imports_go_down,
        {"": "", "edges": "from netpol_gen import read_flows\n"},
        "netpol_gen.edges:1: knowing imports netpol_gen,",
    ),
    "the pipeline talks to a cluster": (
        imports_go_down,
        {"pipeline": "import netpol_gen.cluster\n", "cluster": ""},
        "netpol_gen.pipeline:1: whole imports netpol_gen.cluster",
    ),
    "a data frame in the writer": (
        third_party_as_listed,
        {"synthesize": "import pandas as pd\n"},
        "netpol_gen.synthesize:1: writing imports pandas",
    ),
    "the kubernetes client in a face": (
        third_party_as_listed,
        {"cli.snapshot": "def run():\n    from kubernetes.client import ApiClient\n"},
        "netpol_gen.cli.snapshot:2: faces imports kubernetes",
    ),
    "arrow in the ground": (
        third_party_as_listed,
        {"sets": "try:\n    import pyarrow.compute\nexcept ImportError:\n    pass\n"},
        "netpol_gen.sets:2: ground imports pyarrow",
    ),
    "a cycle": (
        no_cycles,
        {"model": "import netpol_gen.sets\n", "sets": "from . import policy\n", "policy": "from .model import X\n"},
        "netpol_gen.model: on an import cycle with netpol_gen.sets",
    ),
    "451 lines": (not_too_long, {"sets": "\n" * 451}, "netpol_gen.sets: 451 lines"),
    "except Exception": (
        no_blanket_except,
        {"lint": "try:\n    x\nexcept (ValueError, Exception):\n    raise ValueError from None\n"},
        "netpol_gen.lint:3: catches everything",
    ),
    "a bare except": (no_blanket_except, {"lint": "try:\n    x\nexcept:\n    pass\n"}, "netpol_gen.lint:3"),
    "except BaseException": (
        no_blanket_except,
        {"lint": "try:\n    x\nexcept builtins.BaseException as e:\n    print(e)\n"},
        "netpol_gen.lint:3",
    ),
    "suppress(Exception)": (
        no_blanket_except,
        {"lint": "with contextlib.suppress(OSError, Exception):\n    x\n"},
        "netpol_gen.lint:1: suppresses everything",
    ),
    "os.environ": (no_environment, {"api": "import os\nx = os.environ['HOME']\n"}, "netpol_gen.api:2"),
    "os.getenv": (no_environment, {"api": "import os\nx = os.getenv('HOME')\n"}, "netpol_gen.api:2"),
    "from os import environ": (no_environment, {"config": "from os import environ as e\n"}, "netpol_gen.config:1"),
}


def synthetic(modules: Mapping[str, str]) -> Tree:
    named = {f"{PACKAGE}.{name}" if name else PACKAGE: source for name, source in modules.items()}
    return Tree(named, frozenset({PACKAGE, f"{PACKAGE}.readers"}))


@pytest.mark.parametrize(("rule", "modules", "message"), BAD.values(), ids=BAD.keys())
def test_rule_fires(rule, modules, message):
    found = rule(synthetic(modules))
    assert found
    assert found[0].startswith(message)


def test_every_rule_is_shown_to_fire():
    assert {rule for rule, _, _ in BAD.values()} == set(RULES)


GOOD = {
    "": "def __getattr__(name):\n    from netpol_gen import api\n    return getattr(api, name)\n",
    "errors": "",
    "sets": "import numpy as np\nfrom netpol_gen.errors import X\n",
    "evaluate": "from . import sets\n",
    "emit": "import jinja2\nfrom netpol_gen import evaluate\n",
    # Neither is a cycle: one import is for types only, the other waits for a call.
    "model": "if TYPE_CHECKING:\n    from netpol_gen.policy import Policy\n",
    "policy": "from netpol_gen.model import X\n",
    "api": "def frame():\n    import pandas\n    import netpol_gen\n",
    "cli.main": "import os\nimport typer\nhome = os.environ['HOME']\n",
    "cluster": "try:\n    x\nexcept BaseException:\n    close()\n    raise\n",
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_is_quiet_on_good_code(rule):
    assert rule(synthetic(GOOD)) == []


def test_top_level_rule_fires():
    assert unexpected_at_top({"README.md", ".git", "build", "scratch.py"}, {"build"}) == ["scratch.py"]


@pytest.mark.parametrize("library", HEAVY)
def test_heavy_import_is_seen(library):
    assert library in heavy_imports(f"import {library}; raise SystemExit(0)")
