"""What a setup has settled and finished, so that the same command goes on with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnilmm_lite.errors import InputError
from omnilmm_lite.files.durable_file import write_json
from omnilmm_lite.files.json_file import read_json, shown

VERSION = 1
FILE = "setup.json"


@dataclass(frozen=True)
class SetupState:
    """`source`: what was asked for. `preset`: None for a bundle, which needs none. `checkpoint`, `origin`: the fetched
    folder and where it is from, None until it is there."""

    source: str
    preset: str | None
    calibration: Path | None
    checkpoint: Path | None = None
    origin: str | None = None

    def write(self, folder: Path) -> None:
        """Into the setup's work folder."""
        write_json(
            folder / FILE,
            {
                "version": VERSION,
                "source": self.source,
                "preset": self.preset,
                "calibration": None if self.calibration is None else str(self.calibration),
                "checkpoint": None if self.checkpoint is None else str(self.checkpoint),
                "origin": self.origin,
            },
        )

    @classmethod
    def read(cls, folder: Path) -> SetupState | None:
        """None where no setup has begun there. InputError where its file is damaged, or of another version."""
        file = folder / FILE
        if not file.is_file():
            return None
        again = f"remove {folder}, and begin again"
        data = read_json(file, again)
        texts: dict[str, Any] = {
            name: data.get(name) for name in ("source", "preset", "calibration", "checkpoint", "origin")
        }
        wrong = [name for name, value in texts.items() if value is not None and not isinstance(value, str)]
        if data.get("version") != VERSION or wrong or texts["source"] is None:
            found = f"{wrong[0]} is {shown(texts[wrong[0]])}" if wrong else f"version {shown(data.get('version'))}"
            raise InputError(f"{file}: this is no setup of this version ({found}); {again}")
        paths = {name: None if texts[name] is None else Path(texts[name]) for name in ("calibration", "checkpoint")}
        return cls(**(texts | paths))
