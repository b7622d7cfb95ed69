"""The live page, opened and used."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx

from tests.live.media.scenes import Scene
from tests.serve.browser import GREEDY, watched
from tests.serve.serving import WAIT_S

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# What the page plays: a piece's samples each, and "stop".
PLAYED = """
window.played = [];
const start = AudioBufferSourceNode.prototype.start, stop = AudioBufferSourceNode.prototype.stop;
AudioBufferSourceNode.prototype.start = function (...when) { played.push(this.buffer.length); return start.apply(this, when); };
AudioBufferSourceNode.prototype.stop = function () { played.push("stop"); return stop.apply(this); };
"""  # noqa: E501


@contextlib.contextmanager
def opened(browser: Browser, address: str, *scripts: str, key: str | None = None) -> Iterator[Page]:
    """Without errors in its console and without requests to anywhere else. `key`: of a server that wants one, and may
    go away meanwhile."""
    with watched(browser, address) as (context, watch):
        for script in (GREEDY, PLAYED, *scripts):
            context.add_init_script(script)
        page = context.new_page()
        page.goto(f"{address}/live")
        if key is not None:
            watch.expected += ["401", "404", "net::ERR_"]
            page.fill("#key-field", key)
            page.click("#key button[value=use]")
        page.wait_for_selector("#model:not(:empty)")
        yield page


def begin(page: Page) -> None:
    page.click("#start")
    page.wait_for_selector("#view[data-state=watching]")


def ask(page: Page, question: str) -> str:
    page.fill("#question", question)
    page.press("#question", "Enter")
    return answered(page)


def answered(page: Page) -> str:
    """The last answer, once it has ended."""
    page.wait_for_selector(".round[data-state=done]:not(:has(~ .round))")
    return page.locator(".round .answer-text").last.text_content() or ""


def sees(page: Page, scene: Scene) -> None:
    """Waits until it has just been described: it stays for a while then."""
    page.wait_for_selector(f".seen:not(:has(~ .seen)) >> text={scene.description}")


def sessions(address: str) -> int:
    return int(httpx.get(f"{address}/v1/live", trust_env=False).json()["sessions"]["running"])


def until_none(address: str) -> None:
    """Waits until no session runs, and nobody has the model."""
    began = time.monotonic()
    while sessions(address) or any(queue(address)):
        assert time.monotonic() - began < WAIT_S, "a session goes on without its page"
        time.sleep(0.02)


def queue(address: str) -> tuple[int, int]:
    """Running and waiting tasks of the server."""
    found = httpx.get(f"{address}/health", trust_env=False).json()["queue"]
    return found["running"], found["waiting"]
