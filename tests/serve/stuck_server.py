"""`omnilmm-lite serve` whose decoder never ends with a picture's file that ends in ENDS.

python -m tests.serve.stuck_server OPTIONS
"""

from __future__ import annotations

import sys

import cli
from omnilmm_lite.picture import decoding_process

ENDS = b"never"
ENDLESS = f"""
from omnilmm_lite.picture import decoding_worker
decoding_worker.CPU_SECONDS = 1000
prepare = decoding_worker.prepare
def spin(file, config, **options):
    while file.data.endswith({ENDS!r}): pass
    return prepare(file, config, **options)
decoding_worker.prepare = spin
decoding_worker.main()
"""

if __name__ == "__main__":
    decoding_process.COMMAND = [sys.executable, "-c", ENDLESS]
    sys.exit(cli.main(["serve", *sys.argv[1:]]))
