"""Spending a size on bits: the choice against all choices, the measured damages against the real model."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from export.checkpoint.checkpoint import Checkpoint
from export.graphs.decoder import CheckpointWeights, DecoderWeights, build_decoder
from export.reference.layerwise import load_module
from export.reference.model import OmniLMM
from omnilmm_lite.bundle.presets import find_preset
from omnilmm_lite.errors import InputError
from quantize.calibration.embedded_sequences import Calibration
from quantize.decoder.budget import Choice, Unit, build_choices, plain_bytes, spend, unit_bytes, unit_names
from quantize.decoder.job import QuantizationJob
from quantize.decoder.quantizer import quantize_decoder
from quantize.decoder.sensitivity import measure_damages, measure_steps
from quantize.folder.packing import Layout
from quantize.folder.read import read_gptq_folder
from quantize.gptq.gptq import round_to_nearest
from quantize.gptq.settings import GPTQSettings
from quantize.head import RoundedHead

SETTINGS = GPTQSettings(group_size=64)
CPU_PRESET = find_preset("cpu")
CPU = torch.device("cpu")


class Rounded(CheckpointWeights):
    """The checkpoint's linear layers, rounded to nearest."""

    def __init__(self, checkpoint: Checkpoint, layouts: dict[str, Layout]) -> None:
        super().__init__(checkpoint)
        self.layouts = layouts

    def linear(self, name: str) -> Any:
        weight = self.array(f"{name}.weight")
        if name not in self.layouts:
            return weight
        layout = self.layouts[name]
        return round_to_nearest(weight, bits=layout.bits, group_size=layout.group_size, sym=False)


@st.composite
def units(draw: st.DrawFn) -> dict[Unit, list[Choice]]:
    sizes = st.integers(1, 20)
    damages = st.floats(0, 1, allow_subnormal=False)
    found: dict[Unit, list[Choice]] = {}
    for index in range(draw(st.integers(1, 4))):
        options = draw(st.lists(st.tuples(sizes, damages), min_size=1, max_size=4))
        found[(f"unit {index}",)] = [Choice(Layout(4, place), *option) for place, option in enumerate(options)]
    return found


@given(units(), st.integers(0, 80))
def test_no_other_choice_of_that_size_is_better_by_much(choices: dict[Unit, list[Choice]], size: int) -> None:
    """Against all combinations: never over the size, and as good as the best of what a step less would buy."""
    least = sum(min(option.size for option in options) for options in choices.values())
    if least > size:
        with pytest.raises(InputError, match="give more"):
            spend(choices, size)
        return
    layouts = spend(choices, size)
    taken = [
        next(option for option in options if option.layout == layouts[unit[0]]) for unit, options in choices.items()
    ]
    assert sum(option.size for option in taken) <= size
    largest_step = max(option.size for options in choices.values() for option in options)
    damages = [
        sum(option.damage for option in combination)
        for combination in itertools.product(*choices.values())
        if sum(option.size for option in combination) <= size - largest_step
    ]
    assert sum(option.damage for option in taken) <= min(damages, default=float("inf")) + 1e-9


def test_what_saves_most_a_byte_comes_first() -> None:
    """Unit a: 0.5 saved for 10 bytes; b: 0.9 for 30, then 0.05 for 10; c: more for nothing."""
    choices: dict[Unit, list[Choice]] = {
        ("a",): [Choice(Layout(4, 128), 10, 0.6), Choice(Layout(8, 128), 20, 0.1)],
        ("b",): [Choice(Layout(4, 128), 10, 1.0), Choice(Layout(4, 32), 40, 0.1), Choice(Layout(8, 128), 50, 0.05)],
        ("c",): [Choice(Layout(4, 128), 10, 0.1), Choice(Layout(8, 128), 20, 0.2)],
    }
    upgraded = {
        size: [layout.bits * 1000 + layout.group_size for layout in spend(choices, size).values()]
        for size in (30, 40, 69, 70, 80)
    }
    assert upgraded == {
        30: [4128, 4128, 4128],
        40: [8128, 4128, 4128],
        69: [8128, 4128, 4128],
        70: [8128, 4032, 4128],
        80: [8128, 8128, 4128],
    }


