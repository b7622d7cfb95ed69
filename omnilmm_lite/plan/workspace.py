"""What the engine needs beside weights and cache: activations, its own buffers, the program around it.

On the CPU these are formulas fitted to measurements; each names its own. On CUDA they are estimates: no card was there,
and onnxruntime was only seen to ask for memory (docs/gpu-kernels.md).

The measurements: onnxruntime 1.32.0, Linux, resident memory before and after, graphs of OmniLMM-12B's full width with
1 to 6 layers, one picture, prompts of 320 and 512 tokens. docs/memory.md has the table.
"""

from __future__ import annotations

from dataclasses import dataclass

from omnilmm_lite.bundle.presets import Preset
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.engine.decoder import PREFILL_CHUNK
from omnilmm_lite.formats import LinearFormat

MIB = 1 << 20
FP32_BYTES = 4

# One question about a picture, as `bench` asks it: 60 tokens, and 53 of Zephyr's template around question and picture.
QUESTION_TOKENS = 60 + 53

# Python, numpy, onnxruntime's and Pillow's code: 44 MiB after the imports, 22 more of onnxruntime's pages once graphs
# run, 48 for a tokenizer of 32000 pieces, 26 for pictures, buffers and sessions.
BASE = 140 * MIB

# Floats a token that are alive at once, in widths of the MLP and of the residual stream. The tower: 250 MiB measured at
# 1025 tokens, in fp32 and in int8. The decoder: 0.45 MiB a token with 4-bit products, 0.26 with int8 ones.
TOWER_MLP_WIDTHS, TOWER_WIDTHS = 4, 2
NBITS_MLP_WIDTHS, NBITS_WIDTHS = 5, 4
INT8_MLP_WIDTHS, INT8_WIDTHS = 4, 2
# The resampler: 95 MiB measured, 96 by this.
RESAMPLER_WIDTHS = 6
# A shape that comes a second time gets a block of its own from onnxruntime, which has noted by then what the shape
# needs: the tower measured 148 to 161 MiB, 4-bit prompts 197 at 512 tokens, int8 ones 134.
TOWER_AGAIN, NBITS_AGAIN, INT8_AGAIN = 2.5, 7.0, 4.8
# Attention's scores have a row for each head and token, as long as the cache; the system gives memory by the page.
PAGE_FLOATS = 1024

# Neither has been measured. A CUDA context with cuBLAS's and onnxruntime's kernels: an assumption.
CUDA_CONTEXT = 600 * MIB
# On the host: the CUDA, cuBLAS and cuDNN libraries' pages and pinned buffers.
CUDA_HOST = 1024 * MIB


@dataclass(frozen=True)
class Need:
    """Bytes: for the first picture or question, and for the worst that may come later, the first included."""

    first: int
    most: int


def tower_workspace(config: OmniLMMConfig, preset: Preset, *, kept: bool) -> Need:
    """Bytes for activations of tower and resampler. `kept`: they stay open for the next picture."""
    vision, resampler = config.vision, config.resampler
    tokens, item = vision.num_patches + 1, preset.vision.compute.numpy.itemsize
    widths = TOWER_MLP_WIDTHS * vision.intermediate_size + TOWER_WIDTHS * vision.hidden_size
    first = tokens * widths * item
    first += vision.num_patches * RESAMPLER_WIDTHS * resampler.hidden_size * preset.resampler.compute.numpy.itemsize
    if preset.target is Device.CUDA and preset.tower is LinearFormat.BITS8:
        first += vision.intermediate_size * vision.hidden_size * item  # see `_dequantized`
    again = int(tokens * TOWER_AGAIN * vision.intermediate_size * item)
    return Need(first, first + (again if kept else 0))


def decoder_workspace(config: OmniLMMConfig, preset: Preset, context: int) -> Need:
    """Bytes for the decoder's activations: prompts need most, a single token's are lost among them."""
    decoder = config.decoder
    chunk = min(PREFILL_CHUNK, context)
    if preset.target is Device.CUDA:
        weight = _dequantized(config, preset) if preset.quantized else 0
        first = chunk * _activations(config, preset) + weight
        return Need(first, first + weight)  # the widened weight is most of what a second length's own block holds
    tokens = min(config.resampler.num_queries + QUESTION_TOKENS, chunk)
    scores = FP32_BYTES * decoder.num_attention_heads
    columns = -(-tokens // PAGE_FLOATS) * PAGE_FLOATS
    first = tokens * (_activations(config, preset) + (0 if preset.int8_prefill else scores * min(columns, context)))
    widths = INT8_AGAIN if preset.int8_prefill else NBITS_AGAIN
    again = int(chunk * widths * decoder.intermediate_size * FP32_BYTES)
    most = chunk * (_activations(config, preset) + scores * context) + again
    return Need(first, max(first, most))


def _activations(config: OmniLMMConfig, preset: Preset) -> int:
    """Bytes a token."""
    decoder, item = config.decoder, preset.decoder.compute.numpy.itemsize
    if preset.int8_prefill:
        return (INT8_MLP_WIDTHS * decoder.intermediate_size + INT8_WIDTHS * decoder.hidden_size) * item
    return (NBITS_MLP_WIDTHS * decoder.intermediate_size + NBITS_WIDTHS * decoder.hidden_size) * item


def _dequantized(config: OmniLMMConfig, preset: Preset) -> int:
    """On CUDA, products with many rows widen the whole weight first and leave the rest to cuBLAS.

    Source: onnxruntime issue 29451. gate and up are one weight, the widest there is. With it, a second length included,
    the decoder is to need 560 MB; onnxruntime asked for 534 to 562 (docs/gpu-kernels.md).
    """
    decoder = config.decoder
    return 2 * decoder.intermediate_size * decoder.hidden_size * preset.decoder.compute.numpy.itemsize
