"""A file of JSON lines that a run fills, and in which the next run goes on."""

from __future__ import annotations

import json
import os
import reprlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from omnilmm_lite.errors import InputError
from omnilmm_lite.files import durable_file

SETTINGS_ENDING = ".settings.json"


class JsonLog(ABC):
    """JSON lines, only ever appended, each safe on the disk before the next one begins.

    What the lines depend on lies beside the file (PATH.settings.json), written before the first line. Making a log
    reads and checks; `with` writes. Whoever keeps one says in `take` what its lines are.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], command: str, option: str) -> None:
        """`settings`: what must not change from one run to the next, by name, as JSON has it. `command` and `option`:
        who writes such files, and behind what their name is given, for messages.

        InputError where `path` is another program's file or was begun with other settings.
        """
        self.path = path
        self.settings_path = settings_path(path)
        self._settings = dict(settings)
        self._command = command
        self._advice = f"name another file after {option}"
        self._file: FileIO | None = None
        self._whole = 0  # bytes up to the last line's end
        if not path.absolute().parent.is_dir():
            raise InputError(f"{path}: its folder doesn't exist; make it, or {self._advice}")
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: this is not a regular file; {self._advice}")
        if path.is_file() and path.stat().st_size:
            self._check_settings()
            self._read_lines()

    @abstractmethod
    def take(self, entry: Any) -> None:
        """Remembers a line that is in the file; ValueError, TypeError or KeyError where it is none of its kind."""

    def append(self, line: Mapping[str, Any]) -> None:
        """Writes a line; it is on the disk when this returns."""
        if self._file is None:
            raise ValueError("the output is not open")
        rest = memoryview(json_line(line))
        with durable_file.named_in_errors(self.path):
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        """Writes the settings, cuts off a line that a crash left half written, and opens the file."""
        if not self._whole:
            durable_file.write_text(self.settings_path, json.dumps(self._settings, indent=1) + "\n")
        self._file = FileIO(self.path, "ab")
        self._file.truncate(self._whole)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def _check_settings(self) -> None:
        try:
            before = json.loads(self.settings_path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            before = None
        if not isinstance(before, dict):
            raise InputError(
                f"{self.path}: this file is there already, and {self.settings_path.name}, which would say how it was "
                f"begun, can't be read; {self._advice}"
            )
        changes = [
            f"{name} was {_shown(before.get(name))}, is {_shown(self._settings.get(name))}"
            for name in self._settings | before
            if before.get(name) != self._settings.get(name)
        ]
        if changes:
            raise InputError(
                f"{self.path}: begun with other settings: {'; '.join(changes)}; give the same ones, or {self._advice}"
            )

    def _read_lines(self) -> None:
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):  # the crash was here
                    return
                try:
                    self.take(json.loads(line))
                except (ValueError, TypeError, KeyError, RecursionError):
                    raise InputError(
                        f"{self.path}: line {number} is none that {self._command} writes; {self._advice}"
                    ) from None
                self._whole += len(line)


def json_line(entry: Mapping[str, Any]) -> bytes:
    """The entry in a line, with its end."""
    # A file name that isn't UTF-8 holds lone surrogates; replaced like this they are JSON's own escapes.
    return json.dumps(entry, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def settings_path(output: Path) -> Path:
    """Where the settings of a log lie."""
    return output.with_name(output.name + SETTINGS_ENDING)


def _shown(value: Any) -> str:
    return "not set" if value is None else reprlib.repr(value)
