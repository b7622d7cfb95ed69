"""What the browser keeps of the page, read from its database. A step is written behind it: who reloads waits first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.serve.browser import until

if TYPE_CHECKING:
    from playwright.sync_api import Page

TALKS = """new Promise((resolve) => {
    const opening = indexedDB.open("omnilmm-lite");
    opening.onsuccess = () => {
        const database = opening.result;
        const all = database.transaction("conversations").objectStore("conversations").getAll();
        all.onsuccess = () => {
            database.close();
            resolve(all.result);
        };
    };
})"""
WHOLE = "turns.filter(({ answers }) => answers.every(({ isWhole }) => isWhole)).length"


def kept(page: Page, *talks: tuple[str, int]) -> None:
    """Waits until the browser keeps these conversations, by title and number of questions with a whole answer."""
    wanted = sorted(map(list, talks))
    found = f"{TALKS}.then((all) => all.map(({{ title, turns }}) => [title, {WHOLE}]).sort())"
    until(page, f"{found}.then((all) => JSON.stringify(all) === JSON.stringify({wanted!r}))")
