"""What quantized weights do to SmolLM2's next-token distributions, on text that nobody calibrated on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmarks.quantization.smollm2 import SmolLM2
from export.reference.layerwise import load_module
from export.reference.model import DecoderLayer, RMSNorm, causal_mask, rope_tables
from omnilmm_lite.files.json_file import read_json
from omnilmm_lite.quality.statistics import Scores, score, summarize
from quantize.folder.packing import PARTS, PackedLinear, ZeroFormat, unpack

SEQUENCES_AT_ONCE = 8

Product = Callable[[Tensor], Tensor]  # (tokens, in) -> (tokens, out)
Weight = Tensor | Product
Weights = tuple[Mapping[str, Weight], float]  # by name, and the bits that each takes


@dataclass(frozen=True)
class Result:
    """One row of the table."""

    variant: str
    bits_per_weight: float  # of the linear layers, scales and zero points included
    perplexity: float
    kld: float  # nats, mean
    kld_error: float
    kld_99: float
    top1_agreement: float
    cpu_seconds: float  # to quantize


class Evaluation:
    """The original's hidden states are kept; its logits are computed again for each comparison, as they are large."""

    def __init__(self, model: SmolLM2, ids: NDArray[np.int64]) -> None:
        """`ids`: (sequences, tokens)."""
        self.model, self.ids, self.config = model, ids, model.config.decoder
        self._original = self._hidden({})

    def perplexity(self) -> float:
        """The original's."""
        return summarize(*self._scores({})).perplexity.value

    def measure(
        self, variant: str, weights: Mapping[str, Weight], bits_per_weight: float, cpu_seconds: float
    ) -> Result:
        """`weights`: what stands in place of the model's, by name, such as "model.layers.0.mlp.up_proj.weight"; or
        what multiplies in place of a layer's."""
        summary = summarize(*self._scores(weights))
        return Result(
            variant=variant,
            bits_per_weight=bits_per_weight,
            perplexity=summary.perplexity.value,
            kld=summary.kld_mean.value,
            kld_error=summary.kld_mean.error or 0.0,
            kld_99=summary.kld_percentiles["99"].value,
            top1_agreement=summary.top1_agreement.value,
            cpu_seconds=cpu_seconds,
        )

    def logits(self) -> Iterator[NDArray[np.float32]]:
        """The original's, (tokens, vocab) of each sequence."""
        head = self.model.tensor("lm_head.weight")
        return ((hidden @ head.T).numpy() for hidden in self._original)

    @torch.inference_mode()
    def _scores(self, weights: Mapping[str, Weight]) -> tuple[Scores, NDArray[np.int64]]:
        original_head = self.model.tensor("lm_head.weight")
        head = weights.get("lm_head.weight", original_head)
        assert isinstance(head, Tensor), "the last layer is no product"
        changed = self._hidden(weights)
        scores = [
            score((before @ original_head.T).numpy(), (after @ head.T).numpy(), ids[1:])
            for before, after, ids in zip(self._original[:, :-1], changed[:, :-1], self.ids, strict=True)
        ]
        sequences = np.repeat(np.arange(len(self.ids)), self.ids.shape[1] - 1)
        return Scores.concatenate(scores), sequences

    @torch.inference_mode()
    def _hidden(self, weights: Mapping[str, Weight]) -> Tensor:
        """(sequences, tokens, hidden), behind the last norm."""
        tokens = self.ids.shape[1]
        x = self.model.tensor("model.embed_tokens.weight")[torch.from_numpy(self.ids)]
        cos, sin = rope_tables(self.config, torch.arange(tokens))  # (tokens, head_dim / 2)
        mask = causal_mask(tokens)
        for index in range(self.config.num_hidden_layers):
            name = f"model.layers.{index}"
            layer = load_module(self.model, name, lambda: DecoderLayer(self.config))
            for path, module in list(layer.named_modules()):
                weight = weights.get(f"{name}.{path}.weight") if isinstance(module, nn.Linear) else None
                if weight is not None:
                    layer.set_submodule(path, _Linear(weight))
            x = torch.cat([layer(part, cos, sin, mask) for part in x.split(SEQUENCES_AT_ONCE)])
        norm = load_module(self.model, "model.norm", lambda: RMSNorm(self.config.hidden_size, self.config.rms_norm_eps))
        normed: Tensor = norm(x)
        return normed


class _Linear(nn.Module):
    def __init__(self, weight: Weight) -> None:
        super().__init__()
        self._weight = weight

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self._weight, Tensor):
            return nn.functional.linear(x, self._weight)
        y: Tensor = self._weight(x.flatten(0, -2)).unflatten(0, x.shape[:-1])
        return y


def dequantize_folder(folder: Path) -> Weights:
    """The linear layers of any GPTQ folder, with whatever g_idx, by name; and the bits that each takes in the graph."""
    tensors: dict[str, Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(file)
    config = _read_config(folder)
    zero_format = ZeroFormat(config.get("checkpoint_format", ZeroFormat.V1.value))
    weights, bits, count = dict[str, Weight](), 0, 0
    for name in (name.removesuffix(".qweight") for name in tensors if name.endswith(".qweight")):
        parts = {part: tensors[f"{name}.{part}"].numpy() for part in PARTS}
        order = np.argsort(parts["g_idx"], kind="stable")
        weight = unpack(PackedLinear(**parts), zero_format=zero_format, order=order)
        dense = np.empty(weight.shape, np.float32)
        dense[:, order] = weight.dequantize()
        weights[f"{name}.weight"] = torch.from_numpy(dense)
        has_zeros = (weight.zeros != 1 << weight.bits - 1).any()  # else the graph leaves them out
        bits += weight.codes.size * weight.bits + weight.scales.size * (16 + (weight.bits if has_zeros else 0))
        count += weight.codes.size
    return weights, bits / count


def _read_config(folder: Path) -> dict[str, Any]:
    quantization: dict[str, Any] = read_json(folder / "config.json")["quantization_config"]
    return quantization
