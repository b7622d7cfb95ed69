"""A run as a whole: every benchmark by the model, then by the one that it is held against, then the scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path

from omnilmm_lite.cluster.options import ClusterOptions
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.evaluation.benchmark import Benchmark, Profile
from omnilmm_lite.evaluation.comparison import compare
from omnilmm_lite.evaluation.predictions import PredictionFile, prediction_settings
from omnilmm_lite.evaluation.running.asking import Answering, AnsweringHere, Asking, waiting
from omnilmm_lite.evaluation.running.cluster.answering import AnsweringOnCluster, bundle_source
from omnilmm_lite.evaluation.running.cluster.worker import Terms
from omnilmm_lite.evaluation.running.contents import Report, Section
from omnilmm_lite.evaluation.running.judge_use import JudgeUse
from omnilmm_lite.evaluation.running.notes import Notes
from omnilmm_lite.evaluation.running.pace import Pace
from omnilmm_lite.evaluation.running.question import Question
from omnilmm_lite.evaluation.running.respondent import Respondent
from omnilmm_lite.evaluation.running.scored import Scored, score_answers
from omnilmm_lite.evaluation.running.session import Part, Session, open_session, some_problems
from omnilmm_lite.files import durable_file
from omnilmm_lite.model_source import BundleSource, MachineOptions, ModelSource
from omnilmm_lite.pipeline.parallel import Parallel
from omnilmm_lite.sampling_params import SamplingParams

ONE = Parallel(1)
MODEL, BASE = "", ".against"  # what the files of a model's answers have in their names


@dataclass(frozen=True)
class Request:
    """What is asked for. `benchmarks`: where each one's data lies; `judge`: see `JudgeUse`; `cluster`: None is
    this machine alone."""

    benchmarks: Mapping[Benchmark, Path]
    folder: Path
    profile: Profile
    part: Part
    params: SamplingParams
    model: ModelSource
    base: ModelSource | None
    machine: MachineOptions
    parallel: Parallel
    judge: str
    judge_model: str
    judge_key: str | None
    export: Path | None
    retry_errors: bool
    cluster: ClusterOptions | None = None


class Run:
    """For who has the folder alone."""

    def __init__(self, request: Request, progress: Notes) -> None:
        """Reads and checks all data, and what was answered before. InputError where something can't be used."""
        self.request, self._progress = request, progress
        self.pace = Pace()
        _make_folder(request.folder)
        self._judge = JudgeUse(
            request.judge,
            request.judge_model,
            request.judge_key,
            request.export,
            request.folder,
            request.profile,
            progress,
        )
        self._judge.check(request.benchmarks, two_models=request.base is not None)
        self._sources = {MODEL: request.model} | ({} if request.base is None else {BASE: request.base})
        self._slots = {name: self._slots_of(name, source) for name, source in self._sources.items()}
        self._widths = {name: self._parallel(name).width(slots) for name, slots in self._slots.items()}
        self._sessions: list[Session] = []
        progress.stage("data", len(request.benchmarks))
        for benchmark, path in request.benchmarks.items():
            session = open_session(benchmark, path, request.profile, request.part)
            for line in some_problems(session.problems):
                progress.note(f"{benchmark}: {line}")
            self._sessions.append(session)
            progress.step(benchmark.value)
        self._files = {
            name: [self._file(session, name, source) for session in self._sessions]
            for name, source in self._sources.items()
        }

    def answer_and_score(self) -> Report:
        """Asks what was not asked yet, and makes everything that a report says. KeyboardInterrupt at any time."""
        for name, source in self._sources.items():
            self._answer(name, source)
        request = self.request
        scored = {name: self._score(name) for name in self._sources}
        bases = scored.get(BASE, [None] * len(self._sessions))
        sections = [
            _section(session, mine, base, self._judge.tokens_of(session.benchmark))
            for session, mine, base in zip(self._sessions, scored[MODEL], bases, strict=True)
        ]
        base_name = None if request.base is None else request.base.identity
        return Report(
            request.model.identity, base_name, request.profile, request.params, str(request.part), tuple(sections)
        )

    def _file(self, session: Session, name: str, source: ModelSource) -> PredictionFile:
        machine = self.request.machine
        settings = {
            **prediction_settings(session.benchmark, self.request.profile, source.identity, self.request.params),
            **{key: machine[key] for key in ("device", "context", "drafts")},
        }
        if (parallel := self._parallel(name)) != ONE:  # rows that run together are rounded otherwise
            settings["parallel"] = str(parallel)
            if machine.get("resident"):  # by which of two graphs, too
                settings["resident"] = True
        return PredictionFile(self.request.folder / f"{session.benchmark}{name}.jsonl", settings)

    def _slots_of(self, name: str, source: ModelSource) -> int:
        """On a cluster the number is checked alone: what a machine has room for is found there."""
        parallel = self._parallel(name)
        if self.request.cluster is not None:
            bundle_source(source)
            parallel = ONE if parallel.answers is None else parallel
        return parallel.slots(source, self.request.machine)

    def _parallel(self, name: str) -> Parallel:
        """A checkpoint that a bundle is held against answers one at a time."""
        is_bundle = isinstance(self._sources[name], BundleSource)
        return ONE if name == BASE and not is_bundle else self.request.parallel

    def _answer(self, name: str, source: ModelSource) -> None:
        """The model is loaded for the first question that waits, and gone at the end."""
        waits = [
            waiting(session.questions, file, retry_errors=self.request.retry_errors)
            for session, file in zip(self._sessions, self._files[name], strict=True)
        ]
        with self._answering(name, source, waits) as answering:
            for session, file, questions in zip(self._sessions, self._files[name], waits, strict=True):
                if questions:
                    self._ask(f"{session.benchmark}, {source.name}", session, Asking(questions, file, answering))
        if told := self._widths[name].told:
            self._progress.note(f"{source.name}: {told}")

    def _ask(self, stage: str, session: Session, asking: Asking) -> None:
        remaining = len(asking.questions)
        self._progress.stage(stage, remaining)
        self.pace.begin()
        told = None
        for asked in asking.run():
            remaining -= 1
            self.pace.count()
            if asked.error not in (None, told):  # a picture has several questions
                self._progress.note(f"{session.benchmark}, {asked.question.item.place}: {asked.error}")
            told = asked.error
            self._progress.step(self.pace.left(remaining))

    def _answering(
        self, name: str, source: ModelSource, waits: Sequence[Sequence[Question]]
    ) -> AbstractContextManager[Answering]:
        request = self.request
        if request.cluster is not None:
            terms = Terms(request.machine, request.parallel, request.params)
            told = (self._progress.note, self.pace.begin)
            return closing(AnsweringOnCluster(request.cluster, bundle_source(source), terms, waits, *told))
        return nullcontext(AnsweringHere(source.config.vision, self._opening(name, source)))

    def _opening(self, name: str, source: ModelSource) -> Callable[[], Respondent]:
        """Loads the model, once."""
        loaded: list[Respondent] = []
        slots, width = self._slots[name], self._widths[name]

        def open_respondent() -> Respondent:
            if not loaded:
                model = source.load({**self.request.machine, "parallel": slots})
                if model.device.is_fallback:
                    self._progress.note(f"device: {model.device.placement} ({model.device.reason})")
                loaded.append(Respondent(model, self.request.params, width))
                self.pace.begin()
            return loaded[0]

        return open_respondent

    def _score(self, name: str) -> list[Scored]:
        scored = []
        for session, file in zip(self._sessions, self._files[name], strict=True):
            judge = self._judge.of(session, name)
            one = score_answers(session.benchmark, self.request.profile, session.path, session.questions, file, judge)
            if name == MODEL:
                self._judge.write(session, one.predictions)
            scored.append(one)
        return scored


def _section(session: Session, mine: Scored, base: Scored | None, tokens: tuple[int, int] | None) -> Section:
    """The base is the first model of the comparison, so "lost" is what this one can't do any more."""
    if base is None or base.result is None or mine.result is None:
        return Section(session, mine, base, None, tokens)
    return Section(session, mine, base, compare(base.result, mine.result), tokens)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"-o: {folder} can't be made ({error.strerror}); name another place") from None
    try:
        durable_file.remove_unfinished(folder)
    except OSError as error:
        raise OmniLMMError(f"{folder}: what a killed run left can't be removed: {error.strerror}") from None
