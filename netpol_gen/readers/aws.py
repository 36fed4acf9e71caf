"""AWS VPC flow logs: text with and without header, CloudWatch exports, Parquet, CSV and JSON re-exports.

Pods on EKS have secondary addresses of an interface: they are in `pkt-srcaddr` and `pkt-dstaddr` only, which come
before `srcaddr` and `dstaddr` wherever a format has them. A REJECT is the verdict of a security group or network ACL.
"""

# Queries are put together from our own constants, numbers and quoted names, never from what a file says.
# ruff: noqa: S608

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from netpol_gen.errors import InputError, NotAFlowLogError, Place, utf8
from netpol_gen.flowtable import Flows, Reason
from netpol_gen.model import DirectionEvidence
from netpol_gen.readers import (
    aws_fields,
    aws_insights,
    aws_ocsf,
    aws_sql,
    aws_wrapped,
    vpc,
    vpc_json,
    vpc_lines,
    vpc_periods,
    vpc_table,
)
from netpol_gen.readers.aws_fields import DEFAULT, Kind, Layout
from netpol_gen.readers.aws_notes import Fields
from netpol_gen.readers.aws_parquet import Footers, Span
from netpol_gen.readers.aws_text import Text, schema
from netpol_gen.readers.aws_words import explain
from netpol_gen.readers.files import PARQUET, Input

NAME = "aws-vpc"
SOURCE = vpc_table.Source(NAME, str(DirectionEvidence.SYN), "REJECT", "SKIPDATA")
_LINES = (Kind.TEXT, Kind.CSV)
_FIRST = 20
"""So many lines are looked at: the very first may be damaged."""
_FILES = (Kind.PARQUET, Kind.OCSF_PARQUET)
"""What the engine reads itself, as often as it is asked."""
_TEXT = Layout(Kind.TEXT, (*aws_sql.NUMBERS, *aws_sql.TEXTS))
"""Text in any order of fields, once `aws_text` has put them in columns."""


class Plan(NamedTuple):
    """One input, by its number, and how its records lie."""

    number: int
    item: Input
    layout: Layout
    rows: int = 0
    """For Parquet: how many there are."""
    told: Span | None = None
    """The time that they are of, where a Parquet footer tells."""


def looks_like(head: bytes, path: str = "") -> bool:
    """Whether a file with this beginning holds such records."""
    if head.startswith(PARQUET):
        names = vpc_lines.footer(head, path)
        flat = (b"srcaddr" in names and b"dstaddr" in names) or b"sourceaddress" in names
        return flat or all(mark in names for mark in aws_ocsf.MARKS)
    return _layout(head, None) is not None


def fits(head: bytes, aws_format: str) -> bool:
    """Whether one of the first lines has as many fields as the user's format.

    Raises:
        OptionError: the format names no fields.

    """
    order = aws_fields.given(aws_format)
    layout = _layout(head, order)
    if layout is None:
        return False
    lines = (vpc_lines.tidy(line) for line in head.removeprefix(b"\xef\xbb\xbf").lstrip().split(b"\n")[:_FIRST])
    return layout.kind in (Kind.WRAPPED, Kind.COLUMN) or any(_is_whole(line, layout) for line in lines)


def read(items: Sequence[Input], options: vpc.Options) -> Flows:
    """Read all inputs of this source into one table.

    Raises:
        InputError: a file that cannot be read, or whose field order is not known.
        OptionError: `aws_format` names no fields.

    """
    order = aws_fields.given(options.aws_format) if options.aws_format else None
    names = [item.name for item in items]
    account = vpc_table.Account()
    footers = Footers()
    with vpc.Engine(threads=options.threads) as engine:
        made = (_plan(number, item, order, account, footers) for number, item in enumerate(items))
        plans = [plan for plan in made if plan is not None]
        offered = _Offer(engine, account, options.threads or 2)
        groups: dict[Layout, list[Plan]] = {}
        for plan in plans:
            groups.setdefault(_TEXT if plan.layout.kind in _LINES else plan.layout, []).append(plan)
        relations = [each for layout, group in groups.items() for each in offered.relations(layout, group)]
        queries = [aws_sql.records(layout, relation, options.window) for layout, relation in relations]
        records, layouts = vpc.union(queries), {plan.layout for plan in plans}
        layouts |= {layout for layout, _ in relations if layout.kind is Kind.WRAPPED}
        # Files can be read twice, lines are a stream.
        once = any(layout.kind not in _FILES for layout in groups)
        handovers = options.handovers
        if once:
            handovers = vpc_periods.relevant(handovers, (item.head for item in items if item.head))
        elif queries:
            handovers = vpc_periods.measured(engine, records, handovers, [plan.told for plan in plans])
        folded = vpc_periods.fold(engine, records, aws_sql.MEANING, handovers, places=once)
        result = engine.query(folded) if queries else iter(())
        table = vpc_table.gather(result, SOURCE, names, account, lambda text: explain(text, layouts))
        if account.unplaced and not once:
            vpc_table.place(engine.query(vpc.places_sql(records)), account)
    return vpc_table.finish(table, account, SOURCE, names, offered.fields.notes())


