"""AWS flow logs to the flow table, against the engine alone: the same bytes, the same run, in turns.

    python -m tests.bench vpc                     # 2 M records in 288 files, as text and as Parquet; 10 M as Parquet
    python -m tests.bench.vpc --records 10000000  # the memory bound: 10 M records in less than 1 GiB

"Bare" is DuckDB reading the same files and grouping records into the same connections: both addresses, both ports,
protocol, verdict and hour, with the same sums (records, bytes, packets, first and last time, flags, sides seen).
"Coarse" groups by addresses, the lower port, protocol and verdict alone: quicker, but it cannot tell who called, nor
count connections. Neither checks anything, folds the two directions of a connection, or says where a record is.
"Table" is our reader with every check and the ledger; "edges" is everything from the files, that of the inventory
among them, to resolved edges. At most twice the bare engine is wanted.

Each measurement is a process of its own, and they take turns. Interpreter and imports are not part of what is compared:
every process imports all that any of them uses before the clock starts; what that takes for a run of ours is printed
once. CPU seconds are printed beside elapsed ones, because on a busy machine only the former are worth comparing.
"""

# ruff: noqa: S608 - queries of our own constants

from __future__ import annotations

import argparse
import importlib
import io
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from isal import igzip

_FIELDS = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action "
    "log-status vpc-id subnet-id instance-id tcp-flags type pkt-srcaddr pkt-dstaddr region az-id pkt-src-aws-service "
    "pkt-dst-aws-service flow-direction traffic-path"
)
FIELDS = _FIELDS.split()
NUMBERS = {"srcport", "dstport", "protocol", "packets", "bytes", "start", "end", "tcp-flags"}
FILES = 288
"""A day in windows of five minutes."""
START = 1_700_006_400
PODS, NODES, EDGES = 1000, 40, 3000
ROUNDS = 5
FORMS = ("text", "parquet")
SIZES: tuple[tuple[int, Sequence[str]], ...] = ((2_000_000, FORMS), (10_000_000, ("parquet",)))
"""What a run without arguments compares. Some 0.3 s of ours do not grow with the input: the smaller size shows them."""


def pod(number: int) -> str:
    return f"10.0.{number // 250}.{number % 250 + 2}"


