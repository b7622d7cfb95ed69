"""Medians of the rounds, and ratios within them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.peers.parallel.asking import Measurement, Task

Round = Sequence[tuple[Measurement, Measurement]]  # ours and theirs, a pair for each number of answers; one comes first


@dataclass(frozen=True)
class Side:
    """`gain`: all together, as a multiple of what one answer alone gave in the same round."""

    tokens_per_s: float
    gain: float
    first_token_s: float


@dataclass(frozen=True)
class Line:
    """`ratio`: ours by theirs, of all tokens a second; above 1, ours is faster."""

    answers: int
    ours: Side
    theirs: Side
    ratio: float


def summarize(rounds: Sequence[Round]) -> list[Line]:
    """A line for each number of answers. Ratios and gains are the medians of the rounds' own."""
    ours, theirs = ([[pair[side] for pair in each] for each in rounds] for side in (0, 1))
    return [
        Line(
            rounds[0][index][0].answers,
            _side(ours, index),
            _side(theirs, index),
            statistics.median(mine.tokens_per_s / other.tokens_per_s for mine, other in (r[index] for r in rounds)),
        )
        for index in range(len(rounds[0]))
    ]


def _side(rounds: Sequence[Sequence[Measurement]], index: int) -> Side:
    return Side(
        statistics.median(each[index].tokens_per_s for each in rounds),
        statistics.median(each[index].tokens_per_s / each[0].tokens_per_s for each in rounds),
        statistics.median(each[index].first_token_s for each in rounds),
    )


def markdown(lines: Sequence[Line], task: Task, rounds: int, engines: Sequence[str], where: str) -> str:
    """`engines`: ours and theirs, with their versions. `where`: the processor."""
    rows = [
        "| answers | ours, tokens/s | gain | theirs, tokens/s | gain | ours by theirs | first token, ours | theirs |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for line in lines:
        cells = [
            str(line.answers),
            *(cell for side in (line.ours, line.theirs) for cell in (f"{side.tokens_per_s:.1f}", f"{side.gain:.2f}")),
            f"{line.ratio:.2f}",
            *(f"{side.first_token_s * 1000:.0f} ms" for side in (line.ours, line.theirs)),
        ]
        rows.append("| " + " | ".join(cells) + " |")
    how = (
        f"{engines[0]} and {engines[1]}, over HTTP. Medians of {rounds} rounds, each engine once in each; "
        f"{task.threads} threads of {where}. {task.prompt} tokens in each slot, answers of {task.tokens}; the last to "
        f"come brings {task.newcomer} of its own."
    )
    return "\n".join([*rows, "", how]) + "\n"
