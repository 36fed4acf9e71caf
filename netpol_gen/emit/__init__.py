"""Policies as text: through a template, parsed back, onto the disk."""

from netpol_gen.emit.render import render_kustomization, render_policy, template_dir
from netpol_gen.emit.tree import Written, earlier_files, render_stream, render_tree, write_tree

__all__ = [
    "Written",
    "earlier_files",
    "render_kustomization",
    "render_policy",
    "render_stream",
    "render_tree",
    "template_dir",
    "write_tree",
]
