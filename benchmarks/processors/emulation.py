"""Python on other x86 processors, emulated by qemu-user: their instructions to the bit, many times as slow.

AVX-512 and VNNI aren't emulated by it, so what is there natively is the only processor with them.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from enum import Enum
from pathlib import Path

from omnilmm_lite.errors import OmniLMMError

ROOT = Path(__file__).parents[2]
EMULATOR = "qemu-x86_64"
KEPT = ("HOME", "LANG", "PATH", "TMPDIR")  # of the environment: OPENBLAS_CORETYPE would name what isn't there
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
LAST_LINES = 8  # of what a program says that fails


class Processor(Enum):
    """As qemu calls it."""

    HASWELL = "Haswell"
    SANDY_BRIDGE = "SandyBridge"
    NEHALEM = "Nehalem"
    OLDEST = "qemu64"

    @property
    def instructions(self) -> str:
        """The widest it has."""
        return _INSTRUCTIONS[self]


_INSTRUCTIONS = {
    Processor.HASWELL: "AVX2",
    Processor.SANDY_BRIDGE: "AVX",
    Processor.NEHALEM: "SSE4.2",
    Processor.OLDEST: "SSE3",
}


def can_emulate() -> bool:
    """Whether this Python's instructions are x86-64's, of which the emulator leaves some out."""
    return platform.machine() == "x86_64"


def find_emulator() -> str:
    """Its path; OmniLMMError where it can't be used."""
    if not can_emulate():
        raise OmniLMMError(f"this machine is {platform.machine()}: x86 processors are emulated on x86-64 only")
    found = shutil.which(EMULATOR)
    if found is None:
        raise OmniLMMError(f"{EMULATOR} is not installed, and other processors are emulated by it: install qemu-user")
    return found


def run_python(processor: Processor | None, arguments: Sequence[str], timeout: float = 600) -> str:
    """What this Python prints with these arguments, on one thread, from the repository; None: on the real processor.

    OmniLMMError where it fails, with the end of what it said.
    """
    # the interpreter itself and not a link to it, whose environment qemu can't tell
    command = [str(Path(sys.executable).resolve()), *arguments]
    if processor is not None:
        command = [find_emulator(), "-cpu", processor.value, *command]
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    packages = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    environment |= {"PYTHONPATH": os.pathsep.join([str(ROOT), *packages]), **dict.fromkeys(THREADS, "1")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout)
    if done.returncode:
        where = "natively" if processor is None else f"on an emulated {processor.value}"
        end = " | ".join((done.stderr or done.stdout).strip().splitlines()[-LAST_LINES:])
        raise OmniLMMError(f"python {' '.join(arguments)} failed {where} with {done.returncode}: {end}")
    return done.stdout
