"""Buffers that stay on the device, run on the CPU: the same numbers as without them, and what a CUDA graph asks for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from omnilmm_lite.bundle.target import Device
from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.engine.binding import FixedStep, encode_pictures, unrecorded
from omnilmm_lite.engine.decoder_graphs import DecoderGraphs
from omnilmm_lite.engine.device import import_onnxruntime, open_session, run_graph
from omnilmm_lite.engine.embeddings import EmbeddingTable
from omnilmm_lite.engine.graph_decoder import GraphDecoder
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.picture.noise import noise_picture
from omnilmm_lite.picture.preprocess import preprocess

if TYPE_CHECKING:
    from export.checkpoint.checkpoint import Checkpoint

CONTEXT = 24
IDS = [7, 300, 41, 5000, 12, 77, 31999, 9, 800, 2000, 4, 150]


class WatchedBinding:
    """Which memory each name is bound to, and which of it is the host's own numpy arrays."""

    def __init__(self, binding: Any, log: list[tuple[str, str]]) -> None:
        self._binding, self._log = binding, log

    def bind_cpu_input(self, name: str, array: NDArray[Any]) -> None:
        self._log.append((name, "host"))
        self._binding.bind_cpu_input(name, array)

    def bind_ortvalue_input(self, name: str, value: Any) -> None:
        self._log.append((name, f"{value.device_name()} {value.data_ptr()}"))
        self._binding.bind_ortvalue_input(name, value)

    def bind_output(self, name: str, device: str, index: int = 0) -> None:
        self._log.append((name, device))
        self._binding.bind_output(name, device, index)

    def get_outputs(self) -> Any:
        return self._binding.get_outputs()


class WatchedSession:
    def __init__(self, session: Any) -> None:
        self._session = session
        self.log: list[tuple[str, str]] = []

    def io_binding(self) -> WatchedBinding:
        return WatchedBinding(self._session.io_binding(), self.log)

    def run_with_iobinding(self, binding: WatchedBinding, options: Any = None) -> None:
        self._session.run_with_iobinding(binding._binding, options)


# ---- pictures ----


def test_patches_go_from_tower_to_resampler_without_passing_through_numpy(
    tiny_bundle: Path, tiny_checkpoint: Checkpoint
) -> None:
    sessions = [open_session(tiny_bundle / name, Device.CPU) for name in ("vision.onnx", "resampler.onnx")]
    config = tiny_checkpoint.config.vision
    pixels = np.concatenate([preprocess(noise_picture(size, size), config) for size in (100, 64)])
    patches = sessions[0].run(["patches"], {"pixel_values": pixels})[0]
    expected = sessions[1].run(["features"], {"patches": patches})[0]

    tower, resampler = (WatchedSession(session) for session in sessions)
    features = encode_pictures(tower, resampler, pixels, Device.CPU)
    np.testing.assert_array_equal(features, expected)
    assert features.flags.owndata  # else features that are remembered keep all that the session has allocated
    assert tower.log == [("pixel_values", "host"), ("patches", "cpu")]
    (name, place), output = resampler.log
    assert (name, place.split()[0], output) == ("patches", "cpu", ("features", "cpu"))


def test_a_tower_that_fails_says_which_graph(tiny_bundle: Path) -> None:
    tower, resampler = (open_session(tiny_bundle / name, Device.CPU) for name in ("vision.onnx", "resampler.onnx"))
    with pytest.raises(OmniLMMError, match=r"^vision tower: onnxruntime failed while running it: "):
        encode_pictures(tower, resampler, np.zeros((1, 3, 5, 5), np.float32), Device.CPU)


# ---- the fixed step ----


def cache_for(config: DecoderConfig, context: int) -> dict[str, Any]:
    shape = (1, config.num_key_value_heads, context, config.head_dim)
    names = (f"{layer}.{part}" for layer in range(config.num_hidden_layers) for part in ("key", "value"))
    # each its own array: on the CPU, the value is the array's memory
    make = import_onnxruntime().OrtValue.ortvalue_from_numpy
    return {name: make(np.zeros(shape, np.float32), "cpu", 0) for name in names}