def lines(records: int) -> Iterator[list[str]]:
    """The lines of each file: calls over some edges, both directions at both interfaces, a seventh of them DNS."""
    chance = random.Random(1)
    ports = [80, 8080, 443, 5432, 6379, 9090, 50051, 3000]
    edges = [(chance.randrange(PODS), chance.randrange(PODS), chance.choice(ports)) for _ in range(EDGES)]
    for number in range(FILES):
        made: list[str] = []
        while len(made) < records // FILES:
            client, server, port = chance.choice(edges)
            start = START + 300 * number + chance.randrange(300)
            udp = chance.random() < 1 / 7
            flags = (0, 0) if udp else chance.choices([(3, 19), (2, 18), (0, 0)], [7, 1, 2])[0]
            protocol, port = ("17", 53) if udp else ("6", port)
            from_port = chance.randrange(32768, 60999)
            packets, octets = chance.randrange(2, 40), chance.randrange(100, 90000)
            for node in (client % NODES, server % NODES):
                for back in (False, True):
                    a, b = (server, client) if back else (client, server)
                    p, q = (port, from_port) if back else (from_port, port)
                    way = "ingress" if (node == client % NODES) == back else "egress"
                    shown = [f"10.0.200.{node + 2}" if end % NODES == node else pod(end) for end in (a, b)]
                    made.append(
                        f"5 123456789012 eni-{node:017x} {shown[0]} {shown[1]} {p} {q} {protocol} {packets} {octets} "
                        f"{start} {start + 59} ACCEPT OK vpc-0abc12345 subnet-0aabb012 i-{node:017x} {flags[back]} "
                        f"IPv4 {pod(a)} {pod(b)} eu-west-1 euw1-az1 - - {way} 1"
                    )
        yield made[: records // FILES]


def make(directory: Path, records: int, forms: Sequence[str] = FORMS) -> None:
    """`text/*.log.gz`, and `parquet/*.parquet` with the same records."""
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    for form in forms:
        (directory / form).mkdir()
    for number, made in enumerate(lines(records)):
        data = ("\n".join([" ".join(FIELDS), *made]) + "\n").encode()
        name = f"1_vpcflowlogs_{number:03}.log"
        if "text" in forms:
            with igzip.open(directory / "text" / f"{name}.gz", "wb", compresslevel=2) as file:
                file.write(data)
        if "parquet" in forms:
            options = pc.ConvertOptions(null_values=["-"], strings_can_be_null=True)
            table = pc.read_csv(io.BytesIO(data), parse_options=pc.ParseOptions(delimiter=" "), convert_options=options)
            renamed = table.rename_columns([name.replace("-", "_") for name in table.column_names])
            pq.write_table(renamed, directory / "parquet" / f"{name}.parquet")


def engine(directory: Path, form: str, key: str) -> int:
    """DuckDB alone: the number of groups."""
    import duckdb

    connection = duckdb.connect(config={"threads": 2})
    kinds = {name.replace("-", "_"): "BIGINT" if name in NUMBERS else "VARCHAR" for name in FIELDS}
    # No quotes, and `-` for nothing, as in `aws_text`.
    options = f"delim=' ', header=true, columns={kinds}, auto_detect=false, quote='', escape='', nullstr='-'"
    text = f"read_csv('{directory}/text/*.gz', {options})"
    parquet = f"read_parquet('{directory}/parquet/*.parquet')"
    query = f"""SELECT pkt_srcaddr, pkt_dstaddr, protocol, action, {key}, count(*), sum(bytes), sum(packets),
        min(start),
        max("end"), bit_or(tcp_flags), bit_or(CASE flow_direction WHEN 'egress' THEN 1 WHEN 'ingress' THEN 2 ELSE 0 END)
        FROM {text if form == "text" else parquet} GROUP BY ALL"""
    rows = connection.sql(query).to_arrow_table().num_rows
    connection.close()
    return int(rows)


def bare(directory: Path, form: str) -> int:
    """Records into connections."""
    return engine(directory, form, "srcport, dstport, start // 3600 AS hour")


def coarse(directory: Path, form: str) -> int:
    """Records by addresses and the lower port."""
    return engine(directory, form, "least(srcport, dstport) AS port")


def table(directory: Path, form: str) -> int:
    """Files to the flow table with its ledger."""
    from netpol_gen.readers import read_flows

    return read_flows([directory / form]).table.num_rows


def edges(directory: Path, form: str) -> int:
    """Files to resolved edges, as commands do it: no row spans a time at which an address changes hands."""
    from netpol_gen.api import load_flows
    from netpol_gen.edges import find_edges
    from netpol_gen.inventory import load_inventory

    held = load_inventory([directory / "inventory.json"])
    return len(find_edges(load_flows([directory / form], inventory=held), held).accepted)


def inventory() -> dict[str, Any]:
    """The pods, four to a workload."""
    born = "2023-11-01T00:00:00Z"
    items = []
    for i in range(PODS):
        ports = [{"containerPort": port} for port in (80, 8080, 443, 5432, 6379, 9090, 50051, 3000)]
        labels = {"app": f"app-{i // 4}"}
        metadata = {"name": f"pod-{i}", "namespace": f"team-{i // 4 % 20}", "labels": labels, "creationTimestamp": born}
        spec = {"nodeName": f"node-{i % NODES}", "containers": [{"name": "main", "ports": ports}]}
        status = {"phase": "Running", "startTime": born, "podIP": pod(i)}
        items.append({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status})
    return {"apiVersion": "v1", "kind": "List", "items": items}


MEASURED = {"bare": bare, "coarse": coarse, "table": table, "edges": edges}


IMPORTED = (
    "duckdb",
    "pyarrow.csv",
    "pyarrow.parquet",
    "pyarrow.compute",
    "netpol_gen.readers",
    "netpol_gen.readers.table",
    "netpol_gen.inventory",
    "netpol_gen.edges",
    "netpol_gen.api",
)


def start() -> float:
    """CPU seconds of an interpreter that imports all of it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", f"import {', '.join(IMPORTED)}"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def child(what: str, directory: Path, form: str) -> None:
    """Measure in this process, tell the parent."""
    for name in IMPORTED:
        importlib.import_module(name)
    wall, cpu = time.perf_counter(), time.process_time()
    rows = MEASURED[what](directory, form)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu, peak, rows]))


def measure(what: str, directory: Path, form: str) -> list[float]:
    command = [sys.executable, "-m", "tests.bench.vpc", "--child", what, "--directory", str(directory), "--form", form]
    ran = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    found: list[float] = json.loads(ran.stdout)
    return found


def compare(directory: Path, form: str, records: int, rounds: int) -> None:
    best: dict[str, list[float]] = {}
    for _ in range(rounds):
        for what in MEASURED:
            found = measure(what, directory, form)
            old = best.get(what, found)
            best[what] = [min(old[0], found[0]), min(old[1], found[1]), max(old[2], found[2]), found[3]]
    alone = best["bare"]
    for what, (wall, cpu, peak, rows) in best.items():
        print(
            f"{form:8} {what:6} {wall:7.2f} s  {cpu:7.2f} CPU s  {records / wall / 1000:7.0f} k records/s  "
            f"{peak:5.0f} MiB  {rows:8.0f} {'edges' if what == 'edges' else 'rows'}  "
            f"{wall / alone[0]:5.2f} x bare  {cpu / alone[1]:5.2f} x bare in CPU",
            flush=True,
        )


def main(arguments: list[str] | None = None) -> None:
    """Make the input, measure in turns, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--form", choices=FORMS)
    parser.add_argument("--child", choices=tuple(MEASURED))
    parser.add_argument("--directory", type=Path)
    given = parser.parse_args(arguments if arguments is not None else [])
    if given.child:
        child(given.child, given.directory, given.form)
        return
    forms = (given.form,) if given.form else FORMS
    for records, wanted in [(given.records, forms)] if given.records else SIZES:
        run(records, wanted, given.rounds)
    print(f"beside that, interpreter and imports: {min(start() for _ in range(given.rounds)):.2f} CPU s")


def run(records: int, forms: Sequence[str], rounds: int) -> None:
    """Compare on so many records."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        make(directory, records, forms)
        (directory / "inventory.json").write_text(json.dumps(inventory()))
        sizes = {form: sum(path.stat().st_size for path in (directory / form).iterdir()) for form in forms}
        told = ", ".join(f"{size / 2**20:.0f} MiB of {form}" for form, size in sizes.items())
        print(f"{records:,} records in {FILES} files, {told}; best of {rounds}")
        for form in forms:
            compare(directory, form, records, rounds)


if __name__ == "__main__":
    main(sys.argv[1:])
