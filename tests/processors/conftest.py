"""Emulated processors, and what is made on them."""

from __future__ import annotations

import pytest

from benchmarks.processors.emulation import Processor, can_emulate, find_emulator
from omnilmm_lite.errors import OmniLMMError


@pytest.fixture(scope="session")
def emulator() -> str:
    """Where it is; the tests that need it fail without it, so that nobody takes them for passed."""
    if not can_emulate():
        pytest.skip("emulates processors of x86-64, on x86-64")
    try:
        return find_emulator()
    except OmniLMMError as error:
        pytest.fail(str(error))


@pytest.fixture(params=Processor, ids=lambda processor: processor.value)
def processor(request: pytest.FixtureRequest, emulator: str) -> Processor:
    found: Processor = request.param
    return found
