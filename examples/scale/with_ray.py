"""Captions by Ray Data: `python -m examples.scale.with_ray FOLDER`, with `pip install 'omnilmm-lite[cpu,ray]'`.

`omnilmm-lite caption FOLDER --ray` does more: it goes on where it was stopped, and loses nothing with a worker.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from omnilmm_lite import Captioner

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # before Ray is imported


def main(folder: Path) -> None:
    import ray  # type: ignore[import-not-found,unused-ignore]
    import ray.data  # type: ignore[import-not-found,unused-ignore]

    ray.init(num_cpus=2, include_dashboard=False)
    options = {"model": "tiny", "prompt": "What is this?", "greedy": True, "threads": 1}
    pictures = ray.data.read_binary_files(str(folder.resolve()), include_paths=True, file_extensions=["png", "jpg"])
    rows = pictures.map_batches(
        Captioner,
        fn_constructor_kwargs=options,
        batch_size=8,
        compute=ray.data.ActorPoolStrategy(size=1),
        num_cpus=1,  # a card: num_gpus=1
    ).take_all()
    for row in sorted(rows, key=lambda row: str(row["path"])):
        print(row["path"], row["text"] or row["error"], sep="\t")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
