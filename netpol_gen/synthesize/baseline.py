"""What is wanted regardless of evidence, and only when asked for."""

from __future__ import annotations

from collections.abc import Collection

from netpol_gen.config import Config
from netpol_gen.errors import OptionError, printable
from netpol_gen.model import Direction
from netpol_gen.policy import NetworkPolicy
from netpol_gen.selectors import LabelSelector, valid_label_key, valid_label_value
from netpol_gen.synthesize.names import DEFAULT_DENY

MANAGED_BY = ("app.kubernetes.io/managed-by", "netpol-gen")


def default_deny(
    namespace: str,
    directions: Collection[Direction] = tuple(Direction),
    labels: tuple[tuple[str, str], ...] = (MANAGED_BY,),
    name: str = DEFAULT_DENY,
) -> NetworkPolicy:
    """Isolate every pod of a namespace. It selects all on purpose, and has no rules: other policies admit.

    It comes without a rule for DNS: a workload with egress evidence has one in its own policy, and to the others DNS
    would be of no use, because nothing else would be open to them.
    """
    return NetworkPolicy(namespace, name, LabelSelector(), frozenset(directions), labels=tuple(sorted(labels)))


def house_labels(config: Config) -> tuple[tuple[str, str], ...]:
    """Labels of every written policy.

    Raises:
        OptionError: a label that the API server would reject, or the one by which our own files are known.

    """
    labels = dict(config.labels)
    for key, value in labels.items():
        if not valid_label_key(key) or not valid_label_value(value):
            raise OptionError(f"labels: {printable(key)}={printable(value)} is not a label")
    if labels.get(MANAGED_BY[0], MANAGED_BY[1]) != MANAGED_BY[1]:
        raise OptionError(f"labels: {MANAGED_BY[0]} is always {MANAGED_BY[1]}")
    return tuple(sorted({**labels, MANAGED_BY[0]: MANAGED_BY[1]}.items()))
