"""One picture of what a session watches."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field

from PIL import Image


@dataclass(frozen=True, eq=False)
class Frame:
    """`picture` is RGB and never changed by anybody."""

    picture: Image.Image
    number: int  # from 1, counted by its source
    captured_s: float = field(default_factory=time.monotonic)  # when it was there, of `time.monotonic`
    position_s: float | None = None  # in a video: seconds from its beginning

    @property
    def sha256(self) -> str:
        """Hash of the RGB bytes, row by row, in hexadecimal. Milliseconds."""
        return hashlib.sha256(self.picture.tobytes()).hexdigest()
