"""The live page when its server goes away, and with the browser's own ears and voice."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from omnilmm_lite.live.events import AnswerEnded, FrameDescribed, SessionBegan
from omnilmm_lite.live.transcript.reading import read_transcript
from tests.live.media.scenes import CAT
from tests.serve.browser import chromium, serving, until
from tests.serve.live.devices import camera, write_y4m
from tests.serve.live.page import answered, ask, begin, opened, sees

if TYPE_CHECKING:
    from playwright.sync_api import Browser

KEY = "a-key-of-the-test"
WHAT = "What is this?"
# A browser with a voice that goes over the network and one that doesn't, and what each of them said.
VOICES = """
window.spoken = [];
const voices = [
  { name: "cloud", lang: "en-US", localService: false }, { name: "here", lang: "en-GB", localService: true },
];
Object.defineProperty(window, "speechSynthesis", { value: Object.assign(new EventTarget(), {
  getVoices: () => voices, cancel: () => spoken.push("silence"),
  speak: (saying) => { spoken.push([saying.voice.name, saying.text]); setTimeout(() => saying.onend?.(), 50); },
}) });
window.SpeechSynthesisUtterance = class { constructor(text) { this.text = text; } };
"""
# A browser that recognises speech, here or by asking its maker's servers.
EARS = """
window.recognitions = [];
window.SpeechRecognition = class {
  static async available({ processLocally }) { return processLocally && HERE ? "available" : "unavailable"; }
  start() { recognitions.push(this); }
  stop() { this.stopped = true; }
};
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    video = write_y4m(tmp_path_factory.mktemp("devices") / "cat.y4m", [CAT], 1.0)
    with chromium(camera(video)) as found:
        yield found


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_a_server_that_comes_back_is_watched_with_again(browser: Browser, tmp_path: Path) -> None:
    (key := tmp_path / "key").write_text(KEY)
    command, port = ("cli", "serve", "--api-key-file", str(key)), free_port()
    with contextlib.ExitStack() as stack:
        with serving(*command, port=port) as address:
            page = stack.enter_context(opened(browser, address, key=KEY))
            begin(page)
            sees(page, CAT)
            assert ask(page, WHAT) == CAT.answers[WHAT]
        page.wait_for_selector("#view[data-state=lost]")
        page.wait_for_selector(".note[data-trouble=true] >> text=The connection to the server is lost")
        stack.enter_context(serving(*command, port=port))
        page.wait_for_selector(".note >> text=The server is back")
        page.wait_for_selector("#view[data-state=watching]")
        page.wait_for_selector(".note ~ .seen")
        assert page.locator(".note").count() == 2  # however often it tried meanwhile
        assert ask(page, WHAT) == CAT.answers[WHAT]
        with page.expect_download() as download:
            page.click("#save")
        download.value.save_as(tmp_path / "both.jsonl")
        page.click("#stop-watching")
    events = read_transcript(tmp_path / "both.jsonl").events
    assert len([each for each in events if isinstance(each, SessionBegan)]) == 1
    assert [each.question_id for each in events if isinstance(each, AnswerEnded)] == [1, 2]
    frames = [each.frame for each in events if isinstance(each, FrameDescribed)]
    assert len(frames) == 2 and frames[0] < frames[1]
    times = [each.time_s for each in events[:-1]]
    assert times == sorted(times)


def deaf(address: str) -> None:
    """A server without ears says so to whoever sends it sound."""
    with (
        httpx.Client(base_url=address, trust_env=False) as http,
        http.stream("POST", "/v1/live", json={}) as stream,
    ):
        first = next(line for line in stream.iter_lines() if line.startswith("data: "))
        path = f"/v1/live/{json.loads(first.removeprefix('data: '))['session']}/sound?rate=16000"
        refused = http.post(path, content=b"abcd", headers={"Content-Type": "audio/l16"})
        assert (refused.status_code, "no ears" in refused.text) == (409, True)


def test_own_ears_and_voice_are_used_where_they_are_on_this_machine_and_only_then(browser: Browser) -> None:
    with serving("cli", "serve") as address:
        deaf(address)
        with opened(browser, address, VOICES, EARS.replace("HERE", "false")) as page:
            assert page.is_disabled("#always") and not page.is_visible("#talk")
            begin(page)
            assert page.evaluate("recognitions.length") == 0
            page.click("#stop-watching")
        with opened(browser, address, VOICES, EARS.replace("HERE", "true")) as page:
            page.check("#always")
            page.check("#speaks")
            begin(page)
            sees(page, CAT)
            until(page, "recognitions.length === 1 && recognitions[0].processLocally === true")
            page.evaluate(
                """recognitions[0].onresult({ resultIndex: 0, results: [
                    Object.assign([{ transcript: " What is this?" }], { isFinal: true })] })"""
            )
            assert answered(page) == CAT.answers[WHAT]
            assert page.locator(".round .heard").is_visible()
            until(page, "spoken.some((each) => each[0] === 'here')")
            said = page.evaluate("spoken.filter((each) => each !== 'silence')")
            assert said == [["here", CAT.answers[WHAT]]]
            page.click("#stop-watching")
            assert page.evaluate("recognitions.at(-1).stopped")
