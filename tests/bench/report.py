"""The HTML page for clusters of 300 and 500 workloads: how long it takes to make, how much it weighs.

What the browser makes of it is measured in tests/report/test_browser.py, where there is one.
"""

from __future__ import annotations

import random
import time

from netpol_gen import pipeline
from netpol_gen.config import Config
from netpol_gen.plan import Plan
from netpol_gen.report.html import gather, render
from tests.flowrows import HOUR, NOW, flows_of, inventory_of, node, pod, row

SPACES = 15
SIZES = ((300, 2000), (500, 5000))


def made(workloads: int, edges: int, seed: int = 7) -> Plan:
    """A plan for a cluster whose calls go mostly to a few popular servers, as real ones do."""
    rng = random.Random(seed)
    addresses = [f"10.{1 + i // 250}.{i % 250}.7" for i in range(workloads)]
    pods = [
        pod(f"app-{i:03}-0", f"app-{i:03}", addresses[i], *_ports(i), namespace=f"team-{i % SPACES:02}")
        for i in range(workloads)
    ]
    wanted: set[tuple[int, int, int]] = set()
    while len(wanted) < edges:
        server = min(int(rng.paretovariate(0.7)) - 1, workloads - 1)
        client = rng.randrange(workloads)
        if client != server:
            wanted.add((client, server, rng.choice(_ports(server))[0]))
    rows = [
        row(
            addresses[client],
            addresses[server],
            port,
            flows=rng.randrange(1, 5000),
            records=5000,
            first_seen=NOW + k * HOUR // 10,
            last_seen=NOW + k * HOUR // 10,
            hours=[(NOW + k * HOUR // 10) // HOUR],
            sample=f"flows.jsonl:{k + 1}",
        )
        for k, (client, server, port) in enumerate(sorted(wanted))
    ]
    inventory = inventory_of(*pods, node("n1", "192.168.0.1"))
    return pipeline.generate(flows_of(*rows), inventory, Config())


def _ports(i: int) -> tuple[tuple[int, str], ...]:
    return ((8080, "http"), (9090, "metrics")) if i % 3 else ((8080, "http"), (9090, "metrics"), (5432, "db"))


def main() -> None:
    """Print a line per size."""
    print("workloads  edges  policies  judge s  page s     MB")
    for workloads, edges in SIZES:
        plan = made(workloads, edges)
        start = time.perf_counter()
        material = gather(plan)
        judged = time.perf_counter()
        page = render(material)
        done = time.perf_counter()
        print(
            f"{workloads:>9}  {edges:>5}  {len(plan.policies):>8}  {judged - start:>7.1f}  {done - judged:>6.1f}"
            f"  {len(page.encode()) / 1e6:>5.2f}"
        )


if __name__ == "__main__":
    main()
