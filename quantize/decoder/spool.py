"""Hidden states of many sequences in a file: at full size they take gigabytes that the memory has better use for.

A card may have room for them, and is far away from the file: there they can be held until the file is complete.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from omnilmm_lite.files.checked_file import write_checksum
from omnilmm_lite.files.durable_file import move_into_place


class Spool:
    """float32 states, one sequence after the other. Read and written, not mapped: a map would count as memory."""

    def __init__(
        self, path: Path, lengths: Sequence[int], width: int, device: torch.device, *, held: bool = False
    ) -> None:
        """`lengths`: the sequences' tokens; `device`: where read states go. Makes the file if it isn't there.

        `held`: what was read or written stays on the device, too, and goes into the file when that gets its name.
        """
        self._path, self._lengths, self._width, self._device = path, lengths, width, device
        self._held: dict[int, Tensor] | None = {} if held else None
        self._starts = [4 * width * start for start in itertools.accumulate(lengths, initial=0)]  # bytes
        path.touch()
        self._file = path.open("r+b", buffering=0)

    def __len__(self) -> int:
        return len(self._lengths)

    def read(self, index: int) -> Tensor:
        """One sequence's states, float32 (1, tokens, width); not to be changed in place."""
        if self._held is None:
            return self._read(index)
        if index not in self._held:
            self._held[index] = self._read(index)
        return self._held[index]

    def _read(self, index: int) -> Tensor:
        data = bytearray(self._starts[index + 1] - self._starts[index])
        self._file.seek(self._starts[index])
        rest = memoryview(data)
        while rest:
            if not (got := self._file.readinto(rest)):
                raise EOFError(f"{self._path} ends before sequence {index}")
            rest = rest[got:]
        array = np.frombuffer(data, np.float32).reshape(1, self._lengths[index], self._width)
        return torch.from_numpy(array).to(self._device)

    def write(self, index: int, states: Tensor) -> None:
        """Puts one sequence's states, (1, tokens, width), in their place; ValueError for another shape."""
        if states.shape != (1, self._lengths[index], self._width):
            raise ValueError(f"sequence {index} has {self._lengths[index]} tokens, not the shape {tuple(states.shape)}")
        if self._held is None:
            self._write(index, states)
        else:
            self._held[index] = states.to(self._device)

    def _write(self, index: int, states: Tensor) -> None:
        self._file.seek(self._starts[index])
        rest = memoryview(states.contiguous().cpu().numpy().tobytes())
        while rest:
            rest = rest[self._file.write(rest) :]

    def rename(self, path: Path) -> None:
        """Gives the file its name and a checksum, as soon as all of it is on disk, and closes it: Windows moves no open
        file."""
        for index, states in (self._held or {}).items():
            self._write(index, states)
        self._held = None
        os.fsync(self._file.fileno())
        self._file.close()
        write_checksum(path, self._path)
        move_into_place(self._path, path)
        self._path = path

    def remove(self) -> None:
        """Closes and removes the file."""
        self._held = None
        self._file.close()
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
