"""One browser tab's live session, from its first event to its last."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import anyio
import numpy as np

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.live.answering.own_decoder import OwnDecoder
from omnilmm_lite.live.ears.hearing import Hearing, WhileSpeaking
from omnilmm_lite.live.ears.microphones.pushed import PushedMicrophone
from omnilmm_lite.live.ears.sound import SAMPLE_RATE, Pcm
from omnilmm_lite.live.events import Stage, Trouble, to_json
from omnilmm_lite.live.frames.pushed import PushedFrames
from omnilmm_lite.live.model_turns import SharedModel
from omnilmm_lite.live.session import LiveSession
from omnilmm_lite.live.voices.speech import Speech
from omnilmm_lite.serve.engine import Engine
from omnilmm_lite.serve.errors import ApiError, invalid, shutting_down
from omnilmm_lite.serve.live.loan import ModelLoan
from omnilmm_lite.serve.live.loudspeaker import BrowserLoudspeaker, Played
from omnilmm_lite.serve.live.senses import Senses, new_endpointer
from omnilmm_lite.serve.live.wishes import Wishes

SILENCE_S = 1.0  # behind what was said while a button was held: it ends there, at once

Write: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]  # one event, as a JSON object


class Tab:
    """Used in one event loop. The session lasts as long as `run`."""

    def __init__(self, engine: Engine, wishes: Wishes, senses: Senses) -> None:
        self.id = secrets.token_urlsafe(12)
        self._engine, self._wishes, self._senses = engine, wishes, senses
        self._frames = PushedFrames(wishes.source)
        self._microphone = None if senses.recogniser is None else PushedMicrophone("browser")
        voice = senses.voice if wishes.speaks else None
        self._loudspeaker = None if voice is None else BrowserLoudspeaker(voice.sample_rate)
        self._session: LiveSession | None = None  # until the model is there

    @property
    def session(self) -> LiveSession:
        """ApiError before it has begun."""
        if self._session is None:
            raise ApiError(409, "the session has not begun yet: the model isn't free; try again later")
        return self._session

    async def run(self, write: Write) -> None:
        """Tells all that happens, until it is cancelled or the server ends. Nothing of it is left then."""
        await write({"event": "opened", "session": self.id})
        with self._engine.held():
            try:
                await self._run(write)
            except OmniLMMError as error:  # the model can't be had
                await write(to_json(Trouble(0.0, Stage.DESCRIBE, str(error))))
            finally:
                self._session = None

    async def _run(self, write: Write) -> None:
        loan = ModelLoan(self._engine, f"live {self.id}")
        async with loan.turn() as model:
            shared = SharedModel(model, loan.turn)
        del model  # the engine's, once this has ended
        session = self._session = LiveSession(
            shared,
            self._frames,
            OwnDecoder(shared, self._wishes.params),
            self._wishes.options,
            hearing=self._hearing(),
            speech=self._speech(),
        )
        lock = anyio.Lock()  # of the one stream to the browser
        with session.subscribe() as events:
            async with anyio.create_task_group() as group:
                group.start_soon(session.run)
                if self._loudspeaker is not None:
                    group.start_soon(_play, self._loudspeaker, write, lock)
                async for event in events:
                    async with lock:
                        await write(to_json(event))
                    if self._engine.is_closing:
                        break
                group.cancel_scope.cancel()
        if self._engine.is_closing:
            await write({"event": "closing", "message": shutting_down().message})

    def put(self, picture: Any) -> int:
        """A frame; its number. `picture`: RGB, by Pillow."""
        return self._frames.put(picture).number

    def hear(self, pcm: Pcm, rate: int, *, ends: bool) -> None:
        """Sound, (samples,). `ends`: nothing follows for a while, and what was said has been said. ApiError where
        there are no ears, or the rate is none."""
        if self._microphone is None:
            raise ApiError(409, "this server has no ears; start it with --ears pocketsphinx")
        try:
            if len(pcm):
                self._microphone.push(pcm, rate)
        except InputError as error:
            raise invalid(str(error), "rate") from None
        if ends:
            self._microphone.push(np.zeros(round(SILENCE_S * SAMPLE_RATE), np.int16), SAMPLE_RATE)

    def _hearing(self) -> Hearing | None:
        """The browser keeps back what it says itself, or takes it out of what it hears."""
        if self._microphone is None or self._senses.recogniser is None:
            return None
        return Hearing(self._microphone, new_endpointer(), self._senses.recogniser, WhileSpeaking.HEAR)

    def _speech(self) -> Speech | None:
        if self._loudspeaker is None or self._senses.voice is None:
            return None
        return Speech(self._senses.voice, self._loudspeaker)


async def _play(loudspeaker: BrowserLoudspeaker, write: Write, lock: anyio.Lock) -> None:
    async for played in loudspeaker:
        async with lock:
            await write(_sound(played, loudspeaker.sample_rate))


def _sound(played: Played, rate: int) -> dict[str, Any]:
    if played is None:
        return {"event": "silence"}
    data = np.ascontiguousarray(played, dtype="<i2").tobytes()
    return {"event": "sound", "rate": rate, "pcm": base64.b64encode(data).decode("ascii")}
