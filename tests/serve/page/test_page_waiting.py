"""What the page shows while it waits, and Stop, with a server as slow as a big model makes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.paths import ROOT
from tests.serve.browser import Watch, agree, answered, ask, bodies, facts, serving, until, upload
from tests.serve.page.kept import TALKS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

PICTURES = ROOT / "examples/pictures"

# A request of somebody else's, long enough to wait for.
OCCUPY = """() => {
    window.left = new AbortController();
    const messages = [{ role: "user", content: "What can you do?" }];
    const body = JSON.stringify({ model: "tiny", messages, stream: true, temperature: 5, top_k: 0, top_p: 1, seed: 1 });
    const headers = { "Content-Type": "application/json" };
    fetch("v1/chat/completions", { method: "POST", headers, body, signal: window.left.signal }).catch(() => {});
}"""
RUNNING, WAITING = "running", "waiting"
LEAVE = "window.left.abort()"
# Notes every phase that is shown, however short.
WATCH = """() => {
    window.phases = [];
    new MutationObserver((records) => {
        for (const { target, addedNodes } of records) {
            if (target.matches(".phase-text")) phases.push(...[...addedNodes].map(({ data }) => data));
        }
    }).observe(document.querySelector("#log"), { childList: true, subtree: true });
}"""


@pytest.fixture(scope="module")
def address(browser: Browser) -> Iterator[str]:  # the browser first: without one, no server is started
    with serving("tests.serve.slow_server", "--queue", "1") as address:
        yield address


def occupy(page: Page, place: str = RUNNING) -> None:
    """Somebody else's request, once the server has it there."""
    page.evaluate(OCCUPY)
    until_queued(page, place, 1)


def until_queued(page: Page, place: str, count: int) -> None:
    until(page, f"fetch('health').then((r) => r.json()).then((h) => h.queue.{place} === {count})")


def send(page: Page, question: str) -> None:
    page.fill("#question", question)
    page.press("#question", "Enter")


def long_answers(page: Page) -> None:
    """The model talks nonsense until it is stopped."""
    page.click(".open-settings >> nth=0")
    page.click("#settings label >> text=Sampling")
    for field, value in {"#temperature": "5", "#top-k": "0", "#top-p": "1", "#seed": "1"}.items():
        page.fill(field, value)
    page.press("#settings", "Escape")


def test_each_phase_is_shown(page: Page) -> None:
    upload(page, PICTURES / "easy-vqa-teal-circle.png")
    page.evaluate(WATCH)
    occupy(page)
    send(page, "What color is the shape?")
    page.wait_for_selector(".phase-text >> text=Waiting in the queue, place 1")
    page.evaluate(LEAVE)
    assert answered(page) == "The shape is teal."
    shown = page.evaluate("phases")
    assert shown[-3:] == ["Waiting in the queue, place 1", "Looking at the picture", "Reading the prompt"]
    assert page.locator(".phase:visible").count() == 0
    assert page.locator("#said").text_content() == "The shape is teal."  # once, for a screen reader
    assert "remembered" not in facts(page)


def test_stop_keeps_what_was_said(page: Page) -> None:
    asked = bodies(page)
    long_answers(page)
    send(page, "What can you do?")
    until(page, "document.querySelector('.answer-text').textContent.length > 20")
    page.click("#stop")
    said = answered(page)
    assert facts(page) == "stopped"
    send(page, "And more?")
    until(page, "document.querySelector('.turn:last-child .answer-text').textContent.length > 20")
    page.keyboard.press("Escape")
    answered(page)
    assert asked[1]["messages"][1] == {"role": "assistant", "content": said}


def test_stop_while_the_picture_is_looked_at(page: Page) -> None:
    asked = bodies(page)
    upload(page, PICTURES / "cat.png")
    send(page, "What is this?")
    page.wait_for_selector(".phase-text >> text=Looking at the picture")
    page.click("#stop")
    assert answered(page) == ""
    assert facts(page) == "stopped"
    assert ask(page, "Is there a dog?") == "No, there is no dog."
    assert page.locator(".turn").count() == 1  # a question without an answer is no part of the conversation
    assert [len(body["messages"]) for body in asked] == [1, 1]


def test_stop_while_waiting_leaves_the_queue(page: Page) -> None:
    occupy(page)
    send(page, "What can you do?")
    page.wait_for_selector(".phase-text >> text=Waiting in the queue, place 1")
    page.keyboard.press("Escape")
    answered(page)
    until_queued(page, WAITING, 0)
    page.evaluate(LEAVE)


def test_a_full_queue_is_said(page: Page, profile: tuple[BrowserContext, Watch]) -> None:
    profile[1].expected.append("429")
    occupy(page)
    page.evaluate("window.first = window.left")
    occupy(page, WAITING)
    ask(page, "What can you do?")
    line = page.locator(".answer-error").text_content() or ""
    assert line.startswith("Too many are waiting already. Try again in")
    page.evaluate("window.first.abort(); window.left.abort()")
    until_queued(page, RUNNING, 0)
    page.click(".again")
    assert answered(page).startswith("I can name things")


def test_another_picture_ends_the_answer_that_was_running(page: Page) -> None:
    long_answers(page)
    send(page, "What can you do?")
    until(page, "document.querySelector('.answer-text').textContent.length > 0")
    page.set_input_files("#file", PICTURES / "cat.png")
    agree(page)
    page.wait_for_selector(".note >> text=New picture, new conversation")
    until_queued(page, RUNNING, 0)
    assert page.locator(".turn").count() == 0
    assert page.locator("#send").is_visible()


def test_a_reload_keeps_what_was_said_so_far(page: Page) -> None:
    long_answers(page)
    send(page, "What can you do?")
    until(page, "document.querySelector('.answer-text')?.textContent.length > 10")
    until(page, f"{TALKS}.then(([talk]) => talk?.turns[0].answers[0].text.length > 10)")
    page.reload()
    page.wait_for_selector(".turn[data-state=done]")
    assert len(page.locator(".answer-text").text_content() or "") > 10
    assert facts(page) == "not finished"
    until_queued(page, RUNNING, 0)
    page.click(".open-settings >> nth=0")
    page.click("#settings-reset")
    page.press("#settings", "Escape")
    page.click(".again")
    until(page, "document.querySelector('.answer-facts').textContent.includes('tokens/s')")
