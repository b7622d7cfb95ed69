"""What is compared: our quantizer with and without each of its parts, and rounding."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.quantization.cpu_time import CpuClock
from benchmarks.quantization.evaluation import Weights, dequantize_folder
from benchmarks.quantization.smollm2 import SmolLM2
from quantize.calibration.embedded_sequences import Calibration
from quantize.decoder.job import QuantizationJob
from quantize.decoder.quantizer import quantize_decoder
from quantize.folder.tensors import LINEARS
from quantize.gptq.gptq import round_to_nearest
from quantize.gptq.grid import GridMethod
from quantize.gptq.settings import GPTQSettings

GROUP_SIZE = 64
OURS = GPTQSettings(group_size=GROUP_SIZE)
PLAIN = dataclasses.replace(OURS, desc_act=False, grid=GridMethod.MIN_MAX, error_correction=False)

# Plain GPTQ, then one part after the other.
GPTQ_VARIANTS: Mapping[str, GPTQSettings] = {
    "GPTQ": PLAIN,
    "GPTQ, act-order in static groups": dataclasses.replace(PLAIN, desc_act=True),
    "GPTQ, weighted grids": dataclasses.replace(PLAIN, grid=GridMethod.WEIGHTED),
    "GPTQ, both": dataclasses.replace(OURS, error_correction=False),
    "**ours**: both and error correction": OURS,
    "ours, symmetric": dataclasses.replace(OURS, sym=True),
    "ours, groups of 192": dataclasses.replace(OURS, group_size=192),
}
# What a card's decoder may have. `Packing.FPA_INTB` asks for groups of 32; the two others stand around the usual 128,
# into which rows of 576 don't divide.
PACKING_VARIANTS: Mapping[str, GPTQSettings] = {
    "groups of 192, zero points": dataclasses.replace(OURS, group_size=192),
    "groups of 32, symmetric": dataclasses.replace(OURS, group_size=32, sym=True),
    "groups of 64, zero points": OURS,
}
# Around the 4.13 bits that NF4 takes: 4.10, 4.25 and 4.31.
NEAR_NF4 = {
    name: GPTQ_VARIANTS[name]
    for name in ("ours, groups of 192", "ours, symmetric", "**ours**: both and error correction")
}
# The last layer alone in 8 bits, rounded to nearest: as cards have it today, and as `Packing.FPA_INTB` asks.
HEAD_VARIANTS = {
    f"last layer alone, 8 bits, groups of {GROUP_SIZE}, zero points": (GROUP_SIZE, False),
    "last layer alone, 8 bits, groups of 32, symmetric": (32, True),
}


def file_name(variant: str) -> str:
    """For what is kept of it."""
    return "".join(filter(str.isalnum, variant))


def calibration(model: SmolLM2, ids: NDArray[np.int64]) -> Calibration:
    """`ids`: (sequences, tokens)."""
    table = model.tensor("model.embed_tokens.weight")
    return Calibration.from_embeddings(table[torch.from_numpy(row)][None] for row in ids)


def quantized(model: SmolLM2, data: Calibration, settings: GPTQSettings, work_dir: Path, clock: CpuClock) -> Weights:
    """Weights by name, and the bits that each takes."""
    return dequantize_folder(quantize_decoder(QuantizationJob(model, data, settings), work_dir, lambda _: clock.keep()))


def rounded(model: SmolLM2, *, sym: bool) -> Weights:
    weights = {
        name: torch.from_numpy(round_to_nearest(tensor, group_size=GROUP_SIZE, sym=sym).dequantize())
        for name, tensor in model.tensors.items()
        if name.removesuffix(".weight").endswith(LINEARS)
    }
    return weights, bits_per_weight(4, GROUP_SIZE, sym=sym)


def rounded_head(model: SmolLM2, group_size: int, sym: bool, clock: CpuClock) -> Weights:
    """The last layer alone in 8 bits."""
    name = "lm_head.weight"
    head = round_to_nearest(model.tensor(name), bits=8, group_size=group_size, sym=sym)
    return {name: torch.from_numpy(head.dequantize())}, bits_per_weight(8, group_size, sym=sym)


def bits_per_weight(bits: int, group_size: int, *, sym: bool) -> float:
    """In the graph: a group's fp16 scale, and its zero point where it has one, included."""
    return bits + (16 + (0 if sym else bits)) / group_size
