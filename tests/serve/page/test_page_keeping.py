"""A browser that keeps nothing, has no room, or holds what can't be read: the chat works, and one line says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.paths import ROOT
from tests.serve.browser import agree, ask, opened, upload
from tests.serve.page.kept import kept

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

CAT = ROOT / "examples/pictures/cat.png"
REFUSED = """Object.defineProperty(globalThis, "indexedDB", {
    get() { throw new DOMException("no", "SecurityError"); },
});"""
FULL = """IDBObjectStore.prototype.put = function () {
    this.transaction.abort();
    throw new DOMException("no room", "QuotaExceededError");
};"""
NEWER = """new Promise((resolve) => {
    const opening = indexedDB.open("omnilmm-lite", 1000);
    opening.onsuccess = () => { opening.result.close(); resolve(true); };
})"""
DAMAGED = """new Promise((resolve) => {
    const opening = indexedDB.open("omnilmm-lite");
    opening.onsuccess = () => {
        const transaction = opening.result.transaction(["conversations", "pictures"], "readwrite");
        const talks = transaction.objectStore("conversations");
        const all = talks.getAll();
        all.onsuccess = () => {
            const [good] = all.result;
            for (const [at, bad] of [
                { title: 3 }, { turns: [{}] }, { turns: [{ question: "x", answers: [], chosen: 0 }] },
                { picture: 1 }, { revision: "1" }, { turns: good.turns.map((turn) => ({ ...turn, chosen: 7 })) },
            ].entries()) talks.put({ ...good, ...bad, id: `bad ${at}` });
            transaction.objectStore("pictures").clear();
        };
        transaction.oncomplete = () => { opening.result.close(); resolve(true); };
    };
})"""


def works_without_keeping(page: Page, line: str) -> None:
    """It answers, says in one line that it keeps nothing, and asks before a conversation is lost."""
    upload(page, CAT)
    assert ask(page, "What is this?") == "This is a cat."
    assert ask(page, "Is there a dog?") == "No, there is no dog."
    page.wait_for_selector(f"#keeping >> text={line}")
    page.click("#open-history")
    page.wait_for_selector("#history-count >> text=None so far")
    page.click("#history-close")
    page.click("#examples-list button >> nth=1")  # an example asks as well, where it costs a conversation
    page.wait_for_selector("#confirm-text >> text=This one is lost")
    page.click("#confirm-no")
    page.click("#clear")
    page.wait_for_selector("#confirm-text >> text=This one is lost")
    agree(page)
    page.wait_for_selector("#log:empty", state="attached")


@pytest.mark.parametrize(("script", "line"), [(REFUSED, "This browser keeps nothing"), (FULL, "storage is full")])
def test_a_browser_that_keeps_nothing(context: BrowserContext, address: str, script: str, line: str) -> None:
    context.add_init_script(script)
    works_without_keeping(opened(context, address), line)


def test_a_newer_page_in_another_tab(context: BrowserContext, address: str) -> None:
    page = opened(context, address)
    ask(page, "What can you do?")
    other = context.new_page()
    other.goto(f"{address}/page/icon.svg")
    assert other.evaluate(NEWER)  # this page lets go of its database for it
    other.close()
    assert ask(page, "And more?")
    page.wait_for_selector("#keeping >> text=A newer version of this page")
    assert page.locator(".turn").count() == 2
    page.reload()
    works_without_keeping(page, "A newer version of this page")
    page.click("#open-history")
    page.click("#forget")  # takes away the database that this page can't read
    agree(page)
    page.wait_for_selector("#history", state="hidden")
    ask(page, "What can you do?")
    page.click("#open-history")
    page.wait_for_selector(".entry")
    assert not page.locator("#keeping").is_visible()


def test_what_is_damaged_is_passed_over_and_said(page: Page) -> None:
    upload(page, CAT)
    ask(page, "What is this?")
    kept(page, ("What is this?", 1))
    assert page.evaluate(DAMAGED)
    page.reload()
    page.wait_for_selector("#keeping >> text=/The picture of this conversation can.t be read any more/")
    assert page.locator(".answer-text").all_text_contents() == ["This is a cat."]
    page.click("#open-history")
    page.wait_for_selector("#history-line >> text=/6 kept here can.t be read/")
    assert page.locator(".entry").count() == 1
    page.click("#forget")
    agree(page)
    page.wait_for_selector("#history", state="hidden")
    page.click("#open-history")
    page.wait_for_selector("#history-count >> text=None so far")
    assert not page.locator("#history-line").is_visible()
