"""What a user can choose about the quantization of a decoder."""

from __future__ import annotations

from dataclasses import dataclass

from omnilmm_lite.bundle.layout import GROUP_SIZE
from quantize.gptq.grid import GridMethod


@dataclass(frozen=True)
class GPTQSettings:
    """The defaults are the best that was measured at no cost at run time; `quantize_weight` says what each does.

    `error_correction`: each layer makes up for what the layers before it lost.
    `image_weight` multiplies the part that tokens of pictures have in the Hessians: there are many of them, and
    neighbours say nearly the same.
    """

    bits: int = 4
    group_size: int = GROUP_SIZE
    sym: bool = False
    desc_act: bool = True
    damp: float = 0.01
    grid: GridMethod = GridMethod.WEIGHTED
    error_correction: bool = True
    image_weight: float = 1.0

    def to_dict(self) -> dict[str, int | float | bool | str]:
        """All settings by name, as JSON stores them."""
        return {**vars(self), "grid": self.grid.value}
