"""Pictures of those who ask, encoded in a thread of their own: answers under way go on meanwhile, if more slowly."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from omnilmm_lite.engine.interrupt import interruptible
from omnilmm_lite.engine.vision import ImageFeatures, VisionEncoder
from omnilmm_lite.picture.prepared_image import PreparedImage
from omnilmm_lite.serve.jobs import Finished, QueuedTask


@dataclass(frozen=True)
class Sight:
    """What the tower makes of a picture. `vision_s`: the seconds that it took."""

    features: ImageFeatures
    vision_s: float


@dataclass(frozen=True)
class Viewing:
    """A job's picture in the tower. `begun`: what is known of the job's times by then."""

    job: QueuedTask
    begun: Finished
    sight: Future[Sight]


class Tower:
    """One picture at a time. Used by the model's thread."""

    def __init__(self, notify: Callable[[], None]) -> None:
        """`notify` is called, in another thread, when a picture is done."""
        self._notify = notify
        self._thread = ThreadPoolExecutor(1, "tower")
        self._viewings: list[Viewing] = []

    def __len__(self) -> int:
        """Pictures that weren't taken out again."""
        return len(self._viewings)

    def view(self, vision: VisionEncoder, picture: PreparedImage, job: QueuedTask, begun: Finished) -> None:
        """Encodes the job's picture, behind those that wait already. The job's interrupt ends it."""
        sight = self._thread.submit(_sight, vision, picture, job)
        self._viewings.append(Viewing(job, begun, sight))
        sight.add_done_callback(lambda _: self._notify())

    @property
    def has_done(self) -> bool:
        return any(each.sight.done() for each in self._viewings)

    def take_done(self) -> list[Viewing]:
        """Those that are done, or have failed: each once."""
        done = [each for each in self._viewings if each.sight.done()]
        self._viewings = [each for each in self._viewings if each not in done]
        return done

    def close(self) -> None:
        self._thread.shutdown()


def _sight(vision: VisionEncoder, picture: PreparedImage, job: QueuedTask) -> Sight:
    with interruptible(job.interrupt):
        job.interrupt.check()
        started = time.perf_counter()
        features = vision.encode(picture)
        return Sight(features, time.perf_counter() - started)
