"""The reference model of a checkpoint that is larger than the memory: one block or layer loaded at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch
from torch import nn

from export.checkpoint.checkpoint import Checkpoint
from export.reference.model import DecoderLayer, OmniLMM, VisionBlock

Module = TypeVar("Module", bound=nn.Module)


class ModuleSource(Protocol):
    """What fills modules with weights: a checkpoint."""

    def module(self, module: Module, prefix: str) -> Module: ...


@dataclass(frozen=True)
class LayerwiseModules(Generic[Module]):
    """Modules loaded from the checkpoint anew, one by one, each time they are iterated over."""

    checkpoint: ModuleSource
    prefix: str  # the modules stand at prefix.0, prefix.1, ...
    count: int
    build: Callable[[], Module]

    def __iter__(self) -> Iterator[Module]:
        for index in range(self.count):
            yield load_module(self.checkpoint, f"{self.prefix}.{index}", self.build)


def load_module(checkpoint: ModuleSource, prefix: str, build: Callable[[], Module]) -> Module:
    """One float32 reference module in eval mode, without the time and memory of a random initialisation."""
    with torch.device("meta"):
        module = build()
    return checkpoint.module(module, prefix).eval().requires_grad_(False)


def layerwise_model(checkpoint: Checkpoint) -> OmniLMM:
    """The reference model in float32; only the vision blocks and the decoder layers are loaded while they run."""
    config = checkpoint.config
    blocks = LayerwiseModules[VisionBlock](
        checkpoint, "model.vision_tower.blocks", config.vision.num_hidden_layers, lambda: VisionBlock(config.vision)
    )
    layers = LayerwiseModules[DecoderLayer](
        checkpoint, "model.layers", config.decoder.num_hidden_layers, lambda: DecoderLayer(config.decoder)
    )
    return load_module(checkpoint, "", lambda: OmniLMM(config, blocks=blocks, layers=layers))
