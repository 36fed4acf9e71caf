"""`netpol-gen lint`."""

from __future__ import annotations

import os
import tomllib
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netpol_gen import __version__
from netpol_gen.cli import options as o
from netpol_gen.cli.held import Where, read_held, with_cni
from netpol_gen.cli.output import put, say, say_notes
from netpol_gen.config import Cni
from netpol_gen.errors import CheckFailedError, InputError, OptionError, Place, printable

if TYPE_CHECKING:
    from netpol_gen.lint import LintSettings


class LintFormat(StrEnum):
    """Forms of the findings."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"


class FailOn(StrEnum):
    """The least severity that makes the exit code 1."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    NEVER = "never"


def lint(
    policies: Annotated[
        list[str], typer.Argument(metavar="POLICIES...", help="Manifests: files, directories, or - for stdin.")
    ],
    inventory: o.Inventories = [],
    live: o.Live = False,
    context: o.Context = None,
    kubeconfig: o.Kubeconfig = None,
    flows: Annotated[
        list[str], typer.Option("--flows", metavar="PATH", help="Flow exports, for the rules about use. Repeatable.")
    ] = [],
    output: Annotated[LintFormat, typer.Option("-o", "--output", help="Form of the findings.")] = LintFormat.TEXT,
    out: o.Out = "-",
    fail_on: Annotated[
        FailOn, typer.Option("--fail-on", help="Exit 1 for findings of this severity or worse.")
    ] = FailOn.WARNING,
    severity: Annotated[
        list[str],
        typer.Option("--severity", metavar="RULE=LEVEL", help="NPL003=error; off turns a rule off. Repeatable."),
    ] = [],
    lint_config: Annotated[
        Path | None,
        typer.Option("--lint-config", metavar="FILE", help="Instead of .netpol-gen-lint.toml in this directory."),
    ] = None,
    cni: Annotated[Cni | None, typer.Option("--cni", help="What enforces the policies.")] = None,
    namespace: o.Namespaces = [],
    all_namespaces: o.AllNamespaces = False,
    source: o.Source = "auto",
    aws_format: o.AwsFormat = None,
    since: o.Since = None,
    until: o.Until = None,
    pod_cidr: o.PodCidr = [],
    service_cidr: o.ServiceCidr = [],
    config: o.ConfigFile = None,
    verbose: o.Verbose = False,
) -> None:
    """Look for policies that do less, or more, than their author meant: findings with stable ids and one-line fixes.

    The rules are described in docs/lint.md. Rules that lack an inventory, flows or the CNI are listed as not run.
    """
    settings = o.make_config(
        config,
        cni=cni,
        namespace=namespace,
        all_namespaces=all_namespaces,
        since=since,
        until=until,
        pod_cidr=pod_cidr,
        service_cidr=service_cidr,
    )
    from netpol_gen import api
    from netpol_gen.lint import Material, read_documents, run
    from netpol_gen.manifests import read_manifests
    from netpol_gen.model import Severity
    from netpol_gen.report.lint import lint_json, lint_text, pinpoint
    from netpol_gen.report.sarif import left_out, lint_sarif
    from netpol_gen.report.summary import identity_text

    rules = _settings(config, lint_config, severity)
    where = Where(live, context, kubeconfig)
    held = read_held(inventory, settings, where) if inventory or where != Where() else None
    if held is not None:
        settings = with_cni(settings, held, given=o.names(config, "cni", cni))
    edges = None
    if flows:
        table = api.load_flows(flows, source=source, config=settings, aws_format=aws_format, inventory=held)
        say_notes(table.notes)
        edges = api.find_edges(table, held, settings)
        if notes := identity_text(edges):
            say(notes)
    documents = read_documents(read_manifests(policies))
    report = pinpoint(run(Material(documents, held, edges, settings, rules)), _read_text)
    if output is LintFormat.SARIF:
        put(lint_sarif(report, tool_version=__version__, root=os.getcwd(), scanned=policies), out)  # noqa: PTH109
        if left_out(report):
            say(f"{left_out(report)} findings of the lowest severities are not in the SARIF log")
    else:
        put(lint_json(report) if output is LintFormat.JSON else lint_text(report, verbose=verbose), out)
    if fail_on is not FailOn.NEVER and (found := report.at_least(Severity(fail_on))):
        raise CheckFailedError(f"{len(found)} findings at or above {fail_on}")


def _settings(config: Path | None, file: Path | None, severity: list[str]) -> LintSettings:
    """The `[lint]` table of the general file, then the file for lint, then options: each wins over the one before."""
    from netpol_gen.lint import FILE_NAME, RULE_IDS, LintSettings, merge, parse_settings

    settings = LintSettings()
    if config is not None:
        table = _toml(config).get("lint", {})
        settings = merge(settings, parse_settings(table, f"{config}: lint", RULE_IDS))
    if file is not None or Path(FILE_NAME).is_file():
        path = file or Path(FILE_NAME)
        settings = merge(settings, parse_settings(_toml(path), str(path), RULE_IDS))
    pairs = dict(item.partition("=")[::2] for item in severity)
    return merge(settings, parse_settings({"severity": pairs}, "--severity", RULE_IDS))


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", Place(str(path))) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"{path}: is no TOML: {printable(error)}") from None


def _read_text(path: str) -> str | None:
    """A manifest's text once more, for the line numbers; packed files and standard input keep the document's line."""
    try:
        return None if path == "-" else Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None
