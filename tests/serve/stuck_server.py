"""`omnilmm-lite serve` whose decoder never ends, whatever picture it gets.

python -m tests.serve.stuck_server OPTIONS
"""

from __future__ import annotations

import sys

import cli
from omnilmm_lite.picture import decoding_process

ENDLESS = """
from omnilmm_lite.picture import decoding_worker
decoding_worker.CPU_SECONDS = 1000
def spin(file):
    while True: pass
decoding_worker.load_image = spin
decoding_worker.main()
"""

if __name__ == "__main__":
    decoding_process.COMMAND = [sys.executable, "-c", ENDLESS]
    sys.exit(cli.main(["serve", *sys.argv[1:]]))
