"""How long GPTQ of the whole decoder would take on a card: computed from the code and the cards' data sheets.

    python -m benchmarks.card_budget [--sequences 128] [--tokens 512]

Nothing here was measured on a card. Products are counted from the shapes, kernels and their traffic by running the
code on small weights and counting what isn't a view. What the host does is timed on the machine that this runs on.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.keys import decoder_keys
from quantize.calibration.answer_writer import CACHE_BYTES
from quantize.decoder.correction import DAMPINGS
from quantize.decoder.input_statistics import GRAM_STRIPS, HELD_OUT
from quantize.decoder.quantizer import REPORT_ROWS
from quantize.decoder.stages import DOWN, GATE_UP, QKV, STAGES, O
from quantize.folder.tensors import linear_tensors
from quantize.gptq.cholesky import FLOAT64_COLUMNS
from quantize.gptq.gptq import Columns, quantize_weight
from quantize.gptq.grid import CARD_CHUNK_ELEMENTS, GridMethod, GridScheme, choose_grid
from quantize.memory import FP32_BYTES, layer_bytes

GB, TERA = 1e9, 1e12
SOLVES = 2  # of each weight: on min-max grids, then on grids that are searched for
# ---- assumptions; all else follows from the code ----
PRODUCTS = 0.6  # of fp32's peak that matrix products of thousands of rows reach
FACTORING = 0.2  # of fp32's or fp64's peak that a Cholesky factor or the inverse of a triangle reaches
BANDWIDTH = 0.7  # of the card's memory, by operators that compute element by element
LAUNCHES = (5e-6, 10e-6)  # seconds from one small kernel to the next, launched by Python
LINK = 6 * GB  # a second between host and card, from memory that isn't pinned
ANSWER_TOKENS, OPENING = 48, 330  # of an answer, and of what it answers: a question about a picture
DISK = 1.5 * GB  # a second, writing; reading comes from the pages that were just written


@dataclass(frozen=True)
class Card:
    """From its maker's data sheet."""

    name: str
    fp32: float  # FLOP/s, without tensor cores
    fp64: float
    bandwidth: float  # bytes/s


CARDS = (Card("H200 SXM", 67 * TERA, 34 * TERA, 4.8 * TERA), Card("RTX 4090", 82.6 * TERA, 1.29 * TERA, 1.008 * TERA))


@dataclass(frozen=True)
class Stage:
    """Linear layers that share their inputs."""

    rows: Sequence[int]  # of each weight
    columns: int
    has_residual: bool

    @property
    def elements(self) -> int:
        return sum(self.rows) * self.columns


def stages(config: DecoderConfig) -> list[Stage]:
    shapes = {name: decoder_keys(config)[f"model.layers.0.{name}.weight"] for stage in STAGES for name in stage}
    return [Stage([shapes[name][0] for name in stage], shapes[stage[0]][1], stage in (O, DOWN)) for stage in STAGES]


# ---- products, in FLOP ----


def passing_flops(config: DecoderConfig, tokens: int, length: int) -> float:
    """Both decoders' sequences through a layer; gate and up are computed twice (`LayerRun`)."""
    sizes = {stage: part.elements for stage, part in zip(STAGES, stages(config), strict=True)}
    weights = sizes[QKV] + sizes[O] + 2 * sizes[GATE_UP] + sizes[DOWN]
    return 2 * (2 * tokens * weights + 2 * 2 * tokens * length * config.q_dim)


def statistics_flops(config: DecoderConfig, tokens: int, kept: int) -> float:
    """Hessians, what was lost, and how far the two are apart. `kept`: tokens of sequences kept aside."""
    total = 0.0
    for stage in stages(config):
        square, rows = stage.columns**2, sum(stage.rows)
        gram = (1 + 1 / GRAM_STRIPS) / 2
        residual = rows * stage.columns if stage.has_residual else 0
        total += 2 * tokens * square * gram + 2 * (tokens - kept) * (square + residual)
        total += 2 * rows * square  # what each weight has lost
        total += len(DAMPINGS) * (2 * rows * square + 2 * 2 * kept * stage.elements)
    return total


def rounding_flops(config: DecoderConfig) -> float:
    """Corrections between runs of columns, and the report's three losses."""
    reported = 3 * 2 * REPORT_ROWS
    return sum(
        SOLVES * sum(stage.rows) * stage.columns**2 + reported * len(stage.rows) * stage.columns**2
        for stage in stages(config)
    )


def factoring_flops(config: DecoderConfig, *, double: bool) -> float:
    """A Cholesky factor for each damping and for GPTQ, and one inverse of a triangle."""
    columns = [stage.columns for stage in stages(config) if (stage.columns <= FLOAT64_COLUMNS) == double]
    return sum((len(DAMPINGS) + 2) * size**3 / 3 for size in columns)


# ---- kernels, by counting ----


class KernelCount(TorchDispatchMode):
    """Operators that are more than another view of the same memory, and the bytes that they read and write."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kernels = self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        tensors = [each for each in (found, *args, *(kwargs or {}).values()) if isinstance(each, Tensor)]
        is_view = any(alias.alias_info is not None and not alias.alias_info.is_write for alias in func._schema.returns)
        if not is_view:
            self.kernels += 1
            self.bytes += sum(each.nbytes for each in tensors)
        return found


def column_kernels(group_size: int = 128) -> float:
    """Kernels a column of one weight, with what GPTQ's matrix products between columns add."""
    counts: list[int] = []
    for columns in (4 * group_size, 8 * group_size):
        weight = torch.randn(16, columns)
        prepared = Columns.of(torch.eye(columns), desc_act=True, damp=0.01)
        with torch.inference_mode(), KernelCount() as count:
            prepared.quantize(weight, 4, group_size, sym=False, grid=GridMethod.MIN_MAX)
        counts.append(count.kernels)
    return (counts[1] - counts[0]) / (4 * group_size)


