"""How long things took over a session, as points: descriptions, answers, and the first sound of answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from omnilmm_lite.live.events import AnswerEnded, Event, FrameDescribed, SpeakingBegan
from omnilmm_lite.live.terminal.lines import clock

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 860, 220, 52, 28, 10
STEPS = (1.0, 2.0, 5.0)  # times a power of ten: what an axis' marks are apart
MOST_MARKS = 5


@dataclass(frozen=True)
class Series:
    """Points (seconds of the session, seconds that it took), by a name and its CSS class."""

    name: str
    css: str
    points: Sequence[tuple[float, float]]


def latencies(events: Sequence[Event]) -> list[Series]:
    """Those series that have points."""
    described = [(event.time_s, event.latency_s) for event in events if isinstance(event, FrameDescribed)]
    answers = [event for event in events if isinstance(event, AnswerEnded)]
    answered = [(event.time_s, event.first_piece_s) for event in answers if event.first_piece_s is not None]
    spoken = [(event.time_s, event.first_sound_s) for event in events if isinstance(event, SpeakingBegan)]
    series = (
        Series("frame to description", "s1", described),
        Series("question to first word", "s2", answered),
        Series("question to first sound", "s3", spoken),
    )
    return [each for each in series if each.points]


def scatter(series: Sequence[Series]) -> str:
    """An SVG; the axes begin at 0. `series` has points."""
    longest = max(took for each in series for _, took in each.points)
    end = max(at for each in series for at, _ in each.points)
    step = _step(longest)
    top, last = math.ceil(longest / step) * step or step, end or 1.0

    def x(at: float) -> float:
        return LEFT + (WIDTH - LEFT - 10) * at / last

    def y(took: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * took / top

    marks = [number * step for number in range(round(top / step) + 1)]
    lines = [
        f'<line class="rule" x1="{LEFT}" x2="{WIDTH - 10}" y1="{y(mark):.1f}" y2="{y(mark):.1f}"/>'
        f'<text x="{LEFT - 8}" y="{y(mark) + 4:.1f}" text-anchor="end">{mark:g} s</text>'
        for mark in marks
    ]
    times = [
        f'<text x="{x(at):.1f}" y="{HEIGHT - 8}" text-anchor="{anchor}">{clock(at)}</text>'
        for at, anchor in ((0.0, "start"), (last / 2, "middle"), (last, "end"))
    ]
    dots = [
        f'<circle class="dot {each.css}" cx="{x(at):.1f}" cy="{y(took):.1f}" r="3">'
        f"<title>{escape(each.name)}: {took:.2f} s at {clock(at)}</title></circle>"
        for each in series
        for at, took in each.points
    ]
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join([*lines, *times, *dots])}</svg>'


def _step(longest: float) -> float:
    """The smallest that needs no more than MOST_MARKS."""
    power = 10.0 ** math.floor(math.log10(longest)) / 10 if longest > 0 else 0.1
    while True:
        for factor in STEPS:
            if longest <= factor * power * MOST_MARKS:
                return factor * power
        power *= 10
