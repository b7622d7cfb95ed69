"""What sampling may be told, and what it says to everything else."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from omnilmm_lite.errors import InputError
from omnilmm_lite.sampling_params import REALS, WHOLE, SamplingParams, sampling_params

NONSENSE: list[Any] = ["x", "", b"1", None, [], {}, (1,), object(), True, 1j, "1.0", "x" * 10_000, [0] * 50_000]
HUGE = [10**400, -(10**400), 10**5000, 2**63, 2**64, -(2**70)]


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(SamplingParams)])
@pytest.mark.parametrize(
    "value", [*NONSENSE, *HUGE, math.nan, math.inf, -math.inf, -1, -0.5], ids=range(len(NONSENSE) + len(HUGE) + 5)
)
def test_anything_else_is_one_line_that_names_it(name: str, value: Any) -> None:
    allowed = (name == "seed" and value in (None, 2**63)) or (value in (-1, -0.5) and name.endswith("_penalty"))
    if allowed and name != "repetition_penalty":
        SamplingParams(**{name: value})
        return
    with pytest.raises(InputError) as caught:
        sampling_params(SamplingParams(), {name: value})  # type: ignore[misc]
    text = str(caught.value)
    assert text.startswith(f"{name}: ") and text.isprintable() and len(text) < 300


@pytest.mark.parametrize("name", WHOLE)
def test_a_fraction_is_no_count(name: str) -> None:
    with pytest.raises(InputError, match="whole number"):
        SamplingParams(**{name: 1.0})  # type: ignore[arg-type]


def test_numpy_s_numbers_are_numbers() -> None:
    values: dict[str, Any] = dict.fromkeys(REALS, np.float32(0.5)) | dict.fromkeys(WHOLE, np.int64(5))
    assert SamplingParams(**values).top_k == 5
