"""Options that commands share, and how they and `netpol-gen.toml` become one `Config`."""

from __future__ import annotations

import re
import signal
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any

import typer

from netpol_gen.config import Cni, Config, Exclusion, MinEvidence, Mode, NamedPorts, SnatClients
from netpol_gen.errors import InputError, OptionError, Place, printable
from netpol_gen.model import ObservedVerdict
from netpol_gen.selectors import valid_label_key, valid_label_value
from netpol_gen.sets import Network

Flows = Annotated[
    list[str],
    typer.Argument(
        metavar="FLOWS...",
        help="Flow exports: files, directories, globs, or - for stdin. What is no flow log in a directory is left out.",
    ),
]
Source = Annotated[str, typer.Option("--source", help="What the flows are; 'auto' tells from their content.")]
AwsFormat = Annotated[
    str | None, typer.Option("--aws-format", help='Field order of headerless AWS records: "version account-id …".')
]
Inventories = Annotated[
    list[str],
    typer.Option(
        "-i",
        "--inventory",
        metavar="PATH",
        help="What the cluster held: kubectl get … -o yaml|json dumps (file or directory). Repeatable.",
    ),
]
Live = Annotated[
    bool, typer.Option("--live", help="Read the inventory from the live cluster, beside any -i; nothing is written.")
]
Context = Annotated[
    str | None, typer.Option("--context", metavar="NAME", help="Context of the kubeconfig; default: the current one.")
]
Kubeconfig = Annotated[
    str | None,
    typer.Option("--kubeconfig", metavar="FILE", help="Default: KUBECONFIG, ~/.kube/config, or the pod's own account."),
]
Namespaces = Annotated[
    list[str], typer.Option("-n", "--namespace", help="Write policies for this namespace only. Repeatable.")
]
AllNamespaces = Annotated[
    bool, typer.Option("-A", "--all-namespaces", help="Write policies for system namespaces as well.")
]
Since = Annotated[str | None, typer.Option("--since", help="Leave out flows before this time (RFC 3339, or 7d ago).")]
Until = Annotated[str | None, typer.Option("--until", help="Leave out flows from this time on.")]
CniOption = Annotated[Cni | None, typer.Option("--cni", help="What enforces the policies.")]
Accept = Annotated[
    list[str],
    typer.Option("--accept", help="Evidence too: 'audit' (audit mode verdicts), 'unanswered'. Repeatable."),
]
MinEvidenceOption = Annotated[
    MinEvidence | None,
    typer.Option("--min-evidence", help="'strong' leaves out edges whose client was told only by port numbers."),
]
Strict = Annotated[bool, typer.Option("--strict", help="Any bad record is an error, and any file left out.")]
MaxBad = Annotated[float | None, typer.Option("--max-bad", metavar="RATIO", help="Most bad records, 0 to 1.")]
MaxLoss = Annotated[float | None, typer.Option("--max-loss", metavar="RATIO", help="Most lost events, 0 to 1.")]
PodCidr = Annotated[list[str], typer.Option("--pod-cidr", help="Range that pods get addresses from. Repeatable.")]
ServiceCidr = Annotated[list[str], typer.Option("--service-cidr", help="Range of Service addresses. Repeatable.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="netpol-gen.toml with any option.")]
Out = Annotated[str, typer.Option("--out", metavar="PATH", help="Where to write; - is stdout.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say more.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say less.")]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d|w)")
_DAY = 86400
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set, once, so that what runs can end in order; a second one ends at once."""
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def note(_number: int, _frame: object) -> None:
        stop.set()
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def parse_time(text: str, option: str) -> int:
    """RFC 3339, or a duration before now, as nanoseconds since the epoch.

    Raises:
        OptionError: neither.

    """
    if match := _DURATION.fullmatch(text):
        return time.time_ns() - int(float(match[1]) * _SECONDS[match[2]] * 1e9)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise OptionError(f"{option}: {printable(text)} is neither a time (RFC 3339) nor a duration (7d)") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000


def _cidrs(values: Sequence[str], option: str) -> tuple[Network, ...]:
    try:
        return tuple(ip_network(v, strict=False) for v in values)
    except ValueError as error:
        raise OptionError(f"{option}: {printable(error)}") from None


def _verdicts(values: Sequence[str]) -> dict[str, Any]:
    words = {w.strip() for v in values for w in v.split(",") if w.strip()}
    if unknown := sorted(words - {"audit", "forwarded", "unanswered"}):
        raise OptionError(f"--accept: {printable(unknown[0])} is not audit, forwarded or unanswered")
    return {
        "accept": frozenset({ObservedVerdict.FORWARDED, *(ObservedVerdict(w) for w in words - {"unanswered"})}),
        "accept_unanswered": "unanswered" in words,
    }


def _ratio(value: Any, option: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise OptionError(f"{option}: {printable(value)} is not a ratio from 0 to 1")
    return float(value)


def _number(value: Any, option: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise OptionError(f"{option}: {printable(value)} is not a number from 0")
    return value


def _seconds(value: Any, option: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _DAY:
        raise OptionError(f"{option}: {printable(value)} is not a number of seconds from 0, less than a day")
    return float(value)


def _choice(kind: type[StrEnum]) -> Callable[[Any, str], StrEnum]:
    def parse(value: Any, option: str) -> StrEnum:
        try:
            return kind(value)
        except ValueError:
            raise OptionError(f"{option}: {printable(value)} is not one of {', '.join(kind)}") from None

    return parse


def _flag(value: Any, option: str) -> bool:
    if not isinstance(value, bool):
        raise OptionError(f"{option}: {printable(value)} is not true or false")
    return value


def _texts(value: Any, option: str) -> list[str]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(i, str) for i in items):
        raise OptionError(f"{option}: a text or a list of texts is wanted")
    return items


def _mapping(value: Any, option: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise OptionError(f"{option}: a table of texts is wanted")
    return value


def _labels(value: Any, option: str) -> dict[str, str]:
    for key, label in _mapping(value, option).items():
        if not valid_label_key(key) or not valid_label_value(label):
            raise OptionError(f"{option}: {printable(key)}={printable(label)} is not a label")
    return dict(value)


def _exclusions(value: Any, option: str) -> tuple[Exclusion, ...]:
    known = {f.name for f in fields(Exclusion)}
    out = []
    for entry in value if isinstance(value, list) else [value]:
        if not isinstance(entry, dict) or "reason" not in entry or set(entry) - known:
            raise OptionError(f"{option}: an entry has a reason and any of src, dst, protocol, port")
        if not all(isinstance(v, int if k == "port" else str) for k, v in entry.items()):
            raise OptionError(f"{option}: port is a number, everything else a text")
        out.append(Exclusion(**entry))
    return tuple(out)


# One entry per setting: key of the file and name of the option -> field of `Config` and how to read it.
_SETTINGS: Mapping[str, tuple[str, Callable[[Any, str], Any]]] = {
    "namespace": ("namespaces", lambda v, o: frozenset(_texts(v, o)) or None),
    "all-namespaces": ("all_namespaces", _flag),
    "since": ("since", lambda v, o: parse_time(str(v), o)),
    "until": ("until", lambda v, o: parse_time(str(v), o)),
    "min-evidence": ("min_evidence", _choice(MinEvidence)),
    "scan-threshold": ("scan_threshold", _number),
    "strict": ("strict", _flag),
    "max-bad": ("max_bad", _ratio),
    "max-loss": ("max_loss", _ratio),
    "cni": ("cni", _choice(Cni)),
    "mode": ("mode", _choice(Mode)),
    "named-ports": ("named_ports", _choice(NamedPorts)),
    "snat-clients": ("snat_clients", _choice(SnatClients)),
    "max-extra-addresses": ("max_extra_addresses", _number),
    "default-deny": ("default_deny", _flag),
    "pod-cidr": ("pod_cidrs", lambda v, o: _cidrs(_texts(v, o), o)),
    "service-cidr": ("service_cidrs", lambda v, o: _cidrs(_texts(v, o), o)),
    "names": ("names", _mapping),
    "labels": ("labels", _labels),
    "exclude": ("exclude", _exclusions),
    "guard-seconds": ("guard_seconds", _seconds),
}


def make_config(file: Path | None, **options: Any) -> Config:
    """One `Config` from the file and from options, which win. `None`, `False` and empty lists mean "not given"."""
    given = read_file(file) if file else {}
    values: dict[str, Any] = {}
    for key, value in given.items():
        values.update(setting(key, value, f"{file}: {key}"))
    for name, value in options.items():
        if value is not None and value is not False and value != []:
            key = name.replace("_", "-")
            values.update(setting(key, value, f"--{key}"))
    config = Config(**values)
    if config.since is not None and config.until is not None and config.since >= config.until:
        raise OptionError("--since is not before --until: no flow can be in between")
    return config


def names(file: Path | None, key: str, option: object) -> bool:
    """Whether a setting was given, by option or in the file."""
    return option is not None or (file is not None and key in read_file(file))


def setting(key: str, value: Any, option: str) -> dict[str, Any]:
    """Fields of `Config` from one key of the file.

    Raises:
        OptionError: an unknown key, a value that it cannot have.

    """
    if key == "accept":
        return _verdicts(_texts(value, option))
    if key in ("lint", "propose") and isinstance(value, dict):
        # These commands read their tables themselves; to the others they are nothing.
        return {}
    if key not in _SETTINGS:
        raise OptionError(f"{printable(option)}: unknown setting")
    field, parse = _SETTINGS[key]
    return {field: parse(value, option)}


def read_file(file: Path) -> dict[str, Any]:
    """The settings file as it is.

    Raises:
        InputError: it cannot be read, or is no TOML.

    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", Place(str(file))) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"is no TOML: {printable(error)}", Place(str(file))) from None
