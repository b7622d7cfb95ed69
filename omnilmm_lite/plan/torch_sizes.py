"""What answers from a checkpoint take, by the torch engine: computed from the config, before anything is loaded."""

from __future__ import annotations

import math
from dataclasses import dataclass

from omnilmm_lite.bundle.target import Device
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.engine.decoder import PREFILL_CHUNK
from omnilmm_lite.plan.disk import BF16_BYTES, linear_shapes, resampler_values, vision_values
from omnilmm_lite.plan.workspace import CUDA_CONTEXT, FP32_BYTES, MIB
from omnilmm_lite.weights import Weights

NF4_BLOCK, NF4_OUTER_BLOCK = 64, 256  # weights a scale, scales a scale of theirs

# Not exact: the program with torch and bitsandbytes, without weights (measured on Linux, docs/torch-engine.md).
TORCH_BASE = 550 * MIB

# Widths of activations that live at once, in fp32: gate, up, their product and its copy; the residual and its like.
MLP_WIDTHS, HIDDEN_WIDTHS = 4, 8
# Quantizing one weight to NF4 takes so many bytes a value for a while (measured, docs/torch-engine.md).
QUANTIZING = 12


@dataclass(frozen=True)
class TorchSizes:
    """Bytes. On the CPU `tower` is the one block that is there at a time; its weights are mapped from the checkpoint,
    as are the embeddings. `disk`: what quantized layers take beside the checkpoint."""

    weights: Weights
    device: Device
    tower: int
    resampler: int
    decoder: int  # its last layer included
    kv_cache: int
    workspace: int
    base: int
    disk: int

    @property
    def total(self) -> int:
        return self.tower + self.resampler + self.decoder + self.kv_cache + self.workspace + self.base

    def to_dict(self) -> dict[str, int]:
        """Bytes by part, with the total."""
        parts = {name: value for name, value in vars(self).items() if isinstance(value, int)}
        return parts | {"total": self.total}

    @classmethod
    def of(cls, config: OmniLMMConfig, weights: Weights, device: Device, context: int, *, bf16: bool) -> TorchSizes:
        """`bf16`: on the CPU, whether it computes in bf16; a card always does in 16 bits."""
        decoder, vision = config.decoder, config.vision
        half = weights is not Weights.FP32 and (device is Device.CUDA or bf16)
        item = BF16_BYTES if half else FP32_BYTES
        stored = FP32_BYTES if weights is Weights.FP32 else BF16_BYTES
        shapes = linear_shapes(decoder)
        layers = decoder.num_hidden_layers * sum(
            linear_bytes(rows, columns, weights, packed=device is Device.CPU and half) for rows, columns in shapes
        )
        head = decoder.vocab_size * decoder.hidden_size * stored
        blocks = 1 if device is Device.CPU else vision.num_hidden_layers
        block = 4 * vision.hidden_size**2 + 2 * vision.hidden_size * vision.intermediate_size
        chunk = min(PREFILL_CHUNK, context)
        widest = max(map(math.prod, shapes))
        text = chunk * FP32_BYTES * (MLP_WIDTHS * decoder.intermediate_size + HIDDEN_WIDTHS * decoder.hidden_size)
        picture = (
            (vision.num_patches + 1)
            * item
            * (MLP_WIDTHS * vision.intermediate_size + HIDDEN_WIDTHS * vision.hidden_size)
        )
        widened = widest * item if weights is not Weights.FP32 else 0
        quantizing = widest * QUANTIZING if weights.is_quantized else 0
        return cls(
            weights,
            device,
            tower=(vision_values(vision) - (vision.num_hidden_layers - blocks) * block) * item,
            resampler=resampler_values(config) * item,
            decoder=layers + head,
            kv_cache=2 * decoder.num_hidden_layers * decoder.kv_dim * context * item,
            workspace=max(text + widened, picture, quantizing),
            base=CUDA_CONTEXT if device is Device.CUDA else TORCH_BASE,
            disk=layers if weights.is_quantized else 0,
        )


def all_sizes(config: OmniLMMConfig, context: int, *, bf16: bool) -> list[TorchSizes]:
    """On a card and on the CPU; without fp32, which is for comparing numbers. `bf16`: see `TorchSizes.of`."""
    words = [weights for weights in Weights if weights is not Weights.FP32]
    return [
        TorchSizes.of(config, each, device, context, bf16=bf16)
        for device in (Device.CUDA, Device.CPU)
        for each in words
    ]


def linear_bytes(rows: int, columns: int, weights: Weights, *, packed: bool) -> int:
    """A linear layer's bytes. `packed`: NF4 for the CPU's product in bf16, whose scales are bf16 for each block."""
    values = rows * columns
    match weights:
        case Weights.FP32:
            return FP32_BYTES * values
        case Weights.BF16:
            return BF16_BYTES * values
        case Weights.INT8:
            return values + FP32_BYTES * rows
        case Weights.NF4:
            scales = -(-values // NF4_BLOCK)
            outer = -(-scales // NF4_OUTER_BLOCK)
            return values // 2 + (BF16_BYTES * scales if packed else scales + FP32_BYTES * outer)
