"""NF4 and LLM.int8, against the papers' definitions and against transformers with bitsandbytes on the same decoder."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from export.checkpoint.checkpoint import Checkpoint
from omnilmm_lite.torch_engine.decoder import TorchDecoder
from omnilmm_lite.torch_engine.layer import PRODUCTS
from omnilmm_lite.torch_engine.loading import DecoderLoading
from omnilmm_lite.torch_engine.packages import import_bitsandbytes
from omnilmm_lite.torch_engine.products import Int8Product, Nf4Product
from omnilmm_lite.weights import Weights
from tests.export import torchvision_operators
from tests.small_checkpoint import bell

CPU = torch.device("cpu")
# QLoRA, arXiv 2305.14314, appendix E: the 16 values of NF4
NF4 = np.array([
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
])  # fmt: skip


def weight(rows: int = 96, columns: int = 128) -> Tensor:
    return torch.from_numpy(bell("weight", (rows, columns), 3)) * 0.05


@pytest.mark.parametrize(("compute", "tolerance"), [(torch.float32, 2e-3), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize("rows", [1, 3, 70])
def test_nf4_is_the_papers(rows: int, compute: torch.dtype, tolerance: float) -> None:
    """The nearest of 16 values times the block's largest; scales that are quantized themselves are off by a little."""
    w, x = weight(), torch.from_numpy(bell("x", (rows, 128), 4))
    blocks = w.numpy().astype(np.float64).reshape(-1, 64)
    largest = np.abs(blocks).max(axis=1, keepdims=True)
    nearest = NF4[np.abs(blocks[..., None] / largest[..., None] - NF4).argmin(axis=-1)] * largest
    expected = x.numpy() @ nearest.reshape(w.shape).T
    found = Nf4Product.quantize(w, compute)(x).numpy()
    assert np.abs(found - expected).max() < tolerance * np.abs(expected).max()
    exact = x.numpy() @ w.numpy().T
    assert np.abs(found - exact).max() > 5 * np.abs(found - expected).max()


@pytest.mark.parametrize("compute", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 3, 70])
def test_int8_is_the_papers(rows: int, compute: torch.dtype) -> None:
    """Arxiv 2208.07339: rows of both sides in 8 bits by their largest, features with outliers left as they are."""
    w, x = weight().half().float(), torch.from_numpy(bell("x", (rows, 128), 4)).clamp(-5, 5)
    x = x.to(compute).half().float()
    x[:, 17] = 20.0
    w_scale = w.abs().amax(1, keepdim=True) / 127
    rounded = (w / w_scale).round() * w_scale
    plain = x.clone()
    plain[:, 17] = 0
    x_scale = plain.abs().amax(1, keepdim=True) / 127
    expected = ((plain / x_scale).round() * x_scale) @ rounded.T + x[:, 17:18] @ rounded[:, 17:18].T
    found = Int8Product.quantize(w, compute)(x)
    assert (found - expected).abs().max() < (1e-2 if compute is torch.bfloat16 else 1e-3) * expected.abs().max()
    assert (found - x @ w.T).abs().max() > 0


@pytest.mark.parametrize("kind", [Nf4Product, Int8Product])
@pytest.mark.parametrize("compute", [torch.float32, torch.bfloat16])
def test_what_is_kept_gives_the_same_bits(kind: type[Nf4Product] | type[Int8Product], compute: torch.dtype) -> None:
    x = torch.from_numpy(bell("x", (3, 128), 4))
    product = kind.quantize(weight(), compute)
    again = kind.restore({name: tensor.clone() for name, tensor in product.tensors().items()}, compute)
    assert torch.equal(product(x), again(x))


def test_rows_that_no_fast_product_takes() -> None:
    x = torch.from_numpy(bell("x", (2, 96), 4))
    odd = weight(33, 96)
    close = (Nf4Product.quantize(odd, torch.bfloat16)(x) - x @ odd.T).abs().max() / (x @ odd.T).abs().max()
    assert close < 0.2


def theirs(checkpoint: Checkpoint, quantization: Any) -> Any:
    """transformers' Mistral with the checkpoint's weights in bitsandbytes' layers, as its quantizer puts them there."""
    torchvision_operators.define()
    bnb, transformers = import_bitsandbytes(), importlib.import_module("transformers")
    replace = importlib.import_module("transformers.integrations.bitsandbytes").replace_with_bnb_linear
    config = checkpoint.config.decoder
    options = {name: getattr(config, name) for name in type(config).__dataclass_fields__ if name != "rope_theta"}
    rope = {"rope_type": "default", "rope_theta": config.rope_theta}
    model = transformers.MistralForCausalLM(transformers.MistralConfig(**options, rope_parameters=rope))
    model.load_state_dict({name: checkpoint.tensor(name).float() for name in model.state_dict()})
    model = replace(model, modules_to_not_convert=["lm_head"], quantization_config=quantization)
    for name, module in model.named_modules():
        if not name.endswith("proj"):
            continue
        value = checkpoint.tensor(f"{name}.weight").clone()
        if isinstance(module, bnb.nn.Linear4bit):
            module.weight = bnb.nn.Params4bit(value, **{**module.weight.__dict__, "requires_grad": False}).to("cpu")
            module.support_avx512bf16_for_cpu = False  # else its first product packs, and the codes are no longer there
        else:
            module.weight = bnb.nn.Int8Params(value, requires_grad=False, has_fp16_weights=False).to("cpu")
    return model.eval()


@pytest.mark.parametrize("weights", [Weights.NF4, Weights.INT8])
def test_transformers_with_bitsandbytes_has_the_same_codes(tiny_checkpoint: Checkpoint, weights: Weights) -> None:
    torchvision_operators.define()
    transformers = importlib.import_module("transformers")
    quantization = transformers.BitsAndBytesConfig(
        load_in_4bit=weights is Weights.NF4, load_in_8bit=weights is Weights.INT8, bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.float32,
    )  # fmt: skip
    model = theirs(tiny_checkpoint, quantization)
    config = tiny_checkpoint.config.decoder
    loading = DecoderLoading(tiny_checkpoint, config, weights, CPU, torch.float32, None, pytest.fail)
    ours = loading.load()
    for index, layer in enumerate(ours.layers):
        for name, place in PRODUCTS.items():
            linear = model.get_submodule(f"model.layers.{index}.{place}")
            product: Any = layer.products[name]
            assert torch.equal(product.codes.flatten(), linear.weight.data.flatten()), (index, name)
    ids = [1, *range(300, 330)]
    with torch.inference_mode():
        expected = model(torch.tensor([ids])).logits[0].numpy()
        rows = model.model.embed_tokens(torch.tensor(ids)).numpy()
    decoder = TorchDecoder(config, 64, CPU, torch.float32, lambda: ours)
    np.testing.assert_allclose(decoder.prefill_logits(ids, rows), expected, atol=2e-3 * np.abs(expected).max())
