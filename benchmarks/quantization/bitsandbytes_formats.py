"""NF4 and LLM.int8 in place of the decoder's linear layers: what `--weights nf4` and `int8` do without calibration.

The codes are those of the torch engine, which are bitsandbytes' own (tests/torch_engine/test_quantized_products.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from benchmarks.quantization.evaluation import Weights
from benchmarks.quantization.smollm2 import SmolLM2
from omnilmm_lite.torch_engine.packages import import_bitsandbytes
from omnilmm_lite.torch_engine.products import Int8Product, Nf4Product
from quantize.folder.tensors import LINEARS


def nf4(model: SmolLM2) -> Weights:
    """Blocks of 64, their scales in 8 bits: double quantization."""
    weights, bits, count = dict[str, Tensor](), 0, 0
    for name, weight in _linears(model).items():
        product = Nf4Product.quantize(weight, torch.float32)
        state = product.state
        dense: Tensor = import_bitsandbytes().functional.dequantize_4bit(product.codes, state)
        weights[name] = dense
        bits += sum(_bits(tensor) for tensor in (product.codes, state.absmax, state.state2.absmax))
        count += weight.numel()
    return weights, bits / count


def int8_weights(model: SmolLM2) -> Weights:
    """LLM.int8's weights, multiplied by activations as they are."""
    return _int8(model, lambda product: product.codes * (product.scales / 127)[:, None])


def int8(model: SmolLM2) -> Weights:
    """The whole of LLM.int8: activations in 8 bits too, but for those of 6 and more."""
    return _int8(model, lambda product: product)


def _int8(model: SmolLM2, weight_of: Callable[[Int8Product], Tensor | Int8Product]) -> Weights:
    weights, bits, count = dict[str, Tensor | Int8Product](), 0, 0
    for name, weight in _linears(model).items():
        product = Int8Product.quantize(weight, torch.float32)
        weights[name] = weight_of(product)
        bits += _bits(product.codes) + _bits(product.scales)
        count += weight.numel()
    return weights, bits / count


def _linears(model: SmolLM2) -> Mapping[str, Tensor]:
    return {name: tensor for name, tensor in model.tensors.items() if name.removesuffix(".weight").endswith(LINEARS)}


def _bits(tensor: Tensor) -> int:
    return 8 * tensor.nbytes
