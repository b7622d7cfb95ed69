"""Large files are checked in the background, over several starts; damage is said at once, and refused at the next."""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from omnilmm_lite.builtin import BUILTIN
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.integrity import large_files, record
from omnilmm_lite.bundle.integrity.hashes import Piece, hash_file, is_whole
from omnilmm_lite.bundle.integrity.record import records_folder
from omnilmm_lite.errors import InputError
from tests.bundle.manifests import edit_manifest, entry_of

PIECE = 1 << 18
LARGE = 1 << 19
NAME = "decoder.onnx.data"


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The built-in bundle with files of its own, most of them large and in many pieces."""
    monkeypatch.setattr("omnilmm_lite.bundle.integrity.hashes.BLOCK_BYTES", PIECE)
    for module in ("hashes", "file_entry"):
        monkeypatch.setattr(f"omnilmm_lite.bundle.integrity.{module}.PIECE_BYTES", PIECE)
    monkeypatch.setattr(large_files, "SMALL_BYTES", LARGE)
    monkeypatch.setattr(large_files, "_BEGUN", set())
    monkeypatch.setattr(large_files, "LOWEST", 0)  # on a busy machine it would wait for everybody else
    monkeypatch.setenv("OMNILMM_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    folder = Path(shutil.copytree(BUILTIN / "tiny", tmp_path / "bundle"))

    def in_pieces(data: dict[str, Any]) -> None:
        for entry in data["files"]:
            entry["hashes"] = list(hash_file(folder / entry["path"]).pieces)

    edit_manifest(folder, in_pieces)
    return folder


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Every piece that a background check hashes, by file and place."""
    seen: list[tuple[str, int]] = []

    def watched(path: Path, piece: Piece) -> bool:
        seen.append((path.name, piece.start))
        return is_whole(path, piece)

    monkeypatch.setattr(large_files, "is_whole", watched)
    return seen


