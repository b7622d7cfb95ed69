"""The decoder's quantization from checkpoint to GPTQ folder: quality, resuming, reading back, calibration data."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from transformers import MistralConfig

from export.checkpoint.checkpoint import Checkpoint
from export.reference.layerwise import load_module
from export.reference.model import OmniLMM
from export.weights.weight import QuantizedWeight
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.files import durable_file
from quantize.calibration.embedded_sequences import Calibration, EmbeddedSequence
from quantize.decoder.job import QuantizationJob
from quantize.decoder.quantizer import quantize_decoder
from quantize.decoder.report import ProjectionReport
from quantize.decoder.spool import Spool
from quantize.decoder.stages import STAGES
from quantize.folder.packing import Layout
from quantize.folder.read import read_gptq_folder
from quantize.folder.tensors import LINEARS
from quantize.gptq.gptq import round_to_nearest
from quantize.gptq.settings import GPTQSettings
from tests.small_checkpoint import TINY, Form, write_checkpoint

SIZE = dataclasses.replace(TINY, decoder=dataclasses.replace(TINY.decoder, num_hidden_layers=3))
SETTINGS = GPTQSettings(group_size=32)


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return Checkpoint.open(write_checkpoint(tmp_path_factory.mktemp("checkpoint"), size=SIZE, form=Form.SAFETENSORS))


@pytest.fixture(scope="module")
def model(checkpoint: Checkpoint) -> OmniLMM:
    return load_module(checkpoint, "", lambda: OmniLMM(SIZE))


@pytest.fixture(scope="module")
def calibration(model: OmniLMM) -> Calibration:
    return Calibration.from_embeddings(random_embeddings(model, seed, 48) for seed in range(12))


@pytest.fixture(scope="module")
def work_dir(checkpoint: Checkpoint, calibration: Calibration, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("work")
    quantize_decoder(QuantizationJob(checkpoint, calibration, SETTINGS), folder)
    return folder


@torch.inference_mode()
def random_embeddings(model: OmniLMM, seed: int, tokens: int) -> torch.Tensor:
    """Frequent and rare tokens, so that inputs have the few directions that real ones have."""
    generator = torch.Generator().manual_seed(seed)
    return model.embed((200 * torch.rand(1, tokens, generator=generator) ** 3).long())


def digests(folder: Path) -> dict[str, str]:
    """Everything in a folder but the report, which holds times."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "quantization_report.json")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@torch.inference_mode()
def output_error(model: OmniLMM, weights: dict[str, NDArray[np.float32]]) -> float:
    """Mean squared change of the decoder's output on unseen inputs, relative to the output."""
    changed = load_into_copy(model, weights)
    inputs = torch.cat([random_embeddings(model, seed, 48) for seed in range(100, 108)])
    expected = model.hidden_states(inputs)
    return float((changed.hidden_states(inputs) - expected).square().mean() / expected.square().mean())


def load_into_copy(model: OmniLMM, weights: dict[str, NDArray[np.float32]]) -> OmniLMM:
    copy = OmniLMM(SIZE)
    state = model.state_dict() | {f"{name}.weight": torch.from_numpy(weight) for name, weight in weights.items()}
    copy.load_state_dict(state)
    return copy.eval()


def linear_names(config: OmniLMMConfig) -> list[str]:
    return [f"model.layers.{layer}.{part}" for layer in range(config.decoder.num_hidden_layers) for part in LINEARS]


# ---- quality ----


def test_the_decoder_suffers_less_than_by_rounding(work_dir: Path, model: OmniLMM) -> None:
    folder = read_gptq_folder(work_dir / "gptq", SIZE.decoder)
    quantized, rounded, original = {}, {}, model.state_dict()
    for name in linear_names(SIZE):
        weight = folder.linear(name)
        assert isinstance(weight, QuantizedWeight)
        quantized[name] = weight.dequantize()
        rounded[name] = round_to_nearest(original[f"{name}.weight"], group_size=32, sym=False).dequantize()
    assert output_error(model, quantized) < 0.8 * output_error(model, rounded)


