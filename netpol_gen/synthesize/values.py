"""What the writer hands back: policies, what stands behind each rule, and what could not be written.

Diagnostic codes of this package (`NPG2xx` identity, `NPG3xx` policy):

```
NPG201 a selector hits the pods of several workloads    NPG311 clients hidden behind a node's address
NPG202 no selector can name a workload                  NPG312 an ipBlock of the API server
NPG203 a peer that the Service's selector does not meet NPG313 node or API server addresses on Cilium
NPG204 a selector that relies on a release's label      NPG314 an ipBlock of nodes
NPG301 an accepted edge without a rule                  NPG320 addresses outside and what covers them
NPG302 a rule for DNS that nothing showed               NPG330 the metadata service
NPG303 egress is isolated and no resolver is known      NPG331 the kubelet
NPG304 default deny cuts off what was never seen        NPG332 etcd
NPG305 default deny left out in a direction             NPG333 remote shells to or from outside
NPG306 a namespace that no policy can live in           NPG340 Service port differs from container port (EKS)
NPG307 a given name for a workload that is not there   NPG341 a port range that some CNIs cut to its first port
NPG308 a rule for the API server's calls, inferred     NPG342 more ports for a peer than this CNI takes
NPG309 the API server calls, and no rule can be made   NPG343 both address families on a CNI that has one
                                                       NPG344 pods that this CNI leaves out
```
"""

from __future__ import annotations

from dataclasses import dataclass

from netpol_gen.model import Diagnostic, Direction, Edge, Workload
from netpol_gen.policy import NetworkPolicy


@dataclass(frozen=True, slots=True, order=True)
class Gap:
    """A direction of a workload that stays open, and why."""

    workload: Workload
    direction: Direction
    reason: str


@dataclass(frozen=True, slots=True)
class RuleNote:
    """What stands behind rule number `rule` (from 0, in the policy's own order) of a direction.

    `edges` were observed and wanted. `inferred` says why something that was not observed is admitted (empty if nothing
    is) and `inferred_edges` what exactly. `widened` says by how much the rule is broader than its edges (empty if it
    is not).
    """

    policy: str
    direction: Direction
    rule: int
    edges: tuple[Edge, ...] = ()
    inferred: str = ""
    widened: str = ""
    inferred_edges: tuple[Edge, ...] = ()

    @property
    def key(self) -> tuple[str, str, int]:
        """Total order; a rule has one note."""
        return (self.policy, self.direction, self.rule)


@dataclass(frozen=True, slots=True)
class Unwritten:
    """An accepted edge that no rule could be written for at one of its ends, and why."""

    edge: Edge
    direction: Direction
    reason: str

    @property
    def key(self) -> tuple[object, ...]:
        """Total order."""
        return (self.edge.key, self.direction, self.reason)


@dataclass(frozen=True, slots=True)
class Synthesis:
    """All that `synthesize` made, in canonical order.

    `unwritten` are wanted edges that stay without a rule *in an isolated direction or an open one*: whether they are
    denied is for the evaluator to say.
    """

    policies: tuple[NetworkPolicy, ...]
    notes: tuple[RuleNote, ...]
    gaps: tuple[Gap, ...]
    diagnostics: tuple[Diagnostic, ...]
    unwritten: tuple[Unwritten, ...] = ()
