"""Why an AWS record cannot be used, in words."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from netpol_gen.flowtable import Reason
from netpol_gen.readers import aws_fields, aws_ocsf, aws_sql, vpc_json, vpc_numbers
from netpol_gen.readers.aws_fields import Kind, Layout
from netpol_gen.readers.aws_text import NOTHING


def explain(text: str, layouts: Collection[Layout]) -> tuple[Reason, str]:
    """The reason why a line (or the members of an object, as JSON) could not be used, and the words for it."""
    text = text.rstrip("\n")
    if not text.strip():
        return Reason.MALFORMED, "empty"
    if text.startswith(("CWL CONTROL MESSAGE", "#")):
        return Reason.CONTROL, ""
    if text.lstrip()[:1] in ("{", "["):
        value = vpc_json.loads(text)
        if not isinstance(value, dict):
            return Reason.MALFORMED, "no JSON object" if value is None else "not a flow record"
        if aws_ocsf.CLASS in value:
            found = aws_ocsf.cells(value)
            return _field(found, frozenset(found)) if found else (Reason.NOT_A_FLOW, _event(value))
        cells = {name: value[key] for key in value if (name := aws_fields.canonical(key))}
        if not cells:
            control = "searchedCompletely" in value or value.get("messageType") == "CONTROL_MESSAGE"
            return (Reason.CONTROL, "") if control else (Reason.NOT_A_FLOW, "no field of a flow record")
        return _field(cells, frozenset(cells))
    if aws_fields.header(text.encode(errors="replace")) or aws_fields.header(text.encode(errors="replace"), Kind.CSV):
        return Reason.CONTROL, "header"
    known = sorted(
        {layout.fields for layout in layouts if layout.kind in (Kind.TEXT, Kind.CSV, Kind.WRAPPED, Kind.COLUMN)}
    )
    for words in (text.split(" "), text.split(",")):
        for fields in known:
            if len(fields) == len(words):
                return _field(dict(zip(fields, words, strict=True)), frozenset(fields))
    wanted = " or ".join(str(count) for count in sorted({len(fields) for fields in known}))
    told = all(layout.headed for layout in layouts)
    advice = "" if told else "; --aws-format tells the order of fields where there is no header"
    return Reason.MALFORMED, f"{len(text.split())} fields, {wanted} wanted{advice}"


def _event(value: Any) -> str:
    product = aws_ocsf.member(value, aws_ocsf.PRODUCT)
    return f"an event of class {value[aws_ocsf.CLASS]}, product {product}"


def _field(cells: Mapping[str, Any], has: frozenset[str]) -> tuple[Reason, str]:
    """The first field that is wrong."""
    words = {name: "" if value is None else str(value) for name, value in cells.items()}
    status = words.get("log-status", "OK")
    if status not in ("OK", "-", ""):
        return Reason.MALFORMED, f"log-status {status}"
    if "start" not in has:
        return Reason.BAD_FIELD, "no start: the time of these records is not known"
    for name, low, high in _RANGES:
        word = words.get(name, "-")
        if name == "action" or (word in NOTHING and name in ("packets", "bytes", "end", "tcp-flags")):
            continue
        if word in NOTHING and name != "start":
            return Reason.NO_L4, f"no {name}"
        number = vpc_numbers.read(word)
        if number is None or not low <= number <= high or (name == "start" and aws_sql.span([number]) is None):
            return Reason.BAD_FIELD, f"{name} {word or 'missing'}"
    return Reason.BAD_FIELD, f"action {words.get('action', 'missing')}"


_RANGES = (
    ("start", 0, 1 << 63),
    ("protocol", 0, 255),
    ("srcport", 0, 65535),
    ("dstport", 0, 65535),
    ("packets", 0, 1 << 50),
    ("bytes", 0, 1 << 50),
    ("tcp-flags", 0, 1 << 31),
    ("end", 0, 1 << 63),
)
