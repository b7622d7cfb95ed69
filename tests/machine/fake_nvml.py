"""A stand-in for nvidia-ml-py: cards that a test makes up. test_card.py holds its names against the real one's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace

GIB = 1 << 30


@dataclass
class FakeCard:
    name: str = "NVIDIA GeForce RTX 4090"
    total: int = 24 * GIB
    used: int = 1 * GIB
    capability: tuple[int, int] = (8, 9)
    uuid: str = "GPU-a"
    computing: Sequence[tuple[int, int | None]] = ()  # process, bytes
    drawing: Sequence[tuple[int, int | None]] | None = ()  # None: not supported
    shares_memory: bool = False  # with the machine: its own isn't told


class NVMLError(Exception):
    def __init__(self, value: int) -> None:
        self.value = value
        super().__init__(value)

    def __str__(self) -> str:
        return f"error {self.value}"


@dataclass
class FakeNvml:
    """`fails`: the error that starting it ends with. `on_use`: bytes in use, in place of the card's own."""

    cards: Sequence[FakeCard] = (FakeCard(),)
    driver: str = "580.65.06"
    cuda: int = 13000
    fails: int | None = None
    names: dict[int, str] = field(default_factory=dict)
    on_use: Callable[[FakeCard], int] | None = None
    opened: int = 0

    NVMLError = NVMLError
    NVML_ERROR_NOT_SUPPORTED = 3
    NVML_ERROR_NO_PERMISSION = 4
    NVML_ERROR_DRIVER_NOT_LOADED = 9
    NVML_ERROR_LIBRARY_NOT_FOUND = 12
    NVML_ERROR_LIB_RM_VERSION_MISMATCH = 18

    def nvmlInit(self) -> None:
        if self.fails is not None:
            raise NVMLError(self.fails)
        self.opened += 1

    def nvmlShutdown(self) -> None:
        self.opened -= 1

    def nvmlSystemGetDriverVersion(self) -> str:
        return self.driver

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:
        return self.cuda

    def nvmlDeviceGetCount(self) -> int:
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeCard:
        return self.cards[index]

    def nvmlDeviceGetUUID(self, handle: FakeCard) -> str:
        return handle.uuid

    def nvmlDeviceGetName(self, handle: FakeCard) -> str:
        return handle.name

    def nvmlDeviceGetMemoryInfo(self, handle: FakeCard) -> SimpleNamespace:
        if handle.shares_memory:
            raise NVMLError(self.NVML_ERROR_NOT_SUPPORTED)
        used = handle.used if self.on_use is None else self.on_use(handle)
        return SimpleNamespace(total=handle.total, free=handle.total - used, used=used)

    def nvmlDeviceGetCudaComputeCapability(self, handle: FakeCard) -> tuple[int, int]:
        return handle.capability

    def nvmlDeviceGetComputeRunningProcesses(self, handle: FakeCard) -> list[SimpleNamespace]:
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in handle.computing]

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: FakeCard) -> list[SimpleNamespace]:
        if handle.drawing is None:
            raise NVMLError(3)
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in handle.drawing]

    def nvmlSystemGetProcessName(self, pid: int) -> str:
        if pid not in self.names:
            raise NVMLError(6)
        return self.names[pid]
