"""The file that runs over a folder share: nothing is lost, nothing is mixed up."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnilmm_lite.caption.output import Output, settings_path
from omnilmm_lite.errors import InputError

SETTINGS = {"model": "tiny@1", "prompt": "Why?", "temperature": 0.6, "seed": None}


def line(path: str, **rest: Any) -> dict[str, Any]:
    return {"path": path, "sha256": f"hash of {path}", **(rest or {"text": "A cat."})}


def write(path: Path, *lines: dict[str, Any]) -> None:
    with Output(path, SETTINGS) as output:
        for each in lines:
            output.append(each)


def read(path: Path) -> list[Any]:
    return [json.loads(each) for each in path.read_bytes().splitlines()]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def test_a_second_run_goes_on(out: Path) -> None:
    write(out, line("a"), line("b", error="broken"))
    output = Output(out, SETTINGS)
    assert output.has_answer("a", "hash of a")
    assert not output.has_error("a", "hash of a")
    assert output.has_error("b", "hash of b")
    assert not output.has_answer("b", "hash of b")
    assert not output.has_answer("a", "of another file")
    write(out, line("c"))
    assert read(out) == [line("a"), line("b", error="broken"), line("c")]


@given(st.integers(0, 200))
def test_wherever_a_crash_cuts_whole_lines_stay(tmp_path_factory: pytest.TempPathFactory, size: int) -> None:
    out = tmp_path_factory.mktemp("cut") / "out.jsonl"
    lines = [line("a"), line("ä\n"), line("c", error="broken"), line("d")]
    write(out, *lines)
    data = out.read_bytes()
    assert len(data) > 200
    out.write_bytes(data[:size])
    whole = data[:size].count(b"\n")
    write(out, *lines[whole:])
    assert out.read_bytes() == data


def test_reading_alone_changes_nothing(out: Path) -> None:
    write(out, line("a"))
    out.write_bytes(out.read_bytes() + b'{"path": "b')
    before = out.read_bytes()
    Output(out, SETTINGS)
    assert out.read_bytes() == before


def test_every_line_is_on_the_disk_before_the_next(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    sync = os.fsync

    def spy(descriptor: int) -> None:
        sync(descriptor)
        synced.append(out.read_bytes() if out.exists() else b"")

    monkeypatch.setattr(os, "fsync", spy)
    write(out, line("a"), line("b"))
    assert [each.count(b"\n") for each in synced][-3:] == [0, 1, 2]  # the settings come first


def test_changed_settings_are_named(out: Path) -> None:
    write(out, line("a"))
    before = out.read_bytes()
    with pytest.raises(InputError) as caught:
        Output(out, SETTINGS | {"prompt": "How?", "seed": 7})
    assert "prompt was 'Why?', is 'How?'; seed was not set, is 7; " in str(caught.value)
    assert "temperature" not in str(caught.value)
    assert str(caught.value).endswith("name another file after -o")
    assert out.read_bytes() == before


def test_a_file_without_a_line_may_begin_anew(out: Path) -> None:
    write(out)
    with Output(out, SETTINGS | {"prompt": "How?"}):
        pass
    assert json.loads(settings_path(out).read_text())["prompt"] == "How?"


@pytest.mark.parametrize("settings", [None, "not JSON", "[]"])
def test_a_file_of_unknown_settings_is_left_alone(out: Path, settings: str | None) -> None:
    out.write_text("my diary", encoding="utf-8")
    if settings is not None:
        settings_path(out).write_text(settings)
    with pytest.raises(InputError, match=r"is there already"):
        Output(out, SETTINGS)
    assert out.read_text(encoding="utf-8") == "my diary"


@pytest.mark.parametrize("text", ["diary", "[]", '{"path": "a"}', '{"path": [], "sha256": null}', "\x00"])
def test_lines_of_another_program_are_refused_by_number(out: Path, text: str) -> None:
    write(out, line("a"))
    out.write_bytes(out.read_bytes() + text.encode() + b"\n")
    with pytest.raises(InputError, match=r"out\.jsonl: line 2 is none that caption writes"):
        Output(out, SETTINGS)


def test_places_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not a regular file"):
        Output(tmp_path, SETTINGS)
    with pytest.raises(InputError, match=r"its folder doesn't exist"):
        Output(tmp_path / "no" / "out.jsonl", SETTINGS)


def test_names_that_are_no_utf8_come_back_as_they_were(out: Path) -> None:
    name = os.fsdecode(b"\xff\xe2\x80\xa8\n.png")
    write(out, {"path": name, "sha256": None, "error": "日本"})
    assert read_utf8(out) == [{"path": name, "sha256": None, "error": "日本"}]
    assert Output(out, SETTINGS).has_error(name, None)


def read_utf8(path: Path) -> list[Any]:
    return [json.loads(each) for each in path.read_text(encoding="utf-8").split("\n")[:-1]]
