"""Whether a bundle has room on the cards it is to run on, as much as is free of them now: asked before it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.bundle.tensor_size import loaded_bytes
from omnilmm_lite.engine.device import has_context
from omnilmm_lite.engine.placement import DeviceId, Placement
from omnilmm_lite.errors import InputError
from omnilmm_lite.machine.card import Card, Cards
from omnilmm_lite.plan.memory import make_plan
from omnilmm_lite.plan.planned_model import PlannedModel
from omnilmm_lite.plan.verdict import GIB
from omnilmm_lite.plan.workspace import CUDA_CONTEXT, tower_workspace

SHOWN_PROCESSES = 3


def missing_room(bundle: Bundle, context: int, placement: Placement, cards: Cards, slots: int = 1) -> str:
    """Which of the cards has less free than the plan says is needed there, in one line; an empty string where none
    has, or where there is no plan for such a bundle."""
    try:
        needs = card_needs(PlannedModel.bundle(bundle.manifest.name, bundle), context, placement, slots)
    except InputError:
        return ""
    for device, total in needs.items():
        needed = total - (CUDA_CONTEXT if has_context(device) else 0)  # which isn't free any more
        card = cards.at(device.index)
        if card is not None and card.free < needed:
            return _describe(device, cards, needed)
    return ""


def card_needs(model: PlannedModel, context: int, placement: Placement, slots: int = 1) -> Mapping[DeviceId, int]:
    """Bytes on each card, for one picture and one question, by the plan."""
    if not placement.is_split:
        return {placement.decoder: make_plan(model, context, slots).device_total}
    # Two phases of a bundle that loads its tower in turns are what two cards hold at the same time: each has its own
    # part of the engine's buffers, and its own context. The cache is where the decoder is.
    in_turns = replace(model, preset=replace(model.preset, target=Device.CUDA, time_shared=True))
    phases = {phase.name: phase for phase in make_plan(in_turns, context, slots).phases}
    picture, answer = phases["picture"], phases["answer"]
    return {placement.vision: picture.total - picture.kv_cache, placement.decoder: answer.total}


def pictures_at_once(bundle: Bundle, device: DeviceId, cards: Cards, most: int) -> int:
    """How many pictures, 1 to `most`, one run of the tower may have on a card where the decoder is loaded and the tower
    isn't yet. Twice what the plan says of each has to be free, as none of it was ever measured."""
    card = cards.at(device.index)
    try:
        model = PlannedModel.bundle(bundle.manifest.name, bundle)
    except InputError:
        return 1
    if card is None:
        return 1
    weights = sum(loaded_bytes(each, Device.CUDA) for each in (model.graphs.vision, model.graphs.resampler))
    each = tower_workspace(model.config, model.preset, kept=True).most
    return max(1, min(most, (card.free - weights) // (2 * each)))


def _describe(device: DeviceId, cards: Cards, needed: int) -> str:
    card = cards.at(device.index)
    assert card is not None  # its room was looked at
    ways = [
        f"take --device {DeviceId(Device.CUDA, other.index)}, which has {other.free / GIB:.1f}"
        for other in cards.found
        if other.free >= needed
    ][:1]
    if needed <= card.total:
        ways.append("end other programs on it")
    ways += ["give a smaller --context", "convert with the preset for a smaller card"]
    return (
        f"{device} ({card.name}) has {card.free / GIB:.1f} of {card.total / GIB:.1f} GiB free{_users(card)}, and this "
        f"bundle needs about {needed / GIB:.1f}: {', or '.join(ways)}"
    )


def _users(card: Card) -> str:
    """Who has most of its memory, as far as the driver tells."""
    most = sorted(card.processes, key=lambda process: process.used or 0, reverse=True)[:SHOWN_PROCESSES]
    sizes = ["" if each.used is None else f" {each.used / GIB:.1f}" for each in most]
    users = [f"{each.name} (process {each.pid}){size}" for each, size in zip(most, sizes, strict=True)]
    return f" (used by {', '.join(users)})" if users else ""
