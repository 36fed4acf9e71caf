"""Write the inputs of the golden cases: `flows.jsonl`, `inventory.yaml` and `later.yaml` of each.

    python tests/golden/make.py            # writes them
    python tests/golden/make.py --check    # exits 1 if one differs from what would be written

No clock and no chance is in it. `probes.csv`, `wanted.toml`, `options.toml` and `existing.yaml` are written by hand and
stay as they are; `expected/` is written by the tests, with `--update-goldens`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml
from maker import dns, hostile, names, nodes, outside, quirks, quirks_old, verdicts
from maker.case import Case

HERE = Path(__file__).resolve().parent
MODULES = (quirks_old, quirks, verdicts, names, nodes, dns, outside, hostile)


def cases() -> Mapping[str, Callable[[Case], None]]:
    """Every case by the name of its folder; a function's name is the folder's with `_` for `-`."""
    found = {name.replace("_", "-"): make for module in MODULES for name, make in module.CASES.items()}
    if len(found) != sum(len(module.CASES) for module in MODULES):
        raise ValueError("two cases share a name")
    return found


def texts(make: Callable[[Case], None]) -> dict[str, str]:
    """The files of a case."""
    case = Case()
    make(case)
    out = {"flows.jsonl": "".join(f"{line}\n" for line in case.flows.lines)}
    for name, cluster in (("inventory.yaml", case.cluster), ("later.yaml", case.later)):
        if cluster is not None:
            out[name] = yaml.dump(cluster.document(), Dumper=yaml.CSafeDumper, sort_keys=True, allow_unicode=False)
    return out


def main() -> int:
    check = "--check" in sys.argv[1:]
    differs = []
    for name, make in sorted(cases().items()):
        wanted = texts(make)
        for file in ("flows.jsonl", "inventory.yaml", "later.yaml"):
            path = HERE / name / file
            old = path.read_text(encoding="utf-8") if path.exists() else None
            if old == wanted.get(file):
                continue
            differs.append(f"{name}/{file}")
            if check:
                continue
            if file in wanted:
                path.parent.mkdir(exist_ok=True)
                path.write_text(wanted[file], encoding="utf-8")
            else:
                path.unlink()
    for line in differs:
        print(line)
    return 1 if check and differs else 0


if __name__ == "__main__":
    sys.exit(main())
