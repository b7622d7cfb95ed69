"""The tables of `omnilmm-lite bench`, on stdout."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from omnilmm_lite.bench.result import Question, Result
from omnilmm_lite.bench.series import Series
from omnilmm_lite.console import table_console

SHOWN_OPENING = 0.01  # seconds; below, the decoder was there

Row = tuple[str, ...]  # a cell a column


def print_result(result: Result) -> None:
    """Speeds, memory, and what they were measured on."""
    console = table_console()
    for line in _heading(result):
        console.print(line)
    speeds = Table("", "median", "best", "spread", "speed", "of the floor", show_edge=False)
    for row in _rows(result):
        speeds.add_row(*row)
    memory = Table("memory, MiB", "resident", "anonymous", "file-backed", "peak", show_edge=False)
    for each in result.memory:
        sizes = (each.rss, each.anonymous, each.file_backed, each.peak)
        memory.add_row(each.stage, *(f"{size / 2**20:,.0f}" for size in sizes))
    for table in (speeds, memory) if result.memory else (speeds,):
        for column in table.columns[1:]:
            column.justify = "right"
        console.print()
        console.print(table)
    console.print()
    for line in _footing(result):
        console.print(line)


def _heading(result: Result) -> Iterator[str]:
    subject, machine = result.subject, result.machine
    threads = f"{subject.threads}" if subject.threads else "onnxruntime's choice of"
    yield (
        f"{subject.bundle} (preset {subject.preset}) on {subject.device}: {subject.device_reason}; {threads} threads, "
        f"context {subject.context:,}"
    )
    cores = f"{machine.physical_cores or '?'} cores ({machine.logical_cores or '?'} logical)"
    yield f"{machine.cpu}, {cores}, {', '.join(machine.flags) or 'flags unknown'}; {machine.system}"
    yield ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    files = f"{subject.file_bytes / 1e9:,.2f} GB of files"
    yield f"{files} read beforehand in {subject.read_s:.1f} s; medians of {result.repeat} runs"


def _rows(result: Result) -> Iterator[Row]:
    yield _row("load", result.load.load)
    yield _row("load and first steps", result.load.ready)
    yield _row("picture: tower and resampler", result.picture.series)
    for prompt in result.prefill:
        yield _row(f"prefill, {prompt.tokens:,} tokens", prompt.series, f"{prompt.tokens_per_s:,.1f} tok/s")
    for run in result.decode:
        floor = "" if run.floor is None else f"{run.floor:.0%}"
        yield _row(
            f"decode, {run.steps} tokens at {run.context:,}", run.series, f"{run.tokens_per_s:,.2f} tok/s", floor
        )
    if result.first_question is not None:
        yield _row("picture and question: first token", result.first_question.total, _parts(result.first_question))
    if result.second_question is not None:
        yield _row("second question: first token", result.second_question.total, _parts(result.second_question))


def _row(name: str, series: Series, *cells: str) -> Row:
    return name, duration(series.median), duration(series.best), f"{series.spread:.0%}", *cells


def _parts(question: Question) -> str:
    picture = f"picture {duration(question.picture.median)}, " if question.picture.median else ""
    if question.opening.median >= SHOWN_OPENING:
        picture += f"decoder's loading {duration(question.opening.median)}, "
    return f"{picture}{question.prefill_tokens:,} tokens {duration(question.prefill.median)}"


def duration(seconds: float) -> str:
    """Seconds as text with three digits, in s or ms."""
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def _footing(result: Result) -> Iterator[str]:
    subject = result.subject
    if result.peak_rss_bytes is not None:
        where = "" if subject.device == "cpu" else " of the host; --vram measures the card's"
        yield f"peak resident memory: {result.peak_rss_bytes / 2**20:,.0f} MiB{where}"
    if result.bandwidth is not None:
        reads = [run.bytes_per_token for run in result.decode if run.bytes_per_token is not None]
        line = f"memory bandwidth: {result.bandwidth.bytes_per_s / 1e9:.1f} GB/s ({result.bandwidth.source})"
        if reads:
            line += f"; the floor is reading the {reads[0] / 1e9:.3g} GB of a decoded token"
        yield line
    elif result.decode:
        yield "no floor: give the card's memory bandwidth with --bandwidth"
    yield from result.notes
