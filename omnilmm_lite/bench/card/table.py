"""The tables of `omnilmm-lite bench --vram`, on stdout."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from omnilmm_lite.bench.card.fit import CLOSE, Fit
from omnilmm_lite.console import table_console
from omnilmm_lite.machine.card import MIB


def print_fit(fit: Fit) -> None:
    """Memory by stage, beside what the plan says."""
    console = table_console()
    for line in _heading(fit):
        console.print(line)
    table = Table("memory of the card, MiB", "held", "at most", show_edge=False)
    for each in fit.stages:
        table.add_row(each.stage, mib(each.used), mib(each.peak))
    for column in table.columns[1:]:
        column.justify = "right"
    console.print()
    console.print(table)
    console.print()
    for line in _footing(fit):
        console.print(line)


def mib(size: int) -> str:
    return f"{size / MIB:,.0f}"


def _heading(fit: Fit) -> Iterator[str]:
    driver = f", driver {fit.driver}" if fit.driver else ""
    yield f"{fit.bundle} (preset {fit.preset}) on {fit.device}, {fit.card}{driver}; context {fit.context:,}"
    room = fit.room
    ballast = f"{mib(room.ballast)} MiB are taken away" if room.ballast else "nothing is taken away"
    yield (
        f"as on a card of {fit.vram} GB, which leaves {mib(room.usable)} MiB beside a desktop: {ballast}, "
        f"{mib(room.before)} were in use before"
    )


def _footing(fit: Fit) -> Iterator[str]:
    for each in fit.predictions:
        close = "within" if each.is_close else "not within"
        yield (
            f"{each.what}: {mib(each.measured)} MiB, the plan says {mib(each.predicted)}: {each.difference:+.1%}, "
            f"{close} {CLOSE:.0%}"
        )
    if fit.turns is not None:
        used = fit.turns.used
        yield (
            f"{len(used)} turns of tower and decoder: {mib(used[0])} MiB after the first, {mib(used[-1])} after the "
            f"last, at most {mib(max(used))}: a drift of {fit.turns.drift / MIB:+,.0f}"
        )
    if fit.failure is None:
        yield f"fits: at most {mib(fit.peak)} of {mib(fit.room.usable)} MiB"
