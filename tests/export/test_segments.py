"""Graphs run segment by segment against the same graphs run whole."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper

from export.checkpoint.checkpoint import Checkpoint
from export.graphs.decoder import CheckpointWeights, build_decoder
from export.graphs.graph import SEAMS, GraphBuilder
from export.graphs.prefill import build_prefill
from export.graphs.resampler import build_resampler
from export.graphs.vision import build_vision
from export.parity.bundle_parity import run_decoder
from export.parity.segments import open_segments, run_segments
from export.weights.int8 import Int8Linear
from export.weights.tower_weights import CheckpointTower, TowerLinear
from export.weights.weight import Weight
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine.decoder_graphs import DecoderGraphs
from omnilmm_lite.engine.device import open_session
from omnilmm_lite.engine.graph_decoder import GraphDecoder
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.formats import FP16, FP32, FP32_FROM_FP16, LinearFormat, Precision
from quantize.gptq.gptq import round_to_nearest
from tests.small_checkpoint import TINY, write_checkpoint

# More blocks and layers than one of each kind, and a window shorter than the prompt.
DEEPER = dataclasses.replace(
    TINY,
    vision=dataclasses.replace(TINY.vision, num_hidden_layers=3),
    decoder=dataclasses.replace(TINY.decoder, num_hidden_layers=4, sliding_window=12),
)
TOKENS = 20
FP16_ROUNDING = 5e-3  # a few of its steps, 2^-11 each, at every seam


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return Checkpoint.open(write_checkpoint(tmp_path_factory.mktemp("segments") / "checkpoint", size=DEEPER))


@dataclasses.dataclass(frozen=True)
class FourBits:
    """Every linear layer of the decoder in 4 bits."""

    plain: CheckpointWeights

    def linear(self, name: str) -> Weight:
        return round_to_nearest(torch.from_numpy(self.plain.linear(name)), bits=4, group_size=32, sym=False)

    def array(self, name: str) -> NDArray[np.float32]:
        return self.plain.array(name)


@dataclasses.dataclass(frozen=True)
class Int8Tower(CheckpointTower):
    format: LinearFormat = LinearFormat.INT8

    def linear(self, name: str) -> TowerLinear:
        return Int8Linear.round(torch.from_numpy(self.array(f"{name}.weight")), rotation=16)


def exhaust(stages: Iterable[str]) -> None:
    for _ in stages:
        pass


def normal(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def run_whole(path: Path, feeds: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
    session = open_session(path, Device.CPU)
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def run_decoder_whole(path: Path, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """As the runtime does: past and present are the same buffers."""
    session = open_session(path, Device.CPU)
    decoder = GraphDecoder(DecoderGraphs(DEEPER.decoder, lambda: session, Device.CPU, context=len(embeddings)))
    keys = range(len(embeddings))
    first = decoder.prefill_logits(keys[:-1], embeddings[:-1])
    return np.concatenate([first, decoder.decode(keys[-1], embeddings[-1:])[None]])


# ---- the numbers ----


@pytest.mark.parametrize("precision", [FP32, FP32_FROM_FP16], ids=str)
@pytest.mark.parametrize("tower", [CheckpointTower, Int8Tower])
def test_the_tower_gives_the_same_bits(
    checkpoint: Checkpoint, tmp_path: Path, tower: type[CheckpointTower], precision: Precision
) -> None:
    path = tmp_path / "vision.onnx"
    exhaust(build_vision(DEEPER.vision, tower(checkpoint), path, precision))
    feeds = {"pixel_values": normal(2, 3, 112, 112)}
    segments = 0

    def count() -> None:
        nonlocal segments
        segments += 1

    found = run_segments(path, feeds, count)
    assert list(found) == ["patches"]
    assert np.array_equal(found["patches"], run_whole(path, feeds)["patches"])
    assert segments == 1 + DEEPER.vision.num_hidden_layers + 1


def test_a_graph_without_seams_is_one_piece(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "resampler.onnx"
    build_resampler(checkpoint, path, FP32)
    feeds = {"patches": normal(1, 64, 112)}
    assert np.array_equal(run_segments(path, feeds)["features"], run_whole(path, feeds)["features"])
    assert sum(1 for _ in open_segments(path)) == 1


@pytest.mark.parametrize("accuracy_level", [0, 4])
def test_a_4_bit_decoder_gives_the_same_bits(checkpoint: Checkpoint, tmp_path: Path, accuracy_level: int) -> None:
    path = tmp_path / "decoder.onnx"
    weights = FourBits(CheckpointWeights(checkpoint))
    exhaust(build_decoder(DEEPER.decoder, weights, path, FP32_FROM_FP16, accuracy_level))
    embeddings = normal(TOKENS, DEEPER.decoder.hidden_size)
    assert np.array_equal(run_decoder(DEEPER.decoder, path, embeddings), run_decoder_whole(path, embeddings))


def test_an_int8_prefill_graph_gives_the_same_bits(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "prefill.onnx"
    weights = FourBits(CheckpointWeights(checkpoint))
    exhaust(build_prefill(DEEPER.decoder, weights, path, FP32_FROM_FP16))
    embeddings = normal(TOKENS, DEEPER.decoder.hidden_size)
    assert np.array_equal(run_decoder(DEEPER.decoder, path, embeddings), run_decoder_whole(path, embeddings))


def test_fp16_graphs_differ_by_their_rounding(checkpoint: Checkpoint, tmp_path: Path) -> None:
    vision, decoder = tmp_path / "vision.onnx", tmp_path / "decoder.onnx"
    exhaust(build_vision(DEEPER.vision, CheckpointTower(checkpoint), vision, FP16))
    exhaust(build_decoder(DEEPER.decoder, CheckpointWeights(checkpoint), decoder, FP16, 0))
    feeds = {"pixel_values": normal(1, 3, 112, 112)}
    embeddings = normal(TOKENS, DEEPER.decoder.hidden_size)
    pairs = [
        (run_segments(vision, feeds)["patches"], run_whole(vision, feeds)["patches"]),
        (run_decoder(DEEPER.decoder, decoder, embeddings), run_decoder_whole(decoder, embeddings)),
    ]
    for found, expected in pairs:
        assert np.abs(found - expected).max() <= FP16_ROUNDING * np.abs(expected).max()


@pytest.mark.parametrize("picture_count", [1, 2])
def test_node_by_node_gives_the_same_tower(checkpoint: Checkpoint, tmp_path: Path, picture_count: int) -> None:
    """In fp32 to the last digits, as nothing is fused across nodes; seams and what crosses them stay."""
    path = tmp_path / "vision.onnx"
    exhaust(build_vision(DEEPER.vision, CheckpointTower(checkpoint), path, FP32))
    feeds = {"pixel_values": normal(picture_count, 3, 112, 112)}
    segments = 0

    def count() -> None:
        nonlocal segments
        segments += 1

    found = run_segments(path, feeds, count, node_by_node=True)
    assert list(found) == ["patches"]
    np.testing.assert_allclose(found["patches"], run_whole(path, feeds)["patches"], atol=1e-5)
    assert segments == 1 + DEEPER.vision.num_hidden_layers + 1


def test_node_by_node_fp16_graphs_differ_by_their_rounding(checkpoint: Checkpoint, tmp_path: Path) -> None:
    decoder, resampler = tmp_path / "decoder.onnx", tmp_path / "resampler.onnx"
    exhaust(build_decoder(DEEPER.decoder, FourBits(CheckpointWeights(checkpoint)), decoder, FP16, 0))
    build_resampler(checkpoint, resampler, FP16)
    embeddings, feeds = normal(TOKENS, DEEPER.decoder.hidden_size), {"patches": normal(1, 64, 112)}
    pairs = [
        (run_decoder(DEEPER.decoder, decoder, embeddings, node_by_node=True), run_decoder_whole(decoder, embeddings)),
        (run_segments(resampler, feeds, node_by_node=True)["features"], run_whole(resampler, feeds)["features"]),
    ]
    for found, expected in pairs:
        assert np.abs(found - expected).max() <= FP16_ROUNDING * np.abs(expected).max()


# ---- overflow ----


@pytest.mark.parametrize(("loudest", "quiet_again"), [("MatMul", 5625), ("Add", 5626.5)])
def test_an_overflow_that_a_run_hides_shows_node_by_node(tmp_path: Path, loudest: str, quiet_again: float) -> None:
    """A product of 300 x 300 = 90,000, or 300 x 150 + 45,024 = 90,024; what follows divides either by 16."""
    path = tmp_path / "loud.onnx"
    with GraphBuilder(path, FP16) as graph:
        x = graph.op("Cast", graph.input("x", TensorProto.FLOAT, [1, 1]), to=TensorProto.FLOAT16)
        if loudest == "MatMul":
            loud = graph.op("MatMul", x, graph.weight("w", np.full((1, 1), 300.0)), name="loud")
        else:
            product = graph.op("MatMul", x, graph.weight("w", np.full((1, 1), 150.0)))
            loud = graph.op("Add", product, graph.weight("b", np.full(1, 45_024.0)), name="loud")
        quiet = graph.op("Mul", loud, graph.weight("sixteenth", np.full(1, 1 / 16)))
        graph.output("y", quiet, TensorProto.FLOAT, [1, 1])
        graph.save()
    feeds = {"x": np.full((1, 1), 300.0, dtype=np.float32)}
    assert run_whole(path, feeds)["y"] == quiet_again  # as no card would answer, which keeps it in fp16 between the two
    assert run_segments(path, feeds)["y"] == quiet_again
    with pytest.raises(OmniLMMError, match=r"loud\.onnx, segment 1, node loud: gives infinity"):
        run_segments(path, feeds, node_by_node=True)
    quieter = {"x": np.full((1, 1), 100.0, dtype=np.float32)}
    found = run_segments(path, quieter, node_by_node=True)["y"]
    assert found == pytest.approx(run_whole(path, quieter)["y"], rel=2**-11)


# ---- what is loaded ----


def test_one_piece_is_loaded_at_a_time(checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while the caller's loop still holds the segment before; and no segment brings another's weights."""
    path = tmp_path / "decoder.onnx"
    exhaust(build_decoder(DEEPER.decoder, FourBits(CheckpointWeights(checkpoint)), path, FP32_FROM_FP16, 4))
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    brought: list[set[str]] = []

    class Watched(onnxruntime.InferenceSession):  # type: ignore[misc]
        def __init__(self, model: bytes, *args: Any, **kwargs: Any) -> None:
            assert not alive
            alive.add(self)
            tensors = onnx.load_from_string(model).graph.initializer
            brought.append({tensor.name for tensor in tensors if tensor.name.startswith(("model.", "lm_head"))})
            super().__init__(model, *args, **kwargs)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Watched)
    run_decoder(DEEPER.decoder, path, normal(TOKENS, DEEPER.decoder.hidden_size))
    assert not alive
    places = [{".".join(name.split(".")[:3]) for name in names} for names in brought]
    layers = DEEPER.decoder.num_hidden_layers
    assert places[:layers] == [{f"model.layers.{i}"} for i in range(layers)]
    assert len(places) == layers + 1
    assert "lm_head.qweight" in brought[-1]


