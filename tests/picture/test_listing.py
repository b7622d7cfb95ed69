"""Which files of a folder are described, and in what order."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from omnilmm_lite.errors import InputError
from omnilmm_lite.picture.kinds.kind import Kind
from omnilmm_lite.picture.listing import Filter, list_pictures
from omnilmm_lite.picture.reading import FORMATS, PICTURE_SUFFIXES, load_image
from omnilmm_lite.text.conversations import read_source
from tests.systems import odd_names

FILES = ["b.png", "a.JPG", "notes.txt", ".hidden.png", "cats/2.webp", "cats/1.png", "cats/deep/x.gif", ".git/y.png"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "pictures"


@pytest.mark.parametrize(
    ("chosen", "paths"),
    [
        (Filter(), ["a.JPG", "b.png", "cats/1.png", "cats/2.webp", "cats/deep/x.gif"]),
        (Filter(recursive=False), ["a.JPG", "b.png"]),
        (Filter(include=["*.jpg", "*.webp"]), ["a.JPG", "cats/2.webp"]),
        (Filter(include=["cats/*.png"]), ["cats/1.png"]),
        (Filter(include=["*"], exclude=["cats"]), ["a.JPG", "b.png", "notes.txt"]),
        (Filter(exclude=["cats/deep"]), ["a.JPG", "b.png", "cats/1.png", "cats/2.webp"]),
        (Filter(exclude=["*.png", "x*"]), ["a.JPG", "cats/2.webp"]),
    ],
)
def test_patterns_choose(folder: Path, chosen: Filter, paths: list[str]) -> None:
    assert list(list_pictures(folder, chosen).paths) == paths


@pytest.mark.parametrize("suffix", PICTURE_SUFFIXES)
def test_every_ending_is_one_that_can_be_read(tmp_path: Path, suffix: str) -> None:
    kind = {".dib": "BMP"}.get(suffix) or Image.registered_extensions().get(suffix)
    path = tmp_path / f"PICTURE{suffix.upper()}"
    if suffix in Kind.HEIC.suffixes:
        from tests.picture.heic import heic  # without whose package these alone are skipped

        path.write_bytes(heic(Image.new("RGB", (3, 2))))
    else:
        assert kind in FORMATS
        Image.new("RGB", (3, 2)).save(path, format=kind)
    assert list_pictures(tmp_path, Filter()).paths == (path.name,)
    assert load_image(path).size == (3, 2)


def test_what_is_asked_about_is_listed_by_the_same_rule(folder: Path) -> None:
    """A folder that `quality` or `convert` is given: no hidden files such as macOS leaves, no folders by their name."""
    for name in ("new.avif", "new.jfif", "new.JPE", "._b.png", "trip.jpg/inside.png", "cats-and-dogs/3.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    conversations = read_source(folder)
    assert not isinstance(conversations, str)
    images = [each.image for each in conversations]
    assert images == sorted(folder / path for path in list_pictures(folder, Filter()).paths)
    assert {folder / "new.avif", folder / "new.jfif", folder / "new.JPE", folder / "trip.jpg" / "inside.png"} <= {
        *images
    }
    assert not {folder / "._b.png", folder / ".hidden.png", folder / "trip.jpg"} & {*images}


def test_links_to_folders_are_no_trap_and_links_to_files_are_taken(folder: Path) -> None:
    (folder / "cats" / "loop").symlink_to(folder)
    (folder / "self.png").symlink_to("self.png")
    (folder / "link.png").symlink_to("cats/1.png")
    paths = list_pictures(folder, Filter()).paths
    assert "link.png" in paths
    assert "self.png" in paths  # it becomes an error line
    assert not [path for path in paths if "loop" in path]


def test_odd_names_are_taken_as_they_are(folder: Path) -> None:
    names = odd_names()
    for name in names:
        (folder / name).touch()
    assert names <= set(list_pictures(folder, Filter()).paths)


def test_what_is_left_out_is_known_by_its_place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    Path("self.png").symlink_to("self.png")
    paths = list_pictures(folder, Filter(include=["*"]), leave_out=[Path("notes.txt")]).paths
    assert "notes.txt" not in paths
    Path("way").symlink_to(folder, target_is_directory=True)  # as where case is equal: one file, two spellings
    paths = list_pictures(folder, Filter(include=["*"]), leave_out=[Path("way", "notes.txt"), Path("nowhere")]).paths
    assert "notes.txt" not in paths
    assert "self.png" in paths  # a link that leads nowhere is no file that is left out


def test_a_folder_that_is_missing_or_has_no_picture_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: there is no such folder"):
        list_pictures(tmp_path / "nowhere", Filter())
    with pytest.raises(InputError, match=r"b\.png: there is no such folder"):
        list_pictures(folder / "b.png", Filter())
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: there is no picture \(\.jpg .*\) in this folder; name another one"):
        list_pictures(tmp_path / "empty", Filter())
    with pytest.raises(InputError, match=r"no file that --include and --exclude leave"):
        list_pictures(folder, Filter(include=["*.bmp"]))
