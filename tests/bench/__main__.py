"""Run the benchmarks in order: `python -m tests.bench [NAME...]`.

A benchmark is a module of this package with `main() -> None`. It makes its own input from a seed, says what it measures
and on what, and prints ratios beside absolute figures, because only ratios carry over from one machine to another. Each
one is an entry in `BENCHES`; a name without a module is an error, not a benchmark left out.
"""

from __future__ import annotations

import importlib
import sys

BENCHES: tuple[str, ...] = (
    "hubble",
    "conntrack",
    "vpc",
    "inventory",
    "coverage",
    "report",
    "judge",
    "snapshot",
    "edits",
)


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all of them; 2 for a name that is not in the table."""
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        print(f"no such benchmark: {', '.join(unknown)}; there are: {', '.join(BENCHES) or 'none'}", file=sys.stderr)
        return 2
    for name in names or BENCHES:
        print(f"== {name}", flush=True)
        importlib.import_module(f"tests.bench.{name}").main()
        print(flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
