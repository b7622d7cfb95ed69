"""What a result depends on: the card, the driver, and what is installed."""

from __future__ import annotations

import platform
from importlib import metadata

from omnilmm_lite.bench.card.ballast import SAME, SOLD
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.machine.card import MIB, Cards
from omnilmm_lite.machine.processor import processor_name
from omnilmm_lite.version import __version__

ENGINES = ("onnxruntime-gpu", "onnxruntime")
NONE = "none"


def made_with(cards: Cards, device: Device, size: str) -> dict[str, str]:
    """What a result depends on: where any of it differs, a stage is run again. The first card counts, if it is used."""
    card, driver = NONE, NONE
    if device is Device.CUDA and cards.found:
        first = cards.found[0]
        capability = ".".join(map(str, first.capability))
        card = f"{first.name}, {first.total // MIB} MiB, compute capability {capability}"
        driver = cards.driver or "unknown"
    return {
        "card": card,
        "driver": driver,
        "device": device.value,
        "size": size,
        "processor": processor_name(),
        "onnxruntime": next((f"{name} {found}" for name in ENGINES if (found := version(name))), "not installed"),
        "omnilmm-lite": __version__,
        "torch": version("torch") or "not installed",
        "python": platform.python_version(),
    }


def holds(cards: Cards, gb: int) -> bool:
    """Whether the first card is sold as one of `gb` GB, or as a larger one."""
    return bool(cards.found) and cards.found[0].total >= SAME * SOLD[gb] * MIB


def cuda_packages() -> list[tuple[str, str]]:
    """NVIDIA's packages in this environment, and their versions."""
    names = {str(each.metadata["Name"]) for each in metadata.distributions()}
    return sorted((name, version(name) or "") for name in names if name.startswith("nvidia-"))


def version(package: str) -> str | None:
    """Of an installed package; None where it isn't."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
