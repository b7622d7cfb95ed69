"""What a run over a folder fills line by line: a file, in which the next run goes on, or standard output."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from omnilmm_lite.caption.writers.writer import Caption
from omnilmm_lite.files.json_log import JsonLog, json_line, settings_path

__all__ = ["Lines", "Output", "StandardOutput", "settings_path"]


class Lines(Protocol):
    """A line a picture: by its path and the hash of its bytes, answered or with an error."""

    def has_answer(self, path: str, sha256: str | None) -> bool: ...

    def has_error(self, path: str, sha256: str | None) -> bool: ...

    def line(self, path: str, sha256: str | None) -> Mapping[str, Any] | None:
        """An earlier run's line with its answer; None where it isn't known any more."""
        ...

    def append(self, line: Mapping[str, Any]) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Output(JsonLog):
    """The file."""

    def __init__(self, path: Path, settings: Mapping[str, Any], *, keep_lines: bool = False) -> None:
        """As `JsonLog` has it. `keep_lines`: `line` is going to be asked for."""
        self._answered: dict[tuple[str, str | None], Mapping[str, Any] | None] = {}
        self._failed: set[tuple[str, str | None]] = set()
        self._keep_lines = keep_lines
        super().__init__(path, settings, "caption", "-o")

    def has_answer(self, path: str, sha256: str | None) -> bool:
        return (path, sha256) in self._answered

    def has_error(self, path: str, sha256: str | None) -> bool:
        return (path, sha256) in self._failed

    def line(self, path: str, sha256: str | None) -> Mapping[str, Any] | None:
        return self._answered.get((path, sha256))

    def append(self, line: Mapping[str, Any]) -> None:
        super().append(line)
        self.take(line)  # a watch sees the picture again

    def take(self, entry: Any) -> None:
        key = entry["path"], entry["sha256"]
        if "error" in entry:
            self._failed.add(key)
            return
        kept = None
        if self._keep_lines:
            caption_of(entry)  # or it is none of this command's
            kept = entry
        self._answered[key] = kept
        if "embedded_sha256" in entry:  # what the picture became when its caption was written into it
            self._answered[entry["path"], entry["embedded_sha256"]] = kept


def caption_of(entry: Any) -> Caption:
    """What a line says; KeyError or TypeError where it is none."""
    text, tags = entry["text"], entry.get("tags")
    if (
        not isinstance(text, str)
        or not isinstance(tags, list | None)
        or not all(isinstance(x, str) for x in tags or [])
    ):
        raise TypeError
    return Caption(text, None if tags is None else tuple(tags))


class StandardOutput:
    """For a pipe: nothing is known of what went before, but what this run made of a picture by writing into it."""

    def __init__(self) -> None:
        self._embedded: set[tuple[str, str]] = set()

    def has_answer(self, path: str, sha256: str | None) -> bool:
        return (path, sha256) in self._embedded

    def has_error(self, path: str, sha256: str | None) -> bool:
        return False

    def line(self, path: str, sha256: str | None) -> Mapping[str, Any] | None:
        return None

    def append(self, line: Mapping[str, Any]) -> None:
        self.remember(line)
        sys.stdout.buffer.write(json_line(line))
        sys.stdout.buffer.flush()

    def remember(self, line: Mapping[str, Any]) -> None:
        """A watch sees the picture again, and isn't to describe it once more for that."""
        if "embedded_sha256" in line:
            self._embedded.add((line["path"], line["embedded_sha256"]))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return


class NoLines(StandardOutput):
    """Where captions go beside the pictures alone: what is there already is seen there."""

    def append(self, line: Mapping[str, Any]) -> None:
        self.remember(line)
