"""A folder, from its listing to the last line."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

from omnilmm_lite.caption.describer import Describer, skipped
from omnilmm_lite.caption.loading import Loaded, Need, ahead, load_picture, no_fields
from omnilmm_lite.caption.outcome import Become, Outcome
from omnilmm_lite.caption.output import Lines, NoLines, caption_of
from omnilmm_lite.caption.scale.shard import Shard
from omnilmm_lite.caption.writers.writer import Writer
from omnilmm_lite.config import VisionConfig
from omnilmm_lite.engine.interrupt import in_background
from omnilmm_lite.errors import InputError
from omnilmm_lite.picture.decoding_process import DecodingProcess
from omnilmm_lite.picture.file import PictureFile
from omnilmm_lite.picture.prepared_image import PreparedImage


@dataclass(frozen=True)
class FolderRun:
    """`rounds`: paths below the folder, posix; the next round is asked for when one is done. `vision`: the config of
    the tower that pictures are prepared for. `open_describer` loads the model; it is called once a picture needs it.
    `fields`: what a picture puts into the templates. `shard`: its pictures alone are described."""

    folder: Path
    rounds: Iterable[Sequence[str]]
    output: Lines
    vision: VisionConfig
    open_describer: Callable[[], Describer]
    writers: Sequence[Writer] = ()
    fields: Callable[[str, bytes, PreparedImage], Mapping[str, str]] = no_fields
    retry_errors: bool = False
    ignore_colour_profile: bool = False
    shard: Shard | None = None

    def run(self) -> Iterator[Outcome]:
        """Goes through the rounds. All of a picture is on the disk when its outcome comes, its line last; Ctrl-C is
        heard at any time."""
        with self.output:
            for outcome in in_background(self._outcomes):
                kept = self._kept(outcome)
                if kept.line is not None:
                    self.output.append(kept.line)
                yield kept

    def _outcomes(self) -> Iterator[Outcome]:
        describer: Describer | None = None
        for paths in self.rounds:
            with contextlib.closing(self._loaded(paths)) as pictures:
                for first in pictures:
                    if first.is_skipped:
                        yield skipped(first)
                        continue
                    if first.error is not None and isinstance(self.output, NoLines):  # no line names the model
                        yield Outcome(first.path, {"error": first.error}, become=Become.FAILED)
                        continue
                    describer = describer or self.open_describer()
                    yield from describer.describe(chain([first], pictures))

    def _loaded(self, paths: Sequence[str]) -> Generator[Loaded, None, None]:
        decoding = DecodingProcess(ignore_colour_profile=self.ignore_colour_profile)

        def prepare(file: bytes) -> PreparedImage:
            return decoding.prepare_with_retry(PictureFile(file), self.vision)

        load = partial(load_picture, self.folder, need=self._need, prepare=prepare, fields=self.fields)
        return ahead(load, paths, decoding.close)

    def _need(self, path: str, sha256: str | None, data: bytes) -> Need:
        """InputError where captions go beside the pictures alone, and this one can have none there."""
        if self.shard is not None and not self.shard.takes(path, sha256):
            return Need.ELSEWHERE
        if not self.retry_errors and self.output.has_error(path, sha256):
            return Need.NOTHING
        if not self.output.has_answer(path, sha256):
            is_done = isinstance(self.output, NoLines) and sha256 is not None and not self._is_wanted(path, data)
            return Need.NOTHING_BESIDE if is_done else Need.ANSWER
        with contextlib.suppress(InputError):  # which was said when it had its answer
            if self.output.line(path, sha256) is not None and self._is_wanted(path, data):
                return Need.WRITING
        return Need.NOTHING

    def _is_wanted(self, path: str, data: bytes) -> bool:
        """Whether one of the writers wants the picture. InputError where none does, and one can't take it."""
        refusal = None
        for writer in self.writers:
            try:
                if writer.wants(path, data):
                    return True
            except InputError as error:
                refusal = error
        if refusal is not None:
            raise refusal
        return False

    def _kept(self, outcome: Outcome) -> Outcome:
        """The outcome once its caption is where it is to go besides the output; another one where that can't be."""
        caption, sha256, line = outcome.caption, outcome.sha256, outcome.line
        earlier = self.output.line(outcome.path, sha256) if outcome.become is Become.WRITTEN else None
        if earlier is not None:
            caption = caption_of(earlier)
        if caption is None or sha256 is None:
            return outcome
        if caption.tags == () and self.writers:
            return replace(outcome, become=Become.UNWRITTEN, problem="the answer holds no tags; ask otherwise by -p")
        try:
            for writer in self.writers:  # the one that changes the picture comes last
                changed = writer.write(outcome.path, sha256, caption)
                if changed is not None and (said := line or earlier) is not None:
                    line = {**said, "embedded_sha256": changed}
        except InputError as error:  # the line is kept, so that the next run writes without asking again
            return replace(outcome, line=line, become=Become.UNWRITTEN, problem=str(error))
        return replace(outcome, line=line)
