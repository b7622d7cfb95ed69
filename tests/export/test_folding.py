"""Powers of two in weights: nothing that is computed changes, and what would get lost in fp16 is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.checkpoint.checkpoint import Checkpoint
from export.graphs.decoder import build_decoder
from export.graphs.vision import TOLERANCE, build_vision
from export.parity.bundle_parity import run_decoder
from export.parity.segments import run_segments
from export.reference.activation_ranges import ActivationRanges
from export.reference.layerwise import load_module
from export.reference.model import DecoderLayer, RMSNorm, VisionBlock, VisionTower, causal_mask, rope_tables
from export.weights.decoder_weights import CheckpointWeights, DecoderWeights, FoldedDecoder
from export.weights.folded_tower import FoldedTower, norm_divisor
from export.weights.folding import DecoderFolding, TowerFolding, divided
from export.weights.headroom import Headroom, Part
from export.weights.int8 import Int8Linear
from export.weights.tower_weights import CheckpointTower, TowerLinear, TowerModules, TowerWeights
from export.weights.weight import QuantizedWeight, Weight
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.formats import FP16, FP32
from quantize.gptq.gptq import round_to_nearest
from tests.small_checkpoint import TINY

TOWER = "model.vision_tower"
TOWER_FOLDING = TowerFolding(
    stream=8.0,
    branches={
        f"{TOWER}.blocks.0.attn.proj": 16.0,
        f"{TOWER}.blocks.1.attn.proj": 2.0,
        f"{TOWER}.blocks.1.mlp.fc2": 64.0,
    },
)
DECODER_FOLDING = DecoderFolding(stream=32.0, inner={"model.layers.1.mlp.down_proj": 4.0})
TOKENS = 9


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Checkpoint) -> Checkpoint:
    return tiny_checkpoint


def normal(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def exhaust(stages: Iterable[str]) -> None:
    for _ in stages:
        pass


@dataclasses.dataclass(frozen=True)
class FourBits:
    """The decoder's linear layers in 4 bits."""

    plain: CheckpointWeights

    def linear(self, name: str) -> Weight:
        return round_to_nearest(torch.from_numpy(self.plain.linear(name)), bits=4, group_size=32, sym=False)

    def array(self, name: str) -> NDArray[np.float32]:
        return self.plain.array(name)


# ---- nothing changes ----


def tower_in_float64(weights: TowerWeights) -> VisionTower:
    """The reference with these weights, and norms' epsilons as the graph takes them."""
    config, modules = TINY.vision, TowerModules(weights)
    blocks = [load_module(modules, f"{TOWER}.blocks.{i}", lambda: VisionBlock(config)) for i in range(2)]
    tower = load_module(modules, TOWER, lambda: VisionTower(config, blocks=()))
    tower.blocks = blocks
    for name, module in (("", tower), *((f"blocks.{i}.", block) for i, block in enumerate(blocks))):
        for path, norm in module.named_modules():
            if isinstance(norm, nn.LayerNorm):
                norm.eps = config.layer_norm_eps / norm_divisor(weights, f"{TOWER}.{name}{path}") ** 2
        module.double()
    return tower


@torch.inference_mode()
def test_a_folded_tower_gives_the_same_bits_in_float64(checkpoint: Checkpoint) -> None:
    """And each thing it divides is exactly that divided."""
    pixels = torch.from_numpy(normal(1, 3, 112, 112)).double()
    plain, folded = (
        tower_in_float64(weights)
        for weights in (CheckpointTower(checkpoint), FoldedTower(CheckpointTower(checkpoint), TOWER_FOLDING))
    )
    branches: list[list[Tensor]] = [[], []]
    for tower, seen in zip((plain, folded), branches, strict=True):
        for block in tower.blocks:
            for linear in (block.attn.proj, block.mlp.fc2):
                linear.register_forward_hook(lambda _, __, out, seen=seen: seen.append(out))
    assert torch.equal(folded(pixels), plain(pixels))
    for before, after, divisor in zip(*branches, (16, 1, 2, 64), strict=True):
        assert torch.equal(after, before / divisor)
    assert torch.equal(folded.embed(pixels), plain.embed(pixels) / 8)


