"""What calibration pictures bring to a block's linear layers, gathered while their fp32 states pass through it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from export.reference.model import VisionBlock


@dataclass(frozen=True)
class BlockStatistics:
    """Of one block, over all calibration pictures. fc2's Hessian is left out: 15360 wide, it would take 944 MB and
    minutes a block."""

    qkv: Tensor  # X^T X / tokens of the layer's inputs: (hidden, hidden)
    proj: Tensor
    fc1: Tensor
    loudness: Tensor  # each channel's largest absolute value where qkv and fc1 read the residual stream: (2, hidden)
    probe: Tensor  # the first picture's hidden states as they enter the block: (1, tokens, hidden)

    @classmethod
    def gather(cls, block: VisionBlock, states: Tensor) -> BlockStatistics:
        """Takes `states` (pictures, tokens, hidden) through the block, in place, one picture at a time, where both lie.

        The statistics lie there as well.
        """
        hidden, device = states.shape[-1], states.device
        qkv, proj, fc1 = (torch.zeros(hidden, hidden, device=device) for _ in range(3))
        loudness = torch.zeros(2, hidden, device=device)
        probe = states[:1].clone()
        for state in states:  # (tokens, hidden)
            _add(qkv, loudness[0], state)
            mixed = block.attn.attend(state[None])[0]
            proj.addmm_(mixed.T, mixed)
            state += block.norm1(block.attn.proj(mixed))
            _add(fc1, loudness[1], state)
            state += block.norm2(block.mlp(state))
        tokens = states.shape[0] * states.shape[1]
        return cls(qkv.div_(tokens), proj.div_(tokens), fc1.div_(tokens), loudness, probe)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> BlockStatistics:
        return cls(**tensors)

    def to_tensors(self) -> dict[str, NDArray[Any]]:
        return {name: tensor.cpu().numpy() for name, tensor in vars(self).items()}


def _add(hessian: Tensor, loudness: Tensor, inputs: Tensor) -> None:
    """Adds `inputs` (tokens, hidden) to both sums, in place."""
    hessian.addmm_(inputs.T, inputs)
    torch.maximum(loudness, inputs.abs().amax(0), out=loudness)
