"""What comes of one picture, where no file name belongs to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# The columns of a row, in their order; docs/scale.md says what they hold.
COLUMNS = (
    "sha256",
    "text",
    "tags",
    "error",
    "finish_reason",
    "model",
    "vision_s",
    "prefill_s",
    "decode_s",
    "prompt_tokens",
    "new_tokens",
)


@dataclass(frozen=True)
class CaptionRow:
    """One of `text` and `error` is None. `sha256` is that of the picture's file, of a PIL picture that of its pixels;
    None where it couldn't be read. Seconds and tokens are None with `error`."""

    sha256: str | None
    model: str  # its name and a hash that changes with the weights
    text: str | None = None
    tags: tuple[str, ...] | None = None  # where tags were asked for
    error: str | None = None
    finish_reason: str | None = None  # stop or length
    vision_s: float | None = None  # the picture's encoding
    prefill_s: float | None = None
    decode_s: float | None = None  # from the first token on; with several answers at once all their steps
    prompt_tokens: int | None = None
    new_tokens: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """By the names of COLUMNS, tags as a list."""
        row = {name: getattr(self, name) for name in COLUMNS}
        return row | {"tags": None if self.tags is None else list(self.tags)}
