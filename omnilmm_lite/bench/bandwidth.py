"""How fast this machine reads memory: what decoding can't outrun, since every token reads all weights."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from omnilmm_lite.bench.series import seconds
from omnilmm_lite.machine.processor import last_level_cache_bytes

PASSES = 50  # with 256 MiB half a second: the best of few says more of the moment than of the memory
SMALLEST, LARGEST = 1 << 28, 1 << 30
CACHES = 2  # the array is this many times the last-level cache: read in a circle, it has left it before it comes again


@dataclass(frozen=True)
class Bandwidth:
    bytes_per_s: float
    source: str


def measure_bandwidth(threads: int, size: int | None = None) -> Bandwidth:
    """The best of PASSES passes of `threads` threads over one array of `size` bytes (by default, by the cache's size).

    Each thread looks for the largest integer of its part, which takes less time than reading it does. A host that
    shares its memory with others can give more at another time: it is a figure of this moment, like all the others.
    """
    size = size or min(max(CACHES * last_level_cache_bytes(), SMALLEST), LARGEST)
    array = np.ones(size // 8, dtype=np.int64)  # written, so that every page is there
    parts = np.array_split(array, threads)
    with ThreadPoolExecutor(threads) as pool:
        best = min(seconds(lambda: list(pool.map(np.max, parts))) for _ in range(PASSES))
    return Bandwidth(array.nbytes / best, f"measured, {threads} threads over {array.nbytes / 2**20:.0f} MiB")