# --- layouts ----------------------------------------------------------------------------------------------------------


def _plan(
    number: int, item: Input, order: tuple[str, ...] | None, account: vpc_table.Account, footers: Footers
) -> Plan | None:
    rows, span = 0, None
    if not item.head.strip():
        return None
    if item.head.startswith(PARQUET):
        told = None if item.damage else footers.told(item)
        if told is None:
            account.met(number, 1)
            spot = vpc_table.Spot(number << vpc.PLACE_BITS | 1, item.damage or "damaged Parquet file")
            account.aside(Reason.MALFORMED, 1, [spot])
            return None
        layout, rows, span = told
    else:
        layout = _layout(item.head, order)
        if layout is None and _wraps(item.head):
            layout = Layout(Kind.WRAPPED, order or tuple(DEFAULT), headed=False)
    if layout is None:
        raise NotAFlowLogError(
            "no header, and not the default fields of an AWS flow log; give their order with --aws-format",
            Place(item.name),
        )
    return Plan(number, item, layout, rows, span)


def _layout(head: bytes, order: tuple[str, ...] | None) -> Layout | None:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] in (b"{", b"["):
        values = vpc_json.first_objects(text)
        if found := aws_fields.of_objects(values) or aws_ocsf.of_objects(values):
            return found
        lines = [line for value in values for line in aws_fields.messages(value) or ()]
        inner = [found for line in lines[:50] if (found := aws_fields.of_text(line.encode(errors="replace"), order))]
        wrapped = next((found for found in inner if found.kind is Kind.TEXT), None)
        return Layout(Kind.WRAPPED, wrapped.fields, headed=wrapped.headed) if wrapped else None
    return _of_lines(text, order)


def _of_lines(text: bytes, order: tuple[str, ...] | None) -> Layout | None:
    """The layout of text or CSV by its first lines, of which some may be damaged."""
    lines = (tidy for line in text.split(b"\n", _FIRST)[:_FIRST] if (tidy := vpc_lines.tidy(line)))
    possible = None
    for number, line in enumerate(lines):
        if number == 0 and aws_insights.column(line) >= 0 and not aws_fields.header(line, Kind.CSV):
            cells = (aws_fields.of_text(vpc_lines.tidy(each), order) for each in aws_insights.messages(text))
            first = next((each for each in cells if each is not None and each.kind is Kind.TEXT), None)
            return Layout(Kind.COLUMN, first.fields, headed=first.headed) if first else None
        layout = aws_fields.of_text(line, order)
        if layout is not None and (layout.headed or _is_whole(line, layout)):
            return layout
        possible = possible or layout
    return possible


def _is_whole(line: bytes, layout: Layout) -> bool:
    return line.count(b"," if layout.kind is Kind.CSV else b" ") + 1 == len(layout.fields)


def _wraps(head: bytes) -> bool:
    text = head.lstrip()
    return text[:1] in (b"{", b"[") and any(
        aws_fields.messages(value) is not None for value in vpc_json.first_objects(text)
    )


