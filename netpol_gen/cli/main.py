"""The entry point: the application, its commands, and what happens when something goes wrong."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from netpol_gen import __version__
from netpol_gen.cli import coverage, flows, generate, judge, lint, ports, propose, report, review, snapshot
from netpol_gen.cli.output import say
from netpol_gen.errors import NetpolGenError, printable, printable_path

app = typer.Typer(
    name="netpol-gen",
    help=(
        "From the traffic a Kubernetes cluster really carries to network policies that people dare to enforce. "
        "Nothing here ever writes to a cluster."
    ),
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"netpol-gen {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    """Take options that stand before the command."""


app.command("generate")(generate.generate)
app.command("edges")(flows.edges)
app.command("flows")(flows.flows)
app.command("verify")(judge.verify)
app.command("explain")(judge.explain)
app.command("list")(judge.list_connections)
app.command("diff")(judge.diff)
app.command("coverage")(coverage.coverage)
app.command("lint")(lint.lint)
app.command("ports")(ports.ports)
app.command("report")(report.report)
app.command("propose")(propose.propose)
app.command("review")(review.review)
app.command("snapshot")(snapshot.snapshot)


def main() -> None:
    """Run the command line and leave with its exit code: 0 done, 1 found something, 2 bad input, 3 remote trouble."""
    # numpy starts a thread for each core, each of which takes time and memory, for algebra that nothing here does.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        code = app(standalone_mode=False)
    except NetpolGenError as error:
        say(f"netpol-gen: {error}")
        sys.exit(error.exit_code)
    except typer.Abort:
        sys.exit(130)
    except typer.TyperException as error:
        # A wrong argument may hold terminal escapes, and typer shows it as it is.
        say(f"netpol-gen: {printable(error.format_message(), 1000)}")
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of a pipe (`head`) has gone: nothing to say, and nowhere to say it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        say(f"netpol-gen: {printable_path(error.filename or '-', 400)}: {error.strerror or error}")
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
