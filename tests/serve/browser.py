"""A real Chromium, a real server, and the watch that nothing leaves the machine."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.paths import ROOT
from tests.systems import PYTHON

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Request, Route

ANSWER_MS = 20_000  # the machine may be busy
TICK_MS = 20

# Someone who has chosen greedy answers: those that the page draws by default differ now and then.
GREEDY = """if (location.protocol === "http:") localStorage["omnilmm-lite.settings"] ??= '{ "greedy": true }';"""

LAUNCH = [
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    *(["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),  # Chromium refuses root otherwise
]


@contextlib.contextmanager
def serving(module: str, *options: str, port: int = 0) -> Iterator[str]:
    """A server in a process of its own, on a port of its own choice, unless `port` is given; its address."""
    command = [*PYTHON, "-m", module, *options, "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said = []
            for line in process.stderr:
                said.append(line)
                if address := re.search(r"http://127\.0\.0\.1:\d+", line):
                    break
            else:
                pytest.fail("the server ended: " + "".join(said))
            drain = threading.Thread(target=process.stderr.read, daemon=True)  # a full pipe would stop the server
            drain.start()
            yield address.group()
        finally:
            process.terminate()


@contextlib.contextmanager
def chromium(*options: str) -> Iterator[Browser]:
    """Headless, with more of Chromium's own options; skips the test where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("there is no Chromium: install the system's package chromium")
    with sync_api.sync_playwright() as playwright:
        browser: Browser = playwright.chromium.launch(executable_path=executable, args=[*LAUNCH, *options])
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Watch:
    """What a page did that it should not: requests to anywhere else, errors in its console."""

    address: str
    outside: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)  # parts of console errors that a test provokes

    def route(self, route: Route) -> None:
        url = urlsplit(route.request.url)
        if url.scheme in ("blob", "data") or route.request.url.startswith(self.address + "/"):
            route.fallback()
        else:
            self.outside.append(route.request.url)
            route.abort()

    def check(self) -> None:
        assert self.outside == []
        unexpected = [error for error in self.errors if not any(part in error for part in self.expected)]
        assert unexpected == []


@contextlib.contextmanager
def watched(browser: Browser, address: str) -> Iterator[tuple[BrowserContext, Watch]]:
    """A fresh profile whose every request is looked at."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(ANSWER_MS)
    watch = Watch(address)
    context.route("**/*", watch.route)
    context.on("console", lambda message: watch.errors.append(message.text) if message.type == "error" else None)
    context.on("weberror", lambda error: watch.errors.append(str(error.error)))
    try:
        yield context, watch
        watch.check()
    finally:
        context.close()


def opened(context: BrowserContext, address: str) -> Page:
    """The page, once it knows its model."""
    page = context.new_page()
    page.goto(address)
    until(page, "document.querySelector('#temperature').value !== ''")
    return page


def until(page: Page, expression: str) -> None:
    """Waits until it is true. (playwright's wait_for_function needs eval, which the page's security policy forbids.)"""
    for _ in range(ANSWER_MS // TICK_MS):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(TICK_MS)
    pytest.fail(f"never true: {expression}")


def ask(page: Page, question: str) -> str:
    """Types a question, sends it with Enter, and waits until the answer has ended."""
    page.fill("#question", question)
    page.press("#question", "Enter")
    return answered(page)


def answered(page: Page) -> str:
    """The last answer, once it has ended; the first of two that are compared."""
    page.wait_for_selector("#log[data-busy=false] .turn:last-child[data-state=done]")
    return page.locator(".turn:last-child .answer-text").first.text_content() or ""


def facts(page: Page) -> str:
    """The line below the last answer."""
    return page.locator(".turn:last-child .answer-facts").text_content() or ""


def bodies(page: Page) -> list[dict[str, Any]]:
    """What the page asks from now on."""
    asked: list[dict[str, Any]] = []

    def note(request: Request) -> None:
        if request.url.endswith("/v1/chat/completions"):
            asked.append(json.loads(request.post_data or ""))

    page.on("request", note)
    return asked


def upload(page: Page, path: Path) -> None:
    page.set_input_files("#file", path)
    page.wait_for_selector("#picture[data-state=picture]")


def agree(page: Page) -> None:
    """Says yes to what the page asks before a conversation ends."""
    page.click("#confirm[open] #confirm-yes")
