"""What a conversion needs on disk, and that too little of it is said before any work."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import cli
from export.checkpoint.checkpoint import Checkpoint
from omnilmm_lite.bundle.presets import PRESETS, Preset
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.plan.planned_model import PlannedModel
from quantize.calibration.token_sequences import CalibrationLimits
from quantize.decoder.options import DecoderOptions
from quantize.disk import ConversionNeed
from quantize.gptq.settings import GPTQSettings

FULL = OmniLMMConfig()
# On paper, decoder: 6.98e9 weights of 4.16 bits, two tables of 32000 x 4096 in fp16. Tower: 63 blocks of 67.9e6 bytes,
# one twice, its statistics (46e6), and the states of eight pictures (1025 x 1792, fp32) on their way in and out.
DECODER, TOWER = 4.15e9, 64 * 67.9e6 + 46e6 + 2 * 58.8e6


@pytest.mark.parametrize(
    ("preset", "decoder", "is_there", "bundle", "work"),
    [
        ("cpu", DECODER, False, 15.75e9, DECODER + TOWER),
        ("cpu", DECODER, True, 15.75e9, TOWER),
        ("cpu", DECODER + 2e9, False, 17.75e9, DECODER + 2e9 + TOWER),  # finer layers
        ("24gb", DECODER, True, 12.89e9, 0),
    ],
)
def test_the_full_size(preset: str, decoder: float, is_there: bool, bundle: float, work: float) -> None:
    """Against the sizes of bundles that were made."""
    need = ConversionNeed.of(FULL, PRESETS[preset], int(decoder), is_there=is_there)
    assert need.bundle == pytest.approx(bundle, rel=0.01)
    assert need.work == pytest.approx(work, rel=0.01)


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_a_conversion_takes_less_than_three_times_its_bundle(preset: Preset) -> None:
    """With the most that calibration takes by default."""
    disk = PlannedModel.planned(preset.name, FULL, preset).disk
    assert disk.bundle + disk.work < 3 * disk.bundle


def test_what_options_say_of_the_decoder() -> None:
    def size(**given: Any) -> int:
        settings = GPTQSettings(group_size=given.pop("group_size", 128))
        options = DecoderOptions(None, CalibrationLimits(), settings, PRESETS["cpu"], **given)
        return options.checkpoint_bytes(FULL.decoder)

    assert size() == pytest.approx(DECODER, rel=0.01)
    weights = 32 * (2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 14336 * 4096)
    assert size(group_size=16) - size() == weights // 16 * 5 // 2 - weights // 128 * 5 // 2
    assert size(target_size=6 * 10**9) == 6 * 10**9


def with_free(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))


def test_one_disk_has_to_hold_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need, out, work = ConversionNeed(600, decoder=300, tower=200), tmp_path / "out", tmp_path / "deep" / "work"
    with_free(monkeypatch, 1100)
    need.check(out, work)
    with_free(monkeypatch, 1099)
    with pytest.raises(OmniLMMError, match=r"the conversion needs"):
        need.check(out, work)
    (work / "tower").mkdir(parents=True)
    (work / "tower" / "block").write_bytes(b"x")  # a byte less to write
    need.check(out, work)
    os.link(work / "tower" / "block", work / "its other name")
    with_free(monkeypatch, 1098)
    with pytest.raises(OmniLMMError, match=r"the conversion needs"):
        need.check(out, work)


def test_a_decoder_that_is_there_makes_no_room_for_the_tower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with `--gptq OUT.work/gptq`, of an earlier conversion."""
    (tmp_path / "work" / "gptq").mkdir(parents=True)
    (tmp_path / "work" / "gptq" / "shard").write_bytes(bytes(300))
    with_free(monkeypatch, 799)
    with pytest.raises(OmniLMMError, match=r"the conversion needs"):
        ConversionNeed(600, decoder=0, tower=200).check(tmp_path / "out", tmp_path / "work")


def test_two_disks_hold_one_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Path("/dev/shm")
    if not work.is_dir() or work.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    work /= "a-folder-that-is-still-to-be-made"
    with_free(monkeypatch, 600)
    ConversionNeed(600, decoder=500, tower=100).check(tmp_path / "out", work)
    with pytest.raises(OmniLMMError, match=r"the bundle needs .* name another OUT"):
        ConversionNeed(601, decoder=500, tower=100).check(tmp_path / "out", work)
    with pytest.raises(OmniLMMError, match=r"/dev/shm: the conversion needs .* name another --work-dir"):
        ConversionNeed(600, decoder=500, tower=101).check(tmp_path / "out", work)


def test_convert_says_so_and_leaves_nothing(
    tiny_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_free(monkeypatch, 1000)
    assert cli.main(["convert", str(tiny_checkpoint.folder), str(tmp_path / "out"), "--preset", "cpu"]) == 1
    assert capsys.readouterr().err == (
        f"omnilmm-lite: {tmp_path}: the conversion needs 45.5 MB there, and 1.0 kB are free: make room, "
        "or put OUT and --work-dir on different disks\n"
    )
    assert not list(tmp_path.iterdir())


def test_a_folder_that_nobody_may_write_to_is_said_first(
    tiny_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # whoever runs the tests may be allowed everything
    assert cli.main(["convert", str(tiny_checkpoint.folder), str(tmp_path / "out")]) == 2
    assert f"{tmp_path}: no bundle can be written there" in capsys.readouterr().err
