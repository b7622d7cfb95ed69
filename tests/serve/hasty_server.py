"""`omnilmm-lite serve` that waits for nobody long and takes few, so that its bounds are met in a second.

python -m tests.serve.hasty_server OPTIONS
"""

from __future__ import annotations

import sys

import cli
from omnilmm_lite.engine.graph_decoder import GraphDecoder
from omnilmm_lite.serve import connection
from tests.serve.slow_server import TOKEN_S, slowed

HEADERS_S, STALLED_S, A_CLIENT = 0.5, 0.5, 6

if __name__ == "__main__":
    connection.HEADERS_S, connection.STALLED_S = HEADERS_S, STALLED_S
    connection.MOST_CONNECTIONS_A_CLIENT = A_CLIENT
    GraphDecoder.decode = slowed(GraphDecoder.decode, TOKEN_S)  # type: ignore[method-assign]
    sys.exit(cli.main(["serve", *sys.argv[1:]]))
