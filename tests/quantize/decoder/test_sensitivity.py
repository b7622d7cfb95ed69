"""The measurement behind --target-size: what it rests on, and that a killed one goes on where it was."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from export.checkpoint.checkpoint import Checkpoint
from export.reference.layerwise import load_module
from omnilmm_lite.files import durable_file
from quantize.calibration.embedded_sequences import Calibration, EmbeddedSequence
from quantize.decoder import sensitivity
from quantize.decoder.budget import Unit, damages_json, parse_damages
from quantize.decoder.job import QuantizationJob
from quantize.decoder.sensitivity import measure_damages, measure_steps
from quantize.folder.packing import Layout
from quantize.gptq.settings import GPTQSettings

SETTINGS = GPTQSettings(group_size=64)
Damages = dict[Unit, dict[Layout, float]]


class Killed(BaseException):
    """Stands for the end of the process."""


def random_sample(seed: int, texts: int = 12, pictures: int = 4) -> EmbeddedSequence:
    embedded = torch.randn(1, texts + pictures, 128, generator=torch.Generator().manual_seed(seed))
    return EmbeddedSequence(torch.arange(texts + pictures) < pictures, partial(torch.clone, embedded))


CALIBRATION = Calibration(tuple(random_sample(seed) for seed in range(3)), "")


def measure(checkpoint: Checkpoint, folder: Path, on_step: Callable[[str], None] = lambda _: None) -> Damages:
    return measure_damages(QuantizationJob(checkpoint, CALIBRATION, SETTINGS), folder, on_step)


@pytest.fixture(scope="module")
def expected(tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Damages:
    return measure(tiny_checkpoint, tmp_path_factory.mktemp("whole"))


def test_damages_come_back_from_a_file_as_they_were(expected: Damages) -> None:
    assert parse_damages(damages_json(expected)) == expected


@pytest.mark.parametrize("moment", [0, 3, 8, 12, 13, 17, 20, 25, 32, 45, 60])
def test_a_killed_measurement_goes_on_and_comes_to_the_same(
    moment: int, expected: Damages, tiny_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at its `moment`-th syncing; each file and its checksum have one, and their folder after each: 7 files by
    layer 0, 10 by layer 1."""
    synced = 0

    def killing(path: Path) -> None:
        nonlocal synced
        synced += 1
        if synced == moment + 1:
            for partial_file in tmp_path.glob(".*.partial"):
                partial_file.write_bytes(b"half a file")
            raise Killed
        sync(path)

    sync = durable_file._sync
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(durable_file, "_sync", killing)
        measure(tiny_checkpoint, tmp_path)
    steps: list[str] = []
    assert measure(tiny_checkpoint, tmp_path, steps.append) == expected
    assert len(steps) == measure_steps(tiny_checkpoint.config.decoder)


def test_finished_layers_are_not_run_again(
    expected: Damages, tiny_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the last layer: the first isn't loaded any more, and what is on disk stays near one set a trial."""
    loaded: list[str] = []

    def loading(source: Any, name: str, build: Callable[[], Any], device: torch.device) -> Any:
        loaded.append(name)
        return load_module(source, name, build, device)

    def killing(line: str) -> None:
        if line.startswith("layer 1: 2"):
            raise Killed

    monkeypatch.setattr("quantize.decoder.sensitivity.load_module", loading)
    with pytest.raises(Killed):
        measure(tiny_checkpoint, tmp_path, killing)
    states = sum(file.stat().st_size for file in tmp_path.glob("*.safetensors"))
    assert states < 6 * (3 * 16 * 128 * 4 + 1000)  # the original as it enters the layer, and four trials
    assert measure(tiny_checkpoint, tmp_path) == expected
    assert loaded == ["model.layers.0", "model.layers.1", "model.layers.1"]


@pytest.mark.parametrize(
    "file", ["trial-000-layer-001.safetensors", "trial-002-layer-001.safetensors", "layer-000.json"]
)
def test_what_was_damaged_is_measured_again(
    file: str, expected: Damages, tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    """One bit, in a run that was killed in its last layer."""

    def killing(line: str) -> None:
        if line.startswith("layer 1: 1"):
            raise Killed

    with pytest.raises(Killed):
        measure(tiny_checkpoint, tmp_path / "work", killing)
    damaged = tmp_path / "work" / file
    data = bytearray(damaged.read_bytes())
    data[-9] ^= 1
    damaged.write_bytes(data)
    lines: list[str] = []
    job = QuantizationJob(tiny_checkpoint, CALIBRATION, SETTINGS)
    assert measure_damages(job, tmp_path / "work", lambda line: None, lines.append) == expected
    assert lines == [f"{tmp_path / 'work'}: what was measured before is damaged; measuring again"]


def test_it_rests_on_text_from_all_over_the_data() -> None:
    """40 sequences of 64 text tokens, 256 of a picture each: 8 hold TOKENS, five apart."""
    samples = [random_sample(seed, texts=64, pictures=256) for seed in range(40)]
    taken = sensitivity._evenly_spaced(samples)
    places = [place for place, sample in enumerate(samples) if any(sample is each for each in taken)]
    assert len(taken) * 64 == sensitivity.TOKENS
    assert places[0] < 3
    assert places[-1] > 36
    assert {second - first for first, second in pairwise(places)} == {5}
    assert sensitivity._evenly_spaced(samples[:5]) == samples[:5]  # all there is


def test_only_text_is_measured(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    """A picture behind the text changes none of its distributions, and its own count for nothing."""
    embedded = torch.randn(1, 30, 128, generator=torch.Generator().manual_seed(7))

    def damages(tokens: int, name: str) -> Damages:
        sample = EmbeddedSequence(torch.arange(tokens) >= 12, partial(torch.clone, embedded[:, :tokens]))
        return measure_damages(
            QuantizationJob(tiny_checkpoint, Calibration((sample,), ""), SETTINGS), tmp_path / name, print
        )

    alone, followed = damages(12, "alone"), damages(30, "followed")
    for unit, layouts in alone.items():
        assert followed[unit] == pytest.approx(layouts, rel=1e-3)
