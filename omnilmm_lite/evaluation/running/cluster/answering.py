"""The driver: hands pictures and questions to Ray Data, and gives the answers in the questions' order."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

from omnilmm_lite.cluster.briefing import Briefing, brief
from omnilmm_lite.cluster.connection import connected, prepare_data
from omnilmm_lite.cluster.nodes import driver_label
from omnilmm_lite.cluster.options import ClusterOptions
from omnilmm_lite.cluster.shares import shares
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.evaluation.running.cluster.task import ReadTasks
from omnilmm_lite.evaluation.running.cluster.worker import EvalWorker, Terms
from omnilmm_lite.evaluation.running.question import Question, by_picture
from omnilmm_lite.evaluation.running.replies import QuestionOutcome
from omnilmm_lite.evaluation.running.respondent import Reply
from omnilmm_lite.model_source import BundleSource, ModelSource


def bundle_source(source: ModelSource) -> BundleSource:
    """InputError for a checkpoint."""
    if isinstance(source, BundleSource):
        return source
    raise InputError(f"--ray: {source.name} is a checkpoint, and nodes are given bundles; convert it first")


class AnsweringOnCluster:
    """One stream for all benchmarks, so that each worker loads its model once."""

    def __init__(
        self,
        options: ClusterOptions,
        source: BundleSource,
        terms: Terms,
        waits: Sequence[Sequence[Question]],
        note: Callable[[str], None],
        on_begin: Callable[[float], None],
    ) -> None:
        """`waits`: each benchmark's questions, in the order in which `answers` is to be asked for them. The cluster is
        reached with the first answer. `note` gets a line where a node has another device than it was to have;
        `on_begin` is told with the first answers how many seconds ago a worker had begun."""
        self._options, self._source, self._terms = options, source, terms
        self._note, self._on_begin = note, on_begin
        groups = [group for questions in waits for group in by_picture(questions)]
        self._questions = [question for group in groups for question in group]
        numbers = map(str, range(len(self._questions)))
        self._pictures = [{next(numbers): question for question in group} for group in groups]
        self._arrived: dict[int, dict[str, Any]] = {}  # until their turn
        self._turn = 0
        self._stream = self._arriving()

    def answers(self, questions: Sequence[Question]) -> Iterator[QuestionOutcome]:
        """What becomes of each; those about one picture together. OmniLMMError, one line, where the cluster fails."""
        for _ in questions:
            answer = self._answer(self._turn)
            question = self._questions[self._turn]
            self._turn += 1
            error = answer.get("error")
            yield QuestionOutcome(question, Reply(**answer) if error is None else None, error)

    def close(self) -> None:
        """Lets go of the cluster."""
        self._stream.close()

    def _answer(self, number: int) -> dict[str, Any]:
        while number not in self._arrived:
            if (found := next(self._stream, None)) is None:
                raise OmniLMMError("--ray: the cluster ended before all was answered; the same command goes on")
            self._arrived[found[0]] = found[1]  # what comes twice is looked at once
        return self._arrived.pop(number)

    def _arriving(self) -> Generator[tuple[int, dict[str, Any]], None, None]:
        remarks: set[str | None] = {None}
        is_begun = False
        given = self._source.given
        with connected(self._options.address) as ray:
            briefing = brief(ray, self._source.bundle, self._options, None if given is None else str(given))
            for table in self._stages(ray, briefing).iter_batches(batch_size=None, batch_format="pyarrow"):
                if not is_begun:
                    is_begun = True
                    self._on_begin(ray.get(briefing.kept.seconds.remote()))
                rows = table.to_pylist()
                for batch in {row["batch"] for row in rows}:
                    briefing.kept.forget.remote(batch)
                for row in rows:
                    if row["remark"] not in remarks:
                        remarks.add(row["remark"])
                        self._note(row["remark"])
                    yield int(row["number"]), json.loads(row["answer"])

    def _stages(self, ray: Any, briefing: Briefing) -> Any:
        """Pictures are read where the data is, by tasks that take no share of a processor: they wait for disks."""
        prepare_data(ray)
        machine, size = self._terms.machine, self._options.batch
        share = shares(ray, self._source.bundle, machine["device"], machine["threads"], self._options.workers)
        batches = [self._pictures[start : start + size] for start in range(0, len(self._pictures), size)]
        workers = min(share.workers, len(batches))
        return (
            ray.data.from_items([{"batch": each} for each in range(len(batches))], override_num_blocks=len(batches))
            .map_batches(
                ReadTasks(batches).__call__,
                batch_size=None,
                batch_format="pyarrow",
                num_cpus=0,
                compute=ray.data.TaskPoolStrategy(size=min(2 * workers, len(batches))),
                label_selector=driver_label(ray),
            )
            .map_batches(
                EvalWorker,
                fn_constructor_args=(briefing, self._terms),
                batch_size=None,
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=2),
                **share.resources,
            )
        )
