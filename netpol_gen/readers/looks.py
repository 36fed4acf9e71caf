"""What a file that is no flow log looks like, for the error message."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import msgspec

from netpol_gen.errors import printable


@dataclass(frozen=True, slots=True)
class Looks:
    """What a file looks like; `certain` where it cannot be anything else.

    `flows` where there may be flows in it all the same: in a form that is not read, or damaged.
    """

    what: str
    certain: bool = True
    advice: str = ""
    flows: bool = False


BINARY = "binary data"
_PACKED = "; decompress it, or use gzip or zstandard"
_MAGIC: tuple[tuple[bytes, Looks], ...] = (
    (b"\xd4\xc3\xb2\xa1", Looks("a packet capture (pcap)")),
    (b"\xa1\xb2\xc3\xd4", Looks("a packet capture (pcap)")),
    (b"\x4d\x3c\xb2\xa1", Looks("a packet capture (pcap)")),
    (b"\x0a\x0d\x0d\x0a", Looks("a packet capture (pcapng)")),
    (b"PAR1", Looks("a Parquet file")),
    (b"PK\x03\x04", Looks("a zip archive", flows=True)),
    (b"BZh", Looks(f"bzip2 data{_PACKED}", flows=True)),
    (b"\xfd7zXZ\x00", Looks(f"xz data{_PACKED}", flows=True)),
    (b"\x04\x22\x4d\x18", Looks(f"lz4 data{_PACKED}", flows=True)),
    (b"\x1f\x8b", Looks("gzip data inside compressed data", flows=True)),
    (b"\x28\xb5\x2f\xfd", Looks("zstandard data inside compressed data", flows=True)),
    (b"SQLite format 3\x00", Looks("an SQLite database")),
    (b"\x7fELF", Looks("a program")),
    (b"%PDF", Looks("a PDF document")),
    (b"\xff\xfe", Looks("UTF-16 text; write it as UTF-8 (PowerShell: `| Out-File -Encoding utf8`)", flows=True)),
    (b"\xfe\xff", Looks("UTF-16 text; write it as UTF-8", flows=True)),
)

_HUMAN = Looks(
    "human-readable output of `hubble observe`", advice="; run it with `-o jsonpb` (or `-o json`)", flows=True
)
AWS = Looks(
    "an AWS VPC flow log", advice="; without a header, give the order of its fields with --aws-format", flows=True
)
_CLOUDWATCH = Looks(
    "a CloudWatch export",
    certain=False,
    advice="; for AWS flow logs give the order of their fields with --aws-format",
    flows=True,
)
_PATTERNS: tuple[tuple[re.Pattern[bytes], Looks], ...] = (
    # compact: `Jan 10 09:41:07.123: a/b:1 (ID:5) -> c/d:80 (ID:6) to-endpoint FORWARDED (TCP Flags: SYN)`
    (
        re.compile(
            rb"(?m)^[^\n]{0,100}\d\d:\d\d:\d\d(?:\.\d+)?[^\n]{0,300}\s(?:->|<-|<>)\s[^\n]{0,300}"
            rb"\s(?:FORWARDED|DROPPED|AUDIT|REDIRECTED|ERROR|TRACED|TRANSLATED)\b"
        ),
        _HUMAN,
    ),
    # tab and table: one header line
    (re.compile(rb"(?m)^TIMESTAMP\s+(?:NODE\s+)?SOURCE\s+DESTINATION\s+TYPE\s+VERDICT\s+SUMMARY"), _HUMAN),
    # dict: a block of `KEY: value` per flow
    (re.compile(rb"(?m)^[ \t]*TIMESTAMP: .*\n(?:[ \t]*NODE: .*\n)?[ \t]*SOURCE: .*\n[ \t]*DESTINATION: "), _HUMAN),
    (re.compile(rb"(?i)\A\s*<(?:!doctype html|html)"), Looks("an HTML page")),
    (re.compile(rb"(?i)\A\s*<(?:\?xml|[a-z]+[ >])"), Looks("XML", certain=False)),
    (
        re.compile(rb"(?m)^(?:- )?apiVersion:\s*\S+"),
        Looks("a Kubernetes manifest (YAML)", advice="; give it with --inventory"),
    ),
    (
        re.compile(rb'(?s)\A\s*[{\[].*"apiVersion"\s*:\s*"'),
        Looks("Kubernetes objects (JSON)", advice="; give them with --inventory"),
    ),
    (re.compile(rb"(?i)\Aversion[ ,]account-id[ ,]"), AWS),
    (re.compile(rb'\A\s*\{[^\n]*"logEvents"\s*:'), _CLOUDWATCH),
    (re.compile(rb"\A[^\n]{0,400}(?<![\w.])@message\b"), _CLOUDWATCH),
    (re.compile(rb"(?m)^\d+ \d{11,12} eni-[0-9a-f]+ "), AWS),
    (
        re.compile(rb"(?m)^[^\n]{0,60}\b(?:tcp|udp|icmp)\s+\d+ .*\bsrc=\S+ dst=\S+ "),
        Looks("something else that quotes entries of a conntrack table", flows=True),
    ),
    (re.compile(rb"\A\s*---\s*\n"), Looks("YAML", certain=False)),
)

# What only flow logs have, whichever source wrote them: enough to take a file for a damaged one, not to read it.
_KEYS = (
    "verdict|is_reply|isReply|traffic_direction|trafficDirection|lost_events|lostEvents|node_status|nodeStatus|l4|"
    "(?:pkt[-_])?(?:src|dst)addr|src_ip|dest_ip|receivedMessages|flowTuples|flowRecords|"
    "(?:source|dest)_name(?:_aggr)?|sourceName|destName|observed_verdict"
)
_TRACE = re.compile(
    rf'\\?"(?:{_KEYS})\\?"\s*:|\\?"(?:flow|IP)\\?"\s*:\s*\{{|EVENTS LOST: |vpc_flows|'
    r"NetworkSecurityGroupFlow|FlowLogFlow|flowLogVersion|\beni-[0-9a-f]{8,17}[ ,\t]|\b(?:ACCEPT|REJECT)[ ,\t]OK\b|"
    r"\bsrc=[0-9a-fA-F:.]+ dst=[0-9a-fA-F:.]|<conntrack>|<flow type=|<meta direction=".encode()
)
_NAMES = {"account-id", "interface-id", "srcaddr", "dstaddr", "pkt-srcaddr", "pkt-dstaddr", "log-status", "tcp-flags"}
_NAMES |= {"first_seen", "observed_verdict", "src_ip", "dst_ip"}


def traces(head: bytes) -> bool:
    """Whether something of a flow log is in a beginning that no source recognises: then it may be a damaged one."""
    first = head.removeprefix(b"\xef\xbb\xbf").lstrip().split(b"\n", 1)[0][:2000].decode(errors="replace").lower()
    header = {word.strip("\"'`") for word in re.split(r"[\s,]+", first)}
    named = len(_NAMES & (header | {word.replace("_", "-") for word in header}))
    return named > 1 or _TRACE.search(head) is not None


def describe(head: bytes) -> Looks:
    """What a file with this beginning looks like."""
    found = _described(head)
    return found if found.certain or found.flows or not traces(head) else replace(found, flows=True)


def _described(head: bytes) -> Looks:
    for magic, looks in _MAGIC:
        if head.startswith(magic):
            return looks
    if head[257:262] == b"ustar":
        return Looks("a tar archive", flows=True)
    if b"\0" in head or sum(byte < 9 or 13 < byte < 32 for byte in head[:4096]) > len(head[:4096]) // 10:
        return Looks(BINARY, flows=traces(head))
    for pattern, looks in _PATTERNS:
        if pattern.search(head[:8192]):
            return looks
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
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return printable(", ".join(sorted(value)[:6]), 100) if isinstance(value, dict) else ""
