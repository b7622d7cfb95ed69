"""What Ray Data runs on a node with a model: a batch of pictures and questions, answered."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property

from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.caption.scale.preparing import Preparing
from omnilmm_lite.cluster.briefing import Briefing
from omnilmm_lite.cluster.finished_rows import Row
from omnilmm_lite.cluster.kept_batch import LOST, KeptBatch
from omnilmm_lite.evaluation.running.cluster.task import Table, Task, tasks_of
from omnilmm_lite.evaluation.running.replies import Loaded, QuestionOutcome, replies
from omnilmm_lite.evaluation.running.respondent import Respondent
from omnilmm_lite.model_source import BundleSource, MachineOptions
from omnilmm_lite.pipeline.parallel import Parallel
from omnilmm_lite.pipeline.width import Width
from omnilmm_lite.sampling_params import SamplingParams

ALONE = Width(1, is_measured=False)


@dataclass(frozen=True)
class Terms:
    """How a model is loaded and asked."""

    machine: MachineOptions
    parallel: Parallel
    params: SamplingParams


class EvalWorker:
    """An actor's class: a table of tasks -> one of answers. It goes on where a lost worker was."""

    def __init__(self, briefing: Briefing, terms: Terms) -> None:
        self._briefing, self._terms = briefing, terms

    @cached_property
    def _respondent(self) -> Respondent:
        """Made with the first batch: what an actor raises while it is made is printed by Ray, and tried again.
        InputError where node and driver differ, or the bundle isn't the driver's; what `load` raises."""
        folder, terms = self._briefing.bundle_folder(), self._terms
        source = BundleSource(folder, Bundle.find(folder))
        slots = terms.parallel.slots(source, terms.machine)
        return Respondent(source.load({**terms.machine, "parallel": slots}), terms.params, terms.parallel.width(slots))

    @cached_property
    def _preparing(self) -> Preparing:
        """As the benchmarks' own kits, whose scores these follow."""
        return Preparing(self._respondent.model.config.vision, ignore_colour_profile=True)

    def __call__(self, table: Table) -> Table:
        device = self._respondent.model.device
        remark = f"device: {device.placement} ({device.reason})" if device.is_fallback else None
        tasks = tasks_of(table)
        numbers = [number for task in tasks for number in task.questions]
        kept = self._briefing.begin(f"{numbers[0]}-{numbers[-1]}" if numbers else "")
        if kept.is_fatal:
            _give_up(kept, tasks)
        for asked in self._asked([*_remaining(kept, tasks)], one_by_one=kept.is_again):
            kept.add(asked.question.item.index, _row(asked))
        kept.settle()
        return _answer_table(kept, numbers, remark)

    def _asked(self, tasks: Sequence[Task], *, one_by_one: bool) -> Iterator[QuestionOutcome]:
        with closing(self._loaded(tasks)) as loaded:
            if not one_by_one:
                yield from replies(self._respondent, loaded)
                return
            for each in loaded:  # of several at once, none could be told to have ended the last worker
                for question in each.questions:
                    yield from replies(self._respondent, [Loaded([question], each.picture, each.error)], ALONE)

    def _loaded(self, tasks: Sequence[Task]) -> Generator[Loaded, None, None]:
        """Each in its turn, the next picture made ready meanwhile."""
        with closing(self._preparing.ahead(each.picture for each in tasks if each.picture is not None)) as ready:
            for task in tasks:
                questions = [*task.questions.values()]
                if task.picture is None:
                    yield Loaded(questions, None, task.error)
                else:
                    found = next(ready)
                    yield Loaded(questions, found.picture, found.error)


def _remaining(kept: KeptBatch, tasks: Sequence[Task]) -> Iterator[Task]:
    """Without the questions that have an answer."""
    for task in tasks:
        if left := {number: each for number, each in task.questions.items() if number not in kept.rows}:
            yield replace(task, questions=left)


def _give_up(kept: KeptBatch, tasks: Sequence[Task]) -> None:
    """Marks what comes next: the question where one about its picture was answered, else all about the picture, of
    which each would end as many workers."""
    for task in tasks:
        left = [number for number in task.questions if number not in kept.rows]
        if left:
            is_readable = any("text" in kept.rows[number] for number in task.questions.keys() - left)
            for number in left[:1] if is_readable else left:
                kept.add(number, {"error": LOST})
            kept.settle()
            return


def _row(asked: QuestionOutcome) -> Row:
    """A line of the prediction file, but for what the driver knows."""
    if asked.reply is None:
        return {"error": asked.error or ""}
    return vars(asked.reply)


def _answer_table(kept: KeptBatch, numbers: Sequence[str], remark: str | None) -> Table:
    import pyarrow

    rows = [{"number": each, "answer": json.dumps(kept.rows[each])} for each in numbers]
    told = {"batch": kept.name, "remark": remark}
    schema = pyarrow.schema([(name, pyarrow.string()) for name in ("number", "answer", "batch", "remark")])
    return pyarrow.Table.from_pylist([{**row, **told} for row in rows], schema)
