"""What a setup would do here, said before anything is done: the preset and why, download, disk, memory, time."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from omnilmm_lite.bundle.presets import find_preset
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.doctor import diagnose
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.files.size import shown_size
from omnilmm_lite.machine.memory import machine_bytes, memory_limit
from omnilmm_lite.plan.choice import PresetChoice, Room, asked_preset, choose_preset
from omnilmm_lite.plan.disk import decoder_values
from omnilmm_lite.plan.verdict import GIB

# A layer of the full size on two cores of a server's processor, with a calibration as short as the built-in one:
# docs/quantization.md. What takes it is arithmetic, so it goes by the number of weights.
LAYER_S, LAYERS = 203, 32


@dataclass(frozen=True)
class Download:
    """`size`: bytes still to come; `folder`: where they will lie."""

    size: int
    folder: Path

    def describe(self) -> str:
        return f"{shown_size(self.size)} to {self.folder}" if self.size else f"none: it is in {self.folder}"


@dataclass(frozen=True)
class Proposal:
    """`out`, `work`: where the bundle will lie, and what is kept until then."""

    choice: PresetChoice
    download: Download
    out: Path
    work: Path

    @property
    def preset(self) -> str:
        return self.choice.preset.name

    def lines(self) -> list[str]:
        """For people, a fact a line."""
        plan, disk = self.choice.plan, self.choice.plan.model.disk
        where = "of the card" if plan.model.preset.target is Device.CUDA else "of RAM"
        rows = {
            "preset": f"{self.preset}: {self.choice.preset.summary}",
            "why": self.choice.reason,
            "download": self.download.describe(),
            "disk": f"{shown_size(disk.bundle)} for the model in {self.out}, {shown_size(disk.work)} more while it is "
            f"made; {shown_size(_free(self.out))} are free",
            "memory": f"{plan.needed / GIB:.1f} GiB {where} to answer about a picture, with {plan.context} tokens of "
            "context",
            "time": _describe_time(plan.model.config) if plan.model.preset.quantized else "minutes",
        }
        return [f"{name:<10}{value}" for name, value in rows.items()]

    def check_disk(self) -> None:
        """OmniLMMError where the disk can't take it; what an earlier run has left there needs no room."""
        from quantize.disk import used_bytes  # needs the extra `convert`; bundles are set up without it

        disk = self.choice.plan.model.disk
        needed = disk.bundle + max(0, disk.work - used_bytes(self.work))
        if _device(self.download.folder) == _device(self.out):
            needed += self.download.size
        if not self.out.is_dir() and needed > (free := _free(self.out)):
            raise OmniLMMError(
                f"{self.out.parent}: {shown_size(needed)} are needed there, {shown_size(free)} are free: make room, "
                "or set OMNILMM_HOME to a folder on another disk"
            )


def choose(name: str, config: OmniLMMConfig, preset: str | None) -> PresetChoice:
    """Looks at the machine as `doctor` does. InputError where no preset fits, or there is none of that name;
    OmniLMMError where this machine computes wrong."""
    room = look_at_machine()
    if preset is None:
        return choose_preset(name, config, room)
    return asked_preset(name, config, find_preset(preset), room)


def look_at_machine() -> Room:
    """What may be had here. OmniLMMError where the CPU, which converts for every device, can't be relied on."""
    found = diagnose()
    if found.arithmetic is None or not all(proof.holds for proof in found.arithmetic.proofs):
        raise OmniLMMError(f"this machine can't be used: {found.problems[0]}; `omnilmm-lite doctor` says more")
    unusable = next((each for each in found.cards if not each.works), None)
    no_card = "no CUDA card" if unusable is None else f"{unusable.card.name} can't be used ({unusable.detail})"
    return Room([each.card for each in found.cards if each.works], no_card, machine_bytes(), memory_limit())


def _describe_time(config: OmniLMMConfig) -> str:
    share = decoder_values(config.decoder) / decoder_values(OmniLMMConfig().decoder)
    hours = LAYER_S * LAYERS / 3600 * share
    if hours < 0.1:
        return "minutes"
    return f"about {hours:.1f} hours of quantizing, by what two cores were measured to need; may be stopped at any time"


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(each for each in (folder.absolute(), *folder.absolute().parents) if each.is_dir())


def _free(folder: Path) -> int:
    return shutil.disk_usage(_existing(folder)).free


def _device(folder: Path) -> int:
    return _existing(folder).stat().st_dev
