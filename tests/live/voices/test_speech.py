"""An answer said while it comes, and ended in the middle."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from difflib import SequenceMatcher

import anyio
import numpy as np
import pytest

from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.live.ears.recognisers.pocketsphinx_recogniser import PocketSphinxRecogniser
from omnilmm_lite.live.ears.sound import Pcm
from omnilmm_lite.live.voices.opening import open_voice
from omnilmm_lite.live.voices.speech import Speech
from omnilmm_lite.live.voices.voice import Voice
from tests.live.media.recording import RecordingLoudspeaker
from tests.live.media.spoken import resampled

RATE = 10_000
PATIENCE_S = 20.0


class Spelling:
    """Says each letter for 10 ms, as its code; keeps what it was asked to say."""

    name = "spelling"
    sample_rate = RATE

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self.is_free = threading.Event()
        self.is_free.set()

    def speak(self, text: str) -> Iterator[Pcm]:
        self.sentences.append(text)
        assert self.is_free.wait(PATIENCE_S)
        for letter in text:
            yield np.full(RATE // 100, ord(letter), np.int16)


def said(pcm: Pcm) -> str:
    return "".join(chr(code) for code in pcm[:: RATE // 100])


async def pieces(*texts: str) -> AsyncIterator[str]:
    for text in texts:
        await anyio.sleep(0)
        yield text


def test_an_answer_is_said_sentence_by_sentence_and_then_drained() -> None:
    loudspeaker, voice = RecordingLoudspeaker(RATE), Spelling()
    begun: list[int] = []
    anyio.run(
        Speech(voice, loudspeaker).say,
        pieces("Ye", "s. I", "t is a c", "at."),
        lambda: begun.append(len(loudspeaker.heard)),
    )
    assert voice.sentences == ["Yes.", "It is a cat."]
    assert said(loudspeaker.heard) == "Yes.It is a cat."
    assert begun == [0]
    assert (loudspeaker.drained, loudspeaker.silenced) == (1, 0)


def test_nothing_is_said_of_nothing() -> None:
    loudspeaker = RecordingLoudspeaker(RATE)
    begun: list[int] = []
    anyio.run(Speech(Spelling(), loudspeaker).say, pieces("", " \n "), lambda: begun.append(1))
    assert (len(loudspeaker.heard), begun) == (0, [])


def test_the_first_sentence_is_heard_before_the_answer_ends() -> None:
    loudspeaker = RecordingLoudspeaker(RATE)

    async def answer() -> AsyncIterator[str]:
        yield "Yes. I"
        with anyio.fail_after(PATIENCE_S):
            while said(loudspeaker.heard) != "Yes.":  # it would wait for ever
                await anyio.sleep(0.001)
        yield "t is."

    anyio.run(Speech(Spelling(), loudspeaker).say, answer())
    assert said(loudspeaker.heard) == "Yes.It is."


def test_pieces_are_taken_as_they_come_however_long_they_take_to_say() -> None:
    voice, taken = Spelling(), []
    voice.is_free.clear()

    async def answer() -> AsyncIterator[str]:
        for number in range(100):
            taken.append(number)
            yield f"Sentence number {number}! "
        voice.is_free.set()  # or nothing would ever be said

    loudspeaker = RecordingLoudspeaker(RATE)
    anyio.run(Speech(voice, loudspeaker).say, answer())
    assert len(taken) == len(voice.sentences) == 100


def test_what_is_interrupted_is_silent_at_once() -> None:
    loudspeaker = RecordingLoudspeaker(RATE, is_paced=True)

    async def interrupt() -> None:
        with anyio.fail_after(PATIENCE_S):
            async with anyio.create_task_group() as group:
                group.start_soon(Speech(Spelling(), loudspeaker).say, pieces("a" * 250))  # seconds of it
                while not len(loudspeaker.heard):
                    await anyio.sleep(0.001)
                group.cancel_scope.cancel()
                heard = len(loudspeaker.heard)
        assert len(loudspeaker.heard) == heard
        assert loudspeaker.silenced == 1
        await anyio.sleep(0.05)
        assert len(loudspeaker.heard) == heard < RATE

    anyio.run(interrupt)


def test_a_voice_that_fails_ends_it_with_its_line() -> None:
    class Hoarse(Spelling):
        def speak(self, text: str) -> Iterator[Pcm]:
            if text:
                raise OmniLMMError("it could not say a sentence")
            yield np.zeros(0, np.int16)

    with pytest.raises(OmniLMMError, match=r"^it could not say a sentence$"):
        anyio.run(Speech(Hoarse(), RecordingLoudspeaker(RATE)).say, pieces("Yes."))


def test_an_answer_said_by_piper_is_understood_by_pocketsphinx() -> None:
    """Roughly, and at one time of four: the voice says it a little otherwise each time."""
    voice: Voice | None = open_voice("piper")
    assert voice is not None
    recogniser, likeness = PocketSphinxRecogniser(), 0.0
    expected = ["how", "many", "objects", "are", "there", "what", "is", "happening", "in", "the", "image"]
    for _ in range(4):
        loudspeaker = RecordingLoudspeaker(voice.sample_rate)
        said = pieces("How many objects are", " there? What is happening", " in the image?")
        anyio.run(Speech(voice, loudspeaker).say, said)
        words = recogniser.hear(resampled(loudspeaker.heard, voice.sample_rate)).lower().rstrip("?.").split()
        likeness = max(likeness, SequenceMatcher(None, words, expected).ratio())
        if likeness > 0.7:
            break
    assert likeness > 0.7
