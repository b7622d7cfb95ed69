"""Ending an answer at given words, which no piece of it may show even in part."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Passes text on as it comes, up to the first stop string; holds back an end that may be the start of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        """`stops`: none of them empty."""
        self._stops = tuple(stops)
        self._held = ""
        self.found = False

    def push(self, piece: str) -> str:
        """The text that is certain now. Once a stop string was `found`, there is no more."""
        if self.found:
            return ""
        text = self._held + piece
        starts = [start for stop in self._stops if (start := text.find(stop)) >= 0]
        if starts:
            self.found = True
            self._held = ""
            return text[: min(starts)]
        keep = max((self._open_end(text, stop) for stop in self._stops), default=0)
        certain = len(text) - keep
        self._held = text[certain:]
        return text[:certain]

    def finish(self) -> str:
        """The text that was held back as a stop string's possible beginning, now that the answer ends."""
        held, self._held = self._held, ""
        return held

    @staticmethod
    def _open_end(text: str, stop: str) -> int:
        """Length of the longest end of `text` that begins `stop`."""
        return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
