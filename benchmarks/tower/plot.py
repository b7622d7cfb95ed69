"""How far the stream drifts, block by block."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import matplotlib
from matplotlib.figure import Figure


class Drift(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def stream_mean(self) -> list[float]: ...

    @property
    def stream_worst(self) -> list[float]: ...


def plot_blocks(results: Iterable[Drift], path: Path) -> None:
    """SVG or PNG, by the suffix. Mean on the left, the worst token on the right, as distance from 1."""
    matplotlib.rcParams["svg.hashsalt"] = "tower"  # the same file from the same numbers
    figure = Figure(figsize=(9, 4), layout="constrained")
    mean, worst = figure.subplots(1, 2, sharey=True)
    for result in results:
        blocks = range(1, len(result.stream_mean) + 1)
        mean.semilogy(blocks, [1 - value for value in result.stream_mean], label=result.name)
        worst.semilogy(blocks, [1 - value for value in result.stream_worst])
    mean.set_ylabel("1 - cosine to fp32")
    for axes, title in ((mean, "mean over tokens"), (worst, "worst token")):
        axes.set_title(title)
        axes.set_xlabel("stream behind block")
        axes.grid(alpha=0.3)
    figure.legend(*mean.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize="small")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
