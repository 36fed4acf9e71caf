"""Names and order of the fields of AWS VPC flow log records, and how a file holds them.

The `version` of a record is never looked at: it is the highest version of the fields chosen, or whatever a tool wrote.
What counts is the header, the field order that the user gave, or the default order of version 2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from netpol_gen.errors import OptionError, printable

_DEFAULT = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"
)
DEFAULT = tuple(_DEFAULT.split())

_TGW = (
    "resource-type tgw-id tgw-attachment-id tgw-src-vpc-account-id tgw-dst-vpc-account-id tgw-src-vpc-id "
    "tgw-dst-vpc-id tgw-src-subnet-id tgw-dst-subnet-id tgw-src-eni tgw-dst-eni "
    "tgw-src-az-id tgw-dst-az-id tgw-pair-attachment-id "
    "packets-lost-no-route packets-lost-blackhole packets-lost-mtu-exceeded packets-lost-ttl-expired"
)
_LATER = (
    "vpc-id subnet-id instance-id tcp-flags type pkt-srcaddr pkt-dstaddr "  # 3
    "region az-id sublocation-type sublocation-id "  # 4
    "pkt-src-aws-service pkt-dst-aws-service flow-direction traffic-path "  # 5
    "ecs-cluster-arn ecs-cluster-name ecs-container-instance-arn ecs-container-instance-id ecs-container-id "  # 7
    "ecs-second-container-id ecs-service-name ecs-task-definition-arn ecs-task-arn ecs-task-id "
    "reject-reason "  # 8
    "resource-id encryption-status interface-type instance-tag instance-tag-2 interface-tag interface-tag-2 asg-tag "
    "asg-tag-2 next-hop-vpc-id next-hop-subnet-id next-hop-az-id next-hop-interface-id next-hop-interface-type "  # 9-11
)
FIELDS = frozenset([*DEFAULT, *_TGW.split(), *_LATER.split()])

# Column names of the table definition that older editions of the Athena documentation gave.
_ALIASES = {
    "account": "account-id",
    "interfaceid": "interface-id",
    "sourceaddress": "srcaddr",
    "destinationaddress": "dstaddr",
    "sourceport": "srcport",
    "destinationport": "dstport",
    "numpackets": "packets",
    "numbytes": "bytes",
    "starttime": "start",
    "endtime": "end",
    "start-time": "start",
    "end-time": "end",
    "logstatus": "log-status",
}
SIMPLE = re.compile(
    r"u?int\d+|float|double|(?:large_)?(?:string|binary)|decimal.*|timestamp.*|dictionary<values=string.*|null"
)
"""Arrow types of columns that are looked at, as texts."""
_TIMESTAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
STAMP = "@timestamp"
"""The time that CloudWatch puts before each line of an export to S3."""


class Kind(Enum):
    """How a file holds its records."""

    TEXT = "text"
    CSV = "csv"
    JSON = "json"
    """An object per record."""
    WRAPPED = "wrapped"
    """Text records as members of JSON objects."""
    COLUMN = "column"
    """Text records as cells of a CSV file (`aws_insights`)."""
    PARQUET = "parquet"
    OCSF = "ocsf"
    """An event of the Open Cybersecurity Schema Framework per record, in JSON (`aws_ocsf`)."""
    OCSF_PARQUET = "ocsf parquet"
    """The same in Parquet, as Amazon Security Lake keeps them."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the fields of records are.

    `fields` by position, with canonical names, empty for what is of no interest; for JSON and Parquet `keys` has the
    names as written. `headed` tells whether the file itself says so.
    """

    kind: Kind
    fields: tuple[str, ...]
    keys: tuple[str, ...] = ()
    headed: bool = True
    types: tuple[str, ...] = ()
    """Arrow types of the keys, for Parquet; for OCSF in Parquet those of the paths."""
    paths: tuple[str, ...] = ()
    """For OCSF: the members of an event that are looked at, with dots between their names; `keys` are the outermost."""

    @property
    def forwards(self) -> bool:
        """Whether records have no verdict because all of them were forwarded: those of a transit gateway."""
        return "action" not in self.fields and any(name.startswith("tgw-") for name in self.fields)

    @property
    def has(self) -> frozenset[str]:
        """The fields that records have."""
        return frozenset(self.fields)


def canonical(name: str) -> str:
    """The field's documented name, or empty."""
    plain = name.strip().strip("\"'`").lower().replace("_", "-")
    plain = _ALIASES.get(plain, plain)
    return plain if plain in FIELDS else ""


