"""One thread that owns the model, and the queue before it."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from omnilmm_lite.answer.generation import Answer, FinishReason, Prompt, Timings
from omnilmm_lite.answer.grammar import Grammar
from omnilmm_lite.answer.logprobs import SaidToken
from omnilmm_lite.engine.interrupt import Interrupt, Interrupted, interruptible
from omnilmm_lite.engine.vision import ImageFeatures, VisionEncoder
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.picture.prepared_image import PreparedImage
from omnilmm_lite.sampling_params import SamplingParams
from omnilmm_lite.serve.errors import RATE_LIMIT, SERVER_ERROR, ApiError, internal_error, invalid, shutting_down
from omnilmm_lite.serve.fair_queue import FairQueue
from omnilmm_lite.serve.model.residence import ModelState, Residence

if TYPE_CHECKING:
    from omnilmm_lite.model import Model

LOG = logging.getLogger(__name__)
FIRST_ESTIMATE_S = 10.0  # how long an answer takes, before there was one
LONGEST_WAIT_S = 3600.0  # before the time that is left is looked at again: a client may say any number
NEWEST_WEIGHT = 0.3  # of the last answer in the running mean


class RequestPhase(Enum):
    """What a request waits for, by the name that streams say."""

    QUEUED = "queued"
    LOAD = "load"
    ENCODE = "encode"
    PREFILL = "prefill"


@dataclass(frozen=True)
class Task:
    """A question that was checked: nothing of it can be wrong any more. Without `ids` the model is only loaded."""

    ids: list[int]
    image: PreparedImage | None
    params: SamplingParams
    stop: tuple[str, ...] = ()
    grammar: Grammar | None = None
    keep_s: float | None = None  # how long the model stays in memory after it; None: as the server was told
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    top_logprobs: int | None = None  # None: no log-probabilities
    continues: bool = False  # the answer goes on with a text, white space and all
    more: tuple[Task, ...] = ()  # answers to be made after it for the same client; none of them has more
    lend: Callable[[Model], None] | None = None  # who has the model in its place, until it returns


@dataclass(frozen=True)
class Started:
    phase: RequestPhase


@dataclass(frozen=True)
class TextDelta:
    """`tokens`: those that made the text certain, where their log-probabilities were asked for."""

    text: str
    tokens: tuple[SaidToken, ...] = ()


@dataclass(frozen=True)
class Finished:
    """Seconds in the queue and for the picture (0: it was remembered), then generation's own timings. `load_s`: for
    the model (0: it was in memory)."""

    reason: FinishReason
    queue_s: float
    vision_s: float
    timings: Timings
    load_s: float = 0.0


@dataclass(frozen=True)
class Failed:
    error: ApiError


Event: TypeAlias = Started | TextDelta | Finished | Failed


@dataclass(eq=False)
class QueuedTask:
    """A task on its way. `listen` is called in the model's thread."""

    client: str
    task: Task
    listen: Callable[[Event], None]
    interrupt: Interrupt = field(default_factory=Interrupt)
    came_at: float = field(default_factory=time.perf_counter)


