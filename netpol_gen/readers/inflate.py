"""Decompression by magic bytes: gzip through ISA-L, zstandard through the C library; members and frames in a row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, cast

import zstandard
from isal import isal_zlib

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIP = frozenset(bytes((0x50 + i, 0x2A, 0x4D, 0x18)) for i in range(16))
# isal_zlib.error is made in C and not typed.
_DAMAGE = (cast("type[Exception]", isal_zlib.error), zstandard.ZstdError, EOFError)


def compression(head: bytes) -> str:
    """`gzip`, `zstd` or nothing, by magic bytes."""
    if head[:2] == _GZIP:
        return "gzip"
    return "zstd" if head[:4] == _ZSTD or head[:4] in _ZSTD_SKIP else ""


class _Member(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


class Inflate:
    """Decompresses gzip members or zstandard frames that follow one another; `damage` says what is wrong."""

    def __init__(self, kind: str) -> None:
        """`kind` as `compression` tells it."""
        self._kind = kind
        self._member: _Member | None = None
        self._first = b""
        self.damage = ""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decompressed pieces; none after damage."""
        while data and not self.damage:
            if self._member is None:
                data = self._begin(data)
                continue
            try:
                piece = self._member.decompress(data)
            except _DAMAGE as error:
                self.damage = f"damaged {self._kind} data: {error}"
                return
            data = self._member.unused_data if self._member.eof else b""
            if self._member.eof:
                self._member = None
            if piece:
                yield piece

    def _begin(self, data: bytes) -> bytes:
        """Start the next member; what is left of `data` for it."""
        # gzip files may be padded with zeros (tape blocks, some uploaders).
        data = self._first + (data.lstrip(b"\0") if not self._first else data)
        self._first = b""
        if 0 < len(data) < 4:
            self._first = data
            return b""
        if data:
            if compression(data) != self._kind:
                self.damage = f"something else follows the {self._kind} data"
                return b""
            self._member = self._new()
        return data

    def _new(self) -> _Member:
        if self._kind == "gzip":
            return isal_zlib.decompressobj(wbits=31)
        return zstandard.ZstdDecompressor(max_window_size=2**31).decompressobj()

    def finish(self) -> None:
        """All input was fed: an unfinished member is damage."""
        if not self.damage and (self._member is not None or self._first):
            self.damage = f"{self._kind} data ends early"
