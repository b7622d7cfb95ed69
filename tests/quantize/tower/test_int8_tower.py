"""The tower's way to int8: what calibration gathers, what is folded, what a block loses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor, nn

from export.checkpoint.checkpoint import Checkpoint
from export.checkpoint.safetensors_file import write_tensors
from export.graphs.vision import build_vision
from export.parity.bundle_parity import Parity, ParityError, run_int8_tower
from export.parity.cosines import Cosines
from export.reference.layerwise import layerwise_model, load_module
from export.reference.model import VisionBlock, VisionTower
from export.weights.int8 import AFTER_GELU, Int8Linear
from export.weights.tower_weights import PREFIX, TowerLinear, TowerModules, layerwise_tower
from export.weights.weight import Array
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.commands.bundle_report import print_tower
from omnilmm_lite.engine.device import open_session
from omnilmm_lite.formats import FP16, FP32, LinearFormat, Precision
from omnilmm_lite.picture.noise import noise_picture
from omnilmm_lite.picture.preprocess import preprocess
from omnilmm_lite.text.conversations import PICTURES as BUILTIN
from quantize.tower.block import choose_inner, quantize_block
from quantize.tower.int8_tower import Int8Block, Int8Tower
from quantize.tower.pictures import MOST_PICTURES, calibration_pictures
from quantize.tower.quantizer import quantize_tower
from quantize.tower.rounded import RoundedTower
from quantize.tower.statistics import BlockStatistics
from tests.conftest import Quiet
from tests.small_checkpoint import TINY

CONFIG = TINY.vision
PIXELS = preprocess(noise_picture(CONFIG.image_size, CONFIG.image_size), CONFIG)
LOUD = (3, 50)  # channels of the stream


@dataclass(frozen=True)
class LoudCheckpoint(Checkpoint):
    """A few channels of the stream are a hundred times as loud as the others, and read a hundredth as strongly."""

    def tensor(self, name: str) -> Tensor:
        tensor = super().tensor(name).clone()
        own = name.removeprefix(f"{PREFIX}.")
        if ".norm" in own:
            tensor[list(LOUD)] *= 100
        elif own.endswith(("qkv.weight", "fc1.weight")):
            tensor[:, list(LOUD)] /= 100
        return tensor


@pytest.fixture(scope="module")
def loud(tiny_checkpoint: Checkpoint) -> Checkpoint:
    return LoudCheckpoint(**vars(tiny_checkpoint))


@pytest.fixture(scope="module")
def tower(loud: Checkpoint, pictures: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Int8Tower:
    return quantize_tower(loud, pictures, tmp_path_factory.mktemp("work"), Quiet())[0]


@torch.inference_mode()
def reference_patches(checkpoint: Checkpoint) -> Tensor:
    patches: Tensor = layerwise_model(checkpoint).model.vision_tower(torch.from_numpy(PIXELS))
    return patches


# ---- what comes out ----


@dataclass(frozen=True)
class Unrounded(Int8Tower):
    """Everything folded and nothing rounded: floats, times the divisors where they read the stream."""

    def linear(self, name: str) -> TowerLinear:
        weight = self.checkpoint.array(f"{name}.weight")
        return weight * self.divisors if name.endswith(("qkv", "fc1")) else weight

    def array(self, name: str) -> Array:
        return self.checkpoint.array(name) if name.endswith("v_bias") else super().array(name)


@dataclass(frozen=True)
class Overlaid(Int8Tower):
    """Some tensors are others than the checkpoint's."""

    overlay: Mapping[str, Array] | None = None

    def array(self, name: str) -> Array:
        found = (self.overlay or {}).get(name)
        return super().array(name) if found is None else found


