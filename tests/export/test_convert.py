"""Conversion from end to end: the reference's numbers come out, and nothing half-made is ever at OUT."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cli
from export import convert
from export.checkpoint.checkpoint import Checkpoint
from export.convert import write_bundle
from export.graphs import vision
from export.graphs.decoder import CheckpointWeights
from export.parity.bundle_parity import ParityError, compare, compare_distributions
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.presets import PRESETS, Preset, find_preset
from omnilmm_lite.engine.graph_decoder import GraphDecoder
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.formats import FP32
from omnilmm_lite.model import Model, load
from tests import golden_reference
from tests.bundle.manifests import read_manifest, write_manifest
from tests.golden_reference import CONVERSATIONS, SEED, VOCAB_IDS, golden, seeded_picture
from tests.small_checkpoint import SMALL, TINY, Form, write_checkpoint

# fp32 graphs against the public code in fp32: what the project promises.
TOLERANCE = 2e-3


class Interrupting:
    """Progress that is interrupted at its `at`-th report."""

    def __init__(self, at: int) -> None:
        self.left = at

    def stage(self, name: str, steps: int) -> None:
        self.step(name)

    def step(self, line: str) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


NEVER = 10**9


# ---- the numbers ----


@pytest.mark.parametrize("form", [Form.BIN, Form.SHARDED_BIN, Form.SAFETENSORS], ids=lambda form: form.name)
def test_a_converted_checkpoint_answers_like_the_public_code(tmp_path: Path, form: Form) -> None:
    write_checkpoint(tmp_path / "checkpoint", form=form, seed=SEED, size=SMALL)
    assert cli.main(["convert", str(tmp_path / "checkpoint"), str(tmp_path / "out"), "--preset", "reference"]) == 0
    model, recorded = load(tmp_path / "out"), golden()

    for name, messages in CONVERSATIONS.items():
        assert model.encode_chat(messages, image=True) == recorded[f"ids/{name}"].tolist(), name
    for conversation, picture in golden_reference.GREEDY.items():
        features = model.encode_image(seeded_picture(picture))
        expected = recorded[f"features/{picture}"]
        step = len(features) // len(expected)
        np.testing.assert_allclose(features[::step], expected, atol=TOLERANCE)
        logits = model.logits(model.encode_chat(CONVERSATIONS[conversation], image=True), features)
        np.testing.assert_allclose(logits[:, VOCAB_IDS], recorded[f"logits/{conversation}"], atol=TOLERANCE)


def test_quantized_presets_convert_and_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also that another preset takes the same GPTQ checkpoint and the same tower instead of quantizing again."""
    write_checkpoint(tmp_path / "checkpoint", size=TINY)
    made: dict[Path, int] = {}
    for preset in ("cpu", "cpu-small", "24gb", "12gb", "8gb"):
        work = ["--work-dir", str(tmp_path / "work"), "--group-size", "32", "--answer-tokens", "0"]
        folders = [str(tmp_path / "checkpoint"), str(tmp_path / preset)]
        assert cli.main(["convert", *folders, "--preset", preset, *work, "--json"]) == 0
        parity = json.loads(capsys.readouterr().out)["parity"]
        assert parity["quality"]["top1_agreement"] > 0.5
        assert (parity["tower_quality"] is None) == (preset == "24gb")
        bundle = Bundle.open(tmp_path / preset)
        bundle.verify()
        quantization = bundle.manifest.quantization
        assert quantization is not None
        assert quantization["settings"]["group_size"] == 32
        assert len(quantization["projections"]) == 7 * TINY.decoder.num_hidden_layers
        assert len(quantization.get("tower", {}).get("blocks", [])) == (2 if preset.startswith("cpu") else 0)
        assert bundle.manifest.time_shared == find_preset(preset).time_shared
        assert bundle.manifest.mapped == MAPPED.get(preset, ())
        model = load(tmp_path / preset)
        model.encode_image(golden_picture())
        # where prompts have a graph of their own, the one that decodes is loaded beside the tower and stays
        decoder = model.text.decoder
        assert isinstance(decoder, GraphDecoder)
        assert (decoder.graphs._decode_graph is not None) == (preset in ("cpu", "24gb", "12gb"))
        assert (decoder.graphs._prefill_graph is not None) == (preset in ("24gb", "12gb"))
        assert model.chat(golden_picture()).ask("Hello?", greedy=True, max_new_tokens=3)
        if preset in MAPPED:
            check_resident(model, tmp_path / preset)
        found = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*.safetensors")}
        assert made in ({}, found)
        made = found
        check_schema_1(tmp_path / preset, preset)


