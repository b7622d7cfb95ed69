"""How a run uses a judge: a server, replies that lie in a file already, or none; and the requests for any other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.benchmark import Benchmark
from omnilmm_lite.evaluation.item import Prediction
from omnilmm_lite.evaluation.judge.client import JudgeClient
from omnilmm_lite.evaluation.judge.mmhal import write_responses
from omnilmm_lite.evaluation.judge.request import read_batch, write_batch
from omnilmm_lite.evaluation.running.judging import NOT_COMPARABLE, RUBRICS, check_rubric, judge_requests, score_replies
from omnilmm_lite.evaluation.running.notes import Notes
from omnilmm_lite.evaluation.running.scored import Judged
from omnilmm_lite.evaluation.running.session import Session
from omnilmm_lite.evaluation.scoring.result import Result

NOBODY = "none"
REPLIES, RESPONSES = "judge.jsonl", "mmhal-responses.json"


class JudgeUse:
    """`tokens`: what a server has counted, by benchmark and whose answers were judged."""

    def __init__(
        self,
        judge: str,
        model: str,
        key: str | None,
        export: Path | None,
        folder: Path,
        progress: Notes,
    ) -> None:
        """`judge`: NOBODY, a URL, or a file of replies. `export`: where requests are written. InputError where that
        can't be."""
        self.tokens: dict[tuple[Benchmark, str], tuple[int, int]] = {}
        self._model, self._export, self._folder, self._progress = model, export, folder, progress
        self._replies = Path(judge) if judge != NOBODY and Path(judge).is_file() else None
        self._make_client: Callable[[], JudgeClient] | None = None
        if judge != NOBODY and self._replies is None:
            self._make_client = partial(JudgeClient, judge, model, folder / REPLIES, key, progress.note)
            self._make_client()  # the URL is a good one
        if export is not None and not export.absolute().parent.is_dir():
            raise InputError(f"--export-judge-requests: {export.parent} doesn't exist; make it, or name another place")

    def check(self, benchmarks: Mapping[Benchmark, Path], *, two_models: bool) -> None:
        """InputError where one file would stand for several benchmarks or models, or where a judge's instruction is
        missing."""
        judged = [each for each in benchmarks if each in RUBRICS]
        if judged and two_models and self._replies is not None:
            raise InputError(
                f"--judge: {self._replies} holds replies about one model; leave out --against, or give a URL"
            )
        if len(judged) > 1 and (self._replies is not None or self._export is not None):
            raise InputError(
                f"one file holds one benchmark's requests or replies; name {judged[0]} or {judged[1]} alone"
            )
        if self._make_client is not None or self._export is not None:
            for each in judged:
                check_rubric(each, benchmarks[each])

    def of(self, session: Session, whose: str) -> Judged | None:
        """What judges these answers; None where nobody does."""
        if session.benchmark not in RUBRICS or (self._make_client is None and self._replies is None):
            return None
        return lambda predictions: self._judge(session, whose, predictions)

    def write(self, session: Session, predictions: Sequence[Prediction]) -> None:
        """What others are to judge: the requests where they were asked for, and MMHal-Bench's own file if all is
        answered."""
        if session.benchmark not in RUBRICS:
            return
        if self._export is not None:
            write_batch(self._export, judge_requests(session.benchmark, session.path, predictions), self._model)
        if session.benchmark is Benchmark.MMHAL and len(predictions) == len(session.questions):
            try:
                write_responses(session.path, predictions, self._folder / RESPONSES)
            except InputError as error:
                self._progress.note(f"{RESPONSES} is not written: {error}")

    def _judge(self, session: Session, whose: str, predictions: Sequence[Prediction]) -> Result:
        benchmark, items = session.benchmark, [each.item for each in predictions]
        if self._make_client is None:
            assert self._replies is not None  # `of` has looked
            name = f"replies in {self._replies.name}"
            texts = read_batch(self._replies, [each.index for each in items])
        else:
            with self._make_client() as client:
                name = client.name
                requests = judge_requests(benchmark, session.path, predictions)
                self._progress.stage(f"{benchmark}, judge", len(requests))
                replies = client.ask(requests, self._progress.step)
            counted = [each.tokens for each in replies if each.tokens is not None]
            self.tokens[benchmark, whose] = (sum(each[0] for each in counted), sum(each[1] for each in counted))
            texts = [each.text for each in replies]
        result = score_replies(benchmark, items, texts, name)
        return replace(result, notes=(*result.notes, NOT_COMPARABLE.format(judge=name)))
