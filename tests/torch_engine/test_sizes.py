"""What the plan says of the torch engine, against what it holds, and against what is published of the model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from export import torch_model
from export.checkpoint.checkpoint import Checkpoint
from export.torch_tower import TowerOpener
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.machine.memory import Limit
from omnilmm_lite.plan.torch_sizes import TorchSizes
from omnilmm_lite.torch_engine.loading import DecoderLoading
from omnilmm_lite.weights import Weights
from tests.torch_engine.loading import TRAINED, loaded

CPU = torch.device("cpu")
WIDTHS = (Weights.BF16, Weights.INT8, Weights.NF4)
CONSTANTS = ("quant_map", "nested_quant_map", "quant_state.bitsandbytes__nf4")  # the same for every layer, a kilobyte


@pytest.mark.parametrize(
    ("weights", "compute"),
    [
        (Weights.FP32, torch.float32),
        *((weights, compute) for weights in WIDTHS for compute in (torch.float32, torch.bfloat16)),
    ],
)
def test_the_decoder_is_as_large_as_planned(
    tiny_checkpoint: Checkpoint, weights: Weights, compute: torch.dtype
) -> None:
    config = tiny_checkpoint.config
    ours = DecoderLoading(tiny_checkpoint, config.decoder, weights, CPU, compute, None, pytest.fail).load()
    products = [product for layer in ours.layers for product in layer.products.values()]
    found = sum(
        tensor.nbytes
        for product in [*products, ours.head]
        for name, tensor in product.tensors().items()
        if name not in CONSTANTS
    )
    packed = any("packed_scales" in product.tensors() for product in products)
    planned = TorchSizes.of(config, weights, Device.CPU, 128, bf16=compute is torch.bfloat16)
    if weights is Weights.NF4 and compute is torch.bfloat16 and not packed:
        planned = TorchSizes.of(config, weights, Device.CUDA, 128, bf16=True)  # a processor without the fast product
    assert found == planned.decoder
    assert planned.disk == (found - ours.head.tensors()["weight"].nbytes if weights.is_quantized else 0)


def test_the_cache_and_a_resident_tower_are_as_large_as_planned(tiny_checkpoint: Checkpoint) -> None:
    config = tiny_checkpoint.config
    planned = TorchSizes.of(config, Weights.BF16, Device.CUDA, 128, bf16=True)
    opened = TowerOpener(tiny_checkpoint, CPU, torch.bfloat16, resident=True).open()
    blocks = [parameter for block in opened.tower.blocks for parameter in block.parameters()]
    assert sum(each.nbytes for each in [*blocks, *opened.tower.parameters()]) == planned.tower
    assert sum(each.nbytes for each in opened.resampler.parameters()) == planned.resampler
    decoder = loaded(TRAINED, Weights.FP32, context=100).text.decoder
    trained = TorchSizes.of(decoder_config(), Weights.FP32, Device.CPU, 100, bf16=False)
    assert decoder._cache.nbytes == trained.kv_cache  # type: ignore[attr-defined]


def decoder_config() -> OmniLMMConfig:
    return Checkpoint.open(TRAINED).config


def test_the_published_model_fits_the_cards_it_should() -> None:
    """Users measured 23.8 GB in bf16; the files' own sizes give the tower's 8.56 GB and the decoder's 14.48 GB."""
    sizes = {each: TorchSizes.of(OmniLMMConfig(), each, Device.CUDA, 4096, bf16=True) for each in Weights}
    assert sizes[Weights.BF16].tower == 2 * 4_280_795_904
    norms_and_embeddings = 65 * 4096 + 32009 * 4096
    assert sizes[Weights.BF16].decoder == 2 * (7_241_805_824 - norms_and_embeddings)
    assert 23e9 < sizes[Weights.BF16].total < 25e9
    assert 3.8e9 < sizes[Weights.NF4].decoder < 4.0e9
    assert sizes[Weights.NF4].total < 16 * 2**30 * 0.95


def test_too_little_memory_is_said_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_model, "fatal_limit", lambda: Limit(10**6, Path("limit")))
    with pytest.raises(OmniLMMError, match=r"--weights fp32 takes about \d+\.\d GB of memory, and 1\.0 MB may be had"):
        loaded(TRAINED, Weights.FP32)
