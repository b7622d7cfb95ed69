"""Hidden states of many sequences in a file: at full size they take gigabytes that the memory has better use for."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from omnilmm_lite.files.durable_file import move_into_place


class Spool:
    """float32 states, one sequence after the other. Read and written, not mapped: a map would count as memory."""

    def __init__(self, path: Path, lengths: Sequence[int], width: int, device: torch.device) -> None:
        """`lengths`: the sequences' tokens; `device`: where read states go. Makes the file if it isn't there."""
        self._path, self._lengths, self._width, self._device = path, lengths, width, device
        self._starts = [4 * width * start for start in itertools.accumulate(lengths, initial=0)]  # bytes
        path.touch()
        self._file = path.open("r+b", buffering=0)

    def __len__(self) -> int:
        return len(self._lengths)

    def read(self, index: int) -> Tensor:
        """One sequence's states, float32 (1, tokens, width)."""
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
        self._file.seek(self._starts[index])
        rest = memoryview(states.contiguous().cpu().numpy().tobytes())
        while rest:
            rest = rest[self._file.write(rest) :]

    def rename(self, path: Path) -> None:
        """Gives the file its name, as soon as all of it is on disk, and closes it: Windows moves no open file."""
        os.fsync(self._file.fileno())
        self._file.close()
        move_into_place(self._path, path)
        self._path = path

    def remove(self) -> None:
        """Closes and removes the file."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
