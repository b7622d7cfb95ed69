"""Where a long quantization keeps what it has finished, so that it can be killed at any moment and go on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.durable import write_json
from export.json_file import read_json
from omnilmm_lite.errors import InputError

DATA = ("checkpoint", "calibration")  # arguments that stand for data: their hashes tell nobody anything


@dataclass(frozen=True)
class WorkFolder:
    """Every file appears whole or not at all, but for the log, which is for people."""

    path: Path

    @property
    def gptq(self) -> Path:
        """The finished GPTQ checkpoint."""
        return self.path / "gptq"

    @property
    def plain(self) -> Path:
        """The tensors that stay as they are."""
        return self.path / "plain.safetensors"

    def tensors(self, layer: int) -> Path:
        """A finished layer; written last, so if it is there the layer is finished."""
        return self.path / f"layer-{layer:03}.safetensors"

    def report(self, layer: int) -> Path:
        return self.path / f"layer-{layer:03}.json"

    def log(self, record: Mapping[str, Any]) -> None:
        """Adds a line to log.jsonl."""
        with (self.path / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def check_arguments(self, arguments: Mapping[str, Any]) -> None:
        """Remembers the arguments at the first run; InputError, naming them, if a later run brings others."""
        file = self.path / "arguments.json"
        if not file.is_file():
            write_json(file, arguments)
            return
        before = read_json(file)
        changed = [name for name in arguments.keys() | before.keys() if arguments.get(name) != before.get(name)]
        if changed:
            listed = "; ".join(_difference(name, before, arguments) for name in sorted(changed))
            raise InputError(
                f"{self.path} holds a run with other arguments ({listed}); use those, or another work folder"
            )


def _difference(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    if name in DATA:
        return f"{name}: other data"
    return f"{name}: {before.get(name)} there, {now.get(name)} here"
