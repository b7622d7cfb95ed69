"""`omnilmm-lite serve` with a model as slow as a big one, so that there is something to see and to stop on the page.

python -m tests.serve.slow_server OPTIONS
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import cli
from omnilmm_lite.engine.graph_decoder import GraphDecoder
from omnilmm_lite.engine.vision import VisionEncoder

PICTURE_S, PROMPT_S, TOKEN_S = 0.7, 0.5, 0.03


def slowed(function: Callable[..., Any], seconds: float) -> Callable[..., Any]:
    def slow(*args: Any, **options: Any) -> Any:
        time.sleep(seconds)
        return function(*args, **options)

    return slow


if __name__ == "__main__":
    # entered only for pictures that are not remembered
    VisionEncoder.kept_open = slowed(VisionEncoder.kept_open, PICTURE_S)  # type: ignore[method-assign]
    GraphDecoder.prefill = slowed(GraphDecoder.prefill, PROMPT_S)  # type: ignore[method-assign]
    GraphDecoder.decode = slowed(GraphDecoder.decode, TOKEN_S)  # type: ignore[method-assign]
    sys.exit(cli.main(["serve", *sys.argv[1:]]))
