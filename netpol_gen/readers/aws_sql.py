"""AWS records as SQL: a query of `vpc.RECORD` over lines or Parquet files, for one layout."""

# Queries are put together from our own constants, numbers and quoted names, never from what a file says.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Mapping, Sequence

from netpol_gen.flowtable import Reason
from netpol_gen.handovers import FIRST, LAST
from netpol_gen.model import Signal
from netpol_gen.readers import aws_ocsf, vpc_numbers
from netpol_gen.readers.aws_fields import Kind, Layout
from netpol_gen.readers.rows import Window
from netpol_gen.readers.vpc import (
    ARRIVED,
    CODE,
    FIN,
    MANY,
    MAX_COUNT,
    MAX_SECONDS,
    MID,
    MORE,
    NS,
    ODD,
    RST,
    SEEN,
    SENT,
    SYN,
    SYN_ACK,
    Meaning,
    outside,
)

_MS_FROM = 10**11
_INTEGERS = ("int", "uint")
_LOST = tuple(f"packets-lost-{why}" for why in ("no-route", "blackhole", "mtu-exceeded", "ttl-expired"))
NUMBERS = ("srcport", "dstport", "protocol", "packets", "bytes", "start", "end", "tcp-flags", *_LOST)
TEXTS = ("interface-id", "srcaddr", "dstaddr", "pkt-srcaddr", "pkt-dstaddr", "action", "log-status", "flow-direction")
_TYPES = {"srcport": "INTEGER", "dstport": "INTEGER", "protocol": "INTEGER", "tcp-flags": "INTEGER"}


def _answered() -> str:
    """`Signal` bits over `c` and `v`. A packet count tells a handshake from a refusal where flags do not."""
    refused = f"((v & {RST}) <> 0 AND (v & {SYN_ACK}) <> {SYN_ACK})"

    def beyond(end: str) -> str:
        # More than SYN or SYN-ACK: FIN, a third packet, or a second one or a record without SYN that is no reset.
        return f"(({end} & {FIN | MORE}) <> 0 OR (({end} & {RST}) = 0 AND ({end} & {MANY | MID}) <> 0))"

    client = f"((c & {FIN | MID}) <> 0 AND (c & {RST}) = 0) OR (c & {FIN}) <> 0 OR "
    client += f"((v & {SEEN}) <> 0 AND NOT {refused} AND {beyond('c')})"
    tcp = " + ".join(
        f"CASE WHEN {condition} THEN {int(signal)} ELSE 0 END"
        for condition, signal in (
            (f"(c & {SYN_ACK}) = {SYN}", Signal.SYN),
            (f"(v & {SYN_ACK}) = {SYN_ACK}", Signal.SYN_ACK),
            (f"(v & {RST}) <> 0", Signal.RESET),
            (f"NOT {refused} AND {beyond('v')}", Signal.SERVER_DATA),
            (client, Signal.CLIENT_DATA),
        )
    )
    plain = " + ".join(
        f"CASE WHEN ({end} & {SEEN}) <> 0 THEN {int(signal)} ELSE 0 END"
        for end, signal in (("c", Signal.CLIENT_DATA), ("v", Signal.SERVER_DATA))
    )
    return f"(CASE WHEN x < 0 THEN 0 WHEN proto = 6 THEN {tcp} ELSE {plain} END + {int(Signal.TRACE)})"


def _client(mine: str, other: str) -> str:
    return f"proto = 6 AND (({mine} & {SYN_ACK}) = {SYN} OR ({other} & {SYN_ACK}) = {SYN_ACK})"


MEANING = Meaning(
    ordered=False,
    client_a=_client("ab", "ba"),
    client_b=_client("ba", "ab"),
    signals=_answered(),
)


def records(layout: Layout, relation: str, window: Window) -> str:
    """The query.

    `relation` has `line` and `place`; for Parquet the file's columns and `place`; for text and CSV what `aws_text` made
    of the lines, with `line` only where it is no record.
    """
    if layout.kind in (Kind.TEXT, Kind.CSV):
        named = {name: f'"{name}"' for name in (*NUMBERS, *TEXTS)}
        parsed = f"SELECT *, line IS NULL AS whole, line AS note FROM {relation}"
        return _query(named, parsed, window, checked=frozenset(NUMBERS))
    if layout.kind is Kind.PARQUET:
        named = {
            name: f'epoch("{key}")' if kind.startswith("timestamp") else f'"{key}"'
            for name, key, kind in zip(layout.fields, layout.keys, layout.types, strict=True)
        }
        parsed = f"SELECT *, true AS whole, NULL::VARCHAR AS note FROM {relation}"
        integers = frozenset(
            # Of a time with a fraction the second is taken.
            n
            for n, kind in zip(layout.fields, layout.types, strict=True)
            if kind.startswith((*_INTEGERS, "timestamp"))
        )
        return _query(named, parsed, window, checked=integers, columns=True, forwards=layout.forwards)
    if layout.kind in (Kind.OCSF, Kind.OCSF_PARQUET):
        return _events(layout, relation, window)
    wanted = [name for name in (*NUMBERS, *TEXTS) if name in layout.has]
    if layout.kind is Kind.JSON:
        at = {name: i + 1 for i, name in enumerate(wanted)}
        key_of = dict(zip(layout.fields, layout.keys, strict=True))
        # Only keys that are documented names, in some spelling, get here: nothing in them needs quoting.
        paths = ", ".join(f"'$.\"{key_of[name]}\"'" for name in wanted)
        fields, whole = f"CASE WHEN json_valid(line) THEN json_extract_string(line, [{paths}]) END", "f IS NOT NULL"
    else:
        at = {name: layout.fields.index(name) + 1 for name in wanted}
        fields, whole = "split(line, ' ')", f"len(f) = {len(layout.fields)}"
    named = {name: f"f[{number}]" for name, number in at.items()}
    parsed = f"SELECT line AS note, place, f, {whole} AS whole FROM (SELECT line, place, {fields} AS f FROM {relation})"
    return _query(named, parsed, window, forwards=layout.forwards)


