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
    device: torch.device | None = None  # where they are put; None: left where the source makes them

    def __iter__(self) -> Iterator[Module]:
        for index in range(self.count):
            yield load_module(self.checkpoint, f"{self.prefix}.{index}", self.build, self.device)


def load_module(
    checkpoint: ModuleSource, prefix: str, build: Callable[[], Module], device: torch.device | None = None
) -> Module:
    """One float32 reference module in eval mode, on `device`, without the time and memory of a random initialisation.

    Without a `device` it stays where the source makes it: a checkpoint on the CPU.
    """
    with torch.device("meta"):
        module = build()
    filled = checkpoint.module(module, prefix).eval().requires_grad_(False)
    return filled if device is None else filled.to(device)


def layerwise_model(checkpoint: Checkpoint, device: torch.device | None = None) -> OmniLMM:
    """The reference model in float32, on `device` or the CPU; only the vision blocks and the decoder layers are loaded
    while they run."""
    config = checkpoint.config
    vision, decoder = config.vision, config.decoder
    blocks = LayerwiseModules[VisionBlock](
        checkpoint, "model.vision_tower.blocks", vision.num_hidden_layers, lambda: VisionBlock(vision), device
    )
    layers = LayerwiseModules[DecoderLayer](
        checkpoint, "model.layers", decoder.num_hidden_layers, lambda: DecoderLayer(decoder), device
    )
    return load_module(checkpoint, "", lambda: OmniLMM(config, blocks=blocks, layers=layers), device)
