"""Answers from a checkpoint, against the fp32 reference: ids, features, logits, greedy tokens."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from export.checkpoint.checkpoint import Checkpoint
from export.reference.model import OmniLMM
from omnilmm_lite.engine import decoder as decoder_module
from omnilmm_lite.engine.interrupt import Interrupt, Interrupted, interruptible
from omnilmm_lite.errors import ContextFullError, InputError
from omnilmm_lite.model import Model
from omnilmm_lite.picture.preprocess import preprocess
from omnilmm_lite.picture.reading import load_image
from omnilmm_lite.quality.statistics import kl_divergence
from omnilmm_lite.torch_engine import precision
from omnilmm_lite.torch_engine.decoder import TorchDecoder
from omnilmm_lite.torch_engine.layer import DecoderLayer
from omnilmm_lite.torch_engine.loading import DecoderLoading
from omnilmm_lite.weights import Weights
from tests.paths import ROOT
from tests.torch_engine.loading import TRAINED, copied, loaded

Array = NDArray[np.float32]
QUESTION = [{"role": "user", "content": "What is this?"}]
PICTURE = ROOT / "examples" / "pictures" / "cat.png"


@pytest.fixture(scope="module")
def reference() -> OmniLMM:
    checkpoint = Checkpoint.open(TRAINED)
    return checkpoint.module(OmniLMM(checkpoint.config), "").eval()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Weights], Model]:
    folder, kept = copied(TRAINED, tmp_path_factory.mktemp("trained")), dict[Weights, Model]()

    def model(weights: Weights) -> Model:
        if weights not in kept:
            kept[weights] = loaded(folder, weights)
        return kept[weights]

    return model


def truth(reference: OmniLMM, ids: list[int]) -> tuple[Array, Array]:
    """Features (queries, hidden) and logits (tokens, vocab) of a conversation about PICTURE."""
    pixels = torch.from_numpy(preprocess(load_image(PICTURE), reference.config.vision))
    with torch.inference_mode():
        features = reference.encode_image(pixels)
        return features[0].numpy(), reference(torch.tensor([ids]), features)[0].numpy()


def answered(model: Model) -> list[int]:
    chat = model.chat(PICTURE)
    answer = chat.answer("What is this?", dataclasses.replace(model.sampling, temperature=0.0, repetition_penalty=1.0))
    list(chat.follow("What is this?", answer))
    return answer.tokens


def divergence(reference: OmniLMM, model: Model) -> float:
    """Mean KLD over the prompt and the reference's own answer, in nats."""
    ids = model.encode_chat([*QUESTION, {"role": "assistant", "content": "This is a cat."}, *QUESTION], image=True)
    _, expected = truth(reference, ids)
    found = model.logits(ids, model.encode_image(PICTURE))
    return float(kl_divergence(expected, found).mean())


def test_in_fp32_features_and_logits_are_the_references(reference: OmniLMM, models: Callable[[Weights], Model]) -> None:
    model = models(Weights.FP32)
    ids = model.encode_chat(QUESTION, image=True)
    features, logits = truth(reference, ids)
    found = model.encode_image(PICTURE)
    np.testing.assert_allclose(found, features, atol=1e-4)
    np.testing.assert_allclose(model.logits(ids, found), logits, atol=2e-3)


@pytest.mark.parametrize("weights", [Weights.FP32, Weights.BF16])
def test_greedy_answers_are_the_references(
    reference: OmniLMM, models: Callable[[Weights], Model], weights: Weights
) -> None:
    model = models(weights)
    ids = model.encode_chat(QUESTION, image=True)
    pixels = torch.from_numpy(preprocess(load_image(PICTURE), reference.config.vision))
    assert answered(model) == reference.chat(ids, pixels)


@pytest.mark.parametrize(
    ("weights", "bound"), [(Weights.BF16, 1e-3), (Weights.INT8, 1e-2), (Weights.NF4, 0.3)], ids=lambda value: str(value)
)
@pytest.mark.parametrize("flags", [("avx512_bf16",), ()], ids=["bf16", "fp32"])
def test_little_is_lost(
    reference: OmniLMM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], weights: Weights,
    bound: float,
) -> None:  # fmt: skip
    """Whatever the processor computes in."""
    monkeypatch.setattr(precision, "instruction_sets", lambda: flags)
    model = loaded(copied(TRAINED, tmp_path), weights)
    assert model.text.tokenizer.decode(answered(model)) == "This is a cat."
    lost = divergence(reference, model)
    assert lost < bound
    assert (lost > 1e-5) == weights.is_quantized or flags, "it isn't quantized at all"


