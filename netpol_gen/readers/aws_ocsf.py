"""AWS flow logs as events of the Open Cybersecurity Schema Framework: what Amazon Security Lake keeps.

An endpoint's `ip` is the address in the packet (`pkt-srcaddr`), where the two differ; that of the interface is then
among its `intermediate_ips`. Times are in milliseconds (1.0) or, beside `time`, dates (`start_time_dt`, from 1.1 on).
The verdict is a `disposition` in 1.0, an `action` as well from 1.1 on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from netpol_gen.readers.aws_fields import SIMPLE, Kind, Layout

if TYPE_CHECKING:
    import pyarrow as pa

CLASS, CLASS_UID = "class_uid", 4001
"""Network Activity."""
PRODUCT, AMAZON_VPC = "metadata.product.name", "amazon vpc"
"""Events of this class come from many products: firewalls, Zeek, other clouds."""

_PLAIN = {
    "pkt-srcaddr": "src_endpoint.ip",
    "pkt-dstaddr": "dst_endpoint.ip",
    "srcport": "src_endpoint.port",
    "dstport": "dst_endpoint.port",
    "protocol": "connection_info.protocol_num",
    "packets": "traffic.packets",
    "bytes": "traffic.bytes",
    "tcp-flags": "connection_info.tcp_flags",
    "log-status": "status_code",
}
"""Fields that are one member of an event each."""
_FIRST_OF = {
    "interface-id": ("src_endpoint.interface_uid", "dst_endpoint.interface_uid"),
    "start": ("start_time", "start_time_dt", "time"),
    "end": ("end_time", "end_time_dt"),
    "action": ("action", "disposition", "action_id", "disposition_id", "activity_id"),
    "flow-direction": ("connection_info.direction", "connection_info.direction_id"),
}
"""Fields that are the first of several members that is there."""
PATHS = (CLASS, PRODUCT, *_PLAIN.values(), *(path for paths in _FIRST_OF.values() for path in paths))
_NEEDED = {CLASS, PRODUCT, "src_endpoint.ip", "dst_endpoint.ip", "connection_info.protocol_num"}
MARKS = (b"class_uid", b"src_endpoint", b"dst_endpoint", b"protocol_num")
"""Names that a Parquet file of such events has in its footer."""

_WORDS = {
    "action": {"allowed": "ACCEPT", "denied": "REJECT", "blocked": "REJECT", "rejected": "REJECT", "dropped": "REJECT"},
    "flow-direction": {"inbound": "ingress", "outbound": "egress"},
}
"""What OCSF calls what AWS calls otherwise."""
_NUMBERS = {
    "action_id": {"1": "allowed", "2": "denied"},
    "disposition_id": {"1": "allowed", "2": "blocked"},
    "activity_id": {"5": "denied", "6": "allowed"},
    "connection_info.direction_id": {"1": "inbound", "2": "outbound"},
}
"""What stands for a word where only its number was kept; traffic that was refused is an activity of its own."""
_VERDICTS = ("action_id", "disposition_id")
_UNKNOWN = ("-", "", "unknown", "other")
"""What says no more than a member that is not there."""


def of_objects(values: Iterable[Any]) -> Layout | None:
    """The layout of JSON events, if these are AWS flow logs."""
    return _layout(Kind.OCSF, PATHS, ("string",) * len(PATHS)) if any(_is_record(value) for value in values) else None


def of_columns(columns: pa.Schema) -> Layout | None:
    """The layout of a Parquet file with these columns; whose product its events are is told one by one."""
    types = {path: kind for path in PATHS if SIMPLE.fullmatch(kind := _type(columns, path))}
    return _layout(Kind.OCSF_PARQUET, tuple(types), tuple(types.values())) if types.keys() >= _NEEDED else None


def _layout(kind: Kind, paths: tuple[str, ...], types: tuple[str, ...]) -> Layout:
    fields = [name for name, path in _PLAIN.items() if path in paths]
    fields += [name for name, several in _FIRST_OF.items() if not set(several).isdisjoint(paths)]
    keys = tuple(dict.fromkeys(path.partition(".")[0] for path in paths))
    return Layout(kind, tuple(fields), keys, types=types, paths=paths)


def _type(columns: pa.Schema, path: str) -> str:
    """The Arrow type of a member; empty where there is none."""
    import pyarrow as pa  # noqa: PLC0415 - half a second that other sources need not pay

    here: Any = columns
    for name in path.split("."):
        at = here.get_field_index(name) if isinstance(here, pa.Schema | pa.StructType) else -1
        if at < 0:
            return ""
        here = here.field(at).type
    return str(here)


def member(value: Any, path: str) -> Any:
    """A member of an event, None where it is not there."""
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _is_record(value: Any) -> bool:
    # Some exporters write every number with a fraction, or as a text.
    return (
        str(member(value, CLASS)).removesuffix(".0") == str(CLASS_UID)
        and str(member(value, PRODUCT)).lower() == AMAZON_VPC
    )


def cells(event: Any) -> dict[str, Any] | None:
    """The fields of a record by AWS's names, to say what is wrong with one; None for an event of another kind."""
    if not _is_record(event):
        return None
    out = {name: member(event, path) for name, path in _PLAIN.items()}
    for name, paths in _FIRST_OF.items():
        said = [(path, value) for path in paths if str(value := member(event, path)).lower() not in ("none", *_UNKNOWN)]
        meant = next((found for path, value in said if (found := _meant(path, value)) is not None), None)
        found = meant if meant is not None else said[0][1] if said else None
        out[name] = _WORDS.get(name, {}).get(str(found).lower(), found)
    return out


