#!/usr/bin/env python3
"""Write the sample exports, their inventories and the expected results; `--check` tells whether they are up to date.

Everything comes from the scenario tables in `generator/` and one seed, with no clock: the same seed writes the same
bytes. `generator/shop.py` and `generator/payments.py` say who talks to whom,
`generator/hubble.py` how that is reported.
"""

from __future__ import annotations

import argparse
import gzip
import random
import sys
from pathlib import Path

import yaml
from generator import payments, shop
from generator.values import Obj

HERE = Path(__file__).resolve().parent
DEFAULT_SEED = 20261120
SAMPLES = {"payments": payments.files, "shop": shop.files}


class _Dumper(yaml.SafeDumper):
    """YAML as kubectl prints it: block style, sorted keys, no anchors."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


def build(seed: int) -> dict[str, bytes]:
    """The bytes of every file by its path below this folder."""
    out: dict[str, bytes] = {}
    for sample, files in SAMPLES.items():
        # A generator of its own, so that a change in one sample leaves the other alone.
        for path, content in files(random.Random(f"{seed}:{sample}")).items():
            out[f"{sample}/{path}"] = _encode(path, content)
    return out


def _encode(path: str, content: bytes | Obj) -> bytes:
    if isinstance(content, dict):
        return yaml.dump(content, Dumper=_Dumper, sort_keys=True, width=4096, allow_unicode=True).encode()
    return gzip.compress(content, compresslevel=9, mtime=0) if path.endswith(".gz") else content


def same(path: str, left: bytes, right: bytes) -> bool:
    """Whether two versions of a file hold the same. Builds of zlib compress differently, so `.gz` is unpacked first."""
    if path.endswith(".gz"):
        return gzip.decompress(left) == gzip.decompress(right)
    return left == right


def stale(folder: Path, files: dict[str, bytes]) -> list[str]:
    """What is missing, different or left over below `folder`, as messages."""
    found = []
    for path, content in sorted(files.items()):
        target = folder / path
        if not target.is_file():
            found.append(f"{path}: missing")
        elif not same(path, target.read_bytes(), content):
            found.append(f"{path}: differs")
    for sample in SAMPLES:
        for target in sorted((folder / sample).rglob("*")):
            path = target.relative_to(folder).as_posix()
            if target.is_file() and path not in files:
                found.append(f"{path}: not written by the generator")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Write or check; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to (default: this one)")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file differs")
    options = parser.parse_args(arguments)
    files = build(options.seed)
    if options.check:
        messages = stale(options.out, files)
        for message in messages:
            print(message, file=sys.stderr)
        return 1 if messages else 0
    for path, content in sorted(files.items()):
        target = options.out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        print(f"{target} {len(content)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
