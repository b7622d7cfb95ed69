"""A conversation as a file: whole, with its picture, and what was said in it stays text."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from markdown_it import MarkdownIt

from tests.paths import ROOT
from tests.serve.browser import Watch, ask, upload

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

CAT = ROOT / "examples/pictures/cat.png"
EVIL = "<script>document.title=1</script> & \"q\" 'a' <img src=x onerror=alert(1)> **b** [l](x) `c` # h | ~~s~~ \\ !"
LINES = "1. one\n- two\n\n    three\n> four\n=== five"


@pytest.fixture
def said(page: Page) -> Page:
    """A conversation about the cat, in which question and answer are full of markup."""
    data = [
        {"choices": [{"index": 0, "delta": {"content": f"{EVIL}\n{LINES}"}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    ]
    events = "".join(f"data: {json.dumps(each)}\n\n" for each in data) + "data: [DONE]\n\n"
    page.route("**/v1/chat/completions", lambda route: route.fulfill(body=events, content_type="text/event-stream"))
    upload(page, CAT)
    ask(page, EVIL)
    return page


def exported(page: Page, form: str, folder: Path) -> Path:
    page.click("#export")
    with page.expect_download() as download:
        page.click(f"#export-{form}")
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_json_has_all_of_it(said: Page, tmp_path: Path) -> None:
    path = exported(said, "json", tmp_path)
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    assert path.suffix == ".json"
    assert (found["format"], found["version"], found["model"]) == ("omnilmm-lite conversation", 1, "tiny")
    assert [(turn["question"], turn["answers"][0]["text"]) for turn in found["turns"]] == [(EVIL, f"{EVIL}\n{LINES}")]
    head, _, data = found["picture"]["data_url"].partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(data) == CAT.read_bytes()


def test_the_web_page_shows_it_and_runs_nothing(
    said: Page, profile: tuple[BrowserContext, Watch], tmp_path: Path
) -> None:
    path = exported(said, "html", tmp_path)
    page = profile[0].new_page()
    page.set_content(path.read_text(encoding="utf-8"))
    assert page.title() == page.locator("h1").text_content() == said.locator("#chat-title").text_content()
    assert page.locator("h2").text_content() == EVIL
    assert page.locator(".columns p").text_content() == f"{EVIL}\n{LINES}"
    assert page.locator("script, :is(h1, h2, p) *").count() == 0
    assert page.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 448
    assert page.locator("img").count() == 1


def test_markdown_shows_it_as_text(said: Page, tmp_path: Path) -> None:
    """Read by a renderer of CommonMark that we did not write."""
    path = exported(said, "markdown", tmp_path)
    tokens = MarkdownIt("commonmark").parse(path.read_text(encoding="utf-8"))
    kinds = [token.type for token in tokens if token.nesting >= 0 and token.type != "inline"]
    assert kinds == [
        "heading_open", "paragraph_open", "paragraph_open", "heading_open", "paragraph_open", "paragraph_open",
    ]  # fmt: skip
    inline = [token.children or [] for token in tokens if token.type == "inline"]
    (picture,) = inline[2]
    assert picture.type == "image"
    assert base64.b64decode(str(picture.attrs["src"]).partition(",")[2]) == CAT.read_bytes()
    texts = ["".join(each.content or "\n" for each in children) for children in inline]
    assert texts[3] == EVIL
    assert [line.strip() for line in "\n\n".join(texts[4:]).split("\n")] == [
        line.strip() for line in f"{EVIL}\n{LINES}".split("\n")
    ]
    kinds_inside = {each.type for children in inline[3:] for each in children}
    assert kinds_inside <= {"text", "hardbreak", "text_special"}
