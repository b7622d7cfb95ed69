"""A linear layer of the decoder: its weights as they are kept, and the product with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from omnilmm_lite.torch_engine.packages import import_bitsandbytes
from omnilmm_lite.weights import Weights

BLOCK = 64  # weights that share a scale in NF4: bitsandbytes' default, and QLoRA's
# Activations beyond this are multiplied in their own format: LLM.int8's, arXiv 2208.07339, and transformers' default.
OUTLIER = 6.0
PACKED_ROWS = 32  # output rows that bitsandbytes' product for AVX512-BF16 takes together


class Product(Protocol):
    def __call__(self, x: Tensor) -> Tensor:
        """float32 (tokens, in) -> float32 (tokens, out)."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """What `restore` takes."""
        ...


@dataclass(frozen=True, eq=False)
class FloatProduct:
    """Weights as they are, (out, in). Where they are narrower than `compute`, they are widened for each product."""

    weight: Tensor
    compute: torch.dtype

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x.to(self.compute), self.weight.to(self.compute)).float()

    def tensors(self) -> dict[str, Tensor]:
        return {"weight": self.weight}


@dataclass(frozen=True, eq=False)
class Int8Product:
    """LLM.int8: a scale for each row of the weights and each row of the activations, and outliers by themselves."""

    codes: Tensor  # int8 (out, in)
    scales: Tensor  # float32 (out,): the largest of each row
    compute: torch.dtype

    @classmethod
    def quantize(cls, weight: Tensor, compute: torch.dtype) -> Self:
        """`weight`: (out, in), on the device where it will be used."""
        codes, scales, _ = import_bitsandbytes().functional.int8_vectorwise_quant(weight.to(torch.float16))
        return cls(codes, scales, compute)

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor], compute: torch.dtype) -> Self:
        return cls(tensors["codes"], tensors["scales"], compute)

    def tensors(self) -> dict[str, Tensor]:
        return {"codes": self.codes, "scales": self.scales}

    def __call__(self, x: Tensor) -> Tensor:
        bnb = import_bitsandbytes()
        state = bnb.MatmulLtState()
        state.CB, state.SCB = self.codes, self.scales
        state.has_fp16_weights = state.is_training = False
        y: Tensor = bnb.matmul(x.to(self.compute), self.codes, state=state, threshold=OUTLIER)
        return y.float()


@dataclass(frozen=True, eq=False)
class Nf4Product:
    """NF4 with double quantization. `state` is bitsandbytes' own description of the codes."""

    codes: Tensor  # uint8, two weights a byte
    state: Any
    compute: torch.dtype

    @classmethod
    def quantize(cls, weight: Tensor, compute: torch.dtype) -> Self:
        """`weight`: (out, in), on the device where it will be used."""
        codes, state = import_bitsandbytes().functional.quantize_4bit(
            weight.contiguous(), blocksize=BLOCK, compress_statistics=True, quant_type="nf4"
        )
        return cls(*_packed(codes, state, compute), compute)

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor], compute: torch.dtype) -> Self:
        functional = import_bitsandbytes().functional
        codes = tensors["codes"]
        if "packed_scales" not in tensors:
            rest = {name: value for name, value in tensors.items() if name != "codes"}
            return cls(codes, functional.QuantState.from_dict(rest, codes.device), compute)
        state = functional.QuantState(
            absmax=tensors["packed_scales"],
            shape=torch.Size((codes.shape[0], 2 * codes.shape[1])),
            code=functional.get_4bit_type("nf4", device=codes.device),
            blocksize=BLOCK,
            quant_type="nf4",
            dtype=torch.bfloat16,
        )
        state.packing_format_for_cpu = True
        return cls(codes, state, compute)

    def tensors(self) -> dict[str, Tensor]:
        if getattr(self.state, "packing_format_for_cpu", False):
            return {"codes": self.codes, "packed_scales": self.state.absmax}
        return {"codes": self.codes, **self.state.as_dict(packed=True)}

    def __call__(self, x: Tensor) -> Tensor:
        bnb = import_bitsandbytes()
        y: Tensor = bnb.matmul_4bit(x.to(self.compute), self.codes, quant_state=self.state)
        return y.float()


QUANTIZED: Mapping[Weights, type[Nf4Product] | type[Int8Product]] = {
    Weights.NF4: Nf4Product,
    Weights.INT8: Int8Product,
}


def _packed(codes: Tensor, state: Any, compute: torch.dtype) -> tuple[Tensor, Any]:
    """On a CPU that computes in bf16, codes and scales in the order of bitsandbytes' product for it; else as they are.

    Its scales are then bf16 and no longer quantized themselves: 4.25 bits a weight rather than 4.13.
    """
    bnb = import_bitsandbytes()
    rows, columns = state.shape
    fits = rows % PACKED_ROWS == 0 and columns % BLOCK == 0
    if codes.device.type != "cpu" or compute is not torch.bfloat16 or not fits or not bnb.functional.has_avx512bf16():
        return codes, state
    layer = bnb.nn.Linear4bit(columns, rows, bias=False, compute_dtype=compute, quant_type="nf4", device="meta")
    layer.weight = bnb.nn.Params4bit(
        codes, requires_grad=False, quant_state=state, blocksize=BLOCK, quant_type="nf4", bnb_quantized=True
    )
    with torch.inference_mode():
        layer.eval()(torch.zeros(1, columns, dtype=compute))  # the first product packs
    return layer.weight.data, layer.weight.quant_state
