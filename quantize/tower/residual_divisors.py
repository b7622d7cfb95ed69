"""The vector that a post-norm tower's residual stream is divided by, so that int8 codes aren't spent on few channels.

In x + norm(branch(x)) nothing but norms' outputs is ever added to the residual stream. Divide it by one vector d, the
same behind every block, and d folds into weights that are there already, so that it costs nothing at run time:

    the embedding's kernel, bias, CLS token and positions, each norm1's and norm2's weight and bias:  / d
    the columns of each qkv's and fc1's weight:                                                       * d

Only the last norm needs the residual stream itself: one Mul before it. A vector that differs from block to block would
need a Mul in each. In pre-norm towers each norm can take up a vector of its own.
"""

from __future__ import annotations

from torch import Tensor


def residual_divisors(loudness: Tensor) -> Tensor:
    """`loudness` float32 (sites, hidden): each channel's largest absolute value at each place where it is read.

    Returns d, float32 (hidden,): how much louder a channel is than the median channel, as the geometric mean over the
    sites. Channels at or below the median stay: what was quiet in calibration may be loud in another picture. Powers of
    two, so that folding rounds nothing.
    """
    relative = loudness / loudness.median(1, keepdim=True).values
    return relative.log2().mean(0).clamp_(min=0).round_().exp2_()
