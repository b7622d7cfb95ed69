"""Folders of Hugging Face's cache, which are named after commits: whose model lies there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

REPOSITORY = re.compile(r"models--(?:(.+)--)?(.+)")


@dataclass(frozen=True)
class Snapshot:
    """A version of a model, by where it lies: models--OWNER--NAME/snapshots/COMMIT."""

    repo: str  # OWNER/NAME, or NAME alone
    name: str

    @classmethod
    def of(cls, folder: Path) -> Self | None:
        """None for a folder elsewhere."""
        snapshots = folder.resolve().parent
        match = REPOSITORY.fullmatch(snapshots.parent.name)
        if match is None or snapshots.name != "snapshots":
            return None
        return cls("/".join(part for part in match.groups() if part), match[2])


def folder_name(folder: Path) -> str:
    """What the model in a folder is called: as the folder is, or as Hugging Face's cache says."""
    snapshot = Snapshot.of(folder)
    return folder.resolve().name if snapshot is None else snapshot.name
