"""What this machine has, and which providers a session really gets."""

from __future__ import annotations

import json
from collections.abc import Callable

from benchmarks.card.card import cuda_packages
from benchmarks.card.run import Json, Run
from omnilmm_lite.commands.doctor import to_json
from omnilmm_lite.doctor import diagnose


def measure(run: Run, save: Callable[[Json], None]) -> None:
    """What `omnilmm-lite doctor` finds, and NVIDIA's packages."""
    save({"packages": cuda_packages()})  # before what may fail
    found = json.loads(to_json(diagnose()))
    machine = found["machine"]
    save(
        {
            "packages": cuda_packages(),
            "providers": found["providers"],
            "problems": found["problems"],
            "cores": machine["logical_cores"],
            "memory_bytes": machine["memory_bytes"],
            "system": machine["system"],
            "versions": machine["versions"],
        }
    )
