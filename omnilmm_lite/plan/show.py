"""A plan drawn in the terminal, and the table of all presets."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from omnilmm_lite.bundle.target import Device
from omnilmm_lite.console import plain_console
from omnilmm_lite.plan.memory import MemoryPhase, Plan
from omnilmm_lite.plan.report import PARTS
from omnilmm_lite.plan.torch_sizes import TorchSizes
from omnilmm_lite.plan.verdict import GIB, Verdict, judge, usable_bytes

BAR_WIDTH = 60
# Letters tell the parts apart where there are no colours.
LOOKS = {
    "vision": ("V", "white on blue"),
    "resampler": ("R", "white on cyan"),
    "decoder": ("D", "white on green"),
    "kv_cache": ("K", "black on yellow"),
    "workspace": ("W", "white on magenta"),
}
FREE = "·"
NAMES = {
    "vision": "tower",
    "resampler": "resampler",
    "decoder": "decoder",
    "kv_cache": "KV cache",
    "workspace": "workspace",
}
PHASES = {
    "load": "while the decoder is loaded",
    "all": "all at once",
    "picture": "while a picture is read",
    "answer": "while it answers",
}
TOTALS = ("device total", "host RAM", "disk")
COMMON_SIZES = (8, 12, 16, 24, 32, 48, 64, 96, 128)  # GB, of cards and of RAM


def gib(size: int) -> str:
    """Bytes as GiB in text: with two decimals, or three digits where those would be zero."""
    return f"{size / GIB:.2f}" if not 0 < size < GIB // 100 else f"{size / GIB:.3g}"


def print_plan(plan: Plan, judged: Sequence[Verdict], size: float, here: str) -> None:
    """Bars against a card, or on the CPU the RAM, of `size` GB; then figures and verdicts. `here`: a line about this
    machine, empty for none."""
    console = plain_console()
    model = plan.model
    where = "graphics memory" if model.preset.target is Device.CUDA else "RAM"
    console.print(
        f"{model.name}, preset {model.preset.name} ({model.preset.summary}), {plan.context} tokens of context"
        + (f" in each of {plan.slots} answers at once" if plan.slots > 1 else "")
    )
    scale = max(int(size * GIB), plan.device_total)
    for phase in plan.phases:
        console.print(f"{PHASES[phase.name]}: {gib(phase.total)} GiB of {size:g} GB")
        console.print(draw_bar(phase, usable_bytes(size, model.preset.target), scale))
    console.print(_figures(plan))
    estimated = (
        "an estimate, never measured" if model.preset.target is Device.CUDA else "a formula fitted to measurements"
    )
    console.print(
        f"All of it is computed; workspace is {estimated}. Long prompts and more pictures: {gib(plan.device_most)} GiB."
    )
    for verdict in judged:
        console.print(f"{verdict.size:3g} GB of {where}: {verdict.text}")
    if here:
        console.print(here)


def draw_bar(phase: MemoryPhase, usable: int, scale: int) -> Text:
    """One row: the parts in the order of LOOKS, what is free of `usable` behind them; `scale` bytes are BAR_WIDTH."""
    bar, end, drawn = Text(), 0, 0
    for name, (letter, style) in LOOKS.items():
        end += getattr(phase, name)
        cells = round(end / scale * BAR_WIDTH) - drawn
        bar.append(letter * cells, style)
        drawn += cells
    bar.append(FREE * max(0, round(usable / scale * BAR_WIDTH) - drawn))
    return bar


def _figures(plan: Plan) -> Table:
    model = plan.model
    table = Table("", "part", "GiB", "bytes", show_edge=False)
    for name in PARTS:
        letter, style = LOOKS[name]
        size = plan.part(name)
        table.add_row(Text(letter, style), NAMES[name], gib(size), f"{size:,}")
    table.add_section()
    rows = {
        "device, at its peak": plan.device_total,
        "host RAM": plan.host_total,
        "embeddings, mapped from disk": model.embeddings,
        "disk: the bundle": model.disk.bundle,
    }
    if not model.is_bundle:
        rows["disk: checkpoint, work folder and bundle"] = model.disk.conversion
    for name, size in rows.items():
        table.add_row("", name, gib(size), f"{size:,}")
    return table


# ---- all presets ----


def print_presets(plans: Sequence[Plan]) -> None:
    console = plain_console()
    table = Table("preset", *TOTALS, "verdict", show_edge=False)
    for plan in plans:
        table.add_row(plan.model.preset.name, *_totals(plan), _short_verdict(plan))
    console.print("\nall presets, in GiB")
    console.print(table)


def print_torch(sizes: Sequence[TorchSizes]) -> None:
    """What answers from the checkpoint itself take."""
    console = plain_console()
    columns = ("tower", "decoder", "KV cache", "all", "kept on disk")
    table = Table("weights", "on", *columns, show_edge=False)
    for each in sizes:
        where = "a card" if each.device is Device.CUDA else "the CPU"
        parts = (each.tower, each.decoder, each.kv_cache, each.total, each.disk)
        table.add_row(each.weights.value, where, *map(gib, parts))
    console.print("\nwithout conversion, by --weights, in GiB: docs/torch-engine.md")
    console.print(table)


def markdown(plans: Sequence[Plan]) -> str:
    """The table for README.md, with every part."""
    columns = ("preset", *NAMES.values(), *TOTALS, "verdict")
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for plan in plans:
        parts = (gib(plan.part(name)) for name in PARTS)
        cells = (f"`{plan.model.preset.name}`", *parts, *_totals(plan), _short_verdict(plan))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _totals(plan: Plan) -> tuple[str, ...]:
    """In the order of TOTALS."""
    return gib(plan.device_total), gib(plan.host_total), gib(plan.model.disk.bundle)


def _short_verdict(plan: Plan) -> str:
    """The smallest usual size that it fits."""
    what = "card" if plan.model.preset.target is Device.CUDA else "RAM"
    for size in COMMON_SIZES:
        verdict = judge(plan, size)
        if verdict.fits:
            return f"fits {size} GB {what}, {verdict.spare / GIB:.1f} to spare"
    return f"more than {COMMON_SIZES[-1]} GB {what}"
