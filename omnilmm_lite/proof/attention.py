"""Attention, the tower's and the resampler's without a mask and the decoder's over its cache, held against float64.

What float32 may lose: a score is a sum of `head_dim` products, and its error d changes a weight of the softmax by about
2 d of itself. So a result is off by that, and by the roundings of the weighted sum, of the values' weighted magnitudes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnilmm_lite.proof.proof_graph import UNIT, Array, Case, Doubles, Expected, Operator, ProofGraph

GRAPH, CACHED_GRAPH = "attention", "cached_attention"
TOWER_HEADS, TOWER_HEAD_DIM = 2, 112
RESAMPLER_HEADS, RESAMPLER_HEAD_DIM = 2, 128
EXPONENTIAL = 8  # units that a float32 exponential, the division by their sum and the scaling of scores may lose
SOFTMAX = "twice the scores' largest error, and a rounding for each value summed"

HEADS, KV_HEADS, HEAD_DIM = 4, 2, 128
WINDOWS = (None, 5)  # one attention each, side by side
CONTEXT = 48
ROTATED = 3  # roundings of a * cos - b * sin


@dataclass(frozen=True)
class Attended:
    """Outputs, the weighted magnitudes that they are off by, and the largest share of these."""

    value: Doubles
    magnitude: Doubles
    tolerance: float


def proof_graphs() -> Iterator[ProofGraph]:
    yield _unmasked()
    yield _cached()


def attend(q: Doubles, k: Doubles, v: Doubles, scores_lose: Doubles, mask: Array | None = None) -> Attended:
    """(heads, queries or keys, head_dim) each. `scores_lose` (heads, queries, keys): how far off each score may be."""
    scores = q @ k.swapaxes(1, 2) / math.sqrt(q.shape[2])
    seen = np.ones(scores.shape, bool) if mask is None else np.broadcast_to(mask, scores.shape)
    scores = np.where(seen, scores, -np.inf)
    weights = np.exp(scores - scores.max(2, keepdims=True))
    weights /= weights.sum(2, keepdims=True)
    lose = np.where(seen & (weights > 0), scores_lose, 0).max()
    tolerance = 2 * float(lose) + (EXPONENTIAL + 2 * k.shape[1]) * UNIT
    value: Doubles = weights @ v
    magnitude: Doubles = weights @ np.abs(v)
    return Attended(value, magnitude, tolerance)


def _loss(q: Doubles, k: Doubles, roundings: int) -> Doubles:
    """How far off scores may be when the magnitudes of q and k are these."""
    loss: Doubles = (q.shape[2] + roundings) * UNIT * (q @ k.swapaxes(1, 2)) / math.sqrt(q.shape[2])
    return loss


# ---- without a mask ----


def _unmasked() -> ProofGraph:
    """The tower's takes a bias for q, k and v; the resampler's has fewer queries than keys."""
    rng = np.random.default_rng(5)
    width = TOWER_HEADS * TOWER_HEAD_DIM
    bias = rng.normal(0, 0.3, 3 * width).astype(np.float32)
    cases = [_case(rng, bias, tokens, keys) for tokens, keys in ((1, 1), (37, 70), (3, 1300))]
    cases.append(_decided(rng, bias))
    return ProofGraph((Operator.ATTENTION,), GRAPH, {"tower.bias": bias}, tuple(cases))


def _case(rng: np.random.Generator, bias: Array, tokens: int, keys: int) -> Case:
    feeds = _feeds(rng, tokens, keys)
    tower = _tower(feeds, bias)
    resampler = _resampler(feeds)
    return Case(feeds, (_expected("tower", tower), _expected("resampler", resampler)))


def _decided(rng: np.random.Generator, bias: Array) -> Case:
    """Scores in the hundreds: each query's largest takes all the weight, and nothing overflows."""
    feeds = _feeds(rng, 20, 40)
    feeds = {name: array * np.float32(40) if name[-1] in "qk" else array for name, array in feeds.items()}
    return Case(feeds, (_expected("tower", _tower(feeds, bias)), _expected("resampler", _resampler(feeds))))


def _feeds(rng: np.random.Generator, tokens: int, keys: int) -> dict[str, Array]:
    """The tower's tokens attend to each other, `tokens` of them; the resampler's to `keys`."""
    tower = (1, tokens, TOWER_HEADS * TOWER_HEAD_DIM)
    width = RESAMPLER_HEADS * RESAMPLER_HEAD_DIM
    shapes = {f"tower.{name}": tower for name in "qkv"}
    shapes |= {"resampler.q": (1, tokens, width), "resampler.k": (1, keys, width), "resampler.v": (1, keys, width)}
    return {name: rng.normal(0, 1, shape).astype(np.float32) for name, shape in shapes.items()}


def _tower(feeds: dict[str, Array], bias: Array) -> Attended:
    parts = np.split(bias.astype(np.float64), 3)
    q, k, v = (feeds[f"tower.{name}"] + part for name, part in zip("qkv", parts, strict=True))
    return _heads_attend(q, k, v, TOWER_HEADS)


def _resampler(feeds: dict[str, Array]) -> Attended:
    q, k, v = (feeds[f"resampler.{name}"].astype(np.float64) for name in "qkv")
    return _heads_attend(q, k, v, RESAMPLER_HEADS)


