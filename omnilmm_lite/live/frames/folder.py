"""The pictures of a folder, one after the other."""

from __future__ import annotations

from pathlib import Path

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.files.printable import printable
from omnilmm_lite.live.frames.blocking import BlockingSource
from omnilmm_lite.live.frames.frame import Frame
from omnilmm_lite.picture.listing import Filter, list_pictures
from omnilmm_lite.picture.reading import load_image


class PictureFolder(BlockingSource):
    """In the order of their names; what is below the folder is left out, and what can't be read is passed over. No
    picture is dropped: the next comes when the reader is ready."""

    waits_for_reader = True

    def __init__(self, folder: Path) -> None:
        super().__init__(printable(str(folder)))
        self._folder = folder
        self._paths: list[Path] = []
        self._was_read = False

    def open(self) -> None:
        """InputError where there is no such folder, or no picture in it."""
        listing = list_pictures(self._folder, Filter(recursive=False))
        self._paths = [self._folder / path for path in reversed(listing.paths)]

    def read(self) -> Frame | None:
        """OmniLMMError at the end where not one picture could be read."""
        failure: OmniLMMError | None = None
        while self._paths:
            try:
                picture = load_image(self._paths.pop())
            except InputError as error:
                failure = error
                continue
            self._was_read = True
            return Frame(picture, self.next_number())
        if failure is not None and not self._was_read:
            raise failure
        return None

    def close(self) -> None:
        self._paths.clear()
