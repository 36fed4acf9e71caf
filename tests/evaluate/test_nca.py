"""The connectivity against network-config-analyzer, an independent public engine, on random clusters."""

from __future__ import annotations

import ipaddress
import json
import re
import subprocess

import pytest

from netpol_gen.connectivity import connections
from netpol_gen.model import Decision, Protocol, Workload
from netpol_gen.sets import AddressSet, ConnectionSet, PortSet
from tests import oracle
from tests.evaluate import worlds

LINE = re.compile(r"(?P<src>\S.*?) => (?P<dst>.*?) : (?P<what>.*)")


def run_nca(program, directory):
    ran = subprocess.run(
        [
            program,
            "--connectivity",
            "-r",
            directory,
            "-o",
            "txt_no_fw_rules",
            "--output_endpoints",
            "pods",
            "--print_ipv6",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=directory,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def read_nca(text):
    """Connections by (source, destination); ends are `namespace/pod` or an AddressSet."""
    found = []
    for line in text.splitlines():
        match = LINE.fullmatch(line.strip())
        if match:
            found.append((*(end(match[k]) for k in ("src", "dst")), connection(match["what"])))
    return found


def end(text):
    if "/" in text and not re.match(r"[0-9a-f.:]+[-/]", text):
        return text
    ranges = AddressSet()
    for part in text.split(","):
        low, _, high = part.strip().partition("-")
        if "/" in low:
            ranges |= AddressSet.of(ipaddress.ip_network(low))
            continue
        low, high = ipaddress.ip_address(low), ipaddress.ip_address(high or low)
        ranges |= AddressSet.of(*ipaddress.summarize_address_range(low, high))
    return ranges


def connection(text):
    if text == "All connections":
        return ConnectionSet.ALL
    match = re.fullmatch(r"\{protocols:(?P<protocols>[A-Z, ]+?)(,dst_ports:(?P<ports>[0-9,-]+))?\}", text)
    assert match, text
    ports = PortSet.everything()
    if match["ports"]:
        ends = [tuple(map(int, p.split("-"))) for p in match["ports"].split(",")]
        ports = PortSet.of(*((e[0], e[-1]) for e in ends))
    out = ConnectionSet.NONE
    for protocol in match["protocols"].split(", "):
        out |= ConnectionSet.of(Protocol(protocol), ports)
    return out


def flat(found):
    """Between pods by name, and per pod and direction the whole outside as addresses by connection set."""
    between = {}
    outside = {}
    for src, dst, what in found:
        if not what:
            continue
        if isinstance(src, str) and isinstance(dst, str):
            between[src, dst] = between.get((src, dst), ConnectionSet.NONE) | what
        else:
            key = (src, "out") if isinstance(src, str) else (dst, "in")
            addresses = dst if isinstance(src, str) else src
            outside.setdefault(key, []).append((addresses, what))
    return between, {key: partition(parts) for key, parts in outside.items()}


def partition(parts):
    """Addresses by the union of what they get."""
    cells = {ConnectionSet.NONE: AddressSet.everything()}
    for addresses, what in parts:
        split = {}
        for had, where in cells.items():
            for got, part in ((had | what, where & addresses), (had, where - addresses)):
                if part:
                    split[got] = split.get(got, AddressSet()) | part
        cells = split
    return {what: where for what, where in cells.items() if what}


def ours(manifests):
    found = connections(
        worlds.as_policies(manifests), worlds.as_inventory(manifests), ipblock_matches_pods=Decision.DENY
    )
    return [(*map(name_of, (r.src, r.dst)), r.connections) for r in found.rows()]


def name_of(side):
    return f"{side.namespace}/{side.name}" if isinstance(side, Workload) else AddressSet.of(side)


def adapt(manifest):
    """Leave out what the engine refuses or does not know: hostNetwork, rules of unlisted types, absent fields."""
    spec = manifest.get("spec", {})
    manifest.setdefault("apiVersion", "v1")
    spec.pop("hostNetwork", None)
    if manifest["kind"] == "NetworkPolicy":
        spec.setdefault("podSelector", {})
        types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
        spec["policyTypes"] = types
        for key in ("ingress", "egress"):
            if key.capitalize() not in types:
                spec.pop(key, None)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(24))
def test_the_connectivity_is_that_of_network_config_analyzer(seed, nca, tmp_path):
    manifests = worlds.world(1000 + seed, pods=8 + 4 * (seed % 9), policies=4 + seed)
    for manifest in manifests:
        adapt(manifest)
    (tmp_path / "all.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))
    between, outside = flat(read_nca(run_nca(nca, tmp_path)))
    our_between, our_outside = flat(ours(manifests))
    # It leaves out a pod's way to itself.
    our_between = {k: v for k, v in our_between.items() if k[0] != k[1]}
    differing = {k for k in {*between, *our_between} if between.get(k) != our_between.get(k)}
    check_with_oracle(manifests, differing, between, our_between)
    assert len(differing) <= 0.02 * len(between)
    assert our_outside == outside
    assert between or outside


def check_with_oracle(manifests, differing, theirs, found):
    """The engine loses port names next to "all ports" of another protocol; where it differs, a third voice decides."""
    pods = {f"{m['metadata']['namespace']}/{m['metadata']['name']}": m for m in manifests if m["kind"] == "Pod"}
    for src, dst in differing:
        a, b = (side.get((src, dst), ConnectionSet.NONE) for side in (theirs, found))
        for what in (a - b, b - a):
            for protocol in Protocol:
                for low, high in what.ports(protocol).intervals:
                    for port in {low, high}:
                        want = oracle.allowed(manifests, pods[src], pods[dst], protocol, port, blocks_match_pods=False)
                        assert (port in b.ports(protocol)) == want, (src, dst, protocol, port)
        assert any(isinstance(p.get("port"), str) for p in every_port(manifests))


def every_port(manifests):
    for manifest in manifests:
        for key in ("ingress", "egress"):
            for rule in manifest.get("spec", {}).get(key) or []:
                yield from rule.get("ports") or []
