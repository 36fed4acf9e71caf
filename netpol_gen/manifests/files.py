"""Finding and opening the files that hold manifests: directories, compression, encodings, JSON or YAML."""

from __future__ import annotations

import codecs
import io
import os
import re
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import zstandard
from isal import igzip

from netpol_gen.errors import InputError, Place, printable
from netpol_gen.manifests.document import Document
from netpol_gen.manifests.jsontext import json_documents
from netpol_gen.manifests.yamltext import yaml_documents

STDIN = "-"
MAX_JSON_BYTES = 4 * 2**30
"""JSON is read into memory, so that an archive cannot fill it by unfolding without end."""

_SUFFIXES = tuple(s + c for s in (".yaml", ".yml", ".json") for c in ("", ".gz", ".zst"))
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_PEEK = 65536
_CHUNK = 2**20
_JSON = re.compile(rb"\s*[{\[]\s*[\"{\[}\]]")
_MARKER = b"---"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def manifest_files(paths: Sequence[str | PathLike[str]]) -> Iterator[tuple[str, list[str]]]:
    """Each path in the order given with the files it stands for, those of a directory sorted.

    A directory stands for every `.yaml`, `.yml` and `.json` file below it, compressed ones too; names that begin with
    a dot are left out, links are followed once.

    Raises:
        InputError: no path at all, a directory without a manifest file.

    """
    if not paths:
        raise InputError("no manifest file given")
    for given in paths:
        path = os.fspath(given)
        if path == STDIN or not Path(path).is_dir():
            yield path, [path]
            continue
        found = list(_walk(Path(path), set()))
        if not found:
            raise InputError("no .yaml, .yml or .json file in this directory", Place(path))
        yield path, found


def _walk(directory: Path, seen: set[tuple[int, int]]) -> Iterator[str]:
    try:
        status = directory.stat()
        entries = sorted(directory.iterdir())
    except OSError as error:
        raise InputError(f"cannot be read: {_reason(error)}", Place(str(directory))) from None
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(entry, seen)
        elif entry.name.lower().endswith(_SUFFIXES):
            yield str(entry)


def documents(path: str, stdin: BinaryIO | None) -> Iterator[Document]:
    """The documents of one file or of standard input, whatever they are packed in.

    Raises:
        InputError: the file cannot be opened, unpacked or read as what it begins like.

    """
    with _opened(path, stdin) as stream:
        try:
            yield from _parsed(stream, path)
        except (OSError, EOFError, zlib.error, igzip.BadGzipFile, zstandard.ZstdError) as error:
            raise InputError(f"cannot be read: {_reason(error)}", Place(path)) from None


def documents_in(content: bytes, path: str) -> Iterator[Document]:
    """The documents of a file that is in memory already; `path` is what errors call it.

    Raises:
        InputError: it cannot be read as what it begins like.

    """
    yield from _parsed(io.BufferedReader(cast("io.RawIOBase", io.BytesIO(content)), _PEEK), path)


@contextmanager
def _opened(path: str, stdin: BinaryIO | None) -> Iterator[IO[bytes]]:
    if path == STDIN:
        wrapper = io.BufferedReader(cast("io.RawIOBase", stdin or sys.stdin.buffer), _PEEK)
        try:
            yield _unpacked(wrapper)
        finally:
            # Left alone it would close the caller's stream with itself.
            wrapper.detach()
        return
    try:
        file = io.BufferedReader(io.FileIO(path), _PEEK)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be opened: {_reason(error)}", Place(path)) from None
    with file:
        yield _unpacked(file)


def _unpacked(stream: io.BufferedReader[Any]) -> io.BufferedReader[Any]:
    head = stream.peek(len(_ZSTD))
    raw: Any
    if head.startswith(_GZIP):
        raw = igzip.GzipFile(fileobj=stream)  # type: ignore[no-untyped-call]
    elif head.startswith(_ZSTD):
        raw = zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True, closefd=False)
    else:
        return stream
    return io.BufferedReader(raw, _PEEK)


def _parsed(stream: IO[bytes], path: str) -> Iterator[Document]:
    head = cast("io.BufferedReader", stream).peek(_PEEK)
    if head.startswith(_UTF16):
        # Windows shells write redirected output so.
        try:
            content = _all(stream, path).decode("utf-16").encode()
        except UnicodeError:
            raise InputError("neither UTF-8 nor UTF-16 text", Place(path)) from None
        stream, head = io.BytesIO(content), content[:_PEEK]
    if head.startswith(codecs.BOM_UTF8):
        stream.read(len(codecs.BOM_UTF8))
        head = head[len(codecs.BOM_UTF8) :]
    if not _JSON.match(head):
        yield from yaml_documents(stream, path)
        return
    content = _all(stream, path)
    # A line that starts with dashes cannot be inside JSON: these are JSON documents in a YAML stream.
    if content.startswith(_MARKER) or b"\n" + _MARKER in content:
        yield from yaml_documents(io.BytesIO(content), path)
    else:
        yield from json_documents(content, path)


def _all(stream: IO[bytes], path: str) -> bytes:
    # Not read(MAX_JSON_BYTES): that would set all of it aside before the first byte comes.
    parts, size = [], 0
    while part := stream.read(_CHUNK):
        parts.append(part)
        size += len(part)
        if size > MAX_JSON_BYTES:
            raise InputError(f"more than {MAX_JSON_BYTES} bytes in one file", Place(path))
    return b"".join(parts)


def _reason(error: Exception) -> str:
    told = error.strerror if isinstance(error, OSError) else None
    return printable(told or str(error) or "it ends too early").lower()
