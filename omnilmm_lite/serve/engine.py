"""One thread that owns the model, and the queue before it."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from omnilmm_lite.answer.generation import FinishReason, Timings
from omnilmm_lite.engine.interrupt import Interrupted, interruptible
from omnilmm_lite.engine.vision import ImageFeatures
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.model import BesideTower, Model
from omnilmm_lite.serve.errors import RATE_LIMIT, SERVER_ERROR, ApiError, internal_error, invalid, shutting_down
from omnilmm_lite.serve.fair_queue import FairQueue
from omnilmm_lite.serve.jobs import Event, Failed, Finished, QueuedTask, RequestPhase, Started, Task
from omnilmm_lite.serve.model.crew import Crew
from omnilmm_lite.serve.model.picture_queue import PictureQueue, QueuedPicture
from omnilmm_lite.serve.model.residence import ModelState, Residence

LOG = logging.getLogger(__name__)
FIRST_ESTIMATE_S = 10.0  # how long an answer takes, before there was one
LONGEST_WAIT_S = 3600.0  # before the time that is left is looked at again: a client may say any number
NEWEST_WEIGHT = 0.3  # of the last answer in the running mean
STALL_S = 2.0


class Engine:
    """Answers as many questions at once as the model has slots for, clients in turn. A job that was cancelled frees the
    model within milliseconds where it runs alone, its slot with the next step where others run, too."""

    def __init__(
        self,
        model: Model,
        limit: int,
        *,
        reload: Callable[[], Model] | None = None,
        idle_s: float = math.inf,
        observe: Callable[[Event], None] = lambda event: None,
        stall_s: float = STALL_S,
    ) -> None:
        """`limit`: how many may wait. `idle_s`: after so long without a question the model is let go of, and `reload`
        loads it for the next one; without `reload` it stays. Nobody else may hold the model, or nothing is freed.
        `observe` hears every job's events, before who asked. `stall_s`: how long a running answer may wait for a piece
        of another one's prompt."""
        self.limit = limit
        self._observe = observe
        self.residence = Residence(model, reload)
        self._keep_s = self._idle_s = idle_s
        self._idle_since = time.perf_counter()
        self._queue: FairQueue[QueuedTask] = FairQueue()
        self._changed = threading.Condition()  # reentrant
        self._running: dict[QueuedTask, float] = {}  # and when each began
        self._slots = model.slots
        self._stall_s = stall_s
        self._crew: Crew | None = None  # once there was a question; it holds the model
        self._pictures = PictureQueue(self._notify)
        self._beside_tower = model.parts.beside_tower
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
            if self.waiting - self._free_slots() >= self.limit:
                raise ApiError(
                    429,
                    f"{self.waiting} requests wait already, the limit; try again later",
                    code="queue_full",
                    type=RATE_LIMIT,
                    headers={"Retry-After": str(max(1, round(self._mean_s)))},
                )

    def _free_slots(self) -> int:
        """Those that who waits gets at once: none while somebody has the model alone, or is waiting to."""
        nearest = [*self._running] + ([self._queue.peek()] if len(self._queue) else [])
        if self._running and any(job.task.lend is not None for job in nearest):
            return 0
        return self._slots - len(self._running)

    def cancel(self, job: QueuedTask) -> None:
        """Takes it out of the queue, or ends it where it runs; nothing where it is done."""
        with self._changed:
            if not self._queue.remove(job.client, job):
                job.interrupt.set()
                self._stop()

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
    def running(self) -> int:
        """How many answers are being made."""
        return len(self._running)

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
            for job in self._running:
                job.interrupt.set()
            self._stop()
        self._thread.join()
        self._pictures.close()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify()

    def _stop(self) -> None:
        if self._crew is not None:
            self._crew.stop()
        self._notify()

    def _turn_away(self) -> None:
        with self._changed:
            waiting = [self._queue.take() for _ in range(len(self._queue))]
        for job in waiting:
            job.listen(Failed(shutting_down()))

    # ---- in the model's thread ----

    def _work(self) -> None:
        while self._waited_for_work():
            if (job := self._taken()) is not None and (event := self._begun(job)) is not None:
                self._end(job, event)
            self._join_encoded()
            prefills = self._beside_tower is BesideTower.ALL or not len(self._pictures)
            if self._crew and (prefills or self._crew.is_decoding or self._crew.has_left):
                for done, last in self._crew.step(prefills=prefills):
                    self._end(done, last)
            elif len(self._pictures):
                self._wait_for_picture()

    def _waited_for_work(self) -> bool:
        """Waits for it, without the model where that takes long; False when the engine is closed and nobody waits, or
        is expected."""
        with self._changed:
            while not (self._running or len(self._queue)) and not (
                self._closing and not (self._awaits_them and self._expected)
            ):
                left = self._kept_for()
                if left is None or left > 0:
                    self._changed.wait(left)
                    continue
                self._crew = None  # which holds the model
                self._changed.release()  # who asks now only gets into the queue, and isn't kept waiting for that
                try:
                    self.residence.unload()
                finally:
                    self._changed.acquire()
            return bool(self._running or len(self._queue))

    def _wait_for_picture(self) -> None:
        """Or for who can be answered beside it. Nobody else has anything to do."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._pictures.has_done or self._has_next() or (self._crew and self._crew.has_left)
            )

    def _has_next(self) -> bool:
        """Whether somebody waits, and a slot is free. Who borrows the model waits for those who run, and then has it
        alone."""
        if not len(self._queue) or len(self._running) >= self._slots:
            return False
        task = self._queue.peek().task
        if task.image is not None and self._beside_tower is not BesideTower.ALL:
            # prompts that came before aren't held up by it
            return not (len(self._pictures) or (self._crew and self._crew.is_prefilling))
        return not (self._running and task.lend is not None)

    def _taken(self) -> QueuedTask | None:
        """The next job."""
        with self._changed:
            if not self._has_next():
                return None
            job = self._queue.take()
            self._running[job] = time.perf_counter()
            # of those that run together the last to come has the say, whoever ends last
            self._keep_s = self._idle_s if job.task.keep_s is None else job.task.keep_s
            return job

    def _end(self, job: QueuedTask, event: Event) -> None:
        with self._changed:
            started = self._running.pop(job)
            self._idle_since = time.perf_counter()
            self._mean_s += NEWEST_WEIGHT * (time.perf_counter() - started - self._mean_s)
        job.listen(event)

    def _kept_for(self) -> float | None:
        """Seconds that the model stays yet; None where it isn't there, or stays."""
        if self._holders or not self.residence.may_unload or self.residence.state is not ModelState.LOADED:
            return None
        left = self._idle_since + self._keep_s - time.perf_counter()
        return None if math.isinf(left) else max(0.0, min(left, LONGEST_WAIT_S))

    def _begun(self, job: QueuedTask) -> Event | None:
        """Takes the job up to its place in the crew; what it is to be told last, where it has ended by then. Whatever
        happens is told to who asked, and the thread lives on."""
        try:
            with interruptible(job.interrupt):
                return self._seat(job)
        except Exception as error:
            return failure(error)

    def _seat(self, job: QueuedTask) -> Finished | None:
        task, queue_s = job.task, time.perf_counter() - job.came_at
        if not task.ids and task.keep_s == 0:  # its client lets go of the model
            return Finished(FinishReason.STOP, queue_s, 0.0, Timings())
        if self.residence.state is not ModelState.LOADED:
            job.listen(Started(RequestPhase.LOAD))
        model, load_s = self.residence.loaded()
        job.interrupt.check()
        if task.lend is not None:
            task.lend(model)
        if not task.ids:
            return Finished(FinishReason.STOP, queue_s, 0.0, Timings(), load_s)
        if self._crew is None:
            self._crew = Crew(model.new_batch(self._stall_s), failure)
        begun = Finished(FinishReason.STOP, queue_s, 0.0, Timings(), load_s)
        if (image := task.image) is None or (features := model.vision.remembered(image.pixel_hash)) is not None:
            self._join(job, None if image is None else features, begun)
            return None
        job.listen(Started(RequestPhase.ENCODE))
        if self._beside_tower is BesideTower.NOTHING:
            started = time.perf_counter()
            features = model.vision.encode_prepared(image)
            self._join(job, features, replace(begun, vision_s=time.perf_counter() - started))
        else:
            self._pictures.encode(model.vision, image, job, begun)
        return None

    def _join(self, job: QueuedTask, features: ImageFeatures | None, begun: Finished) -> None:
        assert self._crew is not None
        job.listen(Started(RequestPhase.PREFILL))
        self._crew.join(job, features, begun)

    def _join_encoded(self) -> None:
        """None of them is known behind it: what a picture's encoding raised knows the model, which may be let go of."""
        for picture in self._pictures.take_done():
            if (event := self._joined(picture)) is not None:
                self._end(picture.job, event)

    def _joined(self, picture: QueuedPicture) -> Event | None:
        """Like `_begun`, once the job's picture is encoded."""
        try:
            with interruptible(picture.job.interrupt):
                picture.job.interrupt.check()  # it may be one that left before its turn, and was never encoded
                self._join(picture.job, picture.encoded.result().features, picture.times())
                return None
        except Exception as error:
            return failure(error)


def failure(error: Exception) -> Failed:
    """What is heard of an error."""
    if isinstance(error, Interrupted):  # by its client, who listens no more, or by the server's end
        return Failed(shutting_down())
    if isinstance(error, InputError):
        return Failed(invalid(str(error)))
    if isinstance(error, OmniLMMError):
        LOG.error("answer failed: %s", error)
        return Failed(ApiError(500, str(error), type=SERVER_ERROR))
    LOG.error("answer failed", exc_info=error)
    return Failed(internal_error())
