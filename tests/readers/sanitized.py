"""Damaged and sound lines through the compiled module, in a process that watches its memory.

    python sanitized.py MODULE SEED COUNT < records

Run by test_sanitized.py with a module built to look for reads and writes out of bounds and undefined behaviour, which
end the process. Blocks and what is made of them lie in memory of just their size, so that one byte too many is seen; an
`array` would have some to spare.
"""

from __future__ import annotations

import ctypes
import importlib.util
import random
import sys

FIELDS = (
    (b"time", 1),
    (b"verdict", 0),
    (b"IP", 2),
    (b"l4", 5),
    (b"source", 3),
    (b"destination", 4),
    (b"Type", 0),
    (b"node_name", 6),
    (b"l7", 7),
    (b"destination_names", 8),
    (b"event_type", 0),
    (b"is_reply", 0),
)
STATES = (b"SYN_SENT", b"ESTABLISHED", b"TIME_WAIT", b"CLOSE")
NEVER = (1 << 62) - 1
PIECES = [bytes([byte]) for byte in b'"{}[],:\\ \n0-.e\0\x1f\xff']
PIECES += [b"null", b"true", b'"flow":', b'"time":"', b'"l4":{"TCP":{', b'"source":"1"', b"9" * 30, b"[" * 60]
PIECES += [b"A" * 5000]
PIECES += [
    b" ",
    b"  ",
    b"=",
    b"\r",
    b"src=",
    b" dst=",
    b"::",
    b"1:2:3:4:5:6:7:8",
    b"1.2.3.",
    b"[UNREPLIED] ",
    b"[ASSURED]",
]
PIECES += [
    b"icmp     1 src=",
    b" type=",
    b"[start=Mon Feb 30 ",
    b" delta-time=",
    b"tcp      6 ",
    b"[1795387971.",
    b"    [NEW]",
]


def damaged(rng: random.Random, text: bytes) -> bytes:
    for _ in range(rng.randrange(4)):
        at, size = rng.randrange(len(text) + 1), rng.randrange(40)
        how = rng.randrange(4)
        if how == 0:
            text = text[:at] + rng.choice(PIECES) + text[at:]
        elif how == 1:
            text = text[:at] + text[at + size :]
        elif how == 2:
            text = text[:at]
        else:
            text = text[:at] + rng.choice(PIECES) + text[at + size :]
    return text


def make(module, rng):
    window = rng.choice([None, ("2020-01-01T00:00:00", "~"), ("", "2024-05-06T07:08:10")])
    return module.Known(FIELDS, rng.randbytes(16), window)


def teach(known, rng):
    how = rng.randrange(8)
    if how == 0:
        known.set_aside(rng.randrange(32))
    elif how < 7:
        known.mean(rng.random() < 0.5, rng.random() < 0.8, 1, rng.randrange(256), rng.randrange(4))
        known.ends(rng.randrange(1 << 24), rng.randrange(1 << 24))
        known.put(rng.randrange(1 << 24)) if how < 6 else known.put_aside(rng.randrange(32))


def hubble(module, rng, blocks):
    """How many records were counted, and how many handed out."""
    known, counted, handed = make(module, rng), 0, 0

    def other(start, stop, before, learnable):
        nonlocal handed
        handed += 1
        if learnable:
            teach(known, rng)

    def row(source, destination, server, group, node, before):
        assert node.isascii()
        return rng.randrange(1 << 24)

    for number, block in enumerate(blocks):
        if number % 5000 == 4999:
            known = make(module, rng)
        counted += known.scan(block, other, row)
        if rng.randrange(50) == 0:
            known.drain()
        if rng.randrange(50) == 0:
            known.connections()
        if rng.randrange(500) == 0:
            known.forget()
            known.count_outside(3)
    return counted, handed


def conntrack(module, rng, blocks):
    """How many lines were taken, and how many left."""
    taken, left = 0, 0
    for block in blocks:
        rows, others = rng.choice((0, 1, 8, 8, 8)), rng.choice((2, 200, 200, 200))
        sizes = (10 * rows, 12 * rows, 3 * others, rng.choice((0, 6, 64, 64)))
        kept, used, other, wide = ((ctypes.c_int64 * size)() for size in sizes)
        limits = (rng.choice((100, 1000, 16384)), 3_755_289_600, NEVER)
        try:
            found, more, _, records = module.scan(block, limits, STATES, kept, used, other, wide)
        except ValueError:
            assert others == 2
            continue
        assert records == found + more
        assert all(-1 <= other[i] <= other[i + others] <= len(block) for i in range(others, others + more))
        taken, left = taken + found, left + more
    return taken, left


def main() -> None:
    path, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    name = path.rpartition("/")[2].partition(".")[0]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    records = sys.stdin.buffer.read().splitlines()
    rng = random.Random(seed)
    lines = (b"\n".join(damaged(rng, rng.choice(records)) for _ in range(rng.randrange(1, 6))) for _ in range(count))
    blocks = ((ctypes.c_char * len(line)).from_buffer_copy(line) for line in lines)
    counted, handed = (hubble if name == "_hubble_known" else conntrack)(module, rng, blocks)
    assert counted > count // 10, counted
    assert handed > count // 10, handed
    print(f"{counted} counted, {handed} handed out")


if __name__ == "__main__":
    main()
