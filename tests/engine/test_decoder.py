"""The decoder with its cache against the torch reference, which has none, and against itself run in other pieces."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from export.graphs.decoder import CheckpointWeights, build_decoder
from export.reference.model import OmniLMM
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.config import DecoderConfig, OmniLMMConfig
from omnilmm_lite.engine import decoder as decoder_module
from omnilmm_lite.engine.decoder_graphs import DecoderGraphs
from omnilmm_lite.engine.device import open_session
from omnilmm_lite.engine.embeddings import EmbeddingTable
from omnilmm_lite.engine.graph_decoder import GraphDecoder
from omnilmm_lite.errors import ContextFullError, InputError, OmniLMMError
from omnilmm_lite.formats import FP32

if TYPE_CHECKING:
    from export.checkpoint.checkpoint import Checkpoint

Array = NDArray[np.float32]

REFERENCE_TOLERANCE = 2e-3  # what the project promises for fp32
SAME = 1e-4  # the same sums in another order
WINDOW = 5
CONTEXT = 64


class WatchedSession:
    """A session that remembers which buffers it was given, and can be interrupted before or after the graph runs."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.runs: list[dict[str, int]] = []  # bound name -> address
        self.bindings = 0
        self.interrupt: Literal["before", "after"] | None = None
        self.error: Exception | None = None

    def get_inputs(self) -> Any:
        return self._session.get_inputs()

    def io_binding(self) -> WatchedBinding:
        self.bindings += 1
        return WatchedBinding(self._session.io_binding())

    def run_with_iobinding(self, binding: WatchedBinding, options: Any = None) -> None:
        self.runs.append(binding.addresses)
        if self.error is not None:
            raise self.error
        if self.interrupt == "before":
            raise KeyboardInterrupt
        self._session.run_with_iobinding(binding.inner)
        if self.interrupt == "after":
            raise KeyboardInterrupt


