"""Measuring a model's largest numbers: against the reference run whole, and killed anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from export.checkpoint.checkpoint import Checkpoint
from export.reference.activation_ranges import ActivationRanges
from export.reference.layerwise import layerwise_model, load_module
from export.reference.pictures import stack_pixels
from export.torch_device import TorchDevice
from omnilmm_lite.builtin import BUILTIN
from omnilmm_lite.errors import InputError
from omnilmm_lite.picture.reading import load_image
from quantize.calibration.token_sequences import CalibrationLimits, TokenSequence
from quantize.ranges import LARGEST, MOST_SEQUENCES, RESULT, RangeData, measure_ranges
from tests.conftest import Quiet
from tests.small_checkpoint import TINY

PICTURES = sorted((BUILTIN / "pictures").glob("*.jpg"))[:3]
PATCHES = (TINY.tokens.im_patch,) * TINY.resampler.num_queries
DATA = RangeData(
    PICTURES,
    [
        TokenSequence((1, 500, *PATCHES, 700), PICTURES[2]),
        TokenSequence((1, 600, 601, 602)),
        TokenSequence((1, *PATCHES, 900, 901), PICTURES[0]),
    ],
)


class Counting(Quiet):
    """Progress that is interrupted at its `at`-th report."""

    def __init__(self, at: int = 10**9) -> None:
        self.left, self.lines = at, list[str]()

    def stage(self, name: str, steps: int) -> None:
        self._count()

    def step(self, line: str) -> None:
        self.lines.append(line)
        self._count()

    def _count(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def measure(checkpoint: Checkpoint, work: Path, progress: Counting | None = None) -> ActivationRanges:
    return measure_ranges(checkpoint, DATA, work, progress or Counting(), TorchDevice())


@pytest.fixture(scope="module")
def measured(tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> ActivationRanges:
    return measure(tiny_checkpoint, tmp_path_factory.mktemp("ranges"))


# ---- what is measured ----


@torch.inference_mode()
def test_it_is_what_the_reference_computes(tiny_checkpoint: Checkpoint, measured: ActivationRanges) -> None:
    reference = layerwise_model(tiny_checkpoint)
    features = reference.encode_image(stack_pixels(map(load_image, PICTURES), TINY.vision))
    embedded = [
        reference.embed(torch.tensor([sequence.ids]), None if sequence.image is None else features[[index]])
        for sequence, index in zip(DATA.sequences, (2, 0, 0), strict=True)
    ]
    states = [reference.hidden_states(each) for each in embedded]
    expected = {
        "model.resampler.proj": features.abs().max(),
        "model.embed_tokens": max(each.abs().max() for each in embedded),
        "model.norm": max(each.abs().max() for each in states),
        "lm_head": max(reference.lm_head(each).abs().max() for each in states),
    }
    for site, value in expected.items():
        assert measured.largest[site] == pytest.approx(float(value), rel=1e-5), site
    assert (measured.pictures, measured.sequences, measured.tokens) == (3, 3, 2 * 16 + 10)


def test_every_site_is_there(measured: ActivationRanges) -> None:
    tower, resampler = "model.vision_tower", "model.resampler"
    block = ["attn.qkv", "attn.logits", "attn.proj", "attn.stream", "norm1"]
    block += ["mlp.fc1", "mlp.fc2", "mlp.stream", "norm2"]
    own = ("kv_proj", "ln_kv", "attn.in_proj", "attn.logits", "attn.out_proj", "ln_post", "proj")
    attention = ("q_proj", "k_proj", "v_proj", "logits", "o_proj", "stream")
    mlp = ("gate_proj", "up_proj", "down_proj.input", "down_proj", "stream")
    sites = {f"{tower}.{name}" for name in ("patch_embed.proj", "stream", "norm")}
    sites |= {f"{tower}.blocks.{i}.{name}" for i in range(2) for name in block}
    sites |= {f"{resampler}.{name}" for name in own} | {"model.embed_tokens", "model.norm", "lm_head"}
    for layer in ("model.layers.0", "model.layers.1"):
        sites |= {f"{layer}.self_attn.{name}" for name in attention} | {f"{layer}.mlp.{name}" for name in mlp}
        sites |= {f"{layer}.input_layernorm", f"{layer}.post_attention_layernorm"}
    assert measured.largest.keys() == sites


def test_pictures_and_sequences_are_the_calibrations(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Half of the sequences show one of the tower's pictures. A text has none, and takes the built-in ones along."""
    text = tmp_path / "data.txt"
    text.write_text("All work and no play makes Jack a dull boy. " * 400, encoding="utf-8")
    built_in = RangeData.read(tiny_checkpoint, None, CalibrationLimits())
    for data in (built_in, RangeData.read(tiny_checkpoint, text, CalibrationLimits(samples=12, tokens=300))):
        shown = [sequence for sequence in data.sequences if sequence.image is not None]
        assert len(data.sequences) == MOST_SEQUENCES == 2 * len(shown)
        assert {sequence.image for sequence in shown} <= set(data.pictures)
        assert all(sequence.ids.count(TINY.tokens.im_patch) == TINY.resampler.num_queries for sequence in shown)
    assert any(len(sequence.ids) == 300 for sequence in data.sequences)
    prints = {each.fingerprint(tiny_checkpoint) for each in (built_in, data, DATA)}
    assert len(prints) == 3


