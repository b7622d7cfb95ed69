"""Where several answers run: a decoder each, which step together as far as the engine can."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from omnilmm_lite.engine.decoder import Array, Decoder, SlotStep


class Slots(Protocol):
    """`omnilmm_lite.engine.graph_decoder.DecoderSlots`, and `OneSlot` for an engine that has one decoder alone."""

    @property
    def decoders(self) -> Sequence[Decoder]: ...

    def decode(self, steps: Sequence[SlotStep]) -> Iterator[tuple[SlotStep, Array]]:
        """One token more for each of several slots: each step with its logits (vocab,) once it is run. Where a run
        fails, those that were given are done, and the others as if they had never begun."""
        ...


class OneSlot:
    def __init__(self, decoder: Decoder) -> None:
        self.decoders = (decoder,)

    def decode(self, steps: Sequence[SlotStep]) -> Iterator[tuple[SlotStep, Array]]:
        """See `Slots`."""
        for step in steps:
            yield step, step.decoder.decode(step.key, step.embedding)
