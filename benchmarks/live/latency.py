"""The live session's latencies with tiny, held against the goals; and what full-size models will take, computed.

python -m benchmarks.live.latency [--rounds N]

A video of four emoji scenes plays in real time; in each scene a question is said (by piper, heard by pocketsphinx) and
the answer is said (by piper). A question's end is the end of its last voice: the silence that shows that it has ended
is part of the time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import anyio

from benchmarks.live.pipeline import Seen, playing, say
from omnilmm_lite.live.events import Stage
from omnilmm_lite.live.meter import percentile
from tests.live.media.scenes import SCENES, write_video
from tests.live.media.spoken import conversation

SCENE_S = 5.0
FPS = 10
GOALS: dict[Stage, tuple[str, float | None]] = {  # seconds at most; None: a part of what comes next
    Stage.CAPTURE: ("camera frame to status", 0.1),
    Stage.DESCRIBE: ("description of a changed frame", 0.5),
    Stage.ANSWER: ("question's end to the answer's first piece", None),
    Stage.SPEAK: ("question's end to first spoken sound", 1.2),
}
DESCRIPTION_TOKENS = 40  # of the full model's answer to its short prompt
PROMPT_TOKENS = 316  # one picture and a short question
SECOND_TOKENS = 82  # of a second question about the same picture


@dataclass(frozen=True)
class Device:
    """Seconds and rates; `how` says where they come from."""

    name: str
    picture_s: float
    prefill_per_s: float  # tokens
    decode_per_s: float
    how: str

    @property
    def describes_s(self) -> float:
        return self.picture_s + PROMPT_TOKENS / self.prefill_per_s + DESCRIPTION_TOKENS / self.decode_per_s

    @property
    def looks_s(self) -> float:
        """A question about a new sight: its first word."""
        return self.picture_s + PROMPT_TOKENS / self.prefill_per_s

    @property
    def looks_again_s(self) -> float:
        """About what has just been described: its features and keys are there."""
        return SECOND_TOKENS / self.prefill_per_s


MEASURED, ESTIMATED = "measured, performance.md", "estimated, gpu.md"
DEVICES = (
    Device("2 cores Zen 4, `cpu`", 20.5, 316 / 8.39, 9.36, MEASURED),
    Device("2 cores Zen 4, `cpu-small`", 22.2, 316 / 11.6, 7.49, MEASURED),
    Device("RTX 4090, `24gb`", 2 * 0.056, 316 / 0.06, 107, ESTIMATED),
    Device("RTX 3090, `24gb`", 2 * 0.130, 316 / (0.06 * 165 / 71), 100, ESTIMATED),
)


async def measure(video: Path, rounds: int) -> Seen:
    async with playing(video, FPS, loops=True, speaks=True) as (_, seen, microphone):
        for _ in range(rounds):
            for scene in SCENES:
                question = next(iter(scene.answers))
                spoken = conversation(question, lead_s=1.0, between_s=1.0)
                with anyio.move_on_after(SCENE_S):
                    await say(microphone, spoken)
                    await anyio.sleep_forever()
        return seen


def show(seen: Seen) -> None:
    print("| | goal | median | 95 % | longest | times |\n|---|--:|--:|--:|--:|--:|")
    for stage, (what, goal) in GOALS.items():
        values = seen.seconds.get(stage, [])
        if values:
            found = " | ".join(f"{percentile(values, part):.3f} s" for part in (0.5, 0.95, 1.0))
            print(f"| {what} | {'' if goal is None else f'{goal:g} s'} | {found} | {len(values)} |")
    for trouble in seen.troubles:
        print(f"trouble: {trouble}")


def show_devices() -> None:
    columns = ("", "a description", "first word, new sight", "first word, described sight", "figures")
    print(f"\n| {' | '.join(columns)} |\n|---|--:|--:|--:|---|")
    for each in DEVICES:
        seconds = " | ".join(f"{value:.2g} s" for value in (each.describes_s, each.looks_s, each.looks_again_s))
        print(f"| {each.name} | {seconds} | {each.how} |")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="times that the video is shown (default: 3)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        video = write_video(Path(folder, "scenes.mp4"), seconds=SCENE_S)
        show(anyio.run(measure, video, args.rounds))
    show_devices()
    return 0


if __name__ == "__main__":
    sys.exit(main())