# ---- killed, and taken up again ----


def test_a_run_killed_anywhere_ends_with_the_same(
    tiny_checkpoint: Checkpoint, measured: ActivationRanges, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of two pictures: two of them, with two blocks each, then two layers. What is done isn't done again."""
    monkeypatch.setattr("quantize.ranges.picture_batches", batches_of_two)
    whole = Counting()
    first = measure(tiny_checkpoint, tmp_path / "whole", whole)
    assert first.largest == pytest.approx(measured.largest, rel=1e-4)  # another batch, other last digits
    assert len(whole.lines) == 2 * 2 + 2
    for at in range(2, 9):  # both stages count; the first has done nothing yet
        work, killed = tmp_path / f"{at}", Counting(at)
        with pytest.raises(KeyboardInterrupt):
            measure(tiny_checkpoint, work, killed)
        assert not (work / RESULT).exists()
        (folder,) = work.glob("ranges-*")
        before = json.loads((folder / LARGEST).read_text(encoding="utf-8"))["largest"]
        assert all(first.largest[site] >= value for site, value in before.items())
        with monkeypatch.context() as patch:
            loaded = watch_modules(patch)
            assert measure(tiny_checkpoint, work) == first
        assert len(loaded) == 6 - len(killed.lines)
        assert [path.name for path in work.iterdir()] == [RESULT]


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"largest": {"lm_head": "much"}}'])
def test_blocks_are_run_again_where_what_they_showed_is_lost(
    content: bytes | None, tiny_checkpoint: Checkpoint, measured: ActivationRanges, tmp_path: Path
) -> None:
    """Killed between the decoder's two layers: the tower's numbers stand in that file alone."""
    with pytest.raises(KeyboardInterrupt):
        measure(tiny_checkpoint, tmp_path, Counting(5))
    (file,) = tmp_path.glob(f"ranges-*/{LARGEST}")
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    assert measure(tiny_checkpoint, tmp_path) == measured


def batches_of_two(pictures: list[Path]) -> Iterator[list[Path]]:
    return (pictures[start : start + 2] for start in range(0, len(pictures), 2))


def watch_modules(patch: pytest.MonkeyPatch) -> list[str]:
    """Names of the blocks and layers that are loaded from now on."""
    loaded: list[str] = []

    def watched(*arguments: object) -> object:
        name = str(arguments[1])
        if ".blocks." in name or ".layers." in name:
            loaded.append(name)
        return load_module(*arguments)  # type: ignore[arg-type]

    patch.setattr("quantize.ranges.load_module", watched)
    return loaded


def test_what_is_known_is_read_and_other_data_is_measured(
    tiny_checkpoint: Checkpoint, measured: ActivationRanges, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure(tiny_checkpoint, tmp_path)
    (tmp_path / "ranges-0123").mkdir()  # an unfinished run on other data
    loaded = watch_modules(monkeypatch)
    assert measure(tiny_checkpoint, tmp_path) == measured
    assert not loaded
    other = RangeData(PICTURES[:1], DATA.sequences[1:2])
    found = measure_ranges(tiny_checkpoint, other, tmp_path, Quiet(), TorchDevice())
    assert len(loaded) == 4
    assert (found.pictures, found.sequences, found.tokens) == (1, 1, 4)
    assert all(found.largest[site] <= value * (1 + 1e-5) for site, value in measured.largest.items())
    assert [path.name for path in tmp_path.iterdir()] == [RESULT]


def test_a_file_of_ranges_that_was_damaged(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    measure(tiny_checkpoint, tmp_path)
    found = json.loads((tmp_path / RESULT).read_text(encoding="utf-8"))
    found["largest"]["lm_head"] = "much"
    (tmp_path / RESULT).write_text(json.dumps(found), encoding="utf-8")
    with pytest.raises(InputError, match=r"ranges\.json: lm_head can't have .*remove the file"):
        measure(tiny_checkpoint, tmp_path)


def test_a_checkpoint_with_infinite_numbers(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    class Broken:
        """A tower whose second block multiplies by more than float32 can hold."""

        folder, config = tiny_checkpoint.folder, tiny_checkpoint.config

        def __getattr__(self, name: str) -> object:
            return getattr(tiny_checkpoint, name)

        def module(self, filled: torch.nn.Module, prefix: str) -> torch.nn.Module:
            tiny_checkpoint.module(filled, prefix)
            if prefix.endswith("blocks.1"):
                filled.get_parameter("mlp.fc2.weight").data *= 3e38
            return filled

    with pytest.raises(InputError, match=r"^model\.vision_tower\.blocks\.1\.mlp\.fc2: .* NaN or infinity"):
        measure(Broken(), tmp_path)  # type: ignore[arg-type]
