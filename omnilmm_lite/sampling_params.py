"""How an answer is drawn: what callers and bundles say about it."""

from __future__ import annotations

import dataclasses
import math
import numbers
from dataclasses import dataclass
from typing import TypedDict

from omnilmm_lite.errors import InputError
from omnilmm_lite.files.printable import printable

# Beyond them no answer is worth having, and far beyond them float32 makes 0 or infinity of a penalty.
MIN_REPETITION_PENALTY, MAX_REPETITION_PENALTY = 0.01, 100.0
LIMIT = 2**63  # of whole numbers: beyond it numpy has no type for them
SEEDS = 2**64  # other programs draw them from as many
REALS = ("temperature", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty")
WHOLE = ("top_k", "max_new_tokens", "seed")


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
        """InputError names the first value that is out of its range, or no number of its kind."""
        for name in REALS:
            _check(name, getattr(self, name), numbers.Real, "a number")
        for name in WHOLE:
            if name != "seed" or self.seed is not None:
                _check(name, getattr(self, name), numbers.Integral, "a whole number")
        ranges = {
            "temperature": (0 <= self.temperature < math.inf, "0 (greedy) or more"),
            "top_k": (0 <= self.top_k < LIMIT, "0 (off) or more"),
            "top_p": (0 < self.top_p <= 1, "above 0 and at most 1 (off)"),
            "min_p": (0 <= self.min_p <= 1, "from 0 (off) to 1"),
            "repetition_penalty": (
                MIN_REPETITION_PENALTY <= self.repetition_penalty <= MAX_REPETITION_PENALTY,
                f"from {MIN_REPETITION_PENALTY:g} to {MAX_REPETITION_PENALTY:g} (1: off)",
            ),
            "presence_penalty": (-2 <= self.presence_penalty <= 2, "from -2 to 2 (0: off)"),
            "frequency_penalty": (-2 <= self.frequency_penalty <= 2, "from -2 to 2 (0: off)"),
            "max_new_tokens": (1 <= self.max_new_tokens < LIMIT, "1 or more"),
            "seed": (self.seed is None or 0 <= self.seed < SEEDS, "0 or more"),
        }
        for name, (valid, wanted) in ranges.items():
            if not valid:
                raise InputError(f"{name}: {_shown(getattr(self, name))} is out of range; give {wanted}")

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


def _check(name: str, value: object, kind: type, wanted: str) -> None:
    if isinstance(value, bool) or not isinstance(value, kind):
        raise InputError(f"{name}: {printable(repr(value))} is not {wanted}")
    if kind is numbers.Real and isinstance(value, numbers.Integral) and abs(int(value)) >= LIMIT:
        raise InputError(f"{name}: {_shown(value)} is out of range; give a number that is worth having")


def _shown(value: object) -> str:
    """Python refuses to write whole numbers of thousands of digits."""
    too_long = isinstance(value, numbers.Integral) and abs(int(value)) >= LIMIT
    return "a number of more than 18 digits" if too_long else printable(str(value))
