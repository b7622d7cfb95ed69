"""Where the vision tower's weights come from: the checkpoint as it stands, or a quantized form of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
from torch import nn

from export.checkpoint.checkpoint import Checkpoint
from export.reference.layerwise import LayerwiseModules, Module, load_module
from export.reference.model import VisionBlock, VisionTower
from export.weights.int8 import Int8Linear
from export.weights.int8_module import Int8Module
from export.weights.weight import Array, QuantizedWeight, Weight
from omnilmm_lite.config import VisionConfig
from omnilmm_lite.formats import LinearFormat

PREFIX = "model.vision_tower"

TowerLinear: TypeAlias = Weight | Int8Linear


class TowerWeights(Protocol):
    """The tower's tensors under the checkpoint's names.

    Where `divisors` isn't None, the residual stream is divided by it. Whatever writes or reads that stream has it
    folded in already, but for the last norm, which reads the stream times `divisors`.
    """

    @property
    def format(self) -> LinearFormat: ...

    @property
    def divisors(self) -> Array | None:
        """float32 (hidden,)"""

    def linear(self, name: str) -> TowerLinear:
        """The linear layer's weight (out, in), float32 or quantized."""

    def array(self, name: str) -> Array:
        """Any other tensor, float32."""


@dataclass(frozen=True)
class CheckpointTower:
    """The weights as the checkpoint has them, in float32."""

    checkpoint: Checkpoint
    format: LinearFormat = LinearFormat.FLOAT
    divisors: None = None

    def linear(self, name: str) -> TowerLinear:
        return self.checkpoint.array(f"{name}.weight")

    def array(self, name: str) -> Array:
        return self.checkpoint.array(name)


@dataclass(frozen=True)
class TowerModules:
    """Fills the reference's modules with any tower's weights; linear layers in int8 compute as the graph does."""

    weights: TowerWeights

    def module(self, module: Module, prefix: str) -> Module:
        """`module` as the meta device made it; `prefix` is its place in the checkpoint."""
        state = {}
        for path, child in list(module.named_modules()):
            if not isinstance(child, nn.Linear):
                continue
            weight = self.weights.linear(f"{prefix}.{path}")
            if isinstance(weight, Int8Linear):
                module.set_submodule(path, Int8Module(weight, child.bias))
            else:
                dense = weight.dequantize() if isinstance(weight, QuantizedWeight) else weight
                state[f"{path}.weight"] = torch.from_numpy(dense)
        for name in module.state_dict():
            if name not in state:
                state[name] = torch.from_numpy(self.weights.array(f"{prefix}.{name}"))
        module.load_state_dict(state, assign=True)
        return module


def layerwise_tower(weights: TowerWeights, config: VisionConfig) -> VisionTower:
    """The tower that the graph computes, in float32 but for int8's products, one block in memory at a time."""
    modules = TowerModules(weights)
    count = config.num_hidden_layers
    blocks = LayerwiseModules[VisionBlock](modules, f"{PREFIX}.blocks", count, lambda: VisionBlock(config))
    tower = load_module(modules, PREFIX, lambda: VisionTower(config, blocks))
    if weights.divisors is not None:
        divisors = torch.from_numpy(weights.divisors)
        tower.norm.register_forward_pre_hook(lambda _, inputs: (inputs[0] * divisors,))
    return tower