# --- relations --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Offer:
    """Gives the engine the lines, or the files, of each layout, and counts the records on the way."""

    engine: vpc.Engine
    account: vpc_table.Account
    threads: int
    fields: Fields = field(default_factory=Fields)
    names: int = 0

    def relations(self, layout: Layout, plans: Sequence[Plan]) -> list[tuple[Layout, str]]:
        """SQL for relations with the records of all `plans`, which begin with one layout or are all lines."""
        self.names += 1
        name = f"input_{self.names}"
        relation = self._relation(name, layout, plans)
        return (
            aws_wrapped.by_order(self.engine, relation, layout) if layout.kind is Kind.WRAPPED else [(layout, relation)]
        )

    def _relation(self, name: str, layout: Layout, plans: Sequence[Plan]) -> str:
        if layout is _TEXT:
            columns = schema(aws_sql.NUMBERS, aws_sql.TEXTS)
            text = Text(self.account, columns, self.fields, self.threads)
            self.engine.stream(name, columns, text.batches((p.number, p.item, p.layout) for p in plans))
            return name
        if layout.kind is not Kind.JSON:
            for plan in plans:
                self.fields.met(plan.number, layout)
        if layout.kind in _FILES:
            return self._parquet(name, plans)
        files = [(plan.number, plan.item) for plan in plans]
        if layout.kind is Kind.COLUMN:
            self.engine.stream(name, vpc_lines.schema(), aws_insights.batches(files, self.account))
            return name
        wrapped = layout.kind is Kind.WRAPPED
        lines = vpc_json.Json(self.account, count=not wrapped).batches(files)
        lines = self.fields.objects(lines, layout) if layout.kind is Kind.JSON else lines
        self.engine.stream(name, vpc_lines.schema(), lines)
        return aws_wrapped.unpack(self.engine, self.account, name) if wrapped else name

    def _parquet(self, name: str, plans: Sequence[Plan]) -> str:
        """Files are read by the engine itself; pipes, and paths that it would not find, through Arrow."""
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.parquet as pq  # noqa: PLC0415

        wanted = ", ".join(f'"{key}"' for key in plans[0].layout.keys)
        plain, paths, parts = [], [], []
        for plan in plans:
            if path := _for_engine(plan.item.again):
                plain.append(plan)
                paths.append(path)
                self.account.met(plan.number, plan.rows)
                continue
            try:
                with vpc_lines.arrow_file(plan.item.head, plan.item.again) as file:
                    table = pq.read_table(file, columns=list(plan.layout.keys))
            except (pa.ArrowException, OSError) as error:
                raise InputError(f"damaged Parquet file: {vpc.first_line(error)}", Place(plan.item.name)) from None
            self.account.met(plan.number, table.num_rows)
            places = np.arange(1, table.num_rows + 1) + (plan.number << vpc.PLACE_BITS)
            self.engine.table(f"{name}_{plan.number}", table.append_column("place", pa.array(places)))
            parts.append(f"SELECT {wanted}, place FROM {name}_{plan.number}")
        if plain:
            self.engine.suspects += [plan.item for plan in plain]
            # Names cannot be parameters within a larger query; a quote is doubled, and nothing else is special.
            quoted = ", ".join("'" + path.replace("'", "''") + "'" for path in paths)
            parts.append(
                f"SELECT {wanted}, ({_numbers(plain)} << {vpc.PLACE_BITS}) + file_row_number + 1 AS place "
                f"FROM read_parquet([{quoted}], hive_partitioning = false)"
            )
        return f"({' UNION ALL '.join(parts)})"


def _numbers(plans: Sequence[Plan]) -> str:
    """SQL for the number of the file that a row is from. Most often they follow on each other: no list is looked at."""
    numbers = [plan.number for plan in plans]
    if numbers == list(range(numbers[0], numbers[0] + len(numbers))):
        return f"(file_index::BIGINT + {numbers[0]})"
    return f"([{', '.join(map(str, numbers))}][file_index::BIGINT + 1])::BIGINT"


def _for_engine(path: str) -> str:
    """The path as the engine finds the file by it; empty where it would take any path for something else."""
    if _ELSEWHERE.match(path):
        path = os.path.join(os.getcwd(), path)  # noqa: PTH109, PTH118 - a `..` behind a link must stay
    return "" if _PATTERN.search(path) or utf8(path) != path else path


_ELSEWHERE = re.compile(r"~|\w+:")
"""How paths begin that the engine looks for in a home directory or a store of objects."""
_PATTERN = re.compile(r"[*?\[\]{}\\]")
