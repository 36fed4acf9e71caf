"""Reading numbers and addresses at many places of a block of text at once, eight bytes to a word.

Little-endian words throughout: the first byte of a text is the lowest of its word.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]
Word = NDArray[np.uint64]
Mask = NDArray[np.bool_]

PAD = 64
"""Newlines before and after a block, so that words near its ends can be taken without a look at the bounds."""
_ZEROS = np.uint64(0x3030303030303030)
_CARRY = np.uint64(0x7676767676767676)
_HIGH = np.uint64(0x8080808080808080)
_ONE = np.uint64(1)
_BYTE = np.uint64(8)
_THREE = np.uint64(3)
_ALL = np.uint64(64)
_LOW = np.uint64(0xFF)


def word(text: bytes) -> np.uint64:
    """Up to eight bytes as a word."""
    return np.uint64(int.from_bytes(text, "little"))


def low_bytes(count: int) -> np.uint64:
    """A mask of that many bytes."""
    return np.uint64((1 << 8 * count) - 1)


@dataclass(slots=True)
class Field:
    """What stands round an `=` at many places: the key before it and the beginning of the value behind it.

    `key` holds the eight bytes that end with the `=`; `low` and `high` the sixteen bytes behind it.
    """

    key: Word
    low: Word
    high: Word

    def named(self, text: bytes) -> Mask:
        """Whether the key ends with `text`, which includes the `=`."""
        found: Mask = (self.key >> np.uint64(64 - 8 * len(text))) == word(text)
        return found

    def number(self) -> tuple[Int, Int]:
        """The decimal number that the value begins with, and how many digits it has: up to 8 are read."""
        return number(self.low)

    def long_number(self) -> tuple[Int, Int]:
        """The same for up to 16 digits."""
        value, digits = number(self.low)
        more = np.flatnonzero(digits == 8)
        if len(more):
            rest, further = number(self.high[more])
            value[more] = value[more] * 10**further + rest
            digits[more] += further
        return value, digits

    def ipv4(self, length: Int) -> tuple[Int, Mask]:
        """The IPv4 address that the value's first `length` bytes are, and whether they are one."""
        low, high = self.low, self.high
        value = np.zeros(len(low), dtype=np.uint64)
        ok = np.ones(len(low), dtype=bool)
        used = np.zeros(len(low), dtype=np.uint64)
        for part in range(4):
            digits = count_digits(low)
            bits = np.minimum(digits, _THREE) * _BYTE
            figures = (low ^ _ZEROS) << (_ALL - np.maximum(bits, _BYTE))
            octet = (figures >> np.uint64(56)) + ((figures >> np.uint64(48)) & _LOW) * np.uint64(10)
            octet += ((figures >> np.uint64(40)) & _LOW) * np.uint64(100)
            # Neither empty nor longer than three digits, in range, no leading zero.
            ok &= (digits - _ONE < _THREE) & (octet < np.uint64(256))
            ok &= (digits == _ONE) | ((low & _LOW) != np.uint64(ord("0")))
            value = (value << _BYTE) | octet
            used += digits
            if part < 3:
                ok &= ((low >> bits) & _LOW) == np.uint64(ord("."))
                step = bits + _BYTE
                low = np.bitwise_or(low >> step, high << (_ALL - step))
                high = high >> step
        ok &= used + _THREE == length.astype(np.uint64)
        return value.astype(np.int64), ok

    def same(self, other: Field, length: Int) -> Mask:
        """Whether both values begin with the same `length` bytes; false for more than 16."""
        left = np.clip(16 - length, 0, 16)
        of_low = (8 * np.clip(left - 8, 0, 7)).astype(np.uint64)
        of_high = (8 * np.minimum(left, 7)).astype(np.uint64)
        low = ((self.low ^ other.low) << of_low) == 0
        high = (((self.high ^ other.high) << of_high) == 0) | (left >= 8)
        found: Mask = low & high & (length <= 16) & (length > 0)
        return found

    def take(self, which: Int) -> Field:
        """The fields at some of the places."""
        return Field(self.key[which], self.low[which], self.high[which])


