"""Stand-ins for onnxruntime and for the cards beside it: no machine here has one."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import pytest

from omnilmm_lite.engine import device
from omnilmm_lite.machine.card import Card, Cards

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
GIB = 1 << 30
NEW = Card(0, "NVIDIA GeForce RTX 4090", 24 * GIB, 23 * GIB, (8, 9))
SECOND = Card(1, "NVIDIA GeForce RTX 3060", 12 * GIB, 11 * GIB, (8, 6))
ONE = Cards((NEW,), "580.65.06", (13, 0))
OLD = Card(0, "NVIDIA GeForce GTX 1080", 8 * GIB, 8 * GIB, (6, 1))


class FakeOptions:
    def __init__(self) -> None:
        self.log_severity_level = 2
        self.intra_op_num_threads = 0
        self.entries: dict[str, str] = {}

    def add_session_config_entry(self, key: str, value: str) -> None:
        self.entries[key] = value


class FakeSession:
    def __init__(self, used: Sequence[str]) -> None:
        self.used = list(used)
        self.fallback = True

    def get_providers(self) -> list[str]:
        return self.used

    def disable_fallback(self) -> None:
        self.fallback = False


class FakeOnnxRuntime:
    """The part of the module that the runtime uses. `available`: what it is built with; `used`: what a session gets."""

    __version__ = "9.9.9"
    __file__ = "nowhere/onnxruntime/__init__.py"
    cuda_version = "13.0"
    SessionOptions = FakeOptions

    def __init__(self, available: Sequence[str], used: Sequence[str], error: Exception | None = None) -> None:
        self.available, self.used, self.error = available, used, error
        self.calls: list[str] = []
        self.arguments: dict[str, Any] = {}

    def disable_telemetry_events(self) -> None:
        self.calls.append("disable_telemetry_events")

    def get_available_providers(self) -> list[str]:
        return list(self.available)

    def preload_dlls(self) -> None:
        self.calls.append("preload_dlls")
        print("Failed to load libcublasLt.so.13")  # the real one says so on stdout

    def set_default_logger_severity(self, level: int) -> None:
        self.calls.append(f"severity {level}")

    def InferenceSession(self, path: str, options: FakeOptions, **arguments: Any) -> FakeSession:
        self.calls.append("InferenceSession")
        self.arguments = {"path": path, "options": options} | arguments
        if self.error is not None:
            raise self.error
        return FakeSession(self.used)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts an onnxruntime in place, and cards beside it, with all of CUDA's libraries but `lacks`."""

    def put(
        available: Sequence[str],
        used: Sequence[str] = (CPU,),
        error: Exception | None = None,
        *,
        cards: Cards = ONE,
        lacks: str | None = None,
    ) -> FakeOnnxRuntime:
        def load(library: str) -> None:
            if library == lacks:
                raise OSError(f"{library}: cannot open shared object file: No such file or directory")

        fake = FakeOnnxRuntime(available, used, error)
        monkeypatch.setitem(sys.modules, "onnxruntime", fake)
        monkeypatch.setattr(device, "read_cards", lambda: cards)
        monkeypatch.setattr(device, "_CONTEXTS", set())
        monkeypatch.setattr("ctypes.CDLL", load)
        return fake

    return put
