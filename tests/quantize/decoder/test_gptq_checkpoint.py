"""The order of a quantization: what an earlier run left is taken, what doesn't fit it is refused before any work."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from export.checkpoint.checkpoint import Checkpoint
from omnilmm_lite.bundle.presets import find_preset
from omnilmm_lite.errors import InputError
from quantize.calibration.token_sequences import CalibrationLimits
from quantize.decoder import gptq_checkpoint
from quantize.decoder.budget import plain_bytes, unit_bytes, unit_names
from quantize.decoder.gptq_checkpoint import quantize_checkpoint
from quantize.decoder.options import DecoderOptions
from quantize.folder.packing import Layout
from quantize.gptq.settings import GPTQSettings
from tests.conftest import Quiet
from tests.small_checkpoint import TINY


class Stages(Quiet):
    """Progress that remembers what was begun."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def stage(self, name: str, steps: int) -> None:
        self.names.append(name.split(",")[0])


@pytest.fixture
def options(tmp_path: Path) -> DecoderOptions:
    """Four questions that the model answers itself."""
    questions = [{"question": f"What is {number} and {number}?"} for number in range(4)]
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(question) + "\n" for question in questions))
    settings = GPTQSettings(group_size=64)
    return DecoderOptions(data, CalibrationLimits(samples=4), settings, find_preset("cpu"), answer_tokens=2)


def target(preset: str) -> int:
    """A tenth more than groups of 64 take."""
    config, found = TINY.decoder, find_preset(preset)
    units = sum(unit_bytes(config, unit, Layout(4, 64), found) for unit in unit_names(config))
    return plain_bytes(config, found) + int(1.1 * units)


def quantize(checkpoint: Checkpoint, options: DecoderOptions, work: Path) -> tuple[list[str], Mapping[str, Layout]]:
    """The stages that it took, and the layouts that came out."""
    stages = Stages()
    folder, _ = quantize_checkpoint(checkpoint, options, work, stages)
    return stages.names, folder.layouts


def test_a_changed_option_is_named_before_any_work(
    options: DecoderOptions, tiny_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    quantize(tiny_checkpoint, options, work)
    other = tmp_path / "other.jsonl"
    other.write_text("".join(json.dumps({"question": f"{number}?"}) + "\n" for number in range(4)))
    changes = {
        r"samples: 4 there, 3 here": replace(options, limits=CalibrationLimits(samples=3)),
        r"\(answer_tokens: 2 there, 1 here\)": replace(options, answer_tokens=1),
        r"\(target_size: not given there, 5 here\)": replace(options, target_size=5),
        r"\(damp: 0.01 there, 0.02 here\)": replace(options, settings=replace(options.settings, damp=0.02)),
        r"\(calibration_data: other data\)": replace(options, source=other),
    }
    monkeypatch.setattr(gptq_checkpoint, "embed_sequences", None)  # what comes next
    for message, changed in changes.items():
        with pytest.raises(InputError, match=message):
            quantize(tiny_checkpoint, changed, work)


@pytest.mark.parametrize("data", [b"{", b"{}", b'{"answers": [["a"]]}', b'{"answers": [[1]]}'])
def test_answers_that_were_damaged_are_written_again(
    data: bytes,
    options: DecoderOptions,
    tiny_checkpoint: Checkpoint,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    work = tmp_path / "work"
    quantize(tiny_checkpoint, options, work)
    (file,) = work.glob("answers-*.json")
    whole = file.read_bytes()
    file.write_bytes(data)
    quantize(tiny_checkpoint, options, work)
    assert file.read_bytes() == whole
    assert capsys.readouterr().err == f"{file}: the file is damaged; making it again\n"


def test_options_that_change_nothing_are_taken(
    options: DecoderOptions, tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    """More samples than there are; a refused target, before anything is quantized."""
    work = tmp_path / "work"
    with pytest.raises(InputError, match="--target-size: it leaves"):
        quantize(tiny_checkpoint, replace(options, target_size=5), work)
    quantize(tiny_checkpoint, options, work)
    quantize(tiny_checkpoint, replace(options, limits=CalibrationLimits(samples=400)), work)


def test_a_folder_of_an_older_version_goes_on(
    options: DecoderOptions, tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    """It has no options.json. What its arguments.json knows is refused at once, all else later, and nothing is kept."""
    work = tmp_path / "work"
    quantize(tiny_checkpoint, options, work)
    whole = (work / "options.json").read_text()
    (work / "options.json").unlink()
    with pytest.raises(InputError, match=r"\(damp: 0.01 there, 0.02 here\)"):
        quantize(tiny_checkpoint, replace(options, settings=replace(options.settings, damp=0.02)), work)
    with pytest.raises(InputError, match=r"\(calibration: other data\)"):
        quantize(tiny_checkpoint, replace(options, limits=CalibrationLimits(samples=3)), work)
    assert not (work / "options.json").exists()
    quantize(tiny_checkpoint, options, work)
    assert (work / "options.json").read_text() == whole


def test_another_preset_takes_the_layouts_as_they_are(
    options: DecoderOptions, tiny_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would come out for it in an empty folder is something else."""
    options = replace(options, target_size=target("cpu"))
    card = replace(options, preset=find_preset("16gb"))  # scales in fp16: more is left for bits
    names, layouts = quantize(tiny_checkpoint, options, tmp_path / "work")
    assert "sensitivity of the layers" in names
    assert len(set(layouts.values())) > 1
    assert not list((tmp_path / "work").glob("*.partial"))  # the states
    monkeypatch.setattr(gptq_checkpoint, "measure_damages", None)
    names, again = quantize(tiny_checkpoint, card, tmp_path / "work")
    assert again == layouts
    assert "sensitivity of the layers" not in names
    for file in (tmp_path / "work").glob("sensitivity-*.json"):
        (tmp_path / "fresh").mkdir()
        file.rename(tmp_path / "fresh" / file.name)  # measured for one preset, it serves all
    assert quantize(tiny_checkpoint, card, tmp_path / "fresh")[1] != layouts


def test_a_target_of_an_older_version_goes_on(
    options: DecoderOptions, tiny_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It measured on other tokens, and kept that for one preset only."""
    work, keys = tmp_path / "work", list[str]()
    key = gptq_checkpoint._key

    def old_key(checkpoint: Checkpoint, calibration: Any, *arguments: object) -> str:
        if arguments == (options.settings, options.preset, torch.device("cpu")):
            keys.append(key(checkpoint, calibration, *arguments))
        return key(checkpoint, calibration, *arguments)

    monkeypatch.setattr(gptq_checkpoint, "_key", old_key)
    options = replace(options, target_size=target("cpu"))
    _, layouts = quantize(tiny_checkpoint, options, work)
    (measured,) = work.glob("sensitivity-*.json")
    measured.rename(work / f"sensitivity-{keys[0]}.json")
    for name in ("options.json", *(file.name for file in work.glob("layouts-*.json"))):
        (work / name).unlink()
    monkeypatch.setattr(gptq_checkpoint, "measure_damages", None)
    assert quantize(tiny_checkpoint, options, work)[1] == layouts


def test_groups_that_dont_fit_are_said_at_once(
    options: DecoderOptions, tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    wide = replace(options, settings=GPTQSettings(group_size=256))
    with pytest.raises(InputError, match=r"groups of 256 .* hidden_size of 128; --group-size can be 16, 32, 64, 128$"):
        quantize(tiny_checkpoint, wide, tmp_path / "work")
    assert not (tmp_path / "work").exists()
