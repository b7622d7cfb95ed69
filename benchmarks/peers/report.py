"""Medians of the rounds, and ratios within them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.peers.task import Measurement, Task

Round = Sequence[Measurement]  # an engine each, ours first


@dataclass(frozen=True)
class Line:
    """One engine. Ratios are ours by its own: above 1, ours is faster.

    Each is the median of the rounds' ratios, so that what slows a whole round down cancels.
    """

    engine: str
    prefill_tokens_per_s: float
    prefill_best: float
    prefill_ratio: float
    decode_tokens_per_s: float
    decode_best: float
    decode_ratio: float
    bytes_per_token: int
    load_s: float
    peak_rss_bytes: int


def summarize(rounds: Sequence[Round]) -> list[Line]:
    """A line an engine, in the rounds' order."""
    ours = [each[0] for each in rounds]
    return [_line([each[index] for each in rounds], ours) for index in range(len(rounds[0]))]


def _line(runs: Sequence[Measurement], ours: Sequence[Measurement]) -> Line:
    def speeds(get: Callable[[Measurement], float]) -> tuple[float, float, float]:
        """Median, best, ratio."""
        ratios = [get(mine) / get(run) for mine, run in zip(ours, runs, strict=True)]
        values = [get(run) for run in runs]
        return statistics.median(values), max(values), statistics.median(ratios)

    prefill, decode = speeds(lambda run: run.prefill_tokens_per_s), speeds(lambda run: run.decode_tokens_per_s)
    return Line(
        runs[0].engine,
        *prefill,
        *decode,
        bytes_per_token=runs[0].bytes_per_token,
        load_s=statistics.median(run.load_s for run in runs),
        peak_rss_bytes=max(run.peak_rss_bytes for run in runs),
    )


def markdown(lines: Sequence[Line], task: Task, rounds: int, processor: str) -> str:
    heads = [
        "engine",
        f"prefill of {task.prompt}, tok/s",
        "best",
        "ours by it",
        f"decode at {task.context}, tok/s",
        "best",
        "ours by it",
        "GB a token",
        "load, s",
        "peak RSS, GB",
    ]
    rows = ["| " + " | ".join(heads) + " |", "|---" + "|--:" * (len(heads) - 1) + "|"]
    for line in lines:
        cells = [
            line.engine,
            f"{line.prefill_tokens_per_s:.1f}",
            f"{line.prefill_best:.1f}",
            f"{line.prefill_ratio:.2f}",
            f"{line.decode_tokens_per_s:.2f}",
            f"{line.decode_best:.2f}",
            f"{line.decode_ratio:.2f}",
            f"{line.bytes_per_token / 1e9:.3g}",
            f"{line.load_s:.1f}",
            f"{line.peak_rss_bytes / 1e9:.1f}",
        ]
        rows.append("| " + " | ".join(cells) + " |")
    how = f"Medians of {rounds} rounds, each engine once in each; {task.threads} threads of {processor}."
    return "\n".join([*rows, "", how]) + "\n"