def header(line: bytes, kind: Kind = Kind.TEXT) -> tuple[str, ...] | None:
    """The fields that a header line names; None where it is no header."""
    text = line.decode("utf-8", "replace")
    words = text.split(",") if kind is Kind.CSV else text.split()
    names = tuple(canonical(word) for word in words)
    known = [name for name in names if name]
    ends = any(name in ("srcaddr", "pkt-srcaddr") for name in known) and any(
        name in ("dstaddr", "pkt-dstaddr") for name in known
    )
    if not ends or len(set(known)) != len(known):
        return None
    # Tags of instances and further columns of a table may have any name; a record has no field names at all.
    return names if len(known) >= 3 and len(known) * 2 >= len(names) else None


def given(aws_format: str) -> tuple[str, ...]:
    """The fields of `--aws-format`, as AWS writes them: `${version} ${srcaddr} …`, or names alone.

    Raises:
        OptionError: a word that is no field, or no addresses among them.

    """
    words = [word.removeprefix("${").removesuffix("}") for word in aws_format.replace(",", " ").split()]
    for word in words:
        if not canonical(word):
            raise OptionError(f"--aws-format: {printable(word)} is no field of an AWS flow log")
    fields = header(" ".join(words).encode())
    if fields is None:
        raise OptionError("--aws-format: srcaddr and dstaddr (or pkt-srcaddr and pkt-dstaddr) once each are needed")
    return fields


def of_text(line: bytes, aws_format: tuple[str, ...] | None) -> Layout | None:
    """The layout that a first line speaks for."""
    for kind in (Kind.TEXT, Kind.CSV):
        if fields := header(line, kind):
            return Layout(kind, fields)
    words = line.split()
    stamped = bool(words) and _TIMESTAMP.fullmatch(words[0]) is not None
    if aws_format is not None:
        if stamped and len(words) == len(aws_format) + 1:
            return Layout(Kind.TEXT, (STAMP, *aws_format), headed=False)
        comma = b"," in line and line.count(b",") + 1 == len(aws_format)
        return Layout(Kind.CSV if comma else Kind.TEXT, aws_format, headed=False)
    if looks_default(words[stamped:]):
        return Layout(Kind.TEXT, (*([STAMP] if stamped else []), *DEFAULT), headed=False)
    cells = [cell.strip(b' "') for cell in line.split(b",")]
    return Layout(Kind.CSV, tuple(DEFAULT), headed=False) if looks_default(cells) else None


_STATUS = frozenset({b"OK", b"NODATA", b"SKIPDATA"})
_VERSION_DIGITS = 2


def looks_default(words: list[bytes]) -> bool:
    """Whether these are the fourteen fields of the default format."""
    return (
        len(words) == len(DEFAULT)
        and words[0].isdigit()
        and len(words[0]) <= _VERSION_DIGITS
        and words[13].rstrip() in _STATUS
        and (words[1].isdigit() or words[1] in (b"unknown", b"-"))
    )


_OFTEN_NULL = ("pkt-srcaddr", "pkt-dstaddr", "tcp-flags", "flow-direction", "log-status")


def of_objects(values: Iterable[Any]) -> Layout | None:
    """The layout of JSON objects that are one record each: their keys, and those that other records may have."""
    keys: dict[str, str] = {}
    for value in values:
        if isinstance(value, dict):
            keys |= {name: key for key in value if (name := canonical(key))}
    if not ({"srcaddr", "dstaddr"} <= keys.keys() or {"pkt-srcaddr", "pkt-dstaddr"} <= keys.keys()):
        return None
    hyphens = any("-" in key for key in keys.values())
    keys = {name: name if hyphens else name.replace("-", "_") for name in _OFTEN_NULL} | keys
    return Layout(Kind.JSON, tuple(keys), tuple(keys.values()))


MESSAGE_KEYS = ("message", "Message", "log", "@message")
"""Members of an object that hold a text record."""


def messages(value: Any) -> list[str] | None:
    """Text records in a JSON object of a log shipper or CloudWatch; None where it is no such thing."""
    if isinstance(value, list):
        # A result of a query of Logs Insights: an object per column.
        cells = [cell for cell in value if isinstance(cell, dict) and cell.get("field") == "@message"]
        return [text for cell in cells if isinstance(text := cell.get("value"), str)] or None
    if not isinstance(value, dict):
        return None
    for key in ("logEvents", "events"):
        events = value.get(key)
        if isinstance(events, list):
            found = [e.get("message") for e in events if isinstance(e, dict)]
            return [text for text in found if isinstance(text, str)]
    return [text for key in MESSAGE_KEYS if isinstance(text := value.get(key), str)] or None
