"""Saved conversations: what is written is read, whatever it holds; what is read is checked."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnilmm_lite.errors import InputError
from omnilmm_lite.sampling_params import SamplingParams
from omnilmm_lite.terminal.chats.transcript import (
    PictureRecord,
    Transcript,
    Turn,
    read_transcript,
    write_transcript,
)
from tests.systems import not_on_windows

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=50)
questions = texts.filter(lambda text: bool(text.strip()))
sizes = st.integers(1, 2**64 - 1)
records = st.builds(PictureRecord, st.none() | texts, texts, sizes, sizes)
transcripts = st.builds(
    Transcript,
    model=texts,
    picture=st.none() | records,
    system=st.none() | texts,
    sampling=st.builds(SamplingParams, temperature=st.floats(0, 2), seed=st.none() | st.integers(0, 2**64 - 1)),
    turns=st.lists(st.builds(Turn, questions, texts), max_size=3).map(tuple),
)
PLAIN = Transcript("tiny", PictureRecord("/a.png", "00", 2, 3), None, SamplingParams(), (Turn("Why?", "So."),))


@given(transcript=transcripts)
def test_what_is_written_is_read(transcript: Transcript) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chat.json"
        write_transcript(PLAIN, path)
        write_transcript(transcript, path)  # over the one before
        assert read_transcript(path) == transcript
        assert list(path.parent.iterdir()) == [path]


@given(
    data=st.binary(max_size=200) | st.recursive(st.none() | st.integers() | texts, st.lists).map(repr).map(str.encode)
)
def test_foreign_files_are_refused_in_one_line(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chat.json"
        path.write_bytes(data)
        with pytest.raises(InputError, match="this is no saved chat"):
            read_transcript(path)
        with pytest.raises(InputError, match="is no saved chat; name another file"):
            write_transcript(PLAIN, path)
        assert path.read_bytes() == data


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "the chat has the version 2, this program reads 1"),
        ({"version": None}, "the chat has the version None"),
        ({"format": "other"}, "this is no saved chat"),
        ({"turns": [{"question": "Why?"}]}, r"turns\[0\].answer: the field is missing"),
        ({"turns": [{"question": " ", "answer": ""}]}, "a question is empty"),
        ({"picture": {"path": 3}}, "the chat is damaged: picture"),
        ({"extra": 1}, "'extra' is unknown"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, object], message: str) -> None:
    text = json.dumps(json.loads(PLAIN.to_json()) | changes)
    with pytest.raises(InputError, match=f"^here: .*{message}"):
        Transcript.from_json(text, "here")


def test_sampling_out_of_range_is_named() -> None:
    fields = json.loads(PLAIN.to_json())
    fields["sampling"]["top_p"] = 7
    with pytest.raises(InputError, match=r"^here: sampling.top_p: 7 is out of range"):
        Transcript.from_json(json.dumps(fields), "here")


def test_a_nested_bomb_is_no_chat() -> None:
    with pytest.raises(InputError, match="this is no saved chat"):
        Transcript.from_json("[" * 100_000, "here")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        read_transcript(tmp_path / "chat.json")


@pytest.mark.parametrize("name", ["no/folder/chat.json", "x" * 300, "."])
def test_where_nothing_can_be_saved(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"can't be saved there|name another file"):
        write_transcript(PLAIN, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_save_that_fails_midway_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "chat.json"
    write_transcript(PLAIN, path)

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(InputError, match="No space left on device"):
        write_transcript(Transcript("other", None, None, SamplingParams(), ()), path)
    assert list(tmp_path.iterdir()) == [path]
    assert read_transcript(path) == PLAIN


@not_on_windows
def test_a_saved_chat_is_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_transcript(PLAIN, tmp_path / "chat.json")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "chat.json").stat().st_mode) == 0o600
