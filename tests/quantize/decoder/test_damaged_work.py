"""What becomes of a work folder whose files were damaged, or left behind: the same bytes as ever."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from export.checkpoint.checkpoint import Checkpoint
from export.reference.layerwise import load_module
from export.reference.model import OmniLMM
from omnilmm_lite.files.checked_file import write_checksum
from quantize.calibration.embedded_sequences import Calibration
from quantize.decoder import spool
from quantize.decoder.job import QuantizationJob
from quantize.decoder.quantizer import quantize_decoder
from quantize.decoder.report import ProjectionReport
from tests.quantize.decoder.test_quantizer import SETTINGS, SIZE, Killed, digests, random_embeddings
from tests.small_checkpoint import Form, write_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return Checkpoint.open(write_checkpoint(tmp_path_factory.mktemp("checkpoint"), size=SIZE, form=Form.SAFETENSORS))


@pytest.fixture(scope="module")
def calibration(checkpoint: Checkpoint) -> Calibration:
    model = load_module(checkpoint, "", lambda: OmniLMM(SIZE))
    return Calibration.from_embeddings(random_embeddings(model, seed, 32) for seed in range(6))


@pytest.fixture(scope="module")
def work_dir(checkpoint: Checkpoint, calibration: Calibration, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("work")
    quantize_decoder(QuantizationJob(checkpoint, calibration, SETTINGS), folder)
    return folder


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("layer-000.safetensors", "layer-000.safetensors: the file is damaged or lost; quantizing again from layer 0"),
        ("layer-001.safetensors", "layer-001.safetensors: the file is damaged or lost; quantizing again from layer 1"),
        ("layer-001.json", "layer-001.json: the file is damaged or lost; quantizing again from layer 1"),
        ("original-002.f32", ": what enters layer 2 is damaged or too old; computing it again"),
        ("quantized-002.f32", ": what enters layer 2 is damaged or too old; computing it again"),
    ],
)
def test_a_damaged_file_is_made_again_and_said(
    file: str, said: str, work_dir: Path, checkpoint: Checkpoint, calibration: Calibration, tmp_path: Path
) -> None:
    """One bit of one byte, in a run that was killed in its third layer."""
    job = QuantizationJob(checkpoint, calibration, SETTINGS)

    def kill(report: ProjectionReport) -> None:
        if report.name.startswith("model.layers.2."):
            raise Killed

    with pytest.raises(Killed):
        quantize_decoder(job, tmp_path, kill)
    data = bytearray((tmp_path / file).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / file).write_bytes(data)
    lines: list[str] = []
    folder = quantize_decoder(job, tmp_path, on_repair=lines.append)
    assert digests(folder) == digests(work_dir / "gptq")
    assert len(lines) == 1
    assert lines[0].startswith(str(tmp_path)) and lines[0].endswith(said)
    assert not list(tmp_path.glob("*.f32*"))


def test_states_behind_a_damaged_layer_are_not_gone_on_with(
    work_dir: Path, checkpoint: Checkpoint, calibration: Calibration, tmp_path: Path
) -> None:
    """They came of it, whatever it was when they were written: here they are of nothing, under sound checksums."""
    job = QuantizationJob(checkpoint, calibration, SETTINGS)
    for file in work_dir.glob("layer-00[01].*"):
        shutil.copy(file, tmp_path)
    size = 4 * SIZE.decoder.hidden_size * sum(len(sample.is_image) for sample in calibration.sequences)
    for name in ("original-002.f32", "quantized-002.f32"):
        (tmp_path / name).write_bytes(bytes(size))
        write_checksum(tmp_path / name, tmp_path / name)
    (tmp_path / "layer-001.safetensors").write_bytes(b"damaged")

    def kill(_: Path, content: Path) -> None:
        if content.name == ".quantized-output.partial" and (tmp_path / "layer-001.safetensors").is_file():
            raise Killed  # the layer is kept again, and what it puts out is not

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(spool, "write_checksum", kill)
        quantize_decoder(job, tmp_path)
    assert digests(quantize_decoder(job, tmp_path)) == digests(work_dir / "gptq")


@pytest.mark.parametrize("file", ["layer-002.safetensors", "plain.safetensors"])
def test_a_finished_checkpoint_is_put_together_again(
    file: str, work_dir: Path, checkpoint: Checkpoint, calibration: Calibration, tmp_path: Path
) -> None:
    """Its files are those of the work folder under second names: what damages one damages the other."""
    job = QuantizationJob(checkpoint, calibration, SETTINGS)
    shutil.copytree(work_dir, tmp_path / "work")
    for index, shard in enumerate(sorted((tmp_path / "work" / "gptq").glob("model-*.safetensors"))):
        own = tmp_path / "work" / ("plain.safetensors" if index == 0 else f"layer-{index - 1:03}.safetensors")
        shard.unlink()
        shard.hardlink_to(own)
    with (tmp_path / "work" / file).open("r+b") as damaged:
        damaged.seek(-1, 2)
        damaged.write(b"\x55")
    assert digests(tmp_path / "work" / "gptq") != digests(work_dir / "gptq")
    lines: list[str] = []
    assert digests(quantize_decoder(job, tmp_path / "work", on_repair=lines.append)) == digests(work_dir / "gptq")
    assert lines[0] == f"{tmp_path / 'work' / 'gptq'}: a file that it is made of is damaged; putting it together again"


def test_states_that_a_killed_run_left_are_removed(
    work_dir: Path, checkpoint: Checkpoint, calibration: Calibration, tmp_path: Path
) -> None:
    """Gigabytes, of a run that was killed while it removed them."""
    for file in work_dir.glob("layer-*"):
        shutil.copy(file, tmp_path)
    for name in ("original-002.f32", "quantized-003.f32"):
        (tmp_path / name).touch()
    quantize_decoder(QuantizationJob(checkpoint, calibration, SETTINGS), tmp_path)
    assert not list(tmp_path.glob("*.f32*"))
