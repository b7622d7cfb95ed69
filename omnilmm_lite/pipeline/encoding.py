"""The pipeline's first half: pictures to features, ahead of the answers."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Generic, Protocol, TypeVar

from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine.interrupt import Background, Interrupted
from omnilmm_lite.engine.vision import CACHED_PICTURES, ImageFeatures, VisionEncoder
from omnilmm_lite.model import BesideTower, Model
from omnilmm_lite.pipeline.asked import Asked, Query

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

AHEAD = 2  # encoded pictures that wait for a slot
LONGEST_WINDOW = 16 * CACHED_PICTURES  # with those that come again, and what is asked about none


@dataclass(frozen=True)
class Encoded(Generic[T]):
    """What was asked, with features in place of pixels, which are larger. `vision_s`: seconds that the tower took."""

    what: T
    queries: Sequence[Query]
    features: ImageFeatures | None
    vision_s: float


class Stream(Protocol[T_co]):
    """An iterator that says whether its next item can be had beside running answers."""

    @property
    def has_next(self) -> bool: ...

    def __next__(self) -> T_co: ...


def encoding(model: Model, asked: Iterable[Asked[T]]) -> AbstractContextManager[Stream[Encoded[T]]]:
    """The pictures, encoded as the machine does best.

    A card encodes beside the answers. On a CPU that takes an eighth longer than one after the other
    (`python -m benchmarks.scale.beside`): there the next picture waits until a slot is free. Where tower and decoder
    share their memory, a window of pictures is encoded once nobody is answered.
    """
    encode = partial(_encoded, model.vision)
    if model.parts.takes_turns:
        return nullcontext(Windows(model.vision, asked))
    if model.parts.beside_tower is BesideTower.ALL and model.device.placement.vision.device is Device.CUDA:
        return Background(lambda: map(encode, asked), AHEAD)
    return nullcontext(OneByOne(map(encode, asked)))


class OneByOne(Generic[T]):
    """Each when it is asked for."""

    has_next = True

    def __init__(self, encoded: Iterator[Encoded[T]]) -> None:
        self._encoded = encoded

    def __next__(self) -> Encoded[T]:
        return next(self._encoded)


class Windows(Generic[T]):
    """Some at a time, for a tower that takes seconds to open."""

    def __init__(self, vision: VisionEncoder, asked: Iterable[Asked[T]]) -> None:
        self._vision, self._asked = vision, iter(asked)
        self._window: deque[Encoded[T]] = deque()
        self._failure: Exception | None = None  # of reading or encoding, raised behind what was encoded before

    @property
    def has_next(self) -> bool:
        return bool(self._window)

    def __next__(self) -> Encoded[T]:
        if not self._window and self._failure is None:
            self._fill()
        if not self._window and self._failure is not None:
            raise self._failure
        return self._window.popleft()

    def _fill(self) -> None:
        """StopIteration where there are no more. What is asked about no picture doesn't wait for others."""
        first = next(self._asked)
        pictures: set[str] = set()  # the same one may come many times
        try:
            with self._vision.kept_open():
                for asked in chain([first], self._asked):
                    encoded = _encoded(self._vision, asked)
                    self._window.append(encoded)
                    if encoded.features is not None:
                        pictures.add(encoded.features.pixel_hash)
                    if not pictures or len(pictures) == CACHED_PICTURES or len(self._window) == LONGEST_WINDOW:
                        return
        except Interrupted:
            raise
        except Exception as error:
            self._failure = error


def _encoded(vision: VisionEncoder, asked: Asked[T]) -> Encoded[T]:
    started = time.perf_counter()
    features = None if asked.picture is None else vision.encode(asked.picture)
    return Encoded(asked.what, asked.queries, features, time.perf_counter() - started)
