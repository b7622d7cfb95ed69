"""A smaller card, made of a larger one: memory that is taken so that only as much is left as the smaller one has."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from omnilmm_lite.bench.card.cudart import CudaRuntime
from omnilmm_lite.errors import InputError
from omnilmm_lite.machine.card import MIB, Card

# GB as cards are sold -> MiB that nvidia-smi shows of them (GeForce RTX 4090, 4080, 3060, 4060), and what a desktop
# with a browser takes of that.
SOLD = {24: 24564, 16: 16380, 12: 12288, 8: 8188}
DESKTOP = 400 * MIB
SAME = 0.98  # of a size: the card itself is sold as that


@dataclass(frozen=True)
class Room:
    """Bytes. `usable`: what the size leaves to programs; `before`: in use before us; `context`: of CUDA itself;
    `ballast`: taken away, none on a card of that very size."""

    usable: int
    before: int
    context: int
    ballast: int


@contextlib.contextmanager
def room_of(vram: int, card: Card, cudart: CudaRuntime, used: Callable[[], int]) -> Iterator[Room]:
    """Leaves what a card of `vram` GB would. `used`: bytes in use of the card now, by all programs together.

    InputError where the card has less than that.
    """
    usable, before = usable_bytes(vram), used()
    cudart.make_context()
    context = used() - before
    ballast = cudart.free_bytes() - (usable - context)
    if ballast < 0 and card.total < SAME * SOLD[vram] * MIB:
        free = (cudart.free_bytes() + context) // MIB
        raise InputError(
            f"--vram {vram}: {card.name} has {card.total // MIB:,} MiB, {free:,} of them free, and such a card leaves "
            f"{usable // MIB:,}: {_smaller(vram, free)}"
        )
    if ballast <= 0:
        yield Room(usable, before, context, 0)
        return
    taken = cudart.allocate(ballast)
    try:
        yield Room(usable, before, context, ballast)
    finally:
        cudart.free(taken)


def usable_bytes(vram: int) -> int:
    """What a card sold as `vram` GB leaves beside a desktop; InputError for a size that isn't sold."""
    if vram not in SOLD:
        sizes = ", ".join(map(str, SOLD))
        raise InputError(f"--vram: {vram} is none of the sizes that can be tried: give one of {sizes}")
    return SOLD[vram] * MIB - DESKTOP


def _smaller(vram: int, free: int) -> str:
    fitting = [size for size in SOLD if size < vram and usable_bytes(size) // MIB <= free]
    return f"give --vram {fitting[0]}" if fitting else "end other programs on it"
