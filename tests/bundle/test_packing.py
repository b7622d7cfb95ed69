"""What a manifest says about its packing, what one without the field means, and which presets may have another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.manifest import MANIFEST
from omnilmm_lite.bundle.packing import Packing, head_row_multiple, padded
from omnilmm_lite.bundle.presets import PRESETS
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.errors import InputError
from tests.bundle.manifests import read_manifest, write_manifest
from tests.command_line import Run, linked, runner


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return runner(capsys, monkeypatch)


def changed(folder: Path, out: Path, without: str = "", **fields: Any) -> Path:
    """The bundle with other fields in its manifest, and one taken out."""
    copy = linked(folder, out)
    data = read_manifest(copy) | fields
    data.pop(without, None)
    write_manifest(copy, data)
    return copy


def test_a_bundle_from_before_has_the_usual_packing(tiny_bundle: Path, tmp_path: Path) -> None:
    assert json.loads((tiny_bundle / MANIFEST).read_text(encoding="utf-8"))["packing"] == "blockwise"
    assert Bundle.open(changed(tiny_bundle, tmp_path / "old", without="packing")).manifest.packing is Packing.BLOCKWISE


def test_a_packing_is_read_back_and_an_unknown_one_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    fast = Bundle.open(changed(tiny_bundle, tmp_path / "fast", packing="fpa-intb")).manifest
    assert fast.packing is Packing.FPA_INTB
    assert json.loads(fast.to_json())["packing"] == "fpa-intb"
    with pytest.raises(InputError, match="packing: expected one of blockwise, fpa-intb, found 'marlin'"):
        Bundle.open(changed(tiny_bundle, tmp_path / "new", packing="marlin"))


def test_inspect_shows_a_cards_packing(run: Run, tiny_bundle: Path, tmp_path: Path) -> None:
    fast = changed(tiny_bundle, tmp_path / "fast", packing="fpa-intb", target="cuda")
    assert "packing of the decoder's products: fpa-intb" in run("inspect", fast).out
    assert "packing" not in run("inspect", tiny_bundle).out


def test_no_preset_has_it_by_itself() -> None:
    """Nobody has measured it on a card: docs/gpu-kernels.md."""
    assert all(preset.packing is Packing.BLOCKWISE for preset in PRESETS.values())


@pytest.mark.parametrize("name", PRESETS)
def test_cards_may_have_it_and_the_cpu_may_not(name: str) -> None:
    preset = PRESETS[name]
    assert preset.packed(Packing.BLOCKWISE) == preset
    if preset.target is Device.CPU:
        with pytest.raises(InputError, match=f"--packing fpa-intb: the preset {name} is for the CPU"):
            preset.packed(Packing.FPA_INTB)
        return
    fast = preset.packed(Packing.FPA_INTB)
    assert (fast.packing, fast.lm_head_bits, fast.name) == (Packing.FPA_INTB, 8, name)


@pytest.mark.parametrize(
    ("bits", "target", "packing", "rows"),
    [
        (16, Device.CPU, Packing.BLOCKWISE, 32009),
        (8, Device.CPU, Packing.BLOCKWISE, 32016),
        (16, Device.CUDA, Packing.BLOCKWISE, 32032),
        (8, Device.CUDA, Packing.BLOCKWISE, 32016),
        (8, Device.CUDA, Packing.FPA_INTB, 32032),
        (4, Device.CUDA, Packing.FPA_INTB, 32064),  # of a GPTQ folder that quantized it
    ],
)
def test_how_many_rows_the_vocabulary_takes(bits: int, target: Device, packing: Packing, rows: int) -> None:
    assert padded(32009, head_row_multiple(bits, target, packing)) == rows
