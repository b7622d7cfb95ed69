"""The searched grid against grids on paper and against every scale there is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from quantize.gptq.grid import GridMethod, GridScheme, choose_grid

SEARCHED = GridScheme(method=GridMethod.WEIGHTED)


def test_weights_that_lie_on_a_grid_are_given_it() -> None:
    """Multiples of 0.375 from -7 to 7 of them: no shrunken range has just that step, fitting the scale finds it."""
    weight = 0.375 * torch.arange(-7.0, 8.0)[None]
    grid = choose_grid(weight, torch.ones_like(weight), SEARCHED)
    np.testing.assert_allclose(grid.decode(grid.encode(weight)), weight, rtol=2**-10)
    assert abs(grid.scale.item()) == pytest.approx(0.375, rel=2**-10)


def test_no_scale_is_better_by_much() -> None:
    """Each row against 4000 scales of both signs, by the weighted error in float64."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(50, 64, generator=generator)
    importance = torch.rand(50, 64, generator=generator)
    grid = choose_grid(weight, importance, SEARCHED)
    found = (importance * (grid.decode(grid.encode(weight)) - weight).square()).sum(1)
    w, i = weight.double(), importance.double()
    least = torch.full((50,), torch.inf, dtype=torch.float64)
    for scale in np.concatenate([np.linspace(-1, -0.05, 2000), np.linspace(0.05, 1, 2000)]):
        decoded = (torch.round(w / scale) + 8).clamp(0, 15).sub(8) * scale
        least = torch.minimum(least, (i * (decoded - w).square()).sum(1))
    assert float((found / least).mean()) < 1.01
