"""Where the decoder's weights come from: the checkpoint as it stands, its quantized form, or either folded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from export.checkpoint.checkpoint import Checkpoint
from export.weights.folding import DecoderFolding, divided
from export.weights.weight import Array, Weight


class DecoderWeights(Protocol):
    """The decoder's tensors under the checkpoint's names."""

    def linear(self, name: str) -> Weight:
        """The linear layer's weight (out, in), float32 or quantized."""

    def array(self, name: str) -> Array:
        """Any other tensor, float32."""


class CheckpointWeights:
    """The decoder's weights as the checkpoint has them, in float32."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint

    def linear(self, name: str) -> Weight:
        return self._checkpoint.array(f"{name}.weight")

    def array(self, name: str) -> Array:
        return self._checkpoint.array(name)


@dataclass(frozen=True)
class FoldedDecoder:
    """Other weights with powers of two folded in, for a graph in fp16; it divides what enters it by `folding.stream`,
    and its norms' epsilons by the square."""

    weights: DecoderWeights
    folding: DecoderFolding

    def linear(self, name: str) -> Weight:
        return divided(self.weights.linear(name), self._divisor(name), name)

    def array(self, name: str) -> Array:
        return self.weights.array(name)

    def _divisor(self, linear: str) -> float:
        of_output = self.folding.divisor(linear)
        return of_output / self.folding.inner.get(linear, 1.0)  # down_proj's input is divided already


def stream_divisor(weights: DecoderWeights) -> float:
    """What the graph of these weights divides its residual stream by; 1 where nothing is folded."""
    return weights.folding.stream if isinstance(weights, FoldedDecoder) else 1.0
