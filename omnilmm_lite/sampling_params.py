"""How an answer is drawn: what callers and bundles say about it."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TypedDict

from omnilmm_lite.errors import InputError

# Beyond them no answer is worth having, and far beyond them float32 makes 0 or infinity of a penalty.
MIN_REPETITION_PENALTY, MAX_REPETITION_PENALTY = 0.01, 100.0


@dataclass(frozen=True)
class SamplingParams:
    """How an answer is drawn. The defaults are the reference's; `greedy()` gives the deterministic choice."""

    temperature: float = 0.6  # 0 takes the best token and leaves the filters out
    top_k: int = 30  # 0: off
    top_p: float = 0.9  # 1: off
    min_p: float = 0.0  # 0: off
    repetition_penalty: float = 1.1  # 1: off
    presence_penalty: float = 0.0  # taken once from the logit of each token that was said; 0: off
    frequency_penalty: float = 0.0  # taken each time it was said; 0: off
    max_new_tokens: int = 1024
    seed: int | None = None  # None draws differently each time

    def __post_init__(self) -> None:
        """InputError names the first value out of its range."""
        ranges = {
            "temperature": (0 <= self.temperature < math.inf, "0 (greedy) or more"),
            "top_k": (self.top_k >= 0, "0 (off) or more"),
            "top_p": (0 < self.top_p <= 1, "above 0 and at most 1 (off)"),
            "min_p": (0 <= self.min_p <= 1, "from 0 (off) to 1"),
            "repetition_penalty": (
                MIN_REPETITION_PENALTY <= self.repetition_penalty <= MAX_REPETITION_PENALTY,
                f"from {MIN_REPETITION_PENALTY:g} to {MAX_REPETITION_PENALTY:g} (1: off)",
            ),
            "presence_penalty": (-2 <= self.presence_penalty <= 2, "from -2 to 2 (0: off)"),
            "frequency_penalty": (-2 <= self.frequency_penalty <= 2, "from -2 to 2 (0: off)"),
            "max_new_tokens": (self.max_new_tokens >= 1, "1 or more"),
            "seed": (self.seed is None or self.seed >= 0, "0 or more"),
        }
        for name, (valid, wanted) in ranges.items():
            if not valid:
                raise InputError(f"{name}: {getattr(self, name)} is out of range; give {wanted}")

    @classmethod
    def greedy(cls, *, repetition_penalty: float = 1.0, max_new_tokens: int = 1024) -> SamplingParams:
        """The best token each time, after the repetition penalty, which is off unless asked for."""
        return cls(temperature=0.0, repetition_penalty=repetition_penalty, max_new_tokens=max_new_tokens)

    @property
    def is_greedy(self) -> bool:
        return self.temperature == 0


class SamplingOptions(TypedDict, total=False):
    """What a caller may say about sampling; the rest are the bundle's defaults. `greedy` is temperature 0."""

    greedy: bool
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    max_new_tokens: int
    seed: int | None


def sampling_params(defaults: SamplingParams, options: SamplingOptions) -> SamplingParams:
    """`defaults` with `options` over them. InputError for values out of range."""
    changes = dict(options)
    if changes.pop("greedy", False):
        changes["temperature"] = 0.0
    return dataclasses.replace(defaults, **changes)  # type: ignore[arg-type]  # the TypedDict has its very fields
