"""The decoder's int8 graph for prompts, beside the one that decodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from export.checkpoint.checkpoint import Checkpoint
from export.graphs.decoder import CheckpointWeights, DecoderWeights, build_decoder
from export.graphs.prefill import TOLERANCE, build_prefill, int8_layer
from export.parity.bundle_parity import ParityError, run_decoder, run_int8_prefill
from export.parity.decoder_parity import Replacement, RoundedPrompts, decoder_logits
from export.reference.layerwise import layerwise_model
from export.weights.rotation import rotate
from export.weights.weight import Weight
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine.decoder import SHORTEST_PREFILL
from omnilmm_lite.engine.decoder_graphs import DecoderGraphs
from omnilmm_lite.engine.device import open_session
from omnilmm_lite.engine.graph_decoder import GraphDecoder
from omnilmm_lite.formats import FP32
from quantize.head import RoundedHead
from tests.engine.test_decoder import WatchedSession

Array = NDArray[np.float32]
# Both sides of every product are rounded to 1/127 of the largest value near them: a percent or two of the logits.
INT8_ERROR = 0.05


@pytest.fixture(scope="module")
def graphs(tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("graphs")
    config, original = tiny_checkpoint.config.decoder, CheckpointWeights(tiny_checkpoint)
    for _ in build_decoder(config, original, folder / "decoder.onnx", FP32, accuracy_level=0):
        pass
    for _ in build_prefill(config, original, folder / "prefill.onnx", FP32):
        pass
    return folder


@pytest.fixture(scope="module")
def embeddings(tiny_checkpoint: Checkpoint) -> Array:
    """(tokens, hidden), with one channel ten times as loud as the others."""
    shape = (24, tiny_checkpoint.config.decoder.hidden_size)
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    values[:, 5] *= 10
    return values


def expected(checkpoint: Checkpoint, form: Replacement, embeddings: Array) -> Array:
    with torch.inference_mode():
        streams = decoder_logits(
            layerwise_model(checkpoint), {"form": form}, torch.from_numpy(embeddings)[None], lambda line: None
        )
    return streams["form"]


def relative(found: Array, wanted: Array) -> float:
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def watched(graphs: Path) -> Any:
    """The sessions for prefill and for decode."""
    return tuple(
        WatchedSession(open_session(graphs / name, Device.CPU, 1)) for name in ("prefill.onnx", "decoder.onnx")
    )


def two_graphs(checkpoint: Checkpoint, prefill: Any, decode: Any) -> GraphDecoder:
    return GraphDecoder(
        DecoderGraphs(checkpoint.config.decoder, lambda: decode, Device.CPU, 64, open_prefill=lambda: prefill)
    )


def test_the_graph_computes_what_torch_computes_with_the_same_integers(
    tiny_checkpoint: Checkpoint, graphs: Path, embeddings: Array
) -> None:
    original = CheckpointWeights(tiny_checkpoint)
    found = run_decoder(tiny_checkpoint.config.decoder, graphs / "prefill.onnx", embeddings)
    emulated = expected(tiny_checkpoint, RoundedPrompts(original), embeddings)
    exact = expected(tiny_checkpoint, lambda name: None, embeddings)
    assert relative(found, emulated) < TOLERANCE  # small and shallow: little adds up
    assert 1e-4 < relative(emulated, exact) < INT8_ERROR  # rounded indeed, and not by much


def test_parity_finds_a_layer_that_is_off(tiny_checkpoint: Checkpoint, graphs: Path, embeddings: Array) -> None:
    """Layer by layer, on the graph's own inputs: a difference in one isn't lost in what the others round."""
    reference, original = layerwise_model(tiny_checkpoint), CheckpointWeights(tiny_checkpoint)
    steps: list[str] = []
    with torch.inference_mode():
        logits, parity = run_int8_prefill(reference, original, graphs / "prefill.onnx", embeddings, steps.append)
        assert parity.difference < TOLERANCE
        assert len(steps) == tiny_checkpoint.config.decoder.num_hidden_layers + 1
        assert relative(logits, run_decoder(tiny_checkpoint.config.decoder, graphs / "prefill.onnx", embeddings)) < 1e-2
        with pytest.raises(ParityError, match=r"prefill\.onnx"):
            run_int8_prefill(reference, OffByATenth(original), graphs / "prefill.onnx", embeddings, steps.append)


@dataclass(frozen=True)
class OffByATenth:
    """One layer's weight is a tenth too large."""

    weights: DecoderWeights

    def linear(self, name: str) -> Weight:
        weight = self.weights.linear(name)
        assert isinstance(weight, np.ndarray)
        return weight * np.float32(1.1) if name == "model.layers.1.mlp.down_proj" else weight

    def array(self, name: str) -> Array:
        return self.weights.array(name)


