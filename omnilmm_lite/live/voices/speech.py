"""An answer said while it comes."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterator

import anyio
from anyio import to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from omnilmm_lite.live.ears.sound import Pcm
from omnilmm_lite.live.voices.loudspeaker import Loudspeaker
from omnilmm_lite.live.voices.sentences import SentenceCutter
from omnilmm_lite.live.voices.voice import Voice

AHEAD = 1  # pieces of sound that are made before they can be heard


class Speech:
    """A voice at a loudspeaker that the caller has entered."""

    def __init__(self, voice: Voice, loudspeaker: Loudspeaker) -> None:
        self._voice = voice
        self._loudspeaker = loudspeaker

    async def say(self, pieces: AsyncIterator[str], began: Callable[[], None] = lambda: None) -> None:
        """Says what `pieces` add up to, from its first sentence on; returns when it has been heard.

        The next sentence is made while one is heard; pieces are taken as they come. `began` is called once, before the
        first sound. Cancelling is how it is interrupted: nothing is heard after that. OmniLMMError where the voice or
        the device fails.
        """
        write_sentence, sentences = anyio.create_memory_object_stream[str](math.inf)
        write_sound, sounds = anyio.create_memory_object_stream[Pcm](AHEAD)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(_cut, pieces, write_sentence)
                group.start_soon(self._make, sentences, write_sound)
                await self._play(sounds, began)
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None  # one fails, and the others are cancelled

    async def _make(self, sentences: MemoryObjectReceiveStream[str], sounds: MemoryObjectSendStream[Pcm]) -> None:
        async with sentences, sounds:
            async for sentence in sentences:
                made = self._voice.speak(sentence.strip())
                while (pcm := await to_thread.run_sync(_next, made)) is not None:
                    await sounds.send(pcm)

    async def _play(self, sounds: MemoryObjectReceiveStream[Pcm], began: Callable[[], None]) -> None:
        has_begun = False
        try:
            async with sounds:
                async for pcm in sounds:
                    if not has_begun:
                        has_begun = True
                        began()
                    await self._loudspeaker.play(pcm)
            await self._loudspeaker.drain()
        except anyio.get_cancelled_exc_class():
            self._loudspeaker.silence()
            raise


async def _cut(pieces: AsyncIterator[str], sentences: MemoryObjectSendStream[str]) -> None:
    cutter = SentenceCutter()
    async with sentences:
        async for piece in pieces:
            for sentence in cutter.push(piece):
                await sentences.send(sentence)
        for sentence in cutter.finish():
            await sentences.send(sentence)


def _next(made: Iterator[Pcm]) -> Pcm | None:
    """StopIteration can't leave a worker thread."""
    return next(made, None)
