"""Sampling against transformers' logits processors, and its draws by statistics with fixed seeds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from omnilmm_lite.answer.sampling import (
    Sampler,
    best_ids,
    filtered_probabilities,
    penalize_frequency,
    penalize_repetition,
)
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.sampling_params import SamplingParams

VOCAB = 32009


def _logits(seed: int, size: int = VOCAB) -> NDArray[np.float32]:
    return (np.random.default_rng(seed).standard_normal(size) * 4).astype(np.float32)


def _reference(logits: NDArray[np.float32], seen: list[int], params: SamplingParams) -> NDArray[np.float32]:
    """Probabilities (vocab,) by transformers' processors in the order of its `generate`."""
    processors = LogitsProcessorList()
    if params.repetition_penalty != 1:
        processors.append(RepetitionPenaltyLogitsProcessor(params.repetition_penalty))
    processors.append(TemperatureLogitsWarper(params.temperature))
    if params.top_k:
        processors.append(TopKLogitsWarper(params.top_k))
    if params.top_p < 1:
        processors.append(TopPLogitsWarper(params.top_p))
    if params.min_p:
        processors.append(MinPLogitsWarper(params.min_p))
    scores = processors(torch.LongTensor([seen]), torch.from_numpy(logits.copy())[None])
    probabilities: NDArray[np.float32] = scores.softmax(dim=-1)[0].numpy()
    return probabilities


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(),
        SamplingParams(top_k=0),
        SamplingParams(top_k=0, top_p=1.0),
        SamplingParams(top_k=0, top_p=1.0, min_p=0.05, temperature=1.7),
        SamplingParams(top_k=1),
        SamplingParams(top_k=100_000, top_p=0.5),
        SamplingParams(top_p=0.01, repetition_penalty=1.0),
        SamplingParams(temperature=2.5, top_k=500, top_p=0.8, min_p=0.02, repetition_penalty=0.8),
    ],
    ids=lambda params: f"t{params.temperature}-k{params.top_k}-p{params.top_p}-m{params.min_p}",
)
def test_probabilities_equal_transformers(params: SamplingParams, seed: int) -> None:
    logits = _logits(seed)
    seen = [int(i) for i in np.argsort(-logits)[:20:2]] * 2 + [5, 6, 7]  # likely and unlikely ones, each once only
    scores = penalize_repetition(logits, set(seen), params.repetition_penalty)
    ids, probabilities = filtered_probabilities(scores, params)
    found = np.zeros(VOCAB)
    found[ids] = probabilities
    np.testing.assert_allclose(found, _reference(logits, seen, params), rtol=1e-4, atol=1e-9)
    assert math.isclose(probabilities.sum(), 1)


def test_ties_with_the_kth_score_stay() -> None:
    params = SamplingParams(top_k=2, top_p=1.0, temperature=1.0)
    ids, probabilities = filtered_probabilities(np.array([0, 1, 3, 1, 1], dtype=np.float32), params)
    assert (ids[0], sorted(ids)) == (2, [1, 2, 3, 4])
    np.testing.assert_allclose(probabilities, np.array([math.e**2, 1, 1, 1]) / (math.e**2 + 3))


def test_draws_follow_the_probabilities() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], dtype=np.float32))
    sampler = Sampler(SamplingParams(temperature=1.0, top_k=0, top_p=0.9, repetition_penalty=1.0, seed=3))
    draws = 20_000
    counts = np.bincount([sampler.next(logits) for _ in range(draws)], minlength=4)
    assert counts[3] == 0  # 0.5 + 0.3 + 0.15 reach 0.9
    expected = np.array([0.5, 0.3, 0.15]) / 0.95
    deviation = np.sqrt(draws * expected * (1 - expected))
    assert np.all(np.abs(counts[:3] - draws * expected) < 4 * deviation)


def test_seed_fixes_the_draws() -> None:
    def draw(seed: int | None) -> list[int]:
        sampler = Sampler(SamplingParams(seed=seed, top_k=0, temperature=1.5))
        return [sampler.next(_logits(step, 50)) for step in range(30)]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    assert draw(None) != draw(None)


def test_penalty_sees_generated_tokens_only() -> None:
    sampler = Sampler(SamplingParams.greedy(repetition_penalty=2.0))
    positive = np.array([3.0, 2.0, -1.0], dtype=np.float32)
    # 3 wins, then counts 1.5; 2 wins, then counts 1; 1.5 wins from then on: the penalty doesn't add up.
    assert [sampler.next(positive) for _ in range(4)] == [0, 1, 0, 0]
    negative = np.array([-1.0, -1.5, -1.9], dtype=np.float32)
    assert sampler.next(negative) == 2  # -1 and -1.5 doubled fall below -1.9
    np.testing.assert_array_equal(positive, np.array([3, 2, -1], dtype=np.float32))  # the caller's buffer is untouched
    assert Sampler(SamplingParams.greedy(repetition_penalty=2.0)).next(positive) == 0