@pytest.mark.parametrize("name", ["cpu", "24gb"])
@pytest.mark.parametrize("lm_head_bits", [8, 16])
def test_sizes_are_those_of_the_graphs_data(
    name: str, lm_head_bits: int, tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    """The decoder's file against the sum over units; the file's parts begin at multiples of a page."""
    preset = replace(find_preset(name), lm_head_bits=lm_head_bits)
    config = tiny_checkpoint.config.decoder
    layouts = {unit: Layout(8, 32) if index % 3 else Layout(4, 64) for index, unit in enumerate(unit_names(config))}
    weights: DecoderWeights = Rounded(tiny_checkpoint, {name: layouts[unit] for unit in layouts for name in unit})
    weights = RoundedHead(weights) if lm_head_bits == 8 else weights
    for _ in build_decoder(config, weights, tmp_path / "decoder.onnx", preset.decoder, preset.accuracy_level):
        pass
    expected = sum(unit_bytes(config, unit, layout, preset) for unit, layout in layouts.items())
    found = (tmp_path / "decoder.onnx.data").stat().st_size
    assert found == pytest.approx(expected + plain_bytes(config, preset), abs=4096 * 60)


@torch.inference_mode()
def test_damages_are_what_the_model_shows(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Each trial again, by hand: the whole model with one unit rounded."""
    model = load_module(tiny_checkpoint, "", lambda: OmniLMM(tiny_checkpoint.config))
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, 30000, (2, 40), generator=generator)
    calibration = Calibration.from_embeddings(model.embed(row[None]) for row in ids)
    config, steps = tiny_checkpoint.config.decoder, list[str]()
    damages = measure_damages(
        QuantizationJob(tiny_checkpoint, calibration, SETTINGS), tmp_path / "states", steps.append
    )
    choices = build_choices(config, damages, CPU_PRESET)
    assert list(choices) == unit_names(config)
    # On paper: the original and four trials through layer 0, four more through layer 1, and eight trials' logits.
    assert len(steps) == measure_steps(config) == 5 + 9 + 8
    original = model(ids).log_softmax(-1)
    for unit in list(choices)[::3]:
        changed = load_module(tiny_checkpoint, "", lambda: OmniLMM(tiny_checkpoint.config))
        for name in unit:
            weight = changed.get_parameter(f"{name}.weight")
            weight.copy_(torch.from_numpy(round_to_nearest(weight, group_size=64, sym=False).dequantize()))
        kld = (original.exp() * (original - changed(ids).log_softmax(-1))).sum(-1).mean()
        base, *finer = choices[unit]
        assert base.layout == Layout(4, 64)
        assert base.damage == pytest.approx(float(kld), rel=1e-2)
        eight = next(choice for choice in finer if choice.layout.bits == 8)
        assert 0 < eight.damage < base.damage / 100  # 4 more bits: 1/256 of the squared error
        assert eight.size > base.size


def test_a_larger_target_gives_a_larger_and_closer_decoder(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    config = tiny_checkpoint.config.decoder
    model = load_module(tiny_checkpoint, "", lambda: OmniLMM(tiny_checkpoint.config))
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        rows = [model.embed(torch.randint(3, 30000, (1, 64), generator=generator)) for _ in range(12)]
    calibration = Calibration.from_embeddings(rows)
    damages = measure_damages(
        QuantizationJob(tiny_checkpoint, calibration, SETTINGS), tmp_path / "states", lambda _: None
    )
    choices = build_choices(config, damages, CPU_PRESET)
    least = sum(unit_bytes(config, unit, Layout(4, 64), CPU_PRESET) for unit in choices)
    layouts = spend(choices, int(1.3 * least))
    size = sum(unit_bytes(config, unit, layouts[unit[0]], CPU_PRESET) for unit in choices)
    assert 1.15 * least < size <= 1.3 * least
    folder = read_gptq_folder(
        quantize_decoder(QuantizationJob(tiny_checkpoint, calibration, SETTINGS, layouts), tmp_path / "w"), config
    )
    assert folder.layouts == layouts


def test_what_no_longer_fits_leaves_room_for_what_does() -> None:
    """a: 0.9 saved for 30 bytes, which are too many; b: 0.05 for 5, less a byte."""
    choices: dict[Unit, list[Choice]] = {
        ("a",): [Choice(Layout(4, 128), 10, 1.0), Choice(Layout(8, 128), 40, 0.1)],
        ("b",): [Choice(Layout(4, 128), 10, 0.1), Choice(Layout(8, 128), 15, 0.05)],
    }
    assert spend(choices, 30) == {"a": Layout(4, 128), "b": Layout(8, 128)}
