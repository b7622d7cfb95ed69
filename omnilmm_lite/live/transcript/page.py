"""A transcript as one HTML file that needs no network: figures, latencies, and the timeline with its pictures."""

from __future__ import annotations

import base64
import io
import math
import time
from collections.abc import Iterator, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from statistics import median

from PIL import Image

from omnilmm_lite.live.events import (
    AnswerEnded,
    Event,
    FrameDescribed,
    QuestionAsked,
    Recovered,
    SourceEnded,
    StatusChanged,
    Summarised,
    Trouble,
)
from omnilmm_lite.live.terminal.lines import clock
from omnilmm_lite.live.transcript.chart import latencies, scatter
from omnilmm_lite.live.transcript.reading import Transcript
from omnilmm_lite.quality.document import document, figure
from omnilmm_lite.version import __version__

THUMBNAIL = (240, 240)
MOST_PICTURES = 1500  # of 8 kB each or so
LARGEST = 64 << 20  # pixels; a frame that was kept has far fewer


def build_page(transcript: Transcript) -> str:
    """The page as one HTML document."""
    began = transcript.began
    title = "A live session" if began is None else f"Watching {began.source}"
    body = "\n".join([
        f"<header><h1>{escape(title)}</h1><p>{escape(_subtitle(transcript))}</p></header>",
        _tiles(transcript.events),
        _latencies(transcript.events),
        _timeline(transcript),
        f"<footer>omnilmm-lite {escape(__version__)}</footer>",
    ])  # fmt: skip
    style = resources.files("omnilmm_lite.live.transcript").joinpath("page.css").read_text(encoding="utf-8")
    return document(title, body, pictures=True, style=style)


def _subtitle(transcript: Transcript) -> str:
    began, last = transcript.began, transcript.events[-1]
    parts = [] if began is None else [time.strftime("%Y-%m-%d %H:%M", time.localtime(began.started_at)), began.model]
    if began is not None and began.text_model != began.model:
        parts.append(f"answers by {began.text_model}")
    parts.append(clock(last.time_s))
    return "; ".join(parts) + ("; its end is missing" if transcript.is_cut else "")


def _tiles(events: Sequence[Event]) -> str:
    described = [event for event in events if isinstance(event, FrameDescribed)]
    answers = [event for event in events if isinstance(event, AnswerEnded)]
    statuses = [event.status for event in events if isinstance(event, StatusChanged)]
    tiles = {
        "description" if len(described) == 1 else "descriptions": str(len(described)),
        "question" if len(answers) == 1 else "questions": str(len(answers)),
    }
    if statuses:
        tiles["frames unchanged"], tiles["frames dropped"] = str(statuses[-1].unchanged), str(statuses[-1].dropped)
    if described:
        tiles["frame to description, median"] = f"{median(event.latency_s for event in described):.2f} s"
    if firsts := [event.first_piece_s for event in answers if event.first_piece_s is not None]:
        tiles["question to first word, median"] = f"{median(firsts):.2f} s"
    cells = "".join(f"<div><b>{value}</b><span>{name}</span></div>" for name, value in tiles.items())
    return f'<section class="tiles">{cells}</section>'


def _latencies(events: Sequence[Event]) -> str:
    series = latencies(events)
    if not series:
        return ""
    legend = {each.name: each.css for each in series}
    return figure("How long it took", legend, scatter(series), "Each point is a description or an answer.")


def _timeline(transcript: Transcript) -> str:
    questions = {event.question_id: event for event in transcript.events if isinstance(event, QuestionAsked)}
    shown = _shown_pictures(transcript)
    items = "".join(
        f"<li><time>{clock(event.time_s)}</time>{item}</li>"
        for event in transcript.events
        if (item := _item(event, questions, shown)) is not None
    )
    return f'<section><h2>What happened</h2><ol class="timeline">{items}</ol></section>'


def _item(event: Event, questions: dict[int, QuestionAsked], pictures: dict[int, Path]) -> str | None:
    match event:
        case FrameDescribed():
            image = _image(pictures.get(event.frame))
            return f'<div class="seen">{image}<div><p>{escape(event.description)}</p></div></div>'
        case AnswerEnded():
            asked = questions.get(event.question_id)
            question = "" if asked is None else f"<p><b>{escape(asked.text)}</b></p>"
            notes = "; ".join(_answer_notes(event, asked))
            return (
                f'<div class="asked">{question}<p>{escape(event.text)}</p><p><small>{escape(notes)}</small></p></div>'
            )
        case Summarised():
            return f'<p class="summary">{escape(event.text)}</p>'
        case Trouble():
            return f'<p class="trouble">{escape(event.stage.value)}: {escape(event.message)}</p>'
        case Recovered():
            return f'<p class="trouble">{escape(event.stage.value)}: works again</p>'
        case SourceEnded():
            return '<p class="summary">no more frames</p>'
        case _:
            return None


def _answer_notes(event: AnswerEnded, asked: QuestionAsked | None) -> Iterator[str]:
    if asked is not None and asked.spoken:
        yield "spoken"
    if event.looked_at is not None:
        yield f"looked at frame {event.looked_at}"
    if event.first_piece_s is not None:
        yield f"first word after {event.first_piece_s:.2f} s"
    yield f"{event.total_s:.2f} s in all"
    if event.interrupted:
        yield "interrupted"


def _shown_pictures(transcript: Transcript) -> dict[int, Path]:
    """By frame; every second or third where there are too many for a page."""
    described = [event for event in transcript.events if isinstance(event, FrameDescribed)]
    kept = [(event.frame, path) for event in described if (path := transcript.picture(event)) is not None]
    return dict(kept[:: max(1, math.ceil(len(kept) / MOST_PICTURES))])


def _image(path: Path | None) -> str:
    """Nothing where there is none, or none that can be read."""
    if path is None:
        return ""
    data = io.BytesIO()
    try:
        with Image.open(path, formats=["JPEG"]) as image:
            if math.prod(image.size) > LARGEST:
                return ""
            image.thumbnail(THUMBNAIL)
            image.save(data, "JPEG", quality=75)
    except (OSError, Image.DecompressionBombError):
        return ""
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}">'
