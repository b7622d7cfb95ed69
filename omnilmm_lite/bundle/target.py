"""The device that a bundle is built for."""

from __future__ import annotations

from enum import Enum


class Device(Enum):
    CPU = "cpu"
    CUDA = "cuda"

    @property
    def provider(self) -> str:
        return "CPUExecutionProvider" if self is Device.CPU else "CUDAExecutionProvider"
