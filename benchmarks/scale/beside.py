"""Whether a picture is better encoded beside running answers or between them: `python -m benchmarks.scale.beside
BUNDLE [--answers 1,4,8]`.

Pictures and steps of answers that take about as long, first one after the other, then in two threads: the seconds of
both ways, and what a step takes beside the tower. A CPU's cores are shared by both; a card has its own opinion.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from omnilmm_lite import load
from omnilmm_lite.engine.decoder import SlotStep
from omnilmm_lite.model import BundleModel

PROMPT = 200  # tokens that each slot holds
CONTEXT = 2048
STEPS = 20  # by which a step is timed first


@dataclass(frozen=True)
class Ways:
    """Seconds: of pictures and steps one after the other, of both at once; of a step alone and beside the tower, and
    of the slowest of twenty beside it."""

    in_turns: float
    at_once: float
    step: float
    step_beside: float
    slow_step_beside: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("--answers", default="1,4,8", metavar="N,N")
    parser.add_argument("--pictures", type=int, default=8, metavar="N")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    args = parser.parse_args()
    numbers = [int(each) for each in args.answers.split(",")]
    model = load(args.bundle, context=CONTEXT, parallel=max(numbers), check_files=False)
    work = Work(model, args.pictures)
    print("| answers | in turns | at once | at once takes | a step alone | beside the tower: median, 95 % |")
    print("|--:|--:|--:|--:|--:|--:|")
    for answers in numbers:
        found = [work.both(answers) for _ in range(args.rounds)]
        middle = sorted(found, key=lambda ways: ways.at_once / ways.in_turns)[len(found) // 2]
        share = middle.at_once / middle.in_turns
        beside = f"{1000 * middle.step_beside:.0f}, {1000 * middle.slow_step_beside:.0f} ms"
        print(
            f"| {answers} | {middle.in_turns:.2f} s | {middle.at_once:.2f} s | {share:.2f} of it "
            f"| {1000 * middle.step:.0f} ms | {beside} |"
        )
    return 0


class Work:
    """Pictures of noise, and steps of as many answers as are asked for."""

    def __init__(self, model: BundleModel, pictures: int) -> None:
        assert model.parts.slots is not None
        self._slots, self._pictures = model.parts.slots, pictures
        random = np.random.default_rng(0)
        config = model.config
        self._embeddings = random.standard_normal((PROMPT, config.decoder.hidden_size), np.float32) * 0.02
        for decoder in self._slots.decoders:
            decoder.prefill(range(PROMPT), self._embeddings)
        self._encode = model.parts.open_tower()
        side = config.vision.image_size
        self._pixels = random.standard_normal((1, 3, side, side), np.float32)  # (1, 3, image_size, image_size)
        self._encode(self._pixels)

    def both(self, answers: int) -> Ways:
        tower_s = _seconds(self._tower)
        count = max(1, round(STEPS * tower_s / _seconds(lambda: self._steps(answers, STEPS))))
        steps_s = _seconds(lambda: self._steps(answers, count))
        thread, started, beside = threading.Thread(target=self._tower), time.perf_counter(), list[float]()
        thread.start()
        for _ in range(count):
            was_alive = thread.is_alive()
            seconds = _seconds(lambda: self._steps(answers, 1))
            if was_alive:
                beside.append(seconds)
        thread.join()
        at_once = time.perf_counter() - started
        for decoder in self._slots.decoders:
            decoder.truncate(PROMPT)
        slow = sorted(beside)[int(0.95 * len(beside))]
        return Ways(tower_s + steps_s, at_once, steps_s / count, statistics.median(beside), slow)

    def _tower(self) -> None:
        for _ in range(self._pictures):
            self._encode(self._pixels)

    def _steps(self, answers: int, count: int) -> None:
        steps = [SlotStep(each, 1, self._embeddings[:1]) for each in self._slots.decoders[:answers]]
        for _ in range(count):
            for _ in self._slots.decode(steps):
                pass


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    raise SystemExit(main())
