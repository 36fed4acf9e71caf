"""Azure flow logs: network security groups (versions 1 and 2) and virtual networks (version 4).

A blob is one `{"records": […]}` that grows, so its end may be missing; forwarders write one record per line, or one
line per record with members `flow.0`, `flow.1`. Each record holds many tuples. A tuple's source is always the
initiator and there are no records of replies; the same connection is told at both network interfaces, and again and
again while it lasts.
"""

# Queries are put together from our own constants, numbers and quoted names, never from what a file says.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netpol_gen.flowtable import Flows, Reason
from netpol_gen.model import DirectionEvidence, Signal
from netpol_gen.readers import vpc, vpc_json, vpc_lines, vpc_numbers, vpc_periods, vpc_table
from netpol_gen.readers.files import Input
from netpol_gen.readers.rows import Window
from netpol_gen.readers.vpc import ARRIVED, CODE, COUNTED, DATA, HALF, NS, ODD, SEEN, SENT, SYN

NAME = "azure-vnet"
SOURCE = vpc_table.Source(NAME, str(DirectionEvidence.INITIATOR), "DENY")
MEANING = vpc.Meaning(
    ordered=True,
    client_a="true",
    client_b="false",
    # Version 1 has no counts and says nothing about answers; the others count both ways once a connection goes on.
    signals=(
        f"(CASE WHEN (v & {DATA}) <> 0 THEN {int(Signal.SERVER_DATA | Signal.CLIENT_DATA)} ELSE 0 END + "
        f"CASE WHEN (c & {COUNTED}) <> 0 THEN {int(Signal.TRACE)} ELSE 0 END)"
    ),
    begins=f"(ab & {SYN}) <> 0 OR (ab & {COUNTED}) = 0",
)
_TUPLES = ("properties.flows[*].flows[*].flowTuples[*]", "flowRecords.flows[*].flowGroups[*].flowTuples[*]")
_CATEGORIES = frozenset({"NetworkSecurityGroupFlowEvent", "FlowLogFlowEvent"})
_MS_FROM = 10**11
_FIELDS = (8, 13)


def looks_like(head: bytes, name: str = "") -> bool:  # noqa: ARG001 - what every source is asked
    """Whether a file with this beginning holds such records."""
    values = vpc_json.first_objects(head)
    if not values and head.lstrip().startswith(b"{"):
        # The first record may be longer than the beginning.
        return b'"flowTuples"' in head
    return any(_is_record(value) for value in values)


