"""Texts and XMP beside pictures and in them: nothing of others is lost, nothing is half there."""

from __future__ import annotations

import errno
import hashlib
import stat
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from omnilmm_lite.caption.metadata.containers import packet_of
from omnilmm_lite.caption.metadata.xmp import changed_xmp, read_xmp
from omnilmm_lite.caption.writers.embedded import EmbeddedXmp
from omnilmm_lite.caption.writers.places import check_distinct, text_path, xmp_path
from omnilmm_lite.caption.writers.text_file import TextFiles
from omnilmm_lite.caption.writers.writer import Caption, Writer
from omnilmm_lite.caption.writers.xmp_file import XmpFiles
from omnilmm_lite.errors import InputError
from tests.systems import IS_WINDOWS

CAT = Caption("A cat.\nOn a sofa.")
TAGS = Caption("cat, sofa", ("cat", "sofa"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for name in ("a.png", "in/b.jpg"):
        Image.fromarray(np.arange(300, dtype=np.uint8).reshape(10, 10, 3)).save(tmp_path / name)
    return tmp_path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def put(writer: Writer, folder: Path, path: str, caption: Caption) -> str | None:
    return writer.write(path, sha256(folder / path), caption)


def leftovers(folder: Path) -> list[Path]:
    return list(folder.rglob("*.partial"))


def test_a_text_is_one_line_and_stays_unless_it_is_to_be_replaced(folder: Path) -> None:
    assert TextFiles(folder).wants("in/b.jpg", b"")
    put(TextFiles(folder), folder, "in/b.jpg", CAT)
    assert (folder / "in" / "b.txt").read_bytes() == b"A cat. On a sofa.\n"
    assert not TextFiles(folder).wants("in/b.jpg", b"")
    put(TextFiles(folder), folder, "in/b.jpg", TAGS)  # somebody may have written it meanwhile
    assert (folder / "in" / "b.txt").read_bytes() == b"A cat. On a sofa.\n"
    assert TextFiles(folder, overwrite=True).wants("in/b.jpg", b"")
    put(TextFiles(folder, overwrite=True), folder, "in/b.jpg", TAGS)
    assert (folder / "in" / "b.txt").read_bytes() == b"cat, sofa\n"
    assert not leftovers(folder)


def test_xmp_beside_a_picture_keeps_what_is_there(folder: Path) -> None:
    writer = XmpFiles(folder)
    put(writer, folder, "a.png", CAT)
    beside = folder / "a.xmp"
    assert read_xmp(beside.read_bytes()).description == CAT.text and not writer.wants("a.png", b"")
    put(writer, folder, "a.png", Caption("Another."))
    assert read_xmp(beside.read_bytes()).description == CAT.text
    of_tags = XmpFiles(folder, of_tags=True)
    assert of_tags.wants("a.png", b"")
    put(of_tags, folder, "a.png", TAGS)
    said = read_xmp(beside.read_bytes())
    assert (said.description, said.keywords) == (CAT.text, ("cat", "sofa"))
    put(XmpFiles(folder, overwrite=True), folder, "a.png", Caption("Another."))
    assert read_xmp(beside.read_bytes()).description == "Another."
    before = beside.stat().st_mtime_ns
    put(XmpFiles(folder, overwrite=True), folder, "a.png", Caption("Another."))
    assert beside.stat().st_mtime_ns == before  # nothing new, nothing written


def test_the_name_that_is_there_already_is_taken(folder: Path) -> None:
    assert xmp_path(folder, "a.png") == folder / "a.xmp"
    (folder / "a.png.xmp").write_bytes(changed_xmp(None, None, ["darktable's"]))
    put(XmpFiles(folder), folder, "a.png", CAT)
    assert read_xmp((folder / "a.png.xmp").read_bytes()).keywords == ("darktable's",)
    assert not (folder / "a.xmp").exists()


def test_a_broken_file_of_somebody_is_left_alone(folder: Path) -> None:
    (folder / "a.xmp").write_text("my notes", encoding="utf-8")
    with pytest.raises(InputError, match="its XMP can't be read"):
        XmpFiles(folder, overwrite=True).write("a.png", "", CAT)
    assert (folder / "a.xmp").read_text(encoding="utf-8") == "my notes"


@pytest.mark.parametrize("path", ["a.png", "in/b.jpg"])
def test_into_the_picture_with_a_copy_of_what_it_was(folder: Path, path: str) -> None:
    picture = folder / path
    before = picture.read_bytes()
    if not IS_WINDOWS:
        picture.chmod(0o640)
    writer = EmbeddedXmp(folder)
    assert writer.wants(path, before)
    changed = put(writer, folder, path, CAT)
    assert changed == sha256(picture)
    backup = picture.with_name(picture.name + "_original")
    assert backup.read_bytes() == before
    assert Image.open(picture).tobytes() == Image.open(backup, formats=["PNG", "JPEG"]).tobytes()
    assert read_xmp(packet_of(picture.read_bytes()) or b"").description == CAT.text
    assert not writer.wants(path, picture.read_bytes())
    assert put(writer, folder, path, Caption("Another.")) is None
    assert put(EmbeddedXmp(folder, overwrite=True), folder, path, Caption("Another.")) == sha256(picture)
    assert backup.read_bytes() == before  # of before the first
    assert IS_WINDOWS or stat.S_IMODE(picture.stat().st_mode) == 0o640
    assert not leftovers(folder)


def test_a_kill_before_the_last_step_leaves_the_picture(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = folder / "a.png"
    before = picture.read_bytes()
    replace = Path.replace

    def die(source: Path, target: Path) -> Path:
        if target == picture:
            raise KeyboardInterrupt
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        put(EmbeddedXmp(folder), folder, "a.png", CAT)
    monkeypatch.undo()
    assert picture.read_bytes() == (folder / "a.png_original").read_bytes() == before
    put(EmbeddedXmp(folder), folder, "a.png", CAT)
    assert (folder / "a.png_original").read_bytes() == before


def test_what_cannot_be_embedded_is_said(folder: Path) -> None:
    Image.new("RGB", (4, 4)).save(folder / "c.gif")
    (folder / "link.png").symlink_to("a.png")
    with pytest.raises(InputError, match="nothing is written into GIF"):
        EmbeddedXmp(folder).wants("c.gif", (folder / "c.gif").read_bytes())
    with pytest.raises(InputError, match="it is a link"):
        EmbeddedXmp(folder).wants("link.png", (folder / "a.png").read_bytes())
    with pytest.raises(InputError, match="it has changed since"):
        EmbeddedXmp(folder).write("a.png", "another hash", CAT)


def test_a_folder_that_cannot_be_written_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("omnilmm_lite.files.durable_file._new_file", refuse)
    for writer in (TextFiles(folder), XmpFiles(folder), EmbeddedXmp(folder)):
        with pytest.raises(InputError, match=r"it can't be written \(Permission denied\)"):
            put(writer, folder, "a.png", CAT)


def test_what_one_file_is_at_fault_for_stops_no_other(folder: Path) -> None:
    """A name, a folder in the way, a picture that is gone: the run goes on. A full disk ends it."""
    longest = "n" * 251 + ".png"
    for name in (longest, "c.png"):
        (folder / name).write_bytes((folder / "a.png").read_bytes())
    put(XmpFiles(folder), folder, longest, CAT)  # there is no room for `.png.xmp`
    assert read_xmp((folder / ("n" * 251 + ".xmp")).read_bytes()).description == CAT.text
    with pytest.raises(InputError, match=r"^picture: it can't be written \(.*; give the picture a shorter name"):
        put(EmbeddedXmp(folder), folder, longest, CAT)
    with pytest.raises(InputError, match=r"n\.txt: it can't be written \(.*; give the picture a shorter name"):
        TextFiles(folder).wants("n" * 252 + ".jp", b"")
    (folder / "c.txt").mkdir()
    with pytest.raises(InputError, match=r"^c\.txt: it can't be written \("):
        TextFiles(folder, overwrite=True).write("c.png", "", CAT)
    for writer in (EmbeddedXmp(folder), TextFiles(folder), XmpFiles(folder)):
        with pytest.raises(InputError, match=r"it can't be written \(.*was moved or removed meanwhile"):
            writer.write("gone/a.png", "", CAT)
    assert not leftovers(folder)


def test_a_full_disk_is_no_fault_of_the_picture(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("omnilmm_lite.files.durable_file._new_file", refuse)
    for writer in (TextFiles(folder), XmpFiles(folder), EmbeddedXmp(folder)):
        with pytest.raises(OSError, match="No space left"):
            put(writer, folder, "a.png", CAT)


def test_the_copy_of_what_a_picture_was_stays(folder: Path) -> None:
    put(EmbeddedXmp(folder), folder, "a.png", CAT)
    with pytest.raises(InputError, match="the copy of what another was"):
        put(EmbeddedXmp(folder), folder, "a.png_original", CAT)
    (folder / "a.png").unlink()  # what stands alone is a picture like others
    assert put(EmbeddedXmp(folder), folder, "a.png_original", CAT) is not None


def test_the_second_of_two_that_come_with_one_name_is_refused(folder: Path) -> None:
    """As a watch meets them, which can't look ahead."""
    for writer in (TextFiles(folder, overwrite=True), XmpFiles(folder, overwrite=True)):
        put(writer, folder, "in/b.jpg", CAT)
        (folder / "in" / "B.png").write_bytes((folder / "a.png").read_bytes())
        for _ in range(2):
            with pytest.raises(InputError, match=r"^picture: 'in/b.jpg' has the same file beside it; rename one"):
                put(writer, folder, "in/B.png", TAGS)
        put(writer, folder, "in/b.jpg", CAT)
    (folder / "in" / "b.jpg").unlink()  # it was converted
    put(writer, folder, "in/B.png", CAT)


def test_pictures_of_one_name_are_refused(folder: Path) -> None:
    check_distinct(["a.png", "in/a.png", "b.jpg"])
    assert text_path(folder, "in/x.y.png") == folder / "in" / "x.y.txt"
    for pair in (["a.png", "a.jpg"], ["in/A.png", "in/a.webp"]):
        with pytest.raises(InputError, match="would have the same file beside them"):
            check_distinct(pair)
