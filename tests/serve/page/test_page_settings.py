"""The page's settings, looks and access: what is sent, what is kept and where, what can be read and reached."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from tests.paths import ROOT
from tests.serve.browser import GREEDY, Watch, answered, ask, bodies, serving, until, upload, watched
from tests.serve.page.kept import kept

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

CAT = ROOT / "examples/pictures/cat.png"
DEFAULTS = {
    "temperature": 0.6,
    "top_p": 0.9,
    "top_k": 30,
    "min_p": 0,
    "repetition_penalty": 1.1,
    "max_tokens": 1024,
}


@pytest.fixture
def context(profile: tuple[BrowserContext, Watch]) -> BrowserContext:
    """Its settings are the model's."""
    return profile[0]


def sampling(body: dict[str, Any]) -> dict[str, Any]:
    """What a request says about sampling."""
    return {name: value for name, value in body.items() if name not in ("model", "messages", "stream")}


def test_the_model_s_defaults_are_sent_until_they_are_changed(page: Page) -> None:
    asked = bodies(page)
    ask(page, "What can you do?")
    page.click(".open-settings >> nth=0")
    page.fill("#temperature", "0.25")
    page.fill("#seed", "7")
    page.locator("input[data-for=top_k]").fill("5")
    page.fill("#system", "Be brief.")
    page.click("#settings-close")
    assert page.locator("#settings-summary").text_content() == "Sampling, temperature 0.25, own system text"
    page.reload()
    until(page, "document.querySelector('#top-p').value !== ''")  # the model's, once the server has said them
    assert page.input_value("#temperature") == "0.25"
    ask(page, "What can you do?")
    page.click(".open-settings >> nth=1")
    page.click("#settings-reset")
    page.press("#settings", "Escape")
    ask(page, "And more?")
    assert [sampling(body) for body in asked] == [
        DEFAULTS,
        {**DEFAULTS, "temperature": 0.25, "top_k": 5, "seed": 7},
        DEFAULTS,
    ]
    systems = [body["messages"][0] for body in asked]
    assert [message["role"] for message in systems] == ["user", "system", "user"]
    assert systems[1]["content"] == "Be brief."


def choose_greedy(page: Page) -> None:
    page.click(".open-settings >> nth=0")
    page.click("#settings label >> text=Greedy")
    page.press("#settings", "Escape")


def test_greedy_answers_repeat(page: Page) -> None:
    choose_greedy(page)
    assert page.locator("#temperature").is_disabled()
    asked = bodies(page)
    upload(page, CAT)
    first = ask(page, "Describe the picture.")
    page.click(".again")
    assert answered(page) == first == "The picture shows a cat on a shaded background."
    assert [sampling(body) for body in asked] == [
        {"temperature": 0, "repetition_penalty": 1.1, "max_tokens": 1024},
    ] * 2


def test_the_longest_answer_is_heard(page: Page) -> None:
    page.click(".open-settings >> nth=0")
    page.fill("#max-tokens", "2")
    page.fill("#seed", "1")
    page.press("#settings", "Escape")
    ask(page, "What can you do?")
    page.wait_for_selector(".answer-facts >> text=cut off")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("#top-p", "1.5", "Top-p: give a number from 0.01 to 1."),
        ("#top-k", "2.5", "Top-k: give a whole number from 0 to 100000."),
        ("#max-tokens", "", "Longest answer: give a whole number from 1 to 2048."),
    ],
)
def test_a_number_out_of_range_is_said_and_not_used(page: Page, field: str, value: str, said: str) -> None:
    page.click(".open-settings >> nth=0")
    page.fill(field, value)
    assert page.locator("#settings-line").text_content() == said
    page.click("#settings-close")
    asked = bodies(page)
    ask(page, "What can you do?")
    assert sampling(asked[0]) == DEFAULTS


