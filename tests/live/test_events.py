"""Events keep what they say through JSON, and what is none is refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from PIL import Image

from omnilmm_lite.errors import InputError
from omnilmm_lite.live.events import (
    AnswerEnded,
    AnswerPiece,
    Event,
    FrameDescribed,
    QuestionAsked,
    Recovered,
    SessionBegan,
    SourceEnded,
    SpeakingBegan,
    Stage,
    StageLatency,
    Status,
    StatusChanged,
    Summarised,
    Trouble,
    from_json,
    to_json,
)

STATUS = Status(4.5, 9, 3, 4, 2, 1, (StageLatency(Stage.DESCRIBE, 0.25, 0.5), StageLatency(Stage.ANSWER, 1.0, 2.0)))
FRAME = FrameDescribed(2.0, 7, "ab" * 32, "A cat.", 1.5, 0.5, b"\xff\xd8thumb", Image.new("RGB", (2, 2)))
EVENTS: tuple[Event, ...] = (
    SessionBegan(0.0, 1.8e9, "camera:0", "tiny", "tiny", "none", "pocketsphinx"),
    FRAME,
    QuestionAsked(3.0, 1, "What is \"this\"?\n", True),
    AnswerPiece(3.1, 1, " a"),
    AnswerEnded(3.5, 1, "A cat.", 7, 0.1, 0.5, False),
    AnswerEnded(3.5, 2, "", None, None, 0.5, True),
    SpeakingBegan(3.2, 1, 0.2),
    Summarised(4.0, "Event: a cat."),
    Trouble(5.0, Stage.ANSWER, "gone"),
    Recovered(6.0, Stage.ANSWER),
    SourceEnded(7.0),
    StatusChanged(8.0, STATUS),
)  # fmt: skip


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_json_keeps_an_event(event: Event) -> None:
    assert from_json(json.loads(json.dumps(to_json(event)))) == event


def test_every_event_has_a_name_and_its_time_first() -> None:
    names = [to_json(each)["event"] for each in EVENTS]
    assert names[:2] == ["session_began", "frame_described"]
    assert len(set(names)) == len(EVENTS) - 1
    assert all(list(to_json(each))[1] == "time_s" for each in EVENTS)


def test_a_frame_as_json_holds_the_thumbnail_if_asked_and_never_the_picture() -> None:
    assert to_json(FRAME) == {
        "event": "frame_described", "time_s": 2.0, "frame": 7, "sha256": "ab" * 32, "description": "A cat.",
        "captured_s": 1.5, "latency_s": 0.5, "thumbnail": "/9h0aHVtYg==",
    }  # fmt: skip
    without = to_json(FRAME, thumbnail=False)
    assert "thumbnail" not in without
    found = from_json(without)
    assert isinstance(found, FrameDescribed)
    assert (found.thumbnail, found.picture) == (b"", None)


def test_unknown_fields_are_passed_over() -> None:
    assert from_json({"event": "source_ended", "time_s": 7, "weather": "fine"}) == SourceEnded(7.0)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([], "event: found list"),
        ({}, "event: None is none"),
        ({"event": "party"}, "event: 'party' is none"),
        ({"event": ["x"]}, "is none"),
        ({"event": "source_ended"}, "source_ended: time_s is missing"),
        ({"event": "source_ended", "time_s": "7"}, "source_ended.time_s: found str"),
        ({"event": "source_ended", "time_s": True}, "source_ended.time_s: found bool"),
        ({"event": "trouble", "time_s": 1, "stage": "shop", "message": ""}, "trouble.stage: 'shop' is unknown"),
        ({"event": "trouble", "time_s": 1, "stage": [], "message": ""}, r"trouble.stage: \[\] is unknown"),
        (to_json(FRAME) | {"thumbnail": "%"}, "frame_described.thumbnail: it is no base64"),
        ({"event": "source_ended", "time_s": float("inf")}, "source_ended.time_s: the number is out of range"),
        ({"event": "source_ended", "time_s": float("nan")}, "source_ended.time_s: the number is out of range"),
        ({"event": "source_ended", "time_s": 10**400}, "source_ended.time_s: the number is out of range"),
        (to_json(FRAME) | {"frame": 10**300}, "frame_described.frame: the number is out of range"),
        (to_json(FRAME) | {"frame": 1.5}, "frame_described.frame: found float"),
        (to_json(EVENTS[-1]) | {"status": 3}, "status_changed.status: found int"),
    ],
)
def test_what_is_no_event_is_refused(values: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        from_json(values)


def test_a_status_finds_a_stages_latency() -> None:
    assert STATUS.latency(Stage.ANSWER) == StageLatency(Stage.ANSWER, 1.0, 2.0)
    assert STATUS.latency(Stage.SPEAK) is None
