"""What conversion takes of a card's memory, computed from the config before any work.

These are the tensors that are there at once. A CUDA context and what its libraries keep come on top, half a gigabyte
or so, which nobody has measured here.
"""

from __future__ import annotations

import math

from export.reference.pictures import PICTURES_AT_ONCE
from export.torch_device import TorchDevice
from omnilmm_lite.config import DecoderConfig, OmniLMMConfig, VisionConfig
from omnilmm_lite.keys import decoder_keys
from quantize.calibration.token_sequences import CalibrationLimits
from quantize.decoder.input_statistics import HELD_OUT
from quantize.decoder.stages import STAGES
from quantize.gptq.grid import CARD_CHUNK_ELEMENTS
from quantize.memory import FP32_BYTES, layer_bytes

# Matrices as large as the Hessian: it, the sum of what was lost or a copy that is factored, the factor, the solver's.
SQUARES_SOLVING, SQUARES_ROUNDING = 4, 2
# As large as the weight: it, what is rounded, errors, what columns had become twice, and the search's input thrice.
WEIGHTS_ROUNDING = 8
SEARCHED = 12  # temporaries of a grid's search
STATES = 6  # of all sequences, in both decoders: a layer's input, its output, the attention's results


def check_card(config: OmniLMMConfig, device: TorchDevice, *, quantizes: bool) -> None:
    """OmniLMMError where a card has less room than conversion takes at its fullest; nothing on the CPU."""
    reference = reference_bytes(config)
    device.check_room(
        max(reference, tower_bytes(config.vision)), "the reference in fp32, a layer or a block at a time,"
    )
    if quantizes:
        device.check_room(step_bytes(config.decoder), "quantizing a layer of the decoder")


def step_bytes(config: DecoderConfig, tokens: int = CalibrationLimits.tokens) -> int:
    """Of one layer's quantization: both decoders' layer in fp32, and the largest stage. `tokens`: of one sequence."""
    shapes, most = decoder_keys(config), 0
    for stage in STAGES:
        rows = [shapes[f"model.layers.0.{part}.weight"][0] for part in stage]
        columns = shapes[f"model.layers.0.{stage[0]}.weight"][1]
        kept = HELD_OUT * tokens * (2 * columns + rows[0])
        square, targets = columns * columns, 3 * sum(rows) * columns
        solving = SQUARES_SOLVING * square + targets + kept
        weight = max(rows) * columns
        searched = SEARCHED * min(weight, CARD_CHUNK_ELEMENTS)
        rounding = SQUARES_ROUNDING * square + sum(rows) * columns + WEIGHTS_ROUNDING * weight + searched
        most = max(most, solving, rounding)
    activations = tokens * (4 * config.intermediate_size + 8 * config.hidden_size)
    scores = 3 * config.num_attention_heads * tokens * tokens
    return 2 * layer_bytes(config) + FP32_BYTES * (most + activations + scores)


def states_bytes(config: DecoderConfig, tokens: int) -> int:
    """Of `tokens` tokens of all sequences while they pass a layer, in both decoders."""
    return STATES * FP32_BYTES * tokens * max(config.hidden_size, config.q_dim)


def tower_bytes(config: VisionConfig) -> int:
    """Of a batch of pictures in one block of the tower, with the block."""
    hidden, inner = config.hidden_size, config.intermediate_size
    tokens = PICTURES_AT_ONCE * (config.grid**2 + 1)
    scores = 3 * config.num_attention_heads * (config.grid**2 + 1)
    block = 4 * hidden * hidden + 2 * hidden * inner
    return FP32_BYTES * (block + tokens * (8 * hidden + 2 * inner + scores))


def reference_bytes(config: OmniLMMConfig) -> int:
    """Of the reference model with one layer, and that layer's quantized weights beside it."""
    decoder, resampler = config.decoder, config.resampler
    tables = 2 * math.prod(decoder_keys(decoder)["lm_head.weight"])
    width = resampler.hidden_size
    return 2 * layer_bytes(decoder) + FP32_BYTES * (tables + width * (resampler.kv_dim + 6 * width))
