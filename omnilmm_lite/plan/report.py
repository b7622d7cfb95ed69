"""A plan as the object that --json prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omnilmm_lite.bundle.tensor_size import data_bytes
from omnilmm_lite.plan.memory import Plan
from omnilmm_lite.plan.torch_sizes import TorchSizes
from omnilmm_lite.plan.verdict import SIZES, Verdict, judge

PARTS = ("vision", "resampler", "decoder", "kv_cache", "workspace")


def verdicts(plan: Plan, size: float | None) -> list[Verdict]:
    """A verdict for each usual size, and for the user's own where it is none of them."""
    extra = () if size is None or size in SIZES else (size,)
    return [judge(plan, each) for each in (*extra, *SIZES)]


def plan_object(plan: Plan, judged: Sequence[Verdict], machine_bytes: int | None) -> dict[str, Any]:
    """Sizes in bytes. `machine_bytes`: the RAM that may be had here, None where that isn't known.

    `parts` are what the engine holds of each; in two phases they are never all there at once."""
    model = plan.model
    names = ("vision", "resampler", "decoder", "prefill")
    return {
        "model": model.name,
        "preset": model.preset.name,
        "target": model.preset.target.value,
        "context": plan.context,
        "parallel": plan.slots,
        "parts": {name: plan.part(name) for name in PARTS} | {"embeddings": model.embeddings},
        "phases": {
            phase.name: {name: getattr(phase, name) for name in (*PARTS, "total", "most")} for phase in plan.phases
        },
        "device_total": plan.device_total,
        "device_most": plan.device_most,
        "host_total": plan.host_total,
        "disk_total": model.disk.bundle,
        "disk": {
            "data": {name: data_bytes(getattr(model.graphs, name)) for name in names},
            "bundle": model.disk.bundle,
            "checkpoint": model.disk.checkpoint,
            "work": model.disk.work,
            "conversion": model.disk.conversion,
        },
        "machine_bytes": machine_bytes,
        "verdicts": {f"{each.size:g}": _verdict_object(each) for each in judged},
    }


def torch_object(sizes: Sequence[TorchSizes]) -> dict[str, Any]:
    """What answers without conversion take, in bytes: by weights, then by device."""
    found: dict[str, dict[str, Any]] = {}
    for each in sizes:
        found.setdefault(each.weights.value, {})[each.device.value] = each.to_dict()
    return {"torch": found}


def _verdict_object(verdict: Verdict) -> dict[str, Any]:
    return {"fits": verdict.fits, "usable": verdict.usable, "spare": verdict.spare, "text": verdict.text}
