# Compiled from _conntrack_lines.c, whose docstrings say more.

from netpol_gen.readers.conntrack_words import Int, Word

VERSION: int

def scan(
    block: bytes,
    limits: tuple[int, int, int],
    states: tuple[bytes, ...],
    kept: Int,
    used: Int,
    others: Int,
    wide: Word,
    /,
) -> tuple[int, int, int, int]: ...
