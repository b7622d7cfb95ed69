"""`omnilmm-lite serve` whose answers never end by themselves where the temperature is above 1: there is time to break
them off.

python -m tests.clients.endless_server OPTIONS
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

import cli
from omnilmm_lite.answer.sampling import Sampler
from omnilmm_lite.config import TokenIds

TOKEN_S = 0.01
NEXT = Sampler.next


def endless(self: Sampler, logits: NDArray[np.float32], *args: Any, **options: Any) -> Any:
    if self._params.temperature > 1:
        time.sleep(TOKEN_S)
        logits = logits.copy()
        logits[TokenIds().eos] = -np.inf
    return NEXT(self, logits, *args, **options)


if __name__ == "__main__":
    Sampler.next = endless  # type: ignore[method-assign]
    sys.exit(cli.main(["serve", *sys.argv[1:]]))
