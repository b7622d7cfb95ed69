"""The plots of docs/performance.md, from what `omnilmm-lite bench --json` and `benchmarks.peers` found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

Json = dict[str, Any]

PARTS = {"picture": "tab:blue", "loading the decoder": "tab:gray", "prompt": "tab:orange"}


@dataclass(frozen=True)
class Wait:
    """Until the first token, in seconds. None: this engine didn't see the picture."""

    engine: str
    picture: float | None
    opening: float  # of the decoder, after the picture; a peer holds it ready
    prompt: float
    total: float  # not quite the sum where each is a median of its own


def plot_decode(benches: Sequence[Json], path: Path) -> None:
    """Tokens a second against tokens of context, and the floor of each: what the memory's bandwidth allows."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for bench in benches:
        rows = bench["decode"]
        contexts = [row["context"] for row in rows]
        (line,) = axes.plot(contexts, [row["tokens_per_s"] for row in rows], marker="o", label=_name(bench))
        slowest, fastest = (
            [row["steps"] / choose(row["series"]["samples_s"]) for row in rows] for choose in (max, min)
        )
        axes.fill_between(contexts, slowest, fastest, alpha=0.2, color=line.get_color())
        if bench["bandwidth"] and all(row["bytes_per_token"] for row in rows):
            limits = [bench["bandwidth"]["bytes_per_s"] / row["bytes_per_token"] for row in rows]
            axes.plot(contexts, limits, linestyle="--", color=line.get_color(), label=f"{_name(bench)}: limit")
    axes.set_xlabel("tokens of context")
    axes.set_ylabel("decoded tokens a second")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    save(figure, path)


def first_waits(benches: Sequence[Json], peers: Json | None) -> list[Wait]:
    """Peers, which ran the decoder alone, get the prompt of the first bench, at the speed that they had with theirs."""
    asked = [bench for bench in benches if bench["first_question"]]
    waits = [
        Wait(_name(bench), *(question[part]["median_s"] for part in ("picture", "opening", "prefill", "total")))
        for bench in asked
        for question in [bench["first_question"]]
    ]
    if peers is None or not asked:
        return waits
    tokens = asked[0]["first_question"]["prefill_tokens"]
    for line in peers["summary"][1:]:
        prompt = tokens / line["prefill_tokens_per_s"]
        waits.append(Wait(line["engine"], None, 0.0, prompt, prompt))
    return waits


def plot_first_token(waits: Sequence[Wait], path: Path) -> None:
    """Bars, one under the other, their parts side by side."""
    figure = Figure(figsize=(8, 1.5 + 0.5 * len(waits)), layout="constrained")
    axes = figure.subplots()
    for place, wait in enumerate(waits):
        start = wait.picture or 0.0
        axes.barh(place, start, color=PARTS["picture"])
        axes.barh(place, wait.opening, left=start, color=PARTS["loading the decoder"])
        axes.barh(place, wait.prompt, left=start + wait.opening, color=PARTS["prompt"])
        note = "" if wait.picture is not None else " (picture not run)"
        end = start + wait.opening + wait.prompt
        axes.text(end, place, f" {wait.total:.1f} s{note}", va="center", fontsize="small")
    axes.set_yticks(range(len(waits)), [wait.engine for wait in waits])
    axes.invert_yaxis()
    axes.margins(x=0.2)
    axes.set_xlabel("seconds to the first token")
    handles = [Patch(color=color, label=part) for part, color in PARTS.items()]
    figure.legend(handles=handles, fontsize="small", loc="outside lower center", ncols=len(handles))
    save(figure, path)


def plot_floor(peers: Json, bandwidth: float, path: Path) -> None:
    """Tokens a second against bytes read for each: nobody can be above the curve."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    sizes = [line["bytes_per_token"] / 1e9 for line in peers["summary"]]
    span = np.linspace(0.8 * min(sizes), 1.2 * max(sizes), 100)
    axes.plot(span, bandwidth / 1e9 / span, color="black", label=f"memory bandwidth, {bandwidth / 1e9:.1f} GB/s")
    for size, line in zip(sizes, peers["summary"], strict=True):
        share = line["decode_tokens_per_s"] * line["bytes_per_token"] / bandwidth
        axes.plot(size, line["decode_tokens_per_s"], marker="o", linestyle="", label=f"{line['engine']}: {share:.0%}")
    axes.set_xlabel("GB read for a token")
    axes.set_ylabel(f"tokens a second, at {peers['task']['context']} of context")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    save(figure, path)


def plot_planned(pairs: Sequence[tuple[str, int, int]], path: Path) -> None:
    """Bytes planned and measured of each thing named, side by side."""
    figure = Figure(figsize=(8, 1.5 + 0.5 * len(pairs)), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(pairs))
    names, planned_sizes, measured_sizes = zip(*pairs, strict=True)
    axes.barh(places, [size / 1e9 for size in planned_sizes], height=0.4, color="lightgray", label="planned")
    axes.barh(places + 0.4, [size / 1e9 for size in measured_sizes], height=0.4, color="tab:green", label="measured")
    for place, (_, planned, measured) in enumerate(pairs):
        ratio = f" {measured / planned:.3f} of the plan"
        axes.text(max(planned, measured) / 1e9, place + 0.2, ratio, va="center", fontsize="small")
    axes.set_yticks(places + 0.2, names)
    axes.invert_yaxis()
    axes.margins(x=0.25)
    axes.set_xlabel("GB")
    figure.legend(fontsize="small", loc="outside lower center", ncols=2)
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """SVG, the same bytes from the same numbers."""
    matplotlib.rcParams["svg.hashsalt"] = path.stem
    figure.savefig(path, metadata={"Date": None})


def _name(bench: Json) -> str:
    return f"omnilmm-lite, {bench['subject']['preset']}"
