"""Lets this project's modules believe that they run elsewhere, on the system that a variable names:

    OMNILMM_TEST_AS=win32 python -m pytest -p tests.other_systems.plugin tests/bundle/test_folder.py

or `darwin`. mypy proves that no name is used which isn't there; this shows that what runs in its place works.
"""

from __future__ import annotations

import os

from hypothesis import settings

from tests.other_systems.files import refuse_files
from tests.other_systems.veils import draw_veils

VARIABLE = "OMNILMM_TEST_AS"

settings.register_profile("elsewhere", deadline=None, max_examples=10)  # all of them were tried without this
draw_veils(os.environ[VARIABLE])
refuse_files(os.environ[VARIABLE])