@torch.inference_mode()
def test_folding_changes_nothing(loud: Checkpoint, tower: Int8Tower, tmp_path: Path) -> None:
    unrounded = Unrounded(loud, tower.divisors, tower.block)
    expected = reference_patches(loud)
    own = layerwise_tower(unrounded, CONFIG)(torch.from_numpy(PIXELS))
    torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-4)
    for _ in build_vision(CONFIG, unrounded, tmp_path / "vision.onnx", FP32):
        pass
    (found,) = open_session(tmp_path / "vision.onnx", Device.CPU).run(["patches"], {"pixel_values": PIXELS})
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_loud_channels_are_divided_by_how_loud_they_are(loud: Checkpoint, tower: Int8Tower) -> None:
    assert sorted(np.argsort(tower.divisors)[-len(LOUD) :]) == list(LOUD)
    assert all(tower.divisors[list(LOUD)] >= 16)
    own = layerwise_tower(tower, CONFIG)(torch.from_numpy(PIXELS))
    assert Cosines.between(own, reference_patches(loud)).mean_cosine > 0.99  # 0.96 undivided


@pytest.mark.parametrize("blocks", [1, 2])
@torch.inference_mode()
def test_the_graph_computes_what_the_weights_say(tower: Int8Tower, blocks: int, tmp_path: Path) -> None:
    """All but a few numbers to the last digits. Where an activation lies between two codes, either may be taken, and
    the processor decides: so each block is held for its own input, and of the end only the median."""
    config = replace(CONFIG, num_hidden_layers=blocks)
    path = tmp_path / "vision.onnx"
    for _ in build_vision(config, tower, path, FP32):
        pass
    assert run_int8_tower(tower, config, path, PIXELS, lambda _: None)[1].difference < 1e-2
    (found,) = open_session(path, Device.CPU).run(["patches"], {"pixel_values": PIXELS})
    expected = layerwise_tower(tower, config)(torch.from_numpy(PIXELS)).numpy()
    assert np.median(np.abs(found - expected)) < 1e-4 * np.abs(expected).max()


def test_weights_that_are_mapped_give_the_same_bits(tower: Int8Tower, tmp_path: Path) -> None:
    path = tmp_path / "vision.onnx"
    for _ in build_vision(CONFIG, tower, path, FP32):
        pass
    packed, mapped = (
        open_session(path, Device.CPU, mapped=mapped).run(["patches"], {"pixel_values": PIXELS})[0]
        for mapped in (False, True)
    )
    np.testing.assert_array_equal(mapped, packed)


@torch.inference_mode()
def test_parity_finds_a_mistake_in_one_block(tower: Int8Tower, tmp_path: Path) -> None:
    for _ in build_vision(CONFIG, tower, tmp_path / "vision.onnx", FP32):
        pass

    def check(weights: Int8Tower) -> Parity:
        return run_int8_tower(weights, CONFIG, tmp_path / "vision.onnx", PIXELS, lambda _: None)[1]

    assert check(tower).difference < 1e-2
    name = f"{PREFIX}.blocks.1.attn.q_bias"
    other = Overlaid(**vars(tower), overlay={name: tower.array(name) + 0.2})
    with pytest.raises(ParityError, match=r"vision\.onnx"):
        check(other)


@pytest.mark.parametrize("precision", [FP32, FP16], ids=str)
@torch.inference_mode()
def test_eight_bit_groups(tiny_checkpoint: Checkpoint, precision: Precision, tmp_path: Path) -> None:
    rounded = RoundedTower(tiny_checkpoint)
    for _ in build_vision(CONFIG, rounded, tmp_path / "vision.onnx", precision):
        pass
    (found,) = open_session(tmp_path / "vision.onnx", Device.CPU).run(["patches"], {"pixel_values": PIXELS})
    expected = layerwise_tower(rounded, CONFIG)(torch.from_numpy(PIXELS))
    largest = expected.abs().max().item()
    np.testing.assert_allclose(found, expected.numpy(), atol=largest * (1e-5 if precision is FP32 else 1e-2))
    assert 0.999 < Cosines.between(expected, reference_patches(tiny_checkpoint)).worst_cosine < 1 - 1e-6


