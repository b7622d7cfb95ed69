"""Jobs whose answers run together in the model's thread."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from omnilmm_lite.answer.batch import AnswerBatch, Outcome, Said, Seat
from omnilmm_lite.answer.generation import Answer, Prompt, TextModel, Timings
from omnilmm_lite.engine.interrupt import Interrupt, Interrupted, interruptible
from omnilmm_lite.engine.vision import ImageFeatures
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.serve.jobs import Failed, Finished, QueuedTask, Task, TextDelta


@dataclass(eq=False)
class Member:
    """A job in its seat. `rest`: the answers that are still to be made for it, one after the other."""

    job: QueuedTask
    features: ImageFeatures | None
    rest: list[Task]
    begun: Finished  # seconds of queue, picture and loading, for its first answer
    seat: Seat = field(init=False)
    told: int = 0  # tokens whose log-probabilities were


class Crew:
    """`fail` makes what a job hears of an error. The model's thread alone uses it, but for `stop`."""

    def __init__(self, batch: AnswerBatch, fail: Callable[[Exception], Failed]) -> None:
        self._batch, self._fail = batch, fail
        self._members: list[Member] = []
        self._lock = threading.Lock()
        self._step: Interrupt | None = None  # of the step under way

    def __len__(self) -> int:
        return len(self._members)

    @property
    def is_decoding(self) -> bool:
        """See `AnswerBatch`, as for `is_prefilling`."""
        return self._batch.is_decoding

    @property
    def has_left(self) -> bool:
        """Whether somebody has gone who still has a seat."""
        return any(member.job.interrupt.is_set for member in self._members)

    @property
    def is_prefilling(self) -> bool:
        return self._batch.is_prefilling

    def join(self, job: QueuedTask, features: ImageFeatures | None, begun: Finished) -> None:
        """Seats the job, whose first piece comes with a step. Errors as of `Answer`."""
        member = Member(job, features, [job.task, *job.task.more], begun)
        self._seat(member)
        with self._lock:
            self._members.append(member)

    def stop(self) -> None:
        """Ends the step under way where everybody in it was cancelled; else they leave behind it."""
        with self._lock:
            if self._step is not None and all(member.job.interrupt.is_set for member in self._members):
                self._step.set()

    def step(self, *, prefills: bool = True) -> Iterator[tuple[QueuedTask, Finished | Failed]]:
        """A token more for everybody, of which they are told, and with `prefills` a piece of a prompt; those jobs that
        ended by it, with what they are to be told last."""
        with self._lock:
            self._step = interrupt = Interrupt()
        self.stop()  # those who were cancelled since the last step
        outcomes: Sequence[Outcome] = ()
        try:
            with interruptible(interrupt):
                outcomes = self._batch.step(prefills=prefills)
        except Interrupted:
            pass  # what was stopped is run again for those who stay
        except Exception as error:
            failed = self._fail(error)
            yield from [(member.job, failed) for member in tuple(self._members) if self._leave(member)]
            return
        members = {member.seat: member for member in self._members}
        for outcome in outcomes:
            if (end := self._take(members[outcome.seat], outcome)) is not None:
                yield members[outcome.seat].job, end
        for member in tuple(self._members):
            if member.job.interrupt.is_set and self._leave(member):
                yield member.job, self._fail(Interrupted("stopped"))

    def _take(self, member: Member, outcome: Outcome) -> Finished | Failed | None:
        """Tells the job what was said; what it is to be told last, where it has ended."""
        answer = member.seat.answer
        if isinstance(outcome, Said):
            member.job.listen(TextDelta(outcome.text, tuple(answer.said[member.told :])))
            member.told = len(answer.said)
            return None
        if outcome.error is not None or answer.finish_reason is None:
            self._leave(member)
            return self._fail(outcome.error or OmniLMMError("the answer has no end"))
        finished = dataclasses.replace(
            member.begun, reason=answer.finish_reason, timings=dataclasses.replace(answer.timings)
        )
        member.begun = dataclasses.replace(member.begun, queue_s=0.0, vision_s=0.0, load_s=0.0, timings=Timings())
        member.rest.pop(0)
        if not member.rest:
            self._leave(member)
            return finished
        member.job.listen(finished)
        try:
            self._seat(member)
        except Exception as error:
            self._leave(member)
            return self._fail(error)
        return None

    def _seat(self, member: Member) -> None:
        task, member.told = member.rest[0], 0
        prompt = Prompt(task.ids, member.features)
        member.seat = self._batch.join(prompt, partial(_answer, prompt, task))

    def _leave(self, member: Member) -> bool:
        """Whether it was there."""
        with self._lock:
            if member not in self._members:
                return False
            self._members.remove(member)
        self._batch.leave(member.seat)
        return True


def _answer(prompt: Prompt, task: Task, text: TextModel) -> Answer:
    return Answer(
        text, prompt, task.params, task.stop, task.grammar,
        logit_bias=task.logit_bias, top_logprobs=task.top_logprobs, continues=task.continues,
    )  # fmt: skip
