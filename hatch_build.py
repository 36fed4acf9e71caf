"""Build hook: compile what is worth compiling, if this machine can.

netpol-gen is whole without it: where there is no compiler, or it fails, Python does the same more slowly. Each module
is compiled by itself: one that fails takes none of the others along. `NETPOL_GEN_COMPILE=0` in the environment goes
without, and makes a wheel for every platform; `=1` makes a failure an error, for those who publish wheels. Nothing but
this file and the C files has to do with it.
"""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULES = ("netpol_gen.readers._conntrack_lines", "netpol_gen.readers._hubble_known")
"""Each is a C file of that name, and the headers whose names begin with it."""
ENV = "NETPOL_GEN_COMPILE"


class CompileHook(BuildHookInterface[Any]):
    """Puts the compiled module beside its source, and into the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before anything is collected; `version` is `standard` or `editable`."""
        wanted = os.environ.get(ENV, "")
        if wanted == "0" or self.target_name != "wheel":
            return
        made = []
        for module in MODULES:
            try:
                made.append(self._compile(module))
            except Exception as error:
                # Compilers and their absence fail in many ways, none of which may stand between a user and the program.
                if wanted == "1":
                    raise
                name = module.rpartition(".")[2]
                self.app.display_warning(f"going without the compiled {name}: {type(error).__name__}: {error}")
        if made and version != "editable":
            for path in made:
                build_data["force_include"][str(path)] = path.relative_to(self.root).as_posix()
            build_data["pure_python"] = False
            # The limited API of 3.11: one module for that Python and all later ones.
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["tag"] = f"cp311-abi3-{platform}"

    def _compile(self, module: str) -> Path:
        # Here, because those who build without isolation may not have it, and get a wheel all the same.
        from setuptools import Distribution, Extension  # noqa: PLC0415
        from setuptools.command.build_ext import build_ext  # noqa: PLC0415

        here = Path(self.root)
        source = Path(*module.split(".")).with_suffix(".c")
        headers = [str(path) for path in sorted((here / source.parent).glob(f"{source.stem}*.h"))]
        extension = Extension(module, [source.as_posix()], depends=headers, py_limited_api=True)
        command = build_ext(Distribution({"name": "netpol-gen", "ext_modules": [extension]}))
        before = Path.cwd()
        os.chdir(here)
        try:
            command.inplace = True
            command.build_temp = command.build_lib = "build/compiled"
            command.ensure_finalized()
            command.run()
        finally:
            os.chdir(before)
        return here / source.parent / Path(command.get_ext_filename(module)).name
