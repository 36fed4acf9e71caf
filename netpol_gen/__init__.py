"""From the traffic a Kubernetes cluster really carries to network policies that people dare to enforce."""

from __future__ import annotations

__version__ = "0.1.0"
