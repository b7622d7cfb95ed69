"""Events as lines of text."""

from __future__ import annotations

from omnilmm_lite.errors import escaped
from omnilmm_lite.live.events import (
    AnswerEnded,
    Event,
    FrameDescribed,
    QuestionAsked,
    Recovered,
    SessionBegan,
    SourceEnded,
    Stage,
    Status,
    Summarised,
    Trouble,
)

SHOWN_LATENCIES = (Stage.DESCRIBE, Stage.LISTEN, Stage.ANSWER, Stage.SPEAK)


def timeline_line(event: Event) -> str | None:
    """What the timeline shows of an event, without what a terminal would obey; None for what it doesn't show."""
    text = _text(event)
    return None if text is None else f"{clock(event.time_s)} {escaped(text)}"


def status_line(status: Status) -> str:
    """The pipeline in one line."""
    counts = (
        f"{status.fps:.1f} fps | {status.captured} seen: {status.described} described, {status.unchanged} unchanged, "
        f"{status.dropped} dropped"
    )
    latencies = [
        f"{stage.value} {found.last_s:.2f} s (95 %: {found.p95_s:.2f})"
        for stage in SHOWN_LATENCIES
        if (found := status.latency(stage)) is not None
    ]
    waiting = [f"{status.waiting_questions} questions wait"] if status.waiting_questions > 1 else []
    return " | ".join([counts, *latencies, *waiting])


def clock(seconds: float) -> str:
    """Minutes and seconds, with hours where there are some."""
    whole = max(int(seconds), 0)
    hours = f"{whole // 3600}:" if whole >= 3600 else ""
    return f"{hours}{whole // 60 % 60:02}:{whole % 60:02}"


def _text(event: Event) -> str | None:
    match event:
        case SessionBegan():
            said = [f"watching {event.source} with {event.model}", f"answers by {event.text_model}"]
            said += [f"ears: {event.ears}"] if event.ears != "none" else []
            said += [f"voice: {event.voice}"] if event.voice != "none" else []
            return ", ".join(said)
        case FrameDescribed():
            return " ".join(event.description.split()) or "(nothing)"
        case QuestionAsked():
            return f"? {' '.join(event.text.split())}"
        case AnswerEnded():
            looked = "" if event.looked_at is None else f" [looked at frame {event.looked_at}]"
            cut = " [interrupted]" if event.interrupted else ""
            return f"> {' '.join(event.text.split())}{looked}{cut}"
        case Summarised():
            return f"= {' '.join(event.text.split())}"
        case Trouble():
            return f"! {event.stage.value}: {event.message}"
        case Recovered():
            return f"! {event.stage.value}: works again"
        case SourceEnded():
            return "(no more frames)"
        case _:
            return None
