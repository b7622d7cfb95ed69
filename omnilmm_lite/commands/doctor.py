"""`omnilmm-lite doctor`: what this machine has, which device is used and why."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Iterable
from enum import Enum
from typing import TYPE_CHECKING, Any

from omnilmm_lite.errors import OmniLMMError

if TYPE_CHECKING:
    from omnilmm_lite.doctor import Arithmetic, Diagnosis, Driver, FoundCard
    from omnilmm_lite.machine.description import Machine

GIB = 1 << 30


def add_doctor(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Says what is installed, which devices really run a graph, whether this processor computes right, and whether "
        "a bundle is whole."
    )
    parser.add_argument("--model", metavar="MODEL", help="to check (default: yours, else the built-in tiny)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="print one JSON object")
    how.add_argument(
        "--fix", action="store_true", help="print the commands that mend what is wrong here, and run none of them"
    )
    parser.set_defaults(command=doctor, model_words=("model",))


def doctor(args: argparse.Namespace) -> None:
    """Prints the diagnosis; OmniLMMError, so exit code 1, where something is wrong."""
    from omnilmm_lite.doctor import diagnose

    found = diagnose(args.model)
    print(to_json(found) if args.json else commands(found) if args.fix else report(found))
    if found.problems:
        raise OmniLMMError(f"problems found: {len(found.problems)}; the first: {found.problems[0]}")


def to_json(found: Diagnosis) -> str:
    """One object; None for numbers that aren't finite, which JSON has no word for."""

    def plain(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        return {name: _plain(value) for name, value in items}

    return json.dumps(dataclasses.asdict(found, dict_factory=plain), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def report(found: Diagnosis) -> str:
    """The diagnosis for people, a line a fact."""
    machine = found.machine
    rows = [
        ("system", machine.system),
        ("processor", machine.cpu),
        ("cores", cores(machine)),
        ("instructions", ", ".join(machine.flags) or "unknown"),
        ("memory", memory(machine)),
        ("NVIDIA driver", driver(found.driver)),
        *[(f"cuda:{each.card.index}", card(each)) for each in found.cards],
        *machine.versions.items(),
        *[(name, version or "not installed") for name, version in found.packages.items() if name != "onnxruntime"],
        *[(each.device, f"{'works' if each.works else 'no'}: {each.detail}") for each in found.providers],
        *(arithmetic(found.arithmetic, machine) if found.arithmetic else ()),
        ("bundle", f"{found.bundle}: {'whole' if found.auto else 'not usable'}"),
        ("auto", f"{found.auto or 'nothing'}: {found.auto_reason}"),
        *[("problem", problem) for problem in found.problems],
    ]
    return "\n".join(f"{name:<16} {value}" for name, value in rows)


def commands(found: Diagnosis) -> str:
    """What mends each problem, as a shell takes it: the problem is a comment."""
    lines = []
    for problem, fix in zip(found.problems, found.fixes, strict=True):
        lines += [f"# {problem}", *(fix or ["# no command of ours mends this"])]
    return "\n".join(lines) or "# nothing is wrong here"


def arithmetic(found: Arithmetic, machine: Machine) -> list[tuple[str, str]]:
    """What the CPU computes right, and how fast int8 products are."""
    from omnilmm_lite.proof.show import describe_speed, describe_sums, verdict_rows

    rows = [*verdict_rows(found.proofs), ("int8 sums", describe_sums(found.pairs_saturate))]
    if found.speed is not None:
        rows.append(("int8 speed", describe_speed(found.speed, machine.flags, found.pairs_saturate)))
    return rows


def cores(machine: Machine) -> str:
    """How many there are, what of them may be used, and the threads that makes."""
    found = [f"{machine.physical_cores or 'unknown'} physical", f"{machine.logical_cores} usable"]
    if machine.worthwhile_cores != machine.usable_physical_cores:
        found.append(f"{machine.worthwhile_cores} cores worth a thread")
    if machine.cpu_quota is not None:
        found.append(f"{machine.cpu_quota:.3g} by the container's quota")
    threads = "onnxruntime chooses the threads"
    if machine.threads is not None:
        threads = "1 thread" if machine.threads == 1 else f"{machine.threads} threads"
    return f"{', '.join(found)}: {threads}"


def driver(found: Driver) -> str:
    """Its version and what that is good for, or why there are no cards."""
    wsl = "; this is WSL, where the driver is Windows' own" if found.is_wsl else ""
    if found.version is None:
        return f"{found.reason}{wsl}"
    cuda = f", for CUDA {found.cuda} at most" if found.cuda else ""
    return f"{found.version}{cuda}{f'; {found.reason}' if found.reason else ''}{wsl}"


def card(found: FoundCard) -> str:
    """What it is, what of its memory is free, who has the rest, and whether onnxruntime can use it."""
    there = found.card
    free, total = (f"{size / GIB:.1f}" for size in (there.free, there.total))
    users = ", ".join(f"{each.name} (process {each.pid})" for each in there.processes)
    used_by = f", used by {users}" if users else ""
    capability = ".".join(map(str, there.capability))
    works = f"{'works' if found.works else 'no'}: {found.detail}"
    return f"{there.name}, compute capability {capability}, {free} of {total} GiB free{used_by}; {works}"


def memory(machine: Machine) -> str:
    """The machine's, and a container's limit where that is less."""
    total = "unknown" if machine.memory_bytes is None else f"{machine.memory_bytes / 2**30:.1f} GiB"
    if machine.memory_limit_bytes is None:
        return total
    return f"{machine.memory_limit_bytes / 2**30:.1f} GiB by the container's limit, of {total}"