def test_the_session_is_freed_where_the_loop_is_left(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "vision.onnx"
    exhaust(build_vision(DEEPER.vision, CheckpointTower(checkpoint), path, FP32))
    segments = open_segments(path)
    session = weakref.ref(next(segments)._runs[0].session)
    del segments
    assert session() is None


# ---- values that cross ----


def chain(path: Path) -> None:
    """Three segments; `sum` leaves the graph and is read on, `wide` passes over the second segment, and is fp16."""
    with GraphBuilder(path, FP32) as graph:
        x = graph.input("x", TensorProto.FLOAT, ["batch", 2])
        wide = graph.op("Cast", x, to=TensorProto.FLOAT16)
        total = graph.op("Add", x, x, name="sum")
        graph.declare_output("sum", TensorProto.FLOAT, ["batch", 2])
        graph.seam()
        product = graph.op("Mul", total, x)
        graph.seam()
        total = graph.op("Add", product, graph.op("Cast", wide, to=TensorProto.FLOAT))
        graph.output("y", total, TensorProto.FLOAT, ["batch", 2])
        graph.save()


def test_values_live_as_long_as_a_piece_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "chain.onnx"
    chain(path)
    values: dict[str, NDArray[Any]] = {"x": np.asarray([[1, 3]], dtype=np.float32)}
    held, types, shapes = [], [], []
    for segment in open_segments(path):
        values = segment.run(values)
        held.append(set(values))
        types.append(dict(segment.inputs))
        shapes.append({tuple(item.shape) for item in segment._runs[0].session.get_inputs()})
    assert held == [{"x", "sum", "Cast_1"}, {"sum", "Cast_1", "Mul_1"}, {"sum", "y"}]
    assert types[2] == {"Mul_1": np.float32, "Cast_1": np.float16}
    assert shapes == [{("batch", 2)}] * 3  # what onnxruntime fuses depends on the shapes that it knows
    assert values["y"].tolist() == [[3, 21]]  # 2 x^2 + x
    assert values["sum"].tolist() == [[2, 6]]


@pytest.mark.parametrize("seams", ["1 1", "3 2", "0", "6", "99"])
def test_seams_that_do_not_fit_the_graph(tmp_path: Path, seams: str) -> None:
    path = tmp_path / "chain.onnx"
    chain(path)
    model = onnx.load(path)
    helper.set_model_props(model, {SEAMS: seams})
    onnx.save(model, path)
    with pytest.raises(OmniLMMError, match=r"chain\.onnx: seams"):
        next(open_segments(path))


def test_a_piece_that_cannot_be_loaded(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "vision.onnx"
    exhaust(build_vision(DEEPER.vision, CheckpointTower(checkpoint), path, FP32))
    (tmp_path / "vision.onnx.data").unlink()
    with pytest.raises(OmniLMMError, match=r"vision\.onnx, segment 1"):
        run_segments(path, {"pixel_values": normal(1, 3, 112, 112)})
