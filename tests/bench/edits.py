"""Many policies of one file changed at once, as `propose` does it: a stream of documents, a List, and JSON.

Input: the policies of `judge`, with comments in the streams. Nine of ten get other ports, the tenth goes.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace

import yaml

from netpol_gen.errors import Place
from netpol_gen.policy import parse_policy
from netpol_gen.proposal import Action, PolicyChange
from netpol_gen.propose.tree import ManifestTree, read_tree
from netpol_gen.propose.write import write
from tests.bench import judge

COUNTS = (50, 200)


def main() -> None:
    for form, file_of in (("documents", stream), ("items of a List", listed), ("items of a JSON List", as_json)):
        print(f"policies changed in one file, {form}")
        for count in COUNTS:
            manifests = judge.policies(count, count)
            tree = read_tree({"p.yaml": file_of(manifests)}, "", "default")
            changes = changed(tree)
            started = time.perf_counter()
            write(changes, tree, ())
            seconds = time.perf_counter() - started
            print(f"  {count:4} policies: {seconds:6.2f} s, {seconds / count * 1e3:5.1f} ms per policy", flush=True)


def stream(manifests: list[dict]) -> bytes:
    return "".join(f"---\n# policy {i}\n{dumped(m)}" for i, m in enumerate(manifests)).encode()


def listed(manifests: list[dict]) -> bytes:
    return dumped({"apiVersion": "v1", "kind": "List", "items": manifests}).encode()


def as_json(manifests: list[dict]) -> bytes:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}, indent=4).encode()


def dumped(value: dict) -> str:
    return yaml.dump(value, Dumper=yaml.CSafeDumper, sort_keys=False)


def changed(tree: ManifestTree) -> list[PolicyChange]:
    """Every policy with 8443 for its ports, and every tenth taken out."""
    out = []
    for number, (ref, located) in enumerate(sorted(tree.policies.items())):
        before = located.policy
        spec = {"podSelector": {"matchLabels": {"app": f"x{number}"}}, "ingress": [{"ports": [{"port": 8443}]}]}
        manifest = judge.manifest(before.namespace, before.name, {}, spec)
        after = None if number % 10 == 9 else replace(parse_policy(manifest, Place("bench")), annotations=())
        action = Action.REMOVE if after is None else Action.EDIT
        out.append(PolicyChange(action, ref, "p.yaml", located.policy, after))
    return out


if __name__ == "__main__":
    main()
