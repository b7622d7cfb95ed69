"""The live page's picture in docs/images: a camera that plays scenes, with real answers of the built-in model.

python -m examples.live_page_picture [FILE]

Needs the extras cpu, serve, ears, voice, live and dev, and a Chromium of the system's.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from tests.live.media.scenes import CAT, CIRCLE
from tests.paths import ROOT
from tests.serve.browser import chromium, serving
from tests.serve.live.devices import camera, microphone, write_y4m
from tests.serve.live.page import ask, begin, opened, sees

SCENE_S = 6.0
SPOKEN = ".round:has(.heard:not([hidden]))[data-state=done]"


def take(folder: Path) -> bytes:
    """The window as a PNG: two scenes, a question that was said and one that was typed."""
    video = write_y4m(folder / "scenes.y4m", [CAT, CIRCLE], SCENE_S)
    spoken = microphone(folder / "said.wav", "Is there a dog?")
    senses = ("--ears", "pocketsphinx", "--voice", "piper")
    with (
        serving("cli", "serve", *senses) as address,
        chromium(camera(video), spoken) as browser,
        opened(browser, address) as page,
    ):
        page.check("#always")
        page.check("#speaks")
        begin(page)
        page.wait_for_selector(SPOKEN)
        sees(page, CIRCLE)
        ask(page, "What color is it?")
        page.mouse.move(0, 0)
        page.evaluate("document.activeElement.blur()")
        page.wait_for_timeout(1000)  # a status
        return page.screenshot(animations="disabled")


def main(file: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        image = Image.open(io.BytesIO(take(Path(folder)))).convert("RGB")
    image.save(file, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs/images/live-page.png")
