"""What the figures were measured on."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from omnilmm_lite.machine.cgroup import cpu_quota
from omnilmm_lite.machine.cores import read_cores
from omnilmm_lite.machine.memory import machine_bytes, memory_limit
from omnilmm_lite.machine.processor import instruction_sets, processor_name
from omnilmm_lite.machine.threads import threads_for


@dataclass(frozen=True)
class Machine:
    """The hardware, and what of it this process may use. None where the system doesn't tell."""

    cpu: str
    flags: tuple[str, ...]  # see `instruction_sets`
    physical_cores: int | None
    logical_cores: int | None  # that this process may run on
    usable_physical_cores: int | None  # that these belong to
    worthwhile_cores: int | None  # of these, the ones that a thread each is worth it on
    cpu_quota: float | None  # processors' worth of time; None: no quota
    threads: int | None  # that are computed with by default; None: onnxruntime chooses
    memory_bytes: int | None
    memory_limit_bytes: int | None  # of a container or another control group; None: no limit
    memory_limit_file: str | None  # that says so
    system: str
    versions: dict[str, str]

    @classmethod
    def read(cls, versions: dict[str, str]) -> Machine:
        """`versions`: of the programs that were measured."""
        cores, quota, limit = read_cores(), cpu_quota(), memory_limit()
        return cls(
            cpu=processor_name(),
            flags=instruction_sets(),
            physical_cores=cores.physical,
            logical_cores=cores.usable,
            usable_physical_cores=cores.usable_physical,
            worthwhile_cores=cores.worthwhile,
            cpu_quota=quota,
            threads=threads_for(cores, quota),
            memory_bytes=machine_bytes(),
            memory_limit_bytes=None if limit is None else limit.size,
            memory_limit_file=None if limit is None else str(limit.file),
            system=platform.platform(),
            versions=versions,
        )
