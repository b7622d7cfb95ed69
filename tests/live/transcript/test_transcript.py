"""A session's file: what is in it, and what becomes of it when the disk is full or the power fails."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from omnilmm_lite.errors import InputError
from omnilmm_lite.live.broadcast import Broadcast
from omnilmm_lite.live.events import (
    AnswerEnded,
    AnswerPiece,
    Event,
    FrameDescribed,
    QuestionAsked,
    SessionBegan,
    SourceEnded,
    Stage,
    Status,
    StatusChanged,
)
from omnilmm_lite.live.transcript.page import build_page
from omnilmm_lite.live.transcript.reading import read_transcript
from omnilmm_lite.live.transcript.replay import replay
from omnilmm_lite.live.transcript.writing import TranscriptWriter

BEGAN = SessionBegan(0.0, 1_795_000_000.0, "cat.mp4", "tiny", "tiny", "none", "none")
RED = Image.new("RGB", (64, 48), "red")
SEEN = FrameDescribed(1.0, 1, "ab" * 32, "A red <b>square</b>.", 0.5, 0.5, b"", RED)
ASKED = QuestionAsked(2.0, 1, "What is <this>?", spoken=True)
ANSWERED = AnswerEnded(2.5, 1, "A red square.", 1, 0.25, 0.5, interrupted=False)
LAST = StatusChanged(3.0, Status(5.0, 15, 1, 4, 10, 0))
EVENTS = (
    BEGAN,
    StatusChanged(0.5, Status(0, 0, 0, 0, 0, 0)),
    SEEN,
    ASKED,
    AnswerPiece(2.2, 1, "A red"),
    ANSWERED,
    LAST,
)


class FakeSession:
    """What a writer tells its session."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def trouble(self, stage: Stage, message: str) -> None:
        self.told.append(f"{stage.value}: {message}")

    def works(self, stage: Stage) -> None:
        if self.told and self.told[-1] != "works":
            self.told.append("works")


def written(path: Path, events: Sequence[Event] = EVENTS, *, keep_frames: bool = False) -> list[str]:
    """What the session was told."""
    session: Any = FakeSession()

    async def run() -> None:
        broadcast = Broadcast()
        with TranscriptWriter(path, keep_frames=keep_frames) as writer, broadcast.subscribe() as subscription:
            for event in events:
                broadcast.tell(event)
            broadcast.end()
            await writer.listen(session, subscription)

    anyio.run(run)
    told: list[str] = session.told
    return told


def test_all_but_pieces_and_passing_statuses_is_written_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    assert written(path) == []
    transcript = read_transcript(path)
    assert transcript.events == (BEGAN, SEEN, ASKED, ANSWERED, LAST)
    assert (transcript.began, transcript.is_cut) == (BEGAN, False)
    assert transcript.picture(SEEN) is None
    assert [*tmp_path.iterdir()] == [path]
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert lines[1] == {
        "event": "frame_described", "time_s": 1.0, "frame": 1, "sha256": "ab" * 32,
        "description": "A red <b>square</b>.", "captured_s": 0.5, "latency_s": 0.5,
    }  # fmt: skip


def test_frames_are_kept_where_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    written(path, keep_frames=True)
    picture = read_transcript(path).picture(SEEN)
    assert picture == tmp_path / "session.jsonl.frames/000001.jpg"
    with Image.open(picture) as image:
        assert image.size == RED.size


