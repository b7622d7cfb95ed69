"""An error's text is one line that a terminal can show, whatever was put into it."""

from __future__ import annotations

import pytest

from omnilmm_lite.bundle.schema import SchemaError
from omnilmm_lite.errors import LONGEST, InputError, OmniLMMError, one_line


@pytest.mark.parametrize("kind", [OmniLMMError, InputError, SchemaError])
def test_what_steers_a_terminal_is_escaped(kind: type[OmniLMMError]) -> None:
    text = str(kind("a\nb\x1b[31m\u202ec\udcff: there is no such file; check the path"))
    assert text == r"a\nb\x1b[31m\u202ec\udcff: there is no such file; check the path"


@pytest.mark.parametrize("length", [LONGEST - 1, LONGEST, LONGEST + 1, 2 * LONGEST, 10**7])
def test_a_long_line_loses_its_middle(length: int) -> None:
    text = "what is wrong: " + "x" * (length - 28) + "; what to do."
    line = one_line(text)
    assert line == text if length <= LONGEST else len(line) == LONGEST
    assert line.startswith("what is wrong: ") and line.endswith("; what to do.")


def test_escapes_make_no_line_longer() -> None:
    line = one_line("\0" * 299 + "; what to do")
    assert len(line) == LONGEST and line.isprintable() and line.endswith("; what to do")
