"""The judge and the connectivity against a second evaluator that shares no code, on random clusters."""

from __future__ import annotations

import ipaddress
import itertools
import os
from collections import Counter

import pytest

from netpol_gen.connectivity import connections
from netpol_gen.evaluate import Judge
from netpol_gen.model import Decision, Protocol
from tests import oracle
from tests.evaluate import worlds

# More with NETPOL_GEN_CASES; the default fits into the time of every run.
CASES = int(os.environ.get("NETPOL_GEN_CASES", "480"))
BATCHES = 10
QUESTIONS = [("TCP", 80), ("TCP", 81), ("TCP", 2), ("UDP", 53), ("UDP", 400), ("SCTP", 1), ("SCTP", 65535)]
SAYS = {True: Decision.ALLOW, False: Decision.DENY}


def ends(manifests):
    return [m for m in manifests if m["kind"] == "Pod"] + worlds.OUTSIDE


def view(end):
    return ipaddress.ip_address(end) if isinstance(end, str) else worlds.as_pod(end)


def show(end):
    return end if isinstance(end, str) else end["metadata"]["name"]


def asked(manifests):
    """All pairs with a pod at one end or both, a pod with itself left out (the oracle says why)."""
    for src, dst in itertools.product(ends(manifests), repeat=2):
        if not (isinstance(src, str) and isinstance(dst, str)):
            yield src, dst


@pytest.mark.parametrize("batch", range(BATCHES))
@pytest.mark.parametrize("blocks", [True, False])
@pytest.mark.parametrize("tiers", [0, 3])
def test_every_verdict_is_the_oracles(batch, blocks, tiers):
    seen = Counter()
    for seed in range(batch, CASES // 4, BATCHES):
        manifests = worlds.world(seed * 2 + blocks, tiers=tiers)
        judge = Judge(
            worlds.as_policies(manifests),
            worlds.as_inventory(manifests),
            tiers=worlds.as_tiers(manifests),
            ipblock_matches_pods=SAYS[blocks],
        )
        for src, dst in asked(manifests):
            a, b = view(src), view(dst)
            for protocol, port in QUESTIONS:
                want = oracle.allowed(manifests, src, dst, protocol, port, blocks_match_pods=blocks)
                found = judge.connection(a, b, Protocol(protocol), port)
                seen[found.decision] += 1
                assert found.decision is SAYS[want], (seed, show(src), show(dst), protocol, port, found)
    # Neither answer is rare, so that agreement means something.
    assert min(seen[Decision.ALLOW], seen[Decision.DENY]) > 0.1 * seen.total()
    assert seen[Decision.UNKNOWN] == 0


@pytest.mark.parametrize("batch", range(BATCHES))
@pytest.mark.parametrize("blocks", [True, False])
@pytest.mark.parametrize("tiers", [0, 3])
def test_the_connectivity_is_the_oracles(batch, blocks, tiers):
    for seed in range(batch, CASES // 4, BATCHES):
        manifests = worlds.world(seed * 2 + blocks, tiers=tiers)
        found = connections(
            worlds.as_policies(manifests),
            worlds.as_inventory(manifests),
            tiers=worlds.as_tiers(manifests),
            ipblock_matches_pods=SAYS[blocks],
        )
        cells = table(found)
        for src, dst in asked(manifests):
            if src is dst:
                continue
            sure, may = lookup(cells, src, dst)
            own_node = any(not isinstance(e, str) and e["spec"].get("hostNetwork") for e in (src, dst))
            for protocol, port in QUESTIONS:
                want = oracle.allowed(manifests, src, dst, protocol, port, blocks_match_pods=blocks)
                place = (seed, show(src), show(dst), protocol, port, str(sure), str(may))
                assert (port in sure.ports(Protocol(protocol))) == want, place
                assert own_node or sure == may, place


def table(found):
    """Rows by the names of their ends; ranges in a list per workload and direction."""
    cells = {}
    for row in found.rows():
        src, dst = (end.name if hasattr(end, "kind") else None for end in (row.src, row.dst))
        network = row.src if src is None else row.dst if dst is None else None
        cells.setdefault((src, dst), []).append((network, row.connections, row.possible))
    return cells


def lookup(cells, src, dst):
    from netpol_gen.sets import ConnectionSet

    key = tuple(None if isinstance(e, str) else e["metadata"]["name"] for e in (src, dst))
    address = next((ipaddress.ip_address(e) for e in (src, dst) if isinstance(e, str)), None)
    hits = [
        (sure, may)
        for network, sure, may in cells.get(key, [])
        if network is None or (address.version == network.version and address in network)
    ]
    assert len(hits) <= 1, "rows overlap"
    return hits[0] if hits else (ConnectionSet.NONE, ConnectionSet.NONE)
