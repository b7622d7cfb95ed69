"""How many answers a command runs at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omnilmm_lite.errors import InputError

if TYPE_CHECKING:
    from omnilmm_lite.model_source import MachineOptions, ModelSource

AUTO = "auto"
MOST_BY_ITSELF = 8  # beyond, a step takes nearly as many times longer: docs/scale.md


def parallel_answers(text: str, source: ModelSource, options: MachineOptions) -> int:
    """What `--parallel` says; for `auto` as many as this machine's memory has room for by the plan, 8 at most, and 1
    for what has no plan, or where steps are recorded. InputError for anything else."""
    from omnilmm_lite.model import DEFAULT_CONTEXT
    from omnilmm_lite.model_source import BundleSource
    from omnilmm_lite.plan.slots import fitting_slots, has_slots

    if text != AUTO and (not text.isdecimal() or not 1 <= int(text) <= _most()):
        raise InputError(f"--parallel: {text!r} is out of range; give 1 to {_most()}, or {AUTO}")
    if not isinstance(source, BundleSource):
        if text not in (AUTO, "1"):
            raise InputError(
                f"--parallel: {source.name} is a checkpoint, which answers one at a time; convert it first"
            )
        return 1
    if text == AUTO and options["cuda_graph"]:
        return 1
    if text == AUTO:
        context = min(options["context"] or DEFAULT_CONTEXT, source.config.decoder.max_position_embeddings)
        return fitting_slots(source.bundle, context, MOST_BY_ITSELF)
    if int(text) > 1 and not has_slots(source.bundle):
        raise InputError(
            f"--parallel: {source.name} was converted for one answer at a time; convert the checkpoint again"
        )
    return int(text)


def _most() -> int:
    from omnilmm_lite.engine.decoder_graphs import MOST_SLOTS

    return MOST_SLOTS
