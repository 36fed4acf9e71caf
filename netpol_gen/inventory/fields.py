"""Checked access to the fields of a manifest: every wrong type is an error that names file, line and field."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from netpol_gen.errors import InputError, Place, printable
from netpol_gen.inventory.objects import Backend, ContainerPort, Labels
from netpol_gen.model import Protocol
from netpol_gen.selectors import valid_label_key, valid_label_value
from netpol_gen.sets import MAX_PORT, MIN_PORT, Address, Network, parse_address

_DNS1123 = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
# The API server takes any name that can be part of a path; custom resources use that freedom.
_PATH_SEGMENT = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._:~@+=,-]{1,253}")
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9]{0,62}")
_MAX_NAME = 253
_PROTOCOLS = {str(protocol): protocol for protocol in Protocol}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FRACTION = re.compile(r"\.(\d{1,9})")


class Fields(NamedTuple):
    """A mapping within a manifest, and where it is. A missing field and a null are the same, as for the API server.

    Every object of a dump takes some ten of them, and a frozen dataclass takes twice as long to make.
    """

    data: Mapping[str, Any]
    document: Place
    path: tuple[str, ...] = ()
    """From the document to here. Joined only when there is something to say about it."""

    @property
    def place(self) -> Place:
        """Where this mapping is."""
        return self.document.at(".".join(self.path)) if self.path else self.document

    def at(self, key: str) -> Place:
        """The place of a field."""
        return self.place.at(key)

    def sub(self, key: str) -> Fields:
        """A mapping, empty if it is missing."""
        value = self.data.get(key)
        if value is None:
            return Fields({}, self.document, (*self.path, key))
        if not isinstance(value, dict):
            raise self.wrong(key, "a mapping")
        return Fields(value, self.document, (*self.path, key))

    def each(self, key: str) -> list[Fields]:
        """A list of mappings, empty if it is missing."""
        value = self.data.get(key)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.wrong(key, "a list of mappings")
        return [Fields(item, self.document, (*self.path, f"{key}[{i}]")) for i, item in enumerate(value)]

    def texts(self, key: str) -> list[str]:
        """A list of strings, empty if it is missing."""
        value = self.data.get(key)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(key, "a list of strings")
        return value

    def text(self, key: str, default: str = "") -> str:
        """A string."""
        value = self.data.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.wrong(key, "a string")
        return value

    def flag(self, key: str) -> bool:
        """A boolean, false if it is missing."""
        value = self.data.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(key, "a boolean")
        return bool(value)

    def number(self, key: str) -> int | None:
        """A whole number."""
        value = self.data.get(key)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise self.wrong(key, "a whole number")
        return value

    def port(self, key: str) -> int | None:
        """A port number."""
        value = self.number(key)
        if value is not None and not MIN_PORT <= value <= MAX_PORT:
            raise InputError(f"{printable(value)} is not a port", self.at(key))
        return value

    def protocol(self, key: str = "protocol") -> Protocol:
        """TCP if it is missing."""
        value = self.text(key) or "TCP"
        found = _PROTOCOLS.get(value)
        if found is None:
            raise InputError(f"{printable(value)} is not TCP, UDP or SCTP", self.at(key))
        return found

    def name(self, key: str = "name", default: str = "", *, free: bool = False) -> str:
        """A DNS-1123 name, or with `free` anything that is one part of a path."""
        value = self.text(key) or default
        if not (_PATH_SEGMENT if free else _DNS1123).fullmatch(value) or len(value) > _MAX_NAME:
            what = "not a name" if free else "not a DNS-1123 name"
            raise InputError(f"{printable(value)} is {what}" if value else "no name", self.at(key))
        return value

    def kind(self, key: str = "kind") -> str:
        """A kind of objects."""
        value = self.text(key)
        if not _KIND.fullmatch(value):
            raise InputError(f"{printable(value)} is not a kind", self.at(key))
        return value

    def wrong(self, key: str, wanted: str) -> InputError:
        """The error for a field of the wrong type."""
        return InputError(f"{printable(self.data.get(key))} is not {wanted}", self.at(key))


@dataclass(slots=True)
class Memo:
    """Values that thousands of objects share are parsed once. Lives as long as one reading of an inventory."""

    addresses: dict[str, Address] = field(default_factory=dict)
    labels: dict[Labels, Labels] = field(default_factory=dict)
    times: dict[str, int] = field(default_factory=dict)
    ports: dict[bytes, tuple[ContainerPort, ...]] = field(default_factory=dict)
    """By how they are written."""
    backends: dict[Backend, Backend] = field(default_factory=dict)

    def backend(self, new: Backend) -> Backend:
        """The one that there is: a history repeats most of a slice with each of its changes."""
        return self.backends.setdefault(new, new)

    def address(self, data: Fields, key: str) -> Address | None:
        """An address in canonical form, `None` if it is missing."""
        text = data.text(key)
        return self._address(text, data, key) if text else None

    def each_address(self, data: Fields, key: str) -> list[Address]:
        """A list of addresses."""
        return [self._address(text, data, key) for text in data.texts(key)]

    def _address(self, text: str, data: Fields, key: str) -> Address:
        """IPv4-mapped IPv6 is IPv4."""
        found = self.addresses.get(text)
        if found is None:
            try:
                parsed = parse_address(text)
            except ValueError:
                raise InputError(f"{printable(text)} is not an address", data.at(key)) from None
            if isinstance(parsed, ipaddress.IPv6Address):
                if parsed.scope_id is not None:
                    raise InputError(f"{printable(text)} has a zone", data.at(key))
                parsed = parsed.ipv4_mapped or parsed
            found = self.addresses[text] = parsed
        return found

    def read_labels(self, data: Fields, key: str = "labels") -> Labels:
        """Labels, valid ones: what the API server would refuse is an error."""
        raw = data.sub(key)
        for name, value in raw.data.items():
            if not isinstance(value, str):
                raise InputError(f"label {printable(name)}: {printable(value)} is not a string (quote it)", raw.place)
        pairs = tuple(sorted(raw.data.items()))
        found = self.labels.get(pairs)
        if found is None:
            for name, value in pairs:
                if not valid_label_key(name) or not valid_label_value(value):
                    raise InputError(f"{printable(name)}={printable(value)} is not a label", raw.place)
            found = self.labels[pairs] = pairs
        return found

    def time(self, data: Fields, key: str) -> int | None:
        """An RFC 3339 time as nanoseconds since the epoch, UTC."""
        text = data.text(key)
        if not text:
            return None
        found = self.times.get(text)
        if found is None:
            found = self.times[text] = parse_time(text, data.at(key))
        return found


def parse_time(text: str, place: Place) -> int:
    """RFC 3339 with 0 to 9 digits of a second, as nanoseconds since the epoch, UTC."""
    fraction = _FRACTION.search(text)
    whole = _FRACTION.sub("", text, count=1)
    when = None
    with contextlib.suppress(ValueError):
        when = datetime.fromisoformat(whole)
    if when is None or when.tzinfo is None or "T" not in whole.upper():
        raise InputError(f"{printable(text)} is not an RFC 3339 time", place)
    nanoseconds = int(fraction[1].ljust(9, "0")) if fraction else 0
    return (when - _EPOCH) // _MICROSECOND * 1000 + nanoseconds


def parse_network(text: Any, place: Place) -> Network:
    """A CIDR; host bits are normalised away."""
    if isinstance(text, str) and "/" in text:
        with contextlib.suppress(ValueError):
            return ipaddress.ip_network(text, strict=False)
    raise InputError(f"{printable(text)} is not a CIDR", place)
