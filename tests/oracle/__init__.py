"""A second evaluator, written to be obviously right and nothing else: no classes, no caches, no sets.

It reads manifests as plain dictionaries and shares no code with the package. One question at a time, every rule looked
at every time. Two-valued: it is asked only questions that Kubernetes answers, with the CNI's choices given.
"""

from tests.oracle.verdicts import allowed

__all__ = ["allowed"]
