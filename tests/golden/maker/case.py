"""What a case is made of."""

from __future__ import annotations

from dataclasses import dataclass, field

from maker.capture import Capture
from maker.cluster import Cluster, two_nodes


@dataclass
class Case:
    """`cluster` None: there is no inventory. `later` is what the cluster holds after the capture."""

    flows: Capture = field(default_factory=Capture)
    cluster: Cluster | None = field(default_factory=two_nodes)
    later: Cluster | None = None

    def shop(self) -> Cluster:
        """Two nodes and namespace `shop`."""
        assert self.cluster is not None
        self.cluster.namespace("shop")
        return self.cluster
