"""How long the benchmarks take, computed: `python -m benchmarks.eval_time` prints docs/eval.md's table.

Seconds = pictures x (tower + beginning / prefill) + rows x (question / prefill + answer / decode): a picture and what
stands before it in the prompt is run once, however many questions there are about it. Lengths of questions and answers
are assumptions, written below; the CPU's speeds are docs/performance.md's, the card's come from its data sheet.
"""

from __future__ import annotations

from dataclasses import dataclass

from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.evaluation.benchmark import REQUIREMENTS, Benchmark

BEGINNING = 300  # tokens: the system's turn and the picture


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
    Benchmark.LLAVABENCH: Shape(60, 60, 30, 200),
    Benchmark.EASYVQA: Shape(1000, 9673, 15, 3),
}


@dataclass(frozen=True)
class Machine:
    """Seconds a picture; tokens a second."""

    name: str
    tower: float
    prefill: float
    decode: float


CPU = Machine("two cores, measured speeds", 20.0, 38.0, 9.4)
CARD_FLOPS, CARD_BYTES = 165e12, 1008e9  # an RTX 4090's data sheet: fp16 products a second, bytes a second
USED_FLOPS, USED_BYTES = 0.4, 0.75  # what of them is hoped for
TOKEN_BYTES = 3.86e9  # read for a token: 4-bit weights and the head


def card(config: OmniLMMConfig) -> Machine:
    """By the weights that every token goes through."""
    vision, decoder = config.vision, config.decoder
    block = 4 * vision.hidden_size**2 + 2 * vision.hidden_size * vision.intermediate_size
    tower = 2.0 * vision.num_hidden_layers * block * vision.num_patches
    keys = decoder.hidden_size * decoder.num_key_value_heads * decoder.head_dim
    layer = 2 * decoder.hidden_size**2 + 2 * keys + 3 * decoder.hidden_size * decoder.intermediate_size
    prefill = CARD_FLOPS * USED_FLOPS / (2.0 * decoder.num_hidden_layers * layer)
    return Machine(
        "RTX 4090, computed", tower / (CARD_FLOPS * USED_FLOPS), prefill, CARD_BYTES * USED_BYTES / TOKEN_BYTES
    )


def seconds(shape: Shape, machine: Machine) -> float:
    picture = machine.tower + BEGINNING / machine.prefill
    row = shape.question / machine.prefill + shape.answer / machine.decode
    return shape.pictures * picture + shape.rows * row


def shown(value: float) -> str:
    """In hours, or minutes where there is none."""
    return f"{value / 3600:.1f} h" if value >= 3600 else f"{value / 60:.0f} min"


def main() -> None:
    machines = (CPU, card(OmniLMMConfig()))
    print(f"| benchmark | pictures | rows | tokens asked, answered | {' | '.join(each.name for each in machines)} |")
    print("|---|--:|--:|--:|--:|--:|")
    for benchmark, shape in SHAPES.items():
        times = " | ".join(shown(seconds(shape, machine)) for machine in machines)
        title, tokens = REQUIREMENTS[benchmark].title, f"{shape.question}, {shape.answer}"
        print(f"| {title} | {shape.pictures} | {shape.rows} | {tokens} | {times} |")
    for each in machines:
        print(f"{each.name}: {each.tower:.2f} s a picture, {each.prefill:.0f} and {each.decode:.1f} tokens a second")


if __name__ == "__main__":
    main()
