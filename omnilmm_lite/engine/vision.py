"""Pictures to image tokens: tower and resampler, each picture encoded once.

Features are remembered by what the picture shows (a hash of its decoded pixels), never by its path: a changed file at
an old path is a new picture.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.errors import InputError
from omnilmm_lite.machine.memory import return_freed_memory
from omnilmm_lite.picture.prepared_image import PreparedImage, prepare
from omnilmm_lite.picture.reading import ImageSource

# Pixels (pictures, 3, image_size, image_size) -> features (pictures, queries, hidden), both float32.
Encode: TypeAlias = Callable[[NDArray[np.float32]], NDArray[np.float32]]

CACHED_PICTURES = 16  # 4 MB each for the full-size model


@dataclass(frozen=True, eq=False)
class ImageFeatures:
    """A picture as the decoder sees it."""

    pixel_hash: str
    values: NDArray[np.float32]  # (queries, hidden)


class VisionEncoder:
    """Opens its graphs at the first picture: a chat without one never pays for the tower."""

    def __init__(
        self,
        config: OmniLMMConfig,
        open_tower: Callable[[], Encode],
        *,
        release_after: bool = False,
    ) -> None:
        """`open_tower` loads the tower and the resampler; before it does, it may make room for them. With
        `release_after` they are let go once a picture is encoded, for a tower that shares its memory with the decoder;
        see `kept_open` for many pictures.
        """
        self._config = config.vision
        self._open_tower = open_tower
        self._release_after = release_after
        self._encode: Encode | None = None
        self._holders = 0
        self._cache: OrderedDict[str, ImageFeatures] = OrderedDict()
        self._lock = threading.Lock()  # of the cache: who asks what is remembered needn't be who encodes

    def encode(self, image: ImageSource | PreparedImage) -> ImageFeatures:
        """A picture's features; from memory where these pixels were seen lately."""
        prepared = self.prepare(image)
        return self.remembered(prepared.pixel_hash) or self.encode_prepared(prepared)

    def prepare(self, image: ImageSource | PreparedImage) -> PreparedImage:
        """The part of `encode` that needs no graph, so that any thread may do it: the tower's input.

        InputError where the picture can't be had, see `load_image`, or was prepared for a tower of another size.
        """
        if not isinstance(image, PreparedImage):
            return prepare(image, self._config)
        if (side := image.pixels.shape[-1]) != self._config.image_size:
            raise InputError(f"picture: it was prepared for {side} pixels, this model takes {self._config.image_size}")
        return image

    def remembered(self, pixel_hash: str) -> ImageFeatures | None:
        """The features of a picture that was encoded lately; None for any other."""
        with self._lock:
            if pixel_hash not in self._cache:
                return None
            self._cache.move_to_end(pixel_hash)
            return self._cache[pixel_hash]

    def encode_prepared(self, image: PreparedImage) -> ImageFeatures:
        """Runs the graphs, and remembers the features."""
        return self.encode_together([image])[0]

    def encode_together(self, images: Sequence[PreparedImage]) -> list[ImageFeatures]:
        """The same for several different pictures in one run."""
        with self.kept_open():
            values = self._run(np.concatenate([each.pixels for each in images]))
        features = [ImageFeatures(each.pixel_hash, value) for each, value in zip(images, values, strict=True)]
        with self._lock:
            for each in features:
                self._cache[each.pixel_hash] = each
            while len(self._cache) > CACHED_PICTURES:
                self._cache.popitem(last=False)
        return features

    @contextlib.contextmanager
    def kept_open(self) -> Iterator[None]:
        """The graphs, once a new picture needed them, stay open until the end of the block: for several pictures."""
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1
            if self._release_after and not self._holders:
                self._encode = None
                return_freed_memory()

    def _run(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """(pictures, 3, image_size, image_size) -> (pictures, queries, hidden)."""
        if self._encode is None:
            self._encode = self._open_tower()
        values: NDArray[np.float32] = self._encode(pixels)
        values.flags.writeable = False  # shared with the cache
        return values
