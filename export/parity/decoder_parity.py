"""What the decoder's graphs ought to answer: the reference, layer by layer, with the weights that each graph has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.graphs.decoder import DecoderWeights
from export.graphs.prefill import int8_layer
from export.reference.model import OmniLMM, causal_mask, rope_tables
from export.weights.int8_module import Int8Module
from export.weights.weight import QuantizedWeight

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
    """The layers of `export.graphs.prefill`: int8 made of what `weights` stand for."""

    weights: DecoderWeights

    def __call__(self, name: str) -> nn.Module | None:
        return Int8Module(int8_layer(self.weights, name))


def decoder_logits(
    reference: OmniLMM, forms: Mapping[str, Replacement], embeddings: Tensor, on_step: Callable[[str], None]
) -> dict[str, Array]:
    """Logits (tokens, vocab) of each form, in one pass over the checkpoint's layers; embeddings (1, tokens, hidden)
    lie where the reference does."""
    config = reference.config.decoder
    tokens, device = embeddings.shape[1], embeddings.device
    cos, sin = rope_tables(config, torch.arange(tokens, device=device))
    mask = causal_mask(tokens, config.sliding_window, device)
    hidden = dict.fromkeys(forms, embeddings)
    for i, layer in enumerate(reference.model.layers):
        for form, replacement in forms.items():
            with _replaced(layer, f"model.layers.{i}.", replacement):
                hidden[form] = layer(hidden[form], cos, sin, mask)
        on_step(f"decoder layer {i + 1}/{config.num_hidden_layers}")
    logits = {}
    for form, replacement in forms.items():
        head = (replacement("lm_head") or reference.lm_head).to(device)
        logits[form] = head(reference.model.norm(hidden[form]))[0].cpu().numpy()
    return logits


def decoder_modules(reference: OmniLMM, replacement: Replacement, tokens: int) -> Iterator[Callable[[Tensor], Tensor]]:
    """One form's layers, each loaded until the next is asked for, (1, tokens, hidden) -> the same shape; at last norm
    and lm_head: -> (1, tokens, vocab)."""
    config = reference.config.decoder
    cos, sin = rope_tables(config, torch.arange(tokens))
    mask = causal_mask(tokens, config.sliding_window)
    for i, layer in enumerate(reference.model.layers):
        with _replaced(layer, f"model.layers.{i}.", replacement):
            yield partial(layer, cos=cos, sin=sin, mask=mask)
    head = replacement("lm_head") or reference.lm_head
    yield lambda x: head(reference.model.norm(x))


@contextmanager
def _replaced(layer: nn.Module, prefix: str, replacement: Replacement) -> Iterator[None]:
    """The layer with its linear modules replaced, until the end of the block."""
    own = {path: module for path, module in layer.named_modules() if isinstance(module, nn.Linear)}
    for path in own:
        if (module := replacement(prefix + path)) is not None:
            layer.set_submodule(path, module.to(own[path].weight.device))
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
