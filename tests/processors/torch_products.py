"""In a process of its own: torch's products in calibration, held against numpy. Prints what it found, as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from export.weights import int8
from export.weights.pairs import limit_pairs

SHAPES = ((300, 9, 17), (1792, 6, 5), (15360, 4, 3))  # in, out, rows
UNIT = 2.0**-24  # a sum's rounding, as omnilmm_lite.proof.proof_graph says


def main() -> None:
    torch.set_num_threads(1)
    found = {
        "vnni": bool(torch.cpu.get_capabilities().get("avx512_vnni")),
        "integer_product": all(_is_exact(int8.integer_product, steps, codes) for steps, codes in _whole_numbers()),
        "_int_mm": all(_is_exact(int8._by_integers, steps, codes) for steps, codes in _whole_numbers()),
        "floats": max(_float_errors()),
    }
    print(json.dumps(found))


def _whole_numbers() -> Iterator[tuple[Tensor, Tensor]]:
    """Activations' steps and weights' codes, at their loudest and at random, in limited pairs and not."""
    rng = np.random.default_rng(0)
    for columns, outputs, rows in SHAPES:
        for zero_point in (128, 24):
            loud = rng.choice([-zero_point, 255 - zero_point], (rows, columns))
            loud[0] = 255 - zero_point
            extremes = torch.from_numpy(rng.choice([-127, 127], (outputs, columns)))
            codes = torch.from_numpy(rng.integers(-127, 128, (outputs, columns)))
            for weight in (extremes, codes, limit_pairs(codes)):
                yield torch.from_numpy(loud).to(torch.int16), weight.to(torch.int8)


def _is_exact(product: object, steps: Tensor, codes: Tensor) -> bool:
    assert callable(product)
    exact = steps.numpy().astype(np.int64) @ codes.numpy().astype(np.int64).T
    return bool(np.array_equal(product(steps, codes).numpy(), exact.astype(np.float32)))


def _float_errors() -> Iterator[float]:
    """Largest errors of GPTQ's float32 operations, in what rounding may cost."""
    rng = np.random.default_rng(1)
    for columns, outputs, rows in SHAPES:
        a, b = (rng.normal(0, 1, (count, columns)).astype(np.float32) for count in (rows, outputs))
        exact, size = a.astype(np.float64) @ b.astype(np.float64).T, np.abs(a).astype(np.float64) @ np.abs(b).T
        product = (torch.from_numpy(a) @ torch.from_numpy(b).T).numpy()
        yield float((np.abs(product - exact) / (size * (columns + 1) * UNIT)).max())
    factor = rng.normal(0, 1, (96, 96))
    matrix = factor @ factor.T + 96 * np.eye(96)
    lower = torch.linalg.cholesky(torch.from_numpy(matrix.astype(np.float32))).numpy().astype(np.float64)
    # Higham, as above, theorem 10.3: |A - L L^T| <= (n + 1) u |L| |L|^T
    size = np.abs(lower) @ np.abs(lower).T
    yield float((np.abs(lower @ lower.T - matrix.astype(np.float32)) / (size * 97 * UNIT)).max())


if __name__ == "__main__":
    main()
