"""An answer's text, piece by piece, from its tokens."""

from __future__ import annotations

from collections.abc import Sequence

from omnilmm_lite.answer.stop_strings import StopStrings
from omnilmm_lite.text.tokenizer import Detokenizer, TrailingSpace


class Words:
    """What may be shown: nothing of a character that is half there, of a stop string, nor white space at the end."""

    def __init__(self, detokenizer: Detokenizer, stop: Sequence[str], *, continues: bool) -> None:
        """`continues`: the answer goes on with a text, so white space at its ends is kept."""
        self._detokenizer, self._stop, self._space = detokenizer, StopStrings(stop), TrailingSpace()
        self._continues = continues

    @property
    def has_stopped(self) -> bool:
        """Whether a stop string was said."""
        return self._stop.found

    def push(self, token: int) -> str:
        """What the token lets be shown; often nothing."""
        return self._shown(self._stop.push(self._detokenizer.push(token)))

    def finish(self) -> str:
        """What is left at the end."""
        return self._shown(self._stop.push(self._detokenizer.finish()) + self._stop.finish())

    def _shown(self, piece: str) -> str:
        """Stop strings may be white space, so they look before any of it is held back."""
        if self._continues:
            return piece
        return self._space.release() + piece if self._stop.found else self._space.push(piece)
