"""The three graphs, in every precision that a preset uses, against the reference model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from export.checkpoint.checkpoint import Checkpoint
from export.graphs import decoder as decoder_graph
from export.graphs import resampler as resampler_graph
from export.graphs import vision as vision_graph
from export.graphs.decoder import CheckpointWeights, build_decoder, stack
from export.graphs.graph import CONTRIB, GraphBuilder
from export.graphs.resampler import build_resampler
from export.graphs.vision import build_vision
from export.reference.layerwise import layerwise_model
from export.reference.model import OmniLMM
from export.weights.tower_weights import CheckpointTower
from export.weights.weight import QuantizedWeight, Weight
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine.decoder_graphs import DecoderGraphs
from omnilmm_lite.engine.device import open_session
from omnilmm_lite.engine.graph_decoder import GraphDecoder
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.formats import FP16, FP32, FP32_FROM_FP16, Precision
from quantize.gptq.gptq import round_to_nearest
from tests.small_checkpoint import TINY, Form, write_checkpoint

PRECISIONS = pytest.mark.parametrize("precision", [FP32, FP32_FROM_FP16, FP16], ids=str)
# A window shorter than the prompts below, so that what the operator makes of it shows in the logits.
WINDOWED = dataclasses.replace(TINY, decoder=dataclasses.replace(TINY.decoder, sliding_window=12))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp("graphs") / "checkpoint"
    return Checkpoint.open(write_checkpoint(folder, form=Form.SAFETENSORS, size=WINDOWED))


@pytest.fixture(scope="module")
def reference(checkpoint: Checkpoint) -> Iterator[OmniLMM]:
    with torch.inference_mode():
        yield layerwise_model(checkpoint)


@dataclasses.dataclass(frozen=True)
class RoundedWeights:
    """The checkpoint's decoder with every linear layer but lm_head rounded to 4 bits."""

    plain: CheckpointWeights
    group_size: int
    sym: bool

    def linear(self, name: str) -> Weight:
        weight = self.plain.linear(name)
        if name == "lm_head":
            return weight
        return round_to_nearest(torch.from_numpy(weight), bits=4, group_size=self.group_size, sym=self.sym)

    def array(self, name: str) -> NDArray[np.float32]:
        return self.plain.array(name)