class Text:
    """A block of complete lines. `starts` and `ends` bound its lines within `data`, newlines left out.

    `equals` has the place of every `=`; of each line's, `first_equal` is the number of the first.
    """

    def __init__(self, block: bytes) -> None:
        """`block` may lack its last newline."""
        if not block.endswith(b"\n"):
            block += b"\n"
        self.data = b"\n" * PAD + block + b"\n" * PAD
        self.bytes = np.frombuffer(self.data, dtype=np.uint8)
        # Of an opaque type: numpy copies any number of unaligned bytes as quickly as one aligned word.
        self._words = self._windows(8)
        self._fields = self._windows(24)
        view = self.bytes[PAD : PAD + len(block)]
        # One search for both: what ends a line and what ends a key.
        marks = np.flatnonzero((view == ord("\n")) | (view == ord("="))) + PAD
        newline = self.bytes[marks] == ord("\n")
        ends = np.flatnonzero(newline)
        self.ends: Int = marks[ends]
        self.starts: Int = np.concatenate([np.array([PAD], dtype=np.int64), self.ends[:-1] + 1])
        self.equals: Int = marks[~newline]
        upto = ends - np.arange(len(ends))
        self.first_equal: Int = np.concatenate([np.zeros(1, dtype=np.int64), upto[:-1]])
        self.equal_count: Int = upto - self.first_equal

    def _windows(self, size: int) -> NDArray[np.void]:
        return np.ndarray((len(self.data) - size + 1,), dtype=f"V{size}", buffer=self.data, strides=(1,))

    def filled(self) -> Mask:
        """Which lines are not blank."""
        length = self.ends - self.starts
        filled: Mask = length > 0
        doubtful = np.flatnonzero(filled & (self.bytes[self.starts] <= ord(" ")))
        for i in doubtful[self.bytes[self.ends[doubtful] - 1] <= ord(" ")].tolist():
            filled[i] = bool(self.data[self.starts[i] : self.ends[i]].strip())
        return filled

    def at(self, where: Int) -> Word:
        """The eight bytes at each place."""
        out: Word = self._words[where].view("<u8")
        return out

    def has(self, where: Int, text: bytes) -> Mask:
        """Whether `text`, of at most eight bytes, is at each place."""
        found: Mask = (self.at(where) & low_bytes(len(text))) == word(text)
        return found

    def field(self, equals: Int) -> Field:
        """The field round each `=`."""
        window = self._fields[equals - 7].view("<u8").reshape(-1, 3)
        return Field(*np.ascontiguousarray(window.T))

    def spans(self, begin: Int, end: Int, longest: int) -> Word:
        """The bytes of each span as words, what lies behind it zero: a row per word, a column per span."""
        out = np.zeros((-(-longest // 8), len(begin)), dtype=np.uint64)
        for i in range(len(out)):
            inside = np.clip(end - begin - 8 * i, 0, 8)
            some = np.flatnonzero(inside)
            shift = np.uint64(64) - inside[some].astype(np.uint64) * _BYTE
            out[i, some] = (self.at(begin[some] + 8 * i) << shift) >> shift
        return out


def number(words: Word) -> tuple[Int, Int]:
    """The decimal number that each word begins with, and how many digits it has: up to 8 are read."""
    digits = count_digits(words)
    value = (words ^ _ZEROS) << np.minimum(_ALL - digits * _BYTE, np.uint64(63))
    value[digits == 0] = 0
    # Pairs, then fours, then all eight digits.
    value = (value * np.uint64(10) + (value >> _BYTE)) & np.uint64(0x00FF00FF00FF00FF)
    value = (value * np.uint64(100) + (value >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    value = (value * np.uint64(10000) + (value >> np.uint64(32))) & np.uint64(0x00000000FFFFFFFF)
    return value.astype(np.int64), digits.astype(np.int64)


def count_digits(words: Word) -> Word:
    """How many decimal digits each word begins with, 0 to 8."""
    # With the bits of "0" taken away a digit is at most 9; of all other bytes the lowest is marked rightly.
    rest = words ^ _ZEROS
    other = ((rest + _CARRY) | rest) & _HIGH
    below = np.bitwise_count((other & (~other + _ONE)) - _ONE).astype(np.uint64)
    count: Word = below >> np.uint64(3)
    return count
