"""A long session: does its memory stay flat, and do its latencies stay bounded?

python -m benchmarks.live.soak [--minutes 60] [--fps 5] [--speaks] [--video FILE]

Loops a video through the whole pipeline with tiny, with a question every ten seconds: typed, or with `--speaks` said by
piper, heard by pocketsphinx and answered aloud. Prints a line a quarter of the time. The exit code is 1 where memory
grew by more than 5 % from the second quarter to the last, or a stage was in trouble.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import anyio

from benchmarks.live.pipeline import Seen, playing, say
from omnilmm_lite.live.ears.microphones.pushed import PushedMicrophone
from omnilmm_lite.live.events import Stage
from omnilmm_lite.live.meter import percentile
from omnilmm_lite.live.session import LiveSession
from tests.live.media.scenes import write_video
from tests.live.media.spoken import conversation

QUESTIONS = ("What is this?", "Is there a cat?", "What was there before?", "What color is it?")
EVERY_S = 10.0
SAMPLE_S = 1.0
SCENE_S = 4.0
MIB = 2**20
QUARTERS = 4
MOST_GROWTH = 0.05
STAGES = (Stage.CAPTURE, Stage.DESCRIBE, Stage.ANSWER, Stage.SPEAK)


@dataclass(frozen=True)
class Quarter:
    mean_mib: float
    most_mib: float
    threads: int
    captured: int
    described: int
    dropped: int
    seen: Seen

    def row(self, number: int) -> str:
        values = [
            f"{percentile(found, 0.5):.3f}, {percentile(found, 0.95):.3f}, {max(found):.3f}"
            if (found := self.seen.seconds.get(stage))
            else "-"
            for stage in STAGES
        ]
        counts = f"{self.captured} | {self.described} | {self.dropped} | {len(self.seen.answers)}"
        return (
            f"| {number} | {self.mean_mib:.0f} | {self.most_mib:.0f} | {self.threads} | {counts} | "
            f"{' | '.join(values)} |"
        )


def resident_mib() -> float:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("this system doesn't say how much memory a program has")


async def ask(session: LiveSession, microphone: PushedMicrophone, *, speaks: bool) -> None:
    number = 0
    while True:
        await anyio.sleep(EVERY_S)
        question = QUESTIONS[number % len(QUESTIONS)]
        number += 1
        if speaks:
            await say(microphone, conversation(question, lead_s=0.5, between_s=1.0))
        else:
            session.ask(question)


async def soak(video: Path, minutes: float, fps: float, *, speaks: bool) -> list[Quarter]:
    quarters: list[Quarter] = []
    async with playing(video, fps, loops=True, speaks=speaks) as (session, seen, microphone):
        async with anyio.create_task_group() as group:

            async def questions() -> None:
                await ask(session, microphone, speaks=speaks)

            group.start_soon(questions)
            for number in range(1, QUARTERS + 1):
                before, samples, threads = seen.status, list[float](), 0
                seen.seconds, seen.answers = {}, []
                end = time.monotonic() + minutes * 60 / QUARTERS
                while time.monotonic() < end:
                    await anyio.sleep(SAMPLE_S)
                    samples.append(resident_mib())
                    threads = max(threads, threading.active_count())
                after = seen.status
                quarter = Quarter(
                    sum(samples) / len(samples),
                    max(samples),
                    threads,
                    after.captured - before.captured,
                    after.described - before.described,
                    after.dropped - before.dropped,
                    Seen(seen.seconds, seen.answers),
                )
                quarters.append(quarter)
                print(quarter.row(number), flush=True)
            group.cancel_scope.cancel()
        for trouble in seen.troubles:
            print(f"trouble: {trouble}")
        return [] if seen.troubles else quarters


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--fps", type=float, default=5.0, help="frames a second that are taken of the video")
    parser.add_argument("--speaks", action="store_true", help="questions and answers are said")
    parser.add_argument("--video", type=Path, metavar="FILE", help="instead of the tests' emoji scenes")
    args = parser.parse_args()
    stages = " | ".join(f"{stage.value}: median, 95 %, longest (s)" for stage in STAGES)
    print(f"| quarter | MiB, mean | MiB, most | threads | frames | described | dropped | answers | {stages} |")
    print("|--:" * (8 + len(STAGES)) + "|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        video = args.video or write_video(Path(folder, "scenes.mp4"), seconds=SCENE_S)

        async def run() -> list[Quarter]:
            return await soak(video, args.minutes, args.fps, speaks=args.speaks)

        quarters = anyio.run(run)
    if not quarters:
        return 1
    growth = quarters[-1].mean_mib / quarters[1].mean_mib - 1
    print(f"memory from the second quarter to the last: {growth:+.1%}")
    return int(growth > MOST_GROWTH)


if __name__ == "__main__":
    sys.exit(main())
