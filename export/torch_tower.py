"""The vision tower and the resampler for answers by torch: the reference's modules, in bf16 or fp32."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from export.checkpoint.checkpoint import Checkpoint
from export.reference.model import Resampler, VisionBlock, VisionTower
from omnilmm_lite.engine.interrupt import check_interrupt
from omnilmm_lite.torch_engine.decoder import torch_errors

Module = TypeVar("Module", bound=nn.Module)

TOWER, RESAMPLER = "model.vision_tower", "model.resampler"


@dataclass(frozen=True)
class TowerOpener:
    """`resident`: blocks are loaded once, for a card with room. Else they come from the mapped checkpoint one by one,
    for each picture; where that has their format already, nothing of them is copied."""

    checkpoint: Checkpoint
    device: torch.device
    compute: torch.dtype
    resident: bool

    def open(self) -> OpenTower:
        config = self.checkpoint.config
        vision = config.vision
        blocks: Blocks | list[VisionBlock] = Blocks(self)
        if self.resident:
            blocks = list(blocks)
        with torch_errors("vision tower"):
            tower = self.module(lambda: VisionTower(vision, _Watched(blocks)), TOWER)
            return OpenTower(self, tower, self.module(lambda: Resampler(config.resampler, vision.grid), RESAMPLER))

    def block(self, index: int) -> VisionBlock:
        return self.module(lambda: VisionBlock(self.checkpoint.config.vision), f"{TOWER}.blocks.{index}")

    def module(self, build: Callable[[], Module], prefix: str) -> Module:
        with torch.device("meta"):
            module = build()
        state = {
            name: self.checkpoint.tensor(f"{prefix}.{name}").to(self.device, self.compute)
            for name in module.state_dict()
        }
        module.load_state_dict(state, assign=True)
        return module.eval().requires_grad_(False)


@dataclass(frozen=True)
class OpenTower:
    opener: TowerOpener
    tower: VisionTower
    resampler: Resampler

    @torch.inference_mode()
    def __call__(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """(pictures, 3, image_size, image_size) -> (pictures, queries, hidden), both float32."""
        with torch_errors("vision tower"):
            x = torch.tensor(pixels, device=self.opener.device, dtype=self.opener.compute)
            features: NDArray[np.float32] = self.resampler(self.tower(x)).float().cpu().numpy()
        return features


@dataclass(frozen=True)
class Blocks:
    """The tower's blocks, loaded anew each time they are iterated over."""

    opener: TowerOpener

    def __iter__(self) -> Iterator[VisionBlock]:
        return map(self.opener.block, range(self.opener.checkpoint.config.vision.num_hidden_layers))


@dataclass(frozen=True)
class _Watched:
    """The same blocks; between two of them, Ctrl-C and clients that have left are heard."""

    blocks: Blocks | Sequence[VisionBlock]

    def __iter__(self) -> Iterator[VisionBlock]:
        for block in self.blocks:
            check_interrupt()
            yield block
