"""From a microphone to questions: the one thing that the pipeline listens to."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

import anyio
from anyio import to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.live.ears.microphone import Microphone
from omnilmm_lite.live.ears.push_to_talk import PushToTalk
from omnilmm_lite.live.ears.recogniser import Recogniser
from omnilmm_lite.live.ears.utterances import Endpointer, SpeechBegan, SpeechPaused, Utterance

ECHO_S = 0.3  # a room goes on sounding, and a loudspeaker's own buffer is not known
WAITING = 8  # utterances that wait for the recogniser; the microphone waits for room


class WhileSpeaking(Enum):
    """What ears do while the loudspeaker speaks."""

    DEAF = "deaf"  # or the own voice would be heard as a question
    HEAR = "hear"  # speech interrupts speech: with headphones, or where a key has to be held


@dataclass(frozen=True)
class Heard:
    """What somebody said."""

    text: str  # "" where no word was understood
    begin_s: float  # time.monotonic() of the first voice
    end_s: float  # of the last: latency counts from here
    text_s: float  # when the text was there
    is_cut: bool  # the utterance was too long: this is a part of it


@dataclass(frozen=True)
class NotHeard:
    """The recogniser failed at what somebody said; what is said next may be heard."""

    message: str  # one line


HearingEvent: TypeAlias = SpeechBegan | Heard | NotHeard
Tell: TypeAlias = Callable[[HearingEvent], Awaitable[None]]


class Hearing:
    """Ears over a microphone that the caller has entered. Made and used in one event loop (anyio)."""

    def __init__(
        self,
        microphone: Microphone,
        endpointer: Endpointer,
        recogniser: Recogniser,
        while_speaking: WhileSpeaking = WhileSpeaking.DEAF,
    ) -> None:
        self._microphone = microphone
        self._endpointer = endpointer
        self._recogniser = recogniser
        self._may_be_deaf = while_speaking is WhileSpeaking.DEAF and not isinstance(endpointer, PushToTalk)
        self._deaf_until_s = -math.inf  # time.monotonic()
        self._is_busy = False  # the recogniser

    async def run(self, tell: Tell) -> None:
        """Calls `tell` with all that is heard until the sound ends and its last words are told: SpeechBegan at once,
        also while what was said before is still being recognised.

        Sound is taken while words are recognised in a thread: none is lost. OmniLMMError where the microphone
        fails; cancelling ends it within an utterance's recognition.
        """
        send, receive = anyio.create_memory_object_stream[SpeechPaused | Utterance](WAITING)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._recognise, receive, tell)
                async with send:
                    await self._listen(send, tell)
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None  # one fails, and the other is cancelled

    async def _listen(self, send: MemoryObjectSendStream[SpeechPaused | Utterance], tell: Tell) -> None:
        async for sound in self._microphone:
            if sound.end_s <= self._deaf_until_s:
                self._endpointer.forget()
                continue
            for event in self._endpointer.hear(sound):
                if isinstance(event, SpeechBegan):
                    await tell(event)
                elif isinstance(event, Utterance) or self._is_idle(send):
                    await send.send(event)
        for event in self._endpointer.finish():
            if isinstance(event, Utterance):
                await send.send(event)

    def _is_idle(self, send: MemoryObjectSendStream[SpeechPaused | Utterance]) -> bool:
        return not self._is_busy and not send.statistics().current_buffer_used

    async def _recognise(self, receive: MemoryObjectReceiveStream[SpeechPaused | Utterance], tell: Tell) -> None:
        """What may be a whole utterance is recognised while the silence after it still lasts; if it was one, its text
        is there when that is sure."""
        ahead: tuple[float, str] | None = None  # the end of its last voice, its text
        async with receive:
            async for event in receive:
                utterance = event.so_far if isinstance(event, SpeechPaused) else event
                try:
                    text = ahead[1] if ahead and ahead[0] == utterance.end_s else await self._hear(utterance)
                except OmniLMMError as error:
                    if event is utterance:  # else it is tried again when it is whole
                        await tell(NotHeard(str(error)))
                    continue
                ahead = None
                if isinstance(event, SpeechPaused):
                    ahead = utterance.end_s, text
                    continue
                await tell(Heard(text, utterance.begin_s, utterance.end_s, time.monotonic(), utterance.is_cut))

    async def _hear(self, utterance: Utterance) -> str:
        self._is_busy = True
        try:
            return await to_thread.run_sync(self._recogniser.hear, utterance.pcm)
        finally:
            self._is_busy = False

    def speaking(self, is_speaking: bool) -> None:
        """The loudspeaker begins (before its first sound) or has ended (after its last): deaf ears are deaf from then
        until the room is still. An utterance that is under way when it begins is lost: see `in_speech`."""
        if self._may_be_deaf:
            self._deaf_until_s = math.inf if is_speaking else time.monotonic() + ECHO_S

    def talk(self, is_held: bool) -> None:
        """The push-to-talk key went down or came up; nothing with an endpointer that needs none."""
        if isinstance(self._endpointer, PushToTalk):
            if is_held:
                self._endpointer.press()
            else:
                self._endpointer.release()

    @property
    def in_speech(self) -> bool:
        """Somebody is speaking: an answer had better wait."""
        return self._endpointer.in_speech