def decoder_of(checkpoint: Checkpoint, window: int | None, context: int = 64) -> TorchDecoder:
    config = dataclasses.replace(checkpoint.config.decoder, sliding_window=window)
    cpu = torch.device("cpu")
    loading = DecoderLoading(checkpoint, config, Weights.FP32, cpu, torch.float32, None, pytest.fail)
    return TorchDecoder(config, context, cpu, torch.float32, loading.load)


def expected_logits(checkpoint: Checkpoint, window: int | None, ids: list[int]) -> tuple[Array, Array]:
    """The embeddings (tokens, hidden) and the reference's logits (tokens, vocab)."""
    decoder = dataclasses.replace(checkpoint.config.decoder, sliding_window=window)
    config = dataclasses.replace(checkpoint.config, decoder=decoder)
    model = checkpoint.module(OmniLMM(config), "").eval()
    with torch.inference_mode():
        return model.model.embed_tokens(torch.tensor(ids)).numpy(), model(torch.tensor([ids]))[0].numpy()


@pytest.mark.parametrize("window", [None, 5, 1])
@pytest.mark.parametrize("chunk", [512, 3])
def test_the_cache_is_as_good_as_the_tokens(
    tiny_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, window: int | None, chunk: int
) -> None:
    """A prompt in one pass or in chunks, then tokens one by one, several at once, and over wrong ones."""
    monkeypatch.setattr(decoder_module, "PREFILL_CHUNK", chunk)
    ids = [1, *range(300, 323)]
    rows, expected = expected_logits(tiny_checkpoint, window, ids)
    decoder = decoder_of(tiny_checkpoint, window)
    assert decoder.reuse(ids) == 0
    found = [*decoder.prefill_logits(ids[:9], rows[:9]), decoder.prefill(ids[9:12], rows[9:12])]
    found += [decoder.decode(ids[12], rows[12:13]), *decoder.decode_logits(ids[13:17], rows[13:17])]
    wrong = np.zeros((2, rows.shape[1]), dtype=np.float32)
    decoder.decode_logits([7, 8], wrong)
    decoder.truncate(17)
    found += [*decoder.decode_logits(ids[17:], rows[17:])]
    keep = [index for index in range(len(ids)) if index not in (9, 10)]
    np.testing.assert_allclose(np.stack(found), expected[keep], atol=1e-4)
    assert decoder.reuse(ids) == len(ids) - 1  # what is held serves the same prompt again
    np.testing.assert_allclose(decoder.prefill(ids[-1:], rows[-1:]), expected[-1], atol=1e-4)


def test_an_interrupt_is_heard_between_layers(tiny_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [1, *range(300, 306)]
    rows, expected = expected_logits(tiny_checkpoint, None, ids)
    decoder, interrupt, ran = decoder_of(tiny_checkpoint, None), Interrupt(), []
    run = DecoderLayer.run

    def stopped(layer: DecoderLayer, *arguments: Any) -> torch.Tensor:
        ran.append(layer)
        interrupt.set()
        return run(layer, *arguments)

    decoder.open()
    with monkeypatch.context() as patch, interruptible(interrupt), pytest.raises(Interrupted):
        patch.setattr(DecoderLayer, "run", stopped)
        decoder.prefill(ids, rows)
    assert (len(ran), decoder.length) == (1, 0)
    np.testing.assert_allclose(decoder.prefill(ids, rows), expected[-1], atol=1e-4)


def test_a_full_context_is_refused(tiny_checkpoint: Checkpoint) -> None:
    decoder = decoder_of(tiny_checkpoint, None, context=4)
    rows = np.zeros((5, tiny_checkpoint.config.decoder.hidden_size), dtype=np.float32)
    with pytest.raises(ContextFullError, match="room for 4 tokens; 0 are used and 5 more were given"):
        decoder.prefill(range(5), rows)


def test_drafts_change_no_token(tmp_path: Path) -> None:
    folder = copied(TRAINED, tmp_path)
    plain, drafting = (loaded(folder, Weights.FP32, drafts=drafts) for drafts in (False, True))
    assert answered(plain) == answered(drafting)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"cuda_graph": True}, "--cuda-graph: it is for bundles"),
        ({"device": "cuda"}, r"--device cuda: torch .* (is built for the CPU alone|sees no card)"),
        ({"device": "tpu"}, "--device: 'tpu' is unknown"),
        ({"context": 0}, "context: 0 is out of range"),
        ({"threads": 0}, "threads: 0 is out of range"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], complaint: str) -> None:
    if "cuda" in str(changes.get("device")) and torch.cuda.is_available():
        changes = {"device": f"cuda:{torch.cuda.device_count()}"}
        complaint = "torch sees cards up to"
    with pytest.raises(InputError, match=complaint):
        loaded(TRAINED, Weights.BF16, **changes)
