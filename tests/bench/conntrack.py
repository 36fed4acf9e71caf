"""Conntrack text from a file to the flow table, per core, with and without the compiled module, and bare engines."""

from __future__ import annotations

import random
import re
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import duckdb

from netpol_gen.readers import conntrack, conntrack_lines
from netpol_gen.readers.files import expand
from netpol_gen.readers.vpc import Options

LINES = 400_000
PAIRS = 30_000
"""Client and server pairs; with their ports about twice as many conversations."""
SEED = 7

_FIELDS = re.compile(
    rb"^(?:ipv[46] +\d+ )?(\w+) +\d+ (?:\d+ )?(?:([A-Z_]+) )?src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+) "
    rb"(?:packets=(\d+) bytes=(\d+) )?(\[UNREPLIED\] )?src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+)",
    re.MULTILINE,
)
_GROUP = """
SELECT split_part(split_part(l, ' src=', 2), ' ', 1) AS src, split_part(split_part(l, ' dst=', 2), ' ', 1) AS dst,
    split_part(split_part(l, ' dport=', 2), ' ', 1)::INT AS dport,
    split_part(split_part(l, ' src=', 3), ' ', 1) AS server,
    split_part(split_part(l, ' sport=', 3), ' ', 1)::INT AS sport,
    contains(l, '[UNREPLIED]') AS unreplied,
    count(DISTINCT split_part(split_part(l, ' sport=', 2), ' ', 1)) AS flows, count(*) AS records
FROM read_csv('{path}', columns = {{'l': 'VARCHAR'}}, delim = '\x01', header = false, quote = '', escape = '',
    auto_detect = false)
WHERE l NOT LIKE '%icmp%' GROUP BY ALL
"""


def table(*, v6: bool, count: int) -> Iterator[str]:
    """Lines as `/proc/net/nf_conntrack` has them: TCP calls, DNS through a ClusterIP, lone SYNs, some ICMP."""
    draw = random.Random(SEED)

    def address() -> str:
        number = draw.randrange(4000)
        return (
            f"fd00:0010:0244:{number >> 8:04x}:0000:0000:0000:{number & 255:04x}"
            if v6
            else f"10.{number >> 8}.{number & 255}.7"
        )

    family = "ipv6     10" if v6 else "ipv4     2"
    dns = "fd00:0010:0096:0000:0000:0000:0000:000a" if v6 else "10.96.0.10"
    pairs = [(address(), address(), draw.choice([80, 443, 5432, 8080, 9090])) for _ in range(PAIRS)]
    for _ in range(count):
        client, server, port = draw.choice(pairs)
        mine, kind = draw.randrange(32768, 61000), draw.random()
        packets, octets = draw.randrange(5, 500), draw.randrange(500, 500_000)
        if kind < 0.25:
            yield (
                f"{family} udp      17 {draw.randrange(180)} src={client} dst={dns} sport={mine} dport=53 packets=1 "
                f"bytes=68 src={server} dst={client} sport=5353 dport={mine} packets=1 bytes=69 mark=0 zone=0 use=2"
            )
        elif kind < 0.27:
            yield (
                f"{family} icmp     1 29 src={client} dst={server} type=8 code=0 id=7 packets=2 bytes=168 "
                f"src={server} dst={client} type=0 code=0 id=7 packets=2 bytes=168 mark=0 zone=0 use=2"
            )
        elif kind < 0.32:
            yield (
                f"{family} tcp      6 116 SYN_SENT src={client} dst={server} sport={mine} dport={port} packets=1 "
                f"bytes=60 [UNREPLIED] src={server} dst={client} sport={port} dport={mine} packets=0 "
                "bytes=0 mark=0 zone=0 use=2"
            )
        else:
            yield (
                f"{family} tcp      6 {draw.randrange(432000)} ESTABLISHED src={client} dst={server} sport={mine} "
                f"dport={port} packets={packets} bytes={octets} src={server} dst={client} sport={port} dport={mine} "
                f"packets={packets} bytes={octets} [ASSURED] mark=0 zone=0 use=2"
            )


def timed(run: Callable[[], object], rounds: int = 2) -> float:
    """Seconds of processor time, the best of some rounds: what one core does, whatever else runs."""
    best = float("inf")
    for _ in range(rounds):
        begin = time.process_time()
        run()
        best = min(best, time.process_time() - begin)
    return best


def main() -> None:
    """Print lines per second and core, and the ratios to the engines. At least 500,000 of IPv4 are wanted."""
    with tempfile.TemporaryDirectory() as where:
        for v6 in (False, True):
            path = Path(where, "v6" if v6 else "v4")
            with path.open("w", encoding="ascii") as file:
                file.writelines(f"{line}\n" for line in table(v6=v6, count=LINES))
            _compare(path, "IPv6, uncompressed" if v6 else "IPv4")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"peak memory of all of it: {peak} MiB")


def _compare(path: Path, title: str) -> None:
    flows = conntrack.read(expand([path]), Options())
    ours = timed(lambda: conntrack.read(expand([path]), Options()))
    with mock.patch.object(conntrack_lines, "module", return_value=None):
        arrays = timed(lambda: conntrack.read(expand([path]), Options()))
    engine = duckdb.connect(config={"threads": 1})
    engine.execute("SET enable_progress_bar = false")
    theirs = timed(lambda: engine.sql(_GROUP.format(path=path)).to_arrow_table(), 2)
    found = timed(lambda: [len(_FIELDS.findall(block)) for block in _blocks(path)])
    print(f"{title}: {LINES:,} lines, {path.stat().st_size >> 20} MiB, {flows.table.num_rows:,} rows")
    if conntrack_lines.module() is None:
        print("  the compiled module is not built: a C compiler, then `make venv`")
    rates = {
        "file to table": ours,
        "without the module": arrays,
        "DuckDB, parse and group": theirs,
        "regex findall alone": found,
    }
    for name, seconds in rates.items():
        print(f"  {name:26} {LINES / seconds / 1000:7.0f} k lines/s per core   {seconds / ours:5.2f} x our time")


def _blocks(path: Path) -> Iterator[bytes]:
    rest = b""
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            end = piece.rfind(b"\n") + 1
            yield rest + piece[:end]
            rest = piece[end:]
