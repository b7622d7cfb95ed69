"""Room on cards before anything is loaded there: the plan against what a made-up card has free."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.presets import PRESETS
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.engine.device import DeviceError, open_session
from omnilmm_lite.engine.placement import DeviceId, Placement
from omnilmm_lite.machine.card import Card, CardProcess, Cards
from omnilmm_lite.model import load
from omnilmm_lite.plan.card_room import card_needs, missing_room, pictures_at_once
from omnilmm_lite.plan.memory import Plan, make_plan
from omnilmm_lite.plan.planned_model import PlannedModel
from omnilmm_lite.plan.workspace import CUDA_CONTEXT, tower_workspace
from tests.engine.fake_onnxruntime import CPU, CUDA
from tests.engine.fake_onnxruntime import install as install

GIB = 1 << 30
CONTEXT = 64
FIRST, SECOND = DeviceId(Device.CUDA, 0), DeviceId(Device.CUDA, 1)


@pytest.fixture
def bundle(tiny_bundle: Path) -> Bundle:
    """Small, and as if it were built for a card."""
    manifest = dataclasses.replace(Bundle.open(tiny_bundle).manifest, target=Device.CUDA, preset="24gb")
    return Bundle(tiny_bundle, manifest)


def full(preset: str) -> PlannedModel:
    return PlannedModel.planned("openbmb/OmniLMM-12B", OmniLMMConfig(), PRESETS[preset])


def plan_of(bundle: Bundle) -> Plan:
    return make_plan(PlannedModel.bundle("tiny", bundle), CONTEXT)


def card(free: int, index: int = 0, *processes: CardProcess, total: int = 24 * GIB) -> Card:
    return Card(index, "NVIDIA A" if index == 0 else "NVIDIA B", total, free, (8, 9), processes)


def test_a_card_needs_what_the_plan_says(bundle: Bundle) -> None:
    needed = plan_of(bundle).device_total
    placement = Placement.on(Device.CUDA)
    assert card_needs(PlannedModel.bundle("tiny", bundle), CONTEXT, placement) == {FIRST: needed}
    assert missing_room(bundle, CONTEXT, placement, Cards((card(needed),))) == ""
    assert missing_room(bundle, CONTEXT, placement, Cards((card(needed - 1),))) != ""
    assert missing_room(bundle, CONTEXT, placement, Cards(is_known=False)) == ""


@pytest.mark.parametrize("preset", ["24gb", "8gb"])
def test_two_cards_share_what_one_would_need(preset: str) -> None:
    """Together as much as one card without turns, and a second CUDA context; the weights are where they run."""
    model, placement = full(preset), Placement(SECOND, FIRST)
    needs = card_needs(model, 4096, placement)
    at_once = make_plan(dataclasses.replace(model, preset=dataclasses.replace(model.preset, time_shared=False)), 4096)
    assert sum(needs.values()) == at_once.device_total + CUDA_CONTEXT
    vision, decoder = (at_once.part(name) for name in ("vision", "decoder"))
    assert vision < needs[SECOND] < vision + 3 * GIB
    assert decoder + at_once.part("kv_cache") < needs[FIRST] < decoder + 3 * GIB


def test_the_line_has_the_numbers_and_who_uses_the_card(bundle: Bundle) -> None:
    needed = plan_of(bundle).device_total
    busy = (CardProcess(9, "Xorg", GIB // 2), CardProcess(7, "python3", 22 * GIB), CardProcess(8, "game", None),
            CardProcess(5, "small", 1))  # fmt: skip
    said = missing_room(bundle, CONTEXT, Placement.on(Device.CUDA), Cards((card(GIB // 4, 0, *busy),)))
    assert said == (
        "cuda:0 (NVIDIA A) has 0.2 of 24.0 GiB free (used by python3 (process 7) 22.0, Xorg (process 9) 0.5, small "
        f"(process 5) 0.0), and this bundle needs about {needed / GIB:.1f}: end other programs on it, or give a "
        "smaller --context, or convert with the preset for a smaller card"
    )


def test_another_card_that_has_room_is_named(bundle: Bundle) -> None:
    cards = Cards((card(0), card(9 * GIB, 1)))
    assert "take --device cuda:1, which has 9.0, or end" in missing_room(bundle, CONTEXT, Placement.on(FIRST), cards)
    assert missing_room(bundle, CONTEXT, Placement.on(SECOND), cards) == ""
    for placement, short in ((Placement(FIRST, SECOND), "cuda:0"), (Placement(SECOND, FIRST), "cuda:0")):
        assert missing_room(bundle, CONTEXT, placement, cards).startswith(f"{short} (NVIDIA A) has 0.0")


def test_a_context_that_is_there_already_is_not_needed_twice(bundle: Bundle, install: pytest.FixtureRequest) -> None:
    """As when a model is loaded again: what CUDA itself takes stays in use."""
    install([CUDA, CPU], [CUDA, CPU])  # type: ignore[operator]
    cards = Cards((card(plan_of(bundle).device_total - CUDA_CONTEXT), card(0, 1)))
    assert missing_room(bundle, CONTEXT, Placement.on(FIRST), cards) != ""
    open_session(Path("a.onnx"), SECOND)
    assert missing_room(bundle, CONTEXT, Placement.on(FIRST), cards) != ""
    open_session(Path("a.onnx"), FIRST)
    assert missing_room(bundle, CONTEXT, Placement.on(FIRST), cards) == ""


def test_a_card_that_is_too_small_needs_no_other_program_to_end(bundle: Bundle) -> None:
    said = missing_room(bundle, CONTEXT, Placement.on(Device.CUDA), Cards((card(10, total=20),)))
    assert "end other programs" not in said
    assert said.endswith(": give a smaller --context, or convert with the preset for a smaller card")


def test_bundles_without_a_plan_are_not_held_up(bundle: Bundle) -> None:
    unknown = Bundle(bundle.folder, dataclasses.replace(bundle.manifest, preset="of another time"))
    assert missing_room(unknown, CONTEXT, Placement.on(Device.CUDA), Cards((card(0),))) == ""


@pytest.mark.parametrize("wanted", ["auto", "cuda", "cuda:0"])
def test_loading_asks_first(
    bundle: Bundle, install: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, wanted: str
) -> None:
    """Before any session: `auto` goes on with the CPU and the same words."""
    import sys

    real = sys.modules["onnxruntime"]
    ort = install([CUDA, CPU], cards=Cards((card(GIB // 4),), "580.65.06", (13, 0)))  # type: ignore[operator]
    monkeypatch.setattr(Bundle, "find", lambda name: bundle)
    if wanted != "auto":
        with pytest.raises(
            DeviceError, match=rf"^--device {wanted}: cuda:0 \(NVIDIA A\) has 0\.2 of 24\.0 GiB free, and"
        ):
            load(device=wanted)
        assert "InferenceSession" not in ort.calls
        return
    reasons: list[str] = []

    def on_cpu(bundle: Bundle, choice: object, options: object) -> object:
        reasons.append(choice.reason)  # type: ignore[attr-defined]
        return choice

    monkeypatch.setitem(sys.modules, "onnxruntime", real)
    monkeypatch.setattr("omnilmm_lite.engine.device.import_onnxruntime", lambda: ort)
    monkeypatch.setattr("omnilmm_lite.model.BundleModel", on_cpu)
    assert load(device="auto").is_fallback  # type: ignore[attr-defined]
    assert reasons[0].startswith("the bundle is built for CUDA, but cuda:0 (NVIDIA A) has 0.2 of 24.0 GiB free")
    assert "InferenceSession" not in ort.calls


def test_so_many_pictures_at_once_as_are_free_twice_over(bundle: Bundle) -> None:
    phase = plan_of(bundle).phases[-1]
    weights = phase.vision + phase.resampler
    model = PlannedModel.bundle("tiny", bundle)
    each = 2 * tower_workspace(model.config, model.preset, kept=True).most
    rooms = {-1: 1, 0: 1, each: 1, 2 * each - 1: 1, 2 * each: 2, 4 * each: 4, 99 * each: 4}
    for room, pictures in rooms.items():
        assert pictures_at_once(bundle, FIRST, Cards((card(weights + room),)), 4) == pictures
    assert pictures_at_once(bundle, FIRST, Cards(is_known=False), 4) == 1
    unknown = Bundle(bundle.folder, dataclasses.replace(bundle.manifest, preset="of another time"))
    assert pictures_at_once(unknown, FIRST, Cards((card(20 * GIB),)), 4) == 1
