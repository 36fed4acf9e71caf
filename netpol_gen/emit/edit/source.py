"""The text of a file that is edited, apart from what only bytes have: a byte order mark, a missing last line break."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from netpol_gen.errors import InputError, Place

_OTHER_BREAKS = re.compile("\r(?!\n)|[\x85\u2028\u2029]")
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_PACKED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")
_TEMPLATE = "{{"


class NotEditableError(InputError):
    """A file that could not be changed in place without changing something else too; the reason says what."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file as text whose last line always ends, so that every line can be cut out and put in alike."""

    text: str
    path: str
    mark: bool = False
    """The file begins with a byte order mark."""
    open_end: bool = False
    """The file's last line has no break."""

    def refusal(self, problem: str, at: int | None = None) -> NotEditableError:
        """`problem` as an error, at the line of an offset."""
        line = 0 if at is None else self.text.count("\n", 0, at) + 1
        return NotEditableError(problem, Place(self.path, line))

    def line_start(self, at: int) -> int:
        """Offset of the first character of a line."""
        return self.text.rfind("\n", 0, at) + 1

    def line_end(self, at: int) -> int:
        """Offset behind a line's break."""
        return self.text.find("\n", at) + 1 or len(self.text)

    def column(self, at: int) -> int:
        """Characters of the line before an offset."""
        return at - self.line_start(at)

    def line_break(self, at: int) -> str:
        """How the line of an offset ends, for lines that are put in after it."""
        end = self.line_end(at)
        return "\r\n" if self.text[max(end - 2, 0) : end] == "\r\n" else "\n"

    def content(self, text: str, *, added_break: bool) -> bytes:
        """`text`, which this one was changed to, as the file's content.

        `added_break` says whether its last line still ends with the break that only this class added.
        """
        if self.open_end and added_break:
            text = text.removesuffix("\n").removesuffix("\r")
        return (codecs.BOM_UTF8 if self.mark else b"") + text.encode()


def read_source(content: bytes, path: str) -> Source:
    """The text of a file.

    Raises:
        NotEditableError: not UTF-8, packed, or with line breaks that YAML knows and other tools do not.

    """
    nowhere = Source("", path)
    if content.startswith(_UTF16):
        raise nowhere.refusal("UTF-16 text is not edited")
    if content.startswith(_PACKED):
        raise nowhere.refusal("a packed file is not edited")
    mark = content.startswith(codecs.BOM_UTF8)
    try:
        text = content.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError:
        raise nowhere.refusal("not UTF-8 text") from None
    if found := _OTHER_BREAKS.search(text):
        raise Source(text, path).refusal("line breaks other than LF and CRLF are not edited", found.start())
    open_end = bool(text) and not text.endswith("\n")
    if open_end:
        text += "\r\n" if "\r\n" in text else "\n"
    return Source(text, path, mark, open_end)


def refuse_template(source: Source, start: int, end: int) -> None:
    """Refuse a part that Helm or the like fills in: what it means is not known before that.

    Raises:
        NotEditableError: `{{` anywhere in it, comments included, because a template does not know YAML's comments.

    """
    found = source.text.find(_TEMPLATE, start, end)
    if found >= 0:
        raise source.refusal("a template ({{ }}) is not edited", found)
