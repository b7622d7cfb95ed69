"""One thread that owns the model, and the queue before it."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from omnilmm_lite.answer.generation import Answer, FinishReason, Prompt, Timings
from omnilmm_lite.answer.grammar import Grammar
from omnilmm_lite.engine.interrupt import Interrupt, Interrupted, interruptible
from omnilmm_lite.engine.vision import ImageFeatures
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.picture.prepared_image import PreparedImage
from omnilmm_lite.sampling_params import SamplingParams
from omnilmm_lite.serve.errors import RATE_LIMIT, SERVER_ERROR, ApiError, internal_error, invalid, shutting_down
from omnilmm_lite.serve.fair_queue import FairQueue

if TYPE_CHECKING:
    from omnilmm_lite.model import Model

LOG = logging.getLogger(__name__)
FIRST_ESTIMATE_S = 10.0  # how long an answer takes, before there was one
NEWEST_WEIGHT = 0.3  # of the last answer in the running mean


class RequestPhase(Enum):
    """What a request waits for, by the name that streams say."""

    QUEUED = "queued"
    ENCODE = "encode"
    PREFILL = "prefill"


@dataclass(frozen=True)
class Task:
    """A question that was checked: nothing of it can be wrong any more."""

    ids: list[int]
    image: PreparedImage | None
    params: SamplingParams
    stop: tuple[str, ...] = ()
    grammar: Grammar | None = None


@dataclass(frozen=True)
class Started:
    phase: RequestPhase


@dataclass(frozen=True)
class TextDelta:
    text: str


@dataclass(frozen=True)
class Finished:
    """Seconds in the queue and for the picture (0: it was remembered), then generation's own timings."""

    reason: FinishReason
    queue_s: float
    vision_s: float
    timings: Timings


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

    def __init__(self, model: Model, limit: int) -> None:
        """`limit`: how many may wait."""
        self.limit = limit
        self._model = model
        self._queue: FairQueue[QueuedTask] = FairQueue()
        self._changed = threading.Condition()  # reentrant
        self._running: QueuedTask | None = None
        self._closing = False
        self._expected = 0  # tasks that are being checked
        self._awaits_them = False  # while a drain lasts
        self._mean_s = FIRST_ESTIMATE_S
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    def submit(self, client: str, task: Task, listen: Callable[[Event], None]) -> QueuedTask:
        """Puts a task into the queue. ApiError 429 where that is full, 503 while shutting down; a drain takes those
        that were `expected` before."""
        job = QueuedTask(client, task, listen)
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

    @property
    def waiting(self) -> int:
        with self._changed:
            return len(self._queue)

    @property
    def is_running(self) -> bool:
        return self._running is not None

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
                self._mean_s += NEWEST_WEIGHT * (time.perf_counter() - started - self._mean_s)
            job.listen(event)

    def _next(self) -> QueuedTask | None:
        """Waits for it; None when the engine is closed and nobody waits, or is expected."""
        with self._changed:
            while not len(self._queue) and (not self._closing or (self._awaits_them and self._expected)):
                self._changed.wait()
            self._running = self._queue.take() if len(self._queue) else None
            return self._running

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
        features, vision_s = self._features(job)
        job.listen(Started(RequestPhase.PREFILL))
        answer = Answer(
            self._model.text, Prompt(job.task.ids, features), job.task.params, job.task.stop, job.task.grammar
        )
        for piece in answer:
            job.listen(TextDelta(piece))
            job.interrupt.check()
        if answer.finish_reason is None:
            raise OmniLMMError("the answer has no end")
        return Finished(answer.finish_reason, queue_s, vision_s, dataclasses.replace(answer.timings))

    def _features(self, job: QueuedTask) -> tuple[ImageFeatures | None, float]:
        """The picture's features, and the seconds that they took."""
        image, vision = job.task.image, self._model.vision
        if image is None:
            return None, 0.0
        if (features := vision.remembered(image.pixel_hash)) is not None:
            return features, 0.0
        job.listen(Started(RequestPhase.ENCODE))
        started = time.perf_counter()
        return vision.encode_prepared(image), time.perf_counter() - started
