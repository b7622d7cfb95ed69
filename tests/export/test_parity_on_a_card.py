"""The reference on a card that isn't there, beside graphs on the CPU: the same numbers as with both on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from export.checkpoint.checkpoint import Checkpoint
from export.graphs.decoder import CheckpointWeights
from export.parity.bundle_parity import check_parity
from export.parity.checkpoint_model import CheckpointModel
from export.parity.decoder_parity import Dequantized, Replacement, decoder_logits
from export.quality_command import _reference_device
from export.reference.layerwise import layerwise_model
from export.torch_device import TorchDevice
from export.weights.tower_weights import CheckpointTower
from export.weights.weight import Array, Weight
from omnilmm_lite.bundle.presets import find_preset
from omnilmm_lite.errors import InputError
from omnilmm_lite.quality.data import build_samples, read_data
from quantize.gptq.gptq import round_to_nearest
from tests.conftest import Quiet
from tests.quantize.pretend_card import CARD, pretend_card


@dataclass(frozen=True)
class Rounded:
    """Every linear layer in 4 bits, lm_head as well."""

    checkpoint: Checkpoint

    def linear(self, name: str) -> Weight:
        return round_to_nearest(self.checkpoint.array(f"{name}.weight"), group_size=32)

    def array(self, name: str) -> Array:
        return self.checkpoint.array(name)


@pytest.fixture(autouse=True)
def plain_attention() -> Iterator[None]:
    """On the CPU, too: its fused kernel sums in another order."""
    with sdpa_kernel(SDPBackend.MATH):
        yield


def test_parity(tiny_checkpoint: Checkpoint, tiny_bundle: Path) -> None:
    tower, weights, preset = CheckpointTower(tiny_checkpoint), CheckpointWeights(tiny_checkpoint), "reference"
    given = (tiny_checkpoint, tower, weights, tiny_bundle, find_preset(preset), lambda _: None)
    expected = check_parity(*given)
    with pretend_card() as card:
        assert check_parity(*given, TorchDevice(CARD)) == expected
    assert card.operators > 100


@torch.inference_mode()
def test_quantized_weights_go_where_the_reference_is(tiny_checkpoint: Checkpoint) -> None:
    forms: dict[str, Replacement] = {"original": lambda _: None, "decoder": Dequantized(Rounded(tiny_checkpoint))}
    embeddings = torch.randn(1, 9, 128, generator=torch.Generator().manual_seed(0))
    expected = decoder_logits(layerwise_model(tiny_checkpoint), forms, embeddings, lambda _: None)
    with pretend_card():
        found = decoder_logits(layerwise_model(tiny_checkpoint, CARD), forms, embeddings.to(CARD), lambda _: None)
    for form, logits in expected.items():
        np.testing.assert_array_equal(found[form], logits)
    assert not np.array_equal(found["original"], found["decoder"])


def test_a_checkpoint_under_quality(tiny_checkpoint: Checkpoint) -> None:
    model = CheckpointModel(tiny_checkpoint)
    samples = build_samples(read_data(None, 4), model.tokenizer, model.config, 4)
    assert any(sample.image is not None for sample in samples)
    expected = list(model.predict(samples, Quiet()))
    with pretend_card():
        found = list(CheckpointModel(tiny_checkpoint, TorchDevice(CARD)).predict(samples, Quiet()))
    for there, here in zip(expected, found, strict=True):
        np.testing.assert_array_equal(here, there)


def test_quality_says_where_the_original_runs_instead(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A card for bundles only, with a torch for the CPU, is no error: the original just takes longer."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert _reference_device("auto") == _reference_device("cpu") == TorchDevice()
    assert capsys.readouterr().err == ""
    for name in ("cuda:1", "cuda:0,cuda:1"):  # tower and decoder
        assert _reference_device(name) == TorchDevice()
        assert capsys.readouterr().err.startswith("the original's device: cpu (--device cuda:1: torch ")
    with pytest.raises(InputError, match="--device: 'gpu' is unknown"):
        _reference_device("gpu")
