"""Both ways of reading conntrack text, for the tests of what is read."""

from __future__ import annotations

import os

import pytest

from netpol_gen.readers import conntrack_lines, conntrack_text
from tests.conftest import absent


@pytest.fixture(scope="module", params=["compiled", "arrays"])
def conntrack_way(request):
    """Read with the compiled module, then without; gives the decoder."""
    if request.param == "compiled":
        if conntrack_lines.module() is None:
            absent("the compiled module is not built: a C compiler, then `make venv`", os.environ)
        yield conntrack_lines.decode
    else:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(conntrack_lines, "module", lambda: None)
            yield conntrack_text.decode