def decoder_in_float64(weights: DecoderWeights, stream: float, x: Tensor) -> Tensor:
    """What leaves the last norm, of x (1, tokens, hidden)."""
    config = TINY.decoder
    eps = config.rms_norm_eps / stream**2
    cos, sin = (table.double() for table in rope_tables(config, torch.arange(x.shape[1])))
    x = x / stream
    for index in range(config.num_hidden_layers):
        layer = DecoderLayer(dataclasses.replace(config, rms_norm_eps=eps))
        for name, parameter in layer.named_parameters():
            full = f"model.layers.{index}.{name}"
            if name.endswith("_proj.weight"):
                weight = weights.linear(full.removesuffix(".weight"))
                parameter.data = torch.from_numpy(
                    weight.dequantize() if isinstance(weight, QuantizedWeight) else weight
                )
            else:
                parameter.data = torch.from_numpy(weights.array(full))
        x = layer.double()(x, cos, sin, causal_mask(x.shape[1]))
    norm = RMSNorm(config.hidden_size, eps)
    norm.weight.data = torch.from_numpy(weights.array("model.norm.weight")).double()
    out: Tensor = norm(x)
    return out


@pytest.mark.parametrize("is_quantized", [False, True])
@torch.inference_mode()
def test_a_folded_decoder_gives_the_same_bits_in_float64(checkpoint: Checkpoint, is_quantized: bool) -> None:
    plain = CheckpointWeights(checkpoint)
    weights: DecoderWeights = FourBits(plain) if is_quantized else plain
    x = torch.from_numpy(normal(1, TOKENS, TINY.decoder.hidden_size)).double()
    folded = decoder_in_float64(FoldedDecoder(weights, DECODER_FOLDING), 32.0, x)
    assert torch.equal(folded, decoder_in_float64(weights, 1.0, x))


