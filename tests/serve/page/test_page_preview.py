"""Pictures that the browser can't show: the server decodes them, the page shows that, and sends the file itself."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

import pillow_heif
import pytest
from PIL import Image

from tests.paths import ROOT
from tests.serve.browser import Watch, ask, bodies, until, upload
from tests.serve.page.kept import kept

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

CAT = ROOT / "examples/pictures/cat.png"
NATURAL = "document.querySelector('#picture-image')"


def picture(folder: Path, ending: str) -> Path:
    path = folder / f"the cat.{ending}"
    with Image.open(CAT) as image:
        small = image.convert("RGB").resize((400, 200))
    (pillow_heif.from_pillow(small) if ending == "heic" else small).save(path)
    return path


@pytest.mark.parametrize("ending", ["tiff", "heic"])
def test_it_is_shown_as_the_server_reads_it(page: Page, tmp_path: Path, ending: str) -> None:
    path = picture(tmp_path, ending)
    asked = bodies(page)
    upload(page, path)
    page.wait_for_selector("#picture-facts >> text=/the cat.* · 400 . 200 · .* · shown as the server reads it/")
    until(page, f"{NATURAL}.naturalWidth === 400 && {NATURAL}.naturalHeight === 200")
    assert "cat" in ask(page, "What is this?")
    sent = asked[0]["messages"][0]["content"][0]["image_url"]["url"].partition(",")[2]
    assert base64.b64decode(sent) == path.read_bytes()
    kept(page, ("What is this?", 1))
    page.reload()
    page.wait_for_selector(".turn")
    until(page, f"{NATURAL}.naturalWidth === 400")


def test_what_the_server_can_t_read_either_is_said(
    page: Page, profile: tuple[BrowserContext, Watch], tmp_path: Path
) -> None:
    profile[1].expected.append("400")  # the browser's own line about a refused request
    (tmp_path / "broken.tif").write_bytes(picture(tmp_path, "tiff").read_bytes()[:99])
    page.set_input_files("#file", tmp_path / "broken.tif")
    page.wait_for_selector("#picture-line >> text=/broken.tif: .*picture/")
    assert page.locator("#picture[data-state=empty]").count() == 1
