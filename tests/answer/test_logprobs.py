"""Log-probabilities against torch's log-softmax, and a bias against transformers' processor."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import SequenceBiasLogitsProcessor

from omnilmm_lite import load
from omnilmm_lite.answer.generation import Answer, Prompt
from omnilmm_lite.answer.logprobs import said_token
from omnilmm_lite.answer.sampling import Sampler
from omnilmm_lite.model import Model
from omnilmm_lite.sampling_params import SamplingParams

GREEDY = SamplingParams.greedy()


@pytest.fixture(scope="module")
def model() -> Model:
    return load()


@given(st.integers(0, 2**32 - 1), st.integers(2, 3000), st.integers(0, 20), st.floats(0.1, 1e4))
def test_they_are_torchs_log_softmax(seed: int, vocab: int, top: int, scale: float) -> None:
    random = np.random.default_rng(seed)
    logits = (random.standard_normal(vocab) * scale).astype(np.float32)
    token = int(random.integers(vocab))
    found = said_token(logits, token, top, lambda each: str(each).encode())
    expected = torch.from_numpy(logits).double().log_softmax(-1)
    assert found.said.logprob == pytest.approx(float(expected[token]), rel=1e-9, abs=1e-9)
    assert found.said.data == str(token).encode()
    best = expected.topk(min(top, vocab))
    assert [each.logprob for each in found.top] == pytest.approx(best.values.tolist(), rel=1e-9, abs=1e-9)
    assert [each.token for each in found.top] == sorted(
        (each.token for each in found.top), key=lambda each: (-logits[each], each)
    )


def test_ties_give_no_more_than_were_asked_for() -> None:
    found = said_token(np.zeros(1000, np.float32), 3, 5, lambda each: b"")
    assert [each.token for each in found.top] == [0, 1, 2, 3, 4]
    assert found.said.logprob == pytest.approx(-np.log(1000))


def test_an_answer_has_one_for_each_token_whatever_changes_the_choice(model: Model) -> None:
    """Penalties, bias and temperature change what is said, and not what the model thought of it."""
    params = SamplingParams(temperature=2.0, repetition_penalty=1.5, max_new_tokens=12, seed=1)
    prompt = model.encode_chat([{"role": "user", "content": "hi"}], image=False)
    answer = Answer(model.text, Prompt(prompt), params, logit_bias={9: 3.0}, top_logprobs=2)
    text = "".join(answer)
    logits = model.logits(prompt + answer.tokens, answer_start=len(prompt))[len(prompt) - 1 :]
    expected = torch.from_numpy(logits).double().log_softmax(-1)
    assert [each.said.token for each in answer.said] == answer.tokens and len(answer.said) > 1
    for row, each in zip(expected, answer.said, strict=False):
        assert each.said.logprob == pytest.approx(float(row[each.said.token]), abs=1e-4)
        assert [other.logprob for other in each.top] == pytest.approx(row.topk(2).values.tolist(), abs=1e-4)
    joined = b"".join(each.said.data for each in answer.said).decode("utf-8", errors="replace")
    assert joined.rstrip() == text.rstrip() and not joined.startswith(" ")
    assert Answer(model.text, Prompt(prompt), params).said == []


@given(st.integers(0, 2**32 - 1), st.dictionaries(st.integers(0, 99), st.floats(-100, 100), min_size=1, max_size=9))
def test_a_bias_is_transformers_own(seed: int, bias: dict[int, float]) -> None:
    logits = np.random.default_rng(seed).standard_normal(100).astype(np.float32) * 10
    processor = SequenceBiasLogitsProcessor([[[token], value] for token, value in bias.items()])
    expected = processor(torch.zeros(1, 1, dtype=torch.long), torch.from_numpy(logits)[None])[0]
    kept = logits.copy()
    chosen = Sampler(GREEDY, bias).next(logits)
    assert float(expected[chosen]) == pytest.approx(float(expected.max()))
    assert np.array_equal(logits, kept)


def test_a_bias_comes_before_the_penalty() -> None:
    """On paper: 1 + 3 = 4, then 4 / 4 = 1 for what was said, below the other's 2; without the bias, 1 is below 2."""
    sampler = Sampler(SamplingParams.greedy(repetition_penalty=4.0), {0: 3.0})
    logits = np.array([1.0, 2.0], np.float32)
    assert [sampler.next(logits) for _ in range(2)] == [0, 1]


def test_an_answer_that_goes_on_keeps_its_white_space(model: Model) -> None:
    text = model.text.tokenizer.detokenizer(continues=True)
    ids = [each for each in range(300) if model.text.tokenizer.token_bytes(each).startswith(b" ")]
    assert ids and text.push(ids[0]).startswith(" ")
    assert not model.text.tokenizer.detokenizer().push(ids[0]).startswith(" ")
