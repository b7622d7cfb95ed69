"""What the decoder's graphs ought to answer: the reference, layer by layer, with the weights that each graph has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.decoder import DecoderWeights
from export.prefill import int8_layer
from export.reference import OmniLMM, causal_mask, rope_tables
from quantize.int8 import Int8Linear
from quantize.weight import QuantizedWeight

Array = NDArray[np.float32]
# A linear layer as a graph computes it, by its name; None where that is what the checkpoint has.
Replacement = Callable[[str], nn.Module | None]


@dataclass(frozen=True)
class Dequantized:
    """The layers that `weights` hold in quantized form."""

    weights: DecoderWeights

    def __call__(self, name: str) -> nn.Module | None:
        weight = self.weights.linear(name)
        return _linear(weight.dequantize()) if isinstance(weight, QuantizedWeight) else None


@dataclass(frozen=True)
class RoundedPrompts:
    """The layers of `export.prefill`: int8 made of `original`'s weights, with lm_head from `weights`."""

    original: DecoderWeights
    weights: DecoderWeights

    def __call__(self, name: str) -> nn.Module | None:
        if name == "lm_head":
            return Dequantized(self.weights)(name)
        return _Int8Module(int8_layer(self.original, name))


class _Int8Module(nn.Module):
    def __init__(self, linear: Int8Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


def decoder_logits(
    reference: OmniLMM, forms: Mapping[str, Replacement], embeddings: Tensor, on_step: Callable[[str], None]
) -> dict[str, Array]:
    """Logits (tokens, vocab) of each form, in one pass over the checkpoint's layers; embeddings (1, tokens, hidden)."""
    config = reference.config.decoder
    tokens = embeddings.shape[1]
    cos, sin = rope_tables(config, torch.arange(tokens))
    mask = causal_mask(tokens, config.sliding_window)
    streams = dict.fromkeys(forms, embeddings)
    for i, layer in enumerate(reference.model.layers):
        for form, replacement in forms.items():
            with _replaced(layer, f"model.layers.{i}.", replacement):
                streams[form] = layer(streams[form], cos, sin, mask)
        on_step(f"decoder layer {i + 1}/{config.num_hidden_layers}")
    logits = {}
    for form, replacement in forms.items():
        head = replacement("lm_head") or reference.lm_head
        logits[form] = head(reference.model.norm(streams[form]))[0].numpy()
    return logits


@contextmanager
def _replaced(layer: nn.Module, prefix: str, replacement: Replacement) -> Iterator[None]:
    """The layer with its linear modules replaced, until the end of the block."""
    own = {path: module for path, module in layer.named_modules() if isinstance(module, nn.Linear)}
    for path in own:
        if (module := replacement(prefix + path)) is not None:
            layer.set_submodule(path, module)
    try:
        yield
    finally:
        for path, module in own.items():
            layer.set_submodule(path, module)


def _linear(weight: Array) -> nn.Linear:
    """Weight (out, in), no bias."""
    with torch.device("meta"):
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    linear.weight = nn.Parameter(torch.from_numpy(weight), requires_grad=False)
    return linear