def test_a_server_that_is_gone_and_comes_back(page: Page, profile: tuple[BrowserContext, Watch]) -> None:
    context, watch = profile
    watch.expected.append("ERR_INTERNET_DISCONNECTED")
    choose_greedy(page)
    context.set_offline(True)
    ask(page, "What can you do?")
    page.wait_for_selector(".answer-error >> text=/The server doesn.t answer/")
    page.wait_for_selector("#status[data-state=gone]")
    context.set_offline(False)
    page.wait_for_selector("#status[data-state=ready]")
    page.click(".again")
    assert answered(page).startswith("I can name things")


def test_a_key_is_asked_for_and_kept_in_the_tab_alone(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("a long secret\n")
    with (
        serving("cli", "serve", "--api-key-file", str(tmp_path / "key")) as address,
        watched(browser, address) as (context, watch),
    ):
        watch.expected.append("401")  # the browser's own line about a refused request
        context.add_init_script(GREEDY)
        page = context.new_page()
        page.goto(address)
        page.wait_for_selector("#key-line >> text=This server answers only those who have its key")
        page.fill("#key-field", "a guess")
        page.press("#key-field", "Enter")
        page.wait_for_selector("#key-line >> text=/That is not the server.s key/")
        page.press("#key-field", "Escape")
        page.wait_for_selector("#status[data-state=locked]")
        page.fill("#question", "What can you do?")
        page.press("#question", "Enter")
        page.fill("#key-field", "a long secret")
        page.click("text=Use it")
        assert answered(page).startswith("I can name things")
        page.wait_for_selector("#status[data-state=ready]")
        kept(page, ("What can you do?", 1))
        page.reload()
        page.wait_for_selector(".turn")
        page.click("#clear")
        assert ask(page, "What can you do?").startswith("I can name things")
        assert "secret" in page.evaluate("JSON.stringify(sessionStorage)")
        assert "secret" not in page.evaluate("JSON.stringify(localStorage)")


def test_light_and_dark(page: Page) -> None:
    def theme() -> object:
        return page.evaluate("document.documentElement.dataset.theme")

    page.emulate_media(color_scheme="light")
    page.wait_for_selector("html[data-theme=light]")
    page.emulate_media(color_scheme="dark")
    page.wait_for_selector("html[data-theme=dark]")
    page.click("#theme")
    assert theme() == "light"
    page.reload()
    assert theme() == "light"  # kept against the system's choice
    page.click("#theme")
    page.emulate_media(color_scheme="light")
    page.wait_for_selector("html[data-theme=light]")  # the system's choice again, so it is followed


# Every visible text with its colour and the ground below it, painted over each other: [[text, colour, ground], ...].
COLOURS = """() => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const painted = (...layers) => {
        for (const layer of layers) { canvas.fillStyle = layer; canvas.fillRect(0, 0, 1, 1); }
        return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const found = [];
    for (const element of document.querySelectorAll("body *")) {
        const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        const isField = element.matches("textarea, input[type=number]");
        if (!(own || isField) || !element.checkVisibility({ visibilityProperty: true })) continue;
        if (element.closest(":disabled, .unseen")) continue;
        const grounds = [];
        for (let at = element; at; at = at.parentElement) grounds.unshift(getComputedStyle(at).backgroundColor);
        const colour = getComputedStyle(element, isField ? "::placeholder" : undefined).color;
        const text = element.textContent.trim() || element.placeholder;
        found.push([text, painted(...grounds, colour), painted(...grounds)]);
    }
    return found;
}"""


def contrast(a: list[int], b: list[int]) -> float:
    """Source: WCAG 2.2, "contrast ratio" and "relative luminance"."""

    def luminance(colour: list[int]) -> float:
        linear = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_numbers_worked_out_by_others() -> None:
    assert contrast([0, 0, 0], [255, 255, 255]) == 21
    assert round(contrast([0x76, 0x76, 0x76], [255, 255, 255]), 2) == 4.54  # the well-known lightest grey on white


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_can_be_read(page: Page, theme: str, tmp_path: Path) -> None:
    scheme: Literal["light", "dark"] = "dark" if theme == "dark" else "light"
    page.emulate_media(
        color_scheme=scheme, reduced_motion="reduce"
    )  # a colour on its way to another is none to measure
    page.wait_for_selector(f"html[data-theme={theme}]")
    texts = page.evaluate(COLOURS)
    upload(page, CAT)
    ask(page, "What is this?")
    (tmp_path / "notes.txt").write_text("no picture")
    page.set_input_files("#file", tmp_path / "notes.txt")
    page.wait_for_selector("#picture-line:visible")
    texts += page.evaluate(COLOURS)
    page.click(".open-settings >> nth=0")
    page.fill("#top-p", "7")
    texts += page.evaluate(COLOURS)
    page.click("#settings-close")
    page.click("#compare")
    page.click(".edit")
    page.click("#open-history")
    page.wait_for_selector(".entry")
    texts += page.evaluate(COLOURS)
    page.click("#forget")
    texts += page.evaluate(COLOURS)
    assert len(texts) > 120
    assert [(text, colour, ground) for text, colour, ground in texts if contrast(colour, ground) < 4.5] == []


def test_everything_that_can_be_used_has_a_name_and_shows_its_focus(page: Page) -> None:
    upload(page, CAT)
    ask(page, "What is this?")
    page.fill("#question", "x")
    page.locator("h1").click()
    focused = []
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break  # once around
        focused.append(
            page.evaluate(
                """() => {
                    const at = document.activeElement;
                    const label = at.labels?.[0]?.textContent ?? "";
                    const shown = [at, ...(at.labels ?? []), at.closest("form") ?? at].some((each) => {
                        const style = getComputedStyle(each);
                        return style.outlineStyle !== "none" || style.boxShadow.includes("0px 0px 0px 1px");
                    });
                    return [at.id, (at.getAttribute("aria-label") || label || at.textContent).trim(), shown];
                }"""
            )
        )
    ids = [name for name, _, _ in focused]
    assert [name for name in ("theme", "file", "remove", "log", "question", "send") if name not in ids] == []
    assert [each for each in focused if not each[1] or not each[2]] == []


@pytest.mark.parametrize("width", [320, 390, 768])
def test_nothing_sticks_out_of_a_narrow_window(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 700})
    page.click("#examples-list button >> nth=0")
    answered(page)
    page.click(".open-settings >> nth=0")
    page.fill("#system", "x" * 400)
    for root in ("document.documentElement", "document.querySelector('#settings')"):
        assert page.evaluate(f"{root}.scrollWidth - {root}.clientWidth") <= 0
    page.click("#settings-close")
    ask(page, "y" * 300)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    bottom = page.locator("#composer").bounding_box()
    assert bottom is not None
    assert bottom["y"] + bottom["height"] <= 700  # in reach, however long the page is


def test_events_are_read_however_the_bytes_are_cut(page: Page) -> None:
    text = ': queued 2\n\ndata: {"a":"é€😀"}\r\n\r\n:encode\n\ndata:one\ndata: two\n\nevent: x\n\n'
    text += "data: [DONE]\n\ndata: cut"
    read = page.evaluate(
        """async (text) => {
            const { events } = await import(new URL("page/server/sse.js", document.baseURI));
            const bytes = new TextEncoder().encode(text);
            const results = new Set();
            for (let size = 1; size <= bytes.length; size++) {
                const body = new ReadableStream({
                    start(controller) {
                        for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.slice(at, at + size));
                        controller.close();
                    },
                });
                const found = [];
                for await (const event of events(body)) found.push(event);
                results.add(JSON.stringify(found));
            }
            return [...results];
        }""",
        text,
    )
    assert [json.loads(each) for each in read] == [
        [
            {"comment": "queued 2"},
            {"data": '{"a":"é€😀"}'},
            {"comment": "encode"},
            {"data": "one\ntwo"},
            {"data": "[DONE]"},
        ]
    ]
