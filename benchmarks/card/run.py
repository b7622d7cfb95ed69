"""One run of all stages: what it is asked for, and where it keeps everything."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.full_width import sized
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.files.durable_file import write_json
from omnilmm_lite.files.json_file import read_json

Json: TypeAlias = dict[str, Any]

ROOT = Path(__file__).parent.parent.parent
PACKED = Path(__file__).parent / "packed"  # what `benchmarks.card.pack` brought along, where it did
SLIM = (2, 2)  # decoder layers and tower blocks, at full width
PRESETS = ("24gb", "16gb", "12gb", "8gb")
SHARED_MEMORY = Path("/dev/shm")
BUNDLE_BYTES = 40e9  # more than all bundles take: see `benchmarks.card.synthetic`


@dataclass(frozen=True)
class Run:
    """`small`: two layers, two blocks, small products. `bundles`: the folder for what is large."""

    work: Path
    bundles: Path
    device: Device
    small: bool = False

    @property
    def config(self) -> OmniLMMConfig:
        """Of the bundles that are measured."""
        return sized(*SLIM) if self.small else OmniLMMConfig()

    @property
    def on_card(self) -> bool:
        return self.device is Device.CUDA

    @property
    def size(self) -> str:
        return "small" if self.small else "full"

    def result(self, stage: str) -> Path:
        """A card's results stay where a later run finds no card."""
        return self.work / "results" / f"{self.device.value}-{self.size}" / f"{stage}.json"

    def partial(self, stage: str) -> Path:
        """What a stage has measured so far."""
        return self.work / "partial" / f"{stage}.json"

    def log(self, stage: str) -> Path:
        return self.work / "logs" / f"{stage}.log"

    @property
    def build_ended(self) -> Path:
        """There once no bundle is being made any more."""
        return self.work / "build-ended"

    def scratch(self, name: str) -> Path:
        """An empty folder for large files of short life."""
        folder = self.bundles / "scratch" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def save(self) -> None:
        """Makes the work folder, and leaves there what a stage's process reads with `read`."""
        for folder in (self.result("").parent, self.work / "partial", self.work / "logs"):
            folder.mkdir(parents=True, exist_ok=True)
        self.bundles.mkdir(parents=True, exist_ok=True)
        facts = {"bundles": str(self.bundles), "device": self.device.value, "small": self.small}
        write_json(self.work / "run.json", facts)

    @classmethod
    def read(cls, work: Path) -> Run:
        """The run that was saved in `work`."""
        facts = read_json(work / "run.json")
        return cls(work, Path(facts["bundles"]), Device(facts["device"]), small=bool(facts["small"]))


def bundle_folder(work: Path) -> Path:
    """In memory where there is room for it, so that a card doesn't wait for a disk; else in the work folder."""
    if SHARED_MEMORY.is_dir() and shutil.disk_usage(SHARED_MEMORY).free > BUNDLE_BYTES:
        return SHARED_MEMORY / "omnilmm-card"
    return work / "bundles"
