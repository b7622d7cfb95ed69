"""The live page in a real browser, with a camera and a microphone that play files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from omnilmm_lite.live.events import AnswerEnded, FrameDescribed, QuestionAsked
from omnilmm_lite.live.transcript.reading import read_transcript
from tests.live.media.scenes import CAT, CIRCLE
from tests.serve.browser import chromium, serving, until, watched
from tests.serve.live.devices import camera, microphone, write_y4m
from tests.serve.live.page import answered, ask, begin, opened, sees, sessions, until_none

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SCENE_S = 4.0


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving("cli", "serve", "--ears", "pocketsphinx", "--voice", "piper") as address:
        yield address


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("devices")
    video = write_y4m(folder / "scenes.y4m", [CAT, CIRCLE], SCENE_S)
    with chromium(camera(video), microphone(folder / "said.wav", "Is there a dog?")) as found:
        yield found


@pytest.fixture
def page(browser: Browser, server: str) -> Iterator[Page]:
    with opened(browser, server) as found:
        yield found


def test_it_describes_what_the_camera_shows_and_answers_about_it(page: Page, server: str, tmp_path: Path) -> None:
    begin(page)
    sees(page, CAT)
    sees(page, CIRCLE)
    assert ask(page, "What color is it?") == CIRCLE.answers["What color is it?"]
    looked = page.locator(".round .answer-facts").text_content() or ""
    assert looked.startswith("looked at frame ")
    frame = looked.split(" · ")[0].removeprefix("looked at frame ")
    assert CIRCLE.description in (page.locator(f"#frame-{frame}").text_content() or "")
    thumbnail = page.locator(f"#frame-{frame} img")
    assert thumbnail.evaluate("(image) => image.complete && image.naturalWidth") == 160
    assert "described" in (page.locator("#meter").text_content() or "")
    for with_frames in (False, True):
        page.set_checked("#with-frames", with_frames)
        with page.expect_download() as download:
            page.click("#save")
        file = tmp_path / f"{with_frames}.jsonl"
        download.value.save_as(file)
        transcript = read_transcript(file)
        assert transcript.began is not None and transcript.began.source == "camera"
        described = [each for each in transcript.events if isinstance(each, FrameDescribed)]
        assert {CAT.description, CIRCLE.description} == {each.description for each in described}
        assert all(bool(each.thumbnail) == with_frames for each in described)
        (asked,) = (each for each in transcript.events if isinstance(each, QuestionAsked))
        (ended,) = (each for each in transcript.events if isinstance(each, AnswerEnded))
        assert (asked.text, ended.text) == ("What color is it?", CIRCLE.answers["What color is it?"])
        assert ended.looked_at == int(frame)
    page.click("#stop-watching")
    until_none(server)


def test_a_spoken_question_is_heard_and_its_answer_comes_back_as_sound(page: Page) -> None:
    page.check("#always")
    page.check("#speaks")
    begin(page)
    assert answered(page) == CAT.answers["Is there a dog?"]
    assert page.locator(".round .question-text").text_content() == "Is there a dog?"
    assert page.locator(".round .heard").is_visible()
    page.wait_for_selector("#meter >> text=first sound")
    until(page, "played.length > 1")
    page.press("#question", "Escape")  # in the middle of it
    until(page, "played.at(-1) === 'stop'")
    page.wait_for_timeout(500)
    assert page.evaluate("played.at(-1)") == "stop"


def test_a_question_is_heard_while_the_button_is_held_and_only_then(page: Page) -> None:
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if "/sound?" in request.url else None)
    begin(page)
    sees(page, CAT)
    assert sent == []
    page.hover("#talk")
    page.mouse.down()
    page.wait_for_selector("#talk[aria-pressed=true]")
    page.wait_for_timeout(2800)  # as long as somebody speaks
    page.mouse.up()
    page.wait_for_selector(".round .heard")
    assert page.locator(".round .question-text").text_content() == "Is there a dog?"
    until(page, "document.querySelector('#talk').ariaPressed === 'false'")
    assert "ends=1" in sent[-1]
    count = len(sent)
    page.wait_for_timeout(400)
    assert len(sent) == count


def test_a_pause_sends_nothing_and_a_closed_tab_ends_its_session(page: Page, server: str) -> None:
    frames: list[str] = []
    page.on("request", lambda request: frames.append(request.url) if request.url.endswith("/frame") else None)
    begin(page)
    sees(page, CAT)
    page.click("#pause")
    page.wait_for_timeout(300)
    count = len(frames)
    page.wait_for_timeout(700)
    assert len(frames) == count
    assert ask(page, "What is this?") == CAT.answers["What is this?"]
    page.click("#pause")
    page.wait_for_selector("#view[data-state=watching]")
    until(page, "document.querySelector('#badge').textContent === 'Live'")
    page.close()
    until_none(server)


REFUSALS = [
    ("NotAllowedError", "allow it beside the page"),
    ("NotFoundError", "There is no camera here"),
    ("NotReadableError", "The camera is in use by another program"),
]


def test_what_stands_in_the_way_is_said_in_one_line(page: Page, server: str) -> None:
    for name, said in REFUSALS:
        page.evaluate(
            "(name) => { navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', name); }; }",
            name,
        )
        page.click("#start")
        page.wait_for_selector(f"#trouble >> text={said}")
        assert page.get_attribute("#view", "data-state") == "idle"
    page.evaluate("Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")
    page.click("#start")
    page.wait_for_selector("#trouble >> text=only to pages of this machine or over https")
    page.fill("#question", "What is this?")
    page.press("#question", "Enter")
    page.wait_for_selector("#trouble >> text=Start watching first")
    assert sessions(server) == 0


def test_no_microphone_and_too_many_sessions_are_said_in_one_line(page: Page, browser: Browser, server: str) -> None:
    page.evaluate(
        """() => {
            const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
            navigator.mediaDevices.getUserMedia = async (wanted) => {
                if (wanted.audio) throw new DOMException("", "NotFoundError");
                return real(wanted);
            };
        }"""
    )
    page.check("#always")
    begin(page)
    page.wait_for_selector("#trouble >> text=There is no microphone here")
    assert not page.is_checked("#always")
    sees(page, CAT)  # it watches all the same
    with (
        opened(browser, server) as second,
        watched(browser, server) as (context, watch),
    ):
        begin(second)
        watch.expected.append("409")
        third = context.new_page()
        third.goto(f"{server}/live")
        third.wait_for_selector("#model:not(:empty)")
        third.click("#start")
        third.wait_for_selector("#trouble >> text=2 live sessions run already")
        assert third.get_attribute("#view", "data-state") == "idle"
    assert json.loads(httpx.get(f"{server}/health", trust_env=False).text)["status"] == "ok"