def test_weights_in_the_groups_and_blocks_that_divide_them(tiny_checkpoint: Checkpoint, tower: Int8Tower) -> None:
    rounded = RoundedTower(tiny_checkpoint)
    for part, columns, group in (("attn.qkv", 112, 16), ("mlp.fc2", 256, 128)):
        weight = rounded.linear(f"{PREFIX}.blocks.0.{part}")
        assert not isinstance(weight, (np.ndarray, Int8Linear))
        assert (weight.bits, weight.group_size, weight.shape[1]) == (8, group, columns)
    linears = {part: tower.linear(f"{PREFIX}.blocks.0.{part}") for part in ("attn.qkv", "attn.proj", "mlp.fc2")}
    rotations = {part: linear.rotation for part, linear in linears.items() if isinstance(linear, Int8Linear)}
    assert rotations == {"attn.qkv": 16, "attn.proj": 1, "mlp.fc2": 1}


# ---- calibration ----


@torch.inference_mode()
def test_statistics_are_those_of_what_the_layers_read(tiny_checkpoint: Checkpoint) -> None:
    block = load_module(tiny_checkpoint, f"{PREFIX}.blocks.0", lambda: VisionBlock(CONFIG))
    states = torch.randn(2, 65, 112, generator=torch.Generator().manual_seed(0))
    before = states.clone()
    read: dict[str, list[Tensor]] = {"attn.qkv": [], "attn.proj": [], "mlp.fc1": []}
    hooks = [
        block.get_submodule(name).register_forward_pre_hook(lambda _, inputs, kept=kept: kept.append(inputs[0]))
        for name, kept in read.items()
    ]
    after = block(before)
    for hook in hooks:
        hook.remove()
    statistics = BlockStatistics.gather(block, states)

    torch.testing.assert_close(states, after)
    torch.testing.assert_close(statistics.probe, before[:1])
    inputs = {name: kept[0].flatten(0, 1) for name, kept in read.items()}  # (tokens, hidden)
    for name, hessian in (("attn.qkv", statistics.qkv), ("attn.proj", statistics.proj), ("mlp.fc1", statistics.fc1)):
        torch.testing.assert_close(hessian, inputs[name].T @ inputs[name] / len(inputs[name]))
    torch.testing.assert_close(
        statistics.loudness, torch.stack([inputs[name].abs().amax(0) for name in ("attn.qkv", "mlp.fc1")])
    )


@torch.inference_mode()
def test_dividing_the_stream_before_calibration_or_after_it_gives_the_same_codes(tiny_checkpoint: Checkpoint) -> None:
    """Divisors are known only when all blocks were seen; as powers of two they round nothing."""
    divisors = 2.0 ** torch.randint(0, 6, (112,), generator=torch.Generator().manual_seed(1))
    states = torch.randn(1, 65, 112, generator=torch.Generator().manual_seed(0))
    block, divided = (load_module(tiny_checkpoint, f"{PREFIX}.blocks.0", lambda: VisionBlock(CONFIG)) for _ in range(2))
    for layer in (divided.attn.qkv, divided.mlp.fc1):
        layer.weight.mul_(divisors)
    for norm in (divided.norm1, divided.norm2):
        norm.weight.div_(divisors)
        norm.bias.div_(divisors)
    after = quantize_block(block, BlockStatistics.gather(block, states.clone()), divisors)
    before = quantize_block(divided, BlockStatistics.gather(divided, states / divisors), torch.ones(112))
    for part, linear in before.linears.items():
        assert torch.equal(after.linears[part].weight.codes, linear.weight.codes), part