@pytest.mark.parametrize("there", ["session.jsonl", "session.jsonl.frames"])
def test_nothing_is_written_over(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine")
    with pytest.raises(InputError, match=f"{there} is there already; name another file"):
        TranscriptWriter(tmp_path / "session.jsonl", keep_frames=True)
    assert (tmp_path / there).read_text() == "mine"
    assert [each.name for each in tmp_path.iterdir()] == [there]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none/session\.jsonl can't be made: No such file"):
        TranscriptWriter(tmp_path / "none/session.jsonl", keep_frames=False)


def test_a_full_disk_is_told_once_and_what_happened_is_written_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third and the fourth line don't fit; of the third, half was written."""
    path, write = tmp_path / "session.jsonl", os.write
    outcomes: Iterator[str] = iter(["", "", "half", "full", "full"])

    def filling(file: int, data: bytes) -> int:
        outcome = next(outcomes, "")
        if outcome == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(file, data[: len(data) // 2] if outcome == "half" else data)

    monkeypatch.setattr(os, "write", filling)
    told = written(path)
    assert told[0].startswith(f"transcript: {path} can't be written: No space left on device; what happens is kept")
    assert [line.split(":")[0] for line in told] == ["transcript", "transcript", "works"]  # the journal says it once
    assert read_transcript(path).events == (BEGAN, SEEN, ASKED, ANSWERED, LAST)


def test_a_line_cut_off_by_a_power_cut_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    written(path)
    path.write_bytes(path.read_bytes()[:-9])
    transcript = read_transcript(path)
    assert transcript.events == (BEGAN, SEEN, ASKED, ANSWERED)
    assert transcript.is_cut
    assert "its end is missing" in build_page(transcript)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "nothing is in it"),
        (b"# notes\n", "line 1: it is no JSON"),
        (b"[" * 5000 + b"\n", "line 1: it is no JSON"),
        (b'{"event": "source_ended", "time_s": 1}\n{"event": "else"}\n', "line 2: event: 'else' is none"),
        (b'{"event": "source_ended", "time_s": "1"}\n', "line 1: event: source_ended.time_s"),
        (b"\xff\xfe\n", "line 1: it is no JSON"),
        (b'"' + b"x" * (1 << 20) + b'"\n', "a line is longer than"),
    ],
)
def test_what_is_no_transcript_is_named_by_its_line(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "session.jsonl"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message):
        read_transcript(path)
    with pytest.raises(InputError, match=r"can't be read|no regular file|folder"):
        read_transcript(tmp_path)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("transcript") / "session.jsonl"
    path.write_bytes(b'{"event": "source_ended", "time_s": 1}\n' + data)
    try:
        events = read_transcript(path).events
    except InputError:
        return
    assert events[0] == SourceEnded(1.0)


def test_it_is_played_in_its_own_time(tmp_path: Path) -> None:
    """At double speed, by a clock that goes on only where somebody sleeps: 0.5 s to the description, 0.5 to the
    question, 0.25 to the answer, 0.25 to the end."""
    path, shown, slept = tmp_path / "session.jsonl", list[str](), list[float]()
    written(path)
    transcript = read_transcript(path)
    replay(transcript, 2.0, shown.append, now=lambda: sum(slept), sleep=slept.append)
    assert shown == [
        "00:00 watching cat.mp4 with tiny, answers by tiny",
        "00:01 A red <b>square</b>.",
        "00:02 ? What is <this>?",
        "00:02 > A red square. [looked at frame 1]",
        "5.0 fps | 15 seen: 1 described, 4 unchanged, 10 dropped",
    ]
    assert slept == [0.5, 0.5, 0.25, 0.25]
    replay(transcript, float("inf"), shown.append, sleep=slept.append)
    assert len(slept) == 4


def test_the_page_shows_all_of_it_as_text(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    written(path, keep_frames=True)
    page = build_page(read_transcript(path))
    for text in (
        "A red &lt;b&gt;square&lt;/b&gt;.",
        "What is &lt;this&gt;?",
        "spoken; looked at frame 1",
        "Watching cat.mp4",
    ):
        assert text in page
    assert page.count("data:image/jpeg;base64,") == 1
    assert "<b>square" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_a_picture_that_is_none_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    written(path, keep_frames=True)
    (tmp_path / "session.jsonl.frames/000001.jpg").write_bytes(b"none")
    assert "data:image" not in build_page(read_transcript(path))
