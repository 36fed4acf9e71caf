"""Which source wrote a file, told from its beginning; and what else a file may be, for the error message.

A source is one entry in `SOURCES`, tried in that order.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from netpol_gen.errors import NotAFlowLogError, OptionError, Place, printable
from netpol_gen.readers import hubble
from netpol_gen.readers.files import Input, Stream
from netpol_gen.readers.rows import Rows


@dataclass(frozen=True, slots=True)
class Source:
    """A format that can be read."""

    name: str
    looks_like: Callable[[bytes, str], bool]
    """Given the first 64 KiB, decompressed and possibly cut off in the middle, and the name of the file."""
    read: Callable[[Stream, Rows], None]
    """Reads one share; see `rows`."""
    splittable: Callable[[bytes], bool]
    """Given the beginning: whether any share of whole lines can be read by itself (what a header says can be had from
    `Stream.head`)."""


SOURCES: tuple[Source, ...] = (Source("hubble", hubble.looks_like, hubble.read, hubble.splittable),)

AUTO = "auto"


def by_name(name: str) -> Source:
    """The source of this name.

    Raises:
        OptionError: there is none.

    """
    for source in SOURCES:
        if source.name == name:
            return source
    known = ", ".join([AUTO, *(source.name for source in SOURCES)])
    raise OptionError(f"no such source: {printable(name)}; there are: {known}")


def recognise(item: Input, name: str = AUTO) -> Source | None:
    """The source of an input; None where the input is empty.

    Raises:
        NotAFlowLogError: it is none of them (or, where `name` is given, clearly something else).

    """
    if not item.head.strip():
        if item.head or item.compression or not item.size:
            return None if name == AUTO else by_name(name)
    named = None if name == AUTO else by_name(name)
    if named is not None:
        if named.looks_like(item.head, item.name):
            return named
        other = describe(item.head)
        # Text without a known form may be damaged records of the source that the user names.
        if other.certain:
            raise _refusal(item, other, f"not a {named.name} flow log")
        return named
    for source in SOURCES:
        if source.looks_like(item.head, item.name):
            return source
    raise _refusal(item, describe(item.head), "not a flow log that can be read")


def _refusal(item: Input, looks: Looks, problem: str) -> NotAFlowLogError:
    return NotAFlowLogError(f"{problem}: it looks like {looks.what}{looks.advice}", Place(item.name))


@dataclass(frozen=True, slots=True)
class Looks:
    """What a file looks like; `certain` where it cannot be anything else."""

    what: str
    certain: bool = True
    advice: str = ""


_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xd4\xc3\xb2\xa1", "a packet capture (pcap)"),
    (b"\xa1\xb2\xc3\xd4", "a packet capture (pcap)"),
    (b"\x4d\x3c\xb2\xa1", "a packet capture (pcap)"),
    (b"\x0a\x0d\x0d\x0a", "a packet capture (pcapng)"),
    (b"PAR1", "a Parquet file"),
    (b"PK\x03\x04", "a zip archive"),
    (b"BZh", "bzip2 data; decompress it, or use gzip or zstandard"),
    (b"\xfd7zXZ\x00", "xz data; decompress it, or use gzip or zstandard"),
    (b"\x04\x22\x4d\x18", "lz4 data; decompress it, or use gzip or zstandard"),
    (b"\x1f\x8b", "gzip data inside compressed data"),
    (b"\x28\xb5\x2f\xfd", "zstandard data inside compressed data"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\x7fELF", "a program"),
    (b"%PDF", "a PDF document"),
    (b"\xff\xfe", "UTF-16 text; write it as UTF-8 (PowerShell: `| Out-File -Encoding utf8`)"),
    (b"\xfe\xff", "UTF-16 text; write it as UTF-8"),
)

_HUMAN = "human-readable output of `hubble observe`"
_ADVICE = "; run it with `-o jsonpb` (or `-o json`)"
_PATTERNS: tuple[tuple[re.Pattern[bytes], str, bool, str], ...] = (
    # compact: `Jan 10 09:41:07.123: a/b:1 (ID:5) -> c/d:80 (ID:6) to-endpoint FORWARDED (TCP Flags: SYN)`
    (
        re.compile(
            rb"^.{0,200}\d\d:\d\d:\d\d(?:\.\d+)?.{0,400}\s(?:->|<-|<>)\s.{0,400}"
            rb"\s(?:FORWARDED|DROPPED|AUDIT|REDIRECTED|ERROR|TRACED|TRANSLATED)\b",
            re.M,
        ),
        _HUMAN,
        True,
        _ADVICE,
    ),
    # tab and table: one header line
    (re.compile(rb"^TIMESTAMP\s+(?:NODE\s+)?SOURCE\s+DESTINATION\s+TYPE\s+VERDICT\s+SUMMARY", re.M), _HUMAN, True, _ADVICE),
    # dict: a block of `KEY: value` per flow
    (re.compile(rb"^\s*TIMESTAMP: .*\n(?:\s*NODE: .*\n)?\s*SOURCE: .*\n\s*DESTINATION: ", re.M), _HUMAN, True, _ADVICE),
    (re.compile(rb"\A\s*<(?:!doctype html|html)", re.I), "an HTML page", True, ""),
    (re.compile(rb"\A\s*<\?xml|\A\s*<[a-z]+[ >]", re.I), "XML", False, ""),
    (re.compile(rb"^apiVersion:\s*\S+", re.M), "a Kubernetes manifest (YAML)", True, "; give it with --inventory"),
    (re.compile(rb"\A\s*[{\[].*\"apiVersion\"\s*:\s*\"", re.S), "Kubernetes objects (JSON)", True, "; give them with --inventory"),
    (re.compile(rb"\Aversion[ ,]account-id[ ,]", re.I), "an AWS VPC flow log", True, ""),
    (re.compile(rb"^\d+ \d{11,12} eni-[0-9a-f]+ ", re.M), "an AWS VPC flow log", True, ""),
    (re.compile(rb"^.{0,60}\b(?:tcp|udp|icmp)\s+\d+ .*\bsrc=\S+ dst=\S+ ", re.M), "a conntrack table", True, ""),
    (re.compile(rb"\A\s*---\s*$", re.M), "YAML", False, ""),
)


def describe(head: bytes) -> Looks:
    """What a file with this beginning looks like."""
    for magic, what in _MAGIC:
        if head.startswith(magic):
            return Looks(what)
    if head[257:262] == b"ustar":
        return Looks("a tar archive")
    if b"\0" in head or sum(byte < 9 or 13 < byte < 32 for byte in head[:4096]) > len(head[:4096]) // 10:
        return Looks("binary data")
    for pattern, what, certain, advice in _PATTERNS:
        if pattern.search(head[:8192]):
            return Looks(what, certain, advice)
    return _plain(head)


def _plain(head: bytes) -> Looks:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    first = text.split(b"\n", 1)[0][:500]
    if text[:1] in {b"{", b"["}:
        keys = _keys(first)
        return Looks(f"JSON of another kind{f' (with {keys})' if keys else ''}", certain=False)
    lines = [line for line in text[:8192].split(b"\n")[:5] if line]
    commas = {line.count(b",") for line in lines}
    if len(lines) > 1 and len(commas) == 1 and commas != {0}:
        return Looks(f"CSV with the header `{printable(first.decode(errors='replace'), 80)}`", certain=False)
    return Looks(f"text that begins `{printable(first.decode(errors='replace'), 60)}`", certain=False)


def _keys(line: bytes) -> str:
    try:
        value = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError):
        return ""
    return printable(", ".join(sorted(value)[:6]), 100) if isinstance(value, dict) else ""
