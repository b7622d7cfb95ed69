"""The page in a real Chromium, against the real server with the built-in model. Every test also checks that no request
went anywhere else, and that the console holds no error (a breach of the content security policy is one).
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from tests.paths import ROOT
from tests.serve.browser import Watch, agree, answered, ask, bodies, facts, until, upload

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

CAT = ROOT / "examples/pictures/cat.png"
SIDES = "448 \N{MULTIPLICATION SIGN} 448"
CIRCLE = ROOT / "examples/pictures/easy-vqa-teal-circle.png"


@pytest.fixture
def new_cat(tmp_path: Path) -> Path:
    """A cat that the server has never seen: one pixel is another."""
    with Image.open(CAT) as image:
        image.putpixel((0, 0), tuple(os.urandom(3)))
        image.save(tmp_path / "new cat.png")
    return tmp_path / "new cat.png"


def put_into_event(page: Page, kind: str, target: str, path: Path, mime: str) -> None:
    """Pastes or drops a file, as the browser does it."""
    page.evaluate(
        """([kind, target, bytes, name, type]) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], name, { type }));
            const options = { bubbles: true, cancelable: true };
            const event = kind === "paste"
                ? new ClipboardEvent("paste", { ...options, clipboardData: data })
                : new DragEvent(kind, { ...options, dataTransfer: data });
            document.querySelector(target).dispatchEvent(event);
        }""",
        [kind, target, list(path.read_bytes()), path.name, mime],
    )


def test_a_picture_is_uploaded_and_asked_about_twice(page: Page, new_cat: Path) -> None:
    upload(page, new_cat)
    assert page.locator("#picture-facts").text_content() == f"new cat.png · {SIDES} · {kilobytes(new_cat)}"
    assert page.locator("#picture-image").evaluate("image => image.decode().then(() => image.naturalWidth)") == 448
    asked = bodies(page)
    assert ask(page, "What is this?") == "This is a cat."
    assert "tokens/s" in facts(page)
    assert "picture" in facts(page)
    assert "remembered" not in facts(page)
    assert ask(page, "Is there a dog?") == "No, there is no dog."
    assert "picture remembered" in facts(page)
    first, second = (body["messages"] for body in asked)
    assert [part["type"] for part in first[0]["content"]] == ["image_url", "text"]
    assert [message["role"] for message in second] == ["user", "assistant", "user"]
    assert second[0] == first[0]
    assert second[1:] == [
        {"role": "assistant", "content": "This is a cat."},
        {"role": "user", "content": "Is there a dog?"},
    ]


def kilobytes(path: Path) -> str:
    return f"{round(path.stat().st_size / 1000)} kB"


def test_the_file_is_sent_as_it_is(page: Page) -> None:
    asked = bodies(page)
    upload(page, CAT)
    ask(page, "What is this?")
    url = asked[0]["messages"][0]["content"][0]["image_url"]["url"]
    assert url == "data:image/png;base64," + base64.b64encode(CAT.read_bytes()).decode()


def test_one_click_asks_an_example(page: Page) -> None:
    page.click("#examples-list button >> nth=0")
    assert answered(page) == "This is a cat."
    page.click("#examples-list button >> nth=1")
    page.wait_for_selector(".note >> text=New picture, new conversation")
    assert answered(page) == "The shape is teal."
    assert page.locator(".turn").count() == 1


def test_the_machine_and_the_speed_are_shown(page: Page) -> None:
    page.wait_for_selector("#status[data-state=ready]")
    assert page.locator("#status-text").text_content() == "CPU"
    assert "MB" in (page.locator("#status-memory").text_content() or "")
    ask(page, "What can you do?")
    until(page, "document.querySelector('#status-speed').textContent.includes('tokens/s')")
    assert page.locator("#model").text_content() == page.locator("#machine-model").text_content() == "tiny"


def test_enter_sends_and_shift_enter_starts_a_line(page: Page) -> None:
    asked = bodies(page)
    page.press("#question", "Enter")  # nothing to send
    page.type("#question", "What can")
    page.press("#question", "Shift+Enter")
    page.type("#question", "you do?")
    page.press("#question", "Enter")
    answered(page)
    assert [body["messages"][-1]["content"] for body in asked] == ["What can\nyou do?"]
    assert page.input_value("#question") == ""


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("notes.txt", b"no picture", "notes.txt is no picture that can be read"),
        ("broken.png", b"\x89PNG\r\n\x1a\n and no more", "broken.png is damaged"),
        ("nothing.png", b"", "nothing.png is empty"),
    ],
)
def test_a_wrong_file_is_refused_and_the_picture_stays(
    page: Page, tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    upload(page, CAT)
    assert ask(page, "What is this?") == "This is a cat."
    (tmp_path / name).write_bytes(content)
    page.set_input_files("#file", tmp_path / name)
    page.wait_for_selector(f"#picture-line >> text={said}")
    assert page.locator("#picture-facts").text_content() == f"cat.png · {SIDES} · {kilobytes(CAT)}"
    assert page.locator(".turn").count() == 1
    upload(page, CIRCLE)
    agree(page)
    page.wait_for_selector("#picture-line", state="hidden")


def test_a_picture_over_the_limit_is_sent_smaller(page: Page, tmp_path: Path) -> None:
    big = tmp_path / "big.bmp"
    with Image.open(CAT) as image:
        image.resize((3000, 2800)).save(big)
    asked = bodies(page)
    upload(page, big)
    page.wait_for_selector("#picture-facts >> text=25 MB, sent smaller")
    assert ask(page, "What is this?") == "This is a cat."
    assert asked[0]["messages"][0]["content"][0]["image_url"]["url"].startswith("data:image/jpeg;base64,")


def test_a_very_wide_picture_gets_a_hint(page: Page, tmp_path: Path) -> None:
    Image.new("RGB", (300, 100), "teal").save(tmp_path / "wide.png")
    upload(page, tmp_path / "wide.png")
    page.wait_for_selector("#picture-hint >> text=squashed to a square")
    upload(page, CAT)
    page.wait_for_selector("#picture-hint", state="hidden")


def test_paste(page: Page) -> None:
    put_into_event(page, "paste", "#question", CAT, "image/png")
    page.wait_for_selector("#picture[data-state=picture]")
    assert ask(page, "What is this?") == "This is a cat."


def test_drop_anywhere(page: Page) -> None:
    put_into_event(page, "dragenter", "#log", CAT, "image/png")
    assert page.locator("html[data-dragging]").count() == 1
    put_into_event(page, "drop", "#log", CAT, "image/png")
    page.wait_for_selector("#picture[data-state=picture]")
    assert page.locator("html[data-dragging]").count() == 0
    assert ask(page, "What is this?") == "This is a cat."


def test_the_camera_gives_a_picture(page: Page) -> None:
    page.click("#open-camera")
    page.click("#shoot:enabled")
    page.wait_for_selector("#picture-facts >> text=Camera picture")
    assert page.evaluate("document.querySelector('#camera-video').srcObject") is None
    assert ask(page, "What is this?")


def test_another_picture_and_none_begin_a_new_conversation(page: Page) -> None:
    upload(page, CAT)
    ask(page, "What is this?")
    upload(page, CIRCLE)
    agree(page)
    page.wait_for_selector(".note >> text=New picture, new conversation")
    assert page.locator(".turn").count() == 0
    asked = bodies(page)
    assert ask(page, "What color is the shape?") == "The shape is teal."
    page.click("#remove")
    agree(page)
    page.wait_for_selector(".note >> text=No picture, new conversation")
    ask(page, "What can you do?")
    assert [len(body["messages"]) for body in asked] == [1, 1]
    assert asked[1]["messages"][0]["content"] == "What can you do?"
    assert "picture" not in facts(page)


def test_regenerate_replaces_the_last_answer(page: Page) -> None:
    upload(page, CAT)
    ask(page, "Is there a dog?")
    ask(page, "What is this?")
    asked = bodies(page)
    assert page.locator(".again:visible").count() == 1
    page.click(".turn:last-child .again")
    assert answered(page) == "This is a cat."
    assert page.locator(".turn").count() == 2
    assert [message["role"] for message in asked[0]["messages"]] == ["user", "assistant", "user"]


def test_clear_keeps_the_picture(page: Page) -> None:
    upload(page, CAT)
    ask(page, "What is this?")
    page.click("#clear")
    assert page.locator(".turn").count() == 0
    asked = bodies(page)
    assert ask(page, "Is there a dog?") == "No, there is no dog."
    assert len(asked[0]["messages"]) == 1


def test_text_is_never_markup(page: Page) -> None:
    evil = '<img src="x" onerror="document.title=1"> <b>bold</b> & <script>document.title=2</script>'
    chunk = {"choices": [{"index": 0, "delta": {"content": evil}, "finish_reason": None}]}
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    events = f": prefill\n\ndata: {json.dumps(chunk)}\n\ndata: {json.dumps(end)}\n\ndata: [DONE]\n\n"
    page.route("**/v1/chat/completions", lambda route: route.fulfill(body=events, content_type="text/event-stream"))
    assert ask(page, evil) == evil
    assert page.locator(".turn .question-text").text_content() == evil
    assert page.locator(".turn :is(img, b, script)").count() == 0
    assert page.title() == "omnilmm-lite"


def test_an_answer_that_breaks_off_says_so(page: Page) -> None:
    chunk = {"choices": [{"index": 0, "delta": {"content": "This is"}, "finish_reason": None}]}
    events = f"data: {json.dumps(chunk)}\n\n"
    page.route("**/v1/chat/completions", lambda route: route.fulfill(body=events, content_type="text/event-stream"))
    assert ask(page, "What is this?") == "This is"
    page.wait_for_selector(".answer-error >> text=The answer broke off")
    page.unroute("**/v1/chat/completions")
    page.click(".again")
    assert answered(page) != "This is"
    assert page.locator(".answer-error:visible").count() == 0


def test_what_the_server_refuses_is_said_in_one_line(page: Page, profile: tuple[BrowserContext, Watch]) -> None:
    profile[1].expected.append("400")  # the browser's own line about a refused request
    page.click(".open-settings >> nth=0")
    page.fill("#system", "word " * 5000)  # more than the context holds
    page.press("#system", "Escape")
    ask(page, "What is this?")
    assert "context" in (page.locator(".answer-error").text_content() or "")
