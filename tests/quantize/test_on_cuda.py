"""Conversion on a card that is there: its results differ from the CPU's by the order of sums, and by nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from export.checkpoint.checkpoint import Checkpoint
from export.reference.layerwise import layerwise_model
from export.reference.pictures import encode_pictures
from export.torch_device import TorchDevice
from omnilmm_lite.files.json_file import read_json
from quantize.calibration.embedded_sequences import Calibration
from quantize.decoder.card_memory import step_bytes
from quantize.decoder.job import QuantizationJob
from quantize.decoder.quantizer import quantize_decoder
from quantize.decoder.report import parse_projections
from quantize.decoder.sensitivity import measure_damages
from quantize.folder.write import REPORT_FILE
from quantize.gptq.gptq import proxy_loss, quantize_weight
from quantize.gptq.grid import GridMethod
from quantize.gptq.settings import GPTQSettings
from quantize.tower.quantizer import quantize_tower
from tests.conftest import Quiet

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this torch sees no CUDA card")

SETTINGS = GPTQSettings(group_size=32)
# fp32 sums of a few hundred products; TF32 would be off by a thousandth
CLOSE = 2e-5
SAME_QUALITY = 0.02  # of a loss: a sum in another order takes a weight near the middle to the other code


@pytest.fixture(scope="module")
def card() -> Iterator[TorchDevice]:
    device = TorchDevice.find("cuda")
    device.prepare()
    yield device


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    generator = torch.Generator().manual_seed(0)
    return Calibration.from_embeddings([torch.randn(1, 40, 128, generator=generator) for _ in range(16)])


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def test_pictures(tiny_checkpoint: Checkpoint, pictures: list[Path], card: TorchDevice) -> None:
    expected = encode_pictures(tiny_checkpoint, pictures)
    assert relative(encode_pictures(tiny_checkpoint, pictures, card.device), expected) < CLOSE


@torch.inference_mode()
def test_the_reference(tiny_checkpoint: Checkpoint, card: TorchDevice) -> None:
    ids = torch.arange(5, 45)[None]
    expected = layerwise_model(tiny_checkpoint)(ids)
    found = layerwise_model(tiny_checkpoint, card.device)(ids.to(card.device))
    assert relative(found.cpu(), expected) < CLOSE


@torch.inference_mode()
def test_gptq_of_a_weight(card: TorchDevice) -> None:
    generator = torch.Generator().manual_seed(0)
    weight, inputs = torch.randn(256, 512, generator=generator), torch.randn(2000, 512, generator=generator)
    hessian = inputs.T @ inputs
    losses = [
        proxy_loss(
            weight,
            quantize_weight(weight.to(device), hessian, sym=False, desc_act=True, grid=GridMethod.WEIGHTED),
            hessian,
        )
        for device in (torch.device("cpu"), card.device)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=SAME_QUALITY)


def test_the_decoder(tiny_checkpoint: Checkpoint, calibration: Calibration, card: TorchDevice, tmp_path: Path) -> None:
    """And within the memory that is asked for, but for what the libraries take."""
    reports = []
    for device in (TorchDevice(), card):
        torch.cuda.reset_peak_memory_stats(card.device)
        job = QuantizationJob(tiny_checkpoint, calibration, SETTINGS, device=device)
        folder = quantize_decoder(job, tmp_path / device.device.type)
        reports.append(parse_projections(read_json(folder / REPORT_FILE)))
    for expected, found in zip(*reports, strict=True):
        assert found.error_to_output == pytest.approx(expected.error_to_output, rel=SAME_QUALITY)
    workspaces = 256 << 20
    assert torch.cuda.max_memory_allocated(card.device) < step_bytes(tiny_checkpoint.config.decoder) + workspaces


def test_damages(tiny_checkpoint: Checkpoint, calibration: Calibration, card: TorchDevice, tmp_path: Path) -> None:
    few = Calibration(calibration.sequences[:2], "")
    cpu, gpu = (
        measure_damages(
            QuantizationJob(tiny_checkpoint, few, SETTINGS, device=device),
            tmp_path / device.device.type,
            lambda _: None,
        )
        for device in (TorchDevice(), card)
    )
    for unit, layouts in cpu.items():
        assert gpu[unit] == pytest.approx(layouts, rel=1e-2)


def test_the_tower(tiny_checkpoint: Checkpoint, pictures: list[Path], card: TorchDevice, tmp_path: Path) -> None:
    _, expected = quantize_tower(tiny_checkpoint, pictures, tmp_path / "cpu", Quiet())
    _, found = quantize_tower(tiny_checkpoint, pictures, tmp_path / "card", Quiet(), card)
    for there, here in zip(expected["blocks"], found["blocks"], strict=True):
        assert 1 - here["mean_cosine"] == pytest.approx(1 - there["mean_cosine"], rel=SAME_QUALITY)
