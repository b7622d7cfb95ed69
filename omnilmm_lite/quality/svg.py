"""Just enough SVG for the page's charts: axes, steps, dots, bars. Colours come from the page's CSS classes."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT = 720, 300
NARROW = 360  # for phones: the same in half the width, since a drawing that shrinks takes its letters along
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 10, 44  # margins around the plot
MAX_LABELS = 8  # on an axis of the whole width
NARROW_LABELS = 4
DOT = 12  # pixels that one of a hundred takes


@dataclass(frozen=True)
class Axis:
    """Values to pixels: linear, or logarithmic with whole decades at its ends."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False
    whole: bool = False  # ticks at whole numbers only

    @classmethod
    def decades(cls, smallest: float, largest: float, start: float, end: float) -> Axis:
        """A logarithmic axis that covers two positive values."""
        first = math.floor(math.log10(smallest))
        last = max(first + 1, math.ceil(math.log10(largest)))
        return cls(10.0**first, 10.0**last, start, end, log=True)

    def __call__(self, value: float) -> float:
        """The pixel; values beyond the ends stop there."""
        low, high, value = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        return self.start + (self.end - self.start) * (value - low) / (high - low)

    def ticks(self, most: int = MAX_LABELS) -> list[tuple[float, str]]:
        """Values and their labels, about as many as there is room for."""
        if self.log:
            first, last = round(math.log10(self.low)), round(math.log10(self.high))
            stride = -(-(last - first) // most)
            return [(10.0**power, _power(power)) for power in range(first, last + 1, stride)]
        step = _nice((self.high - self.low) / most)
        if self.whole:
            step = max(step, 1.0)
        whole = range(math.ceil(self.low / step), math.floor(self.high / step) + 1)
        return [(step * i, f"{step * i:g}") for i in whole]


@dataclass
class Chart:
    """One picture under construction; the axes are drawn first, marks over them."""

    label: str  # what a screen reader says
    x: Axis
    y: Axis
    x_title: str
    y_title: str = ""  # empty: rows with names of their own instead of ticks
    height: int = HEIGHT
    width: int = WIDTH
    _marks: list[str] = field(default_factory=list)

    def steps(self, edges: Sequence[float], heights: Sequence[float], kind: str) -> None:
        """A histogram's outline, filled faintly."""
        base, path = self.y(self.y.low), f"M{self.x(edges[0]):.1f} {self.y(self.y.low):.1f}"
        for left, right, height in zip(edges, edges[1:], heights, strict=False):
            path += f"L{self.x(left):.1f} {self.y(height):.1f}H{self.x(right):.1f}"
        self._marks.append(f'<path class="area {kind}" d="{path}V{base:.1f}Z"/>')

    def dots(self, points: Sequence[tuple[float, float]], kind: str) -> None:
        """Many small dots: lines of no length with round ends, which take a dozen bytes each."""
        path = "".join(f"M{self.x(x):.0f} {self.y(y):.0f}h0" for x, y in points)
        self._marks.append(f'<path class="dots {kind}" d="{path}"/>')

    def line(self, points: Sequence[tuple[float, float]], kind: str, names: Sequence[str]) -> None:
        """A line with a dot at each point, which shows its name under the pointer."""
        places = [(self.x(x), self.y(y)) for x, y in points]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        self._marks.append(f'<path class="line {kind}" d="{path}"/>')
        for (x, y), name in zip(places, names, strict=True):
            dot = f'<circle class="dot {kind}" cx="{x:.1f}" cy="{y:.1f}" r="3.5">'
            self._marks.append(f"{dot}<title>{html.escape(name)}</title></circle>")

    def bar(self, low: float, high: float, y: float, kind: str, *, thick: bool) -> None:
        """A horizontal bar or, if not `thick`, a line, at pixel `y`."""
        height = 14 if thick else 2
        left = self.x(low)
        width = max(self.x(high) - left, 1)
        self._marks.append(
            f'<rect class="bar {kind}" x="{left:.1f}" y="{y - height / 2:.1f}" width="{width:.1f}" height="{height}" '
            f'rx="{min(3, height / 2):g}"/>'
        )

    def tick(self, value: float, y: float) -> None:
        """A short upright line across a bar."""
        self._marks.append(f'<path class="median" d="M{self.x(value):.1f} {y - 10:.1f}v20"/>')

    def ring(self, value: float, y: float, kind: str) -> None:
        self._marks.append(f'<circle class="ring {kind}" cx="{self.x(value):.1f}" cy="{y:.1f}" r="5"/>')

    def row_name(self, name: str, y: float) -> None:
        self._marks.append(
            f'<text x="{self.x.start - 10:g}" y="{y + 4:.1f}" class="end ink">{html.escape(name)}</text>'
        )

    def row_value(self, text: str, y: float) -> None:
        """Behind the plot's right end."""
        self._marks.append(f'<text x="{self.x.end + 8:g}" y="{y + 4:.1f}" class="ink">{html.escape(text)}</text>')

    def render(self) -> str:
        floor = self.height - BOTTOM
        parts = [f'<svg viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{html.escape(self.label)}">']
        for value, label in self.x.ticks(MAX_LABELS if self.width >= WIDTH else NARROW_LABELS):
            x = self.x(value)
            parts.append(f'<path class="grid" d="M{x:.1f} {TOP}V{floor}"/>')
            parts.append(f'<text x="{x:.1f}" y="{floor + 17}" class="middle">{label}</text>')
        for value, label in self.y.ticks() if self.y_title else ():
            y = self.y(value)
            parts.append(f'<path class="grid" d="M{self.x.start} {y:.1f}H{self.x.end}"/>')
            parts.append(f'<text x="{self.x.start - 8:g}" y="{y + 4:.1f}" class="end">{label}</text>')
        middle = (TOP + floor) / 2
        parts.append(f'<path class="base" d="M{self.x.start} {floor}H{self.x.end}"/>')
        parts += self._marks
        x_middle = (self.x.start + self.x.end) / 2
        parts.append(f'<text x="{x_middle:g}" y="{self.height - 8}" class="middle">{html.escape(self.x_title)}</text>')
        if self.y_title:
            turned = f'transform="rotate(-90 14 {middle:g})"'
            parts.append(f'<text x="14" y="{middle:g}" class="middle" {turned}>{html.escape(self.y_title)}</text>')
        return "".join([*parts, "</svg>"])


def dots(full: int) -> str:
    """A hundred dots in four rows, the first `full` of them full."""
    parts = [f'<svg class="hundred" viewBox="0 0 {25 * DOT} {4 * DOT}" role="img" aria-label="{full} of 100">']
    for at in range(100):
        across, down = DOT * (at // 4 + 0.5), DOT * (at % 4 + 0.5)
        css = "full" if at < full else "open"
        parts.append(f'<circle class="{css}" cx="{across:g}" cy="{down:g}" r="{DOT * 0.34:g}"/>')
    return "".join([*parts, "</svg>"])


def _power(power: int) -> str:
    if -3 <= power <= 3:
        return f"{10.0**power:g}"
    return f'10<tspan dy="-5" class="power">{"&minus;" if power < 0 else ""}{abs(power)}</tspan>'


def _nice(step: float) -> float:
    """The next of 1, 2, 5, 10, ... that isn't below `step`."""
    power = 10.0 ** math.floor(math.log10(step))
    return power * next(factor for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))