def test_rotation_keeps_a_loud_channel_from_drowning_the_others(tiny_checkpoint: Checkpoint, embeddings: Array) -> None:
    linear = int8_layer(CheckpointWeights(tiny_checkpoint), "model.layers.0.self_attn.q_proj")
    assert linear.rotation == 64
    loud = torch.from_numpy(embeddings).clone()
    loud[:, 5] *= 100
    weight = rotate(linear.weight.dequantize(), linear.rotation)  # back as it was
    unrotated = type(linear)(type(linear.weight).round(weight), linear.grid, 1)
    exact = loud @ weight.T
    assert float((linear(loud) - exact).norm()) < 0.5 * float((unrotated(loud) - exact).norm())


def test_an_answer_goes_on_from_the_cache_that_the_prompt_graph_filled(
    tiny_checkpoint: Checkpoint, graphs: Path, embeddings: Array
) -> None:
    sessions = watched(graphs)
    decoder = two_graphs(tiny_checkpoint, *sessions)
    keys = list(range(len(embeddings)))
    first = decoder.prefill(keys[:20], embeddings[:20])
    rest = [decoder.decode(key, embeddings[key : key + 1]) for key in keys[20:]]
    assert tuple(len(session.runs) for session in sessions) == (1, 4)
    exact = expected(tiny_checkpoint, lambda name: None, embeddings)[19:]
    assert relative(np.stack([first, *rest]), exact) < INT8_ERROR


def test_a_few_new_tokens_go_through_the_graph_that_decodes(
    tiny_checkpoint: Checkpoint, graphs: Path, embeddings: Array
) -> None:
    sessions = watched(graphs)
    decoder = two_graphs(tiny_checkpoint, *sessions)
    decoder.prefill(list(range(SHORTEST_PREFILL - 1)), embeddings[: SHORTEST_PREFILL - 1])
    assert tuple(len(session.runs) for session in sessions) == (0, 1)


def test_graphs_let_go_come_back_to_the_same_cache(
    tiny_checkpoint: Checkpoint, graphs: Path, embeddings: Array
) -> None:
    opened = []

    def opening(name: str) -> Callable[[], Any]:
        def open_graph() -> Any:
            opened.append(name)
            return open_session(graphs / name, Device.CPU, 1)

        return open_graph

    decode, prefill = opening("decoder.onnx"), opening("prefill.onnx")
    decoder = GraphDecoder(DecoderGraphs(tiny_checkpoint.config.decoder, decode, Device.CPU, 64, open_prefill=prefill))
    decoder.prefill(list(range(20)), embeddings[:20])
    at_once = decoder.decode(20, embeddings[20:21])
    decoder.clear()
    decoder.prefill(list(range(20)), embeddings[:20])
    decoder.graphs.release()
    np.testing.assert_array_equal(decoder.decode(20, embeddings[20:21]), at_once)
    assert opened == ["decoder.onnx", "prefill.onnx"]  # the smaller one stays, and is all that a step needs
    decoder.prefill(list(range(20)), embeddings[:20])
    assert opened == ["decoder.onnx", "prefill.onnx", "prefill.onnx"]


def test_lm_head_is_made_of_the_decode_graphs_own(
    tiny_checkpoint: Checkpoint, tmp_path: Path, embeddings: Array
) -> None:
    original = CheckpointWeights(tiny_checkpoint)
    rounded = RoundedHead(original)
    path = tmp_path / "prefill.onnx"
    for _ in build_prefill(tiny_checkpoint.config.decoder, rounded, path, FP32):
        pass
    emulated = expected(tiny_checkpoint, RoundedPrompts(rounded), embeddings)
    assert relative(run_decoder(tiny_checkpoint.config.decoder, path, embeddings), emulated) < TOLERANCE
