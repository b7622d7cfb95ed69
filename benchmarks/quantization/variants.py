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
    return weights, 4 + (16 + 4) / GROUP_SIZE
