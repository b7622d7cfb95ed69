"""Several pictures in one run of the tower, as on a card, by a stand-in for where the tower is."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from omnilmm_lite import load
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine.vision import Encode
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.model import BundleModel
from omnilmm_lite.pipeline.asked import Asked
from omnilmm_lite.pipeline.encoding import MOST_TOGETHER, Encoded, encoding
from omnilmm_lite.pipeline.width import STEPS
from tests.caption.test_caption import noise

Pixels = NDArray[np.float32]
SLACK = 2e-5  # fp32: what one picture's products add up, and those of four, in another order


class Tower:
    """Which pictures it was given together; `most` are what it has memory for."""

    def __init__(self, encode: Encode, most: int = MOST_TOGETHER) -> None:
        self.runs: list[int] = []
        self.clock = 0.0
        self._encode, self._most = encode, most

    def __call__(self, pixels: Pixels) -> Pixels:
        self.runs.append(len(pixels))
        self.clock += 1.0 + 0.1 * len(pixels)  # four in 1.4, one in 1.1
        if len(pixels) > self._most:
            raise OmniLMMError("the card has no memory left")
        return self._encode(pixels)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> BundleModel:
    model = load("tiny", threads=1)
    card = SimpleNamespace(placement=SimpleNamespace(vision=SimpleNamespace(device=Device.CUDA)))
    monkeypatch.setattr(model, "device", card)
    monkeypatch.setattr("omnilmm_lite.pipeline.encoding.pictures_at_once", lambda *given: MOST_TOGETHER)
    return model


def tower_of(model: BundleModel, monkeypatch: pytest.MonkeyPatch, **options: int) -> Tower:
    tower = Tower(model.parts.open_tower(), **options)
    monkeypatch.setattr(model.vision, "_open_tower", lambda: tower)
    monkeypatch.setattr("omnilmm_lite.pipeline.encoding.time.perf_counter", lambda: tower.clock)
    return tower


def pictures(model: BundleModel, count: int) -> Iterator[Asked[int]]:
    """Every third one comes again at once, and one is none."""
    for number in range(count):
        yield Asked(number, model.vision.prepare(noise(number)))
        if number % 3 == 0:
            yield Asked(number, model.vision.prepare(noise(number)))
    yield Asked(-1)


def encoded(model: BundleModel, count: int) -> list[Encoded[int]]:
    with encoding(model, pictures(model, count)) as stream:
        found = []
        while True:
            try:
                found.append(next(stream))
            except StopIteration:
                return found


def test_as_many_as_pay_and_each_as_by_itself(model: BundleModel, monkeypatch: pytest.MonkeyPatch) -> None:
    tower = tower_of(model, monkeypatch)
    count = 9 * STEPS
    found = encoded(model, count)
    assert [each.what for each in found] == [asked.what for asked in pictures(model, count)]
    assert tower.runs[:STEPS] == [1] * STEPS and tower.runs[-8:-2] == [4] * 6
    assert sum(tower.runs) == count  # those that come again are remembered
    assert found[-1].features is None
    alone = load("tiny", threads=1).vision
    for each in found[:-1:20]:
        assert each.features is not None
        expected = alone.encode(noise(each.what)).values
        np.testing.assert_allclose(each.features.values, expected, rtol=SLACK, atol=SLACK)
    assert sum(each.vision_s for each in found) == pytest.approx(tower.clock)


def test_a_card_without_the_memory_for_several_goes_on_one_by_one(
    model: BundleModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower = tower_of(model, monkeypatch, most=1)
    count = 3 * STEPS
    found = encoded(model, count)
    assert [each.what for each in found] == [asked.what for asked in pictures(model, count)]
    assert tower.runs.count(2) == 1 and set(tower.runs) == {1, 2}
    assert all(each.features is not None for each in found[:-1])


def test_one_picture_that_fails_is_a_failure(model: BundleModel, monkeypatch: pytest.MonkeyPatch) -> None:
    tower_of(model, monkeypatch, most=0)
    with pytest.raises(OmniLMMError, match="no memory left"):
        encoded(model, 3)
