"""`omnilmm-lite run`: one answer, or the interactive chat."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from omnilmm_lite.commands.home.in_use import tell_demonstration
from omnilmm_lite.commands.options.machine import add_machine_options, machine_options, model_source
from omnilmm_lite.commands.options.sampling import add_sampling_options, sampling_options
from omnilmm_lite.errors import InputError

if TYPE_CHECKING:
    from omnilmm_lite.model import Model
    from omnilmm_lite.model_source import OpenCheckpoint
    from omnilmm_lite.picture.decoding_process import DecodingProcess
    from omnilmm_lite.terminal.picture import ChatPicture, PictureOpener


def add_run(parser: argparse.ArgumentParser, open_checkpoint: OpenCheckpoint) -> None:
    parser.description = "With -p (or text on standard input): one answer a picture. Without: an interactive chat."
    parser.add_argument("images", metavar="IMAGE", nargs="*", help="picture to talk about; none for text only")
    parser.add_argument("-p", "--prompt", help="the question")
    parser.add_argument("--system", metavar="TEXT", help="replaces the model's own system text")
    parser.add_argument("--json", action="store_true", help="print one JSON object with the answer and its timings")
    add_sampling_options(parser)
    add_machine_options(parser, open_checkpoint)
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> None:
    """Answers the prompt about each picture, or starts the chat."""
    from omnilmm_lite.picture.decoding_process import DecodingProcess

    prompt = args.prompt if args.prompt is not None else _piped_prompt()
    if prompt is not None and not prompt.strip():
        raise InputError("the prompt is empty: give a question after -p or on standard input")
    if prompt is None and args.json:
        raise InputError("--json needs a prompt: give a question after -p or on standard input")
    if prompt is None and len(args.images) > 1:
        raise InputError(f"a chat is about one picture, {len(args.images)} were given: name one, or ask with -p")
    with contextlib.closing(DecodingProcess()) as decoding:
        if args.images:
            decoding.start()  # while the engine is imported
        _run(args, prompt, decoding)
    if prompt is not None:
        tell_demonstration(args.model)


def _run(args: argparse.Namespace, prompt: str | None, decoding: DecodingProcess) -> None:
    from omnilmm_lite.sampling_params import SamplingParams, sampling_params
    from omnilmm_lite.terminal.picture import PictureOpener
    from omnilmm_lite.terminal.waiting_line import value_of

    # bad options and a bad picture are said before the model is loaded
    sampling_params(SamplingParams(), sampling_options(args))
    pictures = _pictures(args.images, decoding)

    source = model_source(args)
    model = value_of(lambda: source.load(machine_options(args)), "opening the model")
    if model.device.is_fallback:
        print(f"device: {model.device.placement} ({model.device.reason})", file=sys.stderr)
    opener = PictureOpener(decoding, model.config.vision)
    if prompt is None:
        from omnilmm_lite.terminal.chat_loop import converse

        tell_demonstration(args.model)
        params = sampling_params(model.sampling, sampling_options(args))
        converse(model, opener, pictures[0](opener), args.system, params)
    elif args.json:
        answers = [_answer(model, open_picture(opener), prompt, args, show=False) for open_picture in pictures]
        print(json.dumps(answers[0] if len(answers) == 1 else {"answers": answers}, ensure_ascii=False))
    else:
        for path, open_picture in zip(args.images or [None], pictures, strict=True):
            picture = open_picture(opener)
            if len(pictures) > 1:
                print(f"{path}: ", end="", flush=True)
            _answer(model, picture, prompt, args, show=True)
            del picture  # before the next one comes


def _pictures(paths: list[str], decoding: DecodingProcess) -> list[Callable[[PictureOpener], ChatPicture | None]]:
    """What gives each picture when its turn comes. InputError where one of them can't be opened now.

    Now they are prepared for the published tower. One picture is kept, if that is the model's; several are opened
    again, as each is a few megabytes, and there may be thousands.
    """
    from omnilmm_lite.config import VisionConfig
    from omnilmm_lite.terminal.picture import PictureOpener

    published = PictureOpener(decoding, VisionConfig())

    def opened(path: str, opener: PictureOpener) -> ChatPicture:
        return kept if kept is not None and opener.makes_the_same_as(published) else opener.open_file(path)

    kept = None
    for path in paths:
        kept = None  # one at a time
        kept = published.open_file(path)
    if len(paths) > 1:
        kept = None
    return [partial(opened, path) for path in paths] or [lambda opener: None]


def _piped_prompt() -> str | None:
    """What standard input holds, without the line's end that `echo` adds; None where it is a terminal."""
    if sys.stdin is None:  # closed
        return ""
    if sys.stdin.isatty():
        return None
    try:
        return sys.stdin.read().strip()
    except UnicodeDecodeError:
        raise InputError("standard input: the prompt is not UTF-8 text; convert it first") from None


def _answer(
    model: Model, picture: ChatPicture | None, prompt: str, args: argparse.Namespace, *, show: bool
) -> dict[str, Any]:
    """Runs one answer, printing it as it comes if `show`; the object that --json prints."""
    from omnilmm_lite.machine.memory import peak_rss_bytes
    from omnilmm_lite.sampling_params import sampling_params
    from omnilmm_lite.terminal.screen import shown
    from omnilmm_lite.terminal.waiting_line import items_of, value_of

    image = None if picture is None else picture.image
    chat = value_of(lambda: model.chat(image, args.system), "looking at the picture")
    answer = chat.answer(prompt, sampling_params(model.sampling, sampling_options(args)))
    as_shown = shown if sys.stdout.isatty() else str
    with contextlib.closing(items_of(lambda: chat.follow(prompt, answer), "thinking")) as pieces:
        for piece in pieces:
            if show:
                print(as_shown(piece), end="", flush=True)
    if show:
        print()
    return {
        "text": answer.text,
        "tokens": answer.tokens,
        "finish_reason": answer.finish_reason.value if answer.finish_reason else None,
        "timings": answer.timings.as_json(load_s=model.load_s, vision_s=chat.vision_s),
        "device": str(model.device.placement),
        "peak_rss_bytes": peak_rss_bytes(),
    }