def test_a_fixed_step_gives_the_decoders_own_logits(tiny_bundle: Path, tiny_checkpoint: Checkpoint) -> None:
    """Although it is told the context's length each time where the decoder is told the true one."""
    config = tiny_checkpoint.config.decoder
    session = open_session(tiny_bundle / "decoder.onnx", Device.CPU)
    embeddings = EmbeddingTable(tiny_bundle / "embeddings.npy", config)
    decoder = GraphDecoder(DecoderGraphs(config, lambda: session, Device.CPU, CONTEXT))
    cache = cache_for(config, CONTEXT)
    addresses = {name: value.data_ptr() for name, value in cache.items()}
    step = FixedStep(session, cache, config, CONTEXT, Device.CPU)
    for held, token in enumerate(IDS):
        row = embeddings([token])
        expected = decoder.decode(token, row)
        logits = step.run(row, held)
        assert logits.shape == (config.vocab_size,)
        np.testing.assert_array_equal(logits, expected)
    assert addresses == {name: value.data_ptr() for name, value in cache.items()}
    decoder.reuse([*IDS[:3], 0])  # the conversation goes on from an earlier token: what lies behind it is forgotten
    np.testing.assert_array_equal(step.run(embeddings([IDS[8]]), 3), decoder.decode(IDS[8], embeddings([IDS[8]])))


def test_a_decoder_with_a_cuda_graph_answers_as_one_without(tiny_bundle: Path, tiny_checkpoint: Checkpoint) -> None:
    """On the CPU nothing is recorded, but everything goes the same ways: prompt, steps, a rewound cache, a release."""
    config = tiny_checkpoint.config.decoder
    table = EmbeddingTable(tiny_bundle / "embeddings.npy", config)

    def answer(decoder: GraphDecoder) -> Iterator[NDArray[np.float32]]:
        yield decoder.prefill(IDS[:4], table(IDS[:4]))
        for token in IDS[4:]:
            yield decoder.decode(token, table([token]))
        decoder.reuse([*IDS[:6], 0])
        decoder.graphs.release()
        yield decoder.decode(IDS[8], table([IDS[8]]))
        yield from decoder.decode_logits(IDS[:2], table(IDS[:2]))
        assert decoder.length == 9

    def opened() -> Any:
        return open_session(tiny_bundle / "decoder.onnx", Device.CPU)

    recorded, plain = (
        GraphDecoder(DecoderGraphs(config, opened, Device.CPU, CONTEXT, cuda_graph=graph)) for graph in (True, False)
    )
    for found, expected in zip(answer(recorded), answer(plain), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_logits_of_one_step_survive_the_next(tiny_bundle: Path, tiny_checkpoint: Checkpoint) -> None:
    config = tiny_checkpoint.config.decoder
    session = open_session(tiny_bundle / "decoder.onnx", Device.CPU)
    step = FixedStep(session, cache_for(config, CONTEXT), config, CONTEXT, Device.CPU)
    row = np.ones((1, config.hidden_size), np.float32)
    first = step.run(row, 0)
    kept = first.copy()
    step.run(-row, 1)
    np.testing.assert_array_equal(first, kept)


def test_steps_have_a_recording_and_prompts_have_none(tiny_bundle: Path, tiny_checkpoint: Checkpoint) -> None:
    config = tiny_checkpoint.config.decoder
    session = open_session(tiny_bundle / "decoder.onnx", Device.CPU)
    step = FixedStep(session, cache_for(config, CONTEXT), config, CONTEXT, Device.CPU)
    assert step._options.get_run_config_entry("gpu_graph_id") == "1"
    assert unrecorded().get_run_config_entry("gpu_graph_id") == "-1"


def test_of_a_decoders_runs_only_single_steps_are_recorded(
    tiny_bundle: Path, tiny_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recording of a prompt would be replayed for the next one, whatever its length."""
    recordings: list[str] = []

    def watched(session: Any, binding: Any, what: str, options: Any = None) -> None:
        recordings.append("" if options is None else options.get_run_config_entry("gpu_graph_id"))
        run_graph(session, binding, what, options)

    for module in ("binding", "decoder_graphs"):
        monkeypatch.setattr(f"omnilmm_lite.engine.{module}.run_graph", watched)
    table = EmbeddingTable(tiny_bundle / "embeddings.npy", tiny_checkpoint.config.decoder)

    def opened() -> Any:
        return open_session(tiny_bundle / "decoder.onnx", Device.CPU)

    decoder = GraphDecoder(DecoderGraphs(tiny_checkpoint.config.decoder, opened, Device.CPU, CONTEXT, cuda_graph=True))
    decoder.prefill(IDS[:4], table(IDS[:4]))
    decoder.decode(IDS[4], table([IDS[4]]))
    decoder.decode_logits(IDS[5:7], table(IDS[5:7]))  # a draft's check
    decoder.prefill(IDS[7:8], table(IDS[7:8]))  # one token, but a prompt
    decoder.decode(IDS[8], table([IDS[8]]))
    assert recordings == ["-1", "1", "-1", "-1", "1"]
