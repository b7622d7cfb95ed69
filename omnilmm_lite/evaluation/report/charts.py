"""The page's charts: the card's radar plot, and a bar a category."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from omnilmm_lite.evaluation.benchmark import REQUIREMENTS, Benchmark
from omnilmm_lite.evaluation.report.published import COLUMNS, COMPARABLE, PUBLISHED
from omnilmm_lite.evaluation.scoring.result import Result, Score
from omnilmm_lite.quality.svg import BOTTOM, RIGHT, TOP, WIDTH, Axis, Chart

RADAR_HEIGHT, RADIUS = 440, 160
RINGS = (0.25, 0.5, 0.75, 1.0)
MINE = "mine"  # CSS class
ROW = 24  # pixels
NAMES = 250  # pixels for the categories' names
LONGEST_NAME = 38  # characters
# What a category's figure can reach at most.
FULL = {Benchmark.MME: 200.0, Benchmark.MMHAL: 6.0, Benchmark.LLAVABENCH: 150.0}


def radar(model: str, results: Sequence[Result]) -> tuple[str, dict[str, str]]:
    """The plot and its legend, CSS class by name. Every axis ends at the best figure on it, published or the run's;
    models that lack a figure have no line there, and the run has none where its figure isn't comparable."""
    figures: dict[str, Mapping[Benchmark, float]] = {
        each.name: {benchmark: found[0] for benchmark, found in each.figures.items()} for each in PUBLISHED
    }
    mine = {each.benchmark: each.scores[0].value for each in results if each.benchmark in COMPARABLE}
    best = {column: max(found[column] for found in (*figures.values(), mine) if column in found) for column in COLUMNS}
    legend = {name: f"s{number}" for number, name in enumerate(figures, start=1)} | {model: MINE}
    parts = [f'<svg viewBox="0 0 {WIDTH} {RADAR_HEIGHT}" role="img" aria-label="The benchmarks of the model card">']
    parts += [
        f'<path class="grid ring-line" d="{_path([_place(i, share) for i in range(len(COLUMNS))])}Z"/>'
        for share in RINGS
    ]
    for index, column in enumerate(COLUMNS):
        (x, y), (text_x, text_y) = _place(index, 1.0), _place(index, 1.14)
        parts.append(f'<path class="grid" d="M{WIDTH / 2:g} {RADAR_HEIGHT / 2:g}L{x:.1f} {y:.1f}"/>')
        title = escape(REQUIREMENTS[column].title)
        parts.append(
            f'<text x="{text_x:.1f}" y="{text_y:.1f}" class="{_anchor(text_x)} ink">{title}'
            f'<tspan x="{text_x:.1f}" dy="14" class="soft">{best[column]:g}</tspan></text>'
        )
    for name, found in (*figures.items(), (model, mine)):
        parts += _outline(name, legend[name], {each: found[each] / best[each] for each in COLUMNS if each in found})
    return "".join([*parts, "</svg>"]), legend


def bars(result: Result) -> str:
    """A row a category: its figure, and the interval as a thin line."""
    top = FULL.get(result.benchmark, 100.0)
    height = TOP + ROW * len(result.categories) + BOTTOM
    x, y = Axis(0, top, NAMES, WIDTH - RIGHT - 50), Axis(0, len(result.categories), TOP, height - BOTTOM)
    chart = Chart(f"{REQUIREMENTS[result.benchmark].title} by category", x, y, result.scores[0].name, height=height)
    for row, score in enumerate(result.categories):
        middle = y(row + 0.5)
        chart.row_name(_short(score.name), middle)
        chart.bar(0, score.value, middle, "s1", thick=True)
        if score.interval is not None:
            chart.bar(score.interval.low, score.interval.high, middle, MINE, thick=False)
        chart.row_value(_number(score), middle)
    return chart.render()


def _outline(name: str, kind: str, shares: Mapping[Benchmark, float]) -> list[str]:
    """A line through neighbouring figures, closed where there are all; and a dot at each."""
    places = {index: _place(index, shares[each]) for index, each in enumerate(COLUMNS) if each in shares}
    count = len(COLUMNS)
    path = "".join(
        f"M{_point(places[index])}L{_point(places[(index + 1) % count])}"
        for index in places
        if (index + 1) % count in places
    )
    dots = [
        f'<circle class="dot {kind}" cx="{x:.1f}" cy="{y:.1f}" r="{4 if kind == MINE else 2.5:g}">'
        f"<title>{escape(name)}</title></circle>"
        for x, y in places.values()
    ]
    return [f'<path class="line {kind}" d="{path}"/>', *dots] if path else dots


def _place(index: int, share: float) -> tuple[float, float]:
    """On axis `index`, clockwise from the top."""
    angle = 2 * math.pi * index / len(COLUMNS) - math.pi / 2
    return WIDTH / 2 + share * RADIUS * math.cos(angle), RADAR_HEIGHT / 2 + share * RADIUS * math.sin(angle)


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(map(_point, places))


def _point(place: tuple[float, float]) -> str:
    return f"{place[0]:.1f} {place[1]:.1f}"


def _anchor(x: float) -> str:
    if abs(x - WIDTH / 2) < 1:
        return "middle"
    return "end" if x < WIDTH / 2 else ""


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _number(score: Score) -> str:
    return f"{score.value:.2f}" if abs(score.value) < 10 else f"{score.value:.1f}"
