"""Addresses as numbers: what an array operation can compare, and the text that a number stands for."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from threading import RLock

import numpy as np

from netpol_gen.codes import ranked
from netpol_gen.readers.conntrack_words import Field, Int, Text, Word
from netpol_gen.sets import Address

FIRST_OTHER = 1 << 32
"""Codes of addresses from here on are not IPv4."""
NO_ADDRESS = -1
PARTY, LOOPBACK, NOWHERE, MULTICAST = range(4)
"""Kinds of addresses. Unicast 169.254.0.0/16 is a party: node-local DNS and metadata services live there."""

_LONGEST = 45
"""Characters of the longest address text (an IPv4-mapped one in full)."""
_WORDS = -(-_LONGEST // 8)
_MULTIPLIERS = tuple(
    np.uint64(m) for m in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93)
)


def _no_words() -> Word:
    return np.empty(0, dtype=np.uint64)


@dataclass(slots=True)
class _Texts:
    """Texts met before, by hash: their words, and their codes."""

    hashes: Word = field(default_factory=_no_words)
    words: Word = field(default_factory=lambda: np.empty((_WORDS, 0), dtype=np.uint64))
    codes: Int = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def find(self, hashes: Word, words: Word) -> Int:
        """The code of each text; `NO_ADDRESS` for those not met before."""
        if not len(self.hashes):
            return np.full(len(hashes), NO_ADDRESS, dtype=np.int64)
        at = np.searchsorted(self.hashes, hashes).clip(max=len(self.hashes) - 1)
        found: Int = np.where((self.words[:, at] == words).all(axis=0), self.codes[at], NO_ADDRESS)
        return found

    def add(self, hashes: Word, words: Word, codes: Int) -> None:
        """Remember texts, of which each hash comes up once. Of two with one hash the older stays."""
        good = np.flatnonzero((codes != NO_ADDRESS) & ~np.isin(hashes, self.hashes))
        hashes = np.concatenate([self.hashes, hashes[good]])
        order = np.argsort(hashes, kind="stable")
        self.hashes = hashes[order]
        self.words = np.concatenate([self.words, words[:, good]], axis=1)[:, order]
        self.codes = np.concatenate([self.codes, codes[good]])[order]


@dataclass(slots=True)
class Addresses:
    """Codes of addresses, and back: an IPv4 address is its own value, any other gets the next number."""

    _by_value: dict[str, int] = field(default_factory=dict)
    _by_halves: dict[tuple[int, int], int] = field(default_factory=dict)
    _names: list[str] = field(default_factory=list)
    _values: list[int] = field(default_factory=list)
    """64 bits that depend on the address alone, not on its code."""
    _kinds: list[int] = field(default_factory=list)
    _texts: _Texts = field(default_factory=_Texts)
    _lock: RLock = field(default_factory=RLock)
    """Blocks are decoded side by side, and lines that they leave beside them; numbers are given by one at a time."""

    def code(self, text: bytes) -> int:
        """The code of an address as written; `NO_ADDRESS` for what is none."""
        try:
            written, _, scope = text.decode("ascii").partition("%")
            address = ipaddress.ip_address(written)
        except ValueError:
            return NO_ADDRESS
        if scope and scope.split() != [scope]:
            return NO_ADDRESS  # a scope and more
        return int(address) if isinstance(address, ipaddress.IPv4Address) else self._ipv6(address)

    def _ipv6(self, address: ipaddress.IPv6Address) -> int:
        if address.ipv4_mapped is not None:
            return int(address.ipv4_mapped)
        value = str(address)
        with self._lock:
            if value not in self._by_value:
                self._by_value[value] = FIRST_OTHER + len(self._names)
                self._names.append(value)
                self._values.append((int(address) ^ int(address) >> 64) & (2**64 - 1))
                self._kinds.append(_kind(address))
            return self._by_value[value]

    def codes(self, text: Text, value: Field, begin: Int, end: Int) -> Int:
        """Codes of the addresses that are the whole of each value in a block, from `begin` to `end`."""
        codes, ok = value.ipv4(end - begin)
        if not ok.all():
            other = np.flatnonzero(~ok)
            with self._lock:
                codes[other] = self._other(text, begin[other], end[other])
        return codes

    def numbered(self, halves: Word) -> Int:
        """Codes of IPv6 addresses, each a row of its upper and its lower 64 bits."""
        pairs = list(zip(*halves.T.tolist(), strict=True))
        codes = list(map(self._by_halves.get, pairs))
        if None in codes:
            for high, low in (pair for pair, code in zip(pairs, codes, strict=True) if code is None):
                self._by_halves[high, low] = self._ipv6(ipaddress.IPv6Address(high << 64 | low))
            codes = list(map(self._by_halves.get, pairs))
        return np.array(codes, dtype=np.int64)

    def _other(self, text: Text, begin: Int, end: Int) -> Int:
        """Addresses in any form, each distinct text parsed once."""
        codes = np.full(len(begin), NO_ADDRESS, dtype=np.int64)
        fits = np.flatnonzero((end > begin) & (end - begin <= _LONGEST))
        begin, end = begin[fits], end[fits]
        words = text.spans(begin, end, _LONGEST)
        # There is room for the length: without it, an address with a NUL behind would be the same as without.
        words[-1] |= (end - begin).astype(np.uint64) << np.uint64(56)
        hashes = _hash(words)
        found = self._texts.find(hashes, words)
        new = np.flatnonzero(found == NO_ADDRESS)
        if len(new):
            several, inverse = ranked(hashes[new])
            firsts = np.empty(len(several), dtype=np.int64)
            firsts[inverse[::-1]] = new[::-1]
            parsed = np.array([self.code(text.data[begin[i] : end[i]]) for i in firsts.tolist()], dtype=np.int64)
            found[new] = parsed[inverse]
            # Two texts with one hash: the second is looked up by itself.
            for i in new[(words[:, new] != words[:, firsts[inverse]]).any(axis=0)].tolist():
                found[i] = self.code(text.data[begin[i] : end[i]])
            self._texts.add(hashes[firsts], words[:, firsts], parsed)
        codes[fits] = found
        return codes

    def values(self, codes: Int) -> Word:
        """A word for each code that does not depend on the order in which addresses were met."""
        out = codes.astype(np.uint64)
        other = np.flatnonzero(codes >= FIRST_OTHER)
        if len(other):
            out[other] = np.array(self._values, dtype=np.uint64)[codes[other] - FIRST_OTHER]
        return out

    def kinds(self, codes: Int) -> Int:
        """What each address is: `PARTY`, `LOOPBACK`, `NOWHERE` or `MULTICAST`."""
        out = np.zeros(len(codes), dtype=np.int64)
        out[codes >> 24 == 127] = LOOPBACK
        out[codes == 0] = NOWHERE
        out[(codes >> 28 == 14) | (codes == 0xFFFFFFFF)] = MULTICAST
        other = np.flatnonzero(codes >= FIRST_OTHER)
        if len(other):
            out[other] = np.array(self._kinds, dtype=np.int64)[codes[other] - FIRST_OTHER]
        return out

    def text(self, code: int) -> str:
        """Canonical text of a code."""
        if code >= FIRST_OTHER:
            return self._names[code - FIRST_OTHER]
        return f"{code >> 24}.{code >> 16 & 255}.{code >> 8 & 255}.{code & 255}"


def _kind(address: Address) -> int:
    if address.is_loopback:
        return LOOPBACK
    if address.is_unspecified:
        return NOWHERE
    return MULTICAST if address.is_multicast or address.is_link_local else PARTY


def _hash(words: Word) -> Word:
    out = np.zeros(words.shape[1], dtype=np.uint64)
    with np.errstate(over="ignore"):
        for i, row in enumerate(words):
            out = (out ^ row) * _MULTIPLIERS[i % len(_MULTIPLIERS)]
            out ^= out >> np.uint64(29)
    return out