def _is_record(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    records = value.get("records")
    if isinstance(records, list):
        return any(_is_record(record) for record in records[:50])
    if value.get("category") in _CATEGORIES:
        return True
    properties = value.get("properties")
    group = isinstance(properties, dict) and "flows" in properties and "Version" in properties
    return group or "flowRecords" in value or any(isinstance(k, str) and k.startswith("flow.") for k in value)


def read(items: Sequence[Input], options: vpc.Options) -> Flows:
    """Read all inputs of this source into one table.

    Raises:
        InputError: a file that cannot be read.

    """
    names = [item.name for item in items]
    account = vpc_table.Account()
    with vpc.Engine(threads=options.threads) as engine:
        lines = vpc_json.Json(account, count=False).batches(list(enumerate(items)))
        engine.stream("input", vpc_lines.schema(), lines)
        tuples = vpc_json.unpack(engine, account, "tuples", _unpack_sql("input"))
        handovers = vpc_periods.relevant(options.handovers, (item.head for item in items if item.head))
        result = engine.query(vpc_periods.fold(engine, _records(tuples, options.window), MEANING, handovers))
        table = vpc_table.gather(result, SOURCE, names, account, explain)
    return vpc_table.finish(table, account, SOURCE, names, ())


def _unpack_sql(lines: str) -> str:
    """One line per tuple; the whole record where it has none."""
    found = ", ".join(f"json_extract_string(line, '$.{path}')" for path in _TUPLES)
    # A forwarder's flat form: members `flow.0`, `flow.1`, …, whatever they hold, and others that hold a tuple.
    tuple_ = r"^\d{9,16},[^,]*,[^,]*,\d*,\d*,"
    named = "list_zip(json_keys(line), json_extract_string(line, '$.*'))"
    is_flow = f"regexp_full_match(m[1], 'flow\\.\\d+') OR regexp_matches(m[2], '{tuple_}')"
    flat = f"list_transform(list_filter({named}, lambda m: {is_flow}), lambda m: m[2])"
    # Members of an envelope are told apart first, so that one without tuples is a record that has none.
    members = "CASE WHEN contains(line, '\"records\"') AND json_valid(line)"
    members += " THEN json_extract(line, '$.records[*]')::VARCHAR[] ELSE [] END"
    # What stands in place of a list of tuples counts beside those that are in order. Looked for where there is any.
    others = ", ".join(f"json_extract(line, '$.{path.removesuffix('[*]')}')" for path in _TUPLES)
    odd = f"list_filter(list_concat({others}), lambda v: json_type(v) NOT IN ('ARRAY', 'NULL'))::VARCHAR[]"
    odd = f"""CASE WHEN regexp_matches(line, '"flowTuples"\\s*:\\s*[^\\s\\[]') THEN {odd} ELSE [] END"""
    return f"""
SELECT place, coalesce(unnest(CASE WHEN len(found) = 0 THEN [line] ELSE list_concat(found, {odd}) END), '') AS line
FROM (SELECT place, line, CASE WHEN json_valid(line) THEN list_concat({found}, {flat}) ELSE [] END AS found
    FROM (SELECT place, unnest(CASE WHEN len(members) = 0 THEN [line] ELSE members END) AS line
        FROM (SELECT place, line, {members} AS members FROM {lines})))"""


def _records(tuples: str, window: Window) -> str:
    def number(at: int) -> str:
        return vpc_numbers.whole(f"f[{at}]", "INTEGER")

    nsg = "(f[6] = 'T' OR f[6] = 'U')"
    counts = ", ".join(
        # The other direction may have none. Where neither has, nobody counted: a connection begins.
        f"CASE WHEN f[{i}] = '' THEN 0 ELSE {vpc_numbers.whole(f'f[{i}]')} END AS n{i}"
        for i in range(10, 14)
    )
    counted = " AND ".join(f"n{i} BETWEEN 0 AND {vpc.MAX_COUNT}" for i in range(10, 14))
    side = f"CASE f[7] WHEN 'O' THEN {SENT} WHEN 'I' THEN {ARRIVED} ELSE 0 END"
    bits = (
        f"({SEEN} | {side} | CASE state WHEN 'B' THEN {SYN} WHEN 'C' THEN {COUNTED} WHEN 'E' THEN {COUNTED} ELSE 0 END "
        f"| CASE WHEN size = 13 AND n12 > 0 THEN {DATA << HALF} ELSE 0 END)"
    )
    return f"""
SELECT place, kind, CASE WHEN kind = {ODD} THEN line END AS note, f[2] AS src, f[3] AS dst, sport, dport, proto,
    verdict, first, first AS last,
    CASE WHEN size = 13 AND {counted} AND f[10] || f[12] <> '' THEN n10 + n12 END AS packets,
    CASE WHEN size = 13 AND {counted} AND f[11] || f[13] <> '' THEN n11 + n13 END AS bytes, {bits}::UINTEGER AS bits,
    NULL::VARCHAR AS who_src, NULL::VARCHAR AS who_dst
FROM (SELECT *, CASE
        WHEN size NOT IN {_FIELDS} OR first IS NULL OR verdict IS NULL OR proto IS NULL OR f[7] NOT IN ('I', 'O')
            OR (size = 13 AND NOT coalesce({counted}, false)) OR (size = 13 AND state IS NULL) THEN {ODD}
        WHEN {vpc.outside(window)} THEN {CODE[Reason.OUT_OF_WINDOW]}
        WHEN proto IN (1, 58) THEN {CODE[Reason.ICMP]}
        WHEN proto NOT BETWEEN 0 AND 255 THEN {ODD}
        WHEN proto NOT IN (6, 17, 132) THEN {CODE[Reason.OTHER_PROTOCOL]}
        WHEN sport IS NULL OR dport IS NULL OR sport NOT BETWEEN 0 AND 65535 OR dport NOT BETWEEN 0 AND 65535 THEN {ODD}
        WHEN sport = 0 AND dport = 0 THEN {CODE[Reason.NO_L4]}
        ELSE 0 END AS kind
    FROM (SELECT place, line, f, len(f) AS size, {number(4)} AS sport, {number(5)} AS dport,
            CASE f[6] WHEN 'T' THEN 6 WHEN 'U' THEN 17 ELSE {number(6)} END AS proto,
            CASE WHEN {nsg} THEN CASE f[8] WHEN 'A' THEN 0 WHEN 'D' THEN 1 END
                 ELSE CASE f[8] WHEN 'D' THEN 1 WHEN 'B' THEN 0 WHEN 'C' THEN 0 WHEN 'E' THEN 0 END END AS verdict,
            CASE WHEN NOT {nsg} THEN f[8] WHEN f[9] IN ('B', 'C', 'E') THEN f[9] END AS state,
            CASE WHEN time BETWEEN 0 AND {vpc.MAX_SECONDS} THEN time * {NS}
                 WHEN time BETWEEN {_MS_FROM} AND {vpc.MAX_SECONDS}000 THEN time * 1000000 END AS first, {counts}
        FROM (SELECT *, {vpc_numbers.whole("f[1]")} AS time
            FROM (SELECT place, line, split(trim(line), ',') AS f FROM {tuples}))))"""


def explain(text: str) -> tuple[Reason, str]:
    """Why a tuple, or an object without tuples, could not be used."""
    if text.lstrip()[:1] in ("{", "["):
        value = vpc_json.loads(text)
        if not isinstance(value, dict):
            return Reason.MALFORMED, "no JSON object" if value is None else "not a record"
        if not _is_record(value):
            return Reason.NOT_A_FLOW, "no flow tuples"
        return (Reason.MALFORMED, wrong) if (wrong := _misplaced(value)) else (Reason.CONTROL, "no tuples")
    words = text.strip().split(",")
    if len(words) not in _FIELDS:
        return Reason.MALFORMED, f"{len(words)} fields, 8 or 13 wanted"
    for index, name, high in ((3, "source port", 65535), (4, "destination port", 65535)):
        if words[index] in ("", "*"):
            return Reason.NO_L4, f"no {name}"
        if not _between(words[index], high):
            return Reason.BAD_FIELD, f"{name} {words[index]}"
    protocol = words[5]
    if protocol not in ("T", "U") and not _between(protocol, 255):
        return Reason.BAD_FIELD, f"protocol {protocol}"
    if vpc_numbers.read(words[0]) is None:
        return Reason.BAD_FIELD, f"time {words[0]}"
    return Reason.BAD_FIELD, f"time, direction, state or counts: {text}"


def _between(word: str, high: int) -> bool:
    number = vpc_numbers.read(word)
    return number is not None and 0 <= number <= high


def _misplaced(record: dict[str, Any]) -> str:
    """What is wrong with the tuples of a record in which none were found; empty where it has none."""
    waiting: list[Any] = [record]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            tuples = value.get("flowTuples")
            if tuples is not None and not isinstance(tuples, list):
                return "flowTuples is no list"
            if tuples:
                return "flowTuples in an unexpected place"
        if isinstance(value, dict | list):
            waiting += value.values() if isinstance(value, dict) else value
    return ""
