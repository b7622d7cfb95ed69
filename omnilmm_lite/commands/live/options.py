"""The options of `live`, and what they mean."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from omnilmm_lite.commands.options.sampling import sampling_options

if TYPE_CHECKING:
    from omnilmm_lite.live.options import SessionOptions
    from omnilmm_lite.sampling_params import SamplingParams

SAME = "same"
NONE = "none"


def add_watching_options(parser: argparse.ArgumentParser) -> None:
    watching = parser.add_argument_group("watching")
    source = "camera:N, screen, screen:N, a video file or a folder of pictures (default: camera:0)"
    watching.add_argument("--source", metavar="SOURCE", default="camera:0", help=source)
    every = "least time between two descriptions (default: 0, as fast as the model can)"
    watching.add_argument("--every", type=float, metavar="SECONDS", default=0.0, help=every)
    watching.add_argument(
        "--window", type=int, metavar="N", default=8, help="descriptions kept for answers (default: 8)"
    )
    threshold = "how much a frame must differ from the last described one, 0 (every frame) to 1 (default: 0.03)"
    watching.add_argument("--threshold", type=float, metavar="T", default=None, help=threshold)
    prompt = "what is asked of each frame (default: What is happening in the image?)"
    watching.add_argument("-p", "--prompt", metavar="TEXT", help=prompt)


def add_answering_options(parser: argparse.ArgumentParser) -> None:
    answering = parser.add_argument_group("answering")
    llm = "what answers from descriptions: same, the model itself, or an OpenAI-compatible endpoint's address"
    answering.add_argument("--llm", metavar="same|URL", default=SAME, help=f"{llm} (default: same)")
    answering.add_argument(
        "--llm-model", metavar="NAME", help="the endpoint's model (default: the first that it lists)"
    )
    look = "whether a question looks at the newest frame itself (default: auto, where it asks about now)"
    answering.add_argument("--look", choices=("auto", "always", "never"), default="auto", help=look)


def add_speech_options(parser: argparse.ArgumentParser) -> None:
    speech = parser.add_argument_group("speech")
    ears = "what understands questions: none, pocketsphinx, vosk:FOLDER, whisper:FOLDER or sherpa:FOLDER"
    speech.add_argument("--ears", metavar="EARS", default=NONE, help=f"{ears} (default: none)")
    microphone = "its name or a part of it, or a sound file that is heard as one (default: the system's)"
    speech.add_argument("--microphone", metavar="NAME|FILE", help=microphone)
    push = "listen between two presses of Ctrl-T only, and not by voice"
    speech.add_argument("--push-to-talk", action="store_true", help=push)
    headphones = "listen while speaking, too: no loudspeaker is near the microphone"
    speech.add_argument("--headphones", action="store_true", help=headphones)
    voice = "what says answers: none, piper, or piper:FOLDER with a voice (default: none)"
    speech.add_argument("--voice", metavar="VOICE", default=NONE, help=voice)
    speech.add_argument("--loudspeaker", metavar="NAME", help="its name or a part of it (default: the system's)")


def session_options(args: argparse.Namespace, *, outlives_source: bool) -> SessionOptions:
    """What the command line says; `answer` is to be made anew of the model's own defaults. InputError for what is out
    of its range."""
    from omnilmm_lite.live.options import Look, SessionOptions
    from omnilmm_lite.sampling_params import SamplingParams

    defaults = SessionOptions()
    return SessionOptions(
        prompt=defaults.prompt if args.prompt is None else args.prompt,
        every_s=args.every,
        window=args.window,
        threshold=defaults.threshold if args.threshold is None else args.threshold,
        look=Look(args.look),
        answer=answer_params(SamplingParams(), args),
        voice_name=args.voice,
        ears_name=args.ears,
        outlives_source=outlives_source,
    )


def answer_params(defaults: SamplingParams, args: argparse.Namespace) -> SamplingParams:
    """How answers are drawn; `defaults`: the model's. An answer is said aloud: it is short unless asked for."""
    from dataclasses import replace

    from omnilmm_lite.live.answering.own_decoder import MOST_NEW_TOKENS
    from omnilmm_lite.sampling_params import sampling_params

    short = replace(defaults, max_new_tokens=min(defaults.max_new_tokens, MOST_NEW_TOKENS))
    return sampling_params(short, sampling_options(args))