def test_graphs_of_folded_weights_give_the_same_bits(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """In fp32, where nothing is lost: what the graphs do with the divisors is what the weights need."""
    tower, decoder = CheckpointTower(checkpoint), FourBits(CheckpointWeights(checkpoint))
    feeds, embeddings = {"pixel_values": normal(1, 3, 112, 112)}, normal(TOKENS, TINY.decoder.hidden_size)
    found: list[list[NDArray[Any]]] = []
    for name, folds in (("plain", False), ("folded", True)):
        vision, path = tmp_path / f"{name}-vision.onnx", tmp_path / f"{name}-decoder.onnx"
        exhaust(build_vision(TINY.vision, FoldedTower(tower, TOWER_FOLDING) if folds else tower, vision, FP32))
        weights = FoldedDecoder(decoder, DECODER_FOLDING) if folds else decoder
        exhaust(build_decoder(TINY.decoder, weights, path, FP32, 0))
        found.append([run_segments(vision, feeds)["patches"], run_decoder(TINY.decoder, path, embeddings)])
    for plain, folded in zip(*found, strict=True):
        assert np.array_equal(plain, folded)


def test_without_folding_graphs_are_what_they_were(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """The config's epsilons, no scale behind the input; and dividing by 1 writes the same bytes."""
    tower, decoder = CheckpointTower(checkpoint), CheckpointWeights(checkpoint)
    written = []
    for name, folds in (("plain", False), ("folded", True)):
        (tmp_path / name).mkdir()
        vision, path = tmp_path / name / "vision.onnx", tmp_path / name / "decoder.onnx"
        exhaust(build_vision(TINY.vision, FoldedTower(tower, TowerFolding()) if folds else tower, vision, FP16))
        weights = FoldedDecoder(decoder, DecoderFolding()) if folds else decoder
        exhaust(build_decoder(TINY.decoder, weights, path, FP16, 0))
        written.append([file.read_bytes() for file in sorted((tmp_path / name).iterdir())])
    assert written[0] == written[1]
    epsilons = {"vision": TINY.vision.layer_norm_eps, "decoder": TINY.decoder.rms_norm_eps}
    for graph, eps in epsilons.items():
        model = onnx.load(tmp_path / "plain" / f"{graph}.onnx", load_external_data=False)
        found = {each.f for node in model.graph.node for each in node.attribute if each.name == "epsilon"}
        assert found == {np.float32(eps)}
        assert "stream.scale" not in {tensor.name for tensor in model.graph.initializer}


@dataclasses.dataclass(frozen=True)
class LoudStream(CheckpointTower):
    """A tower with the same answers whose residual stream is 2^13 times as large."""

    def linear(self, name: str) -> TowerLinear:
        quiet = np.float32(2.0**-13 if name.endswith(("attn.qkv", "mlp.fc1")) else 1)
        return self.checkpoint.array(f"{name}.weight") * quiet

    def array(self, name: str) -> NDArray[np.float32]:
        writes = any(part in name for part in ("cls_token", "pos_embed", "patch_embed", "norm1", "norm2"))
        return self.checkpoint.array(name) * np.float32(2.0**13 if writes else 1)


def test_a_stream_beyond_fp16_is_held(checkpoint: Checkpoint, tmp_path: Path) -> None:
    feeds, path = {"pixel_values": normal(1, 3, 112, 112)}, tmp_path / "vision.onnx"
    exhaust(build_vision(TINY.vision, CheckpointTower(checkpoint), path, FP32))
    expected = run_segments(path, feeds)["patches"]
    exhaust(build_vision(TINY.vision, FoldedTower(LoudStream(checkpoint), TowerFolding(2.0**4)), path, FP16))
    found = run_segments(path, feeds, node_by_node=True)["patches"]
    assert np.abs(found - expected).max() < TOLERANCE[FP16] * np.abs(expected).max()
    exhaust(build_vision(TINY.vision, LoudStream(checkpoint), path, FP16))
    with pytest.raises(OmniLMMError, match="gives infinity"):
        run_segments(path, feeds, node_by_node=True)


# ---- what is divided, and by how much ----


def test_the_towers_divisors_by_hand() -> None:
    """2^13 is allowed: 8192 as it is, 8193 halved, 100,000 over 16."""
    sites = {
        f"{TOWER}.stream": 3.0,
        f"{TOWER}.blocks.0.attn.proj": 8192.0,
        f"{TOWER}.blocks.0.mlp.fc2": 8193.0,
        f"{TOWER}.blocks.1.attn.proj": 100_000.0,
        f"{TOWER}.blocks.1.attn.stream": 30_000.0,
        f"{TOWER}.blocks.1.attn.qkv": 90_000.0,
        "model.layers.0.mlp.stream": 1e9,  # the decoder's
    }
    found = TowerFolding.choose(ActivationRanges(sites, 1, 1, 1))
    assert found == TowerFolding(4.0, {f"{TOWER}.blocks.0.mlp.fc2": 2.0, f"{TOWER}.blocks.1.attn.proj": 16.0})
    divisors = [found.divisor(site) for site in sites if site.startswith(TOWER)]
    assert divisors == [4, 1, 2, 16, 4, 1]
    assert found.divisor(f"{TOWER}.blocks.0.norm1") == found.divisor(f"{TOWER}.patch_embed.proj") == 4


def test_the_decoders_divisors_by_hand() -> None:
    sites = {
        "model.embed_tokens": 1.0,
        "model.layers.0.self_attn.o_proj": 20_000.0,
        "model.layers.0.self_attn.stream": 9000.0,
        "model.layers.0.mlp.up_proj": 10.0,
        "model.layers.0.mlp.down_proj.input": 70_000.0,
        "model.layers.0.mlp.down_proj": 30_000.0,
        "model.layers.1.mlp.up_proj": 40_000.0,
        "model.layers.1.mlp.down_proj.input": 10.0,
        "model.resampler.attn.out_proj": 80_000.0,
        f"{TOWER}.stream": 1e9,  # the tower's
        "lm_head": 90_000.0,
    }
    found = DecoderFolding.choose(ActivationRanges(sites, 1, 1, 1))
    assert found == DecoderFolding(4.0, {"model.layers.0.mlp.down_proj": 16.0, "model.layers.1.mlp.down_proj": 8.0})
    assert [found.divisor(site) for site in sites if not site.startswith(TOWER)] == [4, 4, 4, 16, 16, 4, 8, 8, 1, 1]


class Fixed:
    """Every tensor of a decoder is the same one."""

    def __init__(self, weight: Weight) -> None:
        self.weight = weight

    def linear(self, name: str) -> Weight:
        return self.weight

    def array(self, name: str) -> NDArray[np.float32]:
        return np.ones(2, dtype=np.float32)


def test_each_layer_of_the_decoder_takes_its_part() -> None:
    """Into down_proj goes 1/4, out of it is to come 1/32: it is divided by 8 itself."""
    folded = FoldedDecoder(Fixed(np.full((1, 1), 32.0, dtype=np.float32)), DECODER_FOLDING)
    by_layer = {
        "self_attn.q_proj": 32,
        "self_attn.o_proj": 1,
        "mlp.gate_proj": 32,
        "mlp.up_proj": 8,
        "mlp.down_proj": 4,
    }
    for name, expected in by_layer.items():
        assert folded.linear(f"model.layers.1.{name}") == expected, name
    assert folded.linear("model.layers.0.mlp.up_proj") == 32
    assert folded.linear("model.layers.0.mlp.down_proj") == 1
    assert folded.linear("lm_head") == 32


# ---- what fp16 can't hold ----


def test_a_weight_that_stays_normal_is_divided() -> None:
    weight = np.asarray([[1.0, -0.5], [2.0**-10, 3.0]], dtype=np.float32)
    assert np.array_equal(np.asarray(divided(weight, 16.0, "w")), weight / 16)  # 2^-14 is the smallest normal one


@pytest.mark.parametrize(("size", "is_lost"), [(2.0**-6, False), (2.0**-16, True), (30_000.0, False)])
def test_small_weights_that_would_lose_their_bits_are_refused(size: float, is_lost: bool) -> None:
    """Over 64: 2^-12 keeps its 11 bits, 2^-22 has 3 left; what is beyond fp16 comes into it. The few that are far
    smaller than all others don't count."""
    weight = size * (1 + np.abs(normal(64, 64)))
    weight[:2] *= 2.0**-14
    if is_lost:
        with pytest.raises(InputError, match=r"^w: .* divided by 64, .*--preset cpu"):
            divided(weight, 64.0, "w")
    else:
        assert np.array_equal(np.asarray(divided(weight, 64.0, "w")), weight / 64)


def test_a_weight_that_would_overflow_is_refused() -> None:
    with pytest.raises(InputError, match=r"^w: .* divided by 0\.25, "):
        divided(np.full((2, 2), 20_000.0, dtype=np.float32), 0.25, "w")


@pytest.mark.parametrize("bits", [4, 8])
def test_of_quantized_weights_the_scales_are_divided(bits: int) -> None:
    """8 bits lose a scale's last digits sooner, as they stand for smaller steps: 127 of them make a weight."""
    weight = round_to_nearest(torch.from_numpy(0.02 * normal(64, 128)), bits=bits, group_size=32, sym=False)
    folded = divided(weight, 4.0, "w")
    assert isinstance(folded, QuantizedWeight)
    assert np.array_equal(folded.scales, weight.scales / 4)
    assert np.array_equal(folded.codes, weight.codes)
    assert np.array_equal(folded.zeros, weight.zeros)
    stored = dataclasses.replace(folded, scales=folded.scales.astype(np.float16).astype(np.float32))
    moved = np.linalg.norm(4 * stored.dequantize() - weight.dequantize())
    assert moved < 0.5 * np.linalg.norm(weight.scales) * np.sqrt(32 / 12)  # half of rounding's own error
    for divisor in (2.0**16, 2.0**-30):
        with pytest.raises(InputError, match=r"^w: "):
            divided(weight, divisor, "w")


def test_a_towers_layers_are_looked_at_before_any_graph(checkpoint: Checkpoint) -> None:
    tower = FoldedTower(CheckpointTower(checkpoint), TOWER_FOLDING)
    tower.check(blocks=2)
    faint = dataclasses.replace(tower, folding=TowerFolding(1.0, {f"{TOWER}.blocks.1.mlp.fc2": 2.0**18}))
    faint.check(blocks=1)
    with pytest.raises(InputError, match=r"^model\.vision_tower\.blocks\.1\.mlp\.fc2: "):
        faint.check(blocks=2)
    stream = FoldedTower(LoudStream(checkpoint), TowerFolding(2.0**30))  # what reads it takes that, what writes it not
    for blocks, name in ((1, "blocks.0.norm1"), (0, "patch_embed.proj")):
        with pytest.raises(InputError, match=rf"^{TOWER}\.{name}\.weight: "):
            stream.check(blocks)


@dataclasses.dataclass(frozen=True)
class Int8Tower(CheckpointTower):
    def linear(self, name: str) -> TowerLinear:
        return Int8Linear.round(torch.from_numpy(self.array(f"{name}.weight")))


def test_int8_is_not_folded(checkpoint: Checkpoint) -> None:
    with pytest.raises(OmniLMMError, match="int8"):
        FoldedTower(Int8Tower(checkpoint), TowerFolding()).linear(f"{TOWER}.blocks.0.attn.qkv")


# ---- what nothing can be done about ----

QUIET = {f"{TOWER}.stream": 1.0, "model.resampler.proj": 1.0, "lm_head": 1.0}


@pytest.mark.parametrize(
    "site",
    [
        f"{TOWER}.blocks.0.attn.qkv",
        f"{TOWER}.blocks.0.attn.logits",
        f"{TOWER}.blocks.0.mlp.fc1",
        f"{TOWER}.norm",
        "model.resampler.kv_proj",
        "model.resampler.attn.out_proj",
        "model.layers.0.self_attn.q_proj",
        "model.layers.0.self_attn.logits",
        "model.layers.0.mlp.gate_proj",
        "model.norm",
        "lm_head",
    ],
)
def test_a_number_that_cannot_be_folded_is_refused_by_name(site: str) -> None:
    Headroom.choose(ActivationRanges(QUIET | {site: 8192.0}, 1, 1, 1))
    with pytest.raises(InputError) as caught:
        Headroom.choose(ActivationRanges(QUIET | {site: 9000.4}, 1, 1, 1))
    assert str(caught.value) == (
        f"{site}: values up to 9000 were seen there in calibration, and graphs in fp16 (up to 65504) are made for up "
        "to 8192: take --preset cpu for this checkpoint, and report it"
    )


def test_what_the_manifest_says() -> None:
    loud = QUIET | {f"{TOWER}.blocks.0.attn.proj": 65504.0, f"{TOWER}.blocks.0.attn.qkv": 5000.0, "lm_head": 16.0}
    found = Headroom.choose(ActivationRanges(loud, pictures=3, sequences=2, tokens=10)).to_dict()
    assert found["worst"] == {
        "tower": {"site": f"{TOWER}.blocks.0.attn.proj", "largest": 65504.0, "divisor": 8.0, "headroom": 8.0},
        "resampler": {"site": "model.resampler.proj", "largest": 1.0, "divisor": 1.0, "headroom": 65504.0},
        "decoder": {"site": "lm_head", "largest": 16.0, "divisor": 1.0, "headroom": 4094.0},
    }
    assert found["tower"] == {"stream": 1.0, "branches": {f"{TOWER}.blocks.0.attn.proj": 8.0}}
    assert [found[name] for name in ("pictures", "sequences", "tokens")] == [3, 2, 10]


def test_embeddings_that_the_streams_divisor_would_lose() -> None:
    table = torch.from_numpy(2.0**-10 * (1 + np.abs(normal(70, 8))))
    quiet = Headroom.choose(ActivationRanges(QUIET, 1, 1, 1))
    quiet.check_embeddings(table)
    loud = Headroom.choose(ActivationRanges(QUIET | {"model.layers.0.mlp.stream": 2.0**26}, 1, 1, 1))
    assert loud.in_graph(loud.worst(Part.DECODER)) == 8192
    with pytest.raises(InputError, match=r"^model\.embed_tokens\.weight: "):
        loud.check_embeddings(table)
