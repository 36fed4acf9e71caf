"""Manifests that people keep, changed in place: what is not touched stays byte for byte. Text in, text out.

Nothing is written out by a YAML library: the exact places of the old text's parts are known, and new pieces of text are
put between them (docs/adr/0010). What cannot be changed without changing something else too is refused with the reason.
"""

from netpol_gen.emit.edit.kustomize import add_resource, remove_resource, resources
from netpol_gen.emit.edit.objects import edit_document, edit_documents, remove_document, remove_documents
from netpol_gen.emit.edit.place import Spot
from netpol_gen.emit.edit.source import NotEditableError

__all__ = [
    "NotEditableError",
    "Spot",
    "add_resource",
    "edit_document",
    "edit_documents",
    "remove_document",
    "remove_documents",
    "remove_resource",
    "resources",
]