def _heads_attend(q: Doubles, k: Doubles, v: Doubles, heads: int) -> Attended:
    """(1, tokens, heads * head_dim) each, and so the result."""
    q, k, v = (_split(each[0], heads) for each in (q, k, v))
    attended = attend(q, k, v, _loss(np.abs(q), np.abs(k), 2))
    return Attended(_joined(attended.value), _joined(attended.magnitude), attended.tolerance)


def _split(rows: Array, heads: int) -> Array:
    """(tokens, heads * head_dim) -> (heads, tokens, head_dim)"""
    return rows.reshape(len(rows), heads, -1).swapaxes(0, 1)


def _joined(heads: Doubles) -> Doubles:
    """(heads, tokens, head_dim) -> (1, tokens, heads * head_dim)"""
    return heads.swapaxes(0, 1).reshape(1, heads.shape[1], -1)


def _expected(output: str, attended: Attended, operator: Operator = Operator.ATTENTION) -> Expected:
    what = "ordinary and decided scores"
    return Expected(operator, what, output, attended.value, attended.magnitude, attended.tolerance, SOFTMAX)


# ---- over the cache ----


def rope_tables() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cosines and sines, (CONTEXT, HEAD_DIM / 2) each."""
    angles = np.arange(CONTEXT)[:, None] / 10000.0 ** (np.arange(0, HEAD_DIM, 2) / HEAD_DIM)
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def _cached() -> ProofGraph:
    """A prompt into an empty cache, one token behind others, several behind others."""
    rng = np.random.default_rng(6)
    cos, sin = rope_tables()
    cases = tuple(_step(rng, past, tokens) for past, tokens in ((0, 1), (0, 23), (17, 1), (20, 9), (CONTEXT - 1, 1)))
    return ProofGraph((Operator.CACHED_ATTENTION,), CACHED_GRAPH, {"rope.cos": cos, "rope.sin": sin}, cases)


def _step(rng: np.random.Generator, past: int, tokens: int) -> Case:
    total = past + tokens
    feeds: dict[str, Array] = {
        "seqlens_k": np.asarray([total - 1], np.int32),
        "total_sequence_length": np.asarray(total, np.int32),
    }
    expected: list[Expected] = []
    in_place: dict[str, str] = {}
    for layer, window in enumerate(WINDOWS):
        qkv = rng.normal(0, 1, (1, tokens, (HEADS + 2 * KV_HEADS) * HEAD_DIM)).astype(np.float32)
        key, value = (rng.normal(0, 1, (1, KV_HEADS, CONTEXT, HEAD_DIM)).astype(np.float32) for _ in range(2))
        feeds |= {f"qkv.{layer}": qkv, f"past.{layer}.key": key, f"past.{layer}.value": value}
        in_place |= {f"present.{layer}.{part}": f"past.{layer}.{part}" for part in ("key", "value")}
        expected += _after(layer, window, qkv[0], key[0], value[0], past)
    return Case(feeds, tuple(expected), in_place)


def _after(layer: int, window: int | None, qkv: Array, key: Array, value: Array, past: int) -> list[Expected]:
    """qkv (tokens, ...), the cache's key and value (kv_heads, context, head_dim)."""
    total = past + len(qkv)
    q, k, v = np.split(qkv.astype(np.float64), [HEADS * HEAD_DIM, (HEADS + KV_HEADS) * HEAD_DIM], axis=1)
    (q, q_size), (k, k_size) = (_rotated(_split(each, heads), past) for each, heads in ((q, HEADS), (k, KV_HEADS)))
    keys, keys_size, keys_lose = (key.astype(np.float64), np.abs(key).astype(np.float64), np.zeros(key.shape))
    keys[:, past:total], keys_size[:, past:total], keys_lose[:, past:total] = k, k_size, k_size
    values = value.copy()
    values[:, past:total] = _split(v, KV_HEADS)

    distance = np.arange(past, total)[:, None] - np.arange(total)
    mask = (distance >= 0) & (distance < (window or total))
    shared = HEADS // KV_HEADS
    k, size, v = (np.repeat(each[:, :total], shared, axis=0) for each in (keys, keys_size, values.astype(np.float64)))
    attended = attend(q, k, v, _loss(q_size, size, 2 * ROTATED), mask)
    joined = Attended(_joined(attended.value), _joined(attended.magnitude), attended.tolerance)
    operator = Operator.CACHED_ATTENTION
    rotated = f"{ROTATED} roundings of each rotated pair; nothing else in the cache may change"
    kept = "0: values are copied, and nothing else in the cache may change"
    return [
        _expected(f"attended.{layer}", joined, operator),
        Expected(
            operator, "keys in the cache", f"present.{layer}.key", keys[None], keys_lose[None], ROTATED * UNIT, rotated
        ),
        Expected(operator, "values in the cache", f"present.{layer}.value", values[None], 1.0, 0.0, kept),
    ]


def _rotated(heads: Doubles, past: int) -> tuple[Doubles, Doubles]:
    """(heads, tokens, head_dim), turned to positions from `past` on, and the magnitudes of what was summed for it."""
    cos, sin = (table[past : past + heads.shape[1]].astype(np.float64) for table in rope_tables())
    first, second = np.split(heads, 2, axis=2)
    turned = np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=2)
    first, second, cos, sin = (np.abs(each) for each in (first, second, cos, sin))
    return turned, np.concatenate([first * cos + second * sin, second * cos + first * sin], axis=2)
