"""One stage, in a process of its own: `python -m benchmarks.card.stages NAME WORK`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.card.run import Json, Run
from benchmarks.card.stage import find_stage
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.files.durable_file import write_text


def main() -> int:
    name, work = sys.argv[1:]
    run = Run.read(Path(work))

    def save(data: Json) -> None:
        write_text(run.partial(name), json.dumps(data, indent=1))

    try:
        find_stage(name).load()(run, save)
    except OmniLMMError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
