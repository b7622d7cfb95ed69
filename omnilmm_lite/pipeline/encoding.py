"""The pipeline's first half: pictures to features, ahead of the answers."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Generic, Protocol, TypeVar

from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine.interrupt import Background, Interrupted
from omnilmm_lite.engine.vision import CACHED_PICTURES, ImageFeatures, VisionEncoder
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.machine.card import read_cards
from omnilmm_lite.model import BesideTower, BundleModel, Model
from omnilmm_lite.picture.prepared_image import PreparedImage
from omnilmm_lite.pipeline.asked import Asked, Query
from omnilmm_lite.pipeline.width import Width
from omnilmm_lite.plan.card_room import pictures_at_once

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

AHEAD = 2  # encoded pictures that wait for a slot
MOST_TOGETHER = 4  # pictures in one run of the tower
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

    A card encodes beside the answers, and several pictures in one run where that has shown to pay. On a CPU beside
    takes longer than one after the other (`python -m benchmarks.scale.beside`), and several in one run don't pay
    (`benchmarks.scale.pictures`): there the next picture waits until a slot is free. Where tower and decoder share
    their memory, a window of pictures is encoded once nobody is answered.
    """
    encode = partial(_encoded, model.vision)
    if model.parts.takes_turns:
        return nullcontext(Windows(model.vision, asked))
    where = model.device.placement.vision
    if where.device is Device.CUDA and model.parts.beside_tower is BesideTower.ALL and isinstance(model, BundleModel):
        width = Width(pictures_at_once(model.bundle, where, read_cards(), MOST_TOGETHER), is_measured=True)
        return Background(lambda: _together(model.vision, asked, width), AHEAD)
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


def _together(vision: VisionEncoder, asked: Iterable[Asked[T]], width: Width) -> Iterator[Encoded[T]]:
    """As many pictures in one run of the tower as `width` says, which hears how long they take."""
    group: list[Asked[T]] = []
    new: dict[str, PreparedImage] = {}  # by hash: the same one may come many times
    for each in asked:
        group.append(each)
        if each.picture is not None and vision.remembered(each.picture.pixel_hash) is None:
            new.setdefault(each.picture.pixel_hash, each.picture)
        if not new or len(new) == width.limit or len(group) == LONGEST_WINDOW:
            yield from _group_encoded(vision, group, new, width)
            group, new = [], {}
    yield from _group_encoded(vision, group, new, width)


def _group_encoded(
    vision: VisionEncoder, group: Sequence[Asked[T]], new: dict[str, PreparedImage], width: Width
) -> Iterator[Encoded[T]]:
    seconds = _encode_all(vision, [*new.values()], width)
    for each in group:
        encoded = _encoded(vision, each)
        is_new = each.picture is not None and new.pop(each.picture.pixel_hash, None) is not None
        yield replace(encoded, vision_s=encoded.vision_s + seconds) if is_new else encoded


def _encode_all(vision: VisionEncoder, pictures: Sequence[PreparedImage], width: Width) -> float:
    """They are remembered then. Seconds for each. Where there is no memory for several, one at a time from then on."""
    if not pictures:
        return 0.0
    started = time.perf_counter()
    try:
        vision.encode_together(pictures)
    except Interrupted:
        raise
    except OmniLMMError:
        if len(pictures) == 1:
            raise
        width.settle(1)
        for each in pictures:
            vision.encode_prepared(each)
    seconds = time.perf_counter() - started
    width.note(len(pictures), seconds)
    return seconds / len(pictures)


def _encoded(vision: VisionEncoder, asked: Asked[T]) -> Encoded[T]:
    started = time.perf_counter()
    features = None if asked.picture is None else vision.encode(asked.picture)
    return Encoded(asked.what, asked.queries, features, time.perf_counter() - started)
