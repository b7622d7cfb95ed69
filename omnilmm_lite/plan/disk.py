"""What lies on disk: the bundle, and for the time of a conversion the checkpoint and the work folder."""

from __future__ import annotations

import math
from dataclasses import dataclass

from omnilmm_lite.bundle.packing import Packing
from omnilmm_lite.bundle.presets import Preset
from omnilmm_lite.bundle.tensor_size import data_bytes
from omnilmm_lite.config import DecoderConfig, OmniLMMConfig, VisionConfig
from omnilmm_lite.formats import LinearFormat
from omnilmm_lite.plan.graphs import GraphTensors, group_size

BF16_BYTES, FP16_BYTES = 2, 2
NPY_HEADER = 128  # of the embedding table, see numpy.lib.format

# Not exact: the .onnx files beside their data, by the nodes of a layer (measured: 4.4 to 9.9 KB), the tokenizer of
# 32000 pieces (1.4 MB) and a manifest with the quantization's report.
ONNX_LAYER = 8_000
TOKENIZER_AND_MANIFEST = 1_500_000

# What the quantizer keeps at most by default while it runs: hidden states of two decoders (the original and the
# quantized one), for 128 sequences of 512 tokens, in fp32: 6.4 GB at OmniLMM's width. For an int8 tower, statistics of
# each block on 8 pictures.
CALIBRATION_TOKENS = 128 * 512
DECODERS = 2
CALIBRATION_PICTURES = 8


@dataclass(frozen=True)
class Disk:
    """Bytes on the disk; `checkpoint` and `work` are needed for the conversion only."""

    bundle: int
    checkpoint: int
    work: int

    @property
    def conversion(self) -> int:
        return self.bundle + self.checkpoint + self.work


def embedding_bytes(config: DecoderConfig, preset: Preset) -> int:
    """The bytes of the embedding table's file, exactly."""
    return NPY_HEADER + config.vocab_size * config.hidden_size * preset.decoder.storage.numpy.itemsize


def planned_disk(config: OmniLMMConfig, preset: Preset, graphs: GraphTensors) -> Disk:
    """The disk space that a bundle takes which is still to be made, and its conversion."""
    data = sum(data_bytes(tensors) for tensors in (graphs.vision, graphs.resampler, graphs.decoder, graphs.prefill))
    layers = config.vision.num_hidden_layers + config.decoder.num_hidden_layers * (1 + bool(graphs.prefill))
    bundle = data + embedding_bytes(config.decoder, preset) + layers * ONNX_LAYER + TOKENIZER_AND_MANIFEST
    values = vision_values(config.vision) + resampler_values(config) + decoder_values(config.decoder)
    work = decoder_work(config.decoder, preset.packing) if preset.quantized else 0
    if preset.tower is LinearFormat.INT8:
        work += tower_work(config.vision)
    return Disk(bundle, BF16_BYTES * values, work)


# ---- the checkpoint, in values ----


def vision_values(config: VisionConfig) -> int:
    width, mlp = config.hidden_size, config.intermediate_size
    block = 4 * width * width + 2 * width * mlp + 8 * width + mlp  # seven biases and norms of `width`, fc2's bias
    embedding = width * (1 + 1 + config.position_grid**2 + 3 * config.patch_size**2 + 1)
    return config.num_hidden_layers * block + embedding + 2 * width


def resampler_values(config: OmniLMMConfig) -> int:
    width = config.resampler.hidden_size
    square = 5 * width * width + 4 * width  # q, k, v, out and proj; the biases of all but the last
    return square + 2 * config.resampler.num_queries * width + config.resampler.kv_dim * width + 6 * width


def linear_shapes(config: DecoderConfig) -> list[tuple[int, int]]:
    """(out, in) of a layer's linear layers."""
    hidden, mlp = config.hidden_size, config.intermediate_size
    return [
        (config.q_dim, hidden),
        (config.kv_dim, hidden),
        (config.kv_dim, hidden),
        (hidden, config.q_dim),
        (mlp, hidden),
        (mlp, hidden),
        (hidden, mlp),
    ]


def decoder_values(config: DecoderConfig) -> int:
    layer = sum(map(math.prod, linear_shapes(config))) + 2 * config.hidden_size
    return config.num_hidden_layers * layer + 2 * config.vocab_size * config.hidden_size + config.hidden_size


# ---- the work folder ----


def decoder_work(config: DecoderConfig, packing: Packing = Packing.BLOCKWISE) -> int:
    """The GPTQ checkpoint (4 bits; a group's scale and zero point; g_idx; all else in fp16) and the hidden states."""
    linears = config.num_hidden_layers * sum(map(math.prod, linear_shapes(config)))
    total = FP16_BYTES * (decoder_values(config) - linears)
    for rows, columns in linear_shapes(config):
        groups = columns // group_size(columns, packing.group_size)
        total += config.num_hidden_layers * (rows * columns // 2 + rows * groups * 5 // 2 + 4 * columns)
    return total + DECODERS * 4 * CALIBRATION_TOKENS * (2 * config.hidden_size + config.q_dim)


def tower_work(config: VisionConfig, pictures: int = CALIBRATION_PICTURES) -> int:
    """Statistics of every block, which rounded blocks then replace, and the pictures' states on their way through."""
    hidden, tokens = config.hidden_size, 1 + config.num_patches
    statistics = 4 * hidden * (3 * hidden + 2 + tokens)  # quantize.tower.statistics
    block = hidden * (4 * hidden + 2 * config.intermediate_size) + 4 * (6 * hidden + config.intermediate_size)
    states = 4 * pictures * tokens * hidden
    return config.num_hidden_layers * max(statistics, block) + statistics + block + 2 * states
