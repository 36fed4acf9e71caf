"""The live cluster, read and never written: snapshots, their history, and watches that keep it current.

The only place that imports the Kubernetes client. Every request is a GET (verbs get, list and watch; see
docs/rbac.yaml); what it yields is what the file readers take.
"""

from netpol_gen.cluster.connect import Access
from netpol_gen.cluster.history import Changes, append
from netpol_gen.cluster.http import Api
from netpol_gen.cluster.live import live_inventory
from netpol_gen.cluster.snapshot import NotRead, Snapshot, take_snapshot
from netpol_gen.cluster.watch import watch

__all__ = ["Access", "Api", "Changes", "NotRead", "Snapshot", "append", "live_inventory", "take_snapshot", "watch"]
