"""What the footers of AWS Parquet files tell: columns, rows, and the time that the records are of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from netpol_gen.readers import aws_fields, aws_ocsf, aws_sql, vpc_lines
from netpol_gen.readers.aws_fields import Kind, Layout
from netpol_gen.readers.files import Input

if TYPE_CHECKING:
    import pyarrow.parquet as pq

Span = tuple[int, int]
"""First and last time, nanoseconds since the epoch; of no records the first is after the last."""


class Footer(NamedTuple):
    """What a footer tells; `span` is None where it does not tell the time of all records."""

    layout: Layout | None
    rows: int
    span: Span | None


class _Known(NamedTuple):
    """What follows from the columns alone; `start` and `end` are the places of those that have times."""

    columns: pq.ParquetSchema
    layout: Layout | None
    start: int | None
    end: int | None


@dataclass(slots=True)
class Footers:
    """Reads footers. A thousand files of one flow log have the same columns: of these each is looked at once."""

    _known: list[_Known] = field(default_factory=list)

    def told(self, item: Input) -> Footer | None:
        """What a file's footer tells; None where it cannot be read."""
        import pyarrow as pa  # noqa: PLC0415 - half a second that other sources need not pay
        import pyarrow.parquet as pq  # noqa: PLC0415

        try:
            with vpc_lines.arrow_file(item.head, item.again) as file:
                facts = pq.read_metadata(file)
            known = self._of(facts.schema)
            return Footer(known.layout, facts.num_rows, _span(facts, known))
        except (pa.ArrowException, OSError):
            return None

    def _of(self, columns: pq.ParquetSchema) -> _Known:
        for known in self._known:
            if known.columns.equals(columns):
                return known
        layout = _layout(columns)
        names = list(columns.names)
        flat = layout if layout is not None and layout.kind is Kind.PARQUET else None
        at = dict(zip(flat.fields, flat.keys, strict=True)) if flat else {}
        start, end = (names.index(key) if names.count(key := at.get(name, "")) == 1 else None for name in _TIMES)
        self._known.append(_Known(columns, layout, start, end))
        return self._known[-1]


_TIMES = ("start", "end")


def _layout(columns: pq.ParquetSchema) -> Layout | None:
    # A name that is there twice has the type of the last, as in a mapping.
    whole = columns.to_arrow_schema()
    fields = {column.name: str(column.type) for column in whole}
    kinds = {
        name: kind for name, kind in fields.items() if aws_fields.canonical(name) and aws_fields.SIMPLE.fullmatch(kind)
    }
    found = aws_fields.of_objects([kinds])
    if found is None:
        return aws_ocsf.of_columns(whole)
    kept = [(name, key) for name, key in zip(found.fields, found.keys, strict=True) if key in kinds]
    keys = tuple(key for _, key in kept)
    return Layout(Kind.PARQUET, tuple(name for name, _ in kept), keys, types=tuple(kinds[key] for key in keys))


def _span(facts: pq.FileMetaData, known: _Known) -> Span | None:
    """The time of all records, if the file's writer noted it: the engine need not read them for it."""
    if known.start is None or known.end is None:
        return None
    found: list[object] = []
    for number in range(facts.num_row_groups):
        group = facts.row_group(number)
        if not group.num_rows:
            continue
        for at in (known.start, known.end):
            noted = group.column(at).statistics
            if noted is None or not noted.has_min_max:
                return None
            found += [noted.min, noted.max]
    return aws_sql.span(found)
