"""Reading flow logs: files in, one flow table with its ledger out.

`read_flows` is the entry. `sniff` has the table of sources and tells which one wrote a file; `files` opens,
decompresses and cuts; `documents` finds JSON values that are not one per line; `envelopes` takes texts out of what log
shippers put around them; `rows` is what readers write to; `work` shares the input out over processes; `table` and
`merge` put the outcome together. One module per source does the rest.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import BinaryIO

from netpol_gen.config import Config
from netpol_gen.errors import LONGEST_PATH, BadRecordsError, InputError, printable
from netpol_gen.flowtable import BAD, Flows, Ledger
from netpol_gen.handovers import Handovers
from netpol_gen.memory import no_collection
from netpol_gen.readers import canonical, sniff, vpc, vpc_table, work
from netpol_gen.readers.files import Input, expand
from netpol_gen.readers.rows import Window

__all__ = ["read_flows"]


@no_collection()
def read_flows(
    paths: Sequence[str | os.PathLike[str]],
    *,
    source: str = sniff.AUTO,
    config: Config | None = None,
    stdin: BinaryIO | None = None,
    processes: int | None = None,
    aws_format: str | None = None,
    handovers: Handovers | None = None,
) -> Flows:
    """Read flow logs into one table (`flowtable.schema`) with its ledger.

    `paths` are files, directories, globs, or `-` for `stdin` (default: standard input); plain, gzip or zstandard.
    `source` is a name of `sniff.SOURCES`, or `auto`: told for each file from its content. Of `config` only `since`,
    `until`, `strict`, `max_bad` and `max_loss` matter here. `processes` is how many to use, by default one per core
    where the input is large; the result is the same. `aws_format` is the order of fields of AWS records that have no
    header (`version account-id …`). `handovers` are times that rows of a source that knows only addresses do not span.
    Files in directories that are no flow logs are left out and told in the notes, unless `strict`.

    Raises:
        InputError: a path that is not there or not readable.
        NotAFlowLogError: a file that is no flow log at all, or a directory without one.
        BadRecordsError: more bad records than `strict` or `max_bad` allow.
        OptionError: an unknown source, or an object-store URL.

    """
    from netpol_gen.readers import table  # noqa: PLC0415 - numpy and what follows are for reading only

    config = config or Config()
    if source != sniff.AUTO:
        sniff.by_name(source)
    inputs = canonical.without_ledgers(expand(paths, stdin))
    found, left = sniff.sort_out(inputs, source, aws_format, strict=config.strict)
    found += _empty_tables(inputs, {id(item.view.item if item.view else item) for item, _ in found}, left)
    window = Window(config.since, config.until)
    by_rows = [(item, kind) for item, kind in found if kind.table is None]
    jobs, count = work.plan(by_rows, processes)
    partials = work.run(jobs, count, window)
    shares = {job.share: table.Share(job.item.name, job.source) for job in jobs}
    tables = [table.build([shares[number] for number in sorted(shares)], partials)] if by_rows or not found else []
    options = vpc.Options(window, aws_format, processes or 0, handovers or Handovers())
    tables += [
        kind.table([item for item, its in found if its is kind], options)
        for kind in sniff.SOURCES
        if kind.table is not None and any(its is kind for _, its in found)
    ]
    flows = tables[0] if len(tables) == 1 else vpc_table.together(tables)
    for item in inputs:
        if item.name not in left:
            flows.ledger.files.setdefault(item.name, 0)
    _judge(flows.ledger, config)
    return replace(flows, notes=tuple(sorted({*flows.notes, *_left_out(left, len(inputs))}))) if left else flows


_NOTED = 5
"""So many files that were left out are named."""


def _left_out(left: Mapping[str, str], files: int) -> list[str]:
    """Sentences about files that are no flow logs, by name with what they look like."""
    notes = [
        f"{printable(name, LONGEST_PATH)}: no flow log, left out; it looks like {what}"
        for name, what in list(left.items())[:_NOTED]
    ]
    if len(left) > _NOTED:
        notes.append(f"{len(left) - _NOTED} more files are no flow log, left out: {len(left)} of {files}")
    return notes


def _empty_tables(
    inputs: Sequence[Input], known: Collection[int], left: Mapping[str, str]
) -> list[tuple[Input, sniff.Source]]:
    """What is empty is nobody's, unless a ledger beside it says that it is a table without rows."""
    rest = (item for item in inputs if id(item) not in known and item.name not in left)
    return [(item, sniff.by_name(canonical.NAME)) for item in rest if canonical.has_ledger(item)]


def _judge(ledger: Ledger, config: Config) -> None:
    """Raise where there is more bad input, or more loss, than the settings allow."""
    ratio = ledger.bad / ledger.read if ledger.read else 0.0
    if ledger.bad and (config.strict or (config.max_bad is not None and ratio > config.max_bad)):
        allowed = "none allowed by --strict" if config.strict else f"--max-bad is {config.max_bad:g}"
        counts = ", ".join(f"{ledger.set_aside[r]} {r}" for r in sorted(BAD & ledger.set_aside.keys()))
        places = [place for reason in sorted(BAD & ledger.places.keys()) for place in ledger.places[reason]]
        raise BadRecordsError(f"{ledger.bad} of {ledger.read} records are bad ({counts}); {allowed}", places)
    events = ledger.lost + ledger.read
    lost = ledger.lost / events if events else 0.0
    if config.max_loss is not None and lost > config.max_loss:
        where = ", ".join(sorted({node for node, _, _ in ledger.losses if node})) or "a node that is not named"
        raise InputError(
            f"the sources lost {ledger.lost} events beside {ledger.read} records ({lost:.2%}, on {where}); "
            f"--max-loss is {config.max_loss:g}"
        )