def check_resident(model: Model, folder: Path) -> None:
    """Packed weights and those in the file give the same bits, and nothing takes turns."""
    resident = load(folder, resident=True, parallel=2)
    assert model.parts.takes_turns and not resident.parts.takes_turns
    seen = model.encode_image(golden_picture())
    np.testing.assert_array_equal(seen, resident.encode_image(golden_picture()))
    ids = resident.encode_chat([{"role": "user", "content": "Hello?"}], image=True)
    np.testing.assert_array_equal(model.logits(ids, seen), resident.logits(ids, seen))
    decoder = resident.text.decoder
    assert isinstance(decoder, GraphDecoder) and decoder.graphs._prefill_graph is not None


def check_schema_1(folder: Path, preset: str) -> None:
    """Before schema 2, int8 products were wrong on some processors: such a bundle is refused, others are read."""
    manifest = read_manifest(folder)
    assert manifest["schema_version"] == 3

    def refused(name: str) -> str:
        write_manifest(folder, manifest | {"schema_version": 1, "preset": name})
        with pytest.raises(InputError) as caught:
            Bundle.open(folder)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    if preset not in MAPPED:
        write_manifest(folder, manifest | {"schema_version": 1})
        Bundle.open(folder)
        return
    # what the manifest says counts; a preset that there isn't, or without int8, can't be it: the graphs tell
    for name, said in ((preset, preset), ("cpu", "cpu"), ("cpu-small", "cpu-small"), ("mine", preset), ("8gb", preset)):
        command = f"convert CHECKPOINT NEW --preset {said}"
        assert f"{command}` with `--work-dir` and the work folder of then, or `--gptq`" in refused(name)
    work = folder.with_name(f"{folder.name}.work")
    work.mkdir()
    assert "takes hours" in refused(preset)
    (work / "gptq").mkdir()
    assert f"--preset {preset} --work-dir {shlex.quote(str(work))}`" in refused(preset)
    assert "takes hours" not in refused(preset)


MAPPED = {"cpu": ("vision.onnx", "prefill.onnx"), "cpu-small": ("vision.onnx",)}


def golden_picture() -> Image.Image:
    return seeded_picture(next(iter(golden_reference.GREEDY.values())))


# ---- interruptions ----


