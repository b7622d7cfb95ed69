"""Pictures as they come: each once, and not before it is whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from omnilmm_lite.caption.watching import arrivals
from omnilmm_lite.picture.listing import Filter


def rounds(folder: Path, *steps: Callable[[], object]) -> list[tuple[str, ...]]:
    """What is given out until all steps are done, one between two looks."""
    left = iter(steps)

    class Done(Exception):
        pass

    def wait() -> None:
        step = next(left, None)
        if step is None:
            raise Done
        step()

    found: list[tuple[str, ...]] = []
    try:
        found.extend(arrivals(folder, Filter(), wait))
    except Done:
        return found
    raise AssertionError("it ended")


def nothing() -> None:
    return


def test_one_that_is_still_written_waits(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    steps = (lambda: path.write_bytes(b"x")), (lambda: path.write_bytes(b"xy"))
    assert rounds(tmp_path, *steps, nothing) == [("a.png",)]
    path.unlink()
    assert rounds(tmp_path, *steps) == []
    assert rounds(tmp_path, path.touch, nothing) == [("a.png",)]


def test_each_comes_once_and_again_when_it_has_changed(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"1")
    (tmp_path / "empty.png").touch()  # only just made
    (tmp_path / "notes.txt").write_bytes(b"1")

    def change() -> None:
        (tmp_path / "a.png").write_bytes(b"2")
        os.utime(tmp_path / "a.png", ns=(1, 1))  # as where a clock ticks slowly

    def come() -> None:
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "b.png").write_bytes(b"1")

    assert rounds(tmp_path, nothing, nothing, come, nothing, nothing, change, nothing, nothing) == [
        ("a.png",),
        ("in/b.png",),
        ("a.png",),
    ]


def test_one_that_went_and_came_back_comes_again(tmp_path: Path) -> None:
    path, elsewhere = tmp_path / "a.png", tmp_path / "a.hidden"
    path.write_bytes(b"1")
    moves = (lambda: path.rename(elsewhere)), (lambda: elsewhere.rename(path))
    assert rounds(tmp_path, nothing, *moves, nothing) == [("a.png",)] * 2