def test_the_report_names_every_projection(work_dir: Path) -> None:
    report = json.loads((work_dir / "gptq" / "quantization_report.json").read_text())
    assert sorted(entry["name"] for entry in report["projections"]) == sorted(linear_names(SIZE))
    for entry in report["projections"]:
        assert 0 < entry["error_to_rounding"] < 1
        assert 0 < entry["error_to_output"] < 0.05
        assert (entry["bits"], entry["group_size"]) == (4, 32)
    assert report["settings"]["grid"] == "weighted"


def test_pictures_weigh_what_the_settings_say(checkpoint: Checkpoint, calibration: Calibration, tmp_path: Path) -> None:
    """With weight zero, tokens of pictures have no say: noise in their place changes nothing before them."""
    results = []
    for noise in (0.0, 1.0):
        samples = []
        for sample in calibration.sequences:
            # at the end, where causal attention keeps them out of all other tokens
            is_image = torch.arange(48) >= 40
            embedded = sample.embed() + noise * is_image[None, :, None]
            samples.append(EmbeddedSequence(is_image, partial(torch.clone, embedded)))
        settings = dataclasses.replace(SETTINGS, image_weight=0.0)
        folder = quantize_decoder(
            QuantizationJob(checkpoint, Calibration(tuple(samples), ""), settings), tmp_path / str(noise)
        )
        results.append(digests(folder))
    assert results[0] == results[1]


# ---- resuming ----


