"""The table of `omnilmm-lite bench --parallel`, on stdout."""

from __future__ import annotations

from rich.table import Table

from omnilmm_lite.bench.parallel.measure import NEWCOMER_TOKENS, STALL_S, ParallelResult
from omnilmm_lite.bench.table import duration
from omnilmm_lite.console import table_console


def print_parallel(result: ParallelResult) -> None:
    console = table_console()
    machine, one = result.machine, result.rows[0]
    threads = f"{result.threads}" if result.threads else "onnxruntime's choice of"
    console.print(f"{result.model} on {result.device}; {machine.cpu}; {threads} threads; {machine.system}")
    console.print(", ".join(f"{name} {version}" for name, version in machine.versions.items()))
    console.print(f"{result.held} tokens in each slot, which has room for {result.context:,}; medians of "
                  f"{len(one.step.seconds)} rounds in turns")  # fmt: skip
    table = Table("answers", "a step", "tok/s of all", "gain", "first token of the last to come", show_edge=False)
    for column in table.columns:
        column.justify = "right"
    for row in result.rows:
        table.add_row(
            str(row.answers),
            duration(row.step.median),
            f"{row.tokens_per_s:,.1f}",
            f"{row.gain(one):.2f}",
            duration(row.newcomer.median),
        )
    console.print()
    console.print(table)
    console.print()
    console.print(
        f"the last to come has {NEWCOMER_TOKENS} tokens of prompt that nobody knows; the others wait {STALL_S:g} s at "
        "most for a piece of it"
    )
    if result.resident is not None:
        planned = "" if result.planned is None else f"; by the plan {result.planned / 2**20:,.0f} MiB"
        console.print(f"memory with all slots filled: {result.resident / 2**20:,.0f} MiB{planned}")
