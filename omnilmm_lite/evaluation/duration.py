"""How long the benchmarks take on a machine whose speeds are known.

Seconds = pictures x (tower + beginning / prefill) + rows x (question / prefill + answer / decode): a picture and what
stands before it in the prompt is run once, however many questions there are about it. Lengths of questions and answers
are assumptions, written below.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.benchmark import Benchmark
from omnilmm_lite.files.json_file import read_json

BEGINNING = 300  # tokens: the system's turn and the picture
ADVICE = "give what `omnilmm-lite bench --json` prints"


@dataclass(frozen=True)
class Shape:
    """What a benchmark asks: pictures (at most one a row, where more isn't known), and tokens a row."""

    pictures: int
    rows: int
    question: int
    answer: int


SHAPES = {
    Benchmark.MME: Shape(1187, 2374, 30, 2),
    Benchmark.MMBENCH: Shape(1164, 4329, 100, 2),
    Benchmark.MMMU: Shape(900, 900, 150, 2),
    Benchmark.MMHAL: Shape(96, 96, 30, 100),
    Benchmark.OBJHAL: Shape(300, 300, 20, 150),
    Benchmark.SEEDBENCH: Shape(14232, 14232, 90, 2),
    Benchmark.MATHVISTA: Shape(1000, 1000, 120, 60),
    Benchmark.LLAVABENCH: Shape(24, 60, 30, 200),
    Benchmark.EASYVQA: Shape(1000, 9673, 15, 3),
}


@dataclass(frozen=True)
class Machine:
    """`tower`: seconds a picture. `prefill`, `decode`: tokens a second of a prompt, of an answer."""

    name: str
    tower: float
    prefill: float
    decode: float


def seconds(shape: Shape, machine: Machine) -> float:
    """For all of a benchmark's questions, from the first to the last."""
    picture = machine.tower + BEGINNING / machine.prefill
    row = shape.question / machine.prefill + shape.answer / machine.decode
    return shape.pictures * picture + shape.rows * row


def shown(value: float) -> str:
    """In hours, minutes or seconds: the largest of which there is one."""
    for unit, length in (("h", 3600), ("min", 60)):
        if value >= length:
            return f"{value / length:.1f} {unit}" if unit == "h" else f"{value / length:.0f} {unit}"
    return f"{value:.0f} s"


def measured_machine(path: Path) -> Machine:
    """The speeds in what `omnilmm-lite bench --json` has printed: of its lengths the nearest to a picture's prompt.

    InputError where the file can't be read or is something else.
    """
    found = read_json(path, ADVICE)
    match found:
        case {
            "subject": {"bundle": str(bundle), "device": str(device)},
            "picture": {"series": {"median_s": int() | float() as tower}},
            "prefill": [_, *_] as prefill,
            "decode": [_, *_] as decode,
        }:
            prompt = _nearest(prefill, "tokens", path)
            answer = _nearest(decode, "context", path)
            if 0 < tower < math.inf:
                return Machine(f"{bundle} on {device}", float(tower), prompt, answer)
    raise InputError(f"{path}: there are no measurements of a bundle's speed in it; {ADVICE}")


def _nearest(entries: Sequence[Any], length: str, path: Path) -> float:
    """Tokens a second of the entry whose `length` is the nearest to BEGINNING."""
    speeds: Mapping[int, float] = {
        entry[length]: float(entry["tokens_per_s"])
        for entry in entries
        if isinstance(entry, dict)
        and isinstance(entry.get(length), int)
        and isinstance(entry.get("tokens_per_s"), int | float)
        and 0 < entry["tokens_per_s"] < math.inf
    }
    if not speeds:
        raise InputError(f"{path}: no tokens a second by {length!r} in it; {ADVICE}")
    return speeds[min(speeds, key=lambda each: abs(each - BEGINNING))]
