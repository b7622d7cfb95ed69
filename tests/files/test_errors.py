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


def test_of_a_long_path_in_front_the_middle_goes_first() -> None:
    said = "/bundle/decoder.onnx.data: the file is damaged: it hasn't the SHA-256; copy it again"
    line = one_line(f"/home/{'x' * 250}{said}")
    room = LONGEST - len(said) - len("/home/ ... ")
    begin, gap, end = line.partition(" ... ")
    assert (begin.rstrip("x"), gap, end.lstrip("x")) == ("/home/", " ... ", said)
    assert line.count("x", 0, -len(said)) == room


def test_a_line_of_long_parts_keeps_its_end_and_some_of_its_place() -> None:
    line = one_line(f"/home/{'x' * 250}/file: {'why ' * 200}; what to do")
    assert len(line) == LONGEST and line.startswith("/home/x") and "x/file: why" in line
    assert line.endswith("why ; what to do")


@pytest.mark.parametrize("length", range(100, 300, 7))
def test_a_command_is_whole_or_so_long_that_it_can_not_be(length: int) -> None:
    command = "`omnilmm-lite convert A B --work-dir /".ljust(length - 1, "y") + "`"
    line = one_line(f"/home/{'x' * 250}/bundle: its products are wrong; run {command}")
    assert len(line) <= LONGEST
    assert line.endswith(command) or length > 235
