"""What happens in a live session: the contract between the session and its faces, the transcript and the page.

Each event is a frozen dataclass with `time_s`, seconds since the session began, and has a form as a JSON object:
`{"event": NAME, ...fields}`. What only lives in memory, a frame's picture, is in no JSON.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from typing import Any, TypeAlias

from PIL import Image

from omnilmm_lite.errors import InputError

NAME_KEY = "event"
LARGEST = 9e9  # of numbers: seconds that a clock has, and beyond all counts


class Stage(Enum):
    """A part of the pipeline, by the name that people and files see."""

    CAPTURE = "capture"
    DESCRIBE = "describe"
    ANSWER = "answer"
    SUMMARISE = "summarise"
    LISTEN = "listen"
    SPEAK = "speak"
    TRANSCRIPT = "transcript"


@dataclass(frozen=True)
class StageLatency:
    """How long a stage took. CAPTURE: from a frame's capture to the status that counts it; DESCRIBE: from a frame's
    capture to its description; LISTEN: from an utterance's end to its text; ANSWER: from a question's end to the
    answer's first piece; SPEAK: from a question's end to the first sound; SUMMARISE: the summary itself."""

    stage: Stage
    last_s: float
    p95_s: float  # of the last hundred


@dataclass(frozen=True)
class Status:
    """The pipeline's counts since the session began. `captured` = described + unchanged + dropped + those on their
    way (waiting or being described)."""

    fps: float  # frames captured a second, over the last seconds
    captured: int
    described: int
    unchanged: int  # skipped, as they look like the frame that was described last
    dropped: int  # overtaken by a newer frame, or by a question
    waiting_questions: int  # asked, not answered yet
    latencies: tuple[StageLatency, ...] = ()  # of the stages that have run, in Stage's order

    def latency(self, stage: Stage) -> StageLatency | None:
        """None where the stage hasn't run yet."""
        return next((each for each in self.latencies if each.stage is stage), None)


@dataclass(frozen=True)
class SessionBegan:
    """The first event."""

    time_s: float
    started_at: float  # Unix seconds at time_s 0
    source: str
    model: str
    text_model: str
    voice: str  # "none", or its name
    ears: str


@dataclass(frozen=True)
class FrameDescribed:
    time_s: float  # when the description was there
    frame: int  # the frame's number
    sha256: str  # of the frame's RGB bytes, see `Frame.sha256`
    description: str
    captured_s: float  # when the frame was captured, seconds since the session began
    latency_s: float  # time_s - captured_s
    thumbnail: bytes = field(default=b"", repr=False)  # JPEG; empty where a transcript left it out
    picture: Image.Image | None = field(default=None, repr=False, compare=False)  # RGB; not in JSON; see `Subscription`


@dataclass(frozen=True)
class QuestionAsked:
    time_s: float
    question_id: int  # from 1
    text: str
    spoken: bool


@dataclass(frozen=True)
class AnswerPiece:
    time_s: float
    question_id: int
    text: str


@dataclass(frozen=True)
class AnswerEnded:
    """Every question has one, also where it failed (then there is a Trouble, too) or was interrupted; but those that
    were open when the session was stopped."""

    time_s: float
    question_id: int
    text: str  # all of it
    looked_at: int | None  # the number of the frame that the model looked at; None: answered from descriptions
    first_piece_s: float | None  # from the question's end; None where no piece came
    total_s: float  # from the question's end
    interrupted: bool


@dataclass(frozen=True)
class SpeakingBegan:
    """The first sound of an answer went to the loudspeaker."""

    time_s: float
    question_id: int
    first_sound_s: float  # from the question's end


@dataclass(frozen=True)
class Summarised:
    time_s: float
    text: str


@dataclass(frozen=True)
class Trouble:
    """A stage can't do its work, and goes on trying unless it says otherwise. One line. Once, until it recovers."""

    time_s: float
    stage: Stage
    message: str


@dataclass(frozen=True)
class Recovered:
    """The stage works again."""

    time_s: float
    stage: Stage


@dataclass(frozen=True)
class SourceEnded:
    """No more frames will come; questions are still answered."""

    time_s: float


@dataclass(frozen=True)
class StatusChanged:
    """At most ten a second; a slow listener gets the newest one only."""

    time_s: float
    status: Status


