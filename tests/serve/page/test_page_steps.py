"""Steps of a conversation: taken back, asked otherwise, compared; and what is asked before one ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.paths import ROOT
from tests.serve.browser import agree, ask, bodies, until, upload
from tests.serve.page.kept import TALKS

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

PICTURES = ROOT / "examples/pictures"
ENDED = "#log[data-busy=false] .turn:last-child[data-state=done]"


def said(page: Page) -> list[str]:
    return page.locator(".answer-text").all_text_contents()


def asked_so_far(page: Page) -> list[str]:
    return page.locator(".question-text").all_text_contents()


def test_undo_takes_back_step_by_step(page: Page) -> None:
    assert page.locator("#undo").is_disabled()
    upload(page, PICTURES / "cat.png")
    ask(page, "What is this?")
    ask(page, "Is there a dog?")
    page.click("#undo")
    assert asked_so_far(page) == ["What is this?"]
    assert page.input_value("#question") == "Is there a dog?"
    bodies_then = bodies(page)
    ask(page, "Is there a cat?")
    assert len(bodies_then[0]["messages"]) == 3
    until(page, f"{TALKS}.then(([talk]) => talk?.turns[1]?.question === 'Is there a cat?')")
    page.reload()  # what was done before isn't known any more: the last question goes
    page.wait_for_selector(".turn >> nth=1")
    page.click("#undo")
    page.click("#undo")
    assert asked_so_far(page) == []
    assert page.input_value("#question") == "Is there a cat?"  # what is being written isn't replaced
    assert page.locator("#undo").is_disabled()
    assert page.locator("#picture[data-state=picture]").count() == 1


def test_an_edited_question_is_asked_from_there(page: Page) -> None:
    upload(page, PICTURES / "cat.png")
    ask(page, "What is this?")
    ask(page, "Is there a dog?")
    ask(page, "Is there a cat?")
    before = said(page)
    asked = bodies(page)
    page.hover(".turn >> nth=1")
    page.click(".edit >> nth=1")
    assert page.input_value(".edit-field:visible") == "Is there a dog?"
    page.press(".edit-field:visible", "Escape")
    assert asked_so_far(page) == ["What is this?", "Is there a dog?", "Is there a cat?"]
    page.click(".edit >> nth=1")
    page.fill(".edit-field:visible", "Is there an owl?")
    page.press(".edit-field:visible", "Enter")
    page.wait_for_selector(ENDED)
    assert asked_so_far(page) == ["What is this?", "Is there an owl?"]
    assert [message["content"] for message in asked[0]["messages"][1:]] == ["This is a cat.", "Is there an owl?"]
    page.click("#undo")
    assert asked_so_far(page) == ["What is this?", "Is there a dog?", "Is there a cat?"]
    assert said(page) == before


def fake_answers(route: Route) -> None:
    """The settings that an answer was asked with, as the answer."""
    text = "greedy" if json.loads(route.request.post_data or "")["temperature"] == 0 else "drawn"
    data = [
        {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    ]
    events = "".join(f"data: {json.dumps(each)}\n\n" for each in data)
    route.fulfill(body=f"{events}data: [DONE]\n\n", content_type="text/event-stream")


def test_two_settings_are_compared_side_by_side(page: Page) -> None:
    page.route("**/v1/chat/completions", fake_answers)
    page.click("#compare")
    page.click("header .open-settings")
    page.click("#settings-which >> text=B")
    page.fill("#temperature", "0.9")
    page.click("#settings-close")
    summary = "A: Greedy · B: Sampling, temperature 0.9"
    assert page.locator("#settings-summary").text_content() == summary
    asked = bodies(page)
    page.fill("#question", "What can you do?")
    page.press("#question", "Enter")
    page.wait_for_selector(ENDED)
    assert said(page) == ["greedy", "drawn"]
    assert [body["temperature"] for body in asked] == [0, 0.9]
    assert asked[0]["messages"] == asked[1]["messages"]
    left, right = (page.locator(".answer").nth(which).bounding_box() for which in range(2))
    assert left and right and left["y"] == right["y"] and left["x"] + left["width"] < right["x"]
    page.click(".choose >> nth=1")
    assert [each.get_attribute("aria-pressed") for each in page.locator(".choose").all()] == ["false", "true"]
    until(page, f"{TALKS}.then(([talk]) => talk?.turns[0].chosen === 1)")
    page.reload()
    page.wait_for_selector(".choose[aria-pressed=true] >> nth=0")
    assert page.locator("#settings-summary").text_content() == summary
    page.click("#compare")
    asked = bodies(page)
    ask(page, "And more?")
    assert [message["content"] for message in asked[0]["messages"]] == ["What can you do?", "drawn", "And more?"]
    assert said(page) == ["greedy", "drawn", "greedy"]


def test_another_picture_asks_before_the_conversation_ends(page: Page) -> None:
    upload(page, PICTURES / "cat.png")
    ask(page, "What is this?")
    for leave in ("#confirm-no", None):
        page.set_input_files("#file", PICTURES / "easy-vqa-teal-circle.png")
        page.wait_for_selector("#confirm-text >> text=begins with easy-vqa-teal-circle.png. This one stays in the list")
        page.click(leave) if leave else page.press("#confirm", "Escape")
        assert page.locator(".turn").count() == 1
        assert "cat.png" in (page.locator("#picture-facts").text_content() or "")
    page.click("#remove")
    page.wait_for_selector("#confirm-text >> text=begins without a picture")
    page.click("#confirm-no")
    page.set_input_files("#file", PICTURES / "easy-vqa-teal-circle.png")
    agree(page)
    page.wait_for_selector("#picture-facts >> text=easy-vqa-teal-circle.png")
    assert page.locator(".turn").count() == 0
    upload(page, PICTURES / "cat.png")  # nothing was said yet: nobody is asked
    page.wait_for_selector("#picture-facts >> text=cat.png")


def test_a_picture_that_is_dropped_while_it_is_asked_about_another_is_asked_about_instead(page: Page) -> None:
    upload(page, PICTURES / "cat.png")
    ask(page, "What is this?")
    page.set_input_files("#file", PICTURES / "easy-vqa-teal-circle.png")
    page.wait_for_selector("#confirm-text >> text=begins with easy-vqa-teal-circle.png")
    page.set_input_files("#file", PICTURES / "owl-on-a-photo.jpg")
    page.wait_for_selector("#confirm-text >> text=begins with owl-on-a-photo.jpg")
    agree(page)
    page.wait_for_selector("#picture-facts >> text=owl-on-a-photo.jpg")
    assert page.locator(".turn").count() == 0
