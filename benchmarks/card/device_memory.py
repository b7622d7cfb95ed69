"""How much memory is in use: of the card by all programs, or on the CPU of this process."""

from __future__ import annotations

from benchmarks.card.run import Run
from omnilmm_lite.bench.footprint import Footprint
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.machine.card import read_cards, used_bytes


def memory_in_use(run: Run) -> int:
    """Bytes. OmniLMMError where nothing tells."""
    if not run.on_card:
        footprint = Footprint.read("now")
        if footprint is None:
            raise OmniLMMError("this system doesn't tell how much memory a process has")
        return footprint.anonymous
    try:
        return used_bytes(0)
    except OSError:  # without nvidia-ml-py the driver's tool is asked, which is slower
        cards = read_cards().found
    if not cards:
        raise OmniLMMError("the NVIDIA driver doesn't tell how much of the card's memory is in use")
    return cards[0].total - cards[0].free
