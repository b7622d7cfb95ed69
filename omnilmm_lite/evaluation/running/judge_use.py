"""How a run uses a judge: a server, replies that lie in a file already, or none; and the requests for any other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.evaluation.benchmark import Benchmark, Profile
from omnilmm_lite.evaluation.counted import counted
from omnilmm_lite.evaluation.item import Prediction
from omnilmm_lite.evaluation.judge.client import JudgeClient
from omnilmm_lite.evaluation.judge.mmhal import write_responses
from omnilmm_lite.evaluation.judge.request import read_batch, write_batch
from omnilmm_lite.evaluation.running.judging import Replies, check_rubric, judge_requests, put_to_judge, rubric_names
from omnilmm_lite.evaluation.running.notes import Notes
from omnilmm_lite.evaluation.running.scored import Judge
from omnilmm_lite.evaluation.running.session import Session

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
        profile: Profile,
        progress: Notes,
    ) -> None:
        """`judge`: NOBODY, a URL, or a file of replies. `export`: where requests are written. InputError where that
        can't be."""
        self.tokens: dict[tuple[Benchmark, str], tuple[int, int]] = {}
        self._model, self._export, self._folder, self._progress = model, export, folder, progress
        self._profile = profile
        self._replies = Path(judge) if judge != NOBODY and Path(judge).is_file() else None
        self._make_client: Callable[[], JudgeClient] | None = None
        if judge != NOBODY and self._replies is None:
            self._make_client = partial(JudgeClient, judge, model, folder / REPLIES, key, progress.note)
            self._make_client()  # the URL is a good one
        if export is not None and self._replies is not None and export.resolve() == self._replies.resolve():
            raise InputError(f"--export-judge-requests: {export} holds the replies of --judge; name another file")
        if export is not None and export.is_dir():
            raise InputError(f"--export-judge-requests: {export} is a folder; name a file")
        if export is not None and not export.absolute().parent.is_dir():
            raise InputError(f"--export-judge-requests: {export.parent} doesn't exist; make it, or name another place")

    def check(self, benchmarks: Mapping[Benchmark, Path], *, two_models: bool) -> None:
        """InputError where no benchmark has a use for the judge, where one file would stand for several benchmarks or
        models, or where a judge's instruction is missing. Says which benchmarks are scored without one."""
        is_asked = self._make_client is not None or self._replies is not None
        if not is_asked and self._export is None:
            return
        option = "--judge" if is_asked else "--export-judge-requests"
        judged = [each for each in benchmarks if rubric_names(each, self._profile)]
        others = [each for each in benchmarks if each not in judged]
        if not judged:
            raise InputError(
                f"{option}: no judge is needed for {' and '.join(others)} by profile {self._profile}; leave it out"
            )
        if two_models and self._replies is not None:
            raise InputError(
                f"--judge: {self._replies} holds replies about one model; leave out --against, or give a URL"
            )
        if len(judged) > 1 and (self._replies is not None or self._export is not None):
            raise InputError(f"one file holds one benchmark's requests or replies; name {' or '.join(judged)} alone")
        if self._make_client is not None or self._export is not None:
            for each in judged:
                check_rubric(each, self._profile, benchmarks[each])
        if others:
            self._progress.note(f"{option}: no judge is needed for {' and '.join(others)} by profile {self._profile}")

    def of(self, session: Session, whose: str) -> Judge | None:
        """What judges these answers; None where nobody does."""
        if self._make_client is None and self._replies is None:
            return None
        if not rubric_names(session.benchmark, self._profile):
            return None
        return lambda predictions: self._judge(session, whose, predictions)

    def tokens_of(self, benchmark: Benchmark) -> tuple[int, int] | None:
        """Asked and replied, about both models where there are two; None where no server was asked."""
        found = [tokens for (of, _), tokens in self.tokens.items() if of is benchmark]
        return (sum(each[0] for each in found), sum(each[1] for each in found)) if found else None

    def write(self, session: Session, predictions: Sequence[Prediction]) -> None:
        """What others are to judge: the requests where they were asked for, and MMHal-Bench's own file if all is
        answered."""
        benchmark = session.benchmark
        if self._export is not None and rubric_names(benchmark, self._profile):
            requests = judge_requests(benchmark, self._profile, session.path, predictions)
            try:
                write_batch(self._export, requests, predictions, self._model)
            except OSError as error:
                raise OmniLMMError(f"{self._export} can't be written: {error.strerror}; name another place") from None
            self._progress.note(f"{self._export}: {counted(len(requests), 'request')} to {benchmark}'s judge")
        if benchmark is Benchmark.MMHAL and len(predictions) == len(session.questions):
            try:
                write_responses(session.path, predictions, self._folder / RESPONSES)
            except InputError as error:
                self._progress.note(f"{RESPONSES} is not written: {error}")

    def _judge(self, session: Session, whose: str, predictions: Sequence[Prediction]) -> Replies:
        benchmark = session.benchmark
        if self._make_client is None:
            assert self._replies is not None  # `of` has looked
            asked = put_to_judge(benchmark, self._profile, predictions)
            texts = read_batch(self._replies, asked)
            by_index = {each.item.index: text for each, text in zip(asked, texts, strict=True)}
            return Replies(f"replies in {self._replies.name}", by_index)
        with self._make_client() as client:
            requests = judge_requests(benchmark, self._profile, session.path, predictions)
            self._progress.stage(f"{benchmark}, judge", len(requests))
            replies = client.ask(requests, self._progress.step)
        spent = [each.tokens for each in replies if each.tokens is not None]
        self.tokens[benchmark, whose] = (sum(each[0] for each in spent), sum(each[1] for each in spent))
        found = zip(requests, replies, strict=True)
        return Replies(client.name, {request.index: reply.text for request, reply in found})
