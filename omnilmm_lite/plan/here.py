"""What a plan means on this machine, where a container may allow less memory than there is."""

from __future__ import annotations

import functools
import logging

from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.machine.memory import Limit, fatal_limit, machine_bytes, memory_limit
from omnilmm_lite.plan.memory import Plan, make_plan
from omnilmm_lite.plan.planned_model import PlannedModel
from omnilmm_lite.plan.verdict import GIB, SYSTEM_RAM, Verdict, judge_usable

LOG = logging.getLogger(__name__)


def judge_here(plan: Plan, machine: int | None, limit: Limit | None) -> Verdict | None:
    """The plan's RAM against that of a machine, and a container's limit, which is the container's alone: nothing of it
    is left to the system. None where the machine's isn't known."""
    if machine is None:
        return None
    usable = max(0, machine - SYSTEM_RAM)
    if limit is not None:
        usable = min(usable, limit.size)
    size = round((machine if limit is None else limit.size) / GIB, 1)
    if plan.model.preset.target is Device.CPU:
        return judge_usable(plan, size, usable)
    return Verdict(size, usable, usable - plan.host_total, "")


def describe_here(verdict: Verdict, limit: Limit | None) -> str:
    """What the verdict says of this machine's RAM, in one line for people. `limit`: its container's."""
    by = "" if limit is None else " (container's limit)"
    return f"this machine's RAM, {verdict.size:.1f} GiB{by}: {verdict.text}"


# ---- before loading ----


def check_limit(bundle: Bundle, context: int, slots: int = 1) -> None:
    """For the CPU: OmniLMMError where the container's limit is less than the decoder's weights, which the engine copies
    into memory of its own; the system would end the process without a word. A warning in the log, once, where they fit
    but a question about a picture may not."""
    limit, weights = fatal_limit(), resident_weights(bundle)
    if limit is not None and weights > limit.size:
        raise OmniLMMError(
            f"{bundle.folder}: its decoder takes {weights / GIB:.1f} GiB of memory, and this container may have "
            f"{limit.size / GIB:.1f} GiB ({limit.file}): raise that limit, or convert with a smaller preset; "
            "`omnilmm-lite plan` says what each takes"
        )
    limit = memory_limit()
    needed = 0 if limit is None else _needed(bundle, context, slots)
    if limit is not None and needed > limit.size:
        _warn_once(
            f"memory: a question about a picture takes up to {needed / GIB:.1f} GiB, and this container may have "
            f"{limit.size / GIB:.1f} GiB ({limit.file}): it may be slow, or ended by the system without a word"
        )


def usable_bytes() -> int | None:
    """The RAM that a model may take here: the machine's without the system's part, or less in a container; None where
    neither is known."""
    sizes = [] if (machine := machine_bytes()) is None else [machine - SYSTEM_RAM]
    sizes += [] if (limit := memory_limit()) is None else [limit.size]
    return min(sizes, default=None)


def check_resident(bundle: Bundle, context: int, slots: int) -> None:
    """InputError where this machine hasn't the memory for a bundle that has all of its graphs packed and at once."""
    needed, usable = _needed_most(bundle, context, slots), usable_bytes()
    if usable is not None and needed > usable:
        raise InputError(
            f"--resident: it takes {needed / GIB:.1f} GiB of memory with {slots} x {context} tokens of context, and "
            f"this machine has {usable / GIB:.1f} GiB for it: give --no-resident, or a smaller --context"
        )


def resident_weights(bundle: Bundle) -> int:
    """Bytes of weights that have to be in memory for any answer: those of the decoder's graphs, unless they are mapped,
    which the system can take back and read again."""
    graphs, mapped = bundle.manifest.graphs, bundle.manifest.mapped
    files = {bundle.weights(graph) for graph in (graphs.prefill, graphs.decode) if graph not in mapped}
    return sum(entry.size for entry in bundle.manifest.files if bundle.path(entry.path) in files)


def _needed(bundle: Bundle, context: int, slots: int) -> int:
    """0 where there is no plan for such a bundle."""
    try:
        return make_plan(PlannedModel.bundle(bundle.manifest.name, bundle), context, slots).needed
    except InputError:
        return 0


def _needed_most(bundle: Bundle, context: int, slots: int) -> int:
    """Of a resident one; 0 as above."""
    try:
        return make_plan(PlannedModel.bundle(bundle.manifest.name, bundle).resident(), context, slots).needed_most
    except InputError:
        return 0


@functools.cache
def _warn_once(text: str) -> None:
    LOG.warning(text)
