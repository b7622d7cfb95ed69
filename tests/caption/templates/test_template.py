"""Names in braces, and what pictures put there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from omnilmm_lite.caption.metadata.containers import with_packet
from omnilmm_lite.caption.metadata.xmp import MAX_BYTES, changed_xmp
from omnilmm_lite.caption.templates.fields import picture_fields
from omnilmm_lite.caption.templates.template import read_template
from omnilmm_lite.config import VisionConfig
from omnilmm_lite.errors import InputError
from omnilmm_lite.picture.prepared_image import prepare


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("Describe {name}.", "Describe cat."),
        ("{{name}} {{ }} {name}", "{name} { } cat"),
        ("by {exif.Model}{exif.LensModel}", "by X100V"),
        ("by {exif.LensModel|some lens}, {exif.Model|?}", "by some lens, X100V"),
        ("{ name }", "cat"),
        ("", ""),
    ],
)
def test_fields_are_filled(text: str, filled: str) -> None:
    assert read_template(text, "-p").fill({"name": "cat", "exif.Model": "X100V"}) == filled


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{nmae}", r"--prompt: there is no field \{nmae\}; did you mean \{name\}\?"),
        ("{exif.model}", r"did you mean \{exif.Model\}\?"),
        ("{__class__}", "there is no field"),
        ("{name.__class__}", "there is no field"),
        ("{0}", "there is no field"),
        ("{}", "there is no field"),
        ("a { b", r"a single \{ in 'a \{ b'; write \{\{ for one"),
        ("a } b", r"a single \}"),
    ],
)
def test_what_is_no_field_is_refused_before_the_run(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_template(text, "--prompt")


@given(st.text(max_size=50))
def test_any_text_with_its_braces_doubled_is_itself(text: str) -> None:
    assert read_template(text.replace("{", "{{").replace("}", "}}"), "-p").fill({}) == text


def test_what_a_picture_has(tmp_path: Path) -> None:
    folder = tmp_path / "trip"
    (folder / "day 1").mkdir(parents=True)
    exif = Image.Exif()
    exif[272] = "{name}\n\x1b[31m"  # a stranger's words are words
    for place in ("a.b.jpg", "day 1/a.jpg"):
        Image.new("RGB", (8, 8)).save(folder / place, exif=exif)

    def fields(path: str) -> dict[str, str]:
        data = (folder / path).read_bytes()
        return dict(picture_fields(folder, path, data, prepare(data, VisionConfig(image_size=28))))

    assert fields("a.b.jpg") == {"name": "a.b", "folder": "trip", "tags": "", "exif.Model": "{name} \\x1b[31m"}
    assert fields("day 1/a.jpg")["folder"] == "day 1"
    assert read_template("{exif.Model}", "-p").fill(fields("day 1/a.jpg")) == "{name} \\x1b[31m"


def test_tags_come_from_what_is_nearest_to_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(path)
    prepared = prepare(path, VisionConfig(image_size=28))

    def tags() -> str:
        return picture_fields(tmp_path, "a.png", path.read_bytes(), prepared)["tags"]

    assert tags() == ""
    (tmp_path / "a.txt").write_text("1girl, Blue_Sky,", encoding="utf-8")
    assert tags() == "1girl, blue sky"
    path.write_bytes(with_packet(path.read_bytes(), changed_xmp(None, None, ["Own"])))
    assert tags() == "Own"
    (tmp_path / "a.xmp").write_bytes(b"broken")
    assert tags() == "Own"
    (tmp_path / "a.xmp").write_bytes(changed_xmp(None, None, ["Beside", "b"]))
    assert tags() == "Beside, b"
    (tmp_path / "a.xmp").unlink()
    (tmp_path / "a.xmp").mkdir()
    assert tags() == "Own"
    (tmp_path / "a.xmp").rmdir()
    with (tmp_path / "a.xmp").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert tags() == "Own"
    shutil.copy(path, tmp_path / ("n" * 251 + ".png"))
    assert picture_fields(tmp_path, "n" * 251 + ".png", path.read_bytes(), prepared)["tags"] == "Own"
