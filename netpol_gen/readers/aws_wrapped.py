"""AWS records as texts within JSON objects: of log shippers, CloudWatch exports, subscriptions and queries.

Whoever ships lines of files ships their headers, too: the order of fields may change at any of them.
"""

# Queries are put together from our own constants and numbers, never from what a file says.
# ruff: noqa: S608

from __future__ import annotations

from functools import lru_cache

import numpy as np

from netpol_gen.errors import InputError
from netpol_gen.readers import aws_fields, vpc_json
from netpol_gen.readers.aws_fields import Kind, Layout
from netpol_gen.readers.columns import array
from netpol_gen.readers.vpc import PLACE_BITS, Engine
from netpol_gen.readers.vpc_table import Account

_MOST_ORDERS = 64
"""A query is made for each."""


def unpack(engine: Engine, account: Account, name: str) -> str:
    """A table of the texts in the objects `name`, which are counted: `line`, `place`, and what tells them apart.

    Several objects may stand on one line: `nr` is the number of the object, `nth` that of the text within it.
    """
    return vpc_json.unpack(engine, account, f"{name}_lines", _UNWRAP.format(name=name, texts=f"{_EVENTS}, {_TEXTS}"))


def by_order(engine: Engine, lines: str, layout: Layout) -> list[tuple[Layout, str]]:
    """Relations with the lines of each order of fields; at the beginning of a file that is the order of `layout`.

    Raises:
        InputError: there are too many orders.

    """
    import pyarrow as pa  # noqa: PLC0415 - half a second that other sources need not pay

    nrs, nths, numbers, orders = _changes(engine, lines, layout)
    if len(orders) == 1:
        return [(layout, lines)]
    kinds = (pa.int64(), pa.int64(), pa.int32())
    columns = [array(np.array(each), kind) for each, kind in zip((nrs, nths, numbers), kinds, strict=True)]
    engine.table(f"{lines}_headers", pa.table(dict(zip(("nr", "nth", "number"), columns, strict=True))))
    engine.run(
        f"CREATE TEMP TABLE {lines}_placed AS SELECT l.*, l.place >> {PLACE_BITS} AS file, h.number, "
        f"row_number() OVER (ORDER BY l.nr, l.nth) AS n FROM {lines} l "
        f"LEFT JOIN {lines}_headers h ON l.nr = h.nr AND l.nth = h.nth"
    )
    engine.run(
        f"CREATE TEMP TABLE {lines}_ordered AS SELECT l.place, l.line, coalesce(h.number, 0) AS number "
        f"FROM {lines}_placed l ASOF LEFT JOIN (SELECT * FROM {lines}_placed WHERE number IS NOT NULL) h "
        "ON l.file = h.file AND l.n >= h.n"
    )
    return [
        (Layout(Kind.WRAPPED, fields), f"(SELECT place, line FROM {lines}_ordered WHERE number = {number})")
        for fields, number in orders.items()
    ]


def _changes(
    engine: Engine, lines: str, layout: Layout
) -> tuple[list[int], list[int], list[int], dict[tuple[str, ...], int]]:
    """Where another order begins: object, which of its texts, and the number of the order; and the orders."""
    nrs, nths, numbers = [], [], []
    orders = {layout.fields: 0}
    file, current = -1, layout.fields
    header = lru_cache(256)(lambda text: aws_fields.header(text.encode(errors="replace")))
    found = f"SELECT place, nr, nth, line FROM {lines} WHERE contains(lower(line), 'addr') ORDER BY nr, nth"
    for batch in engine.query(found):
        for row in batch.to_pylist():
            if row["place"] >> PLACE_BITS != file:
                file, current = row["place"] >> PLACE_BITS, layout.fields
            fields = header(row["line"])
            if fields is None or fields == current:
                continue
            current = fields
            nrs.append(row["nr"])
            nths.append(row["nth"])
            numbers.append(orders.setdefault(fields, len(orders)))
            if len(orders) > _MOST_ORDERS:
                raise InputError(f"lines of an AWS flow log in more than {_MOST_ORDERS} orders of fields")
    return nrs, nths, numbers, orders


# An event without a message is a record all the same, and counted as one that is none.
_EVENTS = ", ".join(
    f"CASE WHEN coalesce(json_array_length(line, '$.{events}'), 0) = len(json_extract_string(line, '{messages}')) "
    f"THEN json_extract_string(line, '{messages}') ELSE list_transform(json_extract(line, '$.{events}[*]'), "
    "lambda event: coalesce(json_extract_string(event, '$.message'), event::VARCHAR)) END"
    for events, messages in (("logEvents", "$.logEvents[*].message"), ("events", "$.events[*].message"))
)
# What is no text there is no record: Filebeat tells in an object `log` where the line in `message` is from.
_TEXTS = ", ".join(
    f"CASE WHEN json_type(line, '{path}') = 'VARCHAR' THEN [json_extract_string(line, '{path}')] ELSE [] END"
    for path in (f'$."{key}"' for key in aws_fields.MESSAGE_KEYS)
)
_UNWRAP = """
SELECT place, nr, nth, trim(regexp_replace(coalesce(message, ''), '\\s+', ' ', 'g')) AS line FROM (
    SELECT place, nr, unnest(texts) AS message, unnest(range(len(texts))) AS nth FROM (
    SELECT place, nr, CASE WHEN len(found) = 0 AND alone THEN [line] ELSE found END AS texts FROM (
        SELECT place, nr, line,
            CASE WHEN json_valid(line) THEN list_concat(
                {texts},
                list_transform(list_filter(
                    list_concat(json_extract(line, '$[*]'), json_extract(line, '$.results[*][*]')),
                    lambda cell: json_extract_string(cell, '$.field') = '@message'),
                    lambda cell: json_extract_string(cell, '$.value'))) ELSE [] END AS found,
            CASE WHEN json_valid(line) THEN json_extract(line, '$.logEvents') IS NULL
                AND json_extract(line, '$.events') IS NULL ELSE true END AS alone
        FROM (SELECT *, row_number() OVER () AS nr FROM {name}))))"""
