"""The page: whole, offline, and with what it has to show, whatever stands in the answers."""

from __future__ import annotations

import base64
import contextlib
import io
import math
import re
from pathlib import Path

import pytest
from PIL import Image

from omnilmm_lite.evaluation.benchmark import Benchmark, Profile
from omnilmm_lite.evaluation.data.pictures import FilePicture
from omnilmm_lite.evaluation.item import Item, Prediction
from omnilmm_lite.evaluation.report.browser import MOST_SHOWN, SIDE, Browser
from omnilmm_lite.evaluation.report.charts import RADAR_HEIGHT, RADIUS, radar
from omnilmm_lite.evaluation.report.page import build_page
from omnilmm_lite.evaluation.report.published import CARD, PUBLISHED
from omnilmm_lite.evaluation.running.contents import Report, Section
from omnilmm_lite.evaluation.running.question import Question
from omnilmm_lite.evaluation.running.scored import Scored
from omnilmm_lite.evaluation.running.session import Session
from omnilmm_lite.evaluation.scoring import seedbench
from omnilmm_lite.evaluation.scoring.result import Result, Score
from omnilmm_lite.quality.svg import WIDTH
from omnilmm_lite.sampling_params import SamplingParams
from tests.paths import ROOT
from tests.quality.test_page import parse

NASTY = '</details><script>alert(1)</script><img src="https://example.org/x.png">'
PICTURE = ROOT / "examples" / "pictures" / "owl-on-a-photo.jpg"


def report_of(texts: list[str], picture: Path = PICTURE) -> Report:
    """SEED-Bench questions whose right answer is A, and these answers to them."""
    items = [
        Item(str(n), NASTY, answer="A", options={"A": "x", "B": NASTY}, category=f"kind {n % 2}",
             pictures=(FilePicture(picture),))
        for n in range(len(texts))
    ]  # fmt: skip
    predictions = tuple(Prediction(item, text) for item, text in zip(items, texts, strict=True))
    questions = tuple(Question(item, item.question) for item in items)
    result = seedbench.score(predictions, Profile.VEK2402)
    scored = Scored(Benchmark.SEEDBENCH, questions, predictions, (), result, "")
    session = Session(Benchmark.SEEDBENCH, Path("SEEDBench_IMG.tsv"), (), questions)
    return Report(f"m{NASTY}", None, Profile.VEK2402, SamplingParams.greedy(), "", (Section(session, scored),))


def page_of(report: Report) -> str:
    with contextlib.closing(Browser()) as browser:
        return build_page(report, browser)


def test_whole_and_offline_whatever_is_in_it() -> None:
    page = page_of(report_of(["A", "B", NASTY, "", "\ud800 \x00 \U0001f600" * 3]))
    found = parse(page)
    tags = [tag for tag, _ in found.tags]
    assert "script" not in tags
    for _, attributes in found.tags:
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:").startswith("data:")
    policies = [attributes for tag, attributes in found.tags if tag == "meta" and "http-equiv" in attributes]
    assert policies[0]["content"] == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert "prefers-color-scheme: dark" in page
    assert "4 wrong answers" in found.text
    assert tags.count("img") == 4


def test_published_rows_name_their_sources() -> None:
    found = parse(page_of(report_of(["A"])))
    for published in PUBLISHED:
        assert published.short_source in found.text
    assert CARD in found.text
    assert "1 wrong answer" not in found.text and "No wrong answers." in found.text
    assert "1 wrong answer" in parse(page_of(report_of(["B"]))).text


def test_the_limit_is_stated() -> None:
    page = page_of(report_of(["B"] * (MOST_SHOWN + 3)))
    assert f"{MOST_SHOWN + 3} wrong answers, the first {MOST_SHOWN} shown" in page
    assert page.count("<img ") == MOST_SHOWN


def test_pictures_keep_their_shape() -> None:
    """As it was, but for the squash to the tower's square and back, and JPEG."""
    (uri,) = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page_of(report_of(["B"])))
    shown = Image.open(io.BytesIO(base64.b64decode(uri))).convert("RGB")
    original = Image.open(PICTURE).convert("RGB")
    longest = max(original.size)
    assert shown.size == tuple(round(SIDE * side / longest) for side in original.size)
    mean = [sum(image.resize((1, 1), Image.Resampling.BOX).tobytes()) / 3 for image in (shown, original)]
    assert mean[0] == pytest.approx(mean[1], abs=3)


def test_a_picture_that_is_gone_is_said(tmp_path: Path) -> None:
    assert "no picture" in page_of(report_of(["B"], tmp_path / "gone.png"))


def _result(benchmark: Benchmark, value: float) -> Result:
    return Result(benchmark, Profile.VEK2402, (Score("x", value, 1),), (), (), 0)


def test_the_radar_ends_at_the_best_figure() -> None:
    """MME is the axis straight up: half of Qwen-VL-Plus's 2183.4 is half way; MMMU, the third of eight, straight
    right, where twice GPT-4V's 56.8 is the end and GPT-4V half way."""
    plot, legend = radar("mine@1", [_result(Benchmark.MME, 2183.4 / 2), _result(Benchmark.MMMU, 113.6)])
    dots = {
        (kind, float(x), float(y)) for kind, x, y in re.findall(r'class="dot (\w+)" cx="([\d.]+)" cy="([\d.]+)"', plot)
    }
    middle = (WIDTH / 2, RADAR_HEIGHT / 2)
    assert {dot for dot in dots if dot[0] == "mine"} == {
        ("mine", middle[0], middle[1] - RADIUS / 2),
        ("mine", middle[0] + RADIUS, middle[1]),
    }
    assert (legend["GPT-4V"], middle[0] + RADIUS / 2, middle[1]) in dots
    assert len(legend) == 8
    assert all(math.dist(dot[1:], middle) <= RADIUS + 0.1 for dot in dots)


def test_classic_chair_stands_on_no_axis_of_published_figures() -> None:
    plot, _ = radar("mine@1", [_result(Benchmark.OBJHAL, 100.0)])
    assert 'class="dot mine"' not in plot
    assert ">90.3<" in plot  # the axis ends at the card's
