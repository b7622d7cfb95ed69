"""Captions by Daft: `python -m examples.scale.with_daft FOLDER`, with `pip install daft`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import daft  # type: ignore[import-not-found,unused-ignore]

from omnilmm_lite import Captioner

captioner = Captioner("tiny", "What is this?", greedy=True)


@daft.func.batch(return_dtype=daft.DataType.string())  # type: ignore[untyped-decorator,unused-ignore]
def caption(paths: Any) -> list[str | None]:
    """A batch of a column, as Daft gives it."""
    return [row.text or row.error for row in captioner.captions(paths.to_pylist())]


def main(folder: Path) -> None:
    paths = sorted(str(path) for path in folder.iterdir() if path.suffix in (".png", ".jpg"))
    frame = daft.from_pydict({"path": paths})
    for row in frame.with_column("text", caption(frame["path"])).to_pylist():
        print(row["path"], row["text"], sep="\t")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