def relative(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def normal(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


# ---- vision and resampler ----


@PRECISIONS
def test_vision_tower_for_one_picture_and_for_two(
    checkpoint: Checkpoint, reference: OmniLMM, tmp_path: Path, precision: Precision
) -> None:
    for _ in build_vision(checkpoint.config.vision, CheckpointTower(checkpoint), tmp_path / "vision.onnx", precision):
        pass
    session = open_session(tmp_path / "vision.onnx", Device.CPU)
    pixels = normal(2, 3, 112, 112)
    expected = reference.model.vision_tower(torch.from_numpy(pixels)).numpy()
    (both,) = session.run(["patches"], {"pixel_values": pixels})
    (first,) = session.run(["patches"], {"pixel_values": pixels[:1]})
    assert relative(both, expected) < vision_graph.TOLERANCE[precision]
    assert relative(first, expected[:1]) < vision_graph.TOLERANCE[precision]


@PRECISIONS
def test_resampler_for_one_picture_and_for_two(
    checkpoint: Checkpoint, reference: OmniLMM, tmp_path: Path, precision: Precision
) -> None:
    build_resampler(checkpoint, tmp_path / "resampler.onnx", precision)
    session = open_session(tmp_path / "resampler.onnx", Device.CPU)
    patches = normal(2, 64, 112)
    expected = reference.model.resampler(torch.from_numpy(patches)).numpy()
    (both,) = session.run(["features"], {"patches": patches})
    (first,) = session.run(["features"], {"patches": patches[:1]})
    assert relative(both, expected) < resampler_graph.TOLERANCE[precision]
    assert relative(first, expected[:1]) < resampler_graph.TOLERANCE[precision]


# ---- decoder ----


def run_decoder(path: Path, ids: list[int], embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits of all positions, (tokens, vocab): two thirds as a prompt, the rest token by token."""
    session = open_session(path, Device.CPU)
    decoder = GraphDecoder(DecoderGraphs(WINDOWED.decoder, lambda: session, Device.CPU, context=64))
    prompt = len(ids) * 2 // 3
    rows = [decoder.prefill_logits(ids[:prompt], embeddings[:prompt])]
    rows += [decoder.decode(ids[i], embeddings[i : i + 1])[None] for i in range(prompt, len(ids))]
    return np.concatenate(rows)


@dataclasses.dataclass(frozen=True)
class ShortHead:
    """A vocabulary that 8 doesn't divide, with lm_head in 8 bits."""

    plain: CheckpointWeights
    vocab_size: int

    def linear(self, name: str) -> Weight:
        if name != "lm_head":
            return self.plain.linear(name)
        weight = torch.from_numpy(self.plain.array("lm_head.weight")[: self.vocab_size])
        return round_to_nearest(weight, bits=8, group_size=32, sym=False)

    def array(self, name: str) -> NDArray[np.float32]:
        return self.plain.array(name)


def test_a_quantized_head_is_padded_to_a_width_that_cuda_is_fast_with(
    checkpoint: Checkpoint, reference: OmniLMM, tmp_path: Path
) -> None:
    vocab_size, ids = 1021, [1, *range(500, 510)]
    weights = ShortHead(CheckpointWeights(checkpoint), vocab_size)
    path = tmp_path / "decoder.onnx"
    config = dataclasses.replace(checkpoint.config.decoder, vocab_size=vocab_size)
    for _ in build_decoder(config, weights, path, FP32, accuracy_level=0):
        pass
    (head,) = (node for node in onnx.load(path, load_external_data=False).graph.node if node.op_type == "MatMulNBits")
    assert {each.name: each.i for each in head.attribute}["N"] == 1024
    rows = reference.embed(torch.tensor([ids]))[0].numpy()
    session = open_session(path, Device.CPU)
    found = GraphDecoder(DecoderGraphs(config, lambda: session, Device.CPU, context=64)).prefill_logits(ids, rows)
    expected = reference(torch.tensor([ids]))[0].numpy()[:, :vocab_size]
    assert found.shape == expected.shape
    assert relative(found, expected) < 1e-2  # 8 bits of rounding


@PRECISIONS
def test_decoder_beyond_its_sliding_window(
    checkpoint: Checkpoint, reference: OmniLMM, tmp_path: Path, precision: Precision
) -> None:
    ids = [1, *range(500, 540)]
    path = tmp_path / "decoder.onnx"
    for _ in build_decoder(checkpoint.config.decoder, CheckpointWeights(checkpoint), path, precision, accuracy_level=0):
        pass
    found = run_decoder(path, ids, reference.embed(torch.tensor([ids]))[0].numpy())
    expected = reference(torch.tensor([ids]))[0].numpy()
    assert relative(found, expected) < decoder_graph.TOLERANCE[precision]


@pytest.mark.parametrize("sym", [True, False])
@pytest.mark.parametrize(
    ("group_size", "accuracy_level", "tolerance"),
    [(128, 0, decoder_graph.TOLERANCE[FP32]), (32, 4, decoder_graph.TOLERANCE_INT8_ACTIVATIONS)],
)
def test_quantized_decoder_equals_its_dequantized_weights(
    checkpoint: Checkpoint, tmp_path: Path, sym: bool, group_size: int, accuracy_level: int, tolerance: float
) -> None:
    weights = RoundedWeights(CheckpointWeights(checkpoint), group_size, sym)
    path = tmp_path / "decoder.onnx"
    for _ in build_decoder(checkpoint.config.decoder, weights, path, FP32, accuracy_level):
        pass
    with torch.inference_mode():
        model = checkpoint.module(OmniLMM(checkpoint.config), "")
        for name, module in model.model.get_submodule("layers").named_modules():
            if isinstance(module, torch.nn.Linear):
                weight = weights.linear(f"model.layers.{name}")
                assert isinstance(weight, QuantizedWeight)
                module.weight.copy_(torch.from_numpy(weight.dequantize()))
        ids = [1, *range(500, 540)]
        expected = model(torch.tensor([ids]))[0].numpy()
        found = run_decoder(path, ids, model.embed(torch.tensor([ids]))[0].numpy())
    assert relative(found, expected) < tolerance


def test_stacking_refuses_layers_that_cannot_be_one_product() -> None:
    coarse, fine = (
        round_to_nearest(torch.from_numpy(normal(4, 64)), bits=4, group_size=size, sym=True) for size in (64, 32)
    )
    with pytest.raises(OmniLMMError, match="group_size"):
        stack([coarse, fine])
    with pytest.raises(OmniLMMError, match="group_size"):
        stack([coarse, coarse.dequantize()])


# ---- structure ----


@PRECISIONS
def test_graphs_are_valid_and_hold_no_large_weight_inline(
    checkpoint: Checkpoint, tmp_path: Path, precision: Precision
) -> None:
    vision, resampler, decoder = (tmp_path / f"{name}.onnx" for name in ("vision", "resampler", "decoder"))
    weights = RoundedWeights(CheckpointWeights(checkpoint), 32, sym=False)
    for _ in build_vision(checkpoint.config.vision, CheckpointTower(checkpoint), vision, precision):
        pass
    build_resampler(checkpoint, resampler, precision)
    for _ in build_decoder(checkpoint.config.decoder, weights, decoder, precision, 0):
        pass
    for path in (vision, resampler, decoder):
        if path != decoder:  # onnx doesn't know onnxruntime's SimplifiedLayerNormalization
            onnx.checker.check_model(path)  # by path: it also finds the external data
        model = onnx.load(path, load_external_data=False)
        assert path.stat().st_size < 200_000
        for tensor in model.graph.initializer:
            external = {entry.key: entry.value for entry in tensor.external_data}
            assert external.get("location", f"{path.name}.data") == f"{path.name}.data"
        if precision == FP16:
            assert not [t.name for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT]


def test_decoder_never_passes_group_indices(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """MatMulNBits with g_idx and packed zero points answers wrongly on the CPU."""
    path = tmp_path / "decoder.onnx"
    weights = RoundedWeights(CheckpointWeights(checkpoint), 32, sym=False)
    for _ in build_decoder(checkpoint.config.decoder, weights, path, FP32, 4):
        pass
    nodes = [node for node in onnx.load(path, load_external_data=False).graph.node if node.op_type == "MatMulNBits"]
    assert len(nodes) == 4 * checkpoint.config.decoder.num_hidden_layers  # qkv, o, gate and up, down
    assert all(node.domain == CONTRIB and len(node.input) == 4 for node in nodes)


@pytest.mark.parametrize(("value", "precision", "advice"), [
    (np.nan, FP32, "damaged"), (np.inf, FP16, "damaged"), (-np.inf, FP32_FROM_FP16, "damaged"),
    (1e5, FP16, "--preset reference"), (1e5, FP32_FROM_FP16, "--preset reference"),
])  # fmt: skip
def test_a_weight_that_no_format_holds(value: float, precision: Precision, advice: str, tmp_path: Path) -> None:
    """`reference` is no way out where even fp32 has no such number."""
    with GraphBuilder(tmp_path / "x.onnx", precision) as graph, pytest.raises(InputError, match=advice) as caught:
        graph.weight("a.weight", np.asarray([1.0, value], np.float32))
    assert str(caught.value).startswith("a.weight holds ")
