"""How long the benchmarks take, computed: `python -m benchmarks.eval_time` prints docs/eval.md's table.

By `omnilmm_lite.evaluation.duration`. The CPU's speeds are docs/performance.md's, the card's come from its data sheet.
"""

from __future__ import annotations

from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.evaluation.benchmark import REQUIREMENTS
from omnilmm_lite.evaluation.duration import SHAPES, Machine, seconds, shown

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
