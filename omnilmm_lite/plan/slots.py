"""How many answers at once this machine has memory for, by the plan."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.onnx_file import parse_graph, read_onnx
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine.device import AUTO, choose_device
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.machine.card import read_cards
from omnilmm_lite.machine.memory import available_bytes
from omnilmm_lite.plan.card_room import missing_room
from omnilmm_lite.plan.here import usable_bytes
from omnilmm_lite.plan.memory import make_plan
from omnilmm_lite.plan.planned_model import PlannedModel

MOST_BY_ITSELF = 8  # answers at once; beyond, a step takes nearly as many times longer: docs/scale.md
BATCHED = "seqlens_k"  # the decoder's input whose axis is free where it has slots


def has_slots(bundle: Bundle) -> bool:
    """Whether the bundle's decoder runs several answers at once: those made before there were slots don't."""
    path = bundle.path(bundle.manifest.graphs.decode)
    inputs = {each.name: each.shape for each in parse_graph(read_onnx(path), path).inputs}
    return isinstance(inputs[BATCHED][0], str)


def fitting_slots(bundle: Bundle, context: int, *, device: str = AUTO, resident: bool = False) -> int:
    """The most answers at once, 8 or fewer, that there is room for with `context` tokens each; 1 where even that is too
    much, which loading will say, for a bundle that no plan is made for, and for a card's that the CPU will run.
    `device`, `resident`: as `omnilmm_lite.load` has them."""
    if not has_slots(bundle):
        return 1
    try:
        model = PlannedModel.bundle(bundle.manifest.name, bundle)
    except InputError:
        return 1
    model = model.resident() if resident else model
    on_cards = bundle.manifest.target is Device.CUDA
    fits = _fits_cards(bundle, context, device) if on_cards else _fits_memory(model, context)
    return next((slots for slots in range(MOST_BY_ITSELF, 1, -1) if fits(slots)), 1)


def _fits_cards(bundle: Bundle, context: int, device: str) -> Callable[[int], bool]:
    try:
        choice = choose_device(device, bundle.manifest.target, partial(missing_room, bundle, context))
    except OmniLMMError:
        return lambda slots: False
    cards = read_cards()
    if choice.device is not Device.CUDA or not cards.found:  # or nobody can say what a card has
        return lambda slots: False
    return lambda slots: not missing_room(bundle, context, choice.placement, cards, slots)


def _fits_memory(model: PlannedModel, context: int) -> Callable[[int], bool]:
    known = [each for each in (usable_bytes(), available_bytes()) if each is not None]  # what other programs leave
    return lambda slots: make_plan(model, context, slots).needed_most <= min(known, default=math.inf)
