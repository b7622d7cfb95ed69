"""Whether several pictures in one run of the tower pay: `python -m benchmarks.scale.pictures BUNDLE`.

Seconds a picture with one, two and four in a run, in turns; medians.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from omnilmm_lite import load

TOGETHER = (1, 2, 4)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--resident", action="store_true")
    parser.add_argument("--rounds", type=int, default=9, metavar="N")
    args = parser.parse_args()
    model = load(args.bundle, device=args.device, check_files=False, resident=args.resident)
    encode, side = model.parts.open_tower(), model.config.vision.image_size
    random = np.random.default_rng(0)
    pixels = random.standard_normal((max(TOGETHER), 3, side, side), np.float32)  # (pictures, 3, side, side)
    seconds: dict[int, list[float]] = {count: [] for count in TOGETHER}
    for turn in range(args.rounds + 1):
        for count in TOGETHER:
            started = time.perf_counter()
            encode(pixels[:count])
            if turn:  # the first one warms up
                seconds[count].append((time.perf_counter() - started) / count)
    one = statistics.median(seconds[1])
    print("| pictures in a run | a picture | of one alone |\n|--:|--:|--:|")
    for count in TOGETHER:
        each = statistics.median(seconds[count])
        print(f"| {count} | {1000 * each:.0f} ms | {each / one:.2f} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
