"""What a terminal shows of each event."""

from __future__ import annotations

import pytest

from omnilmm_lite.live.events import (
    AnswerEnded,
    AnswerPiece,
    Event,
    FrameDescribed,
    QuestionAsked,
    Recovered,
    SessionBegan,
    SourceEnded,
    Stage,
    StageLatency,
    Status,
    StatusChanged,
    Summarised,
    Trouble,
)
from omnilmm_lite.live.terminal.lines import clock, status_line, timeline_line

STATUS = Status(24.96, 120, 14, 80, 24, 1, (StageLatency(Stage.CAPTURE, 0.01, 0.02),))


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (SessionBegan(0, 0, "camera:0", "tiny", "llama", "none", "none"),
         "00:00 watching camera:0 with tiny, answers by llama"),
        (SessionBegan(0, 0, "screen", "tiny", "tiny", "piper", "vosk:x"),
         "00:00 watching screen with tiny, answers by tiny, ears: vosk:x, voice: piper"),
        (FrameDescribed(61, 3, "", "A cat\n sits.", 60, 1), "01:01 A cat sits."),
        (FrameDescribed(61, 3, "", "", 60, 1), "01:01 (nothing)"),
        (QuestionAsked(3600, 1, "What is this?", True), "1:00:00 ? What is this?"),
        (AnswerEnded(9.9, 1, "A cat.", 3, 0.1, 0.2, False), "00:09 > A cat. [looked at frame 3]"),
        (AnswerEnded(9, 1, "A", None, 0.1, 0.2, True), "00:09 > A [interrupted]"),
        (Summarised(9, "Event: a cat.\nLast Round: none."), "00:09 = Event: a cat. Last Round: none."),
        (Trouble(9, Stage.CAPTURE, "unplugged"), "00:09 ! capture: unplugged"),
        (Recovered(9, Stage.ANSWER), "00:09 ! answer: works again"),
        (SourceEnded(9), "00:09 (no more frames)"),
        (AnswerPiece(9, 1, "x"), None),
        (StatusChanged(9, STATUS), None),
    ],
)  # fmt: skip
def test_the_timeline(event: Event, line: str | None) -> None:
    assert timeline_line(event) == line


def test_no_text_steers_the_terminal() -> None:
    line = timeline_line(FrameDescribed(1, 1, "", "a\x1b[2Jb\x07", 1, 0))
    assert line == r"00:01 a\x1b[2Jb\x07"


def test_the_status_is_one_line() -> None:
    assert status_line(STATUS) == "25.0 fps | 120 seen: 14 described, 80 unchanged, 24 dropped"
    busy = Status(5, 9, 3, 4, 2, 3, (StageLatency(Stage.DESCRIBE, 0.25, 0.5), StageLatency(Stage.SPEAK, 1, 1.25)))
    assert status_line(busy) == (
        "5.0 fps | 9 seen: 3 described, 4 unchanged, 2 dropped | describe 0.25 s (95 %: 0.50) | "
        "speak 1.00 s (95 %: 1.25) | 3 questions wait"
    )


def test_the_clock() -> None:
    assert [clock(each) for each in (-1, 0, 59.99, 3599, 36_061)] == ["00:00", "00:00", "00:59", "59:59", "10:01:01"]
