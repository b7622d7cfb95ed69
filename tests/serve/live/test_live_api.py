"""Live sessions by the API alone: what is refused, what is bounded, and that nobody else is kept waiting for long."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.live.media.scenes import CAT, TRIANGLE, Scene
from tests.serve.serving import CHAT, WAIT_S, client, data_url, question

LIVE = "/v1/live"
JPEG = {"Content-Type": "image/jpeg"}
PCM = {"Content-Type": "audio/l16"}


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with client("--ears", "pocketsphinx") as found:
        yield found


class Stream:
    """A session, and what it told."""

    def __init__(self, http: httpx.Client, response: httpx.Response) -> None:
        self._http, self._lines = http, response.iter_lines()
        self.path = f"{LIVE}/{self.next('opened')['session']}"

    def next(self, kind: str) -> dict[str, Any]:
        """The next event of that kind."""
        for line in self._lines:
            if line.startswith("data: ") and (event := json.loads(line[6:]))["event"] == kind:
                return dict(event)
        raise AssertionError(f"the stream ended without {kind}")

    def post(self, what: str, **options: Any) -> httpx.Response:
        return self._http.post(f"{self.path}/{what}", **options)

    def see(self, scene: Scene) -> httpx.Response:
        return self.post("frame", content=jpeg(scene.image()), headers=JPEG)


@contextlib.contextmanager
def session(http: httpx.Client, **wishes: Any) -> Iterator[Stream]:
    with http.stream("POST", LIVE, json={"temperature": 0, **wishes}) as response:
        assert response.status_code == 200, response.read()
        yield Stream(http, response)


def jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=95)
    return file.getvalue()


def running(http: httpx.Client) -> int:
    return int(http.get(LIVE).json()["sessions"]["running"])


def until_free(http: httpx.Client) -> None:
    began = time.monotonic()
    while running(http):
        assert time.monotonic() - began < WAIT_S, "a session that its client left goes on"
        time.sleep(0.02)


def message(response: httpx.Response) -> str:
    return str(response.json()["error"]["message"])


def test_it_describes_frames_and_answers_about_the_newest(http: httpx.Client) -> None:
    with session(http, source="camera") as live:
        assert live.next("session_began")["source"] == "camera"
        for number, scene in enumerate((CAT, TRIANGLE), start=1):
            assert live.see(scene).json() == {"frame": number}
            described = live.next("frame_described")
            assert (described["frame"], described["description"]) == (number, scene.description)
        asked = live.post("question", json={"text": "What color is it?"}).json()["question_id"]
        ended = live.next("answer_ended")
        assert (ended["question_id"], ended["text"]) == (asked, TRIANGLE.answers["What color is it?"])
        assert ended["looked_at"] == 2
    until_free(http)


def test_a_frame_keeps_its_aspect(http: httpx.Client) -> None:
    with session(http) as live:
        live.next("session_began")
        live.post("frame", content=jpeg(CAT.image().resize((640, 360))), headers=JPEG)
        thumbnail = live.next("frame_described")["thumbnail"]
    width, height = Image.open(io.BytesIO(base64.b64decode(thumbnail))).size
    assert (width, height) == (160, 90)


def test_other_requests_are_answered_between_its_turns(http: httpx.Client) -> None:
    """And neither sees anything of the other's."""
    asked = question("What is this?", data_url(CAT.picture), max_tokens=12)
    alone = http.post(CHAT, json=asked).json()["choices"][0]["message"]["content"]
    with session(http) as live:
        live.next("session_began")
        scenes, stop = (CAT, TRIANGLE), threading.Event()

        def watch() -> None:
            with httpx.Client(base_url=http.base_url, timeout=WAIT_S, trust_env=False) as other:
                files = [jpeg(scene.image()) for scene in scenes]
                number = 0
                while not stop.is_set():
                    other.post(f"{live.path}/frame", content=files[number % 2], headers=JPEG)
                    number += 1

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            for _ in range(4):
                answer = http.post(CHAT, json=asked)
                assert answer.json()["choices"][0]["message"]["content"] == alone
                described = live.next("frame_described")
                assert described["description"] == scenes[(described["frame"] - 1) % 2].description
        finally:
            stop.set()
            watching.join()
    until_free(http)


def test_a_third_session_is_refused_until_one_ends(http: httpx.Client) -> None:
    with session(http):
        with session(http):
            refused = http.post(LIVE, json={})
            assert (refused.status_code, refused.json()["error"]["code"]) == (409, "too_many_sessions")
            assert "2 live sessions run already" in message(refused)
        began = time.monotonic()
        while running(http) > 1:
            assert time.monotonic() - began < WAIT_S
            time.sleep(0.02)
        with session(http) as live:
            live.next("session_began")
    until_free(http)


REFUSED: list[tuple[str, dict[str, Any], int, str]] = [
    ("frame", {"content": b"no picture", "headers": JPEG}, 400, "picture"),
    ("frame", {"content": b"", "headers": {"Content-Type": "image/png"}}, 415, "send Content-Type: image/jpeg"),
    ("frame", {"content": bytes(4 * 2**20 + 1), "headers": JPEG}, 413, "more than 4 MiB"),
    ("sound?rate=16000", {"content": bytes(2**20 + 1), "headers": PCM}, 413, "more than 1 MiB"),
    ("sound?rate=16000", {"content": b"abc", "headers": PCM}, 400, "half a sample"),
    ("sound?rate=12", {"content": b"abcd", "headers": PCM}, 400, "rate"),
    ("sound?rate=-1", {"content": b"abcd", "headers": PCM}, 400, "rate: give"),
    ("question", {"json": {"text": " "}}, 400, "empty"),
    ("question", {"json": {"text": "?" * 3000}}, 400, "3000 characters"),
    ("question", {"json": {}}, 400, "text: it is missing"),
    ("question", {"json": {"text": "?" * 70_000}}, 413, "more than 64 KiB"),
]


def test_what_is_wrong_is_said_and_the_session_goes_on(http: httpx.Client) -> None:
    with session(http) as live:
        live.next("session_began")
        for what, options, status, said in REFUSED:
            with httpx.Client(base_url=http.base_url, timeout=WAIT_S, trust_env=False) as other:  # 413 closes it
                refused = other.post(f"{live.path}/{what}", **options)
            assert (refused.status_code, said in message(refused)) == (status, True), (what, refused.text)
        assert live.see(CAT).json() == {"frame": 1}
        assert live.next("frame_described")["description"] == CAT.description
    until_free(http)


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"every_s": -1}, "every_s: -1 is out of range"),
        ({"prompt": "?" * 3000}, "prompt: it has 3000 characters"),
        ({"temperature": "hot"}, "temperature: it is a string"),
    ],
)
def test_wrong_wishes_begin_no_session(http: httpx.Client, wishes: dict[str, Any], said: str) -> None:
    refused = http.post(LIVE, json=wishes)
    assert (refused.status_code, said in message(refused)) == (400, True), refused.text
    assert running(http) == 0


def test_a_session_that_has_ended_takes_nothing(http: httpx.Client) -> None:
    with session(http) as live:
        live.next("session_began")
    until_free(http)
    for what in ("frame", "sound", "question", "interrupt"):
        gone = live.post(what)
        assert (gone.status_code, gone.json()["error"]["code"]) == (404, "session_ended")


def test_pages_of_other_sites_may_not_watch(http: httpx.Client) -> None:
    refused = http.post(LIVE, json={}, headers={"Origin": "http://evil.example"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "origin_not_allowed")
