"""Files that are whole or not there, and take their names: on Windows, once nobody looks at them any more."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

from omnilmm_lite.files.durable_file import (
    WAITS_S,
    durable_folder,
    move_into_place,
    remove_unfinished,
    write_durably,
    write_json,
    write_text,
)
from tests.systems import IS_WINDOWS, not_on_windows


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "a"

    def write(partial: Path) -> None:
        write_text(path, "the other's")
        assert partial.read_bytes() == b""
        partial.write_bytes(b"the last one's")

    write_durably(path, write)
    assert path.read_text() == "the last one's"
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    def fill_the_disk(partial: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def read_another(partial: Path) -> None:
        (tmp_path / "source").read_bytes()

    (tmp_path / "folder").mkdir()
    for write, name, named in (
        (fill_the_disk, "a", "a"),
        (read_another, "a", "source"),
        (Path.touch, "folder", "folder"),
        (Path.rmdir, "a", "a"),  # the one that is being filled
    ):
        with pytest.raises(OSError) as told:  # of whatever kind the system has
            write_durably(tmp_path / name, write)
        assert told.value.filename == str(tmp_path / named)


def test_a_write_that_fails_leaves_everything_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")

    def write(partial: Path) -> None:
        partial.write_bytes(b"half of the n")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_durably(path, write)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_on_the_disk_before_it_takes_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut there would be an empty file of that name otherwise. The name comes last, by its folder."""
    path, synced = tmp_path / "a", list[tuple[str, bool]]()

    def fsync(descriptor: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        synced.append((kind, path.exists()))

    monkeypatch.setattr("omnilmm_lite.files.durable_file.os.fsync", fsync)
    write_text(path, "text")
    assert synced == [("file", False), *([] if IS_WINDOWS else [("folder", True)])]


@not_on_windows
@pytest.mark.parametrize("mode", [0o666, 0o600])
def test_a_new_file_has_the_rights_that_open_would_give_it(mode: int, tmp_path: Path) -> None:
    write_text(tmp_path / "new", "text", mode=mode)
    (tmp_path / "usual").touch(mode)
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "usual").stat().st_mode


class Scanner:
    """Has what is new open for a while: the first `times` moves are refused as Windows does."""

    def __init__(self, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left, self.waited, self._replace = times, 0.0, Path.replace
        monkeypatch.setattr(Path, "replace", lambda source, target: self.replace(source, target))
        monkeypatch.setattr("omnilmm_lite.files.durable_file.time.sleep", self.sleep)

    def replace(self, source: Path, target: Path) -> Path:
        self.left -= 1
        if self.left >= 0:
            raise PermissionError(13, "Access is denied", str(source))
        return self._replace(source, target)

    def sleep(self, seconds: float) -> None:
        self.waited += seconds


def test_on_windows_a_scanner_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    scanner = Scanner(2, monkeypatch)
    write_json(tmp_path / "a.json", {"a": 1})
    assert scanner.waited == sum(WAITS_S[:2])
    scanner.left = len(WAITS_S)
    with durable_folder(tmp_path / "folder") as folder:
        (folder / "file").touch()
    assert scanner.waited == sum(WAITS_S[:2]) + sum(WAITS_S)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "folder"]


@pytest.mark.parametrize(("platform", "times"), [("win32", len(WAITS_S) + 1), ("linux", 1)])
def test_what_stays_refused_is_an_error(
    platform: str, times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "new").touch()
    monkeypatch.setattr(sys, "platform", platform)
    Scanner(times, monkeypatch)
    with pytest.raises(PermissionError):
        move_into_place(tmp_path / "new", tmp_path / "old")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_what_a_killed_run_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "tower").mkdir()
    kept = [".12-short.partial", "12-0123456789abcdef.partial", ".original-output.partial", "block.safetensors"]
    for name in kept:
        (tmp_path / "tower" / name).write_bytes(b"x")
    with pytest.raises(KeyboardInterrupt):
        write_durably(tmp_path / "tower" / "whole", killed)
    left = [path for path in (tmp_path / "tower").iterdir() if path.name not in kept]
    assert len(left) == 1
    remove_unfinished(tmp_path)
    assert sorted(path.name for path in (tmp_path / "tower").iterdir()) == sorted(kept)
    remove_unfinished(tmp_path / "none")


def killed(partial: Path) -> None:
    """As SIGKILL would: what clears up behind it finds nothing."""
    shutil.copyfile(partial, partial.with_name(f".1{partial.name[1:]}"))
    raise KeyboardInterrupt
