"""A model whose activations are far beyond fp16, where the original ran in bf16: a card's bundle holds them anyway."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import cli
from export.checkpoint.checkpoint import Checkpoint
from export.reference.layerwise import layerwise_model
from export.reference.pictures import stack_pixels
from export.weights.folding import DecoderFolding, TowerFolding
from export.weights.headroom import Headroom
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.model import load
from tests.golden_reference import seeded_picture
from tests.small_checkpoint import TINY, Form, config_json, weights, write_json, write_tokenizer, write_weights

# Powers of two, by the ends of weights' names; the weights themselves stay within fp16.
LOUD = {
    ("attn.proj.weight", "mlp.fc2.weight"): 2.0**17,
    ("attn.proj.bias", "mlp.fc2.bias"): 2.0**15,
    ("o_proj.weight",): 2.0**15,
    ("up_proj.weight",): 2.0**13,
    ("down_proj.weight",): 2.0**2,
}
PICTURE = "wide"
QUESTION = "What is this?"
TOLERANCE = {
    "24gb": 3e-2,
    "12gb": 5e-2,
}  # of fp16 over both towers' blocks and the resampler; rounded to 8 bits besides


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint, and beside it a work folder that fills."""
    root = tmp_path_factory.mktemp("loud")
    write(root / "checkpoint", {})
    return root


def write(path: Path, more: dict[tuple[str, ...], float]) -> None:
    tensors = weights(TINY)
    for ends, factor in (LOUD | more).items():
        tensors |= {name: tensor * factor for name, tensor in tensors.items() if name.endswith(ends)}
    path.mkdir()
    write_json(path / "config.json", config_json(TINY, Form.SAFETENSORS))
    write_tokenizer(path, Form.SAFETENSORS)
    write_weights(path, tensors, Form.SAFETENSORS, shards=2)


def convert(folder: Path, preset: str, checkpoint: str = "checkpoint") -> int:
    options = ["--preset", preset, "--work-dir", str(folder / "work"), "--group-size", "32", "--answer-tokens", "0"]
    return cli.main(["convert", str(folder / checkpoint), str(folder / f"{checkpoint}-{preset}"), *options])


def test_unfolded_it_overflows(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unfolded(ranges: object) -> Headroom:
        return Headroom(ranges, TowerFolding(), DecoderFolding())  # type: ignore[arg-type]

    monkeypatch.setattr(Headroom, "choose", unfolded)
    assert convert(folder, "24gb") == 1
    assert "vision.onnx, segment 2, node model.vision_tower.blocks.0.attn.proj" in capsys.readouterr().err
    assert not (folder / "checkpoint-24gb").exists()


@pytest.mark.parametrize("preset", ["24gb", "12gb"])
def test_folded_it_answers_as_the_reference_does(folder: Path, preset: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(folder, preset) == 0
    bundle, picture = Bundle.open(folder / f"checkpoint-{preset}"), seeded_picture(PICTURE)
    found = (bundle.manifest.quantization or {})["fp16"]
    assert len(found["tower"]["branches"]) == 4
    assert found["decoder"]["stream"] > 1
    assert len(found["decoder"]["inner"]) == 2
    assert {part["headroom"] >= 8 - 1e-3 for part in found["worst"].values()} == {True}
    model = load(folder / f"checkpoint-{preset}")
    features = model.encode_image(picture)
    with torch.inference_mode():
        reference = layerwise_model(Checkpoint.open(folder / "checkpoint"))
        expected = reference.encode_image(stack_pixels([picture], TINY.vision))
        assert relative(features, expected[0].numpy()) < TOLERANCE[preset]
        ids = model.encode_chat([{"role": "user", "content": QUESTION}], image=True)
        expected = reference(torch.tensor([ids]), expected)[0]
    logits = torch.from_numpy(model.logits(ids, features))
    agreed = (logits.argmax(-1) == expected.argmax(-1)).float().mean()
    assert agreed > 0.7  # the decoder has 4 bits
    assert model.chat(picture).ask(QUESTION, greedy=True, max_new_tokens=3)
    capsys.readouterr()
    assert cli.main(["inspect", str(folder / f"checkpoint-{preset}")]) == 0
    shown = capsys.readouterr().out
    assert "tower divided by powers of two, which changes no result: 4 of its layers by up to" in shown
    assert "decoder divided by powers of two, which changes no result: its residual stream by" in shown


def relative(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def test_what_cannot_be_folded_is_refused_before_the_decoder_is_quantized(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "louder", {("fc1.weight",): 2.0**13})
    assert convert(tmp_path, "24gb", "louder") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "model.vision_tower.blocks." in error
    assert ".mlp.fc1: values up to " in error
    assert error.endswith("made for up to 8192: take --preset cpu for this checkpoint, and report it")
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["ranges.json"]
    assert convert(tmp_path, "24gb", "louder") == 2  # from what is kept: nothing is measured again
    assert "largest numbers" not in capsys.readouterr().err


def test_a_cpus_bundle_needs_none_of_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(folder, "cpu-small") == 0
    shown = capsys.readouterr()
    assert "largest numbers" not in shown.err
    manifest = json.loads((folder / "checkpoint-cpu-small" / "manifest.json").read_text(encoding="utf-8"))
    assert "fp16" not in manifest["quantization"]
