"""Captions by Dask: `python -m examples.scale.with_dask FOLDER`, with `pip install 'dask[dataframe]'`.

Each worker process loads the model once, though the captioner comes with every partition.
"""

from __future__ import annotations

import sys
from pathlib import Path

import dask.dataframe  # type: ignore[import-not-found,unused-ignore]
import pandas  # type: ignore[import-untyped,import-not-found,unused-ignore]

from omnilmm_lite import Captioner


def main(folder: Path) -> None:
    paths = sorted(str(path) for path in folder.iterdir() if path.suffix in (".png", ".jpg"))
    captioner = Captioner("tiny", "What is this?", greedy=True)
    frame = dask.dataframe.from_pandas(pandas.DataFrame({"path": paths}), npartitions=2)
    like = captioner(pandas.DataFrame({"path": []}))  # its columns, for Dask to plan with
    for _, row in frame.map_partitions(captioner, meta=like).compute(scheduler="threads").iterrows():
        print(row["path"], row["text"] or row["error"], sep="\t")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
