"""docs/images/quality.png: the report of the built-in model against the checkpoint that it was made from.

python -m examples.quality_picture [FILE]

Needs the extras cpu, convert, serve and dev, and a Chromium of the system's; a minute or two.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from pathlib import Path

import easy_vqa
from PIL import Image
from playwright.sync_api import ViewportSize

import cli
from tests.serve.browser import chromium

ROOT = Path(__file__).parent.parent
SAMPLES = 200
WIDTH, HEIGHT = 960, 1470  # of a column in the browser
SCALE = 0.765  # of a pixel there in the picture
MARGIN = 36  # above the first chart


def write_data(path: Path) -> None:
    """easy-VQA's test split, of which the command draws its samples."""
    pictures = easy_vqa.get_test_image_paths()
    lines = [
        {"image": pictures[picture], "question": question, "answer": answer}
        for question, answer, picture in zip(*easy_vqa.get_test_questions(), strict=True)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def columns(html: str) -> Image.Image:
    """The page's first two columns side by side; the second one begins with the first chart."""
    with chromium() as browser:
        size: ViewportSize = {"width": WIDTH, "height": HEIGHT}
        page = browser.new_page(viewport=size, device_scale_factor=SCALE, color_scheme="light")
        page.set_content(html)
        whole = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
        charts = page.locator("figure").first.bounding_box()
    assert charts is not None
    width, height = whole.width, round(SCALE * HEIGHT)
    picture = Image.new("RGB", (2 * width, height))
    for place, top in enumerate((0, round(SCALE * (charts["y"] - MARGIN)))):
        picture.paste(whole.crop((0, top, width, top + height)), (place * width, 0))
    return picture


def main(path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data, page = Path(folder, "easy.jsonl"), Path(folder, "page.html")
        write_data(data)
        checkpoint = str(ROOT / "examples/tiny/checkpoint")
        options = ["--data", str(data), "--samples", str(SAMPLES), "--html", str(page)]
        assert cli.main(["quality", "tiny", "--against", checkpoint, *options]) == 0
        html = page.read_text(encoding="utf-8")
    columns(html).save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs/images/quality.png")
