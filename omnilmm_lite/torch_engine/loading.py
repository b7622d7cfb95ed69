"""From a checkpoint's tensors to a decoder that answers: one tensor in memory at a time, beside what is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.engine.interrupt import check_interrupt
from omnilmm_lite.torch_engine.decoder import LoadedDecoder, torch_errors
from omnilmm_lite.torch_engine.layer import PRODUCTS, DecoderLayer
from omnilmm_lite.torch_engine.products import QUANTIZED, FloatProduct, Product
from omnilmm_lite.torch_engine.quantized_folder import QuantizedFolder
from omnilmm_lite.weights import Weights


class TensorSource(Protocol):
    """What has the weights: a checkpoint."""

    def tensor(self, name: str) -> Tensor:
        """By the checkpoint's name, in the file's dtype; mapped, not read."""
        ...


@dataclass(frozen=True)
class DecoderLoading:
    """`kept`: where quantized layers are kept, if they can be; `say` gets a line for people."""

    source: TensorSource
    config: DecoderConfig
    weights: Weights
    device: torch.device
    compute: torch.dtype
    kept: QuantizedFolder | None
    say: Callable[[str], None]

    def load(self) -> LoadedDecoder:
        """All of it. OmniLMMError where the memory is not enough; Interrupted between two layers."""
        kept, layers = self.kept, []
        for index in range(self.config.num_hidden_layers):
            check_interrupt()
            layer, kept = self._layer(index, kept)
            layers.append(layer)
        with torch_errors("loading the decoder"):
            return LoadedDecoder(layers, self._norm("model.norm.weight"), self._float("lm_head.weight"))

    def _layer(self, index: int, kept: QuantizedFolder | None) -> tuple[DecoderLayer, QuantizedFolder | None]:
        """The layer, and where the next one is kept."""
        prefix = f"model.layers.{index}."
        if not self.weights.is_quantized:
            with torch_errors("loading the decoder"):
                products = {name: self._float(f"{prefix}{place}.weight") for name, place in PRODUCTS.items()}
                return self._with_norms(prefix, products), kept
        found = None if kept is None else kept.read(index)
        with torch_errors("loading the decoder"):
            if found is not None:
                return self._with_norms(prefix, self._restored(found)), kept
            quantized = {name: self._quantized(f"{prefix}{place}.weight") for name, place in PRODUCTS.items()}
        if kept is not None:
            try:
                kept.write(index, _flat(quantized))
            except OSError as error:
                self.say(f"{kept.path}: {error.strerror or error}; the next start quantizes again")
                kept = None
        return self._with_norms(prefix, quantized), kept

    def _with_norms(self, prefix: str, products: Mapping[str, Product]) -> DecoderLayer:
        norms = (self._norm(f"{prefix}{name}.weight") for name in ("input_layernorm", "post_attention_layernorm"))
        return DecoderLayer(self.config, products, *norms)

    def _norm(self, name: str) -> Tensor:
        return self.source.tensor(name).to(self.device, torch.float32, copy=True)

    def _float(self, name: str) -> FloatProduct:
        """On the CPU, bf16 weights are used where they lie in the mapped file."""
        kept = torch.bfloat16 if self.device.type == "cpu" and self.weights is not Weights.FP32 else self.compute
        return FloatProduct(self.source.tensor(name).to(self.device, kept), self.compute)

    def _quantized(self, name: str) -> Product:
        check_interrupt()
        return QUANTIZED[self.weights].quantize(self.source.tensor(name).to(self.device), self.compute)

    def _restored(self, tensors: Mapping[str, Tensor]) -> dict[str, Product]:
        parts: dict[str, dict[str, Tensor]] = {name: {} for name in PRODUCTS}
        for name, tensor in tensors.items():
            product, _, part = name.partition("/")
            parts[product][part] = tensor.to(self.device)
        return {name: QUANTIZED[self.weights].restore(part, self.compute) for name, part in parts.items()}


def _flat(products: Mapping[str, Product]) -> dict[str, Tensor]:
    """Names of a product and its part, joined."""
    return {f"{name}/{part}": tensor for name, each in products.items() for part, tensor in each.tensors().items()}
