"""The first stage: the vision tower alone, taught by auxiliary heads that are dropped afterwards.

A post-norm tower learns slowly through a decoder; asked for every patch's class it learns in minutes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from examples.tiny.dataset.pictures import IGNORE
from export.reference.model import VisionTower
from omnilmm_lite.config import VisionConfig

VISION = VisionConfig(
    image_size=112,
    patch_size=14,
    hidden_size=192,
    intermediate_size=768,
    num_hidden_layers=4,
    num_attention_heads=3,
    position_grid=8,
)


def sincos_positions(grid: int, width: int) -> Tensor:
    """2-D sine-cosine table: (grid * grid, width)."""
    rates = 1.0 / 10000 ** (torch.arange(width // 4) / (width // 4))  # (width / 4,)
    angles = torch.arange(grid)[:, None] * rates  # (grid, width / 4)
    line = torch.cat([angles.sin(), angles.cos()], dim=1)  # (grid, width / 2)
    rows, columns = line[:, None].expand(-1, grid, -1), line[None].expand(grid, -1, -1)
    return torch.cat([rows, columns], dim=-1).reshape(grid * grid, width)


def start_tower(tower: VisionTower) -> None:
    """Our start: known positions, and branches that begin small beside the stream that is never normalised."""
    with torch.no_grad():
        tower.pos_embed[0, 1:] = 0.5 * sincos_positions(VISION.position_grid, VISION.hidden_size)
        nn.init.normal_(tower.cls_token, std=0.02)
        for module in tower.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for name, parameter in tower.named_parameters():
            if "blocks" in name and name.endswith(("norm1.weight", "norm2.weight")):
                parameter.fill_(0.3)


class AuxiliaryHeads(nn.Module):
    """Classify every patch, and the picture as a whole."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.patch = nn.Linear(VISION.hidden_size, classes)
        self.whole = nn.Linear(VISION.hidden_size, classes)

    def forward(self, patches: Tensor, patch_labels: Tensor, whole_labels: Tensor) -> tuple[Tensor, Tensor]:
        """Tower output (batch, patches, hidden), labels (batch, patches) and (batch,) -> loss, top-1 of the whole."""
        weight = torch.ones(self.patch.out_features)
        weight[0] = 0.1  # most patches are background
        dense = F.cross_entropy(self.patch(patches).flatten(0, 1), patch_labels.flatten(), weight, ignore_index=IGNORE)
        logits = self.whole(patches.mean(1))  # (batch, classes)
        loss = dense + F.cross_entropy(logits, whole_labels, ignore_index=IGNORE)
        known = whole_labels != IGNORE
        right = (logits.argmax(-1) == whole_labels)[known].float()
        return loss, right.mean()
