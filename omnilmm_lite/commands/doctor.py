"""`omnilmm-lite doctor`: what this machine has, which device is used and why."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING

from omnilmm_lite.errors import OmniLMMError

if TYPE_CHECKING:
    from omnilmm_lite.doctor import Diagnosis


def add_doctor(parser: argparse.ArgumentParser) -> None:
    parser.description = "Says what is installed, which devices really run a graph, and whether a bundle is whole."
    parser.add_argument("--model", metavar="BUNDLE", help="bundle to check (default: the built-in tiny)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(command=doctor)


def doctor(args: argparse.Namespace) -> None:
    """Prints the diagnosis; OmniLMMError, so exit code 1, where something is wrong."""
    from omnilmm_lite.doctor import diagnose

    found = diagnose(args.model)
    print(json.dumps(dataclasses.asdict(found), ensure_ascii=False) if args.json else report(found))
    if found.problems:
        raise OmniLMMError(f"problems found: {len(found.problems)}; the first: {found.problems[0]}")


def report(found: Diagnosis) -> str:
    """The diagnosis for people, a line a fact."""
    machine = found.machine
    memory = "unknown" if machine.memory_bytes is None else f"{machine.memory_bytes / 2**30:.1f} GiB"
    cores = f"{machine.physical_cores or 'unknown'} physical, {machine.logical_cores} usable"
    rows = [
        ("system", machine.system),
        ("processor", machine.cpu),
        ("cores", cores),
        ("instructions", ", ".join(machine.flags) or "unknown"),
        ("memory", memory),
        *[("card", gpu) for gpu in found.gpus or ("no NVIDIA driver found",)],
        *machine.versions.items(),
        *[(name, version or "not installed") for name, version in found.packages.items() if name != "onnxruntime"],
        *[(each.device, f"{'works' if each.works else 'no'}: {each.detail}") for each in found.providers],
        ("bundle", f"{found.bundle}: {'whole' if found.auto else 'not usable'}"),
        ("auto", f"{found.auto or 'nothing'}: {found.auto_reason}"),
        *[("problem", problem) for problem in found.problems],
    ]
    return "\n".join(f"{name:<16} {value}" for name, value in rows)