@pytest.mark.parametrize("moment", [0, 3, 13, 25, 39, 60, 77, 78, 79, 80, 81, 82, 120, 161, 200, 240])
def test_a_killed_run_ends_with_the_same_bytes(
    moment: int,
    work_dir: Path,
    checkpoint: Checkpoint,
    calibration: Calibration,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed before its `moment`-th write, half of which is done: to spools, finished layers, reports, folders."""
    writes = 0

    def killing(whole: Callable[..., Any]) -> Callable[..., Any]:
        def write(*arguments: Any, **options: Any) -> Any:
            nonlocal writes
            writes += 1
            if writes == moment + 1:
                for partial_file in tmp_path.glob(".*.partial"):
                    if partial_file.is_file():
                        partial_file.write_bytes(b"half a file")
                raise Killed
            return whole(*arguments, **options)

        return write

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Spool, "write", killing(Spool.write))
        patch.setattr(Spool, "rename", killing(Spool.rename))
        patch.setattr(durable_file, "_sync", killing(durable_file._sync))  # before any renaming
        quantize_decoder(QuantizationJob(checkpoint, calibration, SETTINGS), tmp_path)
    assert not (tmp_path / "gptq").exists()
    again: list[ProjectionReport] = []
    folder = quantize_decoder(QuantizationJob(checkpoint, calibration, SETTINGS), tmp_path, again.append)
    assert digests(folder) == digests(work_dir / "gptq")
    assert [report.name for report in again] == [
        f"model.layers.{layer}.{part}" for layer in range(3) for stage in STAGES for part in stage
    ]
    assert not [file.name for file in tmp_path.iterdir() if file.suffix in (".f32", ".partial")]


def test_a_lost_spool_is_made_again(
    work_dir: Path, checkpoint: Checkpoint, calibration: Calibration, tmp_path: Path
) -> None:
    """Where only the finished layers were kept, the sequences go through them once more."""
    for file in work_dir.glob("layer-00[01].*"):
        shutil.copy(file, tmp_path)
    folder = quantize_decoder(QuantizationJob(checkpoint, calibration, SETTINGS), tmp_path)
    assert digests(folder) == digests(work_dir / "gptq")


def test_the_log_has_a_line_a_projection(work_dir: Path) -> None:
    lines = [json.loads(line) for line in (work_dir / "log.jsonl").read_text().splitlines()]
    assert [line["name"] for line in lines] == [
        f"model.layers.{layer}.{part}" for layer in range(3) for stage in STAGES for part in stage
    ]
    assert all(line["seconds"] >= 0 for line in lines)


def test_a_full_disk_is_said_before_and_while_it_happens(
    work_dir: Path, checkpoint: Checkpoint, calibration: Calibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = QuantizationJob(checkpoint, calibration, SETTINGS)
    with (
        monkeypatch.context() as patch,
        pytest.raises(OmniLMMError, match=r"needs \d+\.\d [kM]B there, and 1\.0 kB are free"),
    ):
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
        quantize_decoder(job, tmp_path)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with (
        monkeypatch.context() as patch,
        pytest.raises(OmniLMMError, match="the disk is full; finished layers are kept"),
    ):
        patch.setattr(Spool, "write", full)
        quantize_decoder(job, tmp_path)
    assert digests(quantize_decoder(job, tmp_path)) == digests(work_dir / "gptq")


def test_what_a_run_needs_on_disk(work_dir: Path, checkpoint: Checkpoint, calibration: Calibration) -> None:
    """The finished folder against what was asked for, the spools' 12 x 48 tokens aside; headers take a little."""
    job = QuantizationJob(checkpoint, calibration, SETTINGS)
    spools = 2 * 12 * 48 * 4 * (2 * SIZE.decoder.hidden_size + SIZE.decoder.q_dim)
    found = sum(file.stat().st_size for file in (work_dir / "gptq").glob("*.safetensors"))
    assert found == pytest.approx(job.needed_bytes() - spools, rel=0.01)


def test_mixed_bits_reach_the_folder(checkpoint: Checkpoint, calibration: Calibration, tmp_path: Path) -> None:
    finer = {"model.layers.1.self_attn.o_proj": Layout(8, 64), "model.layers.2.mlp.down_proj": Layout(4, 16)}
    folder = read_gptq_folder(
        quantize_decoder(QuantizationJob(checkpoint, calibration, SETTINGS, finer), tmp_path), SIZE.decoder
    )
    for name in linear_names(SIZE):
        assert folder.layouts[name] == finer.get(name, Layout(4, 32))


def test_a_finished_run_is_not_done_again(work_dir: Path, checkpoint: Checkpoint, calibration: Calibration) -> None:
    file = work_dir / "gptq" / "model-00001-of-00004.safetensors"
    before = file.stat().st_mtime_ns
    assert quantize_decoder(QuantizationJob(checkpoint, calibration, SETTINGS), work_dir) == work_dir / "gptq"
    assert file.stat().st_mtime_ns == before


def test_changed_arguments_are_refused_by_name(
    work_dir: Path, checkpoint: Checkpoint, calibration: Calibration, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"bits: 4 there, 8 here; group_size: 32 there, 64 here"):
        quantize_decoder(
            QuantizationJob(checkpoint, calibration, dataclasses.replace(SETTINGS, bits=8, group_size=64)), work_dir
        )
    shorter = Calibration.from_embeddings(sample.embed()[:, :-1] for sample in calibration.sequences)
    with pytest.raises(InputError, match=r"\(calibration: other data\)"):
        quantize_decoder(QuantizationJob(checkpoint, shorter, SETTINGS), work_dir)
    other = Checkpoint.open(write_checkpoint(tmp_path, size=SIZE, seed=1))
    with pytest.raises(InputError, match=r"\(checkpoint: other data\)"):
        quantize_decoder(QuantizationJob(other, calibration, SETTINGS), work_dir)
    finer = dict.fromkeys(linear_names(SIZE), Layout(8, 64))
    first = r"model\.layers\.0\.mlp\.down_proj: not given there, 8 bits / 64 here"
    with pytest.raises(InputError, match=rf"\(mixed: 21 entries differ, such as {first}\)"):
        quantize_decoder(QuantizationJob(checkpoint, calibration, SETTINGS, finer), work_dir)


def test_what_cant_be_quantized_is_said_before_any_work(
    checkpoint: Checkpoint, calibration: Calibration, tmp_path: Path
) -> None:
    fitting = "--group-size can be 16, 32, 64, 128"
    with pytest.raises(InputError, match=f"groups of 96 don't divide the decoder's hidden_size of 128; {fitting}$"):
        quantize_decoder(QuantizationJob(checkpoint, calibration, GPTQSettings(group_size=96)), tmp_path)
    with pytest.raises(InputError, match="nothing to calibrate on"):
        quantize_decoder(QuantizationJob(checkpoint, Calibration((), ""), SETTINGS), tmp_path)
    assert not list(tmp_path.iterdir())


# ---- the GPTQ folder ----


def test_plain_tensors_are_the_checkpoints(work_dir: Path, model: OmniLMM) -> None:
    folder = read_gptq_folder(work_dir / "gptq", SIZE.decoder)
    state = model.state_dict()
    for name in ("model.norm.weight", "model.layers.1.post_attention_layernorm.weight", "lm_head.weight"):
        np.testing.assert_array_equal(folder.array(name), state[name].half().float().numpy())
    np.testing.assert_array_equal(folder.linear("lm_head"), folder.array("lm_head.weight"))


def test_the_config_is_one_that_transformers_reads(work_dir: Path) -> None:
    config = MistralConfig.from_pretrained(work_dir / "gptq")
    decoder = SIZE.decoder
    assert config.architectures == ["MistralForCausalLM"]
    assert (config.hidden_size, config.num_key_value_heads) == (decoder.hidden_size, decoder.num_key_value_heads)
    quantization = config.quantization_config
    wanted = {"quant_method": "gptq", "bits": 4, "group_size": 32, "sym": False, "desc_act": False}
    assert {name: quantization[name] for name in wanted} == wanted
    assert json.loads((work_dir / "gptq" / "quantize_config.json").read_text())["checkpoint_format"] == "gptq"


def edited(work_dir: Path, target: Path, **quantization: object) -> Path:
    """A copy of the finished folder in one file, with changes to its quantization_config."""
    tensors: dict[str, torch.Tensor] = {}
    for file in sorted((work_dir / "gptq").glob("*.safetensors")):
        tensors |= load_file(file)
    config = json.loads((work_dir / "gptq" / "config.json").read_text())
    config["quantization_config"] |= quantization
    target.mkdir(exist_ok=True)
    (target / "config.json").write_text(json.dumps(config))
    save_file(tensors, target / "model.safetensors")
    return target


def test_one_file_and_the_second_format_of_zero_points(work_dir: Path, tmp_path: Path) -> None:
    name = "model.layers.0.mlp.up_proj"
    first = read_gptq_folder(edited(work_dir, tmp_path), SIZE.decoder).linear(name)
    second = read_gptq_folder(edited(work_dir, tmp_path, checkpoint_format="gptq_v2"), SIZE.decoder).linear(name)
    assert isinstance(first, QuantizedWeight)
    assert isinstance(second, QuantizedWeight)
    np.testing.assert_array_equal(first.zeros, second.zeros + 1)


def test_foreign_folders_are_refused(work_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no quantization_config of method gptq"):
        read_gptq_folder(edited(work_dir, tmp_path, quant_method="awq"), SIZE.decoder)
    with pytest.raises(InputError, match="quantized to 3 bits"):
        read_gptq_folder(edited(work_dir, tmp_path, bits=3), SIZE.decoder)
    with pytest.raises(InputError, match="checkpoint_format is marlin"):
        read_gptq_folder(edited(work_dir, tmp_path, checkpoint_format="marlin"), SIZE.decoder)
    with pytest.raises(InputError, match=r"lacks 30 tensors of this decoder: model\.layers\.3\.input_layernorm"):
        read_gptq_folder(edited(work_dir, tmp_path), dataclasses.replace(SIZE.decoder, num_hidden_layers=4))
    wider = read_gptq_folder(edited(work_dir, tmp_path), dataclasses.replace(SIZE.decoder, intermediate_size=512))
    with pytest.raises(InputError, match=r"up_proj has the shape \(256, 128\), but the decoder needs \(512, 128\)"):
        wider.linear("model.layers.0.mlp.up_proj")
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"model\.safetensors can't be read as safetensors"):
        read_gptq_folder(tmp_path, SIZE.decoder)
