"""`--parallel`: how many answers a command runs at once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from omnilmm_lite.errors import InputError

if TYPE_CHECKING:
    from omnilmm_lite.model_source import MachineOptions, ModelSource
    from omnilmm_lite.pipeline.width import Width

AUTO = "auto"


@dataclass(frozen=True)
class Parallel:
    """`answers` at once; None leaves it to the machine."""

    answers: int | None

    @classmethod
    def read(cls, text: str) -> Self:
        """InputError where it is no number of slots, and not `auto`."""
        from omnilmm_lite.engine.decoder_graphs import MOST_SLOTS

        if text == AUTO:
            return cls(None)
        if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= MOST_SLOTS:
            raise InputError(f"--parallel: {text!r} is out of range; give 1 to {MOST_SLOTS}, or {AUTO}")
        return cls(int(text))

    def __str__(self) -> str:
        return AUTO if self.answers is None else str(self.answers)

    def slots(self, source: ModelSource, options: MachineOptions) -> int:
        """That the model is to be loaded with; left to the machine, as many as its memory has room for by the plan, 8
        at most, and 1 for what has no plan, or where steps are recorded. InputError where the model has no slots."""
        from omnilmm_lite.model import DEFAULT_CONTEXT
        from omnilmm_lite.model_source import BundleSource
        from omnilmm_lite.plan.slots import fitting_slots, has_slots

        if self.answers == 1:
            return 1
        if not isinstance(source, BundleSource):
            if self.answers is None:
                return 1
            raise InputError(
                f"--parallel: {source.name} is a checkpoint, which answers one at a time; convert it first"
            )
        if self.answers is None:
            if options["cuda_graph"]:
                return 1
            context = min(options["context"] or DEFAULT_CONTEXT, source.config.decoder.max_position_embeddings)
            device, resident = options["device"], options.get("resident", False)
            return fitting_slots(source.bundle, context, device=device, resident=resident)
        if not has_slots(source.bundle):
            raise InputError(
                f"--parallel: {source.name} was converted for one answer at a time; convert the checkpoint again"
            )
        return self.answers

    def width(self, slots: int) -> Width:
        """How many of the model's slots are in use; left to the machine, what it shows to be best."""
        from omnilmm_lite.pipeline.width import Width

        return Width(slots, is_measured=self.answers is None)
