"""What the browser keeps: after a reload, in a second tab, in the list, and not at all any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.paths import ROOT
from tests.serve.browser import agree, answered, ask, bodies, opened, until, upload
from tests.serve.page.kept import kept

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

CAT = ROOT / "examples/pictures/cat.png"


def about_the_cat(page: Page) -> None:
    upload(page, CAT)
    assert ask(page, "What is this?") == "This is a cat."
    kept(page, ("What is this?", 1))


def goes_on(page: Page) -> None:
    """The conversation is there with its picture, and the next question belongs to it."""
    page.wait_for_selector(".turn")
    assert page.locator(".answer-text").all_text_contents() == ["This is a cat."]
    assert page.locator("#chat-title").text_content() == "What is this?"
    assert page.locator("#picture-image").evaluate("image => image.decode().then(() => image.naturalWidth)") == 448
    asked = bodies(page)
    assert ask(page, "Is there a dog?") == "No, there is no dog."
    messages = asked[0]["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert messages[0]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")


def test_a_reload_keeps_the_conversation_and_its_picture(page: Page) -> None:
    about_the_cat(page)
    facts = page.locator("#picture-facts").text_content()
    page.reload()
    goes_on(page)
    assert page.locator("#picture-facts").text_content() == facts


def test_back_keeps_it(page: Page, address: str) -> None:
    about_the_cat(page)
    page.goto(f"{address}/page/icon.svg")
    page.go_back()
    goes_on(page)


def test_a_second_tab_has_it_and_both_stay_in_step(page: Page, context: BrowserContext, address: str) -> None:
    about_the_cat(page)
    second = opened(context, address)
    goes_on(second)
    page.wait_for_selector(".answer-text >> text=No, there is no dog.")
    assert page.locator(".answer-text").all_text_contents() == ["This is a cat.", "No, there is no dog."]
    kept(page, ("What is this?", 2))


def test_a_picture_that_nobody_asked_about_is_kept_too(page: Page) -> None:
    upload(page, CAT)
    kept(page, ("", 0))
    page.reload()
    page.wait_for_selector("#picture[data-state=picture]")
    assert ask(page, "What is this?") == "This is a cat."
    page.click("#open-history")
    page.wait_for_selector(".entry")
    assert page.locator(".entry").count() == 1


def test_two_tabs_that_know_nothing_of_each_other_lose_nothing(context: BrowserContext, address: str) -> None:
    context.add_init_script("delete globalThis.BroadcastChannel")
    first = opened(context, address)
    about_the_cat(first)
    second = opened(context, address)
    second.wait_for_selector(".turn")
    ask(second, "Is there a dog?")
    kept(second, ("What is this?", 2))
    ask(first, "Is there a cat?")
    first.wait_for_selector("#keeping >> text=Another tab went on with this conversation")
    kept(first, ("What is this?", 2), ("What is this?", 2))
    for page, question in ((first, "Is there a cat?"), (second, "Is there a dog?")):
        page.reload()
        page.wait_for_selector(f".turn >> nth=1 >> text={question}")
        assert page.locator("#picture[data-state=picture]").count() == 1


def test_the_list_is_searched_opened_renamed_and_cut(page: Page) -> None:
    about_the_cat(page)
    page.click("#examples-list button >> nth=1")
    page.wait_for_selector(".note >> text=New picture, new conversation")
    assert answered(page) == "The shape is teal."
    kept(page, ("What color is the shape?", 1), ("What is this?", 1))

    page.click("#open-history")
    titles = page.locator(".entry-title")
    page.wait_for_selector(".entry >> nth=1")
    assert titles.all_text_contents() == ["What color is the shape?", "What is this?"]
    assert page.locator(".entry [aria-current]").text_content() is not None
    for search, found in (("TEAL", 1), ("çat", 1), ("easy-vqa", 1), ("this is", 1), ("teal cat", 0), ("", 2)):
        page.fill("#history-search", search)
        assert titles.count() == found, search

    page.click("[aria-label='Rename “What is this?”']")
    page.fill(".entry-field:visible", "not this")
    page.press(".entry-field:visible", "Escape")
    assert page.locator("#history[open]").count() == 1
    page.click("[aria-label='Rename “What is this?”']")
    page.fill(".entry-field:visible", "My <b>cat</b>")
    page.press(".entry-field:visible", "Enter")
    page.click(".entry-open >> text=My <b>cat</b>")
    page.wait_for_selector(".turn >> text=This is a cat.")
    assert page.locator("#chat-title").text_content() == "My <b>cat</b>"
    assert page.locator("#picture-facts").text_content() != ""

    page.click("#open-history")
    page.click("[aria-label='Delete “My <b>cat</b>”']")
    page.press("#confirm", "Escape")
    kept(page, ("What color is the shape?", 1), ("My <b>cat</b>", 1))
    page.click("[aria-label='Delete “My <b>cat</b>”']")
    agree(page)
    kept(page, ("What color is the shape?", 1))
    page.wait_for_selector(".turn", state="detached")  # it was the one on the page
    assert page.locator("#picture[data-state=empty]").count() == 1


def test_forget_everything_leaves_nothing_in_any_tab(page: Page, context: BrowserContext, address: str) -> None:
    about_the_cat(page)
    page.click("#theme")
    page.click("#compare")
    second = opened(context, address)
    second.wait_for_selector(".turn")
    page.bring_to_front()
    page.click("#open-history")
    page.click("#forget")
    agree(page)
    kept(page)
    for each in (page, second):
        each.wait_for_selector("#log:empty", state="attached")
        assert each.locator("#picture[data-state=empty]").count() == 1
        assert each.locator("#settings-summary").text_content() == "Sampling, temperature 0.6"
        assert each.evaluate("Object.keys(localStorage)") == []
    until(page, "new Promise((resolve) => setTimeout(resolve, 50)).then(() => true)")
    kept(page)  # nothing comes back
    ask(second, "What can you do?")
    kept(page, ("What can you do?", 1))
