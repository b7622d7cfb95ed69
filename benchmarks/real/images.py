"""The plots of docs/performance.md, of the results there are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.plots import first_waits, plot_decode, plot_first_token, plot_floor, plot_planned
from benchmarks.real.tables import Results, benches, comparisons


def draw(results: Results, folder: Path) -> Iterator[Path]:
    """Each one's path when it's there."""
    folder.mkdir(parents=True, exist_ok=True)
    found, peers = list(benches(results).values()), results.get("peers")
    if found:
        plot_decode(found, path := folder / "performance-decode.svg")
        yield path
    if waits := first_waits(found, peers):
        plot_first_token(waits, path := folder / "performance-first-token.svg")
        yield path
    if peers is not None and found and found[0]["bandwidth"]:
        plot_floor(peers, found[0]["bandwidth"]["bytes_per_s"], path := folder / "performance-floor.svg")
        yield path
    if pairs := [(f"{each.preset}: {each.what}", each.planned, each.measured) for each in comparisons(results)]:
        plot_planned(pairs, path := folder / "performance-plan.svg")
        yield path