def test_an_interruption_at_any_point_leaves_nothing_at_out(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    preset, weights = find_preset("reference"), CheckpointWeights(tiny_checkpoint)
    whole = Interrupting(NEVER)
    write_bundle(tiny_checkpoint, weights, preset, tmp_path / "whole", whole)
    reports = NEVER - whole.left
    for at in range(1, reports + 1, 3):
        with pytest.raises(KeyboardInterrupt):
            write_bundle(tiny_checkpoint, weights, preset, tmp_path / "out", Interrupting(at))
        assert [path.name for path in tmp_path.iterdir()] == ["whole"]
    write_bundle(tiny_checkpoint, weights, preset, tmp_path / "out", Interrupting(NEVER))
    manifests = [Bundle.open(tmp_path / name).manifest for name in ("whole", "out")]
    assert manifests[0].files == manifests[1].files  # the same bytes


def test_a_killed_conversion_is_taken_up_again(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "checkpoint", size=TINY)
    folders = [str(tmp_path / "checkpoint"), str(tmp_path / "out")]
    command = [sys.executable, "-m", "cli", "convert", *folders, "--group-size", "32"]
    first_layer = tmp_path / "out.work" / "layer-000.safetensors"
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while not first_layer.exists():
        assert process.poll() is None, "it ended before its first layer"
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (tmp_path / "out").exists()
    finished = first_layer.stat()

    subprocess.run(command, check=True, capture_output=True)
    Bundle.open(tmp_path / "out").verify()
    assert first_layer.stat().st_mtime_ns == finished.st_mtime_ns  # kept, not made again


def test_changed_arguments_are_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_checkpoint(tmp_path / "checkpoint", size=TINY)
    folders = [str(tmp_path / "checkpoint"), str(tmp_path / "out"), "--work-dir", str(tmp_path / "work")]
    assert cli.main(["convert", *folders, "--group-size", "32"]) == 0
    other = [folders[0], str(tmp_path / "other"), *folders[2:]]
    assert cli.main(["convert", *other, "--group-size", "64"]) == 2
    assert "group_size: 32 there, 64 here" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


# ---- refusals ----


def test_a_taken_target_is_refused_before_any_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("precious")
    assert cli.main(["convert", str(tmp_path / "nothing"), str(tmp_path / "out")]) == 2
    assert "already exists" in capsys.readouterr().err
    assert (tmp_path / "out" / "mine.txt").read_text() == "precious"
    assert cli.main(["convert", str(tmp_path / "nothing"), str(tmp_path / "no" / "out")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_wrong_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "folder").mkdir()
    for arguments in (["--preset", "tpu"], []):
        assert cli.main(["convert", str(tmp_path / "folder"), str(tmp_path / "out"), *arguments]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1, error
    with pytest.raises(InputError, match="reference, cpu, cpu-small, 24gb"):
        find_preset("tpu")


def test_a_wrong_graph_stops_the_conversion(
    tiny_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Off(CheckpointWeights):
        """One weight of the decoder's last norm is a hundredth too large."""

        def array(self, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
            array = super().array(name)
            return array * np.float32(1.01) if name == "model.norm.weight" else array

    def shifted(checkpoint: Checkpoint, path: Path, preset: Preset) -> None:
        np.save(path, np.roll(checkpoint.array("model.embed_tokens.weight"), 1, axis=0))

    preset, out, progress = find_preset("reference"), tmp_path / "out", Interrupting(NEVER)
    with pytest.raises(ParityError, match=r"decoder\.onnx") as caught:
        write_bundle(tiny_checkpoint, Off(tiny_checkpoint), preset, out, progress)
    assert caught.value.difference == pytest.approx(0.01, rel=0.01)
    assert not list(tmp_path.iterdir())
    with monkeypatch.context() as patch, pytest.raises(ParityError, match=r"embeddings\.npy"):
        patch.setattr(convert, "_write_embeddings", shifted)
        write_bundle(tiny_checkpoint, CheckpointWeights(tiny_checkpoint), preset, out, progress)
    monkeypatch.setitem(vision.TOLERANCE, FP32, 1e-12)
    with pytest.raises(ParityError, match=r"vision\.onnx"):
        write_bundle(tiny_checkpoint, CheckpointWeights(tiny_checkpoint), preset, out, progress)


def test_comparing_finds_nan_and_shapes() -> None:
    good = np.asarray([1.0, -2.0], dtype=np.float32)
    assert compare("g", good + np.float32(0.5), good, 0.3).difference == 0.25  # relative to the largest, 2
    with pytest.raises(ParityError):
        compare("g", np.asarray([1.0, np.nan], dtype=np.float32), good, 0.3)
    with pytest.raises(OmniLMMError, match="shape"):
        compare("g", good[:1], good, 0.3)


def test_quality_by_hand() -> None:
    """Distributions (1/2, 1/2) and (3/4, 1/4): KLD = ln 2 - ln 3 / 2; the second row is equal."""
    original = np.log(np.asarray([[0.5, 0.5], [0.9, 0.1]], dtype=np.float32))
    changed = np.log(np.asarray([[0.25, 0.75], [0.9, 0.1]], dtype=np.float32))
    quality = compare_distributions(original, changed)
    assert quality.tokens == 2
    assert quality.mean_kld == pytest.approx((np.log(2) - np.log(3) / 2) / 2, rel=1e-5)
    assert quality.top1_agreement == 0.5


def test_every_preset_says_what_it_is() -> None:
    assert list(PRESETS) == ["reference", "cpu", "cpu-small", "24gb", "16gb", "12gb", "8gb"]
    for name, preset in PRESETS.items():
        assert preset.name == name
        assert preset.summary
