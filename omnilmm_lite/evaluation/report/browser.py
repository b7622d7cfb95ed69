"""Answers to look at, with their pictures: the wrong ones, and those on which two models differ."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass

from PIL import Image

from omnilmm_lite.config import VisionConfig
from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.benchmark import Benchmark
from omnilmm_lite.evaluation.item import Item
from omnilmm_lite.evaluation.running.contents import Section
from omnilmm_lite.evaluation.running.scored import Scored
from omnilmm_lite.evaluation.scoring.mmbench import question_of
from omnilmm_lite.evaluation.scoring.result import Verdict
from omnilmm_lite.picture.decoding_process import DecodingProcess
from omnilmm_lite.picture.file import PictureFile
from omnilmm_lite.picture.preprocess import square_of

MOST_SHOWN = 50  # of a kind, a benchmark
VIEW = VisionConfig()  # pictures are taken from the square of the full model, whichever model has answered
SIDE, QUALITY = 160, 70  # of what is shown: pixels, JPEG


@dataclass(frozen=True)
class Given:
    """An answer: whose, what it says, and what was read from it."""

    model: str
    text: str
    extracted: str | None


@dataclass(frozen=True)
class Seen:
    """A question with its answers. `picture` is a data URI; None where it can't be read."""

    index: str
    prompt: str
    right: str | None
    answers: tuple[Given, ...]
    picture: str | None


@dataclass(frozen=True)
class Shelf:
    """The first of `total` answers of a kind, MOST_SHOWN at most."""

    seen: tuple[Seen, ...]
    total: int


class Browser:
    """Makes shelves. A picture is decoded once, by a process of its own, which `close` ends."""

    def __init__(self) -> None:
        self._decoding = DecodingProcess(ignore_colour_profile=True)  # what the model was shown
        self._pictures: dict[str, str | None] = {}

    def close(self) -> None:
        """No shelf can be made any more."""
        self._decoding.close()

    def wrong(self, model: str, scored: Scored) -> Shelf:
        """What the model answered wrong, in the data's order."""
        rows = [row for row in _rows(scored) if not row[1].correct]
        return Shelf(tuple(self._seen(scored, [(model, row)]) for row in rows[:MOST_SHOWN]), len(rows))

    def flips(self, models: tuple[str, str], section: Section) -> Shelf:
        """What one model has right and the other wrong. Of MMBench's rotations, the first that they differ on."""
        base, mine, comparison = section.base, section.scored, section.comparison
        if base is None or comparison is None:
            return Shelf((), 0)
        by_question: dict[str, list[tuple[_Row, _Row]]] = {}
        for pair in zip(_rows(base), _rows(mine), strict=True):
            by_question.setdefault(_question(mine.benchmark, pair[0][0]), []).append(pair)
        seen = []
        for flip in comparison.flips[:MOST_SHOWN]:
            pairs = by_question[flip.index]
            chosen = next((pair for pair in pairs if pair[0][1].correct != pair[1][1].correct), pairs[0])
            seen.append(self._seen(mine, list(zip(models, chosen, strict=True))))
        return Shelf(tuple(seen), len(comparison.flips))

    def _seen(self, scored: Scored, answers: Iterable[tuple[str, _Row]]) -> Seen:
        given = [(model, *row) for model, row in answers]
        item = given[0][1]
        prompt = next((each.prompt for each in scored.questions if each.item.index == item.index), item.question)
        return Seen(
            item.index,
            prompt,
            item.answer,
            tuple(Given(model, text, verdict.extracted) for model, _, verdict, text in given),
            self._picture(item),
        )

    def _picture(self, item: Item) -> str | None:
        if not item.pictures:
            return None
        picture = item.pictures[0]
        if picture.key not in self._pictures:
            try:
                prepared = self._decoding.prepare(PictureFile(picture.read()), VIEW)
                self._pictures[picture.key] = _data_uri(square_of(prepared.pixels), prepared.size)
            except InputError:
                self._pictures[picture.key] = None
        return self._pictures[picture.key]


_Row = tuple[Item, Verdict, str]


def _rows(scored: Scored) -> list[_Row]:
    """Item, verdict and answer of each prediction, in their order."""
    verdicts = () if scored.result is None else scored.result.verdicts
    return [(each.item, verdict, each.text) for each, verdict in zip(scored.predictions, verdicts, strict=True)]


def _question(benchmark: Benchmark, item: Item) -> str:
    """As a flip has it."""
    return str(question_of(item)) if benchmark is Benchmark.MMBENCH else item.index


def _data_uri(square: Image.Image, size: tuple[int, int]) -> str:
    """In the picture's own shape again, SIDE at most."""
    width, height = (max(1, round(SIDE * side / max(size))) for side in size)
    small = square.resize((width, height))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
