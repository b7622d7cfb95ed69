"""Paths as terminals, browsers and Windows write them, and pictures from elsewhere."""

from __future__ import annotations

import contextlib
import re
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from omnilmm_lite.config import VisionConfig
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.picture.decoding_process import DecodingProcess
from omnilmm_lite.terminal.paths.line import read_line
from omnilmm_lite.terminal.paths.readings import named_file, readings
from omnilmm_lite.terminal.picture import PictureOpener
from tests.systems import IS_WINDOWS, PLATFORM, linux_alone, not_on_windows, set_home

# what a file's name may hold, but line ends, which no line has
letters = st.characters(
    exclude_characters="/\n\0" + ('<>:"|?*\\' + "".join(map(chr, range(32))) if IS_WINDOWS else ""),
    exclude_categories=("Cs", "Cn"),  # macOS takes no code point that means nothing
)
names = st.text(letters, min_size=1, max_size=30)


@pytest.fixture
def cat(tmp_path: Path) -> Path:
    return save(tmp_path / "my cat.jpg")


def save(path: Path) -> Path:
    Image.new("RGB", (3, 2)).save(path)
    return path


def dropped(line: str) -> Path | None:
    """The picture that a line names without asking anything."""
    typed = read_line(line)
    only = typed.pictures[0] if len(typed.pictures) == 1 and not typed.question else None
    return only if isinstance(only, Path) else None


@given(name=names, padding=st.sampled_from(["", " ", "\t "]))
def test_a_path_is_found_however_a_terminal_writes_it(name: str, padding: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.png"
        path.touch()
        forms = [str(path), f'"{path}"', f"'{path}'", shlex.quote(str(path)), path.as_uri()]
        forms.append(path.as_uri().replace("file:///", "file://localhost/"))
        forms.append(path.as_uri().replace("file:///", "file:/"))
        forms.append(re.sub(r"([^\w/.])", r"\\\1", str(path)))  # as a shell's completion escapes it
        assert [dropped(padding + form + padding) for form in forms] == [path] * len(forms)


@given(text=st.text(max_size=200) | st.text(alphabet="\"'\\ ./%~:C\0\n&(猫", max_size=20))
@example("~\0")
def test_no_text_is_an_error(text: str) -> None:
    assert isinstance(read_line(text).question, str)
    named_file(text)


def test_another_machines_file_is_none_here(cat: Path) -> None:
    assert dropped(f"file://elsewhere{cat}") is None


def test_a_file_of_another_kind_is_no_question(tmp_path: Path) -> None:
    """What is wrong with it is said when it is opened."""
    text, folder, upper = tmp_path / "notes.txt", tmp_path / "folder.png", tmp_path / "CAT.JPEG"
    text.touch()
    folder.mkdir()
    upper.touch()
    assert [read_line(str(path)).pictures for path in (text, folder, upper)] == [(text,), (str(folder),), (upper,)]
    assert named_file(f'"{text}"') == text


def test_a_name_that_looks_encoded_is_taken_literally_first(tmp_path: Path) -> None:
    decoded, literal = tmp_path / "a b.png", tmp_path / "a%20b.png"
    decoded.touch()
    assert dropped(str(literal)) == decoded
    literal.touch()
    assert dropped(str(literal)) == literal


@pytest.mark.parametrize(
    "line",
    [
        r"C:\Users\me\my cat.jpg",
        r'"C:\Users\me\my cat.jpg"',
        r"& 'C:\Users\me\my cat.jpg'",
        "C:/Users/me/my cat.jpg",
        "file:///C:/Users/me/my%20cat.jpg",
    ],
)
def test_windows_paths(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert dropped(line) is None
    monkeypatch.setattr("omnilmm_lite.terminal.paths.readings.WINDOWS_DRIVES", tmp_path)
    target = tmp_path / "c" / "Users" / "me" / "my cat.jpg"
    target.parent.mkdir(parents=True)
    target.touch()
    assert dropped(line) == target


@pytest.mark.parametrize(
    ("line", "reading", "windows"),
    [
        ("file://server/share/my%20cat.jpg", r"\\server\share\my cat.jpg", True),
        ("/c/Users/me/cat.jpg", r"C:\Users\me\cat.jpg", True),  # Git's terminal
        ("/cygdrive/d/cat.jpg", r"D:\cat.jpg", True),
        ("file:///C:/Users/me/cat.jpg", "C:/Users/me/cat.jpg", True),
        (r"'\\server\share\my cat.jpg'", r"\\server\share\my cat.jpg", True),
        (r"C:\Users\me\cat.jpg", "/mnt/c/Users/me/cat.jpg", False),
        (r"\\wsl.localhost\Ubuntu\home\me\cat.jpg", "/home/me/cat.jpg", False),
        (r"\\wsl$\Debian\home\me\cat.jpg", "/home/me/cat.jpg", False),
    ],
)
def test_what_another_system_calls_it(line: str, reading: str, windows: bool) -> None:
    assert reading in list(readings(line, windows=windows))


@not_on_windows
def test_a_file_whose_name_is_a_windows_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = r"C:\Users\me\my cat.jpg"
    Path(name).touch()
    assert dropped(name) == dropped(f'"{name}"') == Path(name)


def test_home(cat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_home(monkeypatch, cat.parent)
    assert dropped("~/my cat.jpg") == cat


# ---- /image ----


@pytest.fixture(scope="module")
def opener() -> Iterator[PictureOpener]:
    with contextlib.closing(DecodingProcess()) as decoding:
        yield PictureOpener(decoding, VisionConfig(image_size=28))


def test_a_picture_keeps_its_pixels_and_its_whole_path(
    cat: Path, monkeypatch: pytest.MonkeyPatch, opener: PictureOpener
) -> None:
    monkeypatch.chdir(cat.parent)
    found = opener.open('"my cat.jpg"')
    assert (found.image.size, found.name, found.path) == ((3, 2), "my cat.jpg", cat)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.png", "nowhere.png: there is no such file"),
        ("http://example.org/a.png", "pictures are not fetched from the network"),
        ("/", "this is a folder"),
    ],
)
def test_what_is_no_picture_is_said(source: str, message: str, opener: PictureOpener) -> None:
    with pytest.raises(InputError, match=message):
        opener.open(source)


def fake_program(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@linux_alone
def test_the_clipboards_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opener: PictureOpener) -> None:
    path = save(tmp_path / "copied.png")
    fake_program(tmp_path, "wl-paste", "exit 1", monkeypatch)  # no Wayland here, but X11
    fake_program(tmp_path, "xclip", f"cat '{path}'", monkeypatch)
    found = opener.open("clipboard")
    assert (found.image.size, found.name, found.path) == ((3, 2), "clipboard", None)


@linux_alone
def test_a_clipboard_without_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opener: PictureOpener) -> None:
    fake_program(tmp_path, "wl-paste", "exit 1", monkeypatch)
    with pytest.raises(InputError, match="there is no picture in it"):
        opener.open("clipboard")