def _events(layout: Layout, relation: str, window: Window) -> str:
    """The query for events of `aws_ocsf`."""
    if layout.kind is Kind.OCSF:
        paths = ", ".join(f"'$.{path}'" for path in layout.paths)
        fields = f"CASE WHEN json_valid(line) THEN json_extract_string(line, [{paths}]) END"
        relation = f"(SELECT line, place, {fields} AS f FROM {relation})"
        at = {path: f"f[{number}]" for number, path in enumerate(layout.paths, 1)}
        note = "line"
    else:
        at = {path: _member(path) for path in layout.paths}
        note = (
            f"CASE WHEN NOT coalesce({aws_ocsf.whole(at.__getitem__)}, false) THEN {aws_ocsf.other(at.__getitem__)} END"
        )
    parsed = f"SELECT *, {aws_ocsf.whole(at.__getitem__)} AS whole, {note} AS note FROM {relation}"
    named = aws_ocsf.expressions(layout, at.__getitem__)
    integers = {at[path] for path, kind in zip(layout.paths, layout.types, strict=True) if kind.startswith(_INTEGERS)}
    checked = frozenset(name for name, found in named.items() if found in integers)
    return _query(named, parsed, window, checked=checked, columns=layout.kind is Kind.OCSF_PARQUET)


def _member(path: str) -> str:
    column, *names = path.split(".")
    out = f'"{column}"'
    for name in names:
        out = f"struct_extract({out}, '{name}')"
    return out


def _query(
    named: Mapping[str, str],
    parsed: str,
    window: Window,
    *,
    checked: frozenset[str] = frozenset(),
    columns: bool = False,
    forwards: bool = False,
) -> str:
    """`named` has the SQL of each field; `checked` are those that need no look at how they are written.

    `columns`: whether there are no lines, only columns.
    """

    def number(name: str) -> str:
        kind = _TYPES.get(name, "BIGINT")
        if name not in named:
            return "NULL::BIGINT"
        if name in checked:
            return f"try_cast({named[name]} AS {kind})"
        return vpc_numbers.whole(f"({named[name]})::VARCHAR", kind)

    # Where there is no line to show, what is no number is shown as it was written.
    shown = {name: f'"{name} as written"' for name in NUMBERS if columns and name in named and name not in checked}

    def said(name: str) -> str:
        return f'coalesce("{name}"::VARCHAR, {shown[name]})' if name in shown else f'"{name}"::VARCHAR'

    numbers = ", ".join(f'{number(name)} AS "{name}"' for name in NUMBERS)
    numbers += "".join(f", ({named[name]})::VARCHAR AS {column}" for name, column in shown.items())
    texts = ", ".join(f'({named[n]})::VARCHAR AS "{n}"' if n in named else f'NULL::VARCHAR AS "{n}"' for n in TEXTS)
    # An optional number that is there and is no number makes the record bad.
    broken = [
        # Not by its name: a column of a file may have the same.
        vpc_numbers.odd(f"({named[n]})::VARCHAR", number(n))
        for n in ("packets", "bytes", "end", "tcp-flags", *_LOST)
        if n in named and n not in checked
    ]
    # Evaluated for the few records that cannot be used: CASE looks at no other rows.
    cells = ", ".join(f"'{name}', {said(name)}" for name in (*NUMBERS, *TEXTS) if name in named)
    return f"""
SELECT place, kind,
    CASE WHEN kind = 0 THEN NULL WHEN kind = {ODD} THEN coalesce(note, json_object({cells})::VARCHAR)
        WHEN kind = {CODE[Reason.LOST_EVENTS]} THEN "interface-id" END AS note,
    {_address("src")} AS src, {_address("dst")} AS dst,
    "srcport" AS sport, "dstport" AS dport, "protocol" AS proto, verdict, first,
    greatest(first, {_time('"end"')}) AS last, "packets" AS packets, "bytes" AS bytes,
    {_bits()}::UINTEGER AS bits, NULL::VARCHAR AS who_src, NULL::VARCHAR AS who_dst
FROM (SELECT *, {_kind(window)} AS kind
    FROM (SELECT *, {_time('"start"')} AS first, {"0" if forwards else _VERDICT} AS verdict
        FROM (SELECT place, whole, note, {numbers}, {texts}, {" OR ".join(broken) or "false"} AS broken
            FROM ({parsed}))))"""


