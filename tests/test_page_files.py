"""The page's files: nothing in them reaches out of the machine, and text never becomes markup."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "omnilmm_lite/serve/page"
PICTURES = Path(__file__).parent.parent / "examples/pictures"
CODE = sorted(path for path in PAGE.iterdir() if path.suffix in (".html", ".css", ".js", ".svg"))


@pytest.mark.parametrize("path", CODE, ids=lambda path: path.name)
def test_no_address_of_another_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace('xmlns="http://www.w3.org/2000/svg"', "")
    if path.suffix == ".js":
        text = re.sub(r"/\*\*.*?\*/", "", text, flags=re.S)  # comments may name a source
    assert not re.search(r"(?<![:\w])//[\w\[]|\w+://|@import|url\(", text)


@pytest.mark.parametrize("path", CODE, ids=lambda path: path.name)
def test_nothing_that_runs_or_styles_in_line(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)
    if path.suffix == ".html":
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text)


def test_every_icon_that_is_used_is_there() -> None:
    text = (PAGE / "index.html").read_text(encoding="utf-8")
    assert set(re.findall(r'href="#icon-(\w+)"', text)) == set(re.findall(r'symbol id="icon-(\w+)"', text))


def test_the_examples_are_those_of_the_project() -> None:
    examples = [path for path in (PAGE / "examples").iterdir() if path.suffix != ".md"]
    assert len(examples) == 4
    for path in examples:
        assert path.read_bytes() == (PICTURES / path.name).read_bytes()
        assert f'file: "{path.name}"' in (PAGE / "examples.js").read_text(encoding="utf-8")
