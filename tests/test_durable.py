"""Files that take their names: on Windows, once nobody looks at them any more."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from omnilmm_lite.durable import WAITS_S, durable_folder, move_into_place, write_json


class Scanner:
    """Has what is new open for a while: the first `times` moves are refused as Windows does."""

    def __init__(self, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left, self.waited, self._replace = times, 0.0, Path.replace
        monkeypatch.setattr(Path, "replace", lambda source, target: self.replace(source, target))
        monkeypatch.setattr("omnilmm_lite.durable.time.sleep", self.sleep)

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
