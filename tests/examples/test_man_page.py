"""The manual page, against the parser that it is made from; the wheel installs it for `man`."""

from __future__ import annotations

import tomllib

from examples.man_page import PAGE, man_page
from tests.paths import ROOT


def test_the_page_is_what_the_parser_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == man_page(), "docs/omnilmm-lite.1 is behind the parser: `make docs`"


def test_the_wheel_puts_it_where_man_looks() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["setuptools"]["data-files"] == {"share/man/man1": [PAGE.relative_to(ROOT).as_posix()]}
