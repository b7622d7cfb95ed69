"""The page on a phone of 360 pixels: nothing beside it, icons on one line, all of it within reach of a finger."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tests.paths import ROOT
from tests.serve.browser import upload

if TYPE_CHECKING:
    from playwright.sync_api import Page

CAT = ROOT / "examples/pictures/cat.png"
FINGER = 44  # pixels; source: WCAG 2.2, 2.5.5 "Target Size (Enhanced)"
# What can be pressed: its name and its box. A hidden file input is pressed by its label; sliders repeat their numbers.
TARGETS = """() => [...document.querySelectorAll("button, .button, .drop, textarea, input, .switch span")]
    .filter((each) => each.checkVisibility() && !each.disabled && !each.matches(".unseen, .switch input, [type=range]"))
    .filter((each) => each.closest("dialog") === document.querySelector("dialog[open]"))
    .map((each) => [each.id || each.className || each.textContent, each.getBoundingClientRect().width,
        each.getBoundingClientRect().height])"""
BESIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def check(page: Page) -> None:
    """Nothing sticks out, and every target is large enough."""
    assert page.evaluate(BESIDE) <= 0
    targets = page.evaluate(TARGETS)
    assert targets
    assert [each for each in targets if min(each[1:]) < FINGER - 0.5] == []


def one_line(page: Page, selector: str) -> None:
    """All of them are side by side, none below or over another."""
    boxes = [box for each in page.locator(selector).all() if each.is_visible() and (box := each.bounding_box())]
    middles = [box["y"] + box["height"] / 2 for box in boxes]
    assert len(middles) > 1
    assert max(middles) - min(middles) < 4, selector
    ends = sorted((box["x"], box["x"] + box["width"]) for box in boxes)
    assert all(end <= start + 0.5 for (_, end), (start, _) in pairwise(ends)), selector


@pytest.mark.parametrize("width", [390, 360, 320])
def test_a_conversation_on_a_phone(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 740})
    check(page)
    upload(page, CAT)
    check(page)
    page.click("#compare")
    page.fill("#question", "What is this?")
    page.press("#question", "Enter")
    page.wait_for_selector("#log[data-busy=false] .turn[data-state=done]")
    page.click("#compare")
    page.fill("#question", "Is there a dog?")
    page.press("#question", "Enter")
    page.wait_for_selector("#log[data-busy=false] .turn:last-child[data-state=done]")
    check(page)
    one_line(page, "header h1, #status, header :is(a, button)")
    assert page.locator("header h1").evaluate("each => each.scrollWidth - each.clientWidth") <= 0
    one_line(page, "#chat-title, .chat-actions button")
    one_line(page, ".turn:last-child .answer-foot :is(.answer-facts, button)")
    one_line(page, "#composer button")
    one_line(page, "#picture :is(.actions > *, #remove)")
    for opener, closer, inside in (
        ("#open-history", "#history-close", ".entry"),
        ("header .open-settings", "#settings-close", "#temperature"),
    ):
        page.click(opener)
        page.wait_for_selector(f"dialog[open] {inside}")
        check(page)
        page.click(closer)
    page.click(".edit >> nth=0")
    check(page)
    page.click(".edit-cancel:visible")
    page.click("#remove")
    check(page)
