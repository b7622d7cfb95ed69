"""Captions by Spark: `spark-submit examples/scale/with_spark.py FOLDER`. Written for PySpark 4, and never run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from pyspark.sql import SparkSession  # type: ignore[import-not-found,unused-ignore]

from omnilmm_lite import Captioner

captioner = Captioner("tiny", "What is this?", greedy=True)


def described(frames: Iterator[Any]) -> Iterator[Any]:
    """Frames of pandas, as `mapInPandas` has them."""
    for frame in frames:
        yield captioner(frame.rename(columns={"content": "bytes"}))[["path", "sha256", "text", "error"]]


def main(folder: str) -> None:
    session = SparkSession.builder.getOrCreate()
    pictures = session.read.format("binaryFile").load(folder).select("path", "content")
    pictures.mapInPandas(described, "path string, sha256 string, text string, error string").show(truncate=False)


if __name__ == "__main__":
    main(sys.argv[1])
