"""The inputs that a parser did wrong with, a file each, and beside it what came of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.attempt import Finding

INPUT, TRACE = ".input", ".txt"


@dataclass(frozen=True)
class Findings:
    """One file for each kind of mistake: the first input that showed it."""

    folder: Path

    def add(self, data: bytes, finding: Finding) -> Path:
        """Keeps the input unless one of its kind is there; returns the file of it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / hashlib.sha256(finding.kind.encode()).hexdigest()[:12]
        file = path.with_suffix(INPUT)
        if not file.is_file():
            file.write_bytes(data)
            trace = f"{finding.kind}\n{finding.trace}\n"
            path.with_suffix(TRACE).write_text(trace, encoding="utf-8", errors="backslashreplace")
        return file

    def files(self) -> list[Path]:
        return sorted(self.folder.glob(f"*{INPUT}"))

    def kind(self, file: Path) -> str:
        return file.with_suffix(TRACE).read_text(encoding="utf-8").partition("\n")[0]