def search_kernels(group_size: int = 128) -> tuple[int, float]:
    """Of the search for grids: kernels a chunk, and bytes that they move for each element."""
    weight = torch.randn(64, group_size)
    with torch.inference_mode(), KernelCount() as count:
        choose_grid(weight, torch.ones_like(weight), GridScheme(4, sym=False, method=GridMethod.WEIGHTED))
    return count.kernels, count.bytes / weight.numel()


# ---- host ----


def host_seconds() -> float:
    """A weight's element, on this processor: read twice, dequantized for the layer, packed for the file."""
    stored, quantized = (
        torch.zeros(1024, 512, dtype=torch.bfloat16),
        quantize_weight(torch.randn(1024, 512), torch.eye(512), sym=False),
    )
    times = []
    for _ in range(5):
        start = time.process_time()
        for _ in range(2):
            stored.float()
        quantized.dequantize()
        linear_tensors("weight", quantized)
        times.append(time.process_time() - start)
    return min(times) / (1024 * 512)


def loop_seconds(columns: int = 1024) -> float:
    """A column of a weight so small that the processor is busy with nothing but Python and torch's dispatch."""
    weight = torch.randn(16, columns)
    prepared, times = Columns.of(torch.eye(columns), desc_act=True, damp=0.01), []
    for _ in range(3):
        with torch.inference_mode():
            start = time.process_time()
            prepared.quantize(weight, 4, 128, sym=False, grid=GridMethod.MIN_MAX)
        times.append(time.process_time() - start)
    return min(times) / columns


def link_bytes(config: DecoderConfig, tokens: int, *, held: bool) -> int:
    """Between host and card, a layer: both decoders' layers, the states, the codes, the dequantized weights."""
    elements = sum(stage.elements for stage in stages(config))
    states = 2 * FP32_BYTES * tokens * config.hidden_size  # of both decoders
    return 2 * layer_bytes(config) + (2 if held else 13) * states + (1 + FP32_BYTES) * elements


def print_answers(config: DecoderConfig, conversations: int, length: int) -> None:
    """Answers for calibration, whose layers cross to the card for each batch of conversations or for each token."""
    states = 2 * FP32_BYTES * config.num_hidden_layers * config.kv_dim * (length + ANSWER_TOKENS)
    batches = -(-conversations // max(1, CACHE_BYTES // states))
    layers = config.num_hidden_layers * layer_bytes(config)
    once, each = (count * layers / LINK / 60 for count in (batches, batches * ANSWER_TOKENS))
    print(
        f"\nanswers of {ANSWER_TOKENS} tokens to {conversations} conversations of {length}: {batches} batches, ", end=""
    )
    print(f"{once:.1f} min of copies where the card holds the layers, {each:.0f} min where it doesn't")


def print_table(config: DecoderConfig, sequences: int, length: int) -> None:
    """A layer's seconds by part, and the whole decoder's minutes."""
    tokens = sequences * length
    products = passing_flops(config, tokens, length) + rounding_flops(config)
    products += statistics_flops(config, tokens, min(HELD_OUT, sequences // HELD_OUT) * length)
    columns = sum(len(stage.rows) * stage.columns for stage in stages(config))
    elements = sum(stage.elements for stage in stages(config))
    a_column, (a_chunk, moved) = column_kernels(), search_kernels()
    launches = SOLVES * columns * a_column + a_chunk * elements / CARD_CHUNK_ELEMENTS
    host, written = elements * host_seconds(), 2 * FP32_BYTES * tokens * config.hidden_size
    print(f"{products / TERA:.0f} TFLOP of products; {launches / 1e3:.0f} thousand launches, {a_column:.1f} a column")
    print(f"search for grids: {moved * elements / GB:.0f} GB within the card")
    print(f"this processor: {host:.1f} s a layer, and {1e6 * loop_seconds():.0f} us a column with next to no rows\n")
    print("| card | states | products | factors | grids | launches | host <-> card | disk | host | decoder |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for card in CARDS:
        for held in (True, False):
            factors = (
                factoring_flops(config, double=False) / card.fp32 + factoring_flops(config, double=True) / card.fp64
            )
            parts = [
                products / (PRODUCTS * card.fp32),
                factors / FACTORING,
                moved * elements / (BANDWIDTH * card.bandwidth),
                link_bytes(config, tokens, held=held) / LINK,
                written / DISK,
                host,
            ]
            waits = [launches * each for each in LAUNCHES]
            least, most = (config.num_hidden_layers * (sum(parts) + wait) / 60 for wait in waits)
            shown = [f"{part:.1f} s" for part in parts]
            shown.insert(3, f"{waits[0]:.1f} to {waits[1]:.1f} s")
            where = "on the card" if held else "in files"
            print(f"| {card.name} | {where} | {' | '.join(shown)} | {least:.0f} to {most:.0f} min |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=512, help="of a sequence")
    args = parser.parse_args()
    torch.set_num_threads(1)  # of what is timed here
    print_table(DecoderConfig(), args.sequences, args.tokens)
    print_answers(DecoderConfig(), args.sequences, OPENING)


if __name__ == "__main__":
    main()
