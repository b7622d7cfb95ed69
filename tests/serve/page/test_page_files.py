"""The page's files: nothing in them reaches out of the machine, and text never becomes markup."""

from __future__ import annotations

import asyncio
import mimetypes
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from omnilmm_lite.serve.access import Access
from omnilmm_lite.serve.app import Server
from tests.paths import ROOT

PAGE = ROOT / "omnilmm_lite/serve/page"
PICTURES = ROOT / "examples/pictures"
CODE = sorted(path for path in PAGE.rglob("*") if path.suffix in (".html", ".css", ".js", ".svg"))


@pytest.mark.parametrize("path", CODE, ids=lambda path: path.relative_to(PAGE).as_posix())
def test_no_address_of_another_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace('xmlns="http://www.w3.org/2000/svg"', "")
    if path.suffix == ".js":
        text = re.sub(r"/\*\*.*?\*/", "", text, flags=re.S)  # comments may name a source
    assert not re.search(r"(?<![:\w])//[\w\[]|\w+://|@import|url\(", text)


@pytest.mark.parametrize("path", CODE, ids=lambda path: path.relative_to(PAGE).as_posix())
def test_nothing_that_runs_or_styles_in_line(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)
    if path.suffix == ".html":
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text)


@pytest.mark.parametrize(
    ("name", "kind"), [("main.js", "text/javascript"), ("style/base.css", "text/css"), ("icon.svg", "image/svg+xml")]
)
def test_types_are_the_browsers_whatever_the_system_says(name: str, kind: str) -> None:
    """Some programs for Windows register scripts as plain text, which no browser runs that is told "nosniff"."""
    mimetypes.add_type("text/plain", Path(name).suffix)
    unused: Any = None
    transport = httpx.ASGITransport(Server(unused, unused, Access(None, (), ())).app())

    async def fetched() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as http:
            return await http.get(f"/page/{name}")

    response = asyncio.run(fetched())
    assert (response.status_code, response.headers["content-type"].partition(";")[0]) == (200, kind)


def test_every_icon_that_is_used_is_there() -> None:
    text = (PAGE / "index.html").read_text(encoding="utf-8")
    assert set(re.findall(r'href="#icon-(\w+)"', text)) == set(re.findall(r'symbol id="icon-(\w+)"', text))


def test_the_examples_are_those_of_the_project() -> None:
    examples = [path for path in (PAGE / "examples").iterdir() if path.suffix != ".md"]
    assert len(examples) == 4
    for path in examples:
        assert path.read_bytes() == (PICTURES / path.name).read_bytes()
        assert f'file: "{path.name}"' in (PAGE / "picture/examples.js").read_text(encoding="utf-8")
