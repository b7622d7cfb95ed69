"""Pictures in whatever form they come, made ready for the tower while the model answers about others."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from PIL import Image

from omnilmm_lite.caption.loading import ahead
from omnilmm_lite.config import VisionConfig
from omnilmm_lite.errors import InputError
from omnilmm_lite.picture.decoding_process import DecodingProcess
from omnilmm_lite.picture.file import picture_file
from omnilmm_lite.picture.prepared_image import PreparedImage, prepare

# A file's bytes, its path, a picture of PIL, or what Hugging Face's data sets have: {"bytes": ..., "path": ...}.
Picture: TypeAlias = bytes | bytearray | memoryview | str | Path | Image.Image | Mapping[str, Any]


@dataclass(frozen=True)
class Ready:
    """One of `picture` and `error` is None. `sha256`: of the file, of a PIL picture its pixels' hash; None where it
    couldn't be read."""

    sha256: str | None
    picture: PreparedImage | None = None
    error: str | None = None


class Preparing:
    """The process that decodes, kept from one batch to the next."""

    def __init__(self, config: VisionConfig, *, ignore_colour_profile: bool) -> None:
        self._config = config
        self._ignore_colour_profile = ignore_colour_profile
        self._decoding = DecodingProcess(ignore_colour_profile=ignore_colour_profile)
        self._busy = threading.Lock()  # a batch that was left early may still have a picture under way

    def ahead(self, pictures: Iterable[Picture]) -> Generator[Ready, None, None]:
        """Each in its turn, the next one made ready meanwhile. OmniLMMError where the machine is at fault."""
        return ahead(self._ready, pictures, self._stop)

    def _stop(self) -> None:
        if self._busy.locked():
            self._decoding.kill()

    def _ready(self, picture: Picture) -> Ready:
        sha256 = None
        try:
            given = _unwrapped(picture)
            if isinstance(given, Image.Image):
                prepared = prepare(given, self._config, ignore_colour_profile=self._ignore_colour_profile)
                return Ready(prepared.pixel_hash, prepared)
            data = picture_file(given).data
            sha256 = hashlib.sha256(data).hexdigest()
            return Ready(sha256, self._decoded(data))
        except InputError as error:
            return Ready(sha256, error=str(error))

    def _decoded(self, data: bytes) -> PreparedImage:
        with self._busy:
            return self._decoding.prepare_with_retry(picture_file(data), self._config)


def _unwrapped(picture: Picture | None) -> bytes | bytearray | memoryview | str | Path | Image.Image:
    """InputError where it is nothing that holds a picture."""
    found: Any = picture
    if isinstance(picture, Mapping):
        found = next((picture[name] for name in ("bytes", "path") if picture.get(name) is not None), None)
    if isinstance(found, bytes | bytearray | memoryview | str | Path | Image.Image):
        return found
    kind = "nothing" if found is None else type(found).__name__
    raise InputError(f"picture: {kind} was given; give a file's bytes, its path, or a picture of PIL")