@pytest.mark.parametrize(("loudness", "rotation"), [(1, 1), (300, 32)])
@torch.inference_mode()
def test_fc2_is_rotated_where_units_of_the_mlp_are_loud(
    tiny_checkpoint: Checkpoint, loudness: float, rotation: int
) -> None:
    """A loud unit takes the other units' codes away; what reads it is as much weaker, so the block does the same."""
    block = load_module(tiny_checkpoint, f"{PREFIX}.blocks.0", lambda: VisionBlock(CONFIG))
    block.mlp.fc1.bias[7] += loudness
    block.mlp.fc2.weight[:, 7] /= loudness
    states = torch.randn(1, 65, 112, generator=torch.Generator().manual_seed(0))
    statistics = BlockStatistics.gather(block, states)
    ones = torch.ones(112)
    quantized = quantize_block(block, statistics, ones)

    changed = {f"{PREFIX}.blocks.0.mlp.fc1.bias": block.mlp.fc1.bias.numpy()}
    tower = Overlaid(tiny_checkpoint, ones.numpy(), lambda _: quantized, overlay=changed)
    emulated = load_module(TowerModules(tower), f"{PREFIX}.blocks.0", lambda: VisionBlock(CONFIG))
    chosen, cosines = choose_inner(block, emulated, quantized, statistics.probe, ones)
    assert chosen.linears["mlp.fc2"].rotation == rotation
    assert (chosen.linears["mlp.fc2"].grid is AFTER_GELU) == (rotation == 1)
    assert cosines.mean_cosine > 0.994  # with the loud unit and unrotated 0.9905
    assert cosines.worst_cosine > (0.99 if loudness == 1 else 0.9899)  # in limited pairs 0.98999


def test_a_block_survives_its_file(tower: Int8Tower, tmp_path: Path) -> None:
    block = tower.block(0)
    write_tensors(tmp_path / "block.safetensors", block.to_tensors())
    again = Int8Block.read(tmp_path / "block.safetensors")
    assert again.linears.keys() == block.linears.keys()
    for part, linear in block.linears.items():
        assert torch.equal(again.linears[part].weight.codes, linear.weight.codes)
        assert torch.equal(again.linears[part].weight.scale, linear.weight.scale)
        assert (again.linears[part].grid, again.linears[part].rotation) == (linear.grid, linear.rotation)


# ---- pictures ----


def test_the_built_in_photographs_stand_in_where_the_data_has_none(tmp_path: Path) -> None:
    builtin = calibration_pictures(None)
    assert len(builtin) == 7
    assert all(path.parent == BUILTIN for path in builtin)
    (tmp_path / "text.txt").write_text("no pictures here")
    assert calibration_pictures(tmp_path / "text.txt") == builtin
    (tmp_path / "chats.jsonl").write_text('{"question": "Why?", "answer": "So."}\n')
    assert calibration_pictures(tmp_path / "chats.jsonl") == builtin


def test_a_folder_gives_a_few_of_its_pictures(tmp_path: Path) -> None:
    for number in range(20):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{number:02}.png")
    chosen = calibration_pictures(tmp_path)
    assert len(set(chosen)) == MOST_PICTURES
    assert chosen == calibration_pictures(tmp_path)
    assert len(calibration_pictures(tmp_path / "..")) == MOST_PICTURES  # deeper down as well


# ---- what is said ----


def test_a_block_that_suffers_is_pointed_out(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = [{"worst_cosine": cosine} for cosine in (0.9991, 0.9871, 0.9999, 0.9899)]
    print_tower(Console(width=200), blocks)
    printed = capsys.readouterr().out
    assert "worst token's cosine in calibration 0.9871, in block 2 of 4" in printed
    assert "below 0.99: 2, 4" in printed
    print_tower(Console(width=200), blocks[::2])
    assert "below" not in capsys.readouterr().out


def test_formats(tiny_checkpoint: Checkpoint, tower: Int8Tower) -> None:
    assert tower.format is LinearFormat.INT8
    assert RoundedTower(tiny_checkpoint).format is LinearFormat.BITS8
    modules = layerwise_tower(RoundedTower(tiny_checkpoint), CONFIG)
    assert isinstance(modules, VisionTower)
    assert all(isinstance(block.mlp.fc1, nn.Linear) for block in modules.blocks)
