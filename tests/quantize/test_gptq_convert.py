"""`convert --gptq`: a folder that somebody else made is packed if it is this model's, and refused if it isn't."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import cli
from export.checkpoint.checkpoint import Checkpoint
from export.checkpoint.safetensors_file import write_tensors
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.errors import InputError
from omnilmm_lite.keys import decoder_keys
from omnilmm_lite.model import load
from quantize.folder.origin import check_origin, num_steps
from quantize.folder.packing import Layout
from quantize.folder.read import read_gptq_folder
from quantize.folder.tensors import LINEARS, linear_tensors
from quantize.folder.write import write_gptq_folder
from quantize.gptq.gptq import round_to_nearest
from quantize.gptq.settings import GPTQSettings
from tests.small_checkpoint import TINY, write_checkpoint

LAYER = "model.layers.0"
SCATTERED = f"{LAYER}.mlp.down_proj"
MIXED = {f"{LAYER}.self_attn.{part}_proj": Layout(8, 64) for part in "qkv"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return Checkpoint.open(write_checkpoint(tmp_path_factory.mktemp("checkpoint"), size=TINY))


@pytest.fixture(scope="module")
def gptq(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(checkpoint, tmp_path_factory.mktemp("other"), {})


def write_folder(checkpoint: Checkpoint, path: Path, changes: dict[str, NDArray[Any]]) -> Path:
    """The checkpoint's decoder, rounded, with three layers in 8 bits and one whose groups are scattered."""
    tensors: dict[str, NDArray[Any]] = {}
    for name in decoder_keys(checkpoint.config.decoder):
        layer = name.removesuffix(".weight")
        if not layer.endswith(LINEARS):
            tensors[name] = checkpoint.array(name).astype(np.float16)
            continue
        layout = MIXED.get(layer, Layout(4, 32))
        weight = checkpoint.array(name)
        order = np.random.default_rng(0).permutation(weight.shape[1]) if layer == SCATTERED else None
        taken = weight if order is None else np.ascontiguousarray(weight[:, order])
        rounded = round_to_nearest(taken, bits=layout.bits, group_size=layout.group_size, sym=False)
        if order is not None:
            rounded.codes[:, order] = rounded.codes.copy()
        tensors |= linear_tensors(layer, rounded)
        if order is not None:
            tensors[f"{layer}.g_idx"][order] = tensors[f"{layer}.g_idx"].copy()
    write_tensors(path / "shard.safetensors", tensors | changes)
    config = checkpoint.config
    write_gptq_folder(
        path / "gptq", [path / "shard.safetensors"], config.decoder, config.tokens, GPTQSettings(group_size=32), {}
    )
    return path / "gptq"


def convert(checkpoint: Checkpoint, out: Path, *options: str) -> int:
    return cli.main(["convert", str(checkpoint.folder), str(out), *options])


def test_a_folder_is_packed(
    checkpoint: Checkpoint, gptq: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Graphs within their tolerance of the folder's weights, and the distributions near the checkpoint's."""
    assert convert(checkpoint, tmp_path / "out", "--gptq", str(gptq), "--json") == 0
    quality = json.loads(capsys.readouterr().out)["parity"]["quality"]
    assert quality["top1_agreement"] > 0.6
    bundle = Bundle.open(tmp_path / "out")
    bundle.verify()
    quantization = bundle.manifest.quantization
    assert quantization is not None
    assert quantization["settings"] == {"gptq": "gptq", "bits": 4, "group_size": 32, "sym": False, "desc_act": False}
    assert quantization["source"]["quantization_config"]["dynamic"]
    hashed = {file["path"]: file["sha256"] for file in quantization["source"]["files"]}
    shard = "model-00001-of-00001.safetensors"
    assert hashed[shard] == hashlib.sha256((gptq / shard).read_bytes()).hexdigest()
    assert "config.json" in hashed
    assert load(tmp_path / "out").chat().ask("Hello?", greedy=True, max_new_tokens=3)
    assert [path.name for path in (tmp_path / "out.work").iterdir()] == ["tower"]
    assert cli.main(["inspect", str(tmp_path / "out")]) == 0
    assert "gptq" in capsys.readouterr().out


def test_every_tensor_is_looked_at(checkpoint: Checkpoint, gptq: Path) -> None:
    names: list[str] = []
    check_origin(read_gptq_folder(gptq, TINY.decoder), checkpoint, names.append)
    assert names == list(decoder_keys(TINY.decoder))
    assert len(names) == num_steps(checkpoint)


def nudged(checkpoint: Checkpoint, name: str) -> dict[str, NDArray[Any]]:
    tensor = checkpoint.array(name).astype(np.float16)
    tensor[3] += np.float16(0.1)
    return {name: tensor}


@pytest.mark.parametrize("name", ["model.norm.weight", f"{LAYER}.input_layernorm.weight", "lm_head.weight"])
def test_a_changed_tensor_is_another_model(checkpoint: Checkpoint, tmp_path: Path, name: str) -> None:
    folder = write_folder(checkpoint, tmp_path, nudged(checkpoint, name))
    with pytest.raises(InputError, match=rf"made from another model than .*: {name} is not the same"):
        check_origin(read_gptq_folder(folder, TINY.decoder), checkpoint, lambda _: None)


def test_a_changed_linear_layer_is_another_model(checkpoint: Checkpoint, tmp_path: Path) -> None:
    name = f"{LAYER}.mlp.up_proj"
    other = round_to_nearest(-checkpoint.array(f"{name}.weight"), group_size=32, sym=False)
    folder = write_folder(checkpoint, tmp_path, linear_tensors(name, other))
    with pytest.raises(InputError, match=rf"made from another model than .*: {name} is not the same"):
        check_origin(read_gptq_folder(folder, TINY.decoder), checkpoint, lambda _: None)


def test_zero_points_in_the_other_format(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = write_folder(checkpoint, tmp_path, {})
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"]["checkpoint_format"] = "gptq_v2"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="zero points are off by one, so they are stored as gptq does and not as gptq"):
        check_origin(read_gptq_folder(folder, TINY.decoder), checkpoint, lambda _: None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--preset", "reference"], "--gptq: the preset reference quantizes nothing"),
        (["--group-size", "128"], "is quantized already; leave out --group-size"),
        (["--no-desc-act", "--sym", "--damp", "0.01"], "leave out --sym, --desc-act, --damp"),
        (["--samples", "128", "--calibration", "pictures"], "leave out --samples"),  # the tower takes the pictures
        (["--preset", "cpu-small", "--answer-tokens", "0"], "leave out --answer-tokens"),
    ],
)
def test_options_that_contradict_it(
    options: list[str],
    message: str,
    checkpoint: Checkpoint,
    gptq: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert convert(checkpoint, tmp_path / "out", "--gptq", str(gptq), *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options",
    [["--group-size", "128"], ["--target-size", "4GB"], ["--lm-head-bits", "8"], ["--sym"], ["--samples", "0"]],
)
def test_a_preset_that_quantizes_nothing_takes_no_such_option(
    options: list[str], checkpoint: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert(checkpoint, tmp_path / "out", "--preset", "reference", *options) == 2
    assert f"{options[0]}: the preset reference quantizes nothing" in capsys.readouterr().err


def test_a_folder_that_is_none(checkpoint: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(checkpoint, tmp_path / "out", "--gptq", str(tmp_path / "absent")) == 2
    assert "config.json can't be read" in capsys.readouterr().err
    assert convert(checkpoint, tmp_path / "out", "--gptq", str(checkpoint.folder)) == 2
    assert "no quantization_config of method gptq" in capsys.readouterr().err
