"""The page's screenshots in docs/images, with real answers of the built-in model.

python -m examples.screenshots [FOLDER]

Needs the extras cpu, serve and dev, and a Chromium of the system's.
"""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser

from tests.serve.browser import ask, chromium, opened, serving, upload

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "examples/pictures/cat.png"
SEED = "localStorage.setItem('omnilmm-lite.settings', JSON.stringify({ seed: 1 }))"  # the same answers every time


@dataclass(frozen=True)
class Shot:
    """One picture of the page, and the questions that were asked before."""

    name: str
    theme: Literal["light", "dark"]
    width: int
    height: int
    questions: tuple[str, ...]
    compares: bool = False  # the last question is answered with two settings

    @property
    def is_phone(self) -> bool:
        return self.width < 500


SHOTS = [
    Shot("page-light.png", "light", 1280, 800, ("What is this?", "Is there a dog?", "Describe the picture.")),
    Shot("page-dark.png", "dark", 1280, 800, ("What is this?", "Describe the picture."), compares=True),
    Shot("page-phone.png", "light", 360, 740, ("What is this?", "Is there a dog?")),
]


def take(browser: Browser, address: str, shot: Shot) -> bytes:
    """The window as a PNG, after the last answer."""
    context = browser.new_context(
        viewport={"width": shot.width, "height": shot.height},
        color_scheme=shot.theme,
        reduced_motion="reduce",
        is_mobile=shot.is_phone,
        has_touch=shot.is_phone,
    )
    context.add_init_script(SEED)
    try:
        page = opened(context, address)
        upload(page, PICTURE)
        for question in shot.questions[:-1]:
            ask(page, question)
        if shot.compares:
            page.click("#compare")
        ask(page, shot.questions[-1])
        page.mouse.move(0, 0)
        return page.screenshot()
    finally:
        context.close()


def main(folder: Path) -> None:
    with chromium() as browser:
        for shot in SHOTS:
            with serving("cli", "serve") as address:  # a server of its own: it has never seen the picture
                image = Image.open(io.BytesIO(take(browser, address, shot))).convert("RGB")
            image.save(folder / shot.name, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs/images")
