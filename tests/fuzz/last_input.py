"""The input that is being tried, in a file: who dies of it can't say so any more."""

from __future__ import annotations

from pathlib import Path

LAST_INPUT = "last-input"  # the file's name, in the scratch folder
COUNT_BYTES = 8


class LastInput:
    """Written before every try: how many there were, and this one."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)
        self._count = 0

    def note(self, data: bytes) -> None:
        self._count += 1
        self._file.seek(0)
        self._file.write(self._count.to_bytes(COUNT_BYTES, "little") + data)
        self._file.truncate()


def read_last_input(path: Path) -> tuple[int, bytes]:
    """How many inputs were tried, and the last one."""
    data = path.read_bytes() if path.is_file() else b""
    return int.from_bytes(data[:COUNT_BYTES], "little"), data[COUNT_BYTES:]
