"""What is measured, and where it is kept."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnilmm_lite.bench.settings import DEFAULT_DECODE_AT, DEFAULT_PREFILL, DEFAULT_REPEAT
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.durable_file import write_json
from omnilmm_lite.files.json_file import read_json
from omnilmm_lite.machine.threads import default_threads

FULL = OmniLMMConfig()


@dataclass(frozen=True)
class Settings:
    """What the results depend on: a work folder is for one of these. Named as the options are."""

    layers: int = FULL.decoder.num_hidden_layers
    blocks: int = FULL.vision.num_hidden_layers
    seed: int = 0
    prefill: str = DEFAULT_PREFILL
    decode_at: str = DEFAULT_DECODE_AT
    repeat: int = DEFAULT_REPEAT  # of the bench, and of the rounds with peers
    threads: int | None = None  # None: the default
    checkpoint: str | None = None  # made earlier; None: made here
    gptq: str | None = None

    @property
    def is_full_size(self) -> bool:
        return (self.layers, self.blocks) == (FULL.decoder.num_hidden_layers, FULL.vision.num_hidden_layers)

    @property
    def peer_threads(self) -> int:
        """Peers have to be told a number."""
        return self.threads or default_threads() or 1


@dataclass(frozen=True)
class Run:
    """`peers`: their interpreter; None: they are skipped. `gguf`, `openvino`: made earlier. `presets`: in their order;
    empty for all."""

    settings: Settings
    work: Path
    peers: Path | None = None
    gguf: Path | None = None
    openvino: Path | None = None
    presets: tuple[str, ...] = ()
    remove_bundles: bool = False
    python: str = sys.executable

    @property
    def checkpoint(self) -> Path:
        return Path(self.settings.checkpoint) if self.settings.checkpoint else self.work / "checkpoint"

    @property
    def gptq(self) -> Path:
        return Path(self.settings.gptq) if self.settings.gptq else self.work / "gptq"

    @property
    def gguf_file(self) -> Path:
        return self.gguf or self.work / "peers" / "mistral-q4_0.gguf"

    @property
    def openvino_folder(self) -> Path:
        return self.openvino or self.work / "peers" / "mistral-openvino"

    def bundle(self, preset: str) -> Path:
        return self.work / "bundles" / preset

    def result(self, stage: str) -> Path:
        return self.work / "results" / f"{stage}.json"

    def begun(self, stage: str) -> Path:
        """There while the stage is being run, and after an interruption."""
        return self.work / "results" / f"{stage}.begun"

    def log(self, stage: str) -> Path:
        return self.work / "logs" / f"{stage}.log"

    def read(self, stage: str) -> dict[str, Any] | None:
        """None where it hasn't been run."""
        file = self.result(stage)
        return read_json(file) if file.is_file() else None


def claim(run: Run) -> None:
    """Makes the work folder, or finds it begun with the same settings; InputError names the option that differs."""
    for folder in ("results", "logs", "bundles", "peers"):
        (run.work / folder).mkdir(parents=True, exist_ok=True)
    file = run.work / "arguments.json"
    asked = dataclasses.asdict(run.settings)
    if not file.is_file():
        write_json(file, asked)
        return
    begun = read_json(file)
    for name, value in asked.items():
        if begun.get(name) != value:
            raise InputError(
                f"--{name.replace('_', '-')}: {run.work} was begun with {_shown(begun.get(name))}, not "
                f"{_shown(value)}; give the same, or name another --work"
            )


def _shown(value: object) -> str:
    return "none" if value is None else str(value)
