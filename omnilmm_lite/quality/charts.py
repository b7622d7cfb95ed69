"""The page's charts: what a comparison and the conversion's own report look like."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from omnilmm_lite.bundle.report_fields import projections
from omnilmm_lite.quality.compare import Comparison
from omnilmm_lite.quality.report import KIND_NAMES, Report
from omnilmm_lite.quality.statistics import Floats
from omnilmm_lite.quality.svg import BOTTOM, HEIGHT, LEFT, NARROW, RIGHT, TOP, WIDTH, Axis, Chart

LEAST_KLD = 1e-9  # what is less is drawn there: float32 logits tell no more
BINS_PER_DECADE = 4
DOTS = 4000  # the largest differences and an even choice of the others
ROW = 46  # pixels
NAMES = 104  # pixels, of the kinds' names
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_PROJECTION = re.compile(r"layers\.(\d+)\.\w+\.(\w+)")


@dataclass(frozen=True)
class Figure:
    """A chart with what stands around it. `legend`: CSS class by name; `narrow`: the same for a phone."""

    title: str
    text: str
    legend: dict[str, str]
    svg: str
    narrow: str


def figures(report: Report, comparison: Comparison, quantization: Mapping[str, Any] | None) -> list[Figure]:
    """The charts of a comparison, without those that would be empty."""
    charts: list[Figure] = []
    if comparison.scores.kld.max() > LEAST_KLD:
        charts += [_distribution(comparison), _by_kind(report, comparison), _along(comparison)]
    layers = _layer_errors(quantization)
    return [*charts, _by_layer(layers)] if layers else charts


def _kinds(comparison: Comparison) -> Iterable[tuple[str, str, Floats]]:
    """CSS class, name and divergences of each kind that occurs."""
    for index, (kind, name) in enumerate(KIND_NAMES.items(), start=1):
        which = comparison.kinds == kind
        if which.any():
            yield f"s{index}", name, np.maximum(comparison.scores.kld[which], LEAST_KLD)


def _kld_axis(comparison: Comparison, start: float, end: float) -> Axis:
    kld = np.maximum(comparison.scores.kld, LEAST_KLD)
    return Axis.decades(float(kld.min()), float(kld.max()), start, end)


def _both(draw: Callable[[int], str]) -> dict[str, str]:
    """The fields of a figure that `draw` fills, given a width."""
    return {"svg": draw(WIDTH), "narrow": draw(NARROW)}


def _distribution(comparison: Comparison) -> Figure:
    x = _kld_axis(comparison, 0, 1)
    bins = round(np.log10(x.high / x.low)) * BINS_PER_DECADE
    edges = np.geomspace(x.low, x.high, bins + 1)
    edges[[0, -1]] = x.low, x.high  # geomspace may miss its ends by a rounding
    shares = {css: 100 * np.histogram(kld, edges)[0] / len(kld) for css, _, kld in _kinds(comparison)}
    y = Axis(0, max(float(share.max()) for share in shares.values()) * 1.05, HEIGHT - BOTTOM, TOP)

    def draw(width: int) -> str:
        across = _kld_axis(comparison, LEFT, width - RIGHT)
        chart = Chart(
            "Histogram of the KL divergence", across, y, "KL divergence (nats)", "% of positions", width=width
        )
        for css, share in shares.items():
            chart.steps(edges.tolist(), share.tolist(), css)
        return chart.render()

    return Figure(
        "How far the distributions are apart",
        "Each kind of position adds up to 100 %. Left is better; the scale is logarithmic.",
        {name: css for css, name, _ in _kinds(comparison)},
        **_both(draw),
    )


def _by_kind(report: Report, comparison: Comparison) -> Figure:
    kinds = list(_kinds(comparison))
    height = TOP + ROW * len(kinds) + BOTTOM
    y = Axis(0, len(kinds), TOP, height - BOTTOM)

    def draw(width: int) -> str:
        x = _kld_axis(comparison, NAMES, width - RIGHT)
        title = "KL divergence by kind of position"
        chart = Chart(title, x, y, "KL divergence (nats)", height=height, width=width)
        for row, (css, name, kld) in enumerate(kinds):
            middle = y(row + 0.5)
            low, quarter, half, three_quarters, high = np.quantile(kld, (0.01, 0.25, 0.5, 0.75, 0.99)).tolist()
            chart.row_name(name, middle)
            chart.bar(low, high, middle, css, thick=False)
            chart.bar(quarter, three_quarters, middle, css, thick=True)
            chart.tick(half, middle)
            chart.ring(report.summaries[name].kld_mean.value, middle, css)
        return chart.render()

    return Figure(
        "By kind of position",
        "Thin: from the 1st to the 99th percentile. Thick: the middle half. Upright: the median. Ring: the mean, which "
        "a few positions may carry.",
        {},
        **_both(draw),
    )


def _along(comparison: Comparison) -> Figure:
    y = _kld_axis(comparison, HEIGHT - BOTTOM, TOP)
    order = np.argsort(-comparison.scores.kld, kind="stable")
    worst, others = order[: DOTS // 10], order[DOTS // 10 :]
    chosen = np.concatenate([worst, others[:: -(-len(others) // DOTS) or 1]])
    legend, points = {}, {}
    for index, (kind, name) in enumerate(KIND_NAMES.items(), start=1):
        of_kind = chosen[comparison.kinds[chosen] == kind]
        if len(of_kind):
            legend[name] = css = f"s{index}"
            points[css] = [(float(comparison.rows[i]), float(comparison.scores.kld[i])) for i in of_kind]

    def draw(width: int) -> str:
        x = Axis(0, float(comparison.rows.max()) + 1, LEFT, width - RIGHT)
        title = "KL divergence by place in the sequence"
        chart = Chart(title, x, y, "place in the sequence (tokens)", "KL divergence (nats)", width=width)
        for css, of_kind in points.items():
            chart.dots(of_kind, css)
        return chart.render()

    return Figure(
        "Along the sequence",
        "A dot a position. A gap is a picture, whose own tokens nobody predicts; a rise to the right would be error "
        "that adds up.",
        legend,
        **_both(draw),
    )


def _by_layer(layers: dict[str, dict[int, float]]) -> Figure:
    errors = [error for by_layer in layers.values() for error in by_layer.values()]
    last = max(max(by_layer) for by_layer in layers.values())
    y = Axis.decades(min(errors), max(errors), HEIGHT - BOTTOM, TOP)
    legend = {projection: f"s{index}" for index, projection in enumerate(layers, start=1)}

    def draw(width: int) -> str:
        x = Axis(-0.5, last + 0.5, LEFT, width - RIGHT, whole=True)
        title = "Quantization error of each layer"
        chart = Chart(title, x, y, "decoder layer", "relative squared error", width=width)
        for projection, by_layer in layers.items():
            names = [f"layer {layer}, {projection}: {error:.2e}" for layer, error in by_layer.items()]
            chart.line([(float(layer), error) for layer, error in by_layer.items()], legend[projection], names)
        return chart.render()

    return Figure(
        "The conversion's error, layer by layer",
        "Squared error of each quantized projection's output on the calibration data, relative to the output's square, "
        "as the bundle's manifest reports it.",
        legend,
        **_both(draw),
    )


def _layer_errors(quantization: Mapping[str, Any] | None) -> dict[str, dict[int, float]]:
    """Projection -> layer -> relative squared error; what isn't understood of the manifest's report is left out."""
    found: dict[str, dict[int, float]] = {}
    for each in projections((quantization or {}).get("projections")):
        place = _PROJECTION.search(each.name)
        if place is not None and place[2] in PROJECTIONS and each.error_to_output > 0:
            found.setdefault(place[2], {})[int(place[1])] = float(each.error_to_output)
    return {name: dict(sorted(found[name].items())) for name in PROJECTIONS if name in found}
