"""The table of `omnilmm-lite bench --against`, on stdout."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from rich.table import Table

from omnilmm_lite.bench.comparison.comparison import Comparison, MeasuredSide, Row, Unit
from omnilmm_lite.bench.table import duration
from omnilmm_lite.console import table_console


def print_comparison(comparison: Comparison) -> None:
    """Both bundles' medians, and how they stand to each other."""
    console = table_console()
    for line in _heading(comparison):
        console.print(line)
    table = Table("", "A", "B", "A / B", "in the rounds", show_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in comparison.rows:
        table.add_row(*_cells(row))
    console.print()
    console.print(table)
    console.print()
    console.print("A / B is the median of the rounds' ratios: below 1, A takes less time or memory")
    for note in comparison.notes:
        console.print(note)


def _heading(comparison: Comparison) -> Iterator[str]:
    for letter, subject in (("A", comparison.model), ("B", comparison.against)):
        yield f"{letter}: {_describe(subject)}"
    machine = comparison.machine
    threads = f"{comparison.threads}" if comparison.threads else "onnxruntime's choice of"
    yield f"{machine.cpu}; {threads} threads, context {comparison.context:,}; {machine.system}"
    yield ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    yield f"medians of {comparison.rounds} rounds in turns, after one to warm up"


def _describe(subject: MeasuredSide) -> str:
    size = f"{subject.file_bytes / 1e9:,.2f} GB of files"
    preset = f"preset {subject.preset}, packing {subject.packing}"
    return f"{subject.bundle} ({preset}, {size}) on {subject.device}: {subject.device_reason}"


def _cells(row: Row) -> tuple[str, ...]:
    medians = [_value(row, statistics.median(values)) for values in (row.model, row.against)]
    if row.ratio is None:
        return row.name, *medians, "", ""
    return row.name, *medians, f"{row.ratio:.2f}", f"{min(row.ratios):.2f} to {max(row.ratios):.2f}"


def _value(row: Row, median: float) -> str:
    if row.unit is Unit.BYTES:
        return f"{median / 2**20:,.0f} MiB"
    speed = f", {row.tokens / median:,.1f} tok/s" if row.tokens else ""
    return f"{duration(median)}{speed}"
