"""A program of this project as it would run elsewhere, on the system that OMNILMM_TEST_AS names:

    python -m tests.other_systems (-m MODULE | -c CODE | FILE) ...

What `tests.other_systems.plugin` does for the tests' own process.
"""

from __future__ import annotations

import os
import runpy
import sys

from tests.other_systems.files import refuse_files
from tests.other_systems.veils import OWN, draw_veils


def main() -> None:
    platform = os.environ["OMNILMM_TEST_AS"]
    draw_veils(platform, (*OWN, "__main__"))
    refuse_files(platform)
    del sys.argv[0]
    if sys.argv[0] == "-m":
        del sys.argv[0]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    elif sys.argv[0] == "-c":
        exec(sys.argv[1], {"__name__": "__main__"})
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