class Engine:
    """Answers one question at a time, clients in turn. A job that was cancelled frees the model within milliseconds."""

    def __init__(
        self,
        model: Model,
        limit: int,
        *,
        reload: Callable[[], Model] | None = None,
        idle_s: float = math.inf,
        observe: Callable[[Event], None] = lambda event: None,
    ) -> None:
        """`limit`: how many may wait. `idle_s`: after so long without a question the model is let go of, and `reload`
        loads it for the next one; without `reload` it stays. Nobody else may hold the model, or nothing is freed.
        `observe` hears every job's events, before who asked."""
        self.limit = limit
        self._observe = observe
        self.residence = Residence(model, reload)
        self._keep_s = self._idle_s = idle_s
        self._idle_since = time.perf_counter()
        self._queue: FairQueue[QueuedTask] = FairQueue()
        self._changed = threading.Condition()  # reentrant
        self._running: QueuedTask | None = None
        self._closing = False
        self._expected = 0  # tasks that are being checked
        self._holders = 0  # who wants the model to stay
        self._awaits_them = False  # while a drain lasts
        self._mean_s = FIRST_ESTIMATE_S
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    def submit(self, client: str, task: Task, listen: Callable[[Event], None]) -> QueuedTask:
        """Puts a task into the queue. ApiError 429 where that is full, 503 while shutting down; a drain takes those
        that were `expected` before."""

        def tell(event: Event) -> None:
            if task.lend is None:
                self._observe(event)
            listen(event)

        job = QueuedTask(client, task, tell)
        with self._changed:
            if not self._awaits_them:
                self.check_room()
            self._queue.put(client, job)
            self._changed.notify()
        return job

    @contextlib.contextmanager
    def expected(self) -> Iterator[None]:
        """A block in which a task is checked, and submitted at last: a drain that begins meanwhile waits for it."""
        with self._changed:
            self.check_room()
            self._expected += 1
        try:
            yield
        finally:
            with self._changed:
                self._expected -= 1
                self._changed.notify()

    def check_room(self) -> None:
        """Raises the ApiError with which `submit` would refuse now; returns nothing where there is room."""
        with self._changed:
            if self._closing:
                raise shutting_down()
            # what waits for a thread that is free is taken at once
            if self.waiting - (self._running is None) >= self.limit:
                raise ApiError(
                    429,
                    f"{self.waiting} requests wait already, the limit; try again later",
                    code="queue_full",
                    type=RATE_LIMIT,
                    headers={"Retry-After": str(max(1, round(self._mean_s)))},
                )

    def cancel(self, job: QueuedTask) -> None:
        """Takes it out of the queue, or ends it where it runs; nothing where it is done."""
        with self._changed:
            if not self._queue.remove(job.client, job):
                job.interrupt.set()

    def place(self, job: QueuedTask) -> int:
        """Place in the queue: 1 for the next to run, 0 for a task that doesn't wait."""
        with self._changed:
            return self._queue.place(job.client, job)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """A block in which the model stays in memory once it is there, whether somebody asks or not."""
        with self._changed:
            self._holders += 1
        try:
            yield
        finally:
            with self._changed:
                self._holders -= 1
                self._idle_since = time.perf_counter()
                self._changed.notify()

    @property
    def is_closing(self) -> bool:
        return self._closing

    @property
    def waiting(self) -> int:
        with self._changed:
            return len(self._queue)

    @property
    def is_running(self) -> bool:
        return self._running is not None

    def keep(self, keep_s: float) -> None:
        """How long the model stays in memory from now on without a question; 0 lets go of it once nobody waits. The
        next question goes by its own time, or the server's."""
        with self._changed:
            self._keep_s, self._idle_since = keep_s, time.perf_counter()
            self._changed.notify()

    @property
    def kept_s(self) -> float:
        """Seconds that the model stays in memory yet, if nobody asks."""
        with self._changed:
            if self._running or self._holders:
                return math.inf
            return max(0.0, self._idle_since + self._keep_s - time.perf_counter())

    def close(self, grace_s: float, *, drain: bool = False) -> None:
        """Takes no more; gives the running answer, with `drain` those that wait or are expected, too, `grace_s`
        seconds; then ends all, and the thread. Without `drain`, who waits is turned away at once."""
        with self._changed:
            self._awaits_them = drain
            self._closing = True
            if not drain:
                self._turn_away()
            self._changed.notify()
        self._thread.join(grace_s)
        with self._changed:
            self._awaits_them = False
            self._changed.notify()
        self._turn_away()
        with self._changed:
            if self._running is not None:
                self._running.interrupt.set()
        self._thread.join()

    def _turn_away(self) -> None:
        with self._changed:
            waiting = [self._queue.take() for _ in range(len(self._queue))]
        for job in waiting:
            job.listen(Failed(shutting_down()))

    # ---- in the model's thread ----

    def _work(self) -> None:
        while (job := self._next()) is not None:
            started = time.perf_counter()
            event = self._outcome(job)
            with self._changed:
                self._running = None
                self._keep_s = self._idle_s if job.task.keep_s is None else job.task.keep_s
                self._idle_since = time.perf_counter()
                self._mean_s += NEWEST_WEIGHT * (time.perf_counter() - started - self._mean_s)
            job.listen(event)

    def _next(self) -> QueuedTask | None:
        """Waits for it, without the model where that takes long; None when the engine is closed and nobody waits, or is
        expected."""
        with self._changed:
            while not len(self._queue) and (not self._closing or (self._awaits_them and self._expected)):
                left = self._kept_for()
                if left is None or left > 0:
                    self._changed.wait(left)
                    continue
                self._changed.release()  # who asks now only gets into the queue, and isn't kept waiting for that
                try:
                    self.residence.unload()
                finally:
                    self._changed.acquire()
            self._running = self._queue.take() if len(self._queue) else None
            return self._running

    def _kept_for(self) -> float | None:
        """Seconds that the model stays yet; None where it isn't there, or stays."""
        if self._holders or not self.residence.may_unload or self.residence.state is not ModelState.LOADED:
            return None
        left = self._idle_since + self._keep_s - time.perf_counter()
        return None if math.isinf(left) else max(0.0, min(left, LONGEST_WAIT_S))

    def _outcome(self, job: QueuedTask) -> Event:
        """Runs the job; whatever happens is told to who asked, and the thread lives on."""
        try:
            with interruptible(job.interrupt):
                return self._answer(job)
        except Interrupted:  # by its client, who listens no more, or by the server's end
            return Failed(shutting_down())
        except InputError as error:
            return Failed(invalid(str(error)))
        except OmniLMMError as error:
            LOG.error("answer failed: %s", error)
            return Failed(ApiError(500, str(error), type=SERVER_ERROR))
        except Exception:
            LOG.exception("answer failed")
            return Failed(internal_error())

    def _answer(self, job: QueuedTask) -> Finished:
        queue_s = time.perf_counter() - job.came_at
        if not job.task.ids and job.task.keep_s == 0:  # its client lets go of the model
            return Finished(FinishReason.STOP, queue_s, 0.0, Timings())
        if self.residence.state is not ModelState.LOADED:
            job.listen(Started(RequestPhase.LOAD))
        model, load_s = self.residence.loaded()
        job.interrupt.check()
        if job.task.lend is not None:
            job.task.lend(model)
        if not job.task.ids:
            return Finished(FinishReason.STOP, queue_s, 0.0, Timings(), load_s)
        features, vision_s = self._features(job, model.vision)
        job.listen(Started(RequestPhase.PREFILL))
        reason, timings = self._run(job, job.task, model, features)
        finished = Finished(reason, queue_s, vision_s, timings, load_s)
        for task in job.task.more:
            job.listen(finished)
            reason, timings = self._run(job, task, model, features)
            finished = Finished(reason, 0.0, 0.0, timings)
        return finished

    def _run(
        self, job: QueuedTask, task: Task, model: Model, features: ImageFeatures | None
    ) -> tuple[FinishReason, Timings]:
        """One answer of the job."""
        answer = Answer(
            model.text, Prompt(task.ids, features), task.params, task.stop, task.grammar,
            logit_bias=task.logit_bias, top_logprobs=task.top_logprobs, continues=task.continues,
        )  # fmt: skip
        told = 0
        for piece in answer:
            job.listen(TextDelta(piece, tuple(answer.said[told:])))
            told = len(answer.said)
            job.interrupt.check()
        if answer.finish_reason is None:
            raise OmniLMMError("the answer has no end")
        return answer.finish_reason, dataclasses.replace(answer.timings)

    def _features(self, job: QueuedTask, vision: VisionEncoder) -> tuple[ImageFeatures | None, float]:
        """The picture's features, and the seconds that they took."""
        if (image := job.task.image) is None:
            return None, 0.0
        if (features := vision.remembered(image.pixel_hash)) is not None:
            return features, 0.0
        job.listen(Started(RequestPhase.ENCODE))
        started = time.perf_counter()
        return vision.encode_prepared(image), time.perf_counter() - started
