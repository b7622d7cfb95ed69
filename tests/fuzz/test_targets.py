"""Each target for a moment: `make fuzz` tries them for longer."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.attempt import attempt
from tests.fuzz.fuzz_target import load_target, target_modules
from tests.fuzz.mutations.mutation import mutated

# Inputs of each target, where not all take as long.
COUNT = 300
COUNTS = {
    "conversations": 40,
    "tokenizer_model": 8,
    "torch_file": 150,
    "weights_index": 50,
    "json_schema": 100,
    "manifest": 40,
    "onnx_graph": 100,
    "gptq_folder": 100,
}


@pytest.mark.parametrize("name", target_modules())
def test_what_is_right_is_taken(name: str) -> None:
    target = load_target(name)
    for seed in target.seeds:
        target.try_bytes(seed)


@pytest.mark.parametrize("name", target_modules())
def test_what_is_wrong_is_refused_in_one_line(name: str) -> None:
    target = load_target(name)

    @settings(derandomize=True, database=None, max_examples=COUNTS.get(name, COUNT))
    @given(st.integers(0, 2**32))
    def try_one(seed: int) -> None:
        finding = attempt(target, mutated(Random(seed), target.seeds, target.form))
        assert finding is None, f"{finding.kind}\n{finding.trace}"

    try_one()
