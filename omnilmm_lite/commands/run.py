"""`omnilmm-lite run`: one answer, or the interactive chat."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnilmm_lite.commands.home.in_use import tell_demonstration
from omnilmm_lite.commands.options.machine import add_machine_options, machine_options, model_source
from omnilmm_lite.commands.options.picture import add_picture_options
from omnilmm_lite.commands.options.sampling import add_sampling_options, sampling_options
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.printable import printable

STDIN_NAMES = ("-", "/dev/stdin", "/dev/fd/0")

if TYPE_CHECKING:
    from omnilmm_lite.model import Model
    from omnilmm_lite.model_source import OpenCheckpoint
    from omnilmm_lite.picture.decoding_process import DecodingProcess
    from omnilmm_lite.picture.file import PictureFile
    from omnilmm_lite.terminal.picture import ChatPicture, PictureOpener


def add_run(parser: argparse.ArgumentParser, open_checkpoint: OpenCheckpoint) -> None:
    parser.description = (
        "With a question (behind the picture, after -p, or on standard input): one answer a picture. Without: an "
        "interactive chat."
    )
    parser.add_argument(
        "images",
        metavar="IMAGE",
        nargs="*",
        help="picture to talk about, - for one on standard input, none for text only; words that are no file are the "
        "question",
    )
    parser.add_argument("-p", "--prompt", help="the question; all other words are pictures then")
    parser.add_argument("--continue", action="store_true", dest="goes_on", help="take up the newest conversation")
    parser.add_argument(
        "--keep-chats",
        action=argparse.BooleanOptionalAction,
        help="keep conversations for --continue (default: the last 20)",
    )
    parser.add_argument("--system", metavar="TEXT", help="replaces the model's own system text")
    parser.add_argument("--json", action="store_true", help="print one JSON object with the answer and its timings")
    add_picture_options(parser)
    add_sampling_options(parser)
    add_machine_options(parser, open_checkpoint)
    parser.set_defaults(command=run, words="images")


def run(args: argparse.Namespace) -> None:
    """Answers the prompt about each picture, or starts the chat."""
    from omnilmm_lite.picture.decoding_process import DecodingProcess

    given = _given(args)
    if given.prompt is not None and not given.prompt.strip():
        raise InputError("the prompt is empty: give a question after -p or on standard input")
    if given.prompt is None and args.json:
        raise InputError("--json needs a prompt: give a question after -p or on standard input")
    if given.prompt is None and len(given.pictures) > 1:
        raise InputError(f"a chat is about one picture, {len(given.pictures)} were given: name one, or ask with -p")
    process = DecodingProcess(
        ignore_colour_profile=args.ignore_colour_profile, on_remark=lambda line: print(line, file=sys.stderr)
    )
    with contextlib.closing(process) as decoding:
        if given.pictures:
            decoding.start()  # while the engine is imported
        _run(args, given, decoding)
    if given.prompt is not None:
        tell_demonstration(args.model)


@dataclass(frozen=True)
class _Given:
    """`prompt` None: a chat. `earlier`: the file of the conversation that it goes on with."""

    pictures: tuple[str | Path | PictureFile, ...]
    prompt: str | None
    earlier: Path | None = None


def _given(args: argparse.Namespace) -> _Given:
    """What the command line and standard input give."""
    if args.goes_on:
        return _Given((), None, _earlier(args))
    words, prompt = args.images, args.prompt
    if prompt is None:
        words, prompt = _pictures_and_question(words)
    piped = [word for word in words if word in STDIN_NAMES]
    if not piped:
        return _Given(tuple(words), _piped_prompt() if prompt is None else prompt)
    if prompt is None or len(piped) > 1:
        raise InputError(
            f"{piped[0]}: standard input holds one picture and no question: give that behind it or after -p"
        )
    file = _piped_picture()
    return _Given(tuple(file if word in STDIN_NAMES else word for word in words), prompt)


def _earlier(args: argparse.Namespace) -> Path:
    from omnilmm_lite.terminal.chats.kept import newest_kept

    given = [*args.images, *(["-p"] if args.prompt is not None else []), *(["--json"] if args.json else [])]
    given += ["--system"] if args.system is not None else []
    if given:
        raise InputError(f"--continue: it takes up a conversation as it was; leave {printable(given[0])} out")
    if sys.stdin is None or not sys.stdin.isatty():
        raise InputError("--continue: a conversation needs a terminal to type into; use one")
    return newest_kept()


def _pictures_and_question(words: Sequence[str]) -> tuple[list[str | Path], str | None]:
    """Words that name files, and the rest, which is the question; it may hold a path itself. None: there is no rest."""
    from omnilmm_lite.terminal.paths.line import is_path, read_line
    from omnilmm_lite.terminal.paths.readings import is_file

    pictures: list[str | Path] = []
    question: list[str] = []
    for word in words:
        if word in STDIN_NAMES or is_file(word) or is_path(word):
            pictures.append(word)
        elif any(letter.isspace() for letter in word):
            line = read_line(word)
            pictures += line.pictures
            question.append(line.question)
        else:
            question.append(word)
    if len(words) == 1 and not pictures and words[0].split() == [words[0]]:
        pictures, question = list(words), []  # one word alone is rather a name that is mistyped
    return pictures, " ".join(question) if question else None


def _piped_picture() -> PictureFile:
    """The picture on standard input. InputError where it is a terminal, closed, or holds too much."""
    from omnilmm_lite.picture.file import MAX_FILE_BYTES, PictureFile

    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("standard input: no picture comes there; pipe one in, as in `... | omnilmm-lite run - -p ...`")
    data = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise InputError(f"standard input: it holds more than {MAX_FILE_BYTES >> 20} MiB; make the picture smaller")
    return PictureFile(data, "standard input")


def _run(args: argparse.Namespace, given: _Given, decoding: DecodingProcess) -> None:
    from omnilmm_lite.sampling_params import SamplingParams, sampling_params
    from omnilmm_lite.terminal.picture import PictureOpener
    from omnilmm_lite.terminal.waiting_line import value_of

    prompt = given.prompt
    # bad options and a bad picture are said before the model is loaded
    sampling_params(SamplingParams(), sampling_options(args))
    pictures = _pictures(given.pictures, decoding)

    source = model_source(args)
    model = value_of(lambda: source.load(machine_options(args)), "opening the model")
    if model.device.is_fallback:
        print(f"device: {model.device.placement} ({model.device.reason})", file=sys.stderr)
    opener = PictureOpener(decoding, model.config.vision)
    if prompt is None:
        from omnilmm_lite.terminal.chat_loop import converse

        tell_demonstration(args.model)
        params = sampling_params(model.sampling, sampling_options(args))
        picture = pictures[0](opener)
        converse(model, opener, picture, args.system, params, keeps=args.keep_chats, earlier=given.earlier)
    elif args.json:
        answers = [_answer(model, open_picture(opener), prompt, args, show=False) for open_picture in pictures]
        print(json.dumps(answers[0] if len(answers) == 1 else {"answers": answers}, ensure_ascii=False))
    else:
        for name, open_picture in zip(given.pictures or [None], pictures, strict=True):
            shown = open_picture(opener)
            name = getattr(name, "label", name)
            _answer(model, shown, prompt, args, show=True, before=f"{name}: " if len(pictures) > 1 else "")
            del shown  # before the next one comes


def _pictures(
    sources: Sequence[str | Path | PictureFile], decoding: DecodingProcess
) -> list[Callable[[PictureOpener], ChatPicture | None]]:
    """What gives each picture when its turn comes. InputError where one of them can't be opened now.

    Now they are prepared for the published tower. One picture is kept, if that is the model's; several are opened
    again, as each is a few megabytes, and there may be thousands.
    """
    from omnilmm_lite.config import VisionConfig
    from omnilmm_lite.terminal.picture import PictureOpener

    published = PictureOpener(decoding, VisionConfig())

    def opened(source: str | Path | PictureFile, opener: PictureOpener) -> ChatPicture:
        if kept is not None and opener.makes_the_same_as(published):
            return kept
        return opener.open_file(source) if isinstance(source, str | Path) else opener.open_bytes(source)

    kept = None
    for source in sources:
        kept = None  # one at a time
        kept = opened(source, published)
    if len(sources) > 1:
        kept = None
    return [partial(opened, source) for source in sources] or [lambda opener: None]


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
    model: Model, picture: ChatPicture | None, prompt: str, args: argparse.Namespace, *, show: bool, before: str = ""
) -> dict[str, Any]:
    """Runs one answer, printing it as it comes if `show`, behind `before`; the object that --json prints."""
    from omnilmm_lite.machine.memory import peak_rss_bytes
    from omnilmm_lite.sampling_params import sampling_params
    from omnilmm_lite.terminal.screen import AnswerText
    from omnilmm_lite.terminal.waiting_line import items_of, value_of

    image = None if picture is None else picture.image
    chat = value_of(lambda: model.chat(image, args.system), "looking at the picture")
    answer = chat.answer(prompt, sampling_params(model.sampling, sampling_options(args)))
    text = AnswerText()
    if show:
        text.add(before)
    with contextlib.closing(items_of(lambda: chat.follow(prompt, answer), "thinking")) as pieces:
        for piece in pieces:
            if show:
                text.add(piece)
    if show:
        text.end()
        print()
    return {
        "text": answer.text,
        "tokens": answer.tokens,
        "finish_reason": answer.finish_reason.value if answer.finish_reason else None,
        "timings": answer.timings.as_json(load_s=model.load_s, vision_s=chat.vision_s),
        "device": str(model.device.placement),
        "peak_rss_bytes": peak_rss_bytes(),
    }
