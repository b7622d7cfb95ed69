"""Which preset a machine gets: by the plan's own numbers, which other tests hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from omnilmm_lite.bundle.presets import PRESETS
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.errors import InputError
from omnilmm_lite.machine.card import Card
from omnilmm_lite.machine.memory import Limit
from omnilmm_lite.plan.choice import Room, asked_preset, choose_preset
from omnilmm_lite.plan.memory import make_plan
from omnilmm_lite.plan.planned_model import PlannedModel
from omnilmm_lite.plan.verdict import GIB, SYSTEM_RAM

NAME, CONFIG = "openbmb/OmniLMM-12B", OmniLMMConfig()


def card(gib: float, index: int = 0) -> Card:
    return Card(index, f"card of {gib:g}", int(gib * GIB), int(gib * GIB), (8, 9))


def room(*cards: Card, ram: int | None = 64 * GIB, limit: int | None = None) -> Room:
    there = None if limit is None else Limit(limit, Path("/sys/fs/cgroup/memory.max"))
    return Room(cards, "no CUDA card", ram, there)


def needed(preset: str) -> int:
    return make_plan(PlannedModel.planned(NAME, CONFIG, PRESETS[preset]), 4096).needed


@pytest.mark.parametrize(
    ("gib", "preset"), [(80, "24gb"), (15.9, "24gb"), (13.95, "16gb"), (13.5, "12gb"), (11.9, "12gb"), (8, "8gb")]
)
def test_a_card_gets_the_best_that_fits_it(gib: float, preset: str) -> None:
    """By docs/memory.md's table: 24gb takes 13.31 GiB, 16gb 13.19, of the 95 % of a card that are counted on."""
    choice = choose_preset(NAME, CONFIG, room(card(gib)))
    assert choice.preset.name == preset
    assert f"card of {gib:g} with {gib:.1f} GiB" in choice.reason


def test_the_largest_card_counts() -> None:
    choice = choose_preset(NAME, CONFIG, room(card(8), card(24, 1)))
    assert (choice.preset.name, "card of 24" in choice.reason) == ("24gb", True)


def test_a_card_that_is_too_small_leaves_it_to_the_cpu() -> None:
    choice = choose_preset(NAME, CONFIG, room(card(2)))
    assert choice.preset.name == "cpu"
    assert "card of 2 with 2.0 GiB has room for no preset; this machine's RAM" in choice.reason


@pytest.mark.parametrize("as_limit", [False, True])
def test_without_a_card_the_ram_decides(as_limit: bool) -> None:
    """A container's limit counts as it is; of a machine's RAM, the system takes a part."""

    def chosen(usable: int) -> str:
        here = room(limit=usable) if as_limit else room(ram=usable + SYSTEM_RAM)
        return choose_preset(NAME, CONFIG, here).preset.name

    assert needed("cpu-small") < needed("cpu")
    assert chosen(needed("cpu")) == "cpu"
    assert chosen(needed("cpu") - 1) == "cpu-small"
    assert chosen(needed("cpu-small")) == "cpu-small"
    with pytest.raises(InputError, match=r"no preset fits here: cpu-small needs .* --preset takes one"):
        chosen(needed("cpu-small") - 1)


def test_where_the_ram_isn_t_known_the_smallest_is_taken() -> None:
    choice = choose_preset(NAME, CONFIG, room(ram=None))
    assert (choice.preset.name, "doesn't tell its RAM" in choice.reason) == ("cpu-small", True)


def test_what_is_asked_for_is_taken_and_judged() -> None:
    asked = asked_preset(NAME, CONFIG, PRESETS["24gb"], room())
    assert (asked.preset.name, asked.reason) == ("24gb", "asked for, but no CUDA card")
    assert "doesn't fit" in asked_preset(NAME, CONFIG, PRESETS["24gb"], room(card(8))).reason
    assert "fits with" in asked_preset(NAME, CONFIG, PRESETS["8gb"], room(card(24))).reason
    assert "doesn't fit" in asked_preset(NAME, CONFIG, PRESETS["cpu"], room(ram=8 * GIB)).reason
