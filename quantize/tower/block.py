"""One block of the tower to int8: what docs/quantization-tower.md found best, and what it costs on a photograph."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from export.parity.cosines import Cosines
from export.reference.model import VisionBlock
from export.weights.int8 import AFTER_GELU, Int8Linear
from export.weights.rotation import rotate, rotate_values
from omnilmm_lite.bundle.layout import INNER_ROTATION, STREAM_ROTATION, widest_block
from quantize.tower.int8_tower import Int8Block
from quantize.tower.statistics import BlockStatistics
from quantize.tower.weights import gptq_linear

VALUE_ROTATION = 16  # folded into the layers around attention
# Times less error than with the grid that knows GELU's minimum, which costs nothing. With codes limited in pairs, it is
# 1.9 with a loud unit in the MLP (tests/quantize/tower), 1.2 in ordinary blocks (docs/quantization-tower.md).
WORTH_ROTATING = 1.6


def quantize_block(
    block: VisionBlock, statistics: BlockStatistics, divisors: Tensor, device: torch.device | None = None
) -> Int8Block:
    """GPTQ where the Hessian is small, rounding to nearest at fc2. The block is left as it is.

    All tensors lie on the CPU; GPTQ runs on `device`, or there as well.
    """
    attention, mlp = block.attn, block.mlp
    hidden = len(divisors)
    stream = widest_block(hidden, STREAM_ROTATION)
    values = widest_block(hidden // attention.num_heads, VALUE_ROTATION)
    q, k, v = (attention.qkv.weight * divisors).chunk(3)
    v, v_bias, proj = rotate_values(v, attention.v_bias, attention.proj.weight, values)
    folded = divisors * divisors[:, None]
    mixed = rotate(rotate(statistics.proj, values).T, values)
    linears = {
        "attn.qkv": gptq_linear(torch.cat([q, k, v]), statistics.qkv / folded, rotation=stream, device=device),
        "attn.proj": gptq_linear(proj, mixed, device=device),
        "mlp.fc1": gptq_linear(mlp.fc1.weight * divisors, statistics.fc1 / folded, rotation=stream, device=device),
        "mlp.fc2": Int8Linear.round(mlp.fc2.weight, grid=AFTER_GELU),
    }
    return Int8Block(linears, v_bias)


def choose_inner(
    exact: VisionBlock, emulated: VisionBlock, quantized: Int8Block, probe: Tensor, divisors: Tensor
) -> tuple[Int8Block, Cosines]:
    """`quantized` with fc2 as it is, or rotated where that is worth its time; and how near what it adds to the stream
    then is to what `exact` adds.

    `emulated` is the block that `quantized` makes, `probe` (1, tokens, hidden) the true stream on its way in.
    """
    wanted = exact(probe) - probe
    stream = probe / divisors
    attended = stream + emulated.norm1(emulated.attn(stream))
    inner = emulated.mlp.activate(attended)  # (1, tokens, intermediate)

    def damage(fc2: Int8Linear) -> Cosines:
        found = attended + emulated.norm2(fc2(inner) + exact.mlp.fc2.bias) - stream
        return Cosines.between(found * divisors, wanted)

    weight = exact.mlp.fc2.weight
    plain = quantized.linears["mlp.fc2"]
    rotated = Int8Linear.round(weight, rotation=widest_block(weight.shape[1], INNER_ROTATION))
    before, after = damage(plain), damage(rotated)
    if 1 - before.mean_cosine <= WORTH_ROTATING * (1 - after.mean_cosine):
        return quantized, before
    return replace(quantized, linears={**quantized.linears, "mlp.fc2": rotated}), after