def test_presence_and_frequency_penalties_by_hand() -> None:
    """OpenAI's formula: logit - count * frequency - (count > 0) * presence."""
    params = SamplingParams(presence_penalty=0.5, frequency_penalty=0.25)
    logits = np.array([1.0, 2.0, -3.0, 4.0], dtype=np.float32)
    found = penalize_frequency(logits, {1: 1, 2: 4, 3: 2}, params)
    np.testing.assert_array_equal(found, np.array([1.0, 1.25, -4.5, 3.0], dtype=np.float32))
    np.testing.assert_array_equal(logits, np.array([1, 2, -3, 4], dtype=np.float32))  # the caller's buffer
    negative = SamplingParams(presence_penalty=-2.0, frequency_penalty=-1.0)  # what was said becomes likelier
    np.testing.assert_array_equal(penalize_frequency(logits, {0: 2}, negative)[:2], np.array([5, 2], dtype=np.float32))
    assert penalize_frequency(logits, {0: 2}, SamplingParams()) is logits


@pytest.mark.parametrize(
    ("penalties", "drawn"),
    [
        ({}, [0, 0, 0, 0, 0, 0]),
        ({"presence_penalty": 1.5}, [0, 1, 0, 0, 0, 0]),  # 3, then 1.5 against 2; 1.5 against 0.5 from then on
        # 3; 2.25 against 2; 1.5 against 2; 1.5 against 1.25; 0.75 against 1.25; 0.75 against 0.5
        ({"frequency_penalty": 0.75}, [0, 0, 1, 0, 1, 0]),
    ],
)
def test_penalties_count_what_the_answer_has_said(penalties: dict[str, float], drawn: list[int]) -> None:
    params = SamplingParams(temperature=0.0, repetition_penalty=1.0, **penalties)  # type: ignore[arg-type]
    sampler = Sampler(params)
    logits = np.array([3.0, 2.0, -9.0], dtype=np.float32)
    assert [sampler.next(logits) for _ in drawn] == drawn
    np.testing.assert_array_equal(logits, np.array([3, 2, -9], dtype=np.float32))


@given(seed=st.integers(0, 1000), temperature=st.sampled_from([0.0, 5e-324, 1e-6]))
def test_greedy_and_the_limit_of_cold_take_the_best(seed: int, temperature: float) -> None:
    logits = _logits(seed, 100)
    params = SamplingParams(temperature=temperature, top_k=0, top_p=1.0, repetition_penalty=1.0)
    assert Sampler(params).next(logits) == int(logits.argmax())


def test_defaults_are_the_references() -> None:
    params = SamplingParams()
    assert (params.temperature, params.top_k, params.top_p) == (0.6, 30, 0.9)
    assert (params.repetition_penalty, params.max_new_tokens) == (1.1, 1024)
    assert not params.is_greedy
    assert SamplingParams.greedy().is_greedy
    assert SamplingParams.greedy().repetition_penalty == 1.0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("min_p", -0.1),
        ("min_p", 1.5),
        ("repetition_penalty", 0.0),
        ("repetition_penalty", 1e-50),
        ("repetition_penalty", 0.0099),
        ("repetition_penalty", 100.1),
        ("repetition_penalty", math.inf),
        ("repetition_penalty", math.nan),
        ("presence_penalty", -2.1),
        ("presence_penalty", math.nan),
        ("frequency_penalty", 2.1),
        ("max_new_tokens", 0),
        ("seed", -1),
    ],
)
def test_values_out_of_range_are_named(field: str, value: float) -> None:
    values: dict[str, object] = {field: value}
    with pytest.raises(InputError, match=f"^{field}: {value} is out of range; give "):
        SamplingParams(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("penalty", [0.01, 100])
@pytest.mark.parametrize("temperature", [0.0, 5e-324, 1.7e308])
def test_no_value_in_range_breaks_the_numbers(penalty: float, temperature: float) -> None:
    sampler = Sampler(SamplingParams(temperature=temperature, repetition_penalty=penalty, seed=0))
    for seed in range(50):
        assert 0 <= sampler.next(_logits(seed, 20)) < 20


@pytest.mark.parametrize("broken", [math.nan, math.inf])
@pytest.mark.parametrize("params", [SamplingParams(), SamplingParams.greedy()])
def test_broken_logits_are_an_error(broken: float, params: SamplingParams) -> None:
    with pytest.raises(OmniLMMError, match="logits: the best one is"):
        Sampler(params).next(np.array([0.0, broken, 1.0], dtype=np.float32))


def test_forbidden_tokens_are_never_drawn() -> None:
    logits = np.array([-math.inf, 0.0, -math.inf, 0.0], dtype=np.float32)
    sampler = Sampler(SamplingParams(top_k=3, top_p=1.0, seed=0))
    assert {sampler.next(logits) for _ in range(200)} == {1, 3}


@given(
    seed=st.integers(0, 1000),
    size=st.sampled_from([2, 31, 100, 1000, 32009]),
    k=st.integers(1, 40),
    decimals=st.sampled_from([0, 1, 6]),
    forbidden=st.sampled_from([0.0, 0.5, 0.9995]),
)
def test_the_best_are_those_of_a_whole_partition(seed: int, size: int, k: int, decimals: int, forbidden: float) -> None:
    """Bit for bit and in the same order, or seeds would draw other tokens; with ties, and where most is forbidden."""
    random = np.random.default_rng(seed)
    logits = _logits(seed, size).round(decimals)
    logits[random.random(size) < forbidden] = -np.inf
    k = min(k, size)
    expected = np.flatnonzero(logits >= np.sort(logits)[-k]).tolist()
    found = best_ids(logits, k)
    assert found.dtype == np.intp
    assert found.tolist() == expected