class WatchedBinding:
    def __init__(self, binding: Any) -> None:
        self.inner = binding
        self.addresses: dict[str, int] = {}

    def bind_ortvalue_input(self, name: str, value: Any) -> None:
        self.addresses[name] = value.data_ptr()
        self.inner.bind_ortvalue_input(name, value)

    def bind_ortvalue_output(self, name: str, value: Any) -> None:
        self.addresses[name] = value.data_ptr()
        self.inner.bind_ortvalue_output(name, value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Rig:
    """One decoder graph, its embeddings, and the reference with the same weights."""

    def __init__(self, graph: Path, embeddings: Path, checkpoint: Checkpoint, config: OmniLMMConfig) -> None:
        self.config = config.decoder
        self.session = WatchedSession(open_session(graph, Device.CPU, 1))
        self.embed = EmbeddingTable(embeddings, self.config)
        self.reference = checkpoint.module(OmniLMM(config), "").eval()

    def decoder(self, context: int = CONTEXT, decode: WatchedSession | None = None) -> GraphDecoder:
        session: Any = self.session
        if decode is None:
            return GraphDecoder(DecoderGraphs(self.config, lambda: session, Device.CPU, context))
        other: Any = decode
        return GraphDecoder(
            DecoderGraphs(self.config, lambda: other, Device.CPU, context, open_prefill=lambda: session)
        )

    def logits(self, ids: Sequence[int]) -> Array:
        """The reference's, of every position: (tokens, vocab)."""
        with torch.inference_mode():
            logits: Array = self.reference(torch.tensor([ids]))[0].numpy()
        return logits


@pytest.fixture(scope="module")
def shared(tiny_bundle: Path, tiny_checkpoint: Checkpoint) -> Rig:
    return Rig(tiny_bundle / "decoder.onnx", tiny_bundle / "embeddings.npy", tiny_checkpoint, tiny_checkpoint.config)


@pytest.fixture(scope="module")
def windowed(tiny_bundle: Path, tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Rig:
    """The same weights with a window much smaller than the sequences here."""
    decoder = dataclasses.replace(tiny_checkpoint.config.decoder, sliding_window=WINDOW)
    config = dataclasses.replace(tiny_checkpoint.config, decoder=decoder)
    graph = tmp_path_factory.mktemp("windowed") / "decoder.onnx"
    for _ in build_decoder(decoder, CheckpointWeights(tiny_checkpoint), graph, FP32, 0):
        pass
    return Rig(graph, tiny_bundle / "embeddings.npy", tiny_checkpoint, config)


@pytest.fixture
def rig(shared: Rig) -> Rig:
    shared.session.interrupt = shared.session.error = None
    shared.session.runs.clear()
    return shared


def random_ids(count: int, seed: int = 0) -> list[int]:
    return [int(token) for token in np.random.default_rng(seed).integers(3, 30000, count)]


def in_one_run(decoder: GraphDecoder, rig: Rig, ids: list[int]) -> Array:
    return decoder.prefill_logits(ids, rig.embed(ids))


def token_by_token(decoder: GraphDecoder, rig: Rig, ids: list[int]) -> Array:
    return np.stack([decoder.decode(token, rig.embed([token])) for token in ids])


def prompt_then_tokens(decoder: GraphDecoder, rig: Rig, ids: list[int]) -> Array:
    middle = len(ids) // 2
    prompt = in_one_run(decoder, rig, ids[:middle])
    return np.concatenate([prompt, token_by_token(decoder, rig, ids[middle:])])


WAYS = [in_one_run, token_by_token, prompt_then_tokens]


# ---- numbers ----


@pytest.mark.parametrize("way", WAYS)
def test_logits_are_the_references(rig: Rig, way: Callable[[GraphDecoder, Rig, list[int]], Array]) -> None:
    ids = random_ids(30)
    expected = rig.logits(ids)
    assert np.ptp(expected) > 1  # logits that differ from token to token, or the comparison is worth nothing
    np.testing.assert_allclose(way(rig.decoder(), rig, ids), expected, rtol=0, atol=REFERENCE_TOLERANCE)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("chunk", [1, 4, 7, 512])
def test_a_window_smaller_than_the_sequence(
    windowed: Rig,
    shared: Rig,
    way: Callable[[GraphDecoder, Rig, list[int]], Array],
    chunk: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decoder_module, "PREFILL_CHUNK", chunk)
    ids = random_ids(4 * WINDOW + 3)
    expected = windowed.logits(ids)
    assert np.abs(expected - shared.logits(ids))[WINDOW:].max() > 0.1  # the window matters
    np.testing.assert_allclose(way(windowed.decoder(), windowed, ids), expected, rtol=0, atol=REFERENCE_TOLERANCE)


@pytest.mark.parametrize("chunk", [1, 7, 15, 29, 30])
def test_a_prompt_in_chunks_gives_what_one_run_gives(rig: Rig, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = random_ids(30)
    expected = in_one_run(rig.decoder(), rig, ids)
    monkeypatch.setattr(decoder_module, "PREFILL_CHUNK", chunk)
    rig.session.runs.clear()
    np.testing.assert_allclose(in_one_run(rig.decoder(), rig, ids), expected, rtol=0, atol=SAME)
    assert len(rig.session.runs) == -(-30 // chunk)
    np.testing.assert_allclose(rig.decoder().prefill(ids, rig.embed(ids)), expected[-1], rtol=0, atol=SAME)


def test_nothing_is_left_of_what_the_buffers_held_before(rig: Rig) -> None:
    decoder, ids = rig.decoder(), random_ids(20)
    in_one_run(decoder, rig, random_ids(60, seed=1))
    decoder.clear()
    np.testing.assert_array_equal(in_one_run(decoder, rig, ids), in_one_run(rig.decoder(), rig, ids))


# ---- the context's end ----


def test_a_full_context_is_refused_and_leaves_the_cache_alone(rig: Rig) -> None:
    decoder, ids = rig.decoder(context=8), random_ids(9)
    with pytest.raises(ContextFullError, match="room for 8 tokens; 0 are used and 9 more"):
        decoder.prefill(ids, rig.embed(ids))
    decoder.prefill(ids[:7], rig.embed(ids[:7]))
    with pytest.raises(ContextFullError, match="7 are used and 2 more"):
        decoder.prefill_logits(ids[7:], rig.embed(ids[7:]))
    last = decoder.decode(ids[7], rig.embed(ids[7:8]))
    np.testing.assert_allclose(last, rig.logits(ids[:8])[-1], rtol=0, atol=REFERENCE_TOLERANCE)
    with pytest.raises(ContextFullError, match="8 are used and 1 more"):
        decoder.decode(ids[8], rig.embed(ids[8:]))
    assert decoder.length == 8


# ---- guesses taken back ----


@pytest.mark.parametrize("right", range(5))
def test_what_is_cut_off_leaves_no_trace(rig: Rig, right: int) -> None:
    """Four tokens in one step, of which so many were right; then the rest one by one."""
    decoder, ids = rig.decoder(), random_ids(16)
    decoder.prefill(ids[:8], rig.embed(ids[:8]))
    guesses = ids[8 : 8 + right] + random_ids(4 - right, seed=1)
    found = decoder.decode_logits(guesses, rig.embed(guesses))[:right]
    decoder.truncate(8 + right)
    assert decoder.length == 8 + right
    rest = token_by_token(decoder, rig, ids[8 + right :])
    expected = rig.logits(ids)[8:]
    np.testing.assert_allclose(np.concatenate([found, rest]), expected, rtol=0, atol=REFERENCE_TOLERANCE)


def test_cutting_off_beyond_the_end_does_nothing(rig: Rig) -> None:
    decoder, ids = rig.decoder(), random_ids(4)
    decoder.prefill(ids, rig.embed(ids))
    version = decoder.version
    decoder.truncate(9)
    assert (decoder.length, decoder.version) == (4, version)


# ---- reuse ----


def test_a_shared_beginning_is_not_run_again(rig: Rig) -> None:
    decoder, first = rig.decoder(), random_ids(30)
    second = first[:20] + random_ids(15, seed=1)
    decoder.prefill(first, rig.embed(first))
    assert decoder.reuse(second) == 20
    warm = decoder.prefill(second[20:], rig.embed(second[20:]))
    np.testing.assert_allclose(warm, rig.decoder().prefill(second, rig.embed(second)), rtol=0, atol=SAME)
    assert decoder.length == 35


def test_the_same_prompt_again_runs_its_last_token(rig: Rig) -> None:
    decoder, ids = rig.decoder(), random_ids(12)
    cold = decoder.prefill(ids, rig.embed(ids))
    assert decoder.reuse(ids) == 11
    np.testing.assert_allclose(decoder.prefill(ids[11:], rig.embed(ids[11:])), cold, rtol=0, atol=SAME)


def test_reusing_begins_a_new_version(rig: Rig) -> None:
    decoder = rig.decoder()
    versions = [decoder.version]
    for begin in (lambda: decoder.reuse([5]), decoder.clear):
        begin()
        versions.append(decoder.version)
    assert len(set(versions)) == 3
    decoder.prefill([5], rig.embed([5]))
    assert decoder.version == versions[-1]


class NoGraph:
    """A session without a cache that computes nothing."""

    def get_inputs(self) -> list[Any]:
        return []

    def io_binding(self) -> Any:
        return self

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments, **options: None


KEYS = st.lists(st.sampled_from([1, 2, ("picture a", 0), ("picture b", 0)]), min_size=1, max_size=8)


@given(prompts=st.lists(KEYS, min_size=1, max_size=5))
def test_reuse_is_the_longest_common_beginning_that_leaves_a_token(prompts: list[list[Hashable]]) -> None:
    session: Any = NoGraph()
    decoder = GraphDecoder(
        DecoderGraphs(DecoderConfig(vocab_size=1, hidden_size=1), lambda: session, Device.CPU, context=16)
    )
    held: list[Hashable] = []
    for prompt in prompts:
        expected = next(
            (i for i, (a, b) in enumerate(zip(held, prompt, strict=False)) if a != b), min(len(held), len(prompt))
        )
        expected = min(expected, len(prompt) - 1)
        assert decoder.reuse(prompt) == expected
        assert decoder.length == expected
        decoder.prefill(prompt[expected:], np.zeros((len(prompt) - expected, 1), np.float32))
        held = prompt


# ---- interruptions ----


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interrupted_token_leaves_the_cache_as_it_was(rig: Rig, when: Literal["before", "after"]) -> None:
    decoder, ids = rig.decoder(), random_ids(12)
    decoder.prefill(ids[:8], rig.embed(ids[:8]))
    rig.session.interrupt = when
    with pytest.raises(KeyboardInterrupt):
        decoder.decode(7, rig.embed([7]))  # a token that does not come again
    rig.session.interrupt = None
    assert decoder.length == 8
    rest = token_by_token(decoder, rig, ids[8:])
    np.testing.assert_allclose(rest, rig.logits(ids)[8:], rtol=0, atol=REFERENCE_TOLERANCE)


def test_an_interrupted_prompt_keeps_its_finished_chunks(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder_module, "PREFILL_CHUNK", 5)
    decoder, ids = rig.decoder(), random_ids(12)
    decoder.prefill(ids[:5], rig.embed(ids[:5]))
    rig.session.interrupt = "after"
    with pytest.raises(KeyboardInterrupt):
        decoder.prefill(ids[5:], rig.embed(ids[5:]))
    rig.session.interrupt = None
    assert decoder.reuse(ids) == 5
    logits = decoder.prefill(ids[5:], rig.embed(ids[5:]))
    np.testing.assert_allclose(logits, rig.logits(ids)[-1], rtol=0, atol=REFERENCE_TOLERANCE)


def test_an_error_of_onnxruntime_is_one_line_and_leaves_the_cache(rig: Rig) -> None:
    decoder, ids = rig.decoder(), random_ids(4)
    decoder.prefill(ids, rig.embed(ids))
    rig.session.error = RuntimeError("out of memory\nwhile allocating")
    with pytest.raises(OmniLMMError, match=r"^decoder: onnxruntime failed while running it: out of memory$"):
        decoder.decode(7, rig.embed([7]))
    assert decoder.length == 4


# ---- memory ----


def test_the_cache_stays_where_it_is_and_serves_both_graphs(rig: Rig, tiny_bundle: Path) -> None:
    decode = WatchedSession(open_session(tiny_bundle / "decoder.onnx", Device.CPU, 1))
    decoder, ids = rig.decoder(decode=decode), random_ids(14)
    decoder.prefill(ids[:10], rig.embed(ids[:10]))
    logits = token_by_token(decoder, rig, ids[10:])
    assert (len(rig.session.runs), len(decode.runs)) == (1, 4)
    np.testing.assert_allclose(logits, rig.logits(ids)[10:], rtol=0, atol=REFERENCE_TOLERANCE)

    first, *others = rig.session.runs + decode.runs
    assert all(addresses == first for addresses in others)
    layers = rig.config.num_hidden_layers
    parts = [f"{layer}.{part}" for layer in range(layers) for part in ("key", "value")]
    assert len({first[f"past.{part}"] for part in parts}) == 2 * layers
    assert all(first[f"past.{part}"] == first[f"present.{part}"] for part in parts)


def test_tokens_share_one_binding_of_the_session_that_runs_them(rig: Rig, tiny_bundle: Path) -> None:
    """A session that was let go of isn't kept by what was bound for it."""
    opened: list[WatchedSession] = []

    def opens() -> Any:
        opened.append(WatchedSession(open_session(tiny_bundle / "decoder.onnx", Device.CPU, 1)))
        return opened[-1]

    decoder, ids = GraphDecoder(DecoderGraphs(rig.config, opens, Device.CPU, CONTEXT)), random_ids(14)
    decoder.prefill(ids[:8], rig.embed(ids[:8]))
    first = token_by_token(decoder, rig, ids[8:11])
    decoder.graphs.release()
    second = token_by_token(decoder, rig, ids[11:])
    assert [session.bindings for session in opened] == [2, 1]  # one for the prompt
    assert [len(session.runs) for session in opened] == [4, 3]
    expected = rig.logits(ids)[8:]
    np.testing.assert_allclose(np.concatenate([first, second]), expected, rtol=0, atol=REFERENCE_TOLERANCE)


def test_a_graph_of_another_shape_than_the_config_is_refused(rig: Rig) -> None:
    session: Any = rig.session
    config = dataclasses.replace(rig.config, num_key_value_heads=10**9)
    with pytest.raises(InputError, match=r"past\.0\.key has the shape .* where the manifest's config says"):
        GraphDecoder(DecoderGraphs(config, lambda: session, Device.CPU, 8)).open()
