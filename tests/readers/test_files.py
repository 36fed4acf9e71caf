"""From paths to blocks of lines."""

from __future__ import annotations

import gzip
import io
import os
import threading
import tracemalloc
from itertools import pairwise

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from netpol_gen.errors import InputError, OptionError
from netpol_gen.readers.files import MAX_LINE, Input, Part, Stream, expand, newlines
from netpol_gen.readers.inflate import Inflate


def names(paths, top):
    return [item.name.removeprefix(str(top) + "/") for item in expand(paths)]


@pytest.fixture
def tree(tmp_path):
    for name in ("b.jsonl", "a.jsonl", "sub/c.jsonl", "sub/.hidden", ".git/x", "sub/deep/d.log"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{name}\n")
    return tmp_path


def test_a_directory_is_walked_in_order_without_hidden_entries(tree):
    assert names([tree], tree) == ["a.jsonl", "b.jsonl", "sub/c.jsonl", "sub/deep/d.log"]


@pytest.mark.parametrize("given", [".", "./", "sub/..", "./sub/.././"])
def test_the_directory_that_one_is_in_is_no_part_of_names(tree, given, monkeypatch):
    monkeypatch.chdir(tree)
    above = "sub/../" if "sub" in given else ""
    assert [item.name for item in expand([given])] == [
        f"{above}{name}" for name in ("a.jsonl", "b.jsonl", "sub/c.jsonl", "sub/deep/d.log")
    ]


def test_globs(tree):
    assert names([f"{tree}/*.jsonl"], tree) == ["a.jsonl", "b.jsonl"]
    assert names([f"{tree}/**/*.jsonl"], tree) == ["a.jsonl", "b.jsonl", "sub/c.jsonl"]
    assert names([f"{tree}/s*"], tree) == ["sub/c.jsonl", "sub/deep/d.log"]


def test_a_file_named_like_a_glob_is_that_file(tree):
    (tree / "a[1].jsonl").write_text("x")
    assert names([tree / "a[1].jsonl"], tree) == ["a[1].jsonl"]


def test_each_file_is_read_once(tree):
    (tree / "z.jsonl").symlink_to(tree / "a.jsonl")
    assert names([tree / "a.jsonl", f"{tree}/*.jsonl", tree / "z.jsonl"], tree) == ["a.jsonl", "b.jsonl"]


@pytest.mark.parametrize("path", ["nowhere", "nowhere/*.gz"])
def test_nothing_there(tree, path):
    with pytest.raises(InputError, match="nowhere"):
        expand([tree / path])


def test_an_empty_directory(tmp_path):
    with pytest.raises(InputError, match="no files in this directory"):
        expand([tmp_path])


@pytest.mark.parametrize("url", ["s3://bucket/key", "gs://bucket/key", "abfs://c@a/key", "https://example.com/x"])
def test_object_stores_are_out_of_reach(url):
    with pytest.raises(OptionError, match="object stores are not read"):
        expand([url])


def test_unreadable(tmp_path):
    if os.geteuid() == 0:
        path = tmp_path / "loop"
        path.symlink_to(path)
    else:
        path = tmp_path / "secret"
        path.write_text("x")
        path.chmod(0)
    with pytest.raises(InputError):
        expand([path])


def test_a_named_pipe_is_read_once(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    data = b"line\n" * 100_000
    writer = threading.Thread(target=fifo.write_bytes, args=(data,))
    writer.start()
    [item] = expand([fifo])
    assert item.head == data[: len(item.head)]
    assert item.parts(4) == (Part(),)
    assert b"".join(block.data for block in Stream(item).blocks()) == data
    writer.join()


def test_newlines():
    assert [newlines(text) for text in (b"", b"\n", b"a\n\nb", b"a")] == [0, 1, 2, 0]


def whole(data, **sizes):
    return list(Stream(Input("x", "", head=data, source=io.BytesIO(data)), **sizes).blocks())


TEXTS = st.lists(st.binary(max_size=12).map(lambda text: text.replace(b"\n", b"")), max_size=20).map(b"\n".join)


@given(data=TEXTS, block=st.integers(1, 40))
def test_blocks_are_whole_lines_with_their_numbers(data, block):
    data = data.removeprefix(b"\xef\xbb\xbf")
    blocks = whole(data, block=block)
    assert b"".join(each.data for each in blocks) == data
    assert all(each.data.endswith(b"\n") for each in blocks[:-1])
    line = 1
    for each in blocks:
        assert (each.line, each.lines) == (line, newlines(each.data) + (not each.data.endswith(b"\n")))
        line += newlines(each.data)


@given(data=TEXTS, cuts=st.lists(st.integers(0, 200), max_size=4), block=st.integers(1, 40))
def test_parts_share_out_the_lines(tmp_path_factory, data, cuts, block):
    path = tmp_path_factory.getbasetemp() / "parts"
    path.write_bytes(data)
    [item] = expand([path])
    bounds = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    shares = [
        b"".join(each.data for each in Stream(item, Part(low, high), block=block).blocks())
        for low, high in pairwise(bounds)
    ]
    if not data.startswith(b"\xef\xbb\xbf"):
        assert b"".join(shares) == data
        assert all(share.endswith(b"\n") for share in shares[:-1] if share and share != data[-len(share) :])


@pytest.mark.parametrize("ragged", [False, True])
def test_only_the_first_share_has_a_mark_to_lose(tmp_path, ragged):
    """Files put together, each with its mark: what is read does not hang on where they are cut."""
    path = tmp_path / "joined"
    data = b"\xef\xbb\xbfab\n"
    path.write_bytes(2 * data)
    [item] = expand([path])
    parts = (Part(0, len(data)), Part(len(data), 2 * len(data)))
    shares = [block.data for part in parts for block in Stream(item, part, ragged=ragged).blocks()]
    assert shares == [b"ab\n", data]
    assert b"".join(block.data for block in Stream(item, ragged=ragged).blocks()) == b"".join(shares)


def numbered(stream):
    """Each line with its number, or the beginning of one that is too long; whether all are counted; lines passed."""
    found, honest = [], True
    for each in stream.blocks():
        data = each.data[: len(each.data) - each.excess]
        lines = data.removesuffix(b"\n").split(b"\n")
        honest &= each.lines == len(lines)
        found += [(each.line + i, line, each.too_long) for i, line in enumerate(lines)]
    return found, honest, stream.lines


@given(
    data=TEXTS, start=st.integers(0, 99), more=st.integers(0, 300), block=st.integers(1, 40), longest=st.integers(4, 60)
)
def test_ragged_blocks_have_the_same_lines(tmp_path_factory, data, start, more, block, longest):
    path = tmp_path_factory.getbasetemp() / "ragged"
    path.write_bytes(data)
    [item] = expand([path])
    for part in (Part(), Part(start, start + more)):
        plain, ragged = (Stream(item, part, block=block, max_line=longest, ragged=ragged) for ragged in (False, True))
        found = numbered(ragged)
        assert found == numbered(plain)
        assert found[1]


def test_a_line_too_long_is_cut_and_the_next_one_is_whole():
    found = whole(b"a\n" + b"x" * 100 + b"\nb\nc", block=8, max_line=50)
    assert [(each.data[:5], each.line, each.too_long) for each in found] == [
        (b"a\n", 1, False),
        (b"xxxxx", 2, True),
        (b"b\nc", 3, False),
    ]


def test_a_line_too_long_takes_little_memory():
    class Endless(io.RawIOBase):
        """2 GB of one line, and a short one."""

        def __init__(self):
            self.left = 2 << 30

        def read(self, size=-1):
            take = min(size, self.left)
            self.left -= take
            return b"x" * take if take else b""

    tracemalloc.start()
    item = Input("x", "", source=Endless())
    found = [each.too_long for each in Stream(item, block=1 << 20).blocks()]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == [True]
    assert peak < 4 * MAX_LINE


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
@given(data=st.binary(max_size=200), cuts=st.lists(st.integers(0, 200), max_size=2), step=st.integers(1, 50))
def test_inflate_any_members_in_any_pieces(compress, data, cuts, step):
    bounds = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    parts = [data[low:high] for low, high in pairwise(bounds)] or [b""]
    packed = b"".join(compress(part) for part in parts)
    kind = "gzip" if compress is gzip.compress else "zstd"
    inflate = Inflate(kind)
    pieces = [piece for at in range(0, len(packed), step) for piece in inflate.feed(packed[at : at + step])]
    inflate.finish()
    assert (b"".join(pieces), inflate.damage) == (data, "")
    cut = Inflate(kind)
    for _ in cut.feed(packed[:-1]):
        pass
    cut.finish()
    assert cut.damage == f"{kind} data ends early"


@given(data=st.binary(max_size=300), kind=st.sampled_from(["gzip", "zstd"]))
def test_inflate_never_crashes(data, kind):
    inflate = Inflate(kind)
    for _ in inflate.feed({"gzip": b"\x1f\x8b\x08", "zstd": b"\x28\xb5\x2f\xfd"}[kind] + data):
        pass
    inflate.finish()
    assert isinstance(inflate.damage, str)
