"""A folder, from its listing to the last line."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from omnilmm_lite.caption.captioner import Captioner
from omnilmm_lite.caption.loading import ahead, load_picture
from omnilmm_lite.caption.outcome import Outcome
from omnilmm_lite.caption.output import Output
from omnilmm_lite.config import VisionConfig
from omnilmm_lite.engine.interrupt import in_background
from omnilmm_lite.errors import InputError
from omnilmm_lite.picture.decoding_process import DecodingEnded, DecodingProcess
from omnilmm_lite.picture.file import PictureFile
from omnilmm_lite.picture.listing import Listing
from omnilmm_lite.picture.prepared_image import PreparedImage


@dataclass(frozen=True)
class FolderRun:
    """`vision`: the config of the tower that pictures are prepared for. `open_captioner` loads the model; it is called
    once a picture needs it."""

    folder: Path
    listing: Listing
    output: Output
    vision: VisionConfig
    open_captioner: Callable[[], Captioner]
    retry_errors: bool = False

    def run(self) -> Iterator[Outcome]:
        """Goes through the listing. A line is on the disk when its outcome comes; Ctrl-C is heard at any time."""
        with self.output:
            for outcome in in_background(self._outcomes):
                if outcome.line is not None:
                    self.output.append(outcome.line)
                yield outcome

    def _outcomes(self) -> Iterator[Outcome]:
        decoding = DecodingProcess()

        def prepare(file: bytes) -> PreparedImage:
            picture = PictureFile(file)
            with contextlib.suppress(DecodingEnded):
                return decoding.prepare(picture, self.vision)
            try:
                return decoding.prepare(picture, self.vision)
            except DecodingEnded as error:  # twice: the next run would get no further either
                raise InputError(str(error)) from None

        load = partial(load_picture, self.folder, is_done=self._is_done, prepare=prepare)
        with contextlib.closing(ahead(load, self.listing.paths, decoding.close)) as pictures:
            for first in pictures:
                if not first.is_skipped:
                    yield from self.open_captioner().describe(chain([first], pictures))
                    return
                yield Outcome(first.path, None)

    def _is_done(self, path: str, sha256: str | None) -> bool:
        failed = not self.retry_errors and self.output.has_error(path, sha256)
        return failed or self.output.has_answer(path, sha256)