def _kind(window: Window) -> str:
    counts = " AND ".join(f'coalesce("{n}", 0) BETWEEN 0 AND {MAX_COUNT}' for n in ("packets", "bytes"))
    lost = " + ".join(f'coalesce("{n}", 0)' for n in _LOST)
    status = '"log-status"'
    # Nearly all records pass the first test; the others go through the list of reasons.
    return f"""CASE WHEN whole AND {status} = 'OK' AND "srcport" BETWEEN 1 AND 65535 AND "dstport" BETWEEN 1 AND 65535
            AND ("protocol" = 6 OR "protocol" = 17) AND first IS NOT NULL AND NOT {outside(window)} AND NOT broken
            AND "packets" BETWEEN 1 AND {MAX_COUNT} AND "bytes" BETWEEN 0 AND {MAX_COUNT} AND verdict < 2 THEN 0
        WHEN NOT coalesce(whole, false) THEN {ODD}
        WHEN {status} = 'NODATA' THEN {CODE[Reason.CONTROL]}
        WHEN {status} = 'SKIPDATA' THEN {CODE[Reason.LOST_EVENTS]}
        WHEN coalesce({status}, 'OK') NOT IN ('OK', '-', '') THEN {ODD}
        WHEN first IS NULL OR "protocol" IS NULL OR verdict IS NULL OR broken OR NOT ({counts}) THEN {ODD}
        WHEN {outside(window)} THEN {CODE[Reason.OUT_OF_WINDOW]}
        WHEN "protocol" IN (1, 58) THEN {CODE[Reason.ICMP]}
        WHEN "protocol" NOT IN (6, 17, 132) THEN CASE WHEN "protocol" BETWEEN 0 AND 255
            THEN {CODE[Reason.OTHER_PROTOCOL]} ELSE {ODD} END
        WHEN "srcport" IS NULL OR "dstport" IS NULL THEN {ODD}
        WHEN "srcport" NOT BETWEEN 0 AND 65535 OR "dstport" NOT BETWEEN 0 AND 65535 THEN {ODD}
        WHEN "srcport" = 0 AND "dstport" = 0 THEN {CODE[Reason.NO_L4]}
        WHEN "packets" = 0 AND {lost} > 0 THEN {CODE[Reason.OTHER_DROP]}
        ELSE 0 END"""


def _address(end: str) -> str:
    pod, interface = f'"pkt-{end}addr"', f'"{end}addr"'
    # The length of a text is quicker to have than to compare it, and of most records that is enough.
    written = f"CASE WHEN {pod} IS NULL OR {pod} IN ('-', '') THEN {interface} ELSE {pod} END"
    return f"CASE WHEN strlen({pod}) > 1 THEN {pod} ELSE {written} END"


def _time(column: str) -> str:
    """Nanoseconds from seconds or, as some exports have it, milliseconds."""
    return (
        f"CASE WHEN {column} BETWEEN 0 AND {MAX_SECONDS} THEN {column} * {NS} "
        f"WHEN {column} BETWEEN {_MS_FROM} AND {MAX_SECONDS}000 THEN {column} * 1000000 END"
    )


def span(times: Sequence[object]) -> tuple[int, int] | None:
    """First and last of values of time columns, in nanoseconds; None where they are not all times of one unit."""
    whole = [time for time in times if isinstance(time, int)]
    if not times:
        return LAST, FIRST
    if len(whole) == len(times):
        for least, most, unit in ((0, MAX_SECONDS, NS), (_MS_FROM, MAX_SECONDS * 1000, NS // 1000)):
            if least <= min(whole) and max(whole) <= most:
                return min(whole) * unit, max(whole) * unit
    return None


_VERDICT = """CASE WHEN "action" = 'ACCEPT' THEN 0 WHEN "action" = 'REJECT' THEN 1
        WHEN upper("action") IN ('ACCEPT', 'ACCEPTED') THEN 0 WHEN upper("action") IN ('REJECT', 'REJECTED') THEN 1
        WHEN "action" IS NULL OR "action" IN ('-', '') THEN 2 END"""


def _bits() -> str:
    # A count that is not there may be any number.
    many = f'CASE WHEN "packets" >= 3 THEN {MANY | MORE} WHEN "packets" = 1 OR "packets" = 0 THEN 0 ELSE {MANY} END'
    side = f"CASE \"flow-direction\" WHEN 'egress' THEN {SENT} WHEN 'ingress' THEN {ARRIVED} ELSE 0 END"
    mid = f'CASE WHEN "protocol" = 6 AND ("tcp-flags" & {SYN}) = 0 THEN {MID} ELSE 0 END'
    return f'(coalesce("tcp-flags", 0) & 255 | {mid} | {many} | {side} | {SEEN})'
