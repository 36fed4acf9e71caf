"""A small cluster of network namespaces: a node that routes, pods behind it, one party outside; nftables on the node.

Needs root, iproute2 and nftables. Everything lies in namespaces of this process's own and goes with them; the host's
own interfaces and rules are left alone. Servers are children of this process and are ended by it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

NODE = "10.255.0.1"

SERVER = """
import selectors, socket, sys
import json
loop = selectors.DefaultSelector()
for proto, port in json.loads(sys.argv[1]):
    kind = socket.SOCK_STREAM if proto == "TCP" else socket.SOCK_DGRAM
    s = socket.socket(socket.AF_INET, kind)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("0.0.0.0", port))
    if proto == "TCP":
        s.listen(64)
    loop.register(s, selectors.EVENT_READ, proto)
print("ready", flush=True)
while True:
    for key, _ in loop.select():
        if key.data == "TCP":
            c, _ = key.fileobj.accept()
            c.sendall(b"here")
            c.close()
        else:
            data, peer = key.fileobj.recvfrom(64)
            key.fileobj.sendto(b"here", peer)
"""

PROBE = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def tcp(ip, port):
    with socket.create_connection((ip, port), timeout=2) as s:
        return s.recv(8) == b"here"
def udp(ip, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(2)
        s.connect((ip, port))
        s.send(b"anyone")
        return s.recv(8) == b"here"
def ask(probe):
    ip, proto, port = probe
    try:
        return (tcp if proto == "TCP" else udp)(ip, port)
    except OSError:
        return False
with ThreadPoolExecutor(16) as pool:
    json.dump(list(pool.map(ask, json.load(sys.stdin))), sys.stdout)
"""

Probe = tuple[str, str, int]
"""Address, protocol and port."""


def run(*command: str, stdin: str | None = None) -> str:
    ran = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=60)
    if ran.returncode:
        raise RuntimeError(f"{' '.join(command)}: {ran.stderr.strip()}")
    return ran.stdout


@dataclass
class Lab:
    """Parties by name, each with its address and the doors it opens."""

    addresses: Mapping[str, str]
    doors: Sequence[tuple[str, int]]
    prefix: str = field(default_factory=lambda: f"npg{os.getpid()}")
    servers: list[subprocess.Popen[str]] = field(default_factory=list)
    made: list[str] = field(default_factory=list)

    def space(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def _inside(self, name: str, *command: str, stdin: str | None = None) -> str:
        return run("ip", "netns", "exec", self.space(name), *command, stdin=stdin)

    def _add(self, name: str) -> None:
        run("ip", "netns", "add", self.space(name))
        self.made.append(name)
        self._inside(name, "ip", "link", "set", "lo", "up")

    def build(self) -> None:
        self._add("node")
        self._inside("node", "sysctl", "-qw", "net.ipv4.ip_forward=1")
        # The kernel holds back refusals to one address; a probe would wait for each in vain.
        self._inside("node", "sysctl", "-qw", "net.ipv4.icmp_ratelimit=0")
        for number, (name, address) in enumerate(self.addresses.items()):
            self._add(name)
            wire, node = f"v{number}", self.space("node")
            run("ip", "link", "add", wire, "netns", node, "type", "veth", "peer", "eth0", "netns", self.space(name))
            self._inside("node", "ip", "addr", "add", f"{NODE}/32", "dev", wire)
            self._inside("node", "ip", "link", "set", wire, "up")
            self._inside("node", "ip", "route", "add", f"{address}/32", "dev", wire)
            self._inside(name, "ip", "addr", "add", f"{address}/32", "dev", "eth0")
            self._inside(name, "ip", "link", "set", "eth0", "up")
            self._inside(name, "ip", "route", "add", NODE, "dev", "eth0", "scope", "link")
            self._inside(name, "ip", "route", "add", "default", "via", NODE, "src", address)
        for name in self.addresses:
            command = ["ip", "netns", "exec", self.space(name), sys.executable, "-c", SERVER, json.dumps(self.doors)]
            server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            self.servers.append(server)
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"

    def enforce(self, allowed: Iterable[str]) -> None:
        """Let through what the rules name, and answers; refuse everything else, loudly, so that a probe is quick."""
        lines = [
            "flush ruleset",
            "table inet lab {",
            " chain forward {",
            "  type filter hook forward priority 0; policy drop;",
            "  ct state established,related accept",
            *(f"  {rule} accept" for rule in allowed),
            "  meta l4proto tcp reject with tcp reset",
            "  reject with icmpx admin-prohibited",
            " }",
            "}",
        ]
        self._inside("node", "nft", "-f", "-", stdin="\n".join(lines))

    def probe(self, name: str, probes: Sequence[Probe]) -> list[bool]:
        """Which of them are answered, asked from a party, over real sockets."""
        return [bool(x) for x in json.loads(self._inside(name, sys.executable, "-c", PROBE, stdin=json.dumps(probes)))]

    def clear(self) -> None:
        for server in self.servers:
            server.terminate()
            server.wait(10)
            if server.stdout is not None:
                server.stdout.close()
        for name in reversed(self.made):
            subprocess.run(["ip", "netns", "del", self.space(name)], check=False, capture_output=True)


@contextmanager
def lab(addresses: Mapping[str, str], doors: Sequence[tuple[str, int]]) -> Iterator[Lab]:
    made = Lab(addresses, doors)
    try:
        made.build()
        yield made
    finally:
        made.clear()


def possible() -> str:
    """Why no lab can be made here; empty if one can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    try:
        run("unshare", "-n", "nft", "list", "ruleset")
        run("unshare", "-n", "ip", "link", "add", "veth8", "type", "veth", "peer", "name", "veth9")
    except (OSError, RuntimeError) as error:
        return str(error)
    return ""
