"""What is said to the session becomes questions, and silences it."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.live.ears.hearing import Hearing, HearingEvent, NotHeard
from omnilmm_lite.live.ears.utterances import SpeechBegan
from omnilmm_lite.live.events import Stage
from omnilmm_lite.live.journal import Journal

LAST_WORDS_S = 5.0  # that somebody who speaks has when the source ends
LOOK_S = 0.02


class Listening:
    """`ask` takes a question and when it ended (`time.monotonic()`), with InputError where it can't be taken. `hush`
    is called when somebody begins to speak."""

    def __init__(
        self, hearing: Hearing, ask: Callable[[str, float], object], hush: Callable[[], None], journal: Journal
    ) -> None:
        self._hearing, self._ask, self._hush, self._journal = hearing, ask, hush, journal
        self._is_pending = False  # somebody spoke, and the words aren't there yet

    async def run(self) -> None:
        """Until the sound ends, or the microphone fails, which is a trouble."""
        try:
            await self._hearing.run(self._tell)
        except OmniLMMError as error:
            self._journal.trouble(Stage.LISTEN, str(error))
        self._is_pending = False

    async def last_words(self) -> None:
        """Returns when nobody is in the middle of a question, or has been for LAST_WORDS_S."""
        with anyio.move_on_after(LAST_WORDS_S):
            while self._is_pending:
                await anyio.sleep(LOOK_S)

    async def _tell(self, event: HearingEvent) -> None:
        self._is_pending = isinstance(event, SpeechBegan)
        if isinstance(event, SpeechBegan):
            self._hush()
            return
        if isinstance(event, NotHeard):
            self._journal.trouble(Stage.LISTEN, event.message)
            return
        if not event.text:
            return
        self._journal.meter.took(Stage.LISTEN, event.text_s - event.end_s)
        try:
            self._ask(event.text, event.end_s)
            self._journal.works(Stage.LISTEN)
        except InputError as error:
            self._journal.trouble(Stage.LISTEN, str(error))
