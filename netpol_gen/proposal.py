"""What the bot proposes, and what it says of somebody else's change: values, with all that a reviewer decides from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from netpol_gen.config import Mode
from netpol_gen.coverage import Coverage, Line
from netpol_gen.diff import Change, Difference, DiffRow
from netpol_gen.lint import Finding
from netpol_gen.model import Diagnostic, Edge, Evidence
from netpol_gen.policy import NetworkPolicy
from netpol_gen.synthesize import Gap, RuleNote


class Action(StrEnum):
    """What happens to a policy."""

    ADD = "add"
    EDIT = "edit"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """One policy that a proposal touches.

    `path` is the file in the repository. `before` is `None` for an added policy, `after` for a removed one. `adopted`
    says that netpol-gen did not write the policy and was told to edit it all the same. `notes` say what stands behind
    each rule of `after`, `coverage` how settled the picture of the workloads is that it selects. `why` is a sentence.
    """

    action: Action
    ref: str
    path: str
    before: NetworkPolicy | None = None
    after: NetworkPolicy | None = None
    adopted: bool = False
    notes: tuple[RuleNote, ...] = ()
    coverage: tuple[Line, ...] = ()
    why: str = ""

    @property
    def policy(self) -> NetworkPolicy:
        """The policy as it will be, or as it was where it goes."""
        found = self.after or self.before
        assert found is not None  # noqa: S101 - one of both is always there
        return found


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """A policy that was looked at and is not touched, with the file it lies in (empty if in none) and the reason."""

    ref: str
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class EnvironmentProposal:
    """What is proposed for one environment: a cluster, or a part of one, and the folder that describes it.

    `difference` is what all changes together do, with observed edges; `denied_before` are observed edges that are
    denied with and without them. `evidence` has every accepted edge. `existing` are the policies in force before, those
    outside the repository too.
    """

    name: str
    path: str
    mode: Mode
    changes: tuple[PolicyChange, ...]
    left_alone: tuple[LeftAlone, ...]
    unchanged: int
    difference: Difference
    denied_before: tuple[Edge, ...]
    evidence: Mapping[Edge, Evidence]
    coverage: Coverage
    gaps: tuple[Gap, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    notes: tuple[str, ...] = ()
    """What to know about the input and the repository, as sentences."""
    existing: tuple[NetworkPolicy, ...] = ()

    @property
    def broken(self) -> tuple[DiffRow, ...]:
        """Connections that were observed and would be denied."""
        return tuple(r for r in self.difference.rows if r.change is Change.BROKEN)


@dataclass(frozen=True, slots=True)
class Proposal:
    """Everything for one request.

    `files` are new contents by path in the repository, `None` for a file that goes. `owners` are the code owners of
    the touched paths, as the repository's CODEOWNERS names them.
    """

    target: str
    """The branch that it is for."""
    base: str
    """The commit that it was made from."""
    environments: tuple[EnvironmentProposal, ...]
    files: Mapping[str, bytes | None] = field(default_factory=lambda: MappingProxyType({}))
    owners: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def changes(self) -> tuple[PolicyChange, ...]:
        """The changes of all environments."""
        return tuple(c for e in self.environments for c in e.changes)

    @property
    def broken(self) -> tuple[DiffRow, ...]:
        """What would break, in all environments."""
        return tuple(r for e in self.environments for r in e.broken)

    @property
    def scope(self) -> str:
        """Names what is proposed for, whatever is proposed: 64 hexadecimal digits."""
        parts = [self.target, *(f"{e.name}\0{e.path}" for e in self.environments)]
        return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Review:
    """What a change of policies by somebody else would do in one environment.

    `findings` are lint findings in files that the change touches, suppressed ones left out. `observed` says whether
    flows were replayed: without them nothing can be called broken.
    """

    name: str
    path: str
    difference: Difference
    evidence: Mapping[Edge, Evidence]
    policies: tuple[int, int]
    """How many NetworkPolicies there were before, and after."""
    findings: tuple[Finding, ...] = ()
    unjudged: tuple[str, ...] = ()
    """Policies that the change touches and that nothing here evaluates (Cilium's, Calico's), by kind and name."""
    coverage: Coverage | None = None
    notes: tuple[str, ...] = ()
    places: Mapping[str, tuple[str, int]] = field(default_factory=lambda: MappingProxyType({}))
    """File and line of each policy after the change, by `namespace/name`."""

    @property
    def broken(self) -> tuple[DiffRow, ...]:
        """Connections that were observed and would be denied."""
        return tuple(r for r in self.difference.rows if r.change is Change.BROKEN)
