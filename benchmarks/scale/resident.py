"""What `--resident` brings: `python -m benchmarks.scale.resident BUNDLE`, a bundle for the CPU.

The same bundle, loaded as it is and with all graphs packed and in memory, in turns: a picture, prompts of several
lengths, a token. Exits with 1 where the two compute different numbers.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from omnilmm_lite import load
from omnilmm_lite.model import BundleModel

CONTEXT = 1024
PROMPTS = (16, 64, 369)  # a short question behind a picture, a longer one, a whole first prompt
Array = NDArray[np.float32]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("--threads", type=int, metavar="N")
    parser.add_argument("--rounds", type=int, default=9, metavar="N")
    args = parser.parse_args()
    sides: list[BundleModel] = []
    for resident in (False, True):
        started = time.perf_counter()
        model = load(args.bundle, context=CONTEXT, threads=args.threads, check_files=False, resident=resident)
        model.text.decoder.open()
        print(f"{'resident' if resident else 'as it is'}: decoder opened in {time.perf_counter() - started:.1f} s")
        sides.append(model)
    differs = False
    print("\n| what | as it is | resident | times as fast |\n|---|--:|--:|--:|")
    for name, works in _works(sides).items():
        plain_numbers, packed_numbers = (work() for work in works)  # which also warms up
        differs |= not np.array_equal(plain_numbers, packed_numbers)
        seconds: list[list[float]] = [[], []]
        for _ in range(args.rounds):
            for place, work in enumerate(works):
                started = time.perf_counter()
                work()
                seconds[place].append(time.perf_counter() - started)
        plain, packed = (statistics.median(each) for each in seconds)
        print(f"| {name} | {_text(plain)} | {_text(packed)} | {plain / packed:.2f} |", flush=True)
    print("\nthe numbers " + ("DIFFER" if differs else "are the same, bit by bit"))
    return int(differs)


def _works(sides: list[BundleModel]) -> dict[str, list[Callable[[], Array]]]:
    """By name: what each side does, once."""
    config = sides[0].config
    random = np.random.default_rng(0)
    side = config.vision.image_size
    pixels = random.standard_normal((1, 3, side, side), np.float32)  # (1, 3, image_size, image_size)
    embeddings = random.standard_normal((max(PROMPTS), config.decoder.hidden_size), np.float32) * 0.02

    def prompt(model: BundleModel, tokens: int) -> Array:
        model.text.decoder.clear()
        return model.text.decoder.prefill(range(tokens), embeddings[:tokens])

    def token(model: BundleModel) -> Array:
        model.text.decoder.truncate(PROMPTS[0])
        return model.text.decoder.decode(0, embeddings[:1])

    towers = [model.parts.open_tower() for model in sides]
    works: dict[str, list[Callable[[], Array]]] = {"a picture": [partial(tower, pixels) for tower in towers]}
    for tokens in PROMPTS:
        works[f"a prompt of {tokens} tokens"] = [partial(prompt, model, tokens) for model in sides]
    return works | {"a token": [partial(token, model) for model in sides]}


def _text(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


if __name__ == "__main__":
    raise SystemExit(main())
