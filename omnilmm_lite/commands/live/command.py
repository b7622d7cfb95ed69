"""`omnilmm-lite live`: watches, describes, answers what is typed or said, and says the answer."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from omnilmm_lite.commands.home.in_use import tell_demonstration
from omnilmm_lite.commands.live.options import (
    NONE,
    SAME,
    add_answering_options,
    add_speech_options,
    add_watching_options,
    answer_params,
    session_options,
)
from omnilmm_lite.commands.live.transcript import add_transcript_options, transcript_listeners, use_transcript
from omnilmm_lite.commands.options.machine import add_machine_options, machine_options, model_source
from omnilmm_lite.commands.options.sampling import add_sampling_options
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.machine.extras import Extra, missing_package

if TYPE_CHECKING:
    from omnilmm_lite.live.answering.endpoint import Endpoint
    from omnilmm_lite.live.ears.hearing import Hearing
    from omnilmm_lite.live.ears.recogniser import Recogniser
    from omnilmm_lite.live.frames.source import FrameSource
    from omnilmm_lite.live.listeners import Listener
    from omnilmm_lite.live.options import SessionOptions
    from omnilmm_lite.live.terminal.prompt_face import PromptFace
    from omnilmm_lite.live.voices.speech import Speech
    from omnilmm_lite.live.voices.voice import Voice
    from omnilmm_lite.model import Model
    from omnilmm_lite.model_source import ModelSource, OpenCheckpoint

KEY_VARIABLE = "OMNILMM_LLM_KEY"


def add_live(parser: argparse.ArgumentParser, open_checkpoint: OpenCheckpoint) -> None:
    parser.description = (
        "Watches a camera, a video, pictures or a screen, describes what happens, and answers questions about it, "
        f"typed or spoken. Nothing leaves the machine, unless --llm names another one (its key: {KEY_VARIABLE}). "
        "With a browser's camera and microphone: omnilmm-lite serve, and its page at /live."
    )
    add_watching_options(parser)
    add_answering_options(parser)
    add_speech_options(parser)
    add_transcript_options(parser)
    add_sampling_options(parser)
    add_machine_options(parser, open_checkpoint)
    parser.set_defaults(command=live)


@dataclass(frozen=True)
class Parts:
    """All that can be told to be wrong before the model is loaded."""

    options: SessionOptions
    model: ModelSource
    frames: FrameSource
    endpoint: Endpoint | None
    recogniser: Recogniser | None
    voice: Voice | None


def live(args: argparse.Namespace) -> None:
    """Until the source has ended, or on a terminal until Ctrl-D or Ctrl-C."""
    if use_transcript(args):
        return
    try:
        import anyio
    except ImportError as error:
        raise missing_package("live", error, Extra.LIVE) from None
    from omnilmm_lite.terminal.screen import wants_plain

    is_plain = wants_plain()
    parts = _parts(args, outlives_source=not is_plain)
    try:
        was_interrupted = anyio.run(partial(_live, args, parts, is_plain=is_plain))
    except BaseExceptionGroup as group:
        raise _first(group) from None
    if was_interrupted:
        raise KeyboardInterrupt
    tell_demonstration(args.model)


def _parts(args: argparse.Namespace, *, outlives_source: bool) -> Parts:
    from omnilmm_lite.live.answering.endpoint import Endpoint
    from omnilmm_lite.live.ears.opening import open_recogniser
    from omnilmm_lite.live.frames.opening import open_source
    from omnilmm_lite.live.voices.opening import open_voice

    options = session_options(args, outlives_source=outlives_source)
    if args.llm == SAME and args.llm_model is not None:
        raise InputError("--llm-model: it names an endpoint's model; give the endpoint's address with --llm")
    if args.ears == NONE and (args.push_to_talk or args.headphones or args.microphone is not None):
        raise InputError("there are no ears to listen with: give --ears pocketsphinx, or leave the microphone out")
    endpoint = None if args.llm == SAME else Endpoint(args.llm, args.llm_model, os.environ.get(KEY_VARIABLE))
    frames, model = open_source(args.source), model_source(args)
    return Parts(options, model, frames, endpoint, open_recogniser(args.ears), open_voice(args.voice))


async def _live(args: argparse.Namespace, parts: Parts, *, is_plain: bool) -> bool:
    """Whether Ctrl-C ended it."""
    from omnilmm_lite.live.answering.own_decoder import OwnDecoder
    from omnilmm_lite.live.listeners import SourceFailure, run_with
    from omnilmm_lite.live.model_turns import SharedModel
    from omnilmm_lite.live.session import LiveSession

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(parts.frames)
        listeners = transcript_listeners(args, stack.enter_context(ExitStack()))
        if parts.endpoint is not None:
            await stack.enter_async_context(parts.endpoint)
        hearing = await _hearing(args, parts, stack)
        speech = await _speech(args, parts, stack)
        model = await _load(args, parts.model)
        shared, params = SharedModel(model), answer_params(model.sampling, args)
        session = LiveSession(
            shared,
            parts.frames,
            parts.endpoint or OwnDecoder(shared, params),
            replace(parts.options, answer=params),
            hearing=hearing,
            speech=speech,
        )
        face, failure = None if is_plain else _prompt_face(args), SourceFailure()
        await run_with(session, [face or _plain_face(), failure, *listeners])
        if is_plain and failure.message is not None:  # on a terminal it was seen, and the session went on
            raise OmniLMMError(failure.message)
        return face is not None and face.was_interrupted


def _prompt_face(args: argparse.Namespace) -> PromptFace:
    from omnilmm_lite.live.terminal.prompt_face import PromptFace

    return PromptFace(push_to_talk=args.push_to_talk)


def _plain_face() -> Listener:
    from omnilmm_lite.live.terminal.plain_face import PlainFace

    try:
        return PlainFace(None if sys.stdin is None else sys.stdin.fileno())
    except OSError:  # a stand-in for standard input has no file
        return PlainFace(None)


async def _hearing(args: argparse.Namespace, parts: Parts, stack: AsyncExitStack) -> Hearing | None:
    from omnilmm_lite.live.ears.hearing import Hearing, WhileSpeaking
    from omnilmm_lite.live.ears.opening import open_endpointer, open_microphone

    if parts.recogniser is None:
        return None
    microphone = open_microphone(args.microphone)
    await stack.enter_async_context(microphone)
    endpointer = open_endpointer(push_to_talk=args.push_to_talk)
    while_speaking = WhileSpeaking.HEAR if args.headphones else WhileSpeaking.DEAF
    return Hearing(microphone, endpointer, parts.recogniser, while_speaking)


async def _speech(args: argparse.Namespace, parts: Parts, stack: AsyncExitStack) -> Speech | None:
    from omnilmm_lite.live.voices.opening import open_loudspeaker
    from omnilmm_lite.live.voices.speech import Speech

    if parts.voice is None:
        return None
    loudspeaker = open_loudspeaker(parts.voice.sample_rate, args.loudspeaker)
    await stack.enter_async_context(loudspeaker)
    return Speech(parts.voice, loudspeaker)


async def _load(args: argparse.Namespace, source: ModelSource) -> Model:
    """In a thread, which Ctrl-C interrupts."""
    from omnilmm_lite.engine.interrupt import Interrupt, interruptible
    from omnilmm_lite.live.worker import in_worker
    from omnilmm_lite.terminal.waiting_line import WaitingLine

    interrupt = Interrupt()

    def load() -> Model:
        with interruptible(interrupt):
            return source.load(machine_options(args))

    with WaitingLine("opening the model"):
        model = await in_worker(load, interrupt.set)
    if model.device.is_fallback:
        print(f"device: {model.device.placement} ({model.device.reason})", file=sys.stderr)
    return model


def _first(error: BaseException) -> BaseException:
    """Of several that came together: the first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