Event: TypeAlias = (
    SessionBegan
    | FrameDescribed
    | QuestionAsked
    | AnswerPiece
    | AnswerEnded
    | SpeakingBegan
    | Summarised
    | Trouble
    | Recovered
    | SourceEnded
    | StatusChanged
)

_CLASSES: dict[str, type[Event]] = {
    "session_began": SessionBegan,
    "frame_described": FrameDescribed,
    "question_asked": QuestionAsked,
    "answer_piece": AnswerPiece,
    "answer_ended": AnswerEnded,
    "speaking_began": SpeakingBegan,
    "summarised": Summarised,
    "trouble": Trouble,
    "recovered": Recovered,
    "source_ended": SourceEnded,
    "status_changed": StatusChanged,
}
_NAMES = {kind: name for name, kind in _CLASSES.items()}
_IN_MEMORY = "picture"  # the field that no JSON has
_THUMBNAIL = "thumbnail"


def to_json(event: Event, *, thumbnail: bool = True) -> dict[str, Any]:
    """The event as a JSON object; `thumbnail`: its JPEG as base64 text, or else left out."""
    values = {NAME_KEY: _NAMES[type(event)]}
    for each in dataclasses.fields(event):
        if each.name == _IN_MEMORY or (each.name == _THUMBNAIL and not thumbnail):
            continue
        values[each.name] = _plain(getattr(event, each.name))
    return values


def from_json(values: object) -> Event:
    """The event that `to_json` wrote; fields that it doesn't know are passed over, those with defaults may be absent.

    InputError, beginning with "event: ", where it is none.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"event: found {type(values).__name__} where an object belongs")
    name = values.get(NAME_KEY)
    kind = _CLASSES.get(name) if isinstance(name, str) else None
    if kind is None:
        raise InputError(f"event: {name!r} is none; known are {', '.join(_CLASSES)}")
    event: Event = _made(kind, values, f"event: {name}")
    return event


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if dataclasses.is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    return value


def _made(kind: Any, values: Mapping[str, object], where: str) -> Any:
    found = {}
    for name, (read, has_default) in _readers(kind).items():
        if name in values:
            found[name] = read(values[name], f"{where}.{name}")
        elif not has_default:
            raise InputError(f"{where}: {name} is missing")
    return kind(**found)


@cache
def _readers(kind: Any) -> dict[str, tuple[Callable[[object, str], Any], bool]]:
    """Of each field: what reads its value, and whether it may be absent."""
    hints = typing.get_type_hints(kind)
    readers = {}
    for each in dataclasses.fields(kind):
        if each.name != _IN_MEMORY:
            readers[each.name] = (_reader(hints[each.name]), each.default is not dataclasses.MISSING)
    return readers


def _reader(hint: Any) -> Callable[[object, str], Any]:
    if typing.get_origin(hint) is types.UnionType:  # `int | None`
        inner = _reader(next(each for each in typing.get_args(hint) if each is not type(None)))
        return lambda value, where: None if value is None else inner(value, where)
    if typing.get_origin(hint) is tuple:
        item = _reader(typing.get_args(hint)[0])
        return lambda value, where: tuple(item(each, where) for each in _checked(value, list, where))
    if dataclasses.is_dataclass(hint):
        return lambda value, where: _made(hint, _checked(value, Mapping, where), where)
    if hint is bytes:
        return _bytes
    if hint is float:
        return lambda value, where: float(_number(value, (int, float), where))
    if hint is int:
        return lambda value, where: _number(value, int, where)
    if issubclass(hint, Enum):
        return lambda value, where: _member(hint, value, where)
    return lambda value, where: _checked(value, hint, where)


def _bytes(value: object, where: str) -> bytes:
    try:
        return base64.b64decode(_checked(value, str, where), validate=True)
    except binascii.Error:
        raise InputError(f"{where}: it is no base64") from None


def _member(kind: Any, value: object, where: str) -> Any:
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(str(each.value) for each in kind)
        raise InputError(f"{where}: {value!r} is unknown; known are {known}") from None


def _number(value: object, kind: Any, where: str) -> Any:
    if not -LARGEST <= (number := _checked(value, kind, where)) <= LARGEST:  # nor is what is no number
        raise InputError(f"{where}: the number is out of range")
    return number


def _checked(value: object, kind: Any, where: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise InputError(f"{where}: found {type(value).__name__}, which doesn't belong there")
    return value
