"""`python -m netpol_gen`: the command, where the environment's scripts are not on the path."""

from __future__ import annotations

from netpol_gen.cli.main import main

if __name__ == "__main__":
    main()
