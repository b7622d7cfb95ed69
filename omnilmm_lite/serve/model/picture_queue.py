"""Pictures of those who ask, encoded in a thread of their own: answers under way go on meanwhile, if more slowly."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from omnilmm_lite.engine.interrupt import interruptible
from omnilmm_lite.engine.vision import ImageFeatures, VisionEncoder
from omnilmm_lite.picture.prepared_image import PreparedImage
from omnilmm_lite.serve.jobs import Finished, QueuedTask


@dataclass(frozen=True)
class EncodedPicture:
    """`vision_s`: seconds that the tower took, 0 for a picture that it has encoded for somebody before. `began_at`: of
    `time.perf_counter`."""

    features: ImageFeatures
    vision_s: float
    began_at: float


@dataclass(frozen=True)
class QueuedPicture:
    """A job's. `begun`: what is known of the job's times by then."""

    job: QueuedTask
    begun: Finished
    encoded: Future[EncodedPicture]
    came_at: float = field(default_factory=time.perf_counter)

    def settle(self) -> bool:
        """Whether it is encoded, has failed, or was given up: by this, if its client has left before its turn."""
        return self.encoded.done() or (self.job.interrupt.is_set and self.encoded.cancel())

    def times(self) -> Finished:
        """The job's, once it is encoded: waiting behind others' pictures is waiting in the queue."""
        encoded = self.encoded.result()
        waited_s = encoded.began_at - self.came_at
        return replace(self.begun, queue_s=self.begun.queue_s + waited_s, vision_s=encoded.vision_s)


class PictureQueue:
    """One picture at a time. Used by the model's thread."""

    def __init__(self, notify: Callable[[], None]) -> None:
        """`notify` is called, in another thread, when a picture is done."""
        self._notify = notify
        self._thread = ThreadPoolExecutor(1, "tower")
        self._pictures: list[QueuedPicture] = []

    def __len__(self) -> int:
        """Pictures that weren't taken out again."""
        return len(self._pictures)

    def encode(self, vision: VisionEncoder, picture: PreparedImage, job: QueuedTask, begun: Finished) -> None:
        """Encodes the job's picture, behind those that wait already. The job's interrupt ends it."""
        encoded = self._thread.submit(_encoded, vision, picture, job)
        self._pictures.append(QueuedPicture(job, begun, encoded))
        encoded.add_done_callback(lambda _: self._notify())

    @property
    def has_done(self) -> bool:
        return any(each.settle() for each in self._pictures)

    def take_done(self) -> list[QueuedPicture]:
        """Those that are encoded, have failed or were given up: each once."""
        done = [each for each in self._pictures if each.settle()]
        self._pictures = [each for each in self._pictures if each not in done]
        return done

    def close(self) -> None:
        self._thread.shutdown()


def _encoded(vision: VisionEncoder, picture: PreparedImage, job: QueuedTask) -> EncodedPicture:
    with interruptible(job.interrupt):
        job.interrupt.check()
        began_at = time.perf_counter()
        if (features := vision.remembered(picture.pixel_hash)) is not None:
            return EncodedPicture(features, 0.0, began_at)
        features = vision.encode_prepared(picture)
        return EncodedPicture(features, time.perf_counter() - began_at, began_at)
