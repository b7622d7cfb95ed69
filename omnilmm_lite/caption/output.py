"""The file that a run over a folder fills line by line, and in which the next run goes on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omnilmm_lite.files.json_log import JsonLog, settings_path

__all__ = ["Output", "settings_path"]


class Output(JsonLog):
    """A line a picture: by its path and the hash of its bytes, answered or with an error."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """As `JsonLog` has it."""
        self._answered: set[tuple[str, str | None]] = set()
        self._failed: set[tuple[str, str | None]] = set()
        super().__init__(path, settings, "caption", "-o")

    def has_answer(self, path: str, sha256: str | None) -> bool:
        return (path, sha256) in self._answered

    def has_error(self, path: str, sha256: str | None) -> bool:
        return (path, sha256) in self._failed

    def take(self, entry: Any) -> None:
        key = entry["path"], entry["sha256"]
        (self._failed if "error" in entry else self._answered).add(key)
