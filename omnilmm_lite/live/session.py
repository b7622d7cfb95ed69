"""A live session: watches, describes, answers, and tells its listeners what happens."""

from __future__ import annotations

import time

import anyio

from omnilmm_lite.live.answering.memory import Memory
from omnilmm_lite.live.answering.text_model import TextModel
from omnilmm_lite.live.broadcast import Subscription
from omnilmm_lite.live.ears.hearing import Hearing
from omnilmm_lite.live.events import SessionBegan, Stage, Status
from omnilmm_lite.live.frames.newest import NewestFrame
from omnilmm_lite.live.frames.source import FrameSource
from omnilmm_lite.live.journal import Journal
from omnilmm_lite.live.model_turns import SharedModel
from omnilmm_lite.live.options import SessionOptions
from omnilmm_lite.live.stages.answering import Answering
from omnilmm_lite.live.stages.capture import capture
from omnilmm_lite.live.stages.describing import Describing
from omnilmm_lite.live.stages.listening import Listening
from omnilmm_lite.live.stages.speaking import Speaking
from omnilmm_lite.live.voices.speech import Speech


class LiveSession:
    """Made and used in one event loop (anyio). What it is given it neither opens nor closes: `source`, the microphone
    under `hearing` and the loudspeaker under `speech` have been entered by the caller, so that what is absent is said
    before the model is loaded.

        async with source:
            session = LiveSession(SharedModel(model), source, text_model, options)
            with session.subscribe() as events:
                async with anyio.create_task_group() as group:
                    group.start_soon(session.run)
                    async for event in events: ...
    """

    def __init__(
        self,
        model: SharedModel,
        source: FrameSource,
        text_model: TextModel,
        options: SessionOptions | None = None,
        *,
        hearing: Hearing | None = None,
        speech: Speech | None = None,
    ) -> None:
        options = options or SessionOptions()
        self._model, self._source, self._text_model, self._options = model, source, text_model, options
        self._journal, self._newest, memory = Journal(), NewestFrame(), Memory(options.window)
        self._describing = Describing(model, self._newest, memory, self._journal, options)
        self._speaking = None if speech is None else Speaking(speech, hearing, self._journal)
        self._answering = Answering(
            model,
            text_model,
            self._describing,
            memory,
            self._journal,
            options,
            None if self._speaking is None else self._speaking.say,
        )
        self._hearing = hearing
        self._listening = None if hearing is None else Listening(hearing, self._ask_spoken, self._hush, self._journal)
        self._running, self._watch = anyio.CancelScope(), anyio.CancelScope()

    async def run(self) -> None:
        """Runs all stages until the source has ended and every question is answered (and said), or until `close` where
        the options say that it outlives its source; then the subscriptions end. `stop` and cancelling end everything
        within a second. A stage's trouble is an event, not an exception. Once."""
        journal, options = self._journal, self._options
        journal.begin()
        journal.tell(
            SessionBegan(
                0.0,
                time.time(),
                self._source.name,
                self._model.model.name,
                self._text_model.name,
                options.voice_name,
                options.ears_name,
            )
        )
        try:
            with self._running:
                async with anyio.create_task_group() as group:
                    group.start_soon(journal.publish)
                    if self._listening is not None:
                        group.start_soon(self._listening.run)
                    async with anyio.create_task_group() as stages:
                        stages.start_soon(self._watch_source)
                        stages.start_soon(self._answer)
                        if self._speaking is not None:
                            stages.start_soon(self._speaking.run)
                    group.cancel_scope.cancel()
        finally:
            self._answering.close()
            journal.end()

    def ask(self, text: str, *, spoken: bool = False, ended_s: float | None = None) -> int:
        """Puts a question; the id that its events carry. Questions are answered in turn, but a spoken one interrupts
        the answer before it. `ended_s`: time.monotonic() when it was said to its end (now, if not given).
        InputError where it is empty, too long, or too many wait."""
        question_id = self._answering.ask(text, spoken=spoken, ended_s=ended_s)
        if spoken:
            self._hush()
        return question_id

    def interrupt(self) -> None:
        """Ends the answer under way, and what is being said; nothing where there is none."""
        self._answering.interrupt()
        self._hush()

    def close(self) -> None:
        """No more frames and questions are taken: `run` ends when those asked are answered."""
        self._watch.cancel()
        self._answering.close()

    def stop(self) -> None:
        """Ends `run` at once: what was asked and isn't answered yet never will be."""
        self._running.cancel()

    def talk(self, is_held: bool) -> None:
        """The push-to-talk key went down or came up; nothing without ears that wait for one."""
        if self._hearing is not None:
            self._hearing.talk(is_held)

    def trouble(self, stage: Stage, message: str) -> None:
        """For who works beside the session (a transcript whose disk is full): a Trouble event, unless it was told
        already; `works` tells its end."""
        self._journal.trouble(stage, message)

    def works(self, stage: Stage) -> None:
        """A Recovered event, where the stage was in trouble."""
        self._journal.works(stage)

    def subscribe(self) -> Subscription:
        """A listener's own stream of events, from now on (from before `run`: of all). Any number of them."""
        return self._journal.subscribe()

    @property
    def status(self) -> Status:
        return self._journal.meter.status()

    async def _watch_source(self) -> None:
        """Until there are no more frames; then, unless the options say otherwise, no more questions are taken."""
        with self._watch:
            async with anyio.create_task_group() as group:
                group.start_soon(capture, self._source, self._newest, self._journal)
                group.start_soon(self._describing.run)
        if not self._options.outlives_source:
            if self._listening is not None:
                await self._listening.last_words()
            self._answering.close()

    async def _answer(self) -> None:
        await self._answering.run()
        if self._speaking is not None:
            self._speaking.close()

    def _ask_spoken(self, text: str, ended_s: float) -> int:
        return self.ask(text, spoken=True, ended_s=ended_s)

    def _hush(self) -> None:
        if self._speaking is not None:
            self._speaking.interrupt()
