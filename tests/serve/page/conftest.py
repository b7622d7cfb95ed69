"""The server and the browser of the page's tests; a test file that wants others says so itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.serve.browser import GREEDY, Watch, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext


@pytest.fixture(scope="module")
def address(browser: Browser) -> Iterator[str]:  # the browser first: without one, no server is started
    with serving("cli", "serve") as address:
        yield address


@pytest.fixture
def context(profile: tuple[BrowserContext, Watch]) -> BrowserContext:
    """Its answers are greedy."""
    profile[0].add_init_script(GREEDY)
    return profile[0]