def start(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opens the bundle as a new process would, and lets its check end."""
    monkeypatch.setattr(large_files, "_BEGUN", set())
    Bundle.open(folder).check_in_background(lambda: True)
    for thread in threading.enumerate():
        if thread.name == "check of the bundle's files":
            thread.join()


def flip(path: Path, place: int) -> None:
    """As a disk does it: no date changes. The system's own date of the change can't be kept; see `unchanged`."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.fixture
def unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system tells nothing of a change but size and date."""

    def of(found: os.stat_result) -> record.Identity:
        return record.Identity(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, 0)

    monkeypatch.setattr(record.Identity, "of", staticmethod(of))


def states(folder: Path) -> dict[str, Any]:
    (path,) = records_folder().glob("*.json")
    files: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["files"]
    return files


def test_every_large_file_is_hashed_once_and_remembered(
    bundle: Path, hashed: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    start(bundle, monkeypatch)
    large = [path for path in bundle.iterdir() if path.stat().st_size > LARGE]
    assert sorted(hashed) == sorted((path.name, at) for path in large for at in range(0, path.stat().st_size, PIECE))
    assert states(bundle).keys() == {path.name for path in large}
    hashed.clear()
    start(bundle, monkeypatch)
    assert hashed == []


def test_it_goes_on_where_it_stopped(
    bundle: Path, hashed: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that ends after seven pieces, again and again: no piece twice, and all in the end."""
    counted = vars(large_files)["is_whole"]  # the fixture's

    def ending(path: Path, piece: Piece) -> bool:
        if len(hashed) % 7 == 6:
            hashed.append((path.name, piece.start))
            raise OSError("the process has ended")
        found: bool = counted(path, piece)
        return found

    large = large_files.large_files(Bundle.open(bundle).manifest.files)
    pieces = sum(len(entry.pieces) for entry in large)
    monkeypatch.setattr(large_files._Check, "_check", _stopping(large_files._Check._check))
    monkeypatch.setattr(large_files, "is_whole", ending)
    for _ in range(pieces):
        with monkeypatch.context() as patch:
            start(bundle, patch)
        if sum(state["finished_at"] is not None for state in states(bundle).values()) == len(large):
            break
    done = [each for number, each in enumerate(hashed) if number % 7 != 6]
    assert len(done) == len(set(done)) == pieces


def _stopping(check: Any) -> Any:
    """A process has one end: what comes behind it isn't done either."""

    def wrapped(self: Any, entry: Any) -> None:
        if getattr(self, "ended", False):
            return
        try:
            check(self, entry)
        except OSError:
            self.ended = True

    return wrapped


@pytest.mark.usefixtures("unchanged")
def test_a_flipped_bit_is_said_at_once_and_refused_at_the_next_start(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    flip(bundle / NAME, 5 * PIECE + 3)
    start(bundle, monkeypatch)
    (line,) = caplog.messages
    assert caplog.records[0].levelno == logging.WARNING
    assert f"{NAME}: the file is damaged" in line
    with pytest.raises(InputError) as caught:
        Bundle.open(bundle)
    assert str(caught.value) == line
    flip(bundle / NAME, 5 * PIECE + 3)  # back again: what was found then is looked at once more
    with pytest.raises(InputError) as verified:
        flip(bundle / "vision.onnx.data", 0)
        Bundle.open(bundle).verify()
    assert str(verified.value) == line.replace(NAME, "vision.onnx.data")


@pytest.mark.usefixtures("unchanged")
def test_a_bit_that_flips_after_the_check_is_found_when_the_check_is_old(
    bundle: Path, hashed: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start(bundle, monkeypatch)
    flip(bundle / NAME, 0)
    start(bundle, monkeypatch)
    assert caplog.messages == []
    later = time.time() + record.GOOD_FOR_S + 1
    monkeypatch.setattr(time, "time", lambda: later)
    start(bundle, monkeypatch)
    assert [NAME in line for line in caplog.messages] == [True]
    with pytest.raises(InputError, match="the file is damaged"):
        Bundle.open(bundle)


def test_a_file_with_another_date_or_place_is_hashed_again(
    bundle: Path, hashed: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    start(bundle, monkeypatch)
    path = bundle / NAME
    changes: list[Callable[[], object]] = [
        lambda: os.utime(path, ns=(1, 1)),
        lambda: replaced(path),
        lambda: flip(path, 1),
    ]
    for change in changes:
        hashed.clear()
        change()
        with monkeypatch.context() as patch:
            start(bundle, patch)
        assert {name for name, _ in hashed} == {NAME}


def replaced(path: Path) -> None:
    shutil.copy2(path, path.with_name("new"))
    path.with_name("new").replace(path)


def test_another_hash_in_the_manifest_is_another_file(
    bundle: Path, hashed: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start(bundle, monkeypatch)
    hashed.clear()
    edit_manifest(bundle, lambda data: entry_of(data, NAME).update(sha256="0" * 64, hashes=[]))
    edit_manifest(bundle, lambda data: data.update(schema_version=2))
    start(bundle, monkeypatch)
    assert hashed == [(NAME, 0)]  # an older bundle's file is one piece
    assert len(caplog.messages) == 1


def test_verifying_counts_as_a_check(
    bundle: Path, hashed: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    Bundle.open(bundle).verify()
    start(bundle, monkeypatch)
    assert hashed == []


@pytest.mark.parametrize("content", [b"", b"[]", b'{"folder": "x", "files": {"a": null}}'])
def test_a_record_that_can_not_be_read_is_none(
    bundle: Path, hashed: list[tuple[str, int]], content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(bundle, monkeypatch)
    (path,) = records_folder().glob("*.json")
    path.write_bytes(content)
    hashed.clear()
    start(bundle, monkeypatch)
    assert hashed
    assert states(bundle)


@pytest.mark.parametrize(
    "odd",
    [
        {"whole_pieces": -50, "finished_at": None},
        {"whole_pieces": 10**9, "finished_at": None},
        {"whole_pieces": 1},
        {"damaged_piece": 10**9, "finished_at": None},
        {"damaged_piece": -1, "whole_pieces": -1, "finished_at": None},
        {"damaged_piece": 0},
        {"finished_at": None},
        {"finished_at": float("nan")},
    ],
    ids=str,
)
def test_a_record_that_no_check_writes_is_none(
    bundle: Path, hashed: list[tuple[str, int]], odd: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    start(bundle, monkeypatch)
    (path,) = records_folder().glob("*.json")
    before = states(bundle)[NAME]
    data = json.loads(path.read_text(encoding="utf-8"))
    data["files"][NAME].update(odd)
    path.write_text(json.dumps(data), encoding="utf-8")
    hashed.clear()
    start(bundle, monkeypatch)
    assert {at for name, at in hashed if name == NAME} == set(range(0, before["identity"]["size"], PIECE))
    assert states(bundle)[NAME].keys() == before.keys()
    assert states(bundle)[NAME] == before | {"finished_at": states(bundle)[NAME]["finished_at"]}


@pytest.mark.parametrize("home", ["~no-such-user-here/x", "no\nfolder"])
def test_a_home_that_is_none_is_no_error(bundle: Path, home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNILMM_HOME", home)
    start(bundle, monkeypatch)
    assert not Path(home).exists()


def test_without_a_home_nothing_is_kept_where_the_program_was_started(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMNILMM_HOME")
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *names, **options: Path("~") / ".cache" / "omnilmm-lite")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    start(bundle, monkeypatch)
    assert sorted(tmp_path.iterdir()) == before


def test_a_cache_that_can_not_be_written_to_is_none(
    bundle: Path, hashed: list[tuple[str, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home" / "checked").write_text("no folder")
    start(bundle, monkeypatch)
    assert hashed
    monkeypatch.setenv("OMNILMM_HOME", str(tmp_path / "none"))
    start(bundle, monkeypatch)
    assert not (tmp_path / "none").exists()


def test_nothing_is_hashed_before_the_model_has_answered(
    bundle: Path, hashed: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: Iterator[bool | None] = iter([False, False, None])
    Bundle.open(bundle).check_in_background(lambda: next(answers))
    for thread in threading.enumerate():
        if thread.name == "check of the bundle's files":
            thread.join()
    assert hashed == []  # the model has gone
    assert set() == large_files._BEGUN
