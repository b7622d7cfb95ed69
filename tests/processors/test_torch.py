"""What calibration and the checks of graphs compute with torch, on each processor."""

from __future__ import annotations

import json

import pytest

from benchmarks.processors.emulation import Processor, run_python

PRODUCTS = ["-m", "tests.processors.torch_products"]


def check(processor: Processor | None) -> dict[str, object]:
    found: dict[str, object] = json.loads(run_python(processor, PRODUCTS))
    assert found["integer_product"] is True
    # oneDNN's, which integer_product takes with VNNI only; here it is right everywhere
    assert found["_int_mm"] is True
    assert isinstance(found["floats"], float) and found["floats"] <= 1
    return found


def test_torch_is_right_here() -> None:
    check(None)


@pytest.mark.emulated
@pytest.mark.parametrize("processor", [Processor.HASWELL, Processor.NEHALEM], ids=lambda processor: processor.value)
def test_torch_is_right_without_vnni(processor: Processor, emulator: str) -> None:
    assert check(processor)["vnni"] is False
