"""Names of policies: the workload's own wherever that is a name and nobody else's."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable

from netpol_gen.config import Config
from netpol_gen.errors import OptionError, printable
from netpol_gen.model import Workload

DEFAULT_DENY = "default-deny"
_RESERVED = frozenset({DEFAULT_DENY, "kustomization"})
"""The second would take the name of the file that lists the others."""
_MAX = 63
_HASH = 8
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def is_namespace(name: str) -> bool:
    """Whether a namespace can have that name (RFC 1123 label)."""
    return _LABEL.fullmatch(name) is not None


Taken = Collection[tuple[str, str]]
"""Namespaces and names of policies that must not be overwritten."""


def policy_names(workloads: Iterable[Workload], config: Config, taken: Taken = frozenset()) -> dict[Workload, str]:
    """A name for every workload, all different within a namespace and none of those taken.

    Workloads of one namespace whose names come out the same all get a hash of their identity, so that none of them
    changes its name when another one comes to have a policy. `workloads` are therefore all that are known. A name in
    `config.names` is used even where it is taken.

    Raises:
        OptionError: a name in `config.names` that is none, that is reserved, or that is given twice.

    """
    workloads = sorted(set(workloads))
    given = {w: config.names[_key(w)] for w in workloads if _key(w) in config.names}
    for workload, name in given.items():
        if not _LABEL.fullmatch(name) or name in _RESERVED:
            raise OptionError(f"names: {printable(name)} for {_key(workload)} cannot be the name of a policy")
    asked = Counter((w.namespace, name) for w, name in given.items())
    if twice := sorted(key for key, count in asked.items() if count > 1):
        raise OptionError(f"names: {twice[0][1]} is given to two workloads of namespace {printable(twice[0][0])}")
    slugs = {w: _slug(w.name) for w in workloads if w not in given}
    counts = Counter((w.namespace, slug) for w, slug in slugs.items()) + asked
    out = dict(given)
    for workload, slug in slugs.items():
        plain = len(slug) <= _MAX and slug not in _RESERVED and counts[workload.namespace, slug] == 1
        out[workload] = slug if plain else _hashed(workload, slug, _HASH)
    # A workload may have been named like another one's name with its hash.
    again = Counter((w.namespace, name) for w, name in out.items())
    for workload, slug in slugs.items():
        if again[workload.namespace, out[workload]] > 1:
            out[workload] = _hashed(workload, slug, 4 * _HASH)
    used = {*taken, *((w.namespace, name) for w, name in out.items())}
    for workload, slug in slugs.items():
        if (workload.namespace, out[workload]) in taken:
            out[workload] = _free(_key(workload), workload.namespace, slug, used)
            used.add((workload.namespace, out[workload]))
    return out


def default_deny_name(namespace: str, taken: Taken = frozenset()) -> str:
    """What the default deny of a namespace is called."""
    return _free(namespace, namespace, DEFAULT_DENY, taken) if (namespace, DEFAULT_DENY) in taken else DEFAULT_DENY


def _free(key: str, namespace: str, slug: str, taken: Taken) -> str:
    """The first name with a hash that nobody has: of the key, then of the key with a number."""
    tries = (_with_hash(f"{key}#{n}" if n else key, slug, _HASH) for n in range(len(taken) + 1))
    return next(name for name in tries if (namespace, name) not in taken)


def _key(workload: Workload) -> str:
    return f"{workload.namespace}/{workload.kind}/{workload.name}"


def _slug(name: str) -> str:
    """The nearest RFC 1123 label, perhaps too long."""
    if _LABEL.fullmatch(name):
        return name
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "workload"


def _hashed(workload: Workload, slug: str, length: int) -> str:
    return _with_hash(_key(workload), slug, length)


def _with_hash(key: str, slug: str, length: int) -> str:
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{slug[: _MAX - length - 1].rstrip('-')}-{digest[:length]}"