@linux_alone
def test_a_clipboard_that_can_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opener: PictureOpener
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"wl-paste \(Wayland\) or xclip"):
        opener.open("clipboard")


@pytest.mark.skipif(PLATFORM == "linux", reason="there, programs are asked")
def test_the_clipboard_of_other_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opener: PictureOpener) -> None:
    """Pixels, or the names of files that were copied; anything may be raised."""
    copied: list[object] = [Image.new("RGB", (3, 2)), [str(save(tmp_path / "copied.png")), "another"], [], None]
    monkeypatch.setattr("PIL.ImageGrab.grabclipboard", lambda: copied.pop(0))
    assert [opener.open("clipboard").image.size for _ in range(2)] == [(3, 2)] * 2
    for _ in range(3):  # the third finds nothing to pop
        with pytest.raises(InputError, match="there is no picture in it"):
            opener.open("clipboard")


def test_a_screen_that_can_not_be_seen(monkeypatch: pytest.MonkeyPatch, opener: PictureOpener) -> None:
    def grab() -> Image.Image:
        raise OSError("no display")

    monkeypatch.setattr("PIL.ImageGrab.grab", grab)
    with pytest.raises(InputError, match="save a screenshot"):
        opener.open("screen")


def test_short_memory_is_not_the_screens_fault(monkeypatch: pytest.MonkeyPatch, opener: PictureOpener) -> None:
    def convert(*arguments: object) -> Image.Image:
        raise MemoryError

    monkeypatch.setattr("PIL.ImageGrab.grab", lambda: Image.new("RGB", (4, 3)))
    monkeypatch.setattr("omnilmm_lite.picture.upright.to_rgb", convert)
    with pytest.raises(OmniLMMError, match="the memory is not enough for a picture of 4x3 pixels"):
        opener.open("screen")
