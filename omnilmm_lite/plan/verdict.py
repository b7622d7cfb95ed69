"""Whether a plan fits a card, or on the CPU a machine, and what to change where it doesn't."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from omnilmm_lite.bundle.packing import Packing
from omnilmm_lite.bundle.presets import PRESETS, Preset
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.plan.memory import Plan, make_plan
from omnilmm_lite.plan.planned_model import PlannedModel

GIB = 1 << 30
SIZES = (24, 16, 12, 8)  # GB, as cards are sold; binary ones in fact

# A card with 24 GB reports 23.5 to 24.0 GiB (24564 MiB on the GeForce RTX 4090), and a desktop on it takes some hundred
# MB: 95 % is what we count on. Of a machine's RAM, the firmware, the system and a browser take 2 GiB.
USABLE_OF_CARD = 0.95
SYSTEM_RAM = 2 * GIB

SHORTEST_CONTEXT = 1024  # below, a picture and its conversation hardly fit


@dataclass(frozen=True)
class Verdict:
    """Bytes; `spare` is negative where something is missing. `advice` is empty where nothing needs to change."""

    size: float  # GB
    usable: int
    spare: int
    advice: str

    @property
    def fits(self) -> bool:
        return self.spare >= 0

    @property
    def text(self) -> str:
        room = f"{abs(self.spare) / GIB:.1f} GiB"
        text = f"fits with {room} to spare" if self.fits else f"doesn't fit: {room} too much"
        return f"{text}; {self.advice}" if self.advice else text


def usable_bytes(size: float, device: Device) -> int:
    """The bytes that a card, or a machine, of `size` GB leaves to the model."""
    if device is Device.CUDA:
        return int(size * GIB * USABLE_OF_CARD)
    return max(0, int(size * GIB) - SYSTEM_RAM)


def judge(plan: Plan, size: float) -> Verdict:
    """Whether the plan fits a card, or a machine, of `size` GB."""
    return judge_usable(plan, size, usable_bytes(size, plan.model.preset.target))


def judge_usable(plan: Plan, size: float, usable: int) -> Verdict:
    """`judge` for `usable` bytes, which `size` GB leave to the model."""
    spare = usable - plan.needed
    if spare < 0:
        return Verdict(size, usable, spare, _advice(plan, usable, size))
    missing = plan.needed_most - usable
    advice = (
        f"prompts that fill the context, or more pictures, take {missing / GIB:.1f} GiB more" if missing > 0 else ""
    )
    return Verdict(size, usable, spare, advice)


def suited(plans: Sequence[Plan], size: float) -> Plan | None:
    """The first of the presets for CUDA that fits a card of `size` GB; they come with the best quality first."""
    cards = (plan for plan in plans if plan.model.preset.target is Device.CUDA)
    return next((plan for plan in cards if judge(plan, size).fits), None)


def _advice(plan: Plan, usable: int, size: float) -> str:
    """The longest context that fits, and the first preset that does."""
    ways = []
    context = plan.context // 2
    while context >= SHORTEST_CONTEXT:
        if make_plan(plan.model, context, plan.slots).needed <= usable:
            ways.append(f"--context {context}")
            break
        context //= 2
    if preset := _fitting_preset(plan, usable):
        way = f"--preset {preset.name}" + ("" if preset.packing is plan.model.preset.packing else " without --packing")
        ways.append(f"convert with {way}" if plan.model.is_bundle else way)
    if ways:
        return "take " + " or ".join(ways)
    if plan.model.preset.target is Device.CUDA:
        return "no preset fits such a card: take --preset cpu or cpu-small, which need none"
    return f"no preset fits in {size:g} GB of RAM"


def _fitting_preset(plan: Plan, usable: int) -> Preset | None:
    """For the same device, in the same packing if any fits so, and no larger than this one."""
    model, own = plan.model, plan.model.preset
    for packing in dict.fromkeys((own.packing, Packing.BLOCKWISE)):
        for preset in (each.packed(packing) for each in PRESETS.values() if each.target is own.target):
            if (preset.name, preset.packing) == (own.name, own.packing):
                continue
            if (
                make_plan(PlannedModel.planned(model.name, model.config, preset), plan.context, plan.slots).needed
                <= usable
            ):
                return preset
    return None