def _meant(path: str, value: Any) -> Any:
    """A date as the other times are written, a number as the word it stands for; None for what is none."""
    if path in _NUMBERS:
        return _NUMBERS[path].get(str(value).removesuffix(".0"))
    if not path.endswith("_dt"):
        return value
    with contextlib.suppress(ValueError, OverflowError):
        return int(datetime.fromisoformat(str(value)).timestamp() * 1000)
    return None


# --- SQL --------------------------------------------------------------------------------------------------------------


def expressions(layout: Layout, leaf: Callable[[str], str]) -> dict[str, str]:
    """SQL for each field of a layout, given that for a member."""
    types = dict(zip(layout.paths, layout.types, strict=True))
    out = {name: leaf(path) for name, path in _PLAIN.items() if path in types}
    for name, paths in _FIRST_OF.items():
        there = [_said(path, leaf(path), types[path]) for path in paths if path in types]
        if there:
            found = f"coalesce({', '.join(there)})"
            out[name] = _in_our_words(name, found) if name in _WORDS else found
    return out


def whole(leaf: Callable[[str], str]) -> str:
    """SQL: whether an event is a record."""
    uid = rf"regexp_full_match({leaf(CLASS)}::VARCHAR, '{CLASS_UID}(\.0+)?')"
    return f"({uid} AND lower({leaf(PRODUCT)}::VARCHAR) = '{AMAZON_VPC}')"


def other(leaf: Callable[[str], str]) -> str:
    """SQL: of an event that is none, what tells that."""
    product = f"json_object('product', json_object('name', {leaf(PRODUCT)}))"
    return f"json_object('{CLASS}', {leaf(CLASS)}, 'metadata', {product})::VARCHAR"


def _said(path: str, found: str, kind: str) -> str:
    if kind.startswith("timestamp") or (path.endswith("_dt") and "string" in kind):
        # A text may have an offset, which a plain TIMESTAMP takes no notice of.
        return f"epoch_ms(try_cast({found} AS TIMESTAMPTZ))::VARCHAR"
    if "time" in path:
        return f"{found}::VARCHAR"
    if path in _NUMBERS:
        cases = " ".join(f"WHEN '{number}' THEN '{word}'" for number, word in _NUMBERS[path].items())
        # Another verdict than we know is one all the same: what comes after must not make a call of it.
        other = "WHEN '0' THEN NULL ELSE '-'" if path in _VERDICTS else ""
        plain = f"regexp_replace({found}::VARCHAR, '\\.0+$', '')"
        return f"CASE WHEN {found} IS NOT NULL THEN CASE {plain} {cases} {other} END END"
    unknown = ", ".join(f"'{word}'" for word in _UNKNOWN)
    return f"CASE WHEN lower({found}::VARCHAR) NOT IN ({unknown}) THEN {found}::VARCHAR END"


def _in_our_words(name: str, found: str) -> str:
    cases = " ".join(f"WHEN '{theirs}' THEN '{ours}'" for theirs, ours in _WORDS[name].items())
    return f"CASE lower({found}) {cases} ELSE {found} END"
