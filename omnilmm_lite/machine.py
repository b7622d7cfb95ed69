"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from omnilmm_lite import __version__
from omnilmm_lite.device import import_onnxruntime
from omnilmm_lite.errors import InputError
from omnilmm_lite.memory import total_bytes

# The instructions that matrix products in few bits live on, by Linux's names (x86, then Arm).
FLAGS = (
    "avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16",
    "asimddp", "i8mm", "bf16", "sve",
)  # fmt: skip
CPUINFO = Path("/proc/cpuinfo")
LAST_LEVEL_CACHE = Path("/sys/devices/system/cpu/cpu0/cache/index3/size")


@dataclass(frozen=True)
class Machine:
    cpu: str
    flags: tuple[str, ...]  # of FLAGS; empty where the system doesn't say
    physical_cores: int | None
    logical_cores: int | None  # that this process may run on
    memory_bytes: int | None
    system: str
    versions: dict[str, str]

    @classmethod
    def read(cls) -> Machine:
        text = _read(CPUINFO)
        found = set(_field(text, "flags").split()) | set(_field(text, "Features").split())
        return cls(
            cpu=_field(text, "model name") or platform.processor() or platform.machine(),
            flags=tuple(flag for flag in FLAGS if flag in found),
            physical_cores=physical_cores(text),
            logical_cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            memory_bytes=total_bytes(),
            system=platform.platform(),
            versions={
                "omnilmm-lite": __version__,
                "onnxruntime": _engine_version(),
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
        )


def _engine_version() -> str:
    try:
        return str(import_onnxruntime().__version__)
    except InputError:
        return "none that works"


def physical_cores(cpuinfo: str) -> int | None:
    """From the text of /proc/cpuinfo: hyperthreads of one core count once. None where it doesn't name cores."""
    cores = set()
    for processor in cpuinfo.split("\n\n"):
        package, core = _field(processor, "physical id"), _field(processor, "core id")
        if core:
            cores.add((package, core))
    return len(cores) or None


def last_level_cache_bytes() -> int:
    """0 where the system doesn't say."""
    match = re.fullmatch(r"(\d+)K", _read(LAST_LEVEL_CACHE).strip())
    return 1024 * int(match[1]) if match else 0


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        return ""


def _field(text: str, name: str) -> str:
    match = re.search(rf"^{name}\s*:[ \t]*(.*)$", text, re.MULTILINE)
    return match[1].strip() if match else ""
