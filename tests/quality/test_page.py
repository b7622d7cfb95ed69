"""The page is one whole file that asks nothing of the network, whatever is in it."""

from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnilmm_lite.quality.charts import DOTS, figures
from omnilmm_lite.quality.compare import Comparison
from omnilmm_lite.quality.data import EvaluationSequence, Kind
from omnilmm_lite.quality.measure import Measurement
from omnilmm_lite.quality.page import build_page
from omnilmm_lite.quality.report import DataFacts, Difference, Report, build_report
from omnilmm_lite.quality.statistics import Scores
from omnilmm_lite.quality.svg import BOTTOM, HEIGHT, TOP, Axis
from omnilmm_lite.text.tokenizer import Tokenizer
from tests.paths import ROOT
from tests.small_checkpoint import TINY

VOID = {"meta", "br", "img"}


def projection(name: str, error: Any) -> dict[str, Any]:
    return {"name": name, "bits": 4, "group_size": 128, "error_to_rounding": 0.5, "error_to_output": error}


PROJECTIONS: list[Any] = [
    projection(f"model.layers.{layer}.{name}", 10.0 ** -(layer + 1))
    for layer in range(3)
    for name in ("self_attn.q_proj", "mlp.down_proj")
]


class Nesting(HTMLParser):
    """Collects tags, and complains where one is closed that isn't open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def comparison_of(positions: int, kld: float | None = None, kinds: int = 3) -> Comparison:
    random = np.random.default_rng(0)
    half = np.full(positions, np.log(0.5))
    return Comparison(
        samples=tuple(EvaluationSequence(tuple([5] * (positions // 4 + 2)), Path("a.png")) for _ in range(4)),
        scores=Scores(
            kld=10.0 ** random.uniform(-12, 1, positions) if kld is None else np.full(positions, kld),
            log_p_base=half,
            log_p=half + 0.1 * random.standard_normal(positions),
            top_base=np.full(positions, 5),
            top=random.integers(5, 7, positions),
        ),
        sequences=np.arange(positions) % 4,
        rows=np.arange(positions) // 4,
        kinds=np.arange(positions) % kinds,
    )


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(ROOT / "omnilmm_lite" / "builtin" / "tiny" / "tokenizer.json")


def report_of(comparison: Comparison, tokenizer: Tokenizer) -> Report:
    facts = DataFacts("data.jsonl", 4, 4, 0, None)
    return build_report(comparison, "model", "original", "cpu", facts, tokenizer, TINY)


def page_of(comparison: Comparison, tokenizer: Tokenizer, quantization: Any = None, **changes: Any) -> str:
    report = dataclasses.replace(report_of(comparison, tokenizer), **changes)
    return build_page(Measurement(report, comparison, quantization))


def parse(page: str) -> Nesting:
    nesting = Nesting()
    nesting.feed(page)
    assert nesting.open == []
    return nesting


def test_whole_and_offline(tokenizer: Tokenizer) -> None:
    page = page_of(comparison_of(400), tokenizer, {"projections": PROJECTIONS})
    nesting = parse(page)
    names = {name for _, attributes in nesting.tags for name in attributes}
    assert names.isdisjoint({"src", "href", "srcset", "action", "data", "onload", "onclick"})
    assert {tag for tag, _ in nesting.tags}.isdisjoint({"script", "link", "iframe", "img", "object", "base", "form"})
    assert not re.search(r"https?:|url\(|@import", page)
    assert "prefers-color-scheme: dark" in page
    assert [tag for tag, _ in nesting.tags].count("svg") == 1 + 2 * 4  # the verdict's, and each chart in two widths
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ET.fromstring(svg.replace("&minus;", "-"))  # well-formed
    assert "nan" not in nesting.text.lower()


def test_names_and_answers_are_text(tokenizer: Tokenizer) -> None:
    evil = '<script>alert(1)</script>"&'
    found = Difference(evil, evil, evil, evil, evil, 0.5, 0.5, 1.0, "answer")
    facts = DataFacts(evil, 1, 1, 1, evil)
    page = page_of(
        comparison_of(40), tokenizer, model=evil, base=evil, device=evil, data=facts, largest_differences=(found,)
    )
    nesting = parse(page)
    assert "script" not in {tag for tag, _ in nesting.tags}
    assert nesting.text.count(evil) > 8


def test_every_position_the_same(tokenizer: Tokenizer) -> None:
    comparison = comparison_of(40, kld=0.0)
    page = page_of(comparison, tokenizer)
    parse(page)
    assert page.count("<svg") == 1  # the verdict's
    assert "None: the two are the same" in page


@pytest.mark.parametrize(("positions", "kld", "kinds"), [(1, 0.3, 1), (4, 1e-3, 1), (7, 50.0, 3)])
def test_few_positions(tokenizer: Tokenizer, positions: int, kld: float, kinds: int) -> None:
    comparison = comparison_of(positions, kld, kinds)
    nesting = parse(page_of(comparison, tokenizer))
    assert [tag for tag, _ in nesting.tags].count("svg") == 2 * 3 + (kinds > Kind.ANSWER)
    assert "nan" not in nesting.text.lower()


def test_dots_have_a_limit_and_hold_the_worst(tokenizer: Tokenizer) -> None:
    comparison = comparison_of(30000)
    along = figures(report_of(comparison, tokenizer), comparison, None)[-1].svg
    assert DOTS // 2 < along.count("h0") < 1.2 * DOTS
    worst = sorted(comparison.scores.kld)[-1]
    y = Axis.decades(1e-9, worst, HEIGHT - BOTTOM, TOP)(worst)
    assert f" {y:.0f}h0" in along


@pytest.mark.parametrize(
    "quantization",
    [
        None,
        {},
        {"projections": None},
        {"projections": 3},
        {"projections": [3, {}, projection("lm_head", 1), {"name": "model.layers.0.mlp.up_proj"}]},
        {"projections": [projection("model.layers.0.mlp.up_proj", bad) for bad in (None, 0, "x", True)]},
        {"projections": [projection("model.layers.0.mlp.up_proj", float("nan"))]},
    ],
)
def test_a_manifest_without_a_report_that_can_be_drawn(tokenizer: Tokenizer, quantization: Any) -> None:
    comparison = comparison_of(40)
    assert len(figures(report_of(comparison, tokenizer), comparison, quantization)) == 3


def test_layers_are_drawn_in_order_and_named(tokenizer: Tokenizer) -> None:
    comparison = comparison_of(40)
    chart = figures(report_of(comparison, tokenizer), comparison, {"projections": PROJECTIONS[::-1]})[-1]
    assert list(chart.legend) == ["q_proj", "down_proj"]
    titles = re.findall(r"<title>(.*?)</title>", chart.svg)
    assert titles[:3] == [f"layer {layer}, q_proj: 1.00e-0{layer + 1}" for layer in range(3)]
    (line,) = re.findall(r'class="line s1" d="M([^"]*)"', chart.svg)
    places = [tuple(map(float, place.split())) for place in line.split("L")]
    assert sorted(places) == places  # left to right, downwards


@given(st.floats(1e-9, 1e3), st.floats(1, 1e9))
def test_decades_cover_both_ends(smallest: float, ratio: float) -> None:
    axis = Axis.decades(smallest, smallest * ratio, 0, 100)
    assert axis.low <= smallest * (1 + 1e-9)
    assert axis.high >= smallest * ratio * (1 - 1e-9)
    assert 0 <= axis(smallest) <= axis(smallest * ratio) <= 100
    assert 2 <= len(axis.ticks()) <= 12


@given(st.floats(0, 100), st.floats(1e-3, 1e5))
def test_linear_ticks_lie_on_the_axis(low: float, span: float) -> None:
    axis = Axis(low, low + span, 10, 110)
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= 10
    assert all(low - 1e-6 <= value <= low + span + 1e-6 for value, _ in ticks)
    assert axis(low) == 10
    assert axis(low + span) == pytest.approx(110)
    assert axis(low - 5) == 10


def test_both_palettes_have_every_colour() -> None:
    style = (ROOT / "omnilmm_lite" / "quality" / "page.css").read_text(encoding="utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    colours = [set(re.findall(r"--(\w+):", part)) for part in (light, dark)]
    assert colours[0] == colours[1]
