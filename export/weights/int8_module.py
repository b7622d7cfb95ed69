"""An int8 layer among the reference's modules."""

from __future__ import annotations

from torch import Tensor, nn

from export.weights.int8 import Int8Linear


class Int8Module(nn.Module):
    """Takes an nn.Linear's place, and computes what the graph computes."""

    def __init__(self, linear: Int8Linear, bias: nn.Parameter | None = None) -> None:
        super().__init__()
        self.linear = linear
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        return y if self.bias is None else y + self.bias
