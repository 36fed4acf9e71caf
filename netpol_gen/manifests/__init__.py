"""Kubernetes objects from files: YAML or JSON, one or many, lists expanded, each with the place it was found.

Nothing is left out in silence: what is no object is an error with file and line, and whoever reads the objects counts
the kinds it does not know. Limits: YAML nests at most 300 deep and its aliases stand for at most 1,000,000 nodes per
document; JSON nests as deep as Python's decoder takes (about 1,000) and one file of it holds at most 4 GiB. YAML is
read document by document, a JSON list item by item; JSON is some twenty times as fast.
"""

from netpol_gen.manifests.files import STDIN, documents_in
from netpol_gen.manifests.objects import Manifest, manifests_in, read_manifests
from netpol_gen.manifests.policies import NETWORK_POLICY, PARSERS, Parser, PolicySet, read_policies

__all__ = [
    "NETWORK_POLICY",
    "PARSERS",
    "STDIN",
    "Manifest",
    "Parser",
    "PolicySet",
    "documents_in",
    "manifests_in",
    "read_manifests",
    "read_policies",
]
