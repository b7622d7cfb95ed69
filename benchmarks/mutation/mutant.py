"""One mistake, and the tests that should notice it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from omnilmm_lite.errors import InputError


@dataclass(frozen=True)
class Mutant:
    file: str  # below the tree's root, as are the tests
    old: str  # there exactly once
    new: str
    tests: str  # files, or single tests as pytest names them, separated by spaces

    def apply(self, root: Path) -> str:
        """Changes the file; returns the text that it had. InputError where `old` isn't there exactly once."""
        path = root / self.file
        if not path.is_file():
            raise InputError(f"{self.file}: there is no such file any more; bring the mutant up to date")
        text = path.read_text(encoding="utf-8")
        if (count := text.count(self.old)) != 1:
            raise InputError(f"{self.file}: {self.old!r} is there {count} times, not once; bring the mutant up to date")
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")
        return text

    def undo(self, root: Path, text: str) -> None:
        """Gives the file the text back that `apply` has returned."""
        (root / self.file).write_text(text, encoding="utf-8")

    def __str__(self) -> str:
        return f"{self.file}: {' '.join(self.old.split())} -> {' '.join(self.new.split()) or '(nothing)'}"
