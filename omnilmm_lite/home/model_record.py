"""What is remembered of a model beside its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from omnilmm_lite.errors import InputError
from omnilmm_lite.files.json_file import read_json, shown

VERSION = 1
ADVICE = "remove it"  # the model's folder, if it has one here, keeps its name without


class ModelKind(Enum):
    """What its folder holds."""

    BUNDLE = "bundle"
    CHECKPOINT = "checkpoint"


@dataclass(frozen=True)
class ModelRecord:
    """`folder`: where the model lies, None for the store itself. `origin`: where it was fetched from, for people.

    `source`: what `setup` was asked for. `checkpoint`: the folder that a bundle was converted from.
    """

    kind: ModelKind
    folder: Path | None = None
    origin: str | None = None
    source: str | None = None
    checkpoint: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "version": VERSION,
            "kind": self.kind.value,
            "folder": None if self.folder is None else str(self.folder),
            "origin": self.origin,
            "source": self.source,
            "checkpoint": None if self.checkpoint is None else str(self.checkpoint),
        }

    @classmethod
    def read(cls, file: Path) -> ModelRecord:
        """InputError where the file is no such record."""
        data = read_json(file, ADVICE)
        if "version" not in data:
            raise InputError(f"{file}: this is no record of a model; {ADVICE}")
        if data["version"] != VERSION:
            raise InputError(f"{file}: its version is {shown(data['version'])}, not {VERSION}; update omnilmm-lite")
        kinds = [kind.value for kind in ModelKind]
        if data.get("kind") not in kinds:
            raise InputError(f"{file}: kind: {shown(data.get('kind'))} is not one of {', '.join(kinds)}; remove it")
        return cls(
            ModelKind(data["kind"]),
            folder=_path(data, "folder", file),
            origin=_text(data, "origin", file),
            source=_text(data, "source", file),
            checkpoint=_path(data, "checkpoint", file),
        )


def _text(data: Mapping[str, Any], name: str, file: Path) -> str | None:
    value = data.get(name)
    if value is not None and not isinstance(value, str):
        raise InputError(f"{file}: {name}: {shown(value)} is no text; remove it")
    return value


def _path(data: Mapping[str, Any], name: str, file: Path) -> Path | None:
    text = _text(data, name, file)
    if text is None:
        return None
    if "\0" in text or not Path(text).is_absolute():
        raise InputError(f"{file}: {name}: {shown(text)} is no absolute path; remove it")
    return Path(text)
