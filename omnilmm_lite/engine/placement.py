"""Which device runs which graphs: the CPU, one card of perhaps several, or two cards."""

from __future__ import annotations

import re
from dataclasses import dataclass

from omnilmm_lite.bundle.target import Device
from omnilmm_lite.errors import InputError

_CARD = re.compile(r"cuda(?::([0-9]{1,3}))?")


@dataclass(frozen=True)
class DeviceId:
    """The CPU, or the card of this number, as CUDA counts them."""

    device: Device
    index: int = 0

    @classmethod
    def of(cls, where: Device | DeviceId) -> DeviceId:
        """A kind of device alone means the first of it."""
        return cls(where) if isinstance(where, Device) else where

    def __str__(self) -> str:
        return self.device.value if self.device is Device.CPU else f"{self.device.value}:{self.index}"


@dataclass(frozen=True)
class Placement:
    """`vision`: tower and resampler. `decoder`: also the KV cache. Features cross between the two by the host."""

    vision: DeviceId
    decoder: DeviceId

    @classmethod
    def on(cls, where: Device | DeviceId) -> Placement:
        """Everything on one device."""
        return cls(DeviceId.of(where), DeviceId.of(where))

    @property
    def is_split(self) -> bool:
        return self.vision != self.decoder

    @property
    def devices(self) -> tuple[DeviceId, ...]:
        """Each device once."""
        return (self.vision, self.decoder) if self.is_split else (self.decoder,)

    def __str__(self) -> str:
        return ",".join(map(str, self.devices))


def parse_placement(wanted: str) -> Placement:
    """`cpu`, `cuda`, `cuda:1`, or `cuda:0,cuda:1` for tower and decoder; InputError for anything else."""
    if wanted == Device.CPU.value:
        return Placement.on(Device.CPU)
    matches = [_CARD.fullmatch(part) for part in wanted.split(",")]
    cards = [DeviceId(Device.CUDA, int(match[1] or 0)) for match in matches if match]
    if len(cards) != len(matches) or len(cards) > 2:
        raise InputError(
            f"device {wanted!r} is unknown: choose auto, cpu or cuda; cuda:1 is the second card, cuda:0,cuda:1 takes "
            "two, the first for pictures and the second for text"
        )
    return Placement(cards[0], cards[-1])
