"""Which preset suits a machine: the best that its largest card has room for, else one for the processor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from omnilmm_lite.bundle.presets import PRESETS, Preset
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.errors import InputError
from omnilmm_lite.machine.card import Card
from omnilmm_lite.machine.memory import Limit
from omnilmm_lite.plan.here import describe_here, judge_here
from omnilmm_lite.plan.memory import Plan, make_plan
from omnilmm_lite.plan.planned_model import PlannedModel
from omnilmm_lite.plan.verdict import GIB, judge, suited

CONTEXT = 4096  # what a model is loaded with where nothing else is said
FOR_THE_CPU = ("cpu", "cpu-small")  # the faster one first, which takes more memory


@dataclass(frozen=True)
class Room:
    """What a model may have here. `cards`: those that a graph was opened on; `no_card`: why there are none, one line.
    `ram`: the machine's, in bytes, None where the system doesn't tell; `limit`: a container's."""

    cards: Sequence[Card]
    no_card: str
    ram: int | None
    limit: Limit | None


@dataclass(frozen=True)
class PresetChoice:
    """A preset's plan, and why it was taken, for one line."""

    plan: Plan
    reason: str

    @property
    def preset(self) -> Preset:
        return self.plan.model.preset


def choose_preset(name: str, config: OmniLMMConfig, room: Room) -> PresetChoice:
    """InputError where no preset fits."""
    context = min(CONTEXT, config.decoder.max_position_embeddings)
    no_card = room.no_card
    if room.cards:
        card = max(room.cards, key=lambda each: each.total)
        there = f"{card.name} with {card.total / GIB:.1f} GiB"
        plans = [_plan(name, config, preset, context) for preset in PRESETS.values()]
        if (found := suited(plans, card.total / GIB)) is not None:
            return PresetChoice(found, f"the best that {there} has room for: {judge(found, card.total / GIB).text}")
        no_card = f"{there} has room for no preset"
    smallest = _plan(name, config, PRESETS[FOR_THE_CPU[-1]], context)
    if room.ram is None:
        return PresetChoice(smallest, f"{no_card}; and this system doesn't tell its RAM, so the one that takes least")
    for each in FOR_THE_CPU:
        plan = _plan(name, config, PRESETS[each], context)
        verdict = judge_here(plan, room.ram, room.limit)
        if verdict is not None and verdict.fits:
            return PresetChoice(plan, f"{no_card}; {describe_here(verdict, room.limit)}")
    size = room.ram if room.limit is None else room.limit.size
    raise InputError(
        f"no preset fits here: {smallest.model.preset.name} needs {smallest.needed / GIB:.1f} GiB of RAM, there are "
        f"{size / GIB:.1f}, and {no_card}; --preset takes one in spite of that"
    )


def asked_preset(name: str, config: OmniLMMConfig, preset: Preset, room: Room) -> PresetChoice:
    """The one that was asked for, with what speaks against it."""
    plan = _plan(name, config, preset, min(CONTEXT, config.decoder.max_position_embeddings))
    if preset.target is Device.CUDA:
        if not room.cards:
            return PresetChoice(plan, f"asked for, but {room.no_card}")
        card = max(room.cards, key=lambda each: each.total)
        return PresetChoice(plan, f"asked for; {card.name}: {judge(plan, card.total / GIB).text}")
    verdict = judge_here(plan, room.ram, room.limit)
    return PresetChoice(plan, "asked for" + ("" if verdict is None else f"; {describe_here(verdict, room.limit)}"))


def _plan(name: str, config: OmniLMMConfig, preset: Preset, context: int) -> Plan:
    return make_plan(PlannedModel.planned(name, config, preset), context)
