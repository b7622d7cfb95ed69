"""The page's charts: what a comparison and the conversion's own report look like."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from omnilmm_lite.bundle.report_fields import projections
from omnilmm_lite.quality.compare import Comparison
from omnilmm_lite.quality.report import KIND_NAMES, Report
from omnilmm_lite.quality.statistics import Floats
from omnilmm_lite.quality.svg import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis, Chart

LEAST_KLD = 1e-9  # what is less is drawn there: float32 logits tell no more
BINS_PER_DECADE = 4
DOTS = 4000  # the largest differences and an even choice of the others
ROW = 46  # pixels
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_PROJECTION = re.compile(r"layers\.(\d+)\.\w+\.(\w+)")


@dataclass(frozen=True)
class Figure:
    """A chart with what stands around it. `legend`: name by CSS class."""

    title: str
    text: str
    legend: dict[str, str]
    svg: str


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


def _distribution(comparison: Comparison) -> Figure:
    x = _kld_axis(comparison, LEFT, WIDTH - RIGHT)
    bins = round(np.log10(x.high / x.low)) * BINS_PER_DECADE
    edges = np.geomspace(x.low, x.high, bins + 1)
    edges[[0, -1]] = x.low, x.high  # geomspace may miss its ends by a rounding
    shares = {css: 100 * np.histogram(kld, edges)[0] / len(kld) for css, _, kld in _kinds(comparison)}
    y = Axis(0, max(float(share.max()) for share in shares.values()) * 1.05, HEIGHT - BOTTOM, TOP)
    chart = Chart("Histogram of the KL divergence", x, y, "KL divergence (nats)", "% of positions")
    for css, share in shares.items():
        chart.steps(edges.tolist(), share.tolist(), css)
    return Figure(
        "How far the distributions are apart",
        "Each kind of position adds up to 100 %. Left is better; the scale is logarithmic.",
        {name: css for css, name, _ in _kinds(comparison)},
        chart.render(),
    )


def _by_kind(report: Report, comparison: Comparison) -> Figure:
    kinds = list(_kinds(comparison))
    height = TOP + ROW * len(kinds) + BOTTOM
    x = _kld_axis(comparison, 120, WIDTH - RIGHT)
    y = Axis(0, len(kinds), TOP, height - BOTTOM)
    chart = Chart("KL divergence by kind of position", x, y, "KL divergence (nats)", height=height)
    for row, (css, name, kld) in enumerate(kinds):
        middle = y(row + 0.5)
        low, quarter, half, three_quarters, high = np.quantile(kld, (0.01, 0.25, 0.5, 0.75, 0.99)).tolist()
        chart.row_name(name, middle)
        chart.bar(low, high, middle, css, thick=False)
        chart.bar(quarter, three_quarters, middle, css, thick=True)
        chart.tick(half, middle)
        chart.ring(report.summaries[name].kld_mean.value, middle, css)
    return Figure(
        "By kind of position",
        "Thin: from the 1st to the 99th percentile. Thick: the middle half. Upright: the median. Ring: the mean, which "
        "a few positions may carry.",
        {},
        chart.render(),
    )


def _along(comparison: Comparison) -> Figure:
    y = _kld_axis(comparison, HEIGHT - BOTTOM, TOP)
    x = Axis(0, float(comparison.rows.max()) + 1, LEFT, WIDTH - RIGHT)
    chart = Chart(
        "KL divergence by place in the sequence", x, y, "place in the sequence (tokens)", "KL divergence (nats)"
    )
    order = np.argsort(-comparison.scores.kld, kind="stable")
    worst, others = order[: DOTS // 10], order[DOTS // 10 :]
    chosen = np.concatenate([worst, others[:: -(-len(others) // DOTS) or 1]])
    legend = {}
    for index, (kind, name) in enumerate(KIND_NAMES.items(), start=1):
        of_kind = chosen[comparison.kinds[chosen] == kind]
        if len(of_kind):
            chart.dots([(float(comparison.rows[i]), float(comparison.scores.kld[i])) for i in of_kind], f"s{index}")
            legend[name] = f"s{index}"
    return Figure(
        "Along the sequence",
        "A dot a position. A gap is a picture, whose own tokens nobody predicts; a rise to the right would be error "
        "that adds up.",
        legend,
        chart.render(),
    )


def _by_layer(layers: dict[str, dict[int, float]]) -> Figure:
    errors = [error for by_layer in layers.values() for error in by_layer.values()]
    last = max(max(by_layer) for by_layer in layers.values())
    x = Axis(-0.5, last + 0.5, LEFT, WIDTH - RIGHT, whole=True)
    y = Axis.decades(min(errors), max(errors), HEIGHT - BOTTOM, TOP)
    chart = Chart("Quantization error of each layer", x, y, "decoder layer", "relative squared error")
    legend = {}
    for index, (projection, by_layer) in enumerate(layers.items(), start=1):
        legend[projection] = f"s{index}"
        names = [f"layer {layer}, {projection}: {error:.2e}" for layer, error in by_layer.items()]
        chart.line([(float(layer), error) for layer, error in by_layer.items()], f"s{index}", names)
    return Figure(
        "The conversion's error, layer by layer",
        "Squared error of each quantized projection's output on the calibration data, relative to the output's square, "
        "as the bundle's manifest reports it.",
        legend,
        chart.render(),
    )


def _layer_errors(quantization: Mapping[str, Any] | None) -> dict[str, dict[int, float]]:
    """Projection -> layer -> relative squared error; what isn't understood of the manifest's report is left out."""
    found: dict[str, dict[int, float]] = {}
    for each in projections((quantization or {}).get("projections")):
        place = _PROJECTION.search(each.name)
        if place is not None and place[2] in PROJECTIONS and each.error_to_output > 0:
            found.setdefault(place[2], {})[int(place[1])] = float(each.error_to_output)
    return {name: dict(sorted(found[name].items())) for name in PROJECTIONS if name in found}
