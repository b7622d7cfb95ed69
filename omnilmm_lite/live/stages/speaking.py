"""Answers are said while they come, one after the other."""

from __future__ import annotations

import time
from collections import deque

import anyio

from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.live.ears.hearing import Hearing
from omnilmm_lite.live.events import SpeakingBegan, Stage
from omnilmm_lite.live.journal import Journal
from omnilmm_lite.live.stages.answering import ComingAnswer
from omnilmm_lite.live.voices.speech import Speech

LISTEN_S = 0.03  # between two looks whether somebody is still speaking


class Speaking:
    """`hearing`, where there are ears, is told while the loudspeaker speaks."""

    def __init__(self, speech: Speech, hearing: Hearing | None, journal: Journal) -> None:
        self._speech, self._hearing, self._journal = speech, hearing, journal
        self._waiting: deque[ComingAnswer] = deque()
        self._came = anyio.Event()
        self._takes_more = True
        self._scope: anyio.CancelScope | None = None  # of what is being said

    def say(self, answer: ComingAnswer) -> None:
        """When those before it have been said."""
        self._waiting.append(answer)
        self._came.set()

    def interrupt(self) -> None:
        """Silence: what is being said, and what waits for that, isn't said."""
        for answer in self._waiting:
            answer.pieces.close()
        self._waiting.clear()
        if self._scope is not None:
            self._scope.cancel()

    def close(self) -> None:
        """No more answers come."""
        self._takes_more = False
        self._came.set()

    async def run(self) -> None:
        """Until `close`, and all is said."""
        while True:
            while not self._waiting:
                if not self._takes_more:
                    return
                self._came = anyio.Event()
                await self._came.wait()
            await self._say(self._waiting.popleft())

    async def _say(self, answer: ComingAnswer) -> None:
        has_begun = False

        def began() -> None:
            nonlocal has_begun
            has_begun = True
            if self._hearing is not None:
                self._hearing.speaking(True)
            seconds = round(time.monotonic() - answer.question.ended_s, 4)
            self._journal.meter.took(Stage.SPEAK, seconds)
            self._journal.tell(SpeakingBegan(self._journal.now_s, answer.question.question_id, seconds))

        with answer.pieces, anyio.CancelScope() as self._scope:
            try:
                await self._silence()
                await self._speech.say(answer.pieces, began)
                self._journal.works(Stage.SPEAK)
            except OmniLMMError as error:
                self._journal.trouble(Stage.SPEAK, str(error))
            finally:
                if self._hearing is not None and has_begun:  # else who interrupts is not to be deaf to
                    self._hearing.speaking(False)
        self._scope = None

    async def _silence(self) -> None:
        """Waits until nobody is in the middle of a question, which deaf ears would lose."""
        while self._hearing is not None and self._hearing.in_speech:
            await anyio.sleep(LISTEN_S)
