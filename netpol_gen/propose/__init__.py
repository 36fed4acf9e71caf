"""Proposing tighter policies for a repository of manifests, and reviewing what others propose: files in, files out.

What is written here is judged by the same evaluator as everything else, with the policies that will be in force: those
of the repository, and those of the cluster that the repository does not have.
"""

from netpol_gen.propose.kustomize import Kustomization
from netpol_gen.propose.reviewing import Reviewed, review
from netpol_gen.propose.run import Environment, propose
from netpol_gen.propose.tree import (
    OPT_OUT,
    Located,
    ManifestTree,
    is_manifest,
    read_files,
    read_rendered,
    read_tree,
)
from netpol_gen.propose.write import LAYOUT, check_layout

__all__ = [
    "LAYOUT",
    "OPT_OUT",
    "Environment",
    "Kustomization",
    "Located",
    "ManifestTree",
    "Reviewed",
    "check_layout",
    "is_manifest",
    "propose",
    "read_files",
    "read_rendered",
    "read_tree",
    "review",
]
